//! How S3's names become keys: byte order is kept, no name can imitate another.
//!
//! | table | key |
//! |---|---|
//! | Current | object key, as it is |
//! | Versions | object key, escaped ‖ `00 00` ‖ version id, newest first (15 bytes) |
//! | Uploads | object key, escaped ‖ `00 00` ‖ upload id (16 bytes, the first 6 its time): open uploads |
//! | Uploads | `00 00` ‖ upload id: completed ones, for a day |
//! | Uploads of bucket 0 | time of completion (8 bytes) ‖ bucket (8 bytes) ‖ upload id: where the completed ones are |
//! | Parts | upload id ‖ `p` ‖ part number (2 bytes); upload id ‖ `c`: count of part writes; upload id ‖ `r` ‖ row (4 bytes) |
//! | Parts | id of a version's annotations ‖ `a` ‖ name of the annotation |
//! | Usage | `usage`; `uploads/` ‖ location: bytes of the parts of open uploads to it |
//! | Bodies | body id: a stamp (8 bytes) and 4 random bytes |
//! | Garbage, Journal | sequence number (8 bytes) |
//! | Pending | location ‖ `00` ‖ blob; `01` ‖ bucket (8 bytes) ‖ object key: what is being published |
//! | System | `location/` ‖ location: what is there, all buckets together |
//!
//! Escaping: `00` becomes `00 FF`, so that the terminator `00 00` sorts before every continuation of a key. Keys are
//! never empty: what begins with the terminator belongs to none of them.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::{AccountId, BucketId, ObjectKey, Timestamp, UploadId, VersionId};

/// Segments in a full layout row.
pub const LAYOUT_ROW: usize = 64;
/// Most segments kept in the object record itself; objects of more parts have layout rows.
pub const INLINE_SEGMENTS: usize = 16;
/// The one key of a bucket's counters.
pub const USAGE: &[u8] = b"usage";
/// What the counters of parts to a location begin with, in a bucket's counters.
pub const UPLOADS_TO: &str = "uploads/";
/// What the counters of a location begin with.
pub const LOCATION: &str = "location/";
/// Splits owner and bucket, as in the original's `users..bucket`.
pub const OWNER_SPLITTER: &str = "..|..";

const TERMINATOR: [u8; 2] = [0, 0];

/// `key` escaped and terminated: the prefix of everything that belongs to the key.
pub fn prefix_of(key: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(key.len() + 32);
    escape_into(&mut out, key);
    out.put_slice(&TERMINATOR);
    out
}

/// `bytes` escaped but not terminated: where the keys that begin with `bytes` start.
pub fn escaped(bytes: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(bytes.len() + 8);
    escape_into(&mut out, bytes);
    out
}

fn escape_into(out: &mut BytesMut, bytes: &[u8]) {
    for byte in bytes {
        out.put_u8(*byte);
        if *byte == 0 {
            out.put_u8(0xff);
        }
    }
}

/// Splits an escaped, terminated key from what follows it; `None` if there is no terminator.
pub fn split_key(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut key = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0, tail @ ..] => return Some((key, tail)),
            [0, 0xff, tail @ ..] => {
                key.push(0);
                rest = tail;
            }
            [0, ..] | [] => return None,
            [byte, tail @ ..] => {
                key.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The key of a version.
pub fn version(key: &ObjectKey, id: VersionId) -> Bytes {
    let mut out = prefix_of(key.as_bytes());
    out.put_slice(&id.to_key());
    out.freeze()
}

/// All versions of a key.
pub fn versions_of(key: &ObjectKey) -> Range<Bytes> {
    let start = prefix_of(key.as_bytes()).freeze();
    let end = successor(&start);
    start..end
}

/// The least key greater than every key that starts with `prefix`; all of the name space where there is none.
pub fn successor(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    end_of_all()
}

/// Greater than every key: keys have at most some 2 KiB and no key is all ones for so long.
pub fn end_of_all() -> Bytes {
    Bytes::from_static(&[0xff; 64])
}

/// The least key greater than `key`.
pub fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// The key of an open upload in its bucket's listing order: key, initiation, id.
pub fn upload(key: &ObjectKey, id: UploadId) -> Bytes {
    upload_row(key.as_bytes(), id)
}

/// As [`upload`], for any text that a client takes for a key.
pub fn upload_row(key: &[u8], id: UploadId) -> Bytes {
    let mut out = prefix_of(key);
    out.put_slice(id.as_bytes());
    out.freeze()
}

/// Where the open uploads of a bucket start.
pub fn open_uploads() -> Bytes {
    successor(&TERMINATOR)
}

/// The key of a completed upload.
pub fn completed_upload(id: UploadId) -> Bytes {
    upload_row(&[], id)
}

/// The bucket that is none: its share of the uploads tells when which upload was completed.
pub const NO_BUCKET: BucketId = BucketId::new(0);

/// The key of a completed upload by time.
pub fn completed_at(at: Timestamp, bucket: BucketId, id: UploadId) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    out.put_u64(at.as_millis());
    out.put_u64(bucket.get());
    out.put_slice(id.as_bytes());
    out.freeze()
}

