//! `GetBucketEncryption`, `PutBucketEncryption`, `DeleteBucketEncryption`, `UpdateObjectEncryption`.

use bytes::Bytes;
use http::Method;

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent};
use crate::{
    auth::{Action, Scheme},
    s3::{
        codes::S3Code,
        context::Context,
        encryption::check_key_id,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::get_object::missing,
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{Element, XmlWriter, read},
    },
    storage::{
        Bucket, KmsRequest,
        records::{BucketEncryption, BucketRecord, EncryptionMode},
    },
};

/// Largest document about an object.
const DOCUMENT: usize = 64 << 10;
/// The type of encryption that a bucket may block.
const CUSTOMER_KEYS: &str = "SSE-C";
/// Stands for no type.
const NO_TYPE: &str = "NONE";

/// How a bucket encrypts new objects.
#[derive(Debug)]
pub struct Encryption;

/// Returns how a bucket encrypts new objects.
pub type GetBucketEncryption = GetSetting<Encryption>;
/// Sets how a bucket encrypts new objects.
pub type PutBucketEncryption = PutSetting<Encryption>;
/// Forgets how a bucket encrypts new objects. Those there are stay as they are.
pub type DeleteBucketEncryption = DeleteSetting<Encryption>;

/// Puts a version under another key, without touching its bytes.
#[derive(Debug)]
pub struct UpdateObjectEncryption {
    object: ObjectRef,
}

impl Setting for Encryption {
    const QUERY: &'static [&'static str] = &["encryption"];
    const GET: Verb = Verb::new("GetBucketEncryption", "bucketGetEncryption", Action::GetEncryptionConfiguration);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let encryption = bucket.record.encryption.as_ref();
        let absent = || absent(S3Code::ServerSideEncryptionConfigurationNotFoundError, bucket);
        Ok(Document::new(write(encryption.ok_or_else(absent)?)))
    }
}

impl Settable for Encryption {
    const PUT: Verb = Verb::new("PutBucketEncryption", "bucketPutEncryption", Action::PutEncryptionConfiguration);
    const DIGEST: Digest = Digest::Required;
    type Value = BucketEncryption;

    fn read(document: &[u8], _: &Context) -> S3Result<BucketEncryption> {
        parse(&read::read(document)?)
    }

    fn set(encryption: &BucketEncryption, record: &mut BucketRecord) -> S3Result<()> {
        record.encryption = Some(encryption.clone());
        Ok(())
    }
}

impl Removable for Encryption {
    const DELETE: Verb =
        Verb::new("DeleteBucketEncryption", "bucketDeleteEncryption", Action::PutEncryptionConfiguration);

    fn clear(record: &mut BucketRecord) {
        record.encryption = None;
    }
}

impl Operation for UpdateObjectEncryption {
    const NAME: &'static str = "UpdateObjectEncryption";
    const ACTION: &'static str = "objectUpdateEncryption";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Object, &["encryption"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::UpdateObjectEncryption)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        if matches!(cx.transport.scheme, Scheme::HeaderV2 | Scheme::QueryV2) {
            return Err(S3Error::request(
                "Requests that modify an object encryption configuration require AWS Signature Version 4. Modify the request to use AWS Signature Version 4, and then try again.",
            ));
        }
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let asked = parse_update(&read::read(&document)?)?;
        let bucket = cx.bucket(&self.object.bucket).await?;
        let ObjectRef { key, version, .. } = &self.object;
        cx.storage.reencrypt(&bucket, key, *version, &asked).await.map_err(|e| missing(&cx, e))?;
        Ok(Plain::ok())
    }
}

/// Reads a `ServerSideEncryptionConfiguration`.
///
/// # Errors
/// `MalformedXML` for a document of another shape; `InvalidArgument` for a key where none is used.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<BucketEncryption> {
    if root.name() != "ServerSideEncryptionConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Rule"])?;
    let rule = root.required("Rule")?;
    rule.only(&["ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes"])?;
    let mut set = match rule.child("ApplyServerSideEncryptionByDefault")? {
        Some(default) => parse_default(default)?,
        None => BucketEncryption::default(),
    };
    set.bucket_key = rule.optional_text("BucketKeyEnabled")?.map(parse_bool).transpose()?;
    if let Some(blocked) = rule.child("BlockedEncryptionTypes")? {
        set.blocks_customer_keys = parse_blocked(blocked)?;
    } else if set.mode() == EncryptionMode::None {
        // A rule that rules nothing.
        return Err(S3Code::MalformedXML.into());
    }
    Ok(set)
}

