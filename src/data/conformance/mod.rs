//! The rules of [`DataBackend`] and of [`super::NativeStore`] as suites that any implementation runs in one line.
//!
//! It panics at the first broken rule, naming it. Whatever it stores it deletes again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test suite: a broken rule shall panic"
)]

mod native;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};

pub use native::native_suite;

use super::{BlobId, DataBackend, DataError, PutHint};
use crate::types::{BodyError, ByteStream};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sizes around the borders of blocks, pieces and write buffers.
const SIZES: [usize; 16] = [
    0,
    1,
    4095,
    4096,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB,
    256 * KIB - 1,
    256 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    2 * MIB + 12_345,
    3 * MIB,
    5 * MIB,
];

/// Runs every rule against `backend`. A backend that cannot list is not asked to, and the rules that look for what was
/// left behind end there.
///
/// # Panics
/// Where a rule is broken.
pub async fn suite(backend: Arc<dyn DataBackend>) {
    let backend = &*backend;
    backend.probe().await.expect("a fresh backend works");
    if backend.capabilities().listing {
        list_pages_are_ordered_and_complete(backend).await;
    }
    // Each rule ends where it began. What is left is compared with this, never with a look between two rules: another
    // machine may still be opening, and then clearing, what a broken put sent it.
    let before = &names(backend, 1000).await[..];
    what_was_put_is_read_back(backend).await;
    any_range_is_the_same_slice(backend).await;
    a_range_outside_the_blob_is_refused(backend).await;
    a_reserved_name_is_used(backend).await;
    an_empty_blob_is_a_blob(backend).await;
    a_wrong_announcement_is_never_a_success(backend, before).await;
    a_body_error_keeps_nothing(backend, before).await;
    a_dropped_put_keeps_nothing(backend, before).await;
    a_deleted_blob_is_gone(backend).await;
    a_reader_outlives_the_deletion(backend).await;
    a_dropped_reader_leaves_the_blob_alone(backend).await;
    concurrent_puts_do_not_mix(backend).await;
    sizes_are_told_where_they_are_known(backend).await;
    foreign_names_are_refused(backend).await;
    backend.probe().await.expect("a used backend works");
}

/// Numbers from a seed (xorshift), so that a failure can be repeated.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap()
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub(super) fn payload(size: usize, seed: u64) -> Bytes {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(size);
    Bytes::from(bytes)
}

/// A body in slices of changing sizes; now and then one must wait for it.
fn body(bytes: &Bytes, seed: u64) -> ByteStream {
    let state = (bytes.clone(), Numbers(seed | 1));
    stream::unfold(state, |(mut rest, mut numbers)| async move {
        if rest.is_empty() {
            return None;
        }
        let most = [1, 100, 5000, 70_000, 300_000, 2_000_000][numbers.below(6)];
        let len = (1 + numbers.below(most)).max(rest.len() / 2000).min(rest.len());
        if numbers.below(4) == 0 {
            tokio::task::yield_now().await;
        }
        let slice = rest.split_to(len);
        Some((Ok(slice), (rest, numbers)))
    })
    .boxed()
}

async fn put(backend: &dyn DataBackend, bytes: &Bytes, hint: PutHint) -> BlobId {
    let written = backend.put(body(bytes, bytes.len() as u64 + 7), hint).await.expect("a put works");
    assert_eq!(written.size, bytes.len() as u64, "the size of a put is that of its body");
    written.blob
}

async fn read(backend: &dyn DataBackend, blob: &BlobId, range: Range<u64>) -> Result<Vec<u8>, DataError> {
    let mut stream = backend.get(blob, range).await?;
    let mut all = Vec::new();
    while let Some(slice) = stream.next().await {
        let slice = slice?;
        assert!(!slice.is_empty(), "a stream has no empty slices");
        all.extend_from_slice(&slice);
    }
    Ok(all)
}

/// All names, by pages of `page`.
async fn names(backend: &dyn DataBackend, page: usize) -> Vec<BlobId> {
    if !backend.capabilities().listing {
        return Vec::new();
    }
    let mut all: Vec<BlobId> = Vec::new();
    loop {
        let found = backend.list(all.last(), page).await.expect("a list works");
        assert!(found.len() <= page, "a page is not longer than asked");
        if found.is_empty() {
            return all;
        }
        all.extend(found);
    }
}