/// The keys of uploads completed before `time`.
pub fn completed_before(time: Timestamp) -> Range<Bytes> {
    Bytes::new()..Bytes::copy_from_slice(&time.as_millis().to_be_bytes())
}

/// Bucket and upload in a key made by [`completed_at`].
pub fn completed_where(key: &[u8]) -> Option<(BucketId, UploadId)> {
    let (bucket, id) = key.get(8..)?.split_first_chunk::<8>()?;
    Some((BucketId::new(u64::from_be_bytes(*bucket)), UploadId::from_bytes(id.try_into().ok()?)))
}

/// The counter of part writes of an upload.
pub fn upload_counter(id: UploadId) -> Bytes {
    tagged(id, b'c', &[])
}

/// The key of a part.
pub fn part(id: UploadId, number: u16) -> Bytes {
    tagged(id, b'p', &number.to_be_bytes())
}

/// Every part of an upload.
pub fn parts_of(id: UploadId) -> Range<Bytes> {
    tagged(id, b'p', &[])..tagged(id, b'q', &[])
}

/// The part number in a key made by [`part`].
pub fn part_number(key: &[u8]) -> Option<u16> {
    key.last_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The key of a layout row.
pub fn layout_row(id: UploadId, row: u32) -> Bytes {
    tagged(id, b'r', &row.to_be_bytes())
}

/// The key of an annotation.
pub fn annotation(id: UploadId, name: &str) -> Bytes {
    tagged(id, b'a', name.as_bytes())
}

/// The annotations of a version.
pub fn annotations_of(id: UploadId) -> Range<Bytes> {
    tagged(id, b'a', &[])..tagged(id, b'b', &[])
}

/// The name in a key made by [`annotation`].
pub fn annotation_name(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(17..)?).ok()
}

/// Everything kept under an upload id.
pub fn all_of_upload(id: UploadId) -> Range<Bytes> {
    Bytes::copy_from_slice(id.as_bytes())..successor(id.as_bytes())
}

fn tagged(id: UploadId, tag: u8, rest: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(17 + rest.len());
    out.put_slice(id.as_bytes());
    out.put_u8(tag);
    out.put_slice(rest);
    out.freeze()
}

/// The key of a bucket in the table of owners.
pub fn owned_bucket(owner: &AccountId, bucket: &str) -> Bytes {
    Bytes::from(format!("{owner}{OWNER_SPLITTER}{bucket}"))
}

/// The key of a location's counters.
pub fn location(name: &str) -> Bytes {
    Bytes::from(format!("{LOCATION}{name}"))
}

/// The key of the counters of parts to a location, in a bucket's counters.
pub fn uploads_to(location: &str) -> Bytes {
    Bytes::from(format!("{UPLOADS_TO}{location}"))
}

/// All keys that begin with `prefix`.
pub fn beginning_with(prefix: &str) -> Range<Bytes> {
    Bytes::copy_from_slice(prefix.as_bytes())..successor(prefix.as_bytes())
}

/// The key of what is being published under an object key: one thing at a time.
pub fn publication(bucket: BucketId, key: &ObjectKey) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + key.as_bytes().len());
    out.put_u8(1);
    out.put_u64(bucket.get());
    out.put_slice(key.as_bytes());
    out.freeze()
}

/// Bucket and object key in a key made by [`publication`]; `None` for other keys.
pub fn published_key(row: &[u8]) -> Option<(BucketId, ObjectKey)> {
    let (bucket, key) = row.strip_prefix(&[1])?.split_first_chunk::<8>()?;
    let key = ObjectKey::new(std::str::from_utf8(key).ok()?).ok()?;
    Some((BucketId::new(u64::from_be_bytes(*bucket)), key))
}

/// The key of a blob being written.
pub fn pending(location: &str, blob: &str) -> Bytes {
    Bytes::from(format!("{location}\0{blob}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn bytes() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::prop_oneof![any::<u8>(), proptest::strategy::Just(0_u8)], 0..12)
    }

    proptest! {
        #[test]
        fn escaping_keeps_the_order_of_keys(a in bytes(), b in bytes()) {
            prop_assert_eq!(prefix_of(&a).cmp(&prefix_of(&b)), a.cmp(&b));
        }

        #[test]
        fn no_key_is_a_prefix_of_another(a in bytes(), b in bytes()) {
            prop_assert!(a == b || !prefix_of(&b).starts_with(&prefix_of(&a)));
        }

        #[test]
        fn a_key_reads_back(a in bytes(), tail in bytes()) {
            let mut whole = prefix_of(&a);
            whole.put_slice(&tail);
            prop_assert_eq!(split_key(&whole), Some((a, tail.as_slice())));
        }

        #[test]
        fn keys_with_a_prefix_lie_below_its_successor(a in bytes(), tail in bytes()) {
            let mut whole = a.clone();
            whole.extend(tail);
            prop_assert!(whole.as_slice() < &successor(&a)[..] || a.iter().all(|byte| *byte == 0xff));
        }
    }
}
