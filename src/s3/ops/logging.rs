//! `GetBucketLogging`, `PutBucketLogging`: where a bucket's access log goes. `crate::logging` delivers it.
//!
//! Source and target have one owner, as S3 asks for: so the owner's own request is permission enough, and the target needs
//! no grant to the log delivery group, nor a policy. But its policy may forbid the delivery, then or later.

use std::sync::Arc;

use http::Method;

use crate::{
    auth::{AccountNumbers, Action, DeliveryService},
    s3::{
        codes::S3Code,
        context::{Context, Directory},
        error::{S3Error, S3Result},
        grants,
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        xml::{Element, XmlError, XmlWriter, read},
    },
    storage::{
        EncryptionRequest, Sender,
        records::{AclRecord, LogPartition, LoggingRecord},
    },
    types::{AccountId, Acl, BucketName, ObjectKey, Permission},
};

/// Largest document: a hundred grants.
const DOCUMENT: usize = 256 << 10;
/// Most bytes of the prefix: what follows it must fit into a key.
const MAX_PREFIX: usize = 512;

/// How the name of a log object goes on: asks whether the target permits such names.
const SAMPLE: &str = "2000-01-01-00-00-00-0000000000000000";

/// The directory, as deliveries ask it.
#[derive(Debug)]
struct Numbers<'a>(&'a dyn Directory);

impl AccountNumbers for Numbers<'_> {
    fn number_of(&self, account: &AccountId) -> Option<Arc<str>> {
        self.0.account_number(account)
    }
}

/// Returns where a bucket's access log goes; nothing where it is not kept.
#[derive(Debug)]
pub struct GetBucketLogging {
    name: BucketName,
}

/// Says where a bucket's access log goes; an empty document ends it.
#[derive(Debug)]
pub struct PutBucketLogging {
    name: BucketName,
}

impl Operation for GetBucketLogging {
    const NAME: &'static str = "GetBucketLogging";
    const ACTION: &'static str = "bucketGetLogging";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["logging"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketLogging)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let mut xml = XmlWriter::document("BucketLoggingStatus", 1024);
        if let Some(logging) = &bucket.record.logging {
            write(&mut xml, logging, cx.directory.as_ref());
        }
        Ok(Document::new(xml.finish()))
    }
}

impl Operation for PutBucketLogging {
    const NAME: &'static str = "PutBucketLogging";
    const ACTION: &'static str = "bucketPutLogging";
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, &["logging"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::PutBucketLogging)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        // The model demands a digest; s3cmd sends none.
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let logging = parse(&read::read(&document)?, cx.directory.as_ref())?;
        // "You must be the bucket owner" (S3 reference): no policy gives this away, for the log is written in his name.
        if cx.bucket(&self.name).await?.owner != cx.principal.account {
            return Err(S3Code::AccessDenied.into());
        }
        if let Some(logging) = &logging {
            check_target(&cx, &self.name, logging).await?;
        }
        cx.storage.update_bucket(&self.name, |bucket| bucket.logging.clone_from(&logging)).await?;
        Ok(Plain::ok())
    }
}

/// The target belongs to the owner of the logged bucket and is at the same place. What belongs to others looks as if
/// it were not there.
async fn check_target(cx: &Context, source: &BucketName, logging: &LoggingRecord) -> S3Result<()> {
    let target = logging.target_bucket.as_str();
    let refused = || S3Error::from(S3Code::InvalidTargetBucketForLogging).with("TargetBucket", target);
    let source = cx.bucket(source).await?;
    let name = BucketName::new(target).map_err(|_| refused())?;
    let target = match cx.bucket(&name).await {
        Ok(target) => target,
        Err(e) if e.code == S3Code::NoSuchBucket => return Err(refused()),
        Err(e) => return Err(e),
    };
    if target.owner != source.owner {
        return Err(refused());
    }
    if target.record.location != source.record.location {
        return Err(S3Error::new(
            S3Code::InvalidTargetBucketForLogging,
            "The source and the target bucket must be at the same location",
        )
        .with("TargetBucket", name.as_str()));
    }
    // S3 user guide, "Using Requester Pays buckets": such a bucket cannot be a target.
    if target.record.requester_pays {
        return Err(refused());
    }
    let key = format!("{}{SAMPLE}", logging.target_prefix);
    let key = ObjectKey::new(&key).map_err(|_| refused())?;
    let numbers = Numbers(cx.directory.as_ref());
    let sender =
        Sender { service: DeliveryService::Logs, source: &source.name, owner: &source.owner, numbers: &numbers };
    if sender.may_write(&target, &key, &EncryptionRequest::BucketDefault, cx.now) { Ok(()) } else { Err(refused()) }
}

pub(in crate::s3) fn parse(root: &Element<'_>, directory: &dyn Directory) -> S3Result<Option<LoggingRecord>> {
    if root.name() != "BucketLoggingStatus" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["LoggingEnabled"])?;
    let Some(enabled) = root.child("LoggingEnabled")? else { return Ok(None) };
    enabled.only(&["TargetBucket", "TargetPrefix", "TargetGrants", "TargetObjectKeyFormat"])?;
    let target_prefix = enabled.required_text("TargetPrefix")?.to_owned();
    if target_prefix.len() > MAX_PREFIX {
        return Err(S3Error::argument("The target prefix is too long", "TargetPrefix", &target_prefix));
    }
    let grants = match enabled.child("TargetGrants")? {
        None => None,
        Some(list) => Some(AclRecord::from(&target_grants(list, directory)?)),
    };
    Ok(Some(LoggingRecord {
        target_bucket: enabled.required_text("TargetBucket")?.trim().to_owned(),
        target_prefix,
        grants,
        partition: enabled.child("TargetObjectKeyFormat")?.map_or(Ok(LogPartition::Simple), partition)?.into(),
    }))
}

