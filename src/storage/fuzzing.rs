//! The fuzz target of what is stored: records and keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target panics where a rule is broken")]

use std::fmt::Debug;

use bytes::Bytes;

use super::{
    keys,
    records::{
        AnnotationRecord, BucketRecord, ChecksumRecord, Garbage, JournalEntry, LayoutRow, ListRecord, ObjectRecord,
        PartRecord, Pending, Record, SettingRecord, UploadRecord,
    },
};
use crate::types::VersionId;

/// A letter for the kind, and the stored bytes.
pub(crate) fn records(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    match kind {
        b'o' => object(&bytes),
        b'b' => drop(read::<BucketRecord>(&bytes)),
        b'u' => upload(&bytes),
        b'p' => part(&bytes),
        b'l' => drop(read::<LayoutRow>(&bytes)),
        b'j' => drop(read::<JournalEntry>(&bytes)),
        b'g' => drop(read::<Garbage>(&bytes)),
        b'n' => drop(read::<Pending>(&bytes)),
        b'a' => drop(read::<AnnotationRecord>(&bytes)),
        b's' => drop(read::<SettingRecord>(&bytes)),
        b'k' => key(&bytes),
        _ => {}
    }
}

/// A record that is read is written so that it reads back the same.
fn read<R: Record + PartialEq + Debug>(bytes: &Bytes) -> Option<R> {
    let record = R::from_bytes(bytes).ok()?;
    let written = record.to_bytes();
    assert_eq!(R::from_bytes(&written).as_ref(), Ok(&record));
    assert_eq!(record.to_bytes(), written);
    Some(record)
}

/// A listing sees of an object what the object's own record says.
fn object(bytes: &Bytes) {
    let listed = ListRecord::from_bytes(bytes);
    let Some(record) = read::<ObjectRecord>(bytes) else { return };
    let listed = listed.expect("what a GET reads, a listing reads");
    assert_eq!(listed.version_id(), record.version_id());
    assert_eq!(
        (listed.is_null, listed.delete_marker, listed.modified_ms, listed.size),
        (record.is_null, record.delete_marker, record.modified_ms, record.size)
    );
    assert_eq!(
        (&listed.etag, &listed.owner, &listed.storage_class, &listed.checksum),
        (&record.etag, &record.owner, &record.storage_class, &record.checksum)
    );
    let mut copy = record.clone();
    copy.set_version_id(record.version_id());
    copy.set_null_version(record.null_version());
    assert_eq!((copy.version_id(), copy.null_version()), (record.version_id(), record.null_version()));
    record.acl();
    record.part_count();
    record.modified().to_http_date();
    record.modified().to_iso8601();
    record.checksum.as_ref().and_then(ChecksumRecord::to_text);
}

fn upload(bytes: &Bytes) {
    let Some(record) = read::<UploadRecord>(bytes) else { return };
    let mut copy = record.clone();
    copy.set_checksum(record.checksum());
    assert_eq!(copy.checksum(), record.checksum());
}

fn part(bytes: &Bytes) {
    let Some(record) = read::<PartRecord>(bytes) else { return };
    record.etag();
    record.checksum();
    record.size();
}

/// Keys of versions and uploads come apart again; any bytes come apart or not at all.
fn key(bytes: &[u8]) {
    if let Some((key, tail)) = keys::split_key(bytes) {
        let mut again = keys::prefix_of(&key).to_vec();
        again.extend_from_slice(tail);
        assert_eq!(again, bytes);
        if let Some(id) = VersionId::from_key(tail) {
            assert_eq!(id.to_key().as_slice(), tail);
        }
    }
    let escaped = keys::prefix_of(bytes);
    assert_eq!(keys::split_key(&escaped), Some((bytes.to_vec(), [].as_slice())));
    let successor = keys::successor(bytes);
    assert!(&successor[..] > bytes || bytes.iter().all(|byte| *byte == u8::MAX));
    assert!(&keys::after(bytes)[..] > bytes);
}
