//! The headers of server-side encryption: read from a request, shown in an answer.
//!
//! Source: S3 reference, "Protecting data with server-side encryption", "Using server-side encryption with
//! customer-provided keys (SSE-C)". Clients' keys are used and forgotten; answers echo algorithm and digest only.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    codes::S3Code,
    context::{Context, Settings},
    error::{S3Error, S3Result},
    head::Head,
    reply::set,
};
use crate::{
    kms::SecretKey,
    storage::{
        Bucket, EncryptionRequest, KmsRequest, StorageError,
        records::{EncryptionMode, EncryptionRecord, ObjectRecord},
    },
    types::digest::{Digest, Md5},
};

const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const CUSTOMER_ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const CUSTOMER_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";
/// The one algorithm there is.
const AES256: &str = "AES256";
/// Longest name of a key, and longest context, in bytes.
const LONGEST: usize = 2048;

/// Headers that bring a client's key: for the object addressed, or for the source of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// `x-amz-server-side-encryption-customer-*`.
    Object,
    /// `x-amz-copy-source-server-side-encryption-customer-*`.
    CopySource,
}

impl KeyOf {
    /// Algorithm, key, digest of the key.
    const fn headers(self) -> [&'static str; 3] {
        match self {
            Self::Object => [CUSTOMER_ALGORITHM, "x-amz-server-side-encryption-customer-key", CUSTOMER_MD5],
            Self::CopySource => [
                "x-amz-copy-source-server-side-encryption-customer-algorithm",
                "x-amz-copy-source-server-side-encryption-customer-key",
                "x-amz-copy-source-server-side-encryption-customer-key-md5",
            ],
        }
    }
}

/// The key that a client sends, if it does.
///
/// # Errors
/// `InvalidArgument` where one of the three headers is missing or they do not fit each other;
/// `InvalidEncryptionAlgorithmError` for another algorithm.
pub fn customer_key(head: &Head, of: KeyOf) -> S3Result<Option<SecretKey>> {
    let [algorithm, key, md5] = of.headers();
    refuse_illegible(head, &[algorithm, key, md5])?;
    let given = [algorithm, key, md5].map(|name| head.header(name));
    if given.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [given_algorithm, given_key, given_md5] = given;
    let must = |what: &str| {
        format!("Requests specifying Server Side Encryption with Customer provided keys must provide {what}.")
    };
    let Some(named) = given_algorithm else {
        return Err(S3Error::argument(must("a valid encryption algorithm"), algorithm, ""));
    };
    if named != AES256 {
        return Err(S3Error::from(S3Code::InvalidEncryptionAlgorithmError)
            .with("ArgumentName", algorithm)
            .with("ArgumentValue", named));
    }
    let Some(text) = given_key else { return Err(S3Error::argument(must("an appropriate secret key"), key, "")) };
    let Some(digest) = given_md5 else {
        return Err(S3Error::argument(must("the client calculated MD5 of the secret key"), md5, ""));
    };
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).unwrap_or_default());
    let Some(secret) = SecretKey::from_slice(&bytes) else {
        // The value is not repeated: it may be a key all the same.
        return Err(S3Error::argument("The secret key was invalid for the specified algorithm.", key, ""));
    };
    let digest = BASE64_STANDARD.decode(digest).unwrap_or_default();
    if !bool::from(Md5::digest(secret.expose()).as_slice().ct_eq(&digest)) {
        let message = "The calculated MD5 hash of the key did not match the hash that was provided.";
        return Err(S3Error::argument(message, md5, given_md5.unwrap_or_default()));
    }
    Ok(Some(secret))
}