fn parse_default(default: &Element<'_>) -> S3Result<BucketEncryption> {
    default.only(&["SSEAlgorithm", "KMSMasterKeyID"])?;
    let mode = match default.required_text("SSEAlgorithm")?.trim() {
        "AES256" => EncryptionMode::Managed,
        "aws:kms" => EncryptionMode::Kms,
        "aws:kms:dsse" => EncryptionMode::DualLayer,
        _ => return Err(S3Code::MalformedXML.into()),
    };
    let key_id = default.optional_text("KMSMasterKeyID")?.map(str::trim).filter(|id| !id.is_empty());
    let key_id = match key_id {
        None => "",
        Some(id) if mode.names_key() => check_key_id("KMSMasterKeyID", id)?,
        Some(id) => {
            return Err(S3Error::argument(
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
                "KMSMasterKeyID",
                id,
            ));
        }
    };
    Ok(BucketEncryption { mode: mode.into(), key_id: key_id.to_owned(), ..BucketEncryption::default() })
}

fn parse_bool(text: &str) -> S3Result<bool> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(S3Code::MalformedXML.into()),
    }
}

/// `NONE` blocks nothing; it does not go together with a type.
fn parse_blocked(blocked: &Element<'_>) -> S3Result<bool> {
    blocked.only(&["EncryptionType"])?;
    let types: Vec<&str> = blocked.children().iter().map(|element| element.text().trim()).collect();
    match types.as_slice() {
        [NO_TYPE] => Ok(false),
        [CUSTOMER_KEYS] => Ok(true),
        _ => Err(S3Code::MalformedXML.into()),
    }
}

pub(in crate::s3) fn write(set: &BucketEncryption) -> Bytes {
    let mut xml = XmlWriter::document("ServerSideEncryptionConfiguration", 512);
    xml.open("Rule");
    if let Some(algorithm) = set.mode().header() {
        xml.open("ApplyServerSideEncryptionByDefault").text("SSEAlgorithm", algorithm);
        xml.optional("KMSMasterKeyID", Some(set.key_id.as_str()).filter(|id| !id.is_empty()));
        xml.close();
    }
    xml.text("BucketKeyEnabled", if set.bucket_key.unwrap_or_default() { "true" } else { "false" });
    if set.blocks_customer_keys {
        xml.open("BlockedEncryptionTypes").text("EncryptionType", CUSTOMER_KEYS).close();
    } else if set.mode() == EncryptionMode::None {
        // All that was said is that nothing is blocked; a rule that says nothing could not be put back.
        xml.open("BlockedEncryptionTypes").text("EncryptionType", NO_TYPE).close();
    }
    xml.close();
    xml.finish()
}

/// Whether a text names a key by itself, and by no alias: as an ARN, as AWS demands, or as the key manager, whose keys
/// have no ARNs.
fn is_key(text: &str) -> bool {
    let Some(arn) = text.strip_prefix("arn:") else { return !text.contains(['/', ':']) };
    let fields: Vec<&str> = arn.splitn(5, ':').collect();
    let [partition, "kms", region, account, key] = fields.as_slice() else { return false };
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    partition.starts_with("aws")
        && plain(partition)
        && plain(region)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && key.strip_prefix("key/").is_some_and(|key| !key.is_empty())
}

