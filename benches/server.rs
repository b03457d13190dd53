//! The whole server under load: operations and bytes per second, latency, and the server's CPU per operation.
//!
//! The real binary runs on files and RocksDB in a temporary directory, strict durability, all checks on; the load comes
//! from threads of this process over loopback, signed with `UNSIGNED-PAYLOAD`. CPU per operation is the figure to
//! trust on a shared machine. `cargo bench --bench server [-- NAME…]` runs the cells whose names contain a NAME.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program that measures, not a part of the server"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cloudserver::types::{Timestamp, digest::sha256_hex};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const BUCKET: &str = "bench";
/// How long a cell is measured.
const SPAN: Duration = Duration::from_secs(5);

struct Server {
    child: Child,
    port: u16,
    _home: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, admin) = (free(), free());
        let config = home.path().join("config.json");
        let text = format!(
            r#"{{"restEndpoints":{{"localhost":"us-east-1","127.0.0.1":"us-east-1"}},"listenOn":["127.0.0.1:{port}"],"metricsListenOn":["127.0.0.1:{admin}"],"log":{{"logLevel":"warn","dumpLevel":"error"}}}}"#
        );
        fs::write(&config, text).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::copy(shipped.join("locationConfig.json"), home.path().join("locationConfig.json")).unwrap();
        fs::copy(shipped.join("conf/authdata.json"), home.path().join("authdata.json")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cloudserver"))
            .arg("--config")
            .arg(&config)
            .env("S3DATAPATH", home.path().join("data"))
            .env("S3METADATAPATH", home.path().join("metadata"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port, _home: home };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "the server did not start");
            thread::sleep(Duration::from_millis(5));
        }
        println!("start: {} ms, idle memory: {} MiB", begin.elapsed().as_millis(), server.memory("VmRSS") >> 10);
        server
    }

    /// User and system time so far, in microseconds.
    fn cpu_us(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks * 10_000
    }

    /// A line of `/proc/…/status`, in KiB.
    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(Path::new("/proc").join(self.child.id().to_string()).join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Signs requests with version 4; the payload is not signed.
struct Signer {
    key: [u8; 32],
    date: String,
    host: String,
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

impl Signer {
    fn new(port: u16) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let date = Timestamp::from_secs(seconds).to_basic();
        let mut key = hmac(b"AWS4verySecretKey1", &date.as_bytes()[..8]);
        for text in ["us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, text.as_bytes());
        }
        Self { key, date, host: format!("127.0.0.1:{port}") }
    }

    fn head(&self, method: &str, path: &str, query: &str, length: usize) -> String {
        let (date, host) = (&self.date, &self.host);
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{date}\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
        );
        let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let signature = hex::encode(hmac(&self.key, text.as_bytes()));
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nauthorization: AWS4-HMAC-SHA256 Credential=accessKey1/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\ncontent-length: {length}\r\n\r\n"
        )
    }
}

struct Client<'a> {
    signer: &'a Signer,
    stream: BufReader<TcpStream>,
    sink: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(signer: &'a Signer) -> Self {
        let stream = TcpStream::connect(&signer.host).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { signer, stream: BufReader::with_capacity(256 << 10, stream), sink: Vec::new() }
    }

    /// Sends a request, reads the answer whole; panics unless it is a success.
    fn call(&mut self, method: &str, path: &str, query: &str, body: &[u8]) -> usize {
        let head = self.signer.head(method, path, query, body.len());
        let socket = self.stream.get_mut();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(body).unwrap();
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if status.is_empty() {
                status.clone_from(&line);
            }
            match line.trim_end() {
                "" => break,
                other => {
                    if let Some(value) = other.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
            }
        }
        self.sink.resize(length, 0);
        if method != "HEAD" {
            self.stream.read_exact(&mut self.sink).unwrap();
        }
        assert!(status.starts_with("HTTP/1.1 2"), "{method} {path}: {status}{}", String::from_utf8_lossy(&self.sink));
        length
    }
}

