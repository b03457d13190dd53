//! The rules of versioning: what a write or delete of a key does to its versions.
//!
//! | versioning | write | delete without id |
//! |---|---|---|
//! | unversioned | replaces the `null` version | removes it |
//! | enabled | adds a version | adds a marker |
//! | suspended | replaces the `null` version, others stay | replaces it by a `null` marker |

use bytes::Bytes;

use super::{
    Storage, StorageError, StorageResult,
    buckets::Bucket,
    change::Change,
    keys,
    lock::{Leave, LockError},
    records::{ObjectRecord, Record, Versioning},
};
use crate::{
    metadata::{Condition, Direction, Namespace, Table},
    types::{ObjectKey, VersionId, VersionSelector},
};

/// The newest version of a key as it was read, with the stored bytes that conditions compare.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    current: Option<Bytes>,
    marker: Option<(Bytes, Bytes)>,
    /// The newest version or marker.
    pub(super) record: Option<ObjectRecord>,
}

/// An older version as it was read.
#[derive(Clone, Debug)]
pub(super) struct Older {
    pub(super) stored: Bytes,
    pub(super) record: ObjectRecord,
}

impl Head {
    /// The newest version, unless it is a marker.
    pub(super) fn object(&self) -> Option<&ObjectRecord> {
        self.record.as_ref().filter(|record| !record.delete_marker)
    }

    /// Whether the selector names the newest version.
    pub(super) fn is(&self, selector: VersionSelector) -> bool {
        self.record.as_ref().is_some_and(|record| match selector {
            VersionSelector::Null => record.is_null,
            VersionSelector::Id(id) => !record.is_null && record.version_id() == id,
        })
    }

    /// The newest version, if the selector names it.
    pub(super) fn newest(&self, selector: VersionSelector) -> Option<&ObjectRecord> {
        self.record.as_ref().filter(|_| self.is(selector))
    }

    /// The answer where there is no current object: with the marker, if there is one.
    pub(super) fn no_such_key(&self) -> StorageError {
        StorageError::NoSuchKey(self.record.clone().map(Box::new))
    }

    /// The id of the `null` version, if it is not the newest one.
    pub(super) fn older_null(&self) -> Option<VersionId> {
        self.record.as_ref().and_then(ObjectRecord::null_version)
    }

    /// Makes a change depend on this being still the newest version.
    pub(super) fn require(&self, change: &mut Change<'_>, key: &ObjectKey) {
        let current = change.ns(Table::Current);
        change.batch.unchanged(current, key.as_bytes().to_vec(), self.current.as_ref());
        if let Some((row, stored)) = &self.marker {
            let versions = change.ns(Table::Versions);
            change.batch.unchanged(versions, row.clone(), Some(stored));
            // A newer marker would leave this one as it is.
            let first = keys::versions_of(key).start;
            change.batch.require(versions, first, Condition::EmptyRange(row.clone()));
        } else if self.current.is_none() && change.bucket.is_versioned() {
            let range = keys::versions_of(key);
            let versions = change.ns(Table::Versions);
            change.batch.require(versions, range.start, Condition::EmptyRange(range.end));
        }
    }
}

impl Storage {
    /// The newest version of a key.
    pub(super) async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> StorageResult<Head> {
        let ns = Namespace::of(Table::Current, bucket.id);
        if let Some(stored) = self.inner.metadata.get(ns, key.as_bytes()).await? {
            let record = ObjectRecord::from_bytes(&stored)?;
            return Ok(Head { current: Some(stored), marker: None, record: Some(record) });
        }
        if !bucket.is_versioned() {
            return Ok(Head::default());
        }
        let versions = Namespace::of(Table::Versions, bucket.id);
        let rows = self.inner.metadata.scan(versions, keys::versions_of(key), Direction::Forward, 1).await?;
        let Some((row, stored)) = rows.into_iter().next() else { return Ok(Head::default()) };
        let record = ObjectRecord::from_bytes(&stored)?;
        Ok(Head { current: None, marker: Some((row, stored)), record: Some(record) })
    }

    /// An older version by id.
    pub(super) async fn older(&self, bucket: &Bucket, key: &ObjectKey, id: VersionId) -> StorageResult<Option<Older>> {
        let ns = Namespace::of(Table::Versions, bucket.id);
        let Some(stored) = self.inner.metadata.get(ns, &keys::version(key, id)).await? else { return Ok(None) };
        let record = ObjectRecord::from_bytes(&stored)?;
        Ok(Some(Older { stored, record }))
    }

    /// The `null` version that a suspended write replaces, where it is not the newest one.
    pub(super) async fn replaced_null(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        head: &Head,
    ) -> StorageResult<Option<Older>> {
        match (bucket.versioning(), head.older_null()) {
            (Versioning::Suspended, Some(id)) => self.older(bucket, key, id).await,
            _ => Ok(None),
        }
    }

