//! Rules of objects that are plain files, beyond those of the seam.

mod attacks;
mod found;
mod interrupted;
mod kept;
mod outside;
mod publishing;
mod uploads;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{PosixBackend, PosixOptions, Root};
use crate::{
    clock::SystemClock,
    data::{BlobId, DataBackend, DataError, Expected, FileDurability, NativeObject, NativeStore, Staged, conformance},
    types::ByteStream,
};

/// A location in a folder that goes with it.
struct World {
    backend: PosixBackend,
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl World {
    fn new() -> Self {
        Self::with(|options| options.durability = FileDurability::Relaxed)
    }

    fn with(change: impl FnOnce(&mut PosixOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let mut options = PosixOptions::new(&root);
        change(&mut options);
        Self { backend: PosixBackend::new(options, Arc::new(SystemClock)), _dir: dir, root }
    }

    /// As on a file system without attributes.
    fn without_attributes() -> Self {
        let world = Self::new();
        let mut root = Root::open(&world.root, &Expected::Anything).unwrap();
        root.attributes = false;
        *world.backend.core.root.lock() = Some(Arc::new(root));
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    async fn stage(&self, key: &str, bytes: &[u8]) -> Staged {
        self.backend.stage(&object(key), body(bytes), Some(bytes.len() as u64).into()).await.unwrap()
    }

    async fn publish(&self, key: &str, bytes: &[u8]) -> BlobId {
        let written = self.backend.publish(&self.stage(key, bytes).await).await.unwrap();
        assert_eq!(written.size, bytes.len() as u64);
        written.blob
    }

    async fn read(&self, blob: &BlobId, range: Range<u64>) -> Result<Vec<u8>, DataError> {
        let mut stream = self.backend.get(blob, range).await?;
        let mut all = Vec::new();
        while let Some(slice) = stream.next().await {
            all.extend_from_slice(&slice?);
        }
        Ok(all)
    }

    async fn assert_holds(&self, blob: &BlobId, bytes: &[u8]) {
        assert_eq!(self.read(blob, 0..bytes.len() as u64).await.unwrap(), bytes, "{blob:?}");
    }

    async fn assert_gone(&self, blob: &BlobId) {
        let found = self.read(blob, 0..0).await;
        assert!(matches!(found, Err(DataError::NotFound(_))), "{blob:?}: {found:?}");
    }

    async fn delete(&self, blob: &BlobId) {
        self.backend.delete(blob).await.unwrap();
    }

    /// All files and folders outside ours, sorted.
    fn tree(&self) -> Vec<String> {
        let mut all = Vec::new();
        walk(&self.root, &self.root, &mut all);
        all.retain(|path| !path.starts_with(".cloudserver"));
        all.sort();
        all
    }

    /// What is left in our folder.
    fn ours(&self) -> Vec<String> {
        let mut all = Vec::new();
        walk(&self.root, &self.path(".cloudserver"), &mut all);
        let kept = ["staged", "uploads", "kept", "blobs", "taken", "format"].map(|name| format!(".cloudserver/{name}"));
        all.retain(|path| !kept.contains(path));
        all.sort();
        all
    }
}

fn walk(root: &Path, dir: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            walk(root, &entry.path(), all);
        }
    }
}

fn object(key: &str) -> NativeObject {
    NativeObject { bucket: "b".to_owned(), key: key.to_owned(), ..NativeObject::default() }
}

fn body(bytes: &[u8]) -> ByteStream {
    let mut rest = Bytes::copy_from_slice(bytes);
    let slices = std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(50_000)))));
    stream::iter(slices).boxed()
}

/// Bytes that tell their place.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) % 251).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seam_holds_strict_relaxed_and_without_attributes() {
    let strict = World::with(|_| {});
    conformance::suite(Arc::new(strict.backend)).await;
    let relaxed = World::with(|options| {
        options.durability = FileDurability::Relaxed;
        options.bucket_match = true;
    });
    conformance::suite(Arc::new(relaxed.backend)).await;
    conformance::suite(Arc::new(World::without_attributes().backend)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_native_stores_hold() {
    conformance::native_suite(Arc::new(World::with(|_| {}).backend)).await;
    conformance::native_suite(Arc::new(World::without_attributes().backend)).await;
    conformance::native_suite(Arc::new(World::with(|options| options.bucket_match = true).backend)).await;
}
