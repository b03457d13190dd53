//! Rules of the file backend beyond those of the seam.

mod cold;
mod corruption;
mod directory;
mod durability;
mod full;
mod memory;
mod script;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use self::script::Script;
use super::{FileBackend, FileDurability, FileOptions};
use crate::{
    data::{BlobId, DataBackend, DataError, PutHint, conformance, name::BlobName},
    types::ByteStream,
};

/// Without syncs, for rules that are not about them.
fn relaxed() -> FileOptions {
    FileOptions { durability: FileDurability::Relaxed, ..FileOptions::default() }
}

/// Bytes that tell their place.
fn pattern(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) % 251).unwrap()).collect()
}

/// A body in slices of 50,000 bytes.
fn body(bytes: &Bytes) -> ByteStream {
    let mut rest = bytes.clone();
    let slices = std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(50_000)))));
    stream::iter(slices).boxed()
}

async fn put(backend: &FileBackend, bytes: &Bytes) -> BlobId {
    backend.put(body(bytes), PutHint { blob: None, size: Some(bytes.len() as u64) }).await.unwrap().blob
}

/// What a get delivers before it ends, and how it ends.
async fn read(backend: &FileBackend, blob: &BlobId, range: std::ops::Range<u64>) -> (Vec<u8>, Result<(), String>) {
    let mut stream = match backend.get(blob, range).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Err(error.to_string())),
    };
    let mut all = Vec::new();
    while let Some(slice) = stream.next().await {
        match slice {
            Ok(slice) => all.extend_from_slice(&slice),
            Err(error) => return (all, Err(error.to_string())),
        }
    }
    (all, Ok(()))
}

/// The file of a blob.
fn file_of(root: &Path, blob: &BlobId) -> std::path::PathBuf {
    root.join(blob.as_str().get(..2).unwrap()).join(blob.as_str())
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

#[tokio::test]
async fn a_reader_that_races_with_the_deletion_does_not_bring_the_blob_back() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, backend) = Script::backend(dir.path(), relaxed());
    let bytes = pattern(70_000);
    let blob = put(&backend, &bytes).await;
    let (core, name) = (Arc::clone(&backend.core), BlobName::of(&blob).unwrap());
    // The reader has opened the file and not yet kept it when the deletion comes and goes.
    disk.after_open(move || core.remove(name).unwrap());
    assert_eq!(read(&backend, &blob, 0..70_000).await, (bytes.to_vec(), Ok(())));
    let late = backend.get(&blob, 0..1).await.map(|_| "a stream");
    assert!(matches!(late, Err(DataError::NotFound(_))), "{late:?}");
}
