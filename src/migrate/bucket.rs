//! Buckets and their settings.
//!
//! Some settings would act on what is being copied: rules that expire, lock or tell. They are set when all is copied.

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::{
    MigrateError, Options, Pairing, Problem,
    acl::{self, Accounts},
    copy::Place,
    headers,
    report::BucketReport,
};
use crate::{
    outbound::Payload,
    s3client::{Call, S3Client, S3ClientError},
    xml::XmlWriter,
};

/// Settings that are copied as documents before the objects.
const BEFORE: [&str; 4] = ["ownershipControls", "encryption", "tagging", "cors"];
/// Settings that are copied as documents behind them.
const AFTER: [&str; 9] = [
    "lifecycle",
    "website",
    "object-lock",
    "accelerate",
    "requestPayment",
    "logging",
    "notification",
    "policy",
    "publicAccessBlock",
];
/// Documents that say nothing: what every bucket answers as long as nobody set it.
const NOTHING: [(&str, &str); 4] = [
    ("accelerate", "<Status>"),
    ("requestPayment", "<Payer>Requester</Payer>"),
    ("logging", "<LoggingEnabled>"),
    ("notification", "Configuration>"),
];

/// How a bucket at the source keeps versions: `Enabled`, `Suspended` or nothing.
pub(super) type Versioning = Option<String>;

/// Makes a bucket at the target, if it is not there, with the settings that objects need.
pub(super) async fn prepare(
    options: &Options,
    pair: &Pairing,
    accounts: Accounts,
    report: &mut BucketReport,
) -> Result<(Place, Versioning), MigrateError> {
    let versioning = options.from.bucket_versioning(&pair.from).await;
    let versioning = versioning.or_else(absent).map_err(MigrateError::Source)?;
    let lock = setting(&options.from, &pair.from, "object-lock").await.map_err(MigrateError::Source)?;
    let is_locked = lock.as_ref().is_some_and(|text| contains(text, "<ObjectLockEnabled>Enabled"));
    create(options, &pair.to, is_locked).await?;
    if versioning.is_some() {
        // A bucket whose versioning is suspended keeps what it has; the copies become versions like any other.
        set_versioning(&options.to, &pair.to, "Enabled").await.map_err(MigrateError::Target)?;
        report.settings.push("versioning".to_owned());
    }
    for name in BEFORE {
        copy_setting(options, pair, name, report).await?;
    }
    if options.acls {
        copy_acl(options, pair, &accounts, report).await?;
    }
    let lock = is_locked && has_lock(options, &pair.to).await?;
    if is_locked && !lock {
        report.note(whole("the target's bucket has no object lock: versions are copied without theirs"));
    }
    let place =
        Place { from: pair.from.clone(), to: pair.to.clone(), is_versioned: versioning.is_some(), lock, accounts };
    Ok((place, versioning))
}

/// Sets what would have acted on the objects while they were copied.
pub(super) async fn finish(
    options: &Options,
    pair: &Pairing,
    versioning: &Versioning,
    report: &mut BucketReport,
) -> Result<(), MigrateError> {
    for name in AFTER {
        copy_setting(options, pair, name, report).await?;
    }
    if versioning.as_deref() == Some("Suspended") {
        set_versioning(&options.to, &pair.to, "Suspended").await.map_err(MigrateError::Target)?;
    }
    Ok(())
}

fn whole(problem: &str) -> Problem {
    Problem { problem: problem.to_owned(), ..Problem::default() }
}

fn contains(text: &Bytes, what: &str) -> bool {
    String::from_utf8_lossy(text).contains(what)
}

/// Stores that do not know a setting have none.
pub(super) fn absent<T>(error: S3ClientError) -> Result<Option<T>, S3ClientError> {
    match error.status() {
        Some(400 | 404 | 405 | 501) => Ok(None),
        _ => Err(error),
    }
}

async fn create(options: &Options, bucket: &str, is_locked: bool) -> Result<(), MigrateError> {
    let mut headers = HeaderMap::new();
    if is_locked {
        headers::set(&mut headers, "x-amz-bucket-object-lock-enabled", "true");
    }
    let payload = match &options.location {
        None => Payload::Empty,
        Some(location) => {
            let mut xml = XmlWriter::document("CreateBucketConfiguration", 256);
            xml.text("LocationConstraint", location);
            Payload::Held(xml.finish())
        }
    };
    let call = Call::new(Method::PUT, Some(bucket), None).headers(&headers).payload(payload);
    match options.to.send(call).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(error) if error.status() == Some(409) => match options.to.bucket_versioning(bucket).await {
            // Some say so of one's own, too.
            Ok(_) => Ok(()),
            Err(_) => Err(MigrateError::Taken(bucket.to_owned())),
        },
        Err(error) => Err(MigrateError::Target(error)),
    }
}

