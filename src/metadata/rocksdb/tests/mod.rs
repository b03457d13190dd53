//! Tests of the RocksDB store; the rules of the seam are in the conformance suite.

#[cfg(feature = "failpoints")]
mod crash;
mod random;
mod recovery;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{RocksOptions, RocksStore};
use crate::{
    metadata::{Batch, Direction, Durability, MetadataError, MetadataStore, Namespace, Table, conformance},
    types::BucketId,
};

const NS: Namespace = Namespace::of(Table::Current, BucketId::new(1));
const BODIES: Namespace = Namespace::of(Table::Bodies, BucketId::new(1));

fn open(path: &Path) -> RocksStore {
    RocksStore::open(path, RocksOptions::default()).unwrap()
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(NS, key, value);
    batch
}

async fn keys(store: &RocksStore) -> Vec<Bytes> {
    let all = Bytes::new()..Bytes::from_static(&[0xff; 8]);
    let pairs = store.scan(NS, all, Direction::Forward, usize::MAX).await.unwrap();
    pairs.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rocksdb_keeps_every_rule_of_the_seam() {
    let folders: Mutex<Vec<TempDir>> = Mutex::default();
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("new/metadata"));
        folders.lock().push(folder);
        Arc::new(store)
    })
    .await;
}

#[tokio::test]
async fn concurrent_commits_share_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for round in 0..10_u8 {
        let commits = (0..64_u8).map(|writer| store.commit(put(vec![round, writer], "value")));
        assert!(join_all(commits).await.iter().all(Result::is_ok));
    }
    let stats = store.stats();
    assert_eq!(stats.commits, 640);
    assert!((10..=80).contains(&stats.syncs), "{stats:?}");
    assert_eq!(keys(&store).await.len(), 640);
}

#[tokio::test]
async fn buffered_commits_alone_are_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..10_u8 {
        store.commit(Batch { durability: Durability::Buffered, ..put(vec![n], "value") }).await.unwrap();
    }
    assert_eq!((store.stats().commits, store.stats().syncs), (10, 0));
    store.commit(put("synced", "value")).await.unwrap();
    assert_eq!(store.stats().syncs, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let options = RocksOptions { queue_bytes: 20_000, ..RocksOptions::default() };
    let store = RocksStore::open(folder.path(), options).unwrap();
    let commits = (0..2000_u16).map(|n| store.commit(put(n.to_be_bytes().to_vec(), vec![0; 4000])));
    let outcomes = join_all(commits).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(MetadataError::Busy))));
    let accepted: Vec<_> = (0..2000_u16).filter(|n| outcomes[usize::from(*n)].is_ok()).collect();
    // Four fit at once; on a loaded machine the committer may not have begun before all others were refused.
    assert!((4..2000).contains(&accepted.len()), "{} of 2000", accepted.len());
    let expected: Vec<_> = accepted.iter().map(|n| Bytes::copy_from_slice(&n.to_be_bytes())).collect();
    assert_eq!(keys(&store).await, expected, "what was refused is not there");
    store.commit(put("after", vec![0; 1 << 20])).await.expect("a batch above the bound passes an empty queue");
}

#[tokio::test]
async fn a_second_process_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let second = RocksStore::open(folder.path(), RocksOptions::default());
    assert!(matches!(&second, Err(MetadataError::Unavailable(why)) if why.contains("in use")), "{second:?}");
    drop(store);
    open(folder.path());
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut batch = Batch::new();
    batch.put(Namespace::global(Table::System), "format", "2");
    store.commit(batch).await.unwrap();
    drop(store);
    let newer = RocksStore::open(folder.path(), RocksOptions::default());
    assert!(matches!(&newer, Err(MetadataError::Unavailable(why)) if why.contains("format 2")), "{newer:?}");
}

#[test]
fn an_unknown_table_is_refused_as_newer() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let columns = rocksdb::DB::list_cf(&options, folder.path()).unwrap();
    rocksdb::DB::open_cf(&options, folder.path(), columns.iter().map(String::as_str).chain(["later"])).unwrap();
    let newer = RocksStore::open(folder.path(), RocksOptions::default());
    assert!(matches!(&newer, Err(MetadataError::Unavailable(why)) if why.contains("newer")), "{newer:?}");
}

#[tokio::test]
async fn what_is_in_tables_and_blob_files_reads_as_what_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let body = |n: u32| Bytes::from(n.to_be_bytes().repeat(1500));
    let mut batch = Batch::new();
    for n in 0..2000_u32 {
        let key = n.to_be_bytes().to_vec();
        batch.put(NS, key.clone(), key.clone()).put(BODIES, key, body(n));
    }
    store.commit(batch).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(folder.path());
    // The first pass comes from files, on the blocking pool; the second from the caches.
    for _ in 0..2 {
        for n in (0..2000_u32).step_by(37) {
            let key = n.to_be_bytes();
            assert_eq!(store.get(BODIES, &key).await.unwrap(), Some(body(n)));
            assert_eq!(store.get(NS, &key).await.unwrap().as_deref(), Some(&key[..]));
            assert_eq!(store.get(NS, &[&key[..], b"x"].concat()).await.unwrap(), None);
            let range = Bytes::copy_from_slice(&key)..Bytes::from_static(&[0xff; 8]);
            for limit in [3, 1500] {
                let pairs = store.scan(BODIES, range.clone(), Direction::Forward, limit).await.unwrap();
                let expected = (n..2000).take(limit).map(|n| (Bytes::copy_from_slice(&n.to_be_bytes()), body(n)));
                assert!(pairs.iter().cloned().eq(expected), "{n} {limit}");
            }
        }
    }
    assert!(store.stats().disk_bytes > 12_000_000, "{:?}", store.stats());
}

#[tokio::test]
async fn a_scan_over_many_tombstones_still_finds_what_is_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut batch = Batch::new();
    for n in 0..5000_u32 {
        batch.put(NS, n.to_be_bytes().to_vec(), "value");
    }
    store.commit(batch).await.unwrap();
    let mut batch = Batch::new();
    for n in 0..4999_u32 {
        batch.delete(NS, n.to_be_bytes().to_vec());
    }
    store.commit(batch).await.unwrap();
    assert_eq!(keys(&store).await, [Bytes::copy_from_slice(&4999_u32.to_be_bytes())]);
    let all = Bytes::new()..Bytes::from_static(&[0xff; 8]);
    assert_eq!(store.scan(NS, all, Direction::Forward, 1).await.unwrap().len(), 1);
}
