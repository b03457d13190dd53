//! Group commit against bare RocksDB, on the disk that `TMPDIR` names.
//!
//! `cargo bench --bench metadata` prints commits per second and CPU per commit of the store and of `rocksdb::DB::put`
//! with a synced log, the same number of writers each, one after the other in the same run; then read latencies.
//! `-- writes` or `-- reads` runs one half.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark reports to its terminal and stops on errors")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::{
    fs,
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudserver::{
    metadata::{Batch, Condition, Direction, Jump, MetadataStore, Namespace, RocksOptions, RocksStore, Table},
    types::BucketId,
};
use tokio::task::JoinSet;

const RUN: Duration = Duration::from_secs(4);
const WRITERS: [usize; 3] = [1, 16, 64];
const VALUE: usize = 4600;
const BUCKET: BucketId = BucketId::new(1);
const BODIES: Namespace = Namespace::of(Table::Bodies, BUCKET);
const CURRENT: Namespace = Namespace::of(Table::Current, BUCKET);

/// What a run came to.
struct Figures {
    commits: u64,
    time: Duration,
    cpu: Duration,
    syncs: u64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if only.as_deref() != Some("reads") {
        writes(&runtime);
    }
    if only.as_deref() != Some("writes") {
        runtime.block_on(reads());
    }
}

fn writes(runtime: &tokio::runtime::Runtime) {
    println!("{:<34}{:>8}{:>12}{:>14}{:>16}", "", "writers", "commits/s", "CPU µs each", "commits a sync");
    for writers in WRITERS {
        let raw = raw_puts(writers);
        print_row("RocksDB put, synced", writers, &raw);
        let put = runtime.block_on(commits(writers, one_put));
        print_row("store, one put", writers, &put);
        let object = runtime.block_on(commits(writers, one_object));
        print_row("store, a small object", writers, &object);
        let counted = runtime.block_on(commits(writers, counted_object));
        print_row("the same, counted at its location", writers, &counted);
    }
    println!();
}

fn print_row(name: &str, writers: usize, figures: &Figures) {
    let rate = figures.commits as f64 / figures.time.as_secs_f64();
    let cpu = figures.cpu.as_secs_f64() * 1e6 / figures.commits as f64;
    let shared = match figures.syncs {
        0 => "-".to_owned(),
        syncs => format!("{:.1}", figures.commits as f64 / syncs as f64),
    };
    println!("{name:<34}{writers:>8}{rate:>12.0}{cpu:>14.1}{shared:>16}");
}

/// User and system time of the process.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a Linux /proc");
    // Fields 14 and 15, counted after the name in parentheses, in ticks of 10 ms.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(10 * fields.map(|field| field.parse::<u64>().unwrap_or(0)).sum::<u64>())
}

fn value(writer: usize) -> Bytes {
    // Not compressible: bodies seldom are.
    let mut state = writer as u64 + 1;
    (0..VALUE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect::<Vec<u8>>()
        .into()
}

fn key(writer: usize, n: u64) -> Bytes {
    format!("photos/{writer:03}/{n:010}").into()
}

fn raw_puts(writers: usize) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let db = rocksdb::DB::open_default(folder.path()).expect("a database");
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let (start, cpu_before) = (Instant::now(), cpu());
    thread::scope(|scope| {
        for writer in 0..writers {
            let (db, stop, count) = (&db, &stop, &count);
            scope.spawn(move || {
                let mut options = rocksdb::WriteOptions::default();
                options.set_sync(true);
                let value = value(writer);
                for n in 0.. {
                    db.put_opt(key(writer, n), &value, &options).expect("a put");
                    count.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        thread::park_timeout(RUN);
        stop.store(true, Ordering::Relaxed);
    });
    Figures { commits: count.into_inner(), time: start.elapsed(), cpu: cpu().saturating_sub(cpu_before), syncs: 0 }
}

fn one_put(key: Bytes, value: &Bytes) -> Batch {
    let mut batch = Batch::new();
    batch.put(BODIES, key, value.clone());
    batch
}

/// As the engine writes one: body, record, usage, journal, on condition that the key is as it was read.
fn one_object(key: Bytes, value: &Bytes) -> Batch {
    let mut batch = Batch::new();
    let record = value.slice(..400);
    batch.require(Namespace::global(Table::Buckets), "bucket", Condition::Absent);
    batch.unchanged(CURRENT, key.clone(), None);
    batch.put(BODIES, key.clone(), value.slice(400..)).put(CURRENT, key, record.clone());
    batch.add(Namespace::of(Table::Usage, BUCKET), "usage", vec![1, 4200]);
    batch.append(Namespace::global(Table::Journal), record);
    batch
}

/// The same, and what its location holds: a counter of its own, which all buckets there share.
fn counted_object(key: Bytes, value: &Bytes) -> Batch {
    let mut batch = one_object(key, value);
    batch.add(Namespace::global(Table::System), "location/us-east-1", vec![1, 4200, 0]);
    batch
}

async fn commits(writers: usize, batch: fn(Bytes, &Bytes) -> Batch) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(RocksStore::open(folder.path(), RocksOptions::default()).expect("a store"));
    let (start, cpu_before) = (Instant::now(), cpu());
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let value = value(writer);
            for n in 0.. {
                store.commit(batch(key(writer, n), &value)).await.expect("a commit");
                if start.elapsed() >= RUN {
                    break;
                }
            }
        });
    }
    tasks.join_all().await;
    let (time, cpu) = (start.elapsed(), cpu().saturating_sub(cpu_before));
    let stats = store.stats();
    store.close().await.expect("a close");
    Figures { commits: stats.commits, time, cpu, syncs: stats.syncs }
}