/// A cell of the table.
struct Cell<'a> {
    name: &'a str,
    connections: usize,
    /// Bytes of an operation, for the rate.
    bytes: usize,
    run: &'a (dyn Fn(&mut Client<'_>, usize) + Sync),
}

fn measure(server: &Server, signer: &Signer, cell: &Cell<'_>) {
    let next = AtomicUsize::new(0);
    let (begin, cpu) = (Instant::now(), server.cpu_us());
    let mut latencies: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cell.connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(signer);
                    let mut latencies = Vec::new();
                    while begin.elapsed() < SPAN {
                        let start = Instant::now();
                        (cell.run)(&mut client, next.fetch_add(1, Ordering::Relaxed));
                        latencies.push(start.elapsed().as_micros() as u64);
                    }
                    latencies
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (elapsed, cpu) = (begin.elapsed().as_secs_f64(), server.cpu_us() - cpu);
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: f64| latencies[((count - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{:<26}{:>10.0}{:>10.1}{:>10.2}{:>10.2}{:>12.0}{:>8}",
        cell.name,
        count as f64 / elapsed,
        (count * cell.bytes) as f64 / elapsed / f64::from(1 << 20),
        at(0.5),
        at(0.99),
        cpu as f64 / count as f64,
        server.memory("VmHWM") >> 10
    );
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let server = Server::start();
    let signer = Signer::new(server.port);
    let pool: Vec<u8> = (0..64 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let path = |kind: &str, index: usize| format!("/{BUCKET}/{kind}/{index:06}");
    Client::new(&signer).call("PUT", &format!("/{BUCKET}"), "", b"");
    let put = |kind: &'static str, size: usize| {
        let pool = &pool;
        move |client: &mut Client<'_>, index: usize| {
            // Objects differ, so that nothing could be gained by keeping equal ones once.
            let start = (index * 4099) % (pool.len() - size + 1);
            client.call("PUT", &path(kind, index), "", &pool[start..start + size]);
        }
    };
    let get = |kind: &'static str, count: usize| {
        move |client: &mut Client<'_>, index: usize| {
            client.call("GET", &path(kind, index % count), "", b"");
        }
    };
    let list = |query: &'static str| {
        move |client: &mut Client<'_>, _: usize| {
            client.call("GET", &format!("/{BUCKET}"), query, b"");
        }
    };
    let (small, middle, large) = (4 << 10, 1 << 20, 64 << 20);
    {
        let mut client = Client::new(&signer);
        (0..2000).for_each(|index| put("g4k", small)(&mut client, index));
        (0..64).for_each(|index| put("g1m", middle)(&mut client, index));
        (0..4).for_each(|index| put("g64m", large)(&mut client, index));
    }
    println!("{:<26}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}", "", "ops/s", "MiB/s", "p50 ms", "p99 ms", "CPU µs/op", "MiB");
    let cells = [
        Cell { name: "PUT 4 KiB, 16", connections: 16, bytes: small, run: &put("p4k", small) },
        Cell { name: "PUT 4 KiB, 64", connections: 64, bytes: small, run: &put("q4k", small) },
        Cell { name: "GET 4 KiB, 16", connections: 16, bytes: small, run: &get("g4k", 2000) },
        Cell { name: "PUT 1 MiB, 16", connections: 16, bytes: middle, run: &put("p1m", middle) },
        Cell { name: "GET 1 MiB, 16", connections: 16, bytes: middle, run: &get("g1m", 64) },
        Cell { name: "PUT 64 MiB, 4", connections: 4, bytes: large, run: &put("p64m", large) },
        Cell { name: "GET 64 MiB, 4", connections: 4, bytes: large, run: &get("g64m", 4) },
        Cell { name: "list 1,000 keys, 4", connections: 4, bytes: 0, run: &list("list-type=2&prefix=g4k%2F") },
        Cell { name: "list by delimiter, 4", connections: 4, bytes: 0, run: &list("delimiter=%2F&list-type=2") },
    ];
    for cell in cells.iter().filter(|cell| wanted.is_empty() || wanted.iter().any(|name| cell.name.contains(name))) {
        measure(&server, &signer, cell);
    }
}
