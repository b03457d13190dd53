//! Bytes on the device that are not what was written: always noticed, never delivered.

use std::{fs, os::unix::fs::FileExt, path::Path};

use futures_util::{FutureExt, StreamExt};
use proptest::{
    prelude::{ProptestConfig, Strategy, any},
    prop_assert,
    test_runner::{TestCaseError, TestRunner},
};

use super::{FileBackend, FileOptions, file_of, pattern, put, read, relaxed};
use crate::{
    data::{BlobId, DataBackend, DataError},
    types::BodyError,
};

/// A backend that keeps no file open, so that every get looks at the disk.
fn open(root: &Path) -> FileBackend {
    FileBackend::open(root, FileOptions { open_files: 0, ..relaxed() }).unwrap()
}

fn flip(path: &Path, at: u64, bit: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
}

/// Runs `check` on many cases, on one backend.
fn for_any<S: Strategy>(cases: &S, check: &impl AsyncFn(&FileBackend, &Path, S::Value) -> Result<(), TestCaseError>) {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() });
    runner.run(cases, |case| runtime.block_on(check(&backend, dir.path(), case))).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_no_wrong_byte_is_delivered() {
    let cases = (0_usize..400_000, any::<u64>(), any::<bool>(), 0_u8..8);
    for_any(&cases, &async |backend, root, (size, place, near_end, bit)| {
        let bytes = pattern(size);
        let blob = put(backend, &bytes).await;
        let path = file_of(root, &blob);
        let length = fs::metadata(&path).unwrap().len();
        // Table and footer are small: half of the cases go there.
        let from = if near_end { length.saturating_sub(100) } else { 0 };
        flip(&path, from + place % (length - from), bit);
        let (delivered, end) = read(backend, &blob, 0..size as u64).await;
        prop_assert!(end.is_err());
        prop_assert!(delivered.len() < size.max(1));
        prop_assert!(delivered == bytes[..delivered.len()]);
        Ok(())
    });
}

#[test]
fn a_file_cut_anywhere_is_noticed() {
    for_any(&(0_usize..200_000, any::<u64>()), &async |backend, root, (size, place)| {
        let blob = put(backend, &pattern(size)).await;
        let path = file_of(root, &blob);
        let length = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(place % length).unwrap();
        let result = backend.get(&blob, 0..0).await.map(|_| "a stream");
        prop_assert!(matches!(result, Err(DataError::Corrupt { .. })), "{:?}", result);
        Ok(())
    });
}

/// The first piece is read before `get` answers, so its faults can still become an honest status.
#[tokio::test]
async fn a_bad_first_block_fails_the_get_and_a_bad_later_one_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let bytes = pattern(3_000_000);
    let blob = put(&backend, &bytes).await;
    let path = file_of(dir.path(), &blob);
    flip(&path, 2_000_000, 3);
    let mut stream = backend.get(&blob, 0..3_000_000).await.unwrap();
    let mut delivered = 0;
    let end = loop {
        match stream.next().await {
            Some(Ok(slice)) => delivered += slice.len(),
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(BodyError::Unreadable(_)))), "{end:?}");
    assert!(stream.next().await.is_none(), "an error is the last word");
    assert!((1_000_000..2_000_000).contains(&delivered), "{delivered}");
    let result = backend.get(&blob, 1_990_000..2_000_010).await.map(|_| "a stream");
    assert!(matches!(result, Err(DataError::Corrupt { .. })), "{result:?}");
    assert!(read(&backend, &blob, 0..1_900_000).await.1.is_ok(), "other blocks are still good");
    flip(&path, 2_000_000, 3);
    assert_eq!(read(&backend, &blob, 0..3_000_000).await, (bytes.to_vec(), Ok(())), "a restored file is good again");
}

#[tokio::test]
async fn a_file_open_when_it_goes_bad_is_read_anew_once_restored() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), relaxed()).unwrap();
    let bytes = pattern(100_000);
    let blob = put(&backend, &bytes).await;
    let (path, spare) = (file_of(dir.path(), &blob), dir.path().join("spare"));
    fs::copy(&path, &spare).unwrap();
    read(&backend, &blob, 0..100_000).await.1.unwrap();
    flip(&path, 10, 0);
    assert!(read(&backend, &blob, 0..100_000).await.1.is_err());
    fs::rename(&spare, &path).unwrap();
    assert_eq!(read(&backend, &blob, 0..100_000).await, (bytes.to_vec(), Ok(())));
}

#[tokio::test]
async fn a_file_of_another_length_is_noticed_though_its_end_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let blob = put(&backend, &pattern(200_000)).await;
    let path = file_of(dir.path(), &blob);
    let whole = fs::read(&path).unwrap();
    for changed in [whole[10..].to_vec(), [&whole[..70_000], &whole[69_000..]].concat()] {
        fs::write(&path, changed).unwrap();
        let result = backend.get(&blob, 0..0).await.map(|_| "a stream");
        assert!(matches!(result, Err(DataError::Corrupt { .. })), "{result:?}");
    }
}

#[tokio::test]
async fn the_file_of_another_blob_is_not_this_blob() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let bytes = pattern(1000);
    let (one, other) = (put(&backend, &bytes).await, put(&backend, &bytes).await);
    fs::rename(file_of(dir.path(), &one), file_of(dir.path(), &other)).unwrap();
    let result = backend.get(&other, 0..1000).await.map(|_| "a stream");
    assert!(matches!(result, Err(DataError::Corrupt { .. })), "{result:?}");
}

/// A table longer than what is read with the footer is read in windows.
#[tokio::test]
async fn a_long_table_is_read_where_it_is_needed() {
    const SIZE: usize = 70 << 20;
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let bytes = pattern(SIZE);
    let blob = put(&backend, &bytes).await;
    for range in [0..10, SIZE - 10..SIZE, (64 << 20) - 5..(64 << 20) + 5, (60 << 20)..SIZE, 0..SIZE] {
        let (found, end) = read(&backend, &blob, range.start as u64..range.end as u64).await;
        assert!(end.is_ok() && found == bytes[range.clone()], "range {range:?}: {end:?}");
    }
    // The second entry of a table that no get reads whole.
    flip(&file_of(dir.path(), &blob), SIZE as u64 + 5, 1);
    assert!(read(&backend, &blob, 0..65_536).await.1.is_ok());
    let (found, end) = read(&backend, &blob, 0..SIZE as u64).await;
    assert!(end.is_err() && found.is_empty(), "the block of a wrong entry is not delivered");
}

#[tokio::test]
async fn a_file_missing_behind_its_name_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let blob = put(&backend, &pattern(10)).await;
    fs::remove_file(file_of(dir.path(), &blob)).unwrap();
    let results = [backend.get(&blob, 0..1).await, backend.get(&BlobId::new("0".repeat(40)), 0..1).await];
    for result in results {
        assert!(matches!(result.map(|_| "a stream"), Err(DataError::NotFound(_))));
    }
    assert!(backend.delete(&blob).now_or_never().is_none_or(|done| done.is_ok()));
}