/// Waits until only `before` is left: clearing up may go on behind the scenes for a moment.
async fn leaves_nothing(backend: &dyn DataBackend, before: &[BlobId], what: &str) {
    let mut now = names(backend, 1000).await;
    for _ in 0..2400 {
        if now == before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        now = names(backend, 1000).await;
    }
    assert_eq!(now, before, "{what} leaves nothing");
}

async fn delete(backend: &dyn DataBackend, blob: &BlobId) {
    backend.delete(blob).await.expect("a delete works");
}

fn same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    if found != expected {
        let wrong = found.iter().zip(expected).position(|(found, expected)| found != expected);
        panic!("{what}: first wrong byte at {wrong:?}");
    }
}

async fn what_was_put_is_read_back(backend: &dyn DataBackend) {
    for (index, size) in SIZES.into_iter().enumerate() {
        let bytes = payload(size, index as u64);
        let sized = index % 2 == 0;
        let hint = PutHint { blob: None, size: sized.then_some(size as u64) };
        let blob = put(backend, &bytes, hint).await;
        assert!(blob.as_str().len() <= 255, "a name has at most 255 bytes");
        // Twice: the second read may come from a cache.
        for _ in 0..2 {
            let found = read(backend, &blob, 0..size as u64).await.expect("a get works");
            same(&found, &bytes, &format!("{size} bytes, announced: {sized}"));
        }
        delete(backend, &blob).await;
    }
}

async fn any_range_is_the_same_slice(backend: &dyn DataBackend) {
    let mut numbers = Numbers(0x5eed);
    let size = 2 * MIB + 12_345;
    let bytes = payload(size, 3);
    let blob = put(backend, &bytes, PutHint::default()).await;
    let borders = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, MIB, size - 1, size];
    let random = (0..60).map(|_| (numbers.below(size), numbers.below(size)));
    let near = borders.iter().flat_map(|start| borders.iter().map(|end| (*start, *end)));
    for (a, b) in near.chain(random).collect::<Vec<_>>() {
        let (start, end) = (a.min(b), a.max(b));
        let found = read(backend, &blob, start as u64..end as u64).await.expect("a ranged get works");
        same(&found, &bytes[start..end], &format!("range {start}..{end}"));
    }
    delete(backend, &blob).await;
}

#[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake that the backend must refuse")]
async fn a_range_outside_the_blob_is_refused(backend: &dyn DataBackend) {
    let blob = put(backend, &payload(1000, 1), PutHint::default()).await;
    for range in [0..1001, 1000..1001, 1001..1001, 5..4, u64::MAX - 1..u64::MAX, 0..u64::MAX] {
        let result = read(backend, &blob, range.clone()).await;
        assert!(matches!(result, Err(DataError::OutOfRange(_))), "range {range:?} of 1000 bytes: {result:?}");
    }
    delete(backend, &blob).await;
}

async fn a_reserved_name_is_used(backend: &dyn DataBackend) {
    let Some(name) = backend.reserve() else { return };
    assert_ne!(Some(&name), backend.reserve().as_ref(), "a name is reserved once");
    let bytes = payload(100_000, 9);
    let missing = backend.get(&name, 0..1).await.map(|_| "a stream");
    assert!(matches!(missing, Err(DataError::NotFound(_))), "a reserved name holds nothing: {missing:?}");
    let hint = PutHint { blob: Some(name.clone()), size: None };
    assert_eq!(put(backend, &bytes, hint.clone()).await, name, "a put uses the reserved name");
    let again = backend.put(body(&payload(5, 5), 1), hint).await;
    assert!(again.is_err(), "a name in use takes no second put");
    let found = read(backend, &name, 0..100_000).await.expect("the first put is still there");
    same(&found, &bytes, "after a second put under its name");
    delete(backend, &name).await;
}

