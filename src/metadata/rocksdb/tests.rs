//! Tests of the RocksDB store.

use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{RocksOptions, RocksStore};
use crate::metadata::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rocksdb_keeps_every_rule_of_the_seam() {
    let folders: Mutex<Vec<TempDir>> = Mutex::default();
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksStore::open(folder.path().join("new/metadata"), RocksOptions::default()).unwrap();
        folders.lock().push(folder);
        Arc::new(store)
    })
    .await;
}
