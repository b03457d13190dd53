//! Memory stays bounded however many bodies come or go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future, stream};

use super::{FileBackend, FileOptions, pattern, put, relaxed};
use crate::data::{DataBackend, PutHint};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_stay_within_the_budget() {
    const UPLOADS: usize = 200;
    const SLICE: usize = 16 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), FileOptions { write_budget: 8 * MIB, ..relaxed() }).unwrap();
    let budget = Arc::clone(&backend.core.budget);
    let peak = Arc::new(AtomicUsize::new(0));
    let puts = (0..UPLOADS).map(|_| {
        let (budget, peak) = (Arc::clone(&budget), Arc::clone(&peak));
        let slices = stream::iter((0..64).map(|_| Ok(Bytes::from(vec![7; SLICE]))));
        let watched = slices.inspect(move |_| {
            peak.fetch_max(budget.held(), Ordering::Relaxed);
        });
        // Now and then the connection has nothing.
        let body = watched.then(|slice| tokio::task::yield_now().map(|()| slice)).boxed();
        backend.put(body, PutHint::default())
    });
    for written in future::join_all(puts).await {
        assert_eq!(written.unwrap().size, (64 * SLICE) as u64);
    }
    // With so many, each may hold two pieces of 32 KiB, and the slice that made the second one full.
    let limit = UPLOADS * (2 * 32 * 1024 + SLICE);
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak > MIB && peak <= limit, "{peak} of at most {limit} bytes");
    assert_eq!(budget.held(), 0, "all is given back");
}

#[tokio::test]
async fn a_stalled_upload_gives_back_what_it_holds_when_memory_is_tight() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), FileOptions { write_budget: 2 * MIB, ..relaxed() }).unwrap();
    let budget = Arc::clone(&backend.core.budget);
    let stalled = |size| stream::iter([Ok(pattern(size))]).chain(stream::pending()).boxed();
    // The first comes when there is room for much; together with the second it holds more than half.
    let mut puts = vec![backend.put(stalled(1000 * 1000), PutHint::default())];
    assert!(puts[0].as_mut().now_or_never().is_none());
    assert_eq!(budget.held(), 1000 * 1000, "with room to spare nothing is written early");
    puts.push(backend.put(stalled(100_000), PutHint::default()));
    let mut together = future::join_all(puts);
    for _ in 0..1000 {
        let step = tokio::time::timeout(Duration::from_millis(50), &mut together).await;
        assert!(step.is_err(), "stalled bodies do not end");
        if budget.held() < MIB {
            break;
        }
    }
    assert!(budget.held() < MIB, "{} bytes are still held", budget.held());
}

#[tokio::test]
async fn readers_that_stop_hold_little_and_return_it() {
    let dir = tempfile::tempdir().unwrap();
    let backend = FileBackend::open(dir.path(), FileOptions { read_budget: 2 * MIB, ..relaxed() }).unwrap();
    let blob = put(&backend, &pattern(2 * MIB)).await;
    let buffers = Arc::clone(&backend.core.reads.buffers);
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = backend.get(&blob, 0..2 * MIB as u64).await.unwrap();
        let slice = stream.next().await.unwrap().unwrap();
        streams.push((stream, slice));
    }
    let lent = buffers.lent();
    assert!(lent <= MIB + 50 * 64 * 1024 + 256 * 1024, "{lent} bytes for 50 readers");
    drop(streams);
    assert_eq!(buffers.lent(), 0);
}