async fn an_empty_blob_is_a_blob(backend: &dyn DataBackend) {
    let blob = put(backend, &Bytes::new(), PutHint { blob: None, size: Some(0) }).await;
    if backend.capabilities().listing {
        assert!(names(backend, 1000).await.contains(&blob), "an empty blob is listed");
    }
    assert!(read(backend, &blob, 0..0).await.expect("an empty blob can be read").is_empty());
    let result = read(backend, &blob, 0..1).await;
    assert!(matches!(result, Err(DataError::OutOfRange(_))), "an empty blob has no first byte: {result:?}");
    delete(backend, &blob).await;
}

async fn a_wrong_announcement_is_never_a_success(backend: &dyn DataBackend, before: &[BlobId]) {
    for (size, announced) in [(1000, 999), (1000, 1001), (2 * MIB, 2 * MIB + 1), (2 * MIB, 64 * KIB), (0, 1), (1, 0)] {
        let hint = PutHint { blob: None, size: Some(announced as u64) };
        let result = backend.put(body(&payload(size, 2), 5), hint).await;
        assert!(matches!(result, Err(DataError::Body(_))), "{size} bytes announced as {announced}: {result:?}");
        leaves_nothing(backend, before, &format!("{size} bytes announced as {announced}")).await;
    }
}

async fn a_body_error_keeps_nothing(backend: &dyn DataBackend, before: &[BlobId]) {
    for size in [0, 1, 70_000, MIB, 3 * MIB + 5] {
        let broken = body(&payload(size, 4), 3).chain(stream::iter([Err(BodyError::Disconnected)])).boxed();
        let result = backend.put(broken, PutHint { blob: None, size: Some(8 * MIB as u64) }).await;
        assert!(matches!(result, Err(DataError::Body(BodyError::Disconnected))), "{size} bytes, then: {result:?}");
        leaves_nothing(backend, before, &format!("a body that breaks after {size} bytes")).await;
    }
}