/// A value that is no text must not pass for none: the object would lie there in the clear.
fn refuse_illegible(head: &Head, names: &[&'static str]) -> S3Result<()> {
    match names.iter().find(|name| head.headers.contains_key(**name) && head.header(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(S3Error::argument("The value of an encryption header is no text.", name, "")),
    }
}

/// As [`customer_key`], where the operator may demand TLS for it.
///
/// # Errors
/// As [`customer_key`]; `InvalidRequest` without TLS where `requireTlsForSseC` is set.
pub fn guarded_key(head: &Head, settings: &Settings, of: KeyOf) -> S3Result<Option<SecretKey>> {
    let key = customer_key(head, of)?;
    if key.is_some() && settings.require_tls_for_sse_c && !head.base_url.starts_with("https:") {
        return Err(S3Error::request(
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
        ));
    }
    Ok(key)
}

/// Checks the key that a client sends against that of a version it reads.
///
/// # Errors
/// `InvalidRequest` where one is missing or not called for; `AccessDenied` for a wrong one.
pub fn check_key_of_read(
    cx: &Context,
    bucket: &Bucket,
    record: &ObjectRecord,
    key: Option<&SecretKey>,
) -> S3Result<()> {
    cx.storage.check_customer_key(bucket.id, record, key).map_err(|e| match e {
        // A wrong key is no right to the object to AWS, and a wrong argument to Ceph.
        StorageError::WrongKey => {
            S3Error::from(e).under(cx.head.dialect.pick(S3Code::AccessDenied, S3Code::InvalidArgument))
        }
        other => other.into(),
    })
}

/// Refuses what only writes may say.
///
/// # Errors
/// `InvalidArgument` where a read names a method of encryption.
pub fn refuse_on_read(head: &Head) -> S3Result<()> {
    match [METHOD, KEY_ID].into_iter().find_map(|name| Some((name, head.header(name)?))) {
        None => Ok(()),
        Some((name, value)) => {
            Err(S3Error::argument(format!("{name} header is not supported for this operation."), name, value))
        }
    }
}

/// Whether a write says anything about the encryption of its object.
pub fn is_asked_for(head: &Head) -> bool {
    head.header(METHOD).is_some() || head.header(CUSTOMER_ALGORITHM).is_some()
}

/// How a write wants its object to be encrypted.
///
/// # Errors
/// Those of [`guarded_key`]; `InvalidArgument` for unknown methods and headers that exclude each other;
/// `AccessDenied` where the bucket blocks clients' keys.
pub fn request(head: &Head, settings: &Settings, bucket: &Bucket) -> S3Result<EncryptionRequest> {
    refuse_illegible(head, &[METHOD, KEY_ID, CONTEXT, BUCKET_KEY])?;
    let method = head.header(METHOD);
    if let Some(key) = guarded_key(head, settings, KeyOf::Object)? {
        if let Some((name, value)) = [METHOD, KEY_ID].into_iter().find_map(|name| Some((name, head.header(name)?))) {
            let message = "Server Side Encryption with Customer provided key is incompatible with the encryption method specified";
            return Err(S3Error::argument(message, name, value));
        }
        if bucket.record.encryption.as_ref().is_some_and(|set| set.blocks_customer_keys) {
            return Err(S3Error::new(
                S3Code::AccessDenied,
                "The bucket blocks server-side encryption with customer-provided keys (SSE-C).",
            ));
        }
        return Ok(EncryptionRequest::Customer(key));
    }
    let dual_layer = method == EncryptionMode::DualLayer.header();
    match method {
        Some("aws:kms" | "aws:kms:dsse") => kms_request(head, dual_layer).map(EncryptionRequest::Kms),
        None | Some(AES256) => match head.header(KEY_ID).map(|value| (KEY_ID, value)).or_else(|| context_of(head)) {
            Some((name, value)) => Err(S3Error::argument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
                name,
                value,
            )),
            None if method.is_some() => Ok(EncryptionRequest::Managed),
            None => Ok(EncryptionRequest::BucketDefault),
        },
        Some(other) => Err(S3Error::argument("The encryption method specified is not supported", METHOD, other)),
    }
}

fn context_of(head: &Head) -> Option<(&'static str, &str)> {
    head.header(CONTEXT).map(|value| (CONTEXT, value))
}

fn kms_request(head: &Head, dual_layer: bool) -> S3Result<KmsRequest> {
    let key_id = match head.header(KEY_ID) {
        // Ceph has no default key.
        None | Some("") if head.dialect.is_ceph() => {
            let message = "Server Side Encryption with KMS managed key requires the header that names the key.";
            return Err(S3Error::argument(message, KEY_ID, ""));
        }
        None | Some("") => None,
        Some(id) => Some(check_key_id(KEY_ID, id)?.to_owned()),
    };
    let context = head.header(CONTEXT).unwrap_or_default();
    if !context.is_empty() && !is_context(context) {
        return Err(S3Error::argument(
            "The header 'x-amz-server-side-encryption-context' is invalid.",
            CONTEXT,
            context,
        ));
    }
    let bucket_key = match head.header(BUCKET_KEY) {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Some(other) => return Err(S3Error::argument("The value must be true or false.", BUCKET_KEY, other)),
    };
    Ok(KmsRequest { key_id, dual_layer, context: context.to_owned(), bucket_key })
}

/// The id of a key, which becomes a header of answers.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_key_id<'a>(name: &str, id: &'a str) -> S3Result<&'a str> {
    let fits = (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(id) } else { Err(S3Error::argument("The key id is not valid.", name, id)) }
}

