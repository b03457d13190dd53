//! From the queue into the buckets: page by page, each page grouped by what belongs into one object.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{LogSettings, name};
use crate::{
    kms::KmsError,
    storage::{
        Attributes, Bucket, LinePlace, PutObject, Storage, StorageError, StorageResult, WriteCondition,
        records::{AccessLines, ContentHeaders, JournalOp, LogPartition, LoggingRecord},
    },
    types::{
        Acl, BodyDigests, BucketName, Checksum, ChecksumAlgorithm, DigestSlot, Grant, Grantee, IncomingBody, ObjectKey,
        Permission, body,
        digest::{Digest, Md5},
    },
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
/// What may pass, such as a full disk. What will not pass (the target is gone, or somebody else's) costs the lines.
pub(super) async fn deliver(storage: &Storage, settings: &LogSettings) -> StorageResult<()> {
    loop {
        let page = storage.queued_access_lines(PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        let last: LinePlace = *last;
        for object in objects(page.into_iter().map(|(_, lines)| lines), settings.lines) {
            match write(storage, settings, object).await {
                Ok(()) => {}
                Err(error) if passes(&error) => {
                    bound(storage, last).await?;
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "lines of an access log are dropped: the target takes none"),
            }
        }
        storage.remove_access_lines(last).await?;
    }
}

/// Removes a page where the queue is longer than it may be.
async fn bound(storage: &Storage, last: LinePlace) -> StorageResult<()> {
    if storage.queued_access_entries().await? > MOST_ENTRIES {
        tracing::warn!("the oldest lines of access logs are dropped: they could not be delivered for too long");
        storage.remove_access_lines(last).await?;
    }
    Ok(())
}

/// Whether the same may work later.
fn passes(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::Metadata(_)
            | StorageError::Data(_)
            | StorageError::Contention
            | StorageError::UnknownLocation(_)
            | StorageError::Kms(KmsError::Unavailable(_))
    )
}

/// Puts together what belongs together, in the order in which it came.
fn objects(entries: impl Iterator<Item = AccessLines>, most: usize) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for entry in entries {
        let Some(logging) = entry.logging.clone() else { continue };
        let count = entry.lines.split_inclusive(|byte| *byte == b'\n').count();
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

async fn write(storage: &Storage, settings: &LogSettings, object: Object) -> StorageResult<()> {
    let Object { lines, logging, text, .. } = object;
    let name = BucketName::new(&logging.target_bucket).map_err(|_| StorageError::NoSuchBucket)?;
    let bucket = storage.bucket(&name).await?;
    // The target may have been deleted, and made again by somebody else.
    if bucket.owner.as_str() != lines.source_owner {
        return Err(StorageError::NoSuchBucket);
    }
    let now = storage.clock().now();
    let key = name::key(settings, &lines, &logging, now, storage.random());
    let key = ObjectKey::new(&key).map_err(|_| StorageError::Broken("the names of log objects fit into keys"))?;
    let locations = storage.locations();
    let location = locations.get(&bucket.record.location).cloned();
    let location = location.ok_or_else(|| StorageError::UnknownLocation(bucket.record.location.clone()))?;
    let put = PutObject {
        attributes: attributes(&bucket, &logging),
        key,
        location,
        condition: WriteCondition::Always,
        body: incoming(text.freeze()),
        op: JournalOp::ObjectPut,
        bucket,
    };
    storage.put_object(put).await.map(drop)
}

/// Log objects belong to the owner of their bucket; others get what the logged bucket says.
fn attributes(bucket: &Arc<Bucket>, logging: &LoggingRecord) -> Attributes {
    let acl = logging.grants.as_ref().map(|grants| {
        let owner = Grant { grantee: Grantee::Account(bucket.owner.clone()), permission: Permission::FullControl };
        let others = Acl::from(grants).grants.into_iter().filter(|grant| *grant != owner);
        Acl { grants: std::iter::once(owner.clone()).chain(others).collect() }
    });
    Attributes {
        owner: Some(bucket.owner.clone()),
        owner_display_name: bucket.record.owner_display_name.clone(),
        content: ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() },
        acl,
        ..Attributes::default()
    }
}

fn incoming(bytes: Bytes) -> IncomingBody {
    let digests = DigestSlot::default();
    digests.set(BodyDigests {
        size: bytes.len() as u64,
        md5: Md5::digest(&bytes).into(),
        checksum: Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes),
    });
    IncomingBody { length: Some(bytes.len() as u64), stream: body::once(bytes), digests }
}