/// Reads one key at a time, then pages of a listing.
async fn reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksStore::open(folder.path(), RocksOptions::default()).expect("a store");
    let body = value(1);
    for chunk in 0..100_u64 {
        let mut batch = Batch::new();
        for n in chunk * 1000..(chunk + 1) * 1000 {
            batch.put(CURRENT, key(0, n), body.slice(..400));
            if n % 10 == 0 {
                batch.put(BODIES, key(0, n), body.clone());
            }
        }
        store.commit(batch).await.expect("a commit");
    }
    store.close().await.expect("a close");
    drop(store);
    let start = Instant::now();
    let store = RocksStore::open(folder.path(), RocksOptions::default()).expect("a store");
    println!("reopened with 100,000 keys in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    for pass in ["first", "second"] {
        timed(&format!("get, 400 B record, {pass} pass"), 20_000, |n| {
            let (store, key) = (&store, key(0, n * 7919 % 100_000));
            async move { assert!(store.get(CURRENT, &key).await.expect("a get").is_some()) }
        })
        .await;
        timed(&format!("get, 4.6 KB body, {pass} pass"), 5000, |n| {
            let (store, key) = (&store, key(0, n * 7919 % 10_000 * 10));
            async move { assert!(store.get(BODIES, &key).await.expect("a get").is_some()) }
        })
        .await;
        timed(&format!("get, absent, {pass} pass"), 20_000, |n| {
            let (store, key) = (&store, key(9, n));
            async move { assert!(store.get(CURRENT, &key).await.expect("a get").is_none()) }
        })
        .await;
        for limit in [100, 1000] {
            timed(&format!("scan of {limit} records, {pass} pass"), 2000, |n| {
                let (store, range) = (&store, Range { start: key(0, n * 7919 % 99_000), end: key(1, 0) });
                async move {
                    let pairs = store.scan(CURRENT, range, Direction::Forward, limit).await.expect("a scan");
                    assert!(pairs.len() == limit);
                }
            })
            .await;
        }
        timed(&format!("1,000 jumps over 99 records each, {pass} pass"), 200, |_| {
            let (store, range) = (&store, Range { start: key(0, 0), end: key(1, 0) });
            async move {
                let pairs = store.scan_jumping(CURRENT, range, Arc::new(Hundreds), 1000).await.expect("a scan");
                assert!(pairs.len() == 1000);
            }
        })
        .await;
    }
}

/// Goes on behind each hundred of keys, as a listing does that folds them into a common prefix.
#[derive(Debug)]
struct Hundreds;

impl Jump for Hundreds {
    fn behind(&self, at: &[u8]) -> Option<Bytes> {
        let digits = at.get(at.len().checked_sub(10)?..)?;
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(key(0, (number / 100 + 1) * 100))
    }
}

async fn timed<F: Future<Output = ()>>(name: &str, times: u64, call: impl Fn(u64) -> F) {
    let mut samples = Vec::new();
    let cpu_before = cpu();
    for n in 0..times {
        let start = Instant::now();
        call(n).await;
        samples.push(start.elapsed());
    }
    let cpu = cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / times as f64;
    samples.sort_unstable();
    let at = |share: usize| samples.get(samples.len() * share / 1000).copied().unwrap_or_default().as_secs_f64() * 1e6;
    println!("{name:<34} p50 {:>7.1} µs   p99 {:>7.1} µs   CPU {cpu:>6.1} µs", at(500), at(990));
}