/// Base64 of a JSON object of strings.
fn is_context(text: &str) -> bool {
    let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
    let pairs: Result<std::collections::BTreeMap<String, String>, _> = serde_json::from_slice(&bytes);
    text.len() <= LONGEST && pairs.is_ok()
}

/// Shows in an answer how an object is encrypted. With a client's key, the request has brought its digest.
pub fn show(headers: &mut HeaderMap, encryption: Option<&EncryptionRecord>, head: &Head) {
    let Some(encryption) = encryption else { return };
    let mode = encryption.mode();
    if let Some(method) = mode.header() {
        headers.insert(METHOD, HeaderValue::from_static(method));
    }
    if mode.names_key() {
        set(headers, HeaderName::from_static(KEY_ID), &encryption.key_id);
        if encryption.bucket_key {
            headers.insert(BUCKET_KEY, HeaderValue::from_static("true"));
        }
    }
    if let (EncryptionMode::Customer, Some(digest)) = (mode, head.header(CUSTOMER_MD5)) {
        headers.insert(CUSTOMER_ALGORITHM, HeaderValue::from_static(AES256));
        set(headers, HeaderName::from_static(CUSTOMER_MD5), digest);
    }
}

/// As [`show`], for the answer to a write, which repeats the context.
pub fn show_written(headers: &mut HeaderMap, encryption: Option<&EncryptionRecord>, head: &Head) {
    show(headers, encryption, head);
    if let Some(encryption) = encryption.filter(|encryption| !encryption.context.is_empty()) {
        set(headers, HeaderName::from_static(CONTEXT), &encryption.context);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn head(headers: &[(&'static str, &str)]) -> Head {
        let map = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        Head::new(Method::PUT, map, "").unwrap()
    }

    fn refused(headers: &[(&'static str, &str)]) -> S3Code {
        customer_key(&head(headers), KeyOf::Object).unwrap_err().code
    }

    #[test]
    fn a_header_that_is_no_text_is_not_taken_for_none() {
        let [algorithm, key, md5] = KeyOf::Object.headers();
        assert_eq!(refused(&[(algorithm, "ü"), (key, "ü"), (md5, "ü")]), S3Code::InvalidArgument);
    }

    #[test]
    fn a_key_comes_with_algorithm_and_digest_or_not_at_all() {
        let [algorithm, key, md5] = KeyOf::Object.headers();
        assert_eq!(customer_key(&head(&[]), KeyOf::Object).unwrap(), None);
        assert!(customer_key(&head(&[(algorithm, AES256), (key, KEY), (md5, MD5)]), KeyOf::Object).unwrap().is_some());
        for lacking in [
            [(algorithm, AES256), (key, KEY)],
            [(algorithm, AES256), (md5, MD5)],
            [(key, KEY), (md5, MD5)],
            [(algorithm, AES256), (algorithm, AES256)],
        ] {
            assert_eq!(refused(&lacking), S3Code::InvalidArgument, "{lacking:?}");
        }
        for (bad_algorithm, bad_key, bad_md5, code) in [
            ("AES128", KEY, MD5, S3Code::InvalidEncryptionAlgorithmError),
            ("aes256", KEY, MD5, S3Code::InvalidEncryptionAlgorithmError),
            (AES256, "AAAA", MD5, S3Code::InvalidArgument),
            (AES256, "!", MD5, S3Code::InvalidArgument),
            (AES256, KEY, "AAAAAAAAAAAAAAAAAAAAAA==", S3Code::InvalidArgument),
            (AES256, KEY, "!", S3Code::InvalidArgument),
            (AES256, KEY, "", S3Code::InvalidArgument),
        ] {
            assert_eq!(refused(&[(algorithm, bad_algorithm), (key, bad_key), (md5, bad_md5)]), code);
        }
    }

    #[test]
    fn a_refused_key_is_not_repeated() {
        let [algorithm, key, md5] = KeyOf::Object.headers();
        let error = customer_key(&head(&[(algorithm, AES256), (key, "c2VjcmV0"), (md5, MD5)]), KeyOf::Object);
        assert!(!format!("{:?}", error.unwrap_err()).contains("c2VjcmV0"));
    }

    #[test]
    fn a_context_is_an_object_of_strings() {
        for (text, fits) in [("{\"a\":\"b\"}", true), ("{}", true), ("[]", false), ("{\"a\":1}", false), ("", false)] {
            assert_eq!(is_context(&BASE64_STANDARD.encode(text)), fits, "{text}");
        }
        assert!(!is_context("not base64"));
    }
}
