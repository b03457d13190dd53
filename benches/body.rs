//! Server CPU of taking bodies in, by form, and of writing listings.
//!
//! `cargo bench --bench body [-- FILTER]`. User and system time of the whole process, so that work on other threads
//! counts; compare lines of one run, as ratios.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and stops where it cannot go on")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudserver::{
    s3::{
        body::{ChunkVerifier, Encoding, Intake, Pace, Plan},
        xml::XmlWriter,
    },
    types::{
        Checksum, ChecksumAlgorithm,
        digest::{Digest, Md5Stream, Sha256, sha256_hex, update_together},
    },
};
use futures_util::{StreamExt, future::join_all};
use hmac::{Hmac, KeyInit, Mac};
use http_body::{Body, Frame};

const MIB: usize = 1 << 20;
/// About what hyper hands on of a busy connection.
const FRAME: usize = 64 << 10;

/// A body of ready frames.
struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn frames(body: &Bytes) -> Frames {
    Frames((0..body.len()).step_by(FRAME).map(|from| body.slice(from..body.len().min(from + FRAME))).collect())
}

#[derive(Clone)]
struct Signer;

fn hmac(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("any length is a key");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

impl ChunkVerifier for Signer {
    fn seed(&self) -> &'static str {
        "seed"
    }
    fn chunk(&self, previous: &str, sha256_hex: &str) -> String {
        hmac(&format!("AWS4-HMAC-SHA256-PAYLOAD\ndate\nscope\n{previous}\nempty\n{sha256_hex}"))
    }
    fn trailer(&self, previous: &str, sha256_hex: &str) -> String {
        hmac(&format!("AWS4-HMAC-SHA256-TRAILER\ndate\nscope\n{previous}\n{sha256_hex}"))
    }
}

fn encode(payload: &[u8], chunk: usize, signed: bool, trailer: Option<&Checksum>) -> Bytes {
    let (mut encoded, mut previous) = (Vec::new(), Signer.seed().to_owned());
    for chunk in payload.chunks(chunk).chain([b"".as_slice()]) {
        encoded.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if signed {
            previous = Signer.chunk(&previous, &sha256_hex(chunk));
            encoded.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
        }
        encoded.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            encoded.extend_from_slice(chunk);
            encoded.extend_from_slice(b"\r\n");
        }
    }
    if let Some(checksum) = trailer {
        let line = format!("{}:{}", checksum.algorithm.header(), checksum.to_base64());
        encoded.extend_from_slice(format!("{line}\r\n").as_bytes());
        if signed {
            let signature = Signer.trailer(&previous, &sha256_hex(format!("{line}\n").as_bytes()));
            encoded.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    encoded.extend_from_slice(b"\r\n");
    encoded.into()
}

fn payload(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// User and system time of this process, to 10 ms.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a Linux system");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Runs `work` for about `time` and gives CPU and elapsed time per run.
fn measure(time: Duration, mut work: impl FnMut()) -> (Duration, Duration) {
    work();
    let (start, before, mut runs) = (Instant::now(), cpu(), 0);
    while start.elapsed() < time {
        work();
        runs += 1;
    }
    (cpu().saturating_sub(before) / runs, start.elapsed() / runs)
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    intake: Intake,
    filter: Option<String>,
}

impl Bench {
    fn wanted(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter))
    }

    /// `uploads` at a time of `encoded`; CPU per MiB of payload.
    fn uploads(&self, name: &str, uploads: usize, encoded: &Bytes, plan: &(dyn Fn() -> Plan + Sync)) {
        let size = usize::try_from(plan().length.expect("a length")).expect("it fits");
        let name = format!("{name}, {} KiB x {uploads}", size >> 10);
        if !self.wanted(&name) {
            return;
        }
        let (cpu, elapsed) = measure(Duration::from_secs(2), || {
            self.runtime.block_on(async {
                let all = (0..uploads).map(|_| {
                    let mut body = self.intake.accept(frames(encoded), plan());
                    async move {
                        let mut taken = 0;
                        while let Some(slice) = body.stream.next().await {
                            taken += slice.expect("a right body").len();
                            // As a writer would, it lets others run.
                            tokio::task::yield_now().await;
                        }
                        assert!(taken == size && body.digests.get().is_some());
                    }
                });
                join_all(all).await;
            });
        });
        report(&name, cpu, elapsed, size * uploads);
    }
}

fn report(name: &str, cpu: Duration, elapsed: Duration, bytes: usize) {
    let mib = u32::try_from(bytes.div_ceil(MIB).max(1)).expect("it fits");
    let per_mib = |time: Duration| time.as_micros() * (MIB as u128) / (bytes as u128);
    println!("{name:<52} {:>7} us CPU/MiB {:>7} us/MiB   ({mib} MiB a run)", per_mib(cpu), per_mib(elapsed));
}

