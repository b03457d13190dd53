//! The suite over a tree in memory, and what happens where such a tree loses answers, cuts files and changes bytes.

use std::{collections::BTreeMap, sync::atomic::AtomicUsize};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use parking_lot::Mutex;

use super::{
    super::conformance::{payload, suite},
    *,
};
use crate::types::body;

/// What a tree does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Renames, and does not say so.
    LoseRename,
    /// Does not rename.
    RefuseRename,
    /// Keeps less of a file than it was given.
    CutWrite,
    /// Keeps it with another byte.
    FlipWrite,
    /// Changes a byte on the way out.
    FlipRead,
    /// Breaks off in the middle of a file.
    BreakRead,
    /// Ends in the middle of a file.
    EndRead,
}

#[derive(Debug, Default)]
struct MemoryTree {
    files: Mutex<BTreeMap<String, Bytes>>,
    folders: Mutex<Vec<String>>,
    /// What to do wrong, and how often.
    faults: Mutex<Vec<Fault>>,
    reads: AtomicUsize,
}

impl MemoryTree {
    fn fault(&self, fault: Fault) -> bool {
        let mut faults = self.faults.lock();
        let at = faults.iter().position(|planned| *planned == fault);
        at.map(|at| faults.swap_remove(at)).is_some()
    }

    fn has_folder_of(&self, path: &str) -> bool {
        let folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        folder.is_none_or(|folder| self.folders.lock().contains(&folder))
    }

    fn rename_now(&self, from: &str, to: &str) -> TreeResult<()> {
        if self.fault(Fault::RefuseRename) {
            return Err(TreeError::Away("not now".to_owned()));
        }
        let mut files = self.files.lock();
        if files.contains_key(to) {
            return Err(TreeError::Exists);
        }
        if !self.has_folder_of(to) {
            return Err(TreeError::Missing);
        }
        let bytes = files.remove(from).ok_or(TreeError::Missing)?;
        files.insert(to.to_owned(), bytes);
        if self.fault(Fault::LoseRename) { Err(TreeError::Away("no answer".to_owned())) } else { Ok(()) }
    }
}