    /// The version after the newest one: what becomes the newest if that goes.
    pub(super) async fn next_version(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        head: &Head,
    ) -> StorageResult<Option<Older>> {
        let mut range = keys::versions_of(key);
        if let Some((row, _)) = &head.marker {
            range.start = keys::after(row);
        }
        let ns = Namespace::of(Table::Versions, bucket.id);
        let rows = self.inner.metadata.scan(ns, range, Direction::Forward, 1).await?;
        let Some((_, stored)) = rows.into_iter().next() else { return Ok(None) };
        let record = ObjectRecord::from_bytes(&stored)?;
        Ok(Some(Older { stored, record }))
    }
}

/// Plans the write of `new`, a version or a marker, as the newest of its key.
///
/// `new` needs its version id; whether it is `null` and where an older `null` version is are filled in here.
/// `null` is what [`Storage::replaced_null`] found.
///
/// # Errors
/// [`LockError::Protected`] where a locked `null` version would give way.
pub(super) fn publish(
    change: &mut Change<'_>,
    key: &ObjectKey,
    (head, null): (&Head, Option<&Older>),
    new: &mut ObjectRecord,
    leave: Leave,
) -> Result<(), LockError> {
    head.require(change, key);
    let versioning = change.bucket.versioning();
    new.is_null = versioning != Versioning::Enabled;
    new.set_null_version(None);
    match head.record.as_ref() {
        None => {}
        Some(old) if old.is_null && new.is_null => replace_head(change, key, old, leave)?,
        Some(old) => {
            retire_head(change, key, old);
            if new.is_null {
                if let Some(null) = null {
                    let removable = leave.remove(&null.record)?;
                    let ns = change.ns(Table::Versions);
                    change.batch.unchanged(ns, keys::version(key, null.record.version_id()), Some(&null.stored));
                    change.delete_version(key, null.record.version_id());
                    change.free(&removable);
                }
            } else {
                new.set_null_version(if old.is_null { Some(old.version_id()) } else { old.null_version() });
            }
        }
    }
    let had_object = head.object().is_some();
    change.usage.objects += i64::from(!new.delete_marker) - i64::from(had_object);
    change.count(new);
    if new.delete_marker {
        if had_object {
            change.delete_current(key);
        }
        change.put_version(key, new);
    } else {
        change.put_current(key, new);
    }
    Ok(())
}

/// The newest version is `null` and gives way to another `null` version.
fn replace_head(change: &mut Change<'_>, key: &ObjectKey, old: &ObjectRecord, leave: Leave) -> Result<(), LockError> {
    let removable = leave.remove(old)?;
    if old.delete_marker {
        change.delete_version(key, old.version_id());
    }
    change.free(&removable);
    Ok(())
}

/// The newest version becomes an older one. A marker is among those already, but must forget what only the newest
/// version's record knows.
fn retire_head(change: &mut Change<'_>, key: &ObjectKey, old: &ObjectRecord) {
    if old.delete_marker && old.null_stamp == 0 {
        return;
    }
    let mut older = old.clone();
    older.set_null_version(None);
    change.put_version(key, &older);
}

/// Plans the removal of the newest version; `next` is what [`Storage::next_version`] found.
///
/// # Errors
/// [`LockError::Protected`].
pub(super) fn remove_head(
    change: &mut Change<'_>,
    key: &ObjectKey,
    head: &Head,
    next: Option<&Older>,
    leave: Leave,
) -> Result<(), LockError> {
    head.require(change, key);
    let Some(old) = head.record.as_ref() else { return Ok(()) };
    change.free(&leave.remove(old)?);
    if old.delete_marker {
        change.delete_version(key, old.version_id());
    } else {
        change.usage.objects -= 1;
        change.delete_current(key);
    }
    let Some(next) = next else { return Ok(()) };
    let ns = change.ns(Table::Versions);
    change.batch.unchanged(ns, keys::version(key, next.record.version_id()), Some(&next.stored));
    let mut promoted = next.record.clone();
    let inherited = old.null_version().filter(|id| *id != promoted.version_id());
    promoted.set_null_version(inherited);
    if promoted.delete_marker {
        change.put_version(key, &promoted);
    } else {
        change.usage.objects += 1;
        change.delete_version(key, promoted.version_id());
        change.put_current(key, &promoted);
    }
    Ok(())
}

/// Plans the removal of an older version.
///
/// # Errors
/// [`LockError::Protected`].
pub(super) fn remove_older(
    change: &mut Change<'_>,
    key: &ObjectKey,
    head: &Head,
    older: &Older,
    leave: Leave,
) -> Result<(), LockError> {
    let removable = leave.remove(&older.record)?;
    head.require(change, key);
    let ns = change.ns(Table::Versions);
    let id = older.record.version_id();
    change.batch.unchanged(ns, keys::version(key, id), Some(&older.stored));
    change.delete_version(key, id);
    change.free(&removable);
    if let Some(newest) = head.record.as_ref().filter(|_| older.record.is_null) {
        let mut newest = newest.clone();
        newest.set_null_version(None);
        replace_record(change, key, &newest);
    }
    Ok(())
}

/// Stores a changed record of the newest version in its place.
pub(super) fn replace_record(change: &mut Change<'_>, key: &ObjectKey, newest: &ObjectRecord) {
    if newest.delete_marker {
        change.put_version(key, newest);
    } else {
        change.put_current(key, newest);
    }
}
