//! What a crash leaves behind. A crash is a copy of the directory, made while the store is open.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::{RocksOptions, RocksStore, keys, open, put};
use crate::metadata::{Batch, Direction, Durability, MetadataError, MetadataStore, Namespace, Table, counters};

/// The directory as it is now.
fn crash(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if !entry.path().ends_with("LOCK") {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// The newest write-ahead log.
fn log(path: &Path) -> PathBuf {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

/// A store with these keys, each committed by itself, and the end of each one's record in the log.
async fn logged(commits: &[(&'static str, Durability)]) -> (TempDir, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut ends = Vec::new();
    for (key, durability) in commits {
        store.commit(Batch { durability: *durability, ..put(*key, "value") }).await.unwrap();
        ends.push(fs::read(log(folder.path())).unwrap().len());
    }
    (crash(folder.path()), ends)
}

/// The keys that are there after the log was changed.
async fn recovered(folder: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Bytes>, MetadataError> {
    let damaged = crash(folder);
    let mut bytes = fs::read(log(folder)).unwrap();
    change(&mut bytes);
    fs::write(log(damaged.path()), &bytes).unwrap();
    match RocksStore::open(damaged.path(), RocksOptions::default()) {
        Ok(store) => Ok(keys(&store).await),
        Err(error) => {
            let left: Vec<_> = fs::read(log(damaged.path())).unwrap();
            assert!(left == bytes, "a refused log is left as it was");
            Err(error)
        }
    }
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let journal = Namespace::global(Table::Journal);
    let usage = Namespace::global(Table::Usage);
    for round in 0..5_u8 {
        let commits = (0..20_u8).map(|n| {
            let mut batch = put(vec![round, n], vec![n; 5000]);
            batch.append(journal, vec![round, n]).add(usage, "total", vec![1, i64::from(n)]);
            batch.durability = if n % 3 == 0 { Durability::Buffered } else { Durability::Synced };
            store.commit(batch)
        });
        assert!(join_all(commits).await.iter().all(Result::is_ok));
    }
    let after = crash(folder.path());
    let store = open(after.path());
    assert_eq!(keys(&store).await.len(), 100);
    let total = store.get(usage, b"total").await.unwrap().unwrap();
    assert_eq!(counters::decode(&total).unwrap(), [100, 5 * 190]);
    let mut batch = Batch::new();
    batch.delete_range(journal, Bytes::new()..Bytes::from_static(&[0xff; 9])).append(journal, "next");
    store.commit(batch).await.unwrap();
    drop(store);
    let store = open(after.path());
    let mut batch = Batch::new();
    batch.delete(journal, 101_u64.to_be_bytes().to_vec());
    store.commit(batch).await.unwrap();
    drop(store);
    let store = open(after.path());
    let mut batch = Batch::new();
    batch.append(journal, "and on");
    store.commit(batch).await.unwrap();
    let all = Bytes::new()..Bytes::from_static(&[0xff; 9]);
    let pairs = store.scan(journal, all, Direction::Forward, 10).await.unwrap();
    let expected = Bytes::copy_from_slice(&102_u64.to_be_bytes());
    assert_eq!(pairs, [(expected, Bytes::from("and on"))], "numbers go on, though every entry was deleted");
}

#[tokio::test]
async fn closing_leaves_little_log_to_read_and_a_second_start_is_as_good_as_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..100_u8 {
        store.commit(put(vec![n], vec![n; 100_000])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let size = fs::metadata(log(folder.path())).unwrap().len();
    assert!(size < 100_000, "{size} bytes of log");
    for _ in 0..2 {
        assert_eq!(keys(&open(folder.path())).await.len(), 100);
    }
}

#[tokio::test]
async fn a_record_cut_short_at_any_byte_is_dropped_and_nothing_else() {
    let (folder, ends) = logged(&[("a", Durability::Synced), ("b", Durability::Synced)]).await;
    // The log's own tests try every byte; opening is what takes time here.
    for length in (ends[0]..=ends[1]).rev().step_by(4) {
        let found = recovered(folder.path(), |log| log.truncate(length)).await.unwrap();
        let expected: &[&str] = if length < ends[1] { &["a"] } else { &["a", "b"] };
        assert_eq!(found, expected, "cut at {length} of {ends:?}");
    }
}

#[tokio::test]
async fn the_log_of_a_running_store_is_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.commit(put("a", "value")).await.unwrap();
    let log = log(folder.path());
    let half_written = [&fs::read(&log).unwrap()[..], b"half a record"].concat();
    fs::write(&log, &half_written).unwrap();
    let second = RocksStore::open(folder.path(), RocksOptions::default());
    assert!(matches!(&second, Err(MetadataError::Unavailable(why)) if why.contains("in use")), "{second:?}");
    assert_eq!(fs::read(&log).unwrap(), half_written);
}

#[tokio::test]
async fn garbage_after_the_last_record_is_dropped() {
    let (folder, _) = logged(&[("a", Durability::Synced)]).await;
    for tail in [vec![0; 3], vec![0; 40_000], vec![0xa5; 3], vec![0xa5; 40_000]] {
        let found = recovered(folder.path(), |log| log.extend(&tail)).await.unwrap();
        assert_eq!(found, ["a"], "{} bytes of {}", tail.len(), tail[0]);
    }
}

#[tokio::test]
async fn damage_before_an_acknowledged_commit_is_refused_and_left_alone() {
    let commits = ["a", "b", "c"].map(|key| (key, Durability::Synced));
    let (folder, ends) = logged(&commits).await;
    for at in (ends[0]..ends[1]).step_by(2) {
        let found = recovered(folder.path(), |log| log[at] ^= 0x04).await;
        assert!(matches!(&found, Err(MetadataError::Corrupt(why)) if why.contains("backup")), "byte {at}: {found:?}");
    }
    assert_eq!(recovered(folder.path(), |_| ()).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_damaged_last_record_is_dropped_as_unfinished() {
    let (folder, ends) = logged(&[("a", Durability::Synced), ("b", Durability::Synced)]).await;
    for at in (ends[0]..ends[1]).step_by(11) {
        assert_eq!(recovered(folder.path(), |log| log[at] ^= 0x04).await.unwrap(), ["a"], "byte {at}");
    }
}

#[tokio::test]
async fn unsynced_records_lost_in_a_power_cut_do_not_keep_the_store_from_opening() {
    let buffered = ["b", "c", "d"].map(|key| (key, Durability::Buffered));
    let commits = [&[("a", Durability::Synced)], &buffered[..]].concat();
    let (folder, ends) = logged(&commits).await;
    // The page of one record was written, that of another before it was not.
    let found = recovered(folder.path(), |log| log[ends[0]..ends[1]].fill(0)).await.unwrap();
    assert_eq!(found, ["a"]);
    let commits = [&commits[..], &[("e", Durability::Synced)], &[("f", Durability::Synced)]].concat();
    let (folder, ends) = logged(&commits).await;
    let found = recovered(folder.path(), |log| log[ends[0]..ends[1]].fill(0)).await;
    assert!(matches!(found, Err(MetadataError::Corrupt(_))), "a later sync had made it durable: {found:?}");
}

#[tokio::test]
async fn a_store_that_lost_its_tail_goes_on_and_survives_the_next_crash() {
    let (folder, ends) = logged(&[("a", Durability::Synced), ("b", Durability::Synced)]).await;
    fs::File::options().write(true).open(log(folder.path())).unwrap().set_len(ends[1] as u64 - 5).unwrap();
    let store = open(folder.path());
    store.commit(put("c", "value")).await.unwrap();
    let again = crash(folder.path());
    let store = open(again.path());
    store.commit(put("d", "value")).await.unwrap();
    assert_eq!(keys(&store).await, ["a", "c", "d"]);
    drop(store);
    assert_eq!(keys(&open(again.path())).await, ["a", "c", "d"]);
}
