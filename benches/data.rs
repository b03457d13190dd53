//! What the file backend costs over the bare system calls, in one run.
//!
//! Each cell runs the backend and a plain loop over the same bytes in turns: `open`, `write` in pieces of 256 KiB,
//! `fdatasync`, `fsync` of the directory; or `open` and `pread`. CPU is user and system time of the whole process.
#![expect(clippy::unwrap_used, reason = "a benchmark: a fault ends it")]

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudserver::{
    data::{BlobId, DataBackend, FileBackend, FileOptions, PutHint},
    types::ByteStream,
};
use futures_util::{StreamExt, future, stream};
use tokio::runtime::Runtime;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Turns of backend and plain loop.
const ROUNDS: usize = 5;

/// One side of a cell: operations, time and CPU, summed over the rounds.
#[derive(Clone, Copy, Default)]
struct Sum {
    operations: u32,
    time: Duration,
    cpu: Duration,
}

impl Sum {
    fn add(&mut self, operations: usize, work: impl FnOnce()) {
        let (start, cpu) = (Instant::now(), cpu_time());
        work();
        self.time += start.elapsed();
        self.cpu += cpu_time().saturating_sub(cpu);
        self.operations += u32::try_from(operations).unwrap();
    }

    fn text(self, bytes: usize) -> String {
        let volume = f64::from(self.operations) * f64::from(u32::try_from(bytes).unwrap()) / f64::from(1 << 20);
        let rate = volume / self.time.as_secs_f64();
        let cpu = self.cpu_each();
        format!("{rate:>7.0} MiB/s {cpu:>8.1} µs/op")
    }

    fn cpu_each(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.operations)
    }
}

/// User and system time of this process, from fields 14 and 15 of its `stat`, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// The most memory that this process has had resident, in MiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A body as it comes from a socket.
fn body(bytes: &Bytes) -> ByteStream {
    let mut rest = bytes.clone();
    let slices = std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(rest.len().min(64 * KIB)))));
    stream::iter(slices).boxed()
}

/// Runs `operation` with numbers below `count`, `width` at a time, on tasks of the runtime.
fn spread<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    count: usize,
    width: usize,
    operation: impl Fn(usize) -> F + Send + Sync + 'static,
) {
    let (next, operation) = (Arc::new(AtomicUsize::new(0)), Arc::new(operation));
    let lanes = (0..width).map(|_| {
        let (next, operation) = (Arc::clone(&next), Arc::clone(&operation));
        runtime.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                operation(number).await;
            }
        })
    });
    let lanes: Vec<_> = lanes.collect();
    runtime.block_on(future::join_all(lanes)).into_iter().for_each(Result::unwrap);
}

/// The same with threads.
fn spread_plain(count: usize, width: usize, operation: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < count
                {
                    operation(number);
                }
            });
        }
    });
}

fn report(cell: &str, bytes: usize, ours: Sum, plain: Sum) {
    let ratio = ours.cpu_each() / plain.cpu_each();
    let (ours, plain) = (ours.text(bytes), plain.text(bytes));
    print(&format!("{cell:<32} {ours}   plain {plain}   CPU ratio {ratio:.2}"));
}

