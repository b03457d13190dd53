//! Lines that belong into one bucket, put together to objects and written there.

use bytes::{Bytes, BytesMut};

use super::{LogSettings, name};
use crate::{
    auth::DeliveryService,
    storage::{
        Bucket, DeliveryError, EncryptionRequest, LinePlace, Parcel, Sender, Storage, StorageError,
        records::{AccessLines, LogPartition, LoggingRecord},
    },
    types::{AccountId, Acl, BucketName, Grant, Grantee, ObjectKey, Permission},
};

const DAY_MS: u64 = 86_400_000;

/// Lines for one object.
struct Object {
    lines: AccessLines,
    logging: LoggingRecord,
    text: BytesMut,
    count: usize,
    /// The entries of the queue that end in it.
    entries: Vec<LinePlace>,
}

/// What became of some entries for one target.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Those that may leave the queue.
    pub(super) done: Vec<LinePlace>,
    /// Why the others stay.
    pub(super) failure: Option<DeliveryError>,
}

/// Writes the lines of entries for one target, up to the first that cannot be written now. What never can (the target is
/// gone, is full, or does not permit it) costs its lines.
pub(super) async fn deliver(
    storage: &Storage,
    settings: &LogSettings,
    entries: Vec<(LinePlace, AccessLines)>,
) -> Delivered {
    // Entries without a setting belong nowhere.
    let (homeless, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, entry)| entry.logging.is_none());
    let done = homeless.into_iter().map(|(place, _)| place).collect();
    let mut delivered = Delivered { done, failure: None };
    for object in objects(entries, settings.lines) {
        match write(storage, settings, &object).await {
            Ok(()) => {}
            Err(error) if error.passes() => {
                delivered.failure = Some(error);
                break;
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
        delivered.done.extend(object.entries);
    }
    delivered
}

/// How many lines a text has.
pub(super) fn count(lines: &[u8]) -> usize {
    lines.split_inclusive(|byte| *byte == b'\n').count()
}

/// Puts together what belongs together, in the order in which it came.
fn objects(entries: Vec<(LinePlace, AccessLines)>, most: usize) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for (place, entry) in entries {
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
                object.entries.push(place);
            }
            None => objects.extend(split(place, &entry, &logging, most)),
        }
    }
    objects
}

/// Objects of at most so many lines.
fn split(place: LinePlace, entry: &AccessLines, logging: &LoggingRecord, most: usize) -> Vec<Object> {
    let bare = AccessLines { lines: Bytes::new(), ..entry.clone() };
    let lines: Vec<&[u8]> = entry.lines.split_inclusive(|byte| *byte == b'\n').collect();
    let pieces = lines.chunks(most.max(1));
    let object = |piece: &[&[u8]]| Object {
        lines: bare.clone(),
        logging: logging.clone(),
        text: piece.concat().as_slice().into(),
        count: piece.len(),
        entries: Vec::new(),
    };
    let mut objects: Vec<Object> = pieces.map(object).collect();
    match objects.last_mut() {
        Some(last) => last.entries.push(place),
        // Without a line it still is an entry, which has to leave the queue.
        None => objects.push(Object { entries: vec![place], ..object(&[]) }),
    }
    objects
}

async fn write(storage: &Storage, settings: &LogSettings, object: &Object) -> Result<(), DeliveryError> {
    let Object { lines, logging, text, count, .. } = object;
    if *count == 0 {
        return Ok(());
    }
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
