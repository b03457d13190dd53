//! Reads from the device.

use std::{fs::File, io::IoSliceMut, io::Write};

use futures_util::StreamExt;
use rustix::{
    fs::{Advice, fadvise},
    io::{ReadWriteFlags, preadv2},
};

use super::{FileBackend, FileOptions, file_of, pattern, put, read};
use crate::data::DataBackend;

/// Has the kernel forget a file's pages; says whether it did.
fn forget(file: &File) -> bool {
    file.sync_all().unwrap();
    fadvise(file, 0, None, Advice::DontNeed).unwrap();
    let mut byte = [0];
    preadv2(file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT).is_err()
}

#[tokio::test]
async fn bytes_that_are_only_on_the_device_are_read_whole_and_in_order() {
    const SIZE: usize = 3_333_333;
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), FileOptions::default()).unwrap();
    let bytes = pattern(SIZE);
    let blob = put(&backend, &bytes).await;
    let file = File::open(file_of(dir.path(), &blob)).unwrap();
    // Once on opening the file, once with the file open already.
    for open in [false, true] {
        for range in [0..SIZE, 70_000..SIZE - 1, 1_000_000..1_000_001] {
            if !forget(&file) {
                writeln!(std::io::stderr(), "SKIPPED: this file system keeps its pages").unwrap();
                return;
            }
            let (found, end) = read(&backend, &blob, range.start as u64..range.end as u64).await;
            assert!(end.is_ok() && found == bytes[range.clone()], "{range:?}, open: {open}: {end:?}");
        }
    }
    assert!(forget(&file));
    let mut stream = backend.get(&blob, 0..SIZE as u64).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first, bytes[..first.len()]);
    drop(stream);
    let buffers = std::sync::Arc::clone(&backend.core.reads.buffers);
    for _ in 0..3000 {
        if buffers.lent() == first.len().next_power_of_two() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(first);
    assert_eq!(buffers.lent(), 0, "what was read ahead for nobody is given back");
}