async fn has_lock(options: &Options, bucket: &str) -> Result<bool, MigrateError> {
    let lock = setting(&options.to, bucket, "object-lock").await.map_err(MigrateError::Target)?;
    Ok(lock.is_some_and(|text| contains(&text, "<ObjectLockEnabled>Enabled")))
}

async fn set_versioning(client: &S3Client, bucket: &str, state: &str) -> Result<(), S3ClientError> {
    let mut xml = XmlWriter::document("VersioningConfiguration", 256);
    xml.text("Status", state);
    let call = Call::new(Method::PUT, Some(bucket), None).and("versioning", "");
    client.send(call.header("content-type", "application/xml").payload(Payload::Held(xml.finish()))).await.map(drop)
}

/// The document of a setting; `None` where there is none.
async fn setting(client: &S3Client, bucket: &str, name: &str) -> Result<Option<Bytes>, S3ClientError> {
    match client.document(Call::new(Method::GET, Some(bucket), None).and(name, "")).await {
        Ok(document) => Ok(Some(document.text).filter(|text| !text.is_empty())),
        Err(error) => absent(error),
    }
}

/// Copies a document as it is. What the target does not take is told, and no reason to stop.
async fn copy_setting(
    options: &Options,
    pair: &Pairing,
    name: &'static str,
    report: &mut BucketReport,
) -> Result<(), MigrateError> {
    let text = match setting(&options.from, &pair.from, name).await {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(()),
        Err(error) if error.may_pass() => return Err(MigrateError::Source(error)),
        Err(error) => {
            report.note(whole(&format!("its setting {name} cannot be read at the source: {error}")));
            return Ok(());
        }
    };
    let says = NOTHING.iter().find(|(of, _)| *of == name);
    if says.is_some_and(|(_, something)| !contains(&text, something)) || is_empty_notification(name, &text) {
        return Ok(());
    }
    let text = if name == "policy" && pair.from != pair.to { renamed(&text, pair) } else { text };
    let kind = if name == "policy" { "application/json" } else { "application/xml" };
    let call = Call::new(Method::PUT, Some(&pair.to), None).and(name, "");
    match options.to.send(call.header("content-type", kind).payload(Payload::Held(text))).await {
        Ok(_) => report.settings.push(name.to_owned()),
        Err(error) if error.may_pass() => return Err(MigrateError::Target(error)),
        Err(error) => {
            report.note(whole(&format!("its setting {name} is not taken by the target; set it there: {error}")));
        }
    }
    Ok(())
}

/// The document of a bucket that tells nobody has no element in its root.
fn is_empty_notification(name: &str, text: &Bytes) -> bool {
    let is_empty = || crate::xml::read::read(text).is_ok_and(|root| root.children().is_empty());
    name == "notification" && is_empty()
}

/// A policy names its bucket.
fn renamed(text: &Bytes, pair: &Pairing) -> Bytes {
    let text = String::from_utf8_lossy(text);
    let text = text.replace(&format!("arn:aws:s3:::{}\"", pair.from), &format!("arn:aws:s3:::{}\"", pair.to));
    text.replace(&format!("arn:aws:s3:::{}/", pair.from), &format!("arn:aws:s3:::{}/", pair.to)).into()
}

async fn copy_acl(
    options: &Options,
    pair: &Pairing,
    accounts: &Accounts,
    report: &mut BucketReport,
) -> Result<(), MigrateError> {
    let list = match acl::read(&options.from, &pair.from, None).await {
        Ok(list) => list,
        Err(error) if error.may_pass() => return Err(MigrateError::Source(error)),
        Err(error) => {
            report.note(whole(&format!("its list of access cannot be read at the source: {error}")));
            return Ok(());
        }
    };
    let mut headers = HeaderMap::new();
    for account in list.grant(accounts, &mut headers) {
        report.note(whole(&format!("account {account} has no grant any more: name it with --map-account")));
    }
    if headers.is_empty() {
        return Ok(());
    }
    let call = Call::new(Method::PUT, Some(&pair.to), None).and("acl", "").headers(&headers);
    match options.to.send(call).await {
        Ok(_) => report.settings.push("acl".to_owned()),
        Err(error) if error.may_pass() => return Err(MigrateError::Target(error)),
        Err(error) => report.note(whole(&format!("its list of access is not taken by the target: {error}"))),
    }
    Ok(())
}
