//! Rules of the file backend beyond those of the seam.

use std::sync::Arc;

use super::{FileBackend, FileDurability, FileOptions};
use crate::data::conformance;

/// Without syncs, for rules that are not about them.
fn relaxed() -> FileOptions {
    FileOptions { durability: FileDurability::Relaxed, ..FileOptions::default() }
}

#[tokio::test]
async fn files_keep_the_rules_of_the_seam() {
    let dir = tempfile::tempdir().unwrap();
    conformance::suite(Arc::new(FileBackend::open(dir.path(), FileOptions::default()).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_rules_of_the_seam_without_syncs_and_caches_and_with_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let options = FileOptions { write_budget: 1, read_budget: 1, open_files: 0, ..relaxed() };
    conformance::suite(Arc::new(FileBackend::open(dir.path(), options).unwrap())).await;
}