impl FileTree for Arc<MemoryTree> {
    fn write<'a>(&'a self, path: &'a str, body: ByteStream, _: Option<u64>) -> BoxFuture<'a, TreeResult<()>> {
        async move {
            if !self.has_folder_of(path) {
                return Err(TreeError::Missing);
            }
            self.files.lock().insert(path.to_owned(), Bytes::new());
            let mut bytes = body::collect(body, 64 << 20).await?.to_vec();
            if self.fault(Fault::CutWrite) {
                bytes.truncate(bytes.len() / 2);
            }
            if self.fault(Fault::FlipWrite) {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            self.files.lock().insert(path.to_owned(), bytes.into());
            Ok(())
        }
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, TreeResult<()>> {
        future::ready(self.rename_now(from, to)).boxed()
    }

    fn length<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<u64>> {
        let length = self.files.lock().get(path).map(|bytes| bytes.len() as u64);
        future::ready(length.ok_or(TreeError::Missing)).boxed()
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> BoxFuture<'a, TreeResult<OpenFile>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let open = || {
            let whole = self.files.lock().get(path).cloned().ok_or(TreeError::Missing)?;
            let length = whole.len() as u64;
            if range.start >= length {
                return Err(TreeError::Beyond);
            }
            let at = |place: u64| usize::try_from(place).unwrap();
            let mut bytes = whole.slice(at(range.start)..at(range.end.min(length))).to_vec();
            let middle = bytes.len() / 2;
            if self.fault(Fault::FlipRead) {
                bytes[middle] ^= 1;
            }
            let broken = self.fault(Fault::BreakRead);
            if broken || self.fault(Fault::EndRead) {
                bytes.truncate(middle);
            }
            let end = broken.then(|| Err(BodyError::Unreadable("it broke".to_owned())));
            let pieces: Vec<_> = bytes.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            Ok(OpenFile { length, bytes: stream::iter(pieces.into_iter().chain(end)).boxed() })
        };
        future::ready(open()).boxed()
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<()>> {
        let removed = self.files.lock().remove(path);
        future::ready(removed.map(drop).ok_or(TreeError::Missing)).boxed()
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> BoxFuture<'a, TreeResult<()>> {
        let made = if self.has_folder_of(path) { Ok(()) } else { Err(TreeError::Missing) };
        if made.is_ok() {
            self.folders.lock().push(path.to_owned());
        }
        future::ready(made).boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, TreeResult<Vec<String>>> {
        let (files, folders) = (self.files.lock(), self.folders.lock());
        let all = files.keys().chain(folders.iter());
        let names = all.filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned));
        future::ready(Ok(names.filter(|name| !name.contains('/')).collect())).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, TreeResult<()>> {
        future::ready(Ok(())).boxed()
    }

    fn usage(&self) -> BoxFuture<'_, TreeResult<Option<DiskUsage>>> {
        future::ready(Ok(None)).boxed()
    }
}

fn backend(faults: &[Fault]) -> (TreeBackend, Arc<MemoryTree>) {
    let tree = Arc::new(MemoryTree::default());
    tree.faults.lock().extend(faults);
    let pause = Duration::from_millis(1);
    let retry = Retry { attempts: 4, first_pause: pause, longest_pause: pause, deadline: Duration::from_secs(5) };
    (TreeBackend::over(Arc::clone(&tree)).with_retry(retry), tree)
}

async fn put(backend: &TreeBackend, bytes: &Bytes) -> Result<BlobId, DataError> {
    let hint = PutHint { blob: backend.reserve(), size: Some(bytes.len() as u64) };
    Ok(backend.put(body::once(bytes.clone()), hint).await?.blob)
}

async fn get(backend: &TreeBackend, blob: &BlobId, range: Range<u64>) -> Result<Bytes, DataError> {
    Ok(body::collect(backend.get(blob, range).await?, 64 << 20).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_files_is_a_data_backend() {
    suite(Arc::new(backend(&[]).0)).await;
}

#[tokio::test]
async fn a_rename_whose_answer_is_lost_counts() {
    for faults in [vec![Fault::LoseRename], vec![Fault::RefuseRename, Fault::RefuseRename, Fault::LoseRename]] {
        let (backend, tree) = backend(&faults);
        let bytes = payload(100_000, 1);
        let blob = put(&backend, &bytes).await.unwrap();
        assert_eq!(get(&backend, &blob, 0..100_000).await.unwrap(), bytes);
        assert_eq!(tree.files.lock().len(), 1, "one file, under its name");
    }
}

#[tokio::test]
async fn a_rename_that_never_comes_about_leaves_nothing() {
    let (backend, tree) = backend(&[Fault::RefuseRename; 4]);
    let failed = put(&backend, &payload(1000, 1)).await;
    assert!(matches!(failed, Err(DataError::Unavailable(why)) if why == "not now"));
    assert!(tree.files.lock().is_empty());
}

#[tokio::test]
async fn a_file_that_was_cut_while_it_was_written_is_never_a_blob() {
    let (backend, tree) = backend(&[Fault::CutWrite]);
    let failed = put(&backend, &payload(100_000, 1)).await;
    assert!(matches!(failed, Err(DataError::Corrupt { .. })), "{failed:?}");
    assert!(tree.files.lock().is_empty());
}

#[tokio::test]
async fn a_wrong_byte_is_never_handed_out() {
    let (backend, tree) = backend(&[Fault::FlipWrite]);
    let bytes = payload(300_000, 1);
    let blob = put(&backend, &bytes).await.unwrap();
    // The byte is in the third block of five.
    assert_eq!(get(&backend, &blob, 0..131_072).await.unwrap(), bytes[..131_072]);
    assert_eq!(get(&backend, &blob, 200_000..300_000).await.unwrap(), bytes[200_000..]);
    let failed = get(&backend, &blob, 140_000..140_001).await;
    assert!(matches!(failed, Err(DataError::Corrupt { .. })), "{failed:?}");
    let mut whole = backend.get(&blob, 0..300_000).await.unwrap();
    let mut found = Vec::new();
    let end = loop {
        match whole.next().await {
            Some(Ok(slice)) => found.extend_from_slice(&slice),
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(BodyError::Unreadable(_)))), "{end:?}");
    assert!(whole.next().await.is_none(), "an error is the end");
    assert_eq!(found, bytes[..131_072]);
    // Where only the wire was wrong, a second look helps.
    let other = put(&backend, &bytes).await.unwrap();
    tree.faults.lock().push(Fault::FlipRead);
    assert_eq!(get(&backend, &other, 0..300_000).await.unwrap(), bytes);
}

#[tokio::test]
async fn reading_goes_on_where_it_broke() {
    let (backend, tree) = backend(&[]);
    let bytes = payload(900_000, 1);
    let blob = put(&backend, &bytes).await.unwrap();
    for fault in [Fault::BreakRead, Fault::EndRead] {
        tree.faults.lock().extend([fault; 5]);
        let before = tree.reads.load(Ordering::SeqCst);
        assert_eq!(get(&backend, &blob, 5..899_000).await.unwrap(), bytes[5..899_000], "{fault:?}");
        assert_eq!(tree.reads.load(Ordering::SeqCst) - before, 6, "{fault:?}: half was left each time");
    }
    // Not without end: each of these breaks before a block is whole.
    tree.faults.lock().extend([Fault::BreakRead; 4]);
    let failed = get(&backend, &blob, 0..10).await;
    assert!(matches!(failed, Err(DataError::Unavailable(_))), "{failed:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_later_is_corrupt_and_not_just_shorter() {
    let (backend, tree) = backend(&[]);
    let blob = put(&backend, &payload(200_000, 1)).await.unwrap();
    let (path, whole) = tree.files.lock().first_key_value().map(|(path, bytes)| (path.clone(), bytes.clone())).unwrap();
    for length in [0, 10, 16, 65_540, 65_556, 131_080, 131_096, 150_000, whole.len() - 1] {
        tree.files.lock().insert(path.clone(), whole.slice(..length));
        for range in [0..200_000, 199_999..200_000] {
            let failed = get(&backend, &blob, range.clone()).await;
            assert!(matches!(failed, Err(DataError::Corrupt { .. })), "{length}, {range:?}: {failed:?}");
        }
    }
    tree.files.lock().insert(path, whole);
    assert!(matches!(get(&backend, &blob, 0..200_001).await, Err(DataError::OutOfRange(_))));
}

#[tokio::test]
async fn deleting_a_reserved_name_removes_what_a_crash_left() {
    let (backend, tree) = backend(&[]);
    let blob = put(&backend, &payload(10, 1)).await.unwrap();
    let name = BlobName::of(&blob).unwrap();
    let bytes = tree.files.lock().remove(&path_of(name)).unwrap();
    tree.files.lock().insert(incoming(name), bytes);
    backend.delete(&blob).await.unwrap();
    assert!(tree.files.lock().is_empty());
}

#[tokio::test]
async fn a_dropped_put_leaves_no_file() {
    let (backend, tree) = backend(&[]);
    let endless = body::once(payload(100_000, 1)).chain(stream::pending()).boxed();
    let put = backend.put(endless, PutHint::default());
    assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
    for _ in 0..200 {
        if tree.files.lock().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} is left", tree.files.lock().keys());
}

#[tokio::test]
async fn folders_that_somebody_removed_are_made_again() {
    let (backend, tree) = backend(&[]);
    put(&backend, &payload(10, 1)).await.unwrap();
    tree.files.lock().clear();
    tree.folders.lock().clear();
    let failed = put(&backend, &payload(10, 2)).await;
    assert!(matches!(failed, Err(DataError::Unavailable(_))), "{failed:?}");
    put(&backend, &payload(10, 3)).await.unwrap();
}
