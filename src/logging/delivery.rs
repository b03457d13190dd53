//! From the queue into the buckets: page by page, each page grouped by what belongs into one object.

use bytes::{Bytes, BytesMut};

use super::{LogSettings, name};
use crate::{
    auth::DeliveryService,
    storage::{
        Bucket, DeliveryError, EncryptionRequest, LinePlace, Parcel, Sender, Storage, StorageError, StorageResult,
        records::{AccessLines, LogPartition, LoggingRecord},
    },
    types::{AccountId, Acl, BucketName, Grant, Grantee, ObjectKey, Permission},
};

/// Entries of the queue taken at a time: they are in memory together, some 16 MiB at most.
const PAGE: usize = 64;
/// Entries that the queue keeps: the oldest go where deliveries fail for so long.
const MOST_ENTRIES: u64 = 100_000;
const DAY_MS: u64 = 86_400_000;

/// Lines for one object.
struct Object {
    lines: AccessLines,
    logging: LoggingRecord,
    text: BytesMut,
    count: usize,
}

/// Delivers what is in the queue.
///
/// # Errors
/// What may pass, such as a full disk. What will not pass (the target is gone, is full, or does not permit it) costs the
/// lines.
pub(super) async fn deliver(storage: &Storage, settings: &LogSettings) -> Result<(), DeliveryError> {
    loop {
        let page = storage.queued_access_lines(PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        let last: LinePlace = *last;
        for object in objects(page.into_iter().map(|(_, lines)| lines), settings.lines) {
            match write(storage, settings, &object).await {
                Ok(()) => {}
                Err(error) if error.passes() => {
                    bound(storage, settings, last).await?;
                    return Err(error);
                }
                Err(error) => {
                    settings.dropped.inc_by(object.count as u64);
                    let (source, target) = (&object.lines.source, &object.logging.target_bucket);
                    tracing::warn!(
                        source, target, lines = object.count, %error,
                        "lines of an access log are dropped: the target takes none"
                    );
                }
            }
        }
        storage.remove_access_lines(last).await?;
    }
}

/// Removes a page where the queue is longer than it may be.
async fn bound(storage: &Storage, settings: &LogSettings, last: LinePlace) -> StorageResult<()> {
    if storage.queued_access_entries().await? > MOST_ENTRIES {
        let page = storage.queued_access_lines(PAGE).await?;
        let gone = page.iter().filter(|(place, _)| *place <= last);
        let lines: usize = gone.map(|(_, entry)| count(&entry.lines)).sum();
        settings.dropped.inc_by(lines as u64);
        tracing::warn!(lines, "the oldest lines of access logs are dropped: they could not be delivered for too long");
        storage.remove_access_lines(last).await?;
    }
    Ok(())
}

fn count(lines: &[u8]) -> usize {
    lines.split_inclusive(|byte| *byte == b'\n').count()
}

/// Puts together what belongs together, in the order in which it came.
fn objects(entries: impl Iterator<Item = AccessLines>, most: usize) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for entry in entries {
        let Some(logging) = entry.logging.clone() else { continue };
        let count = count(&entry.lines);
        let by_day = logging.partition() == LogPartition::EventTime;
        let same = objects.iter_mut().find(|object| {
            object.lines.source == entry.source
                && object.lines.source_owner == entry.source_owner
                && object.logging == logging
                && object.count + count <= most
                && (!by_day || object.lines.first_ms / DAY_MS == entry.first_ms / DAY_MS)
        });
        match same {
            Some(object) => {
                object.text.extend_from_slice(&entry.lines);
                object.count += count;
            }
            None => objects.extend(split(&entry, &logging, most)),
        }
    }
    objects
}

/// Objects of at most so many lines.
fn split(entry: &AccessLines, logging: &LoggingRecord, most: usize) -> Vec<Object> {
    let bare = AccessLines { lines: Bytes::new(), ..entry.clone() };
    let lines: Vec<&[u8]> = entry.lines.split_inclusive(|byte| *byte == b'\n').collect();
    let pieces = lines.chunks(most.max(1));
    let object = |piece: &[&[u8]]| Object {
        lines: bare.clone(),
        logging: logging.clone(),
        text: piece.concat().as_slice().into(),
        count: piece.len(),
    };
    pieces.map(object).collect()
}

async fn write(storage: &Storage, settings: &LogSettings, object: &Object) -> Result<(), DeliveryError> {
    let Object { lines, logging, text, .. } = object;
    let source = BucketName::new(&lines.source).map_err(|_| StorageError::NoSuchBucket)?;
    let target = BucketName::new(&logging.target_bucket).map_err(|_| StorageError::NoSuchBucket)?;
    let target = storage.bucket(&target).await?;
    let now = storage.clock().now();
    let key = name::key(settings, lines, logging, now, storage.random());
    let key = ObjectKey::new(&key).map_err(|_| StorageError::Broken("the names of log objects fit into keys"))?;
    // The target may have been deleted, and made again by somebody else, who is asked like any other.
    let owner = AccountId::new(lines.source_owner.as_str());
    let numbers = &*settings.numbers;
    let sender = Sender { service: DeliveryService::Logs, source: &source, owner: &owner, numbers };
    let parcel = Parcel {
        acl: acl(&target, logging),
        target,
        key,
        bytes: text.clone().freeze(),
        content_type: "text/plain",
        encryption: EncryptionRequest::BucketDefault,
    };
    storage.deliver(sender, parcel).await.map(drop)
}

/// Log objects belong to the owner of their bucket; others get what the logged bucket says.
fn acl(target: &Bucket, logging: &LoggingRecord) -> Option<Acl> {
    logging.grants.as_ref().map(|grants| {
        let owner = Grant { grantee: Grantee::Account(target.owner.clone()), permission: Permission::FullControl };
        let others = Acl::from(grants).grants.into_iter().filter(|grant| *grant != owner);
        Acl { grants: std::iter::once(owner.clone()).chain(others).collect() }
    })
}