/// On log objects S3 gives three of the five permissions.
fn target_grants(list: &Element<'_>, directory: &dyn Directory) -> S3Result<Acl> {
    let acl = grants::read_grants(list, directory)?;
    let known = [Permission::FullControl, Permission::Read, Permission::Write];
    if acl.grants.iter().all(|grant| known.contains(&grant.permission)) {
        return Ok(acl);
    }
    Err(XmlError::Invalid("Permission").into())
}

fn partition(element: &Element<'_>) -> S3Result<LogPartition> {
    element.only(&["SimplePrefix", "PartitionedPrefix"])?;
    match (element.child("SimplePrefix")?, element.child("PartitionedPrefix")?) {
        (Some(simple), None) => {
            simple.only(&[])?;
            Ok(LogPartition::Simple)
        }
        (None, Some(partitioned)) => {
            partitioned.only(&["PartitionDateSource"])?;
            match partitioned.optional_text("PartitionDateSource")?.map(str::trim) {
                None | Some("DeliveryTime") => Ok(LogPartition::DeliveryTime),
                Some("EventTime") => Ok(LogPartition::EventTime),
                Some(_) => Err(XmlError::Invalid("PartitionDateSource").into()),
            }
        }
        _ => Err(XmlError::Invalid("TargetObjectKeyFormat").into()),
    }
}

pub(in crate::s3) fn write(xml: &mut XmlWriter, logging: &LoggingRecord, directory: &dyn Directory) {
    xml.open("LoggingEnabled").text("TargetBucket", &logging.target_bucket);
    if let Some(grants) = &logging.grants {
        xml.open("TargetGrants");
        grants::write_grants(xml, &Acl::from(grants), directory);
        xml.close();
    }
    xml.text("TargetPrefix", &logging.target_prefix).open("TargetObjectKeyFormat");
    let source = match logging.partition() {
        LogPartition::Simple => None,
        LogPartition::DeliveryTime => Some("DeliveryTime"),
        LogPartition::EventTime => Some("EventTime"),
    };
    match source {
        None => xml.empty("SimplePrefix"),
        Some(source) => xml.open("PartitionedPrefix").text("PartitionDateSource", source).close(),
    };
    xml.close().close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Everybody;

    impl Directory for Everybody {
        fn display_name(&self, account: &AccountId) -> Option<Arc<str>> {
            Some(account.as_str().into())
        }

        fn by_email(&self, _: &str) -> Option<AccountId> {
            None
        }
    }

    fn parsed(inner: &str) -> Result<Option<LoggingRecord>, S3Code> {
        let document = format!("<BucketLoggingStatus>{inner}</BucketLoggingStatus>");
        parse(&read::read(document.as_bytes()).unwrap(), &Everybody).map_err(|e| e.code)
    }

    fn enabled(more: &str) -> String {
        format!("<LoggingEnabled><TargetBucket>t</TargetBucket><TargetPrefix>p/</TargetPrefix>{more}</LoggingEnabled>")
    }

    fn grants(permission: &str) -> String {
        format!(
            "<TargetGrants><Grant><Grantee xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' \
             xsi:type='CanonicalUser'><ID>abc</ID></Grantee><Permission>{permission}</Permission></Grant></TargetGrants>"
        )
    }

    fn format_of(inner: &str) -> String {
        enabled(&format!("<TargetObjectKeyFormat>{inner}</TargetObjectKeyFormat>"))
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let source = |name: &str| {
            format_of(&format!(
                "<PartitionedPrefix><PartitionDateSource>{name}</PartitionDateSource></PartitionedPrefix>"
            ))
        };
        for document in [
            enabled(""),
            enabled(&grants("READ")),
            format_of("<SimplePrefix/>"),
            format_of("<PartitionedPrefix/>"),
            source("EventTime"),
            source("DeliveryTime"),
        ] {
            let record = parsed(&document).unwrap().unwrap();
            let mut xml = XmlWriter::bare("BucketLoggingStatus", &[], 64);
            write(&mut xml, &record, &Everybody);
            let again = parse(&read::read(&xml.finish()).unwrap(), &Everybody).unwrap();
            assert_eq!(again, Some(record), "{document}");
        }
        assert_eq!(parsed(""), Ok(None));
    }

    #[test]
    fn what_s3_does_not_know_is_malformed() {
        for bad in [
            "<Other/>".to_owned(),
            "<LoggingEnabled><TargetBucket>t</TargetBucket></LoggingEnabled>".to_owned(),
            enabled(&grants("READ_ACP")),
            enabled(&grants("ALL")),
            enabled("<LoggingType>Standard</LoggingType>"),
            format_of(""),
            format_of("<SimplePrefix/><PartitionedPrefix/>"),
            format_of("<PartitionedPrefix><PartitionDateSource>x</PartitionDateSource></PartitionedPrefix>"),
        ] {
            assert_eq!(parsed(&bad), Err(S3Code::MalformedXML), "{bad}");
        }
        let long = enabled("").replace("p/", &"p".repeat(513));
        assert_eq!(parsed(&long), Err(S3Code::InvalidArgument));
    }
}