async fn a_dropped_put_keeps_nothing(backend: &dyn DataBackend, before: &[BlobId]) {
    for size in [1, 70_000, MIB + 1, 3 * MIB] {
        let taken = Arc::new(AtomicUsize::new(0));
        let sum = Arc::clone(&taken);
        let counted = body(&payload(size, 6), 8).inspect(move |slice| {
            sum.fetch_add(slice.as_ref().map_or(0, Bytes::len), Ordering::SeqCst);
        });
        let endless = counted.chain(stream::pending()).boxed();
        let mut put = backend.put(endless, PutHint::default());
        // The body may be pulled by another task than the put's, which then has no reason to be woken.
        let rounds = async {
            while taken.load(Ordering::SeqCst) < size {
                tokio::select! {
                    ended = &mut put => panic!("an endless body never ends: {ended:?}"),
                    () = tokio::time::sleep(Duration::from_millis(2)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), rounds).await.expect("the body is taken");
        drop(put);
        leaves_nothing(backend, before, &format!("a put dropped after {size} bytes")).await;
    }
}

async fn a_deleted_blob_is_gone(backend: &dyn DataBackend) {
    let blob = put(backend, &payload(300_000, 1), PutHint::default()).await;
    read(backend, &blob, 0..10).await.expect("before the delete a get works");
    for round in 1..=3 {
        delete(backend, &blob).await;
        let result = read(backend, &blob, 0..10).await;
        assert!(matches!(result, Err(DataError::NotFound(_))), "after delete {round}: {result:?}");
        let empty = read(backend, &blob, 0..0).await;
        assert!(matches!(empty, Err(DataError::NotFound(_))), "an empty range of a deleted blob: {empty:?}");
    }
    assert!(!names(backend, 1000).await.contains(&blob), "a deleted blob is not listed");
}

async fn a_reader_outlives_the_deletion(backend: &dyn DataBackend) {
    let bytes = payload(5 * MIB, 11);
    let blob = put(backend, &bytes, PutHint::default()).await;
    let mut slow = backend.get(&blob, 0..bytes.len() as u64).await.expect("a get works");
    let mut found = slow.next().await.expect("a first slice").expect("is good").to_vec();
    delete(backend, &blob).await;
    while let Some(slice) = slow.next().await {
        found.extend_from_slice(&slice.expect("a reader keeps its bytes"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    same(&found, &bytes, "read across a delete");
}

async fn a_dropped_reader_leaves_the_blob_alone(backend: &dyn DataBackend) {
    let bytes = payload(2 * MIB, 12);
    let blob = put(backend, &bytes, PutHint::default()).await;
    for slices in 0..3 {
        let stream = backend.get(&blob, 0..bytes.len() as u64).await.expect("a get works");
        assert!(stream.take(slices).all(|slice| future::ready(slice.is_ok())).await, "a good stream has no errors");
    }
    same(&read(backend, &blob, 0..bytes.len() as u64).await.expect("a get works"), &bytes, "after dropped readers");
    delete(backend, &blob).await;
}

async fn concurrent_puts_do_not_mix(backend: &dyn DataBackend) {
    let bodies: Vec<Bytes> = (0..32).map(|seed| payload(50_000 * (seed % 8) + seed, seed as u64)).collect();
    let puts = bodies.iter().map(|bytes| put(backend, bytes, PutHint::default()));
    let blobs = future::join_all(puts).await;
    let reads = blobs.iter().zip(&bodies).map(|(blob, bytes)| async move {
        let found = read(backend, blob, 0..bytes.len() as u64).await.expect("a get works");
        same(&found, bytes, "one of 32 concurrent puts");
    });
    future::join_all(reads).await;
    future::join_all(blobs.iter().map(|blob| delete(backend, blob))).await;
}

async fn list_pages_are_ordered_and_complete(backend: &dyn DataBackend) {
    let before = names(backend, 1000).await;
    let mut blobs = Vec::new();
    for seed in 0..23 {
        blobs.push(put(backend, &payload(10, seed), PutHint::default()).await);
    }
    let all = names(backend, 1000).await;
    assert_eq!(all.len(), before.len() + blobs.len(), "each blob is listed once");
    assert!(blobs.iter().all(|blob| all.contains(blob)), "each blob is listed");
    for page in [1, 2, 7, 23] {
        assert_eq!(names(backend, page).await, all, "pages of {page} add up to the same list");
    }
    assert!(backend.list(None, 0).await.expect("a list works").is_empty(), "a page of none is empty");
    let gone = blobs.swap_remove(5);
    delete(backend, &gone).await;
    let after = backend.list(Some(&gone), 1000).await.expect("a list goes on behind a deleted name");
    let expected: Vec<BlobId> = all.iter().skip_while(|name| **name != gone).skip(1).cloned().collect();
    assert_eq!(after, expected, "behind a deleted name the list goes on with the next");
    for blob in &blobs {
        delete(backend, blob).await;
    }
    assert_eq!(names(backend, 1000).await, before, "deleted blobs are not listed");
}

async fn sizes_are_told_where_they_are_known(backend: &dyn DataBackend) {
    for size in [0, 1, 70_000, MIB + 1] {
        let blob = put(backend, &payload(size, 3), PutHint::default()).await;
        let told = backend.size(&blob).await.expect("a size is told, or that it is not known");
        assert!(told.is_none_or(|told| told == size as u64), "{size} bytes are told to be {told:?}");
        delete(backend, &blob).await;
        let gone = backend.size(&blob).await;
        assert!(matches!(gone, Ok(None) | Err(DataError::NotFound(_))), "the size of what is gone: {gone:?}");
    }
}

async fn foreign_names_are_refused(backend: &dyn DataBackend) {
    let long = "a".repeat(300);
    for name in ["", ".", "..", "/", "../LOCK", "/etc/passwd", "a/b", "a\0b", "ab/../../format", "\u{e9}", &long] {
        let name = BlobId::new(name);
        let read = backend.get(&name, 0..0).await.map(|_| "a stream");
        assert!(read.is_err(), "get of {name:?}");
        let hint = PutHint { blob: Some(name.clone()), size: None };
        let written = backend.put(body(&payload(10, 1), 1), hint).await;
        assert!(written.is_err(), "put of {name:?}: {written:?}");
        let removed = backend.delete(&name).await;
        assert!(removed.is_err(), "delete of {name:?}");
    }
}