/// Reads an `ObjectEncryption`.
///
/// # Errors
/// `MalformedXML`; `InvalidRequest`, in the words of AWS, for anything but SSE-KMS with a key.
pub(in crate::s3) fn parse_update(root: &Element<'_>) -> S3Result<KmsRequest> {
    if root.name() != "ObjectEncryption" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["SSE-KMS", "SSE-S3", "SSE-C", "DSSE-KMS"])?;
    if root.child("DSSE-KMS")?.is_some() || root.child("SSE-C")?.is_some() {
        return Err(S3Error::request(
            "The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.",
        ));
    }
    let Some(kms) = root.child("SSE-KMS")?.filter(|_| root.children().len() == 1) else {
        return Err(S3Error::request(
            "Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS. Modify the request to specify SSE-KMS for the updated encryption type, and then try again.",
        ));
    };
    kms.only(&["KMSKeyArn", "BucketKeyEnabled"])?;
    let key = kms.optional_text("KMSKeyArn")?.map(str::trim).filter(|key| !key.is_empty()).ok_or_else(|| {
        S3Error::request(
            "Requests that modify an object's encryption type to SSE-KMS require an AWS KMS key Amazon Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again.",
        )
    })?;
    let named = check_key_id("KMSKeyArn", key).ok().filter(|key| is_key(key));
    let key = named.ok_or_else(|| {
        S3Error::request(
            "Requests that modify an object's encryption type to SSE-KMS require a valid AWS KMS key Amazon Resource Name (ARN). Confirm that you have a correctly formatted KMS key ARN in your request, and then try again.",
        )
    })?;
    let bucket_key = match kms.optional_text("BucketKeyEnabled")?.map(str::trim) {
        None => false,
        Some(text) => parse_bool(text).map_err(|_| {
            S3Error::request(
                "The BucketKeyEnabled value isn't valid. Valid values are true or false. Modify the request to specify a valid value, and then try again.",
            )
        })?,
    };
    Ok(KmsRequest { key_id: Some(key.to_owned()), bucket_key: Some(bucket_key), ..KmsRequest::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rules: &str) -> Result<BucketEncryption, S3Code> {
        let document = format!("<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>");
        parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
    }

    fn default(inner: &str, more: &str) -> String {
        format!("<Rule><ApplyServerSideEncryptionByDefault>{inner}</ApplyServerSideEncryptionByDefault>{more}</Rule>")
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for (mode, key_id, bucket_key, blocks) in [
            (EncryptionMode::Managed, "", false, false),
            (EncryptionMode::Kms, "k&1", true, true),
            (EncryptionMode::DualLayer, "", false, true),
            (EncryptionMode::None, "", false, true),
            (EncryptionMode::None, "", false, false),
        ] {
            let set = BucketEncryption {
                mode: mode.into(),
                key_id: key_id.to_owned(),
                bucket_key: Some(bucket_key),
                blocks_customer_keys: blocks,
            };
            assert_eq!(parse(&read::read(&write(&set)).unwrap()).unwrap(), set);
        }
    }

    #[test]
    fn exactly_one_rule_that_rules_something() {
        let good = default("<SSEAlgorithm>AES256</SSEAlgorithm>", "");
        assert_eq!(parsed(&good), Ok(BucketEncryption::managed()));
        for bad in [
            "",
            "<Rule/>",
            "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>",
            &good.repeat(2),
            "<Other/>",
            &default("", ""),
            &default("<SSEAlgorithm>aes256</SSEAlgorithm>", ""),
            &default("<SSEAlgorithm>AES256</SSEAlgorithm><X/>", ""),
            &default("<SSEAlgorithm>AES256</SSEAlgorithm>", "<BucketKeyEnabled>1</BucketKeyEnabled>"),
            "<Rule><BlockedEncryptionTypes/></Rule>",
            "<Rule><BlockedEncryptionTypes><EncryptionType>AES256</EncryptionType></BlockedEncryptionTypes></Rule>",
            "<Rule><BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule>",
        ] {
            assert_eq!(parsed(bad), Err(S3Code::MalformedXML), "{bad}");
        }
        let key = default("<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>", "");
        assert_eq!(parsed(&key), Err(S3Code::InvalidArgument));
        let key = default("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>a b</KMSMasterKeyID>", "");
        assert_eq!(parsed(&key), Err(S3Code::InvalidArgument));
    }

    #[test]
    fn an_update_names_a_key_of_the_key_manager() {
        let update = |inner: &str| {
            let document = format!("<ObjectEncryption>{inner}</ObjectEncryption>");
            parse_update(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
        };
        let asked = update("<SSE-KMS><KMSKeyArn>k</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled></SSE-KMS>");
        let asked = asked.unwrap();
        assert_eq!((asked.key_id.as_deref(), asked.bucket_key, asked.dual_layer), (Some("k"), Some(true), false));
        for arn in ["arn:aws:kms:us-east-1:123456789012:key/k", "arn:aws-us-gov:kms::123456789012:key/k"] {
            let asked = update(&format!("<SSE-KMS><KMSKeyArn>{arn}</KMSKeyArn></SSE-KMS>")).unwrap();
            assert_eq!(asked.key_id.as_deref(), Some(arn));
        }
        for bad in [
            "",
            "<SSE-S3/>",
            "<SSE-C/>",
            "<DSSE-KMS/>",
            "<SSE-KMS/>",
            "<SSE-KMS><KMSKeyArn/></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>a b</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>alias/k</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:alias/k</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:12345678901:key/k</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>arn:aws:s3:us-east-1:123456789012:key/k</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>arn:aws:kms:us-east-1:123456789012:key/</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>arn:aws:kms</KMSKeyArn></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>k</KMSKeyArn><BucketKeyEnabled>1</BucketKeyEnabled></SSE-KMS>",
            "<SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS><SSE-S3/>",
        ] {
            assert_eq!(update(bad), Err(S3Code::InvalidRequest), "{bad}");
        }
        assert_eq!(update("<X/>"), Err(S3Code::MalformedXML));
    }
}