fn hashes(bench: &Bench) {
    let bytes = payload(4 * MIB);
    for algorithm in ChecksumAlgorithm::ALL {
        let name = format!("checksum: {algorithm}");
        if bench.wanted(&name) {
            let work = || drop(black_box(Checksum::of(algorithm, &bytes)));
            let (cpu, elapsed) = measure(Duration::from_secs(1), work);
            report(&name, cpu, elapsed, bytes.len());
        }
    }
}

/// MD5 of several streams together, as the workers hash several uploads.
fn lanes(bench: &Bench) {
    let bytes = payload(256 << 10);
    for count in [1, 2, 3, 4, 8, 16] {
        let name = format!("MD5 of {count} streams together");
        if bench.wanted(&name) {
            let (cpu, elapsed) = measure(Duration::from_secs(1), || {
                let mut streams = vec![Md5Stream::default(); count];
                update_together(streams.iter_mut().map(|stream| (stream, [bytes.as_slice()].into_iter())));
                black_box(streams);
            });
            report(&name, cpu, elapsed, bytes.len() * count);
        }
    }
}

fn bodies(bench: &Bench) {
    for (size, uploads) in [(64 << 10, 16), (MIB, 1), (MIB, 16), (16 * MIB, 4)] {
        let bytes = payload(size);
        let crc32 = Checksum::of(ChecksumAlgorithm::Crc32, &bytes);
        let sha256 = Sha256::digest(&bytes).into();
        let length = Some(size as u64);
        let bare = Bytes::from(bytes.clone());
        bench.uploads("plain", uploads, &bare, &|| Plan { length, ..Plan::default() });
        bench.uploads("signed SHA-256", uploads, &bare, &|| Plan { length, sha256: Some(sha256), ..Plan::default() });
        let trailer = Some(ChecksumAlgorithm::Crc32);
        for chunk in [FRAME, MIB] {
            let encoded = encode(&bytes, chunk, false, Some(&crc32));
            let plan = || Plan { length, trailer, encoding: Encoding::ChunkedUnsigned, ..Plan::default() };
            bench.uploads(&format!("trailer CRC32, chunks of {} KiB", chunk >> 10), uploads, &encoded, &plan);
        }
        for chunk in [FRAME, MIB] {
            let encoded = encode(&bytes, chunk, true, None);
            let plan = || Plan { length, encoding: Encoding::ChunkedSigned(Box::new(Signer)), ..Plan::default() };
            bench.uploads(&format!("signed chunks of {} KiB", chunk >> 10), uploads, &encoded, &plan);
        }
        let encoded = encode(&bytes, FRAME, true, Some(&crc32));
        let encoding = || Encoding::ChunkedSignedTrailer(Box::new(Signer));
        let plan = || Plan { length, trailer, encoding: encoding(), ..Plan::default() };
        bench.uploads("signed chunks of 64 KiB and trailer", uploads, &encoded, &plan);
    }
}

/// What several long uploads at once cost, the first forms of clients only.
fn concurrent(bench: &Bench) {
    let size = 16 * MIB;
    let bytes = payload(size);
    let sha256 = Sha256::digest(&bytes).into();
    let length = Some(size as u64);
    let bare = Bytes::from(bytes);
    for uploads in [1, 2, 4, 8, 16] {
        bench.uploads("at once: plain", uploads, &bare, &|| Plan { length, ..Plan::default() });
        let plan = || Plan { length, sha256: Some(sha256), ..Plan::default() };
        bench.uploads("at once: signed SHA-256", uploads, &bare, &plan);
    }
}

fn listing(bench: &Bench) {
    if !bench.wanted("listing") {
        return;
    }
    let keys: Vec<String> = (0..1000).map(|number| format!("photos/2026/11/{number:08}/original image.jpeg")).collect();
    let (cpu, elapsed) = measure(Duration::from_secs(1), || {
        let mut xml = XmlWriter::document("ListBucketResult", 400_000);
        for key in &keys {
            xml.open("Contents").text("Key", key).text("LastModified", "2026-01-02T03:04:05.000Z");
            xml.quoted("ETag", "5d41402abc4b2a76b9719d911017c592").value("Size", 1_234_567_u64);
            xml.text("ChecksumAlgorithm", "CRC64NVME").text("ChecksumType", "FULL_OBJECT");
            xml.text("StorageClass", "STANDARD").close();
        }
        black_box(xml.finish());
    });
    println!(
        "{:<52} {:>7} ns CPU/key {:>7} ns/key",
        "listing: 1,000 keys",
        cpu.as_nanos() / 1000,
        elapsed.as_nanos() / 1000
    );
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let bench = Bench { runtime, intake: Intake::new(Pace::default(), threads), filter };
    hashes(&bench);
    lanes(&bench);
    bodies(&bench);
    concurrent(&bench);
    listing(&bench);
}