fn print(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

struct Bench {
    runtime: Runtime,
    backend: Arc<FileBackend>,
    plain: PathBuf,
    words: Vec<String>,
}

impl Bench {
    fn wants(&self, cell: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| cell.contains(word))
    }

    fn put(&self, size: usize, count: usize, width: usize) {
        let cell = format!("put {} KiB, {width} at once", size / KIB);
        if !self.wants(&cell) {
            return;
        }
        let bytes = (0..=u8::MAX).cycle().take(size).collect::<Bytes>();
        let (mut ours, mut plain) = (Sum::default(), Sum::default());
        for _ in 0..ROUNDS {
            let (backend, body_bytes) = (Arc::clone(&self.backend), bytes.clone());
            ours.add(count, || {
                spread(&self.runtime, count, width, move |_| {
                    let (backend, bytes) = (Arc::clone(&backend), body_bytes.clone());
                    async move {
                        let hint = PutHint { blob: None, size: Some(bytes.len() as u64) };
                        backend.put(body(&bytes), hint).await.unwrap();
                    }
                });
            });
            plain.add(count, || {
                spread_plain(count, width, |number| {
                    let file = File::create(self.plain.join(number.to_string())).unwrap();
                    for (piece, chunk) in bytes.chunks(256 * KIB).enumerate() {
                        file.write_all_at(chunk, (piece * 256 * KIB) as u64).unwrap();
                    }
                    file.sync_data().unwrap();
                    File::open(&self.plain).unwrap().sync_all().unwrap();
                });
            });
            self.clear();
        }
        report(&cell, size, ours, plain);
    }

    fn get(&self, size: usize, range: usize, count: usize, width: usize) {
        const BLOBS: usize = 16;
        let cell = format!("get {} of {} KiB, {width} at once", range / KIB, size / KIB);
        if !self.wants(&cell) {
            return;
        }
        let bytes = Bytes::from(vec![5; size]);
        let blobs: Arc<Vec<BlobId>> = Arc::new((0..BLOBS).map(|_| self.store(&bytes)).collect());
        for number in 0..BLOBS {
            fs::write(self.plain.join(number.to_string()), &bytes).unwrap();
        }
        let (mut ours, mut plain) = (Sum::default(), Sum::default());
        // Ranges start at block borders, as those of most clients do.
        let start = move |number: usize| (number * 7 * 64 * KIB) % (size - range + 1) / (64 * KIB) * (64 * KIB);
        for _ in 0..ROUNDS {
            let (backend, blobs) = (Arc::clone(&self.backend), Arc::clone(&blobs));
            ours.add(count, || {
                spread(&self.runtime, count, width, move |number| {
                    let (backend, blob) = (Arc::clone(&backend), blobs.get(number % BLOBS).unwrap().clone());
                    async move {
                        let from = start(number) as u64;
                        let mut stream = backend.get(&blob, from..from + range as u64).await.unwrap();
                        let mut got = 0;
                        while let Some(slice) = stream.next().await {
                            got += slice.unwrap().len();
                        }
                        assert_eq!(got, range);
                    }
                });
            });
            plain.add(count, || {
                spread_plain(count, width, |number| {
                    let file = File::open(self.plain.join((number % BLOBS).to_string())).unwrap();
                    let mut buffer = vec![0; range.min(256 * KIB)];
                    let from = start(number);
                    for at in (from..from + range).step_by(buffer.len()) {
                        file.read_exact_at(&mut buffer, at as u64).unwrap();
                    }
                });
            });
        }
        self.clear();
        report(&cell, range, ours, plain);
    }

    fn store(&self, bytes: &Bytes) -> BlobId {
        self.runtime.block_on(self.backend.put(body(bytes), PutHint::default())).unwrap().blob
    }

    /// Removes what both sides have stored.
    fn clear(&self) {
        self.runtime.block_on(async {
            loop {
                let blobs = self.backend.list(None, 1000).await.unwrap();
                if blobs.is_empty() {
                    return;
                }
                for blob in blobs {
                    self.backend.delete(&blob).await.unwrap();
                }
            }
        });
        for entry in fs::read_dir(&self.plain).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// A thousand uploads at once, each slice a buffer of its own.
    fn many(&self, uploads: usize, size: usize) {
        const SLICE: usize = 16 * KIB;
        let cell = format!("{uploads} uploads of {} KiB at once", size / KIB);
        if !self.wants(&cell) {
            return;
        }
        let (before, backend) = (peak_memory(), Arc::clone(&self.backend));
        spread(&self.runtime, uploads, uploads, move |_| {
            let backend = Arc::clone(&backend);
            async move {
                let slices = (0..size / SLICE).map(|_| Ok(Bytes::from(vec![9; SLICE])));
                let body = stream::iter(slices).then(|slice| async {
                    tokio::task::yield_now().await;
                    slice
                });
                backend.put(body.boxed(), PutHint::default()).await.unwrap();
            }
        });
        let peak = peak_memory();
        print(&format!("{cell:<32} {peak} MiB at most resident, {before} before"));
        self.clear();
    }
}

fn main() {
    // `DATA_BENCH_DIR` names another file system than that of the temporary files.
    let place = std::env::var_os("DATA_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(place).unwrap();
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let backend = FileBackend::open(&dir.path().join("backend"), FileOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // `cargo bench --bench data -- put` runs the cells with that word in their names.
    let words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let bench = Bench { runtime, backend: Arc::new(backend), plain, words };
    bench.many(1000, 2 * MIB);
    bench.put(256 * KIB, 100, 8);
    bench.put(MIB, 60, 1);
    bench.put(MIB, 60, 8);
    bench.put(16 * MIB, 12, 4);
    bench.get(64 * KIB, 4 * KIB, 20_000, 8);
    bench.get(16 * MIB, 64 * KIB, 20_000, 8);
    bench.get(MIB, MIB, 2000, 8);
    bench.get(16 * MIB, 16 * MIB, 150, 4);
}
