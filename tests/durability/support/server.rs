//! The binary as a process, in folders of its own.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{
    client::Client,
    machine::{Machine, Process},
};

pub(crate) const ACCESS: &str = "durabilityKey1";
pub(crate) const SECRET: &str = "durabilitySecret1";
/// Longer than any start, stop or clean-up takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// Ports of servers.
const PORTS: Range<u32> = 11_000..32_000;

/// Folders and configuration that outlive a server.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) data: PathBuf,
    pub(crate) metadata: PathBuf,
    /// Environment variables of the server.
    pub(crate) variables: Vec<(String, String)>,
    /// More keys of `config.json`.
    pub(crate) config: Value,
    /// `cloudserver` of `config.json`.
    pub(crate) own: Value,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    s3: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    begin: Instant,
    /// From the start of the process to the first connection accepted.
    pub(crate) start_took: Duration,
}

/// An account as `authdata.json` writes it.
pub(crate) fn account(name: &str, number: u64, access: &str, secret: &str) -> Value {
    json!({
        "name": name,
        "email": format!("{name}@example.com"),
        "arn": format!("arn:aws:iam::{number}:root"),
        "canonicalID": format!("{number:064x}"),
        "shortid": number.to_string(),
        "keys": [{ "access": access, "secret": secret }],
    })
}

impl World {
    /// New folders, with `own` as the server's own settings.
    pub(crate) fn new(own: Value) -> Self {
        let folder = tempfile::Builder::new().prefix("cloudserver-durability-").tempdir().unwrap();
        let world = Self {
            data: folder.path().join("data"),
            metadata: folder.path().join("metadata"),
            folder,
            variables: Vec::new(),
            config: json!({}),
            own,
        };
        world.write("authdata.json", &json!({ "accounts": [account("durability", 300_000_000_001, ACCESS, SECRET)] }));
        world.write("locationConfig.json", &Self::locations());
        world
    }

    pub(crate) fn locations() -> Value {
        json!({
            "us-east-1": { "type": "file", "objectId": "us-east-1", "legacyAwsBehavior": true, "details": {} },
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the configuration.
    pub(crate) fn write(&self, name: &str, value: &Value) {
        fs::write(self.folder.path().join(name), serde_json::to_string_pretty(value).unwrap()).unwrap();
    }

    /// Starts a server and waits until it serves.
    pub(crate) async fn start(&self) -> Server {
        self.try_start().await.unwrap_or_else(|(status, log)| panic!("the server ended at start: {status}\n{log}"))
    }

    /// The same; or how it ended, and what it said.
    pub(crate) async fn try_start(&self) -> Result<Server, (ExitStatus, String)> {
        let mut server = self.launch(None);
        server.until_serving().await?;
        Ok(server)
    }

    /// Starts a server, on a machine of its own if there is one, and waits for nothing.
    pub(crate) fn launch(&self, machine: Option<&Machine>) -> Server {
        let (mut s3, mut admin) = (free_port(), free_port());
        if let Some(machine) = machine {
            s3.set_ip(machine.address.into());
            admin.set_ip(machine.address.into());
        }
        let mut config = json!({
            "restEndpoints": { "localhost": "us-east-1", "127.0.0.1": "us-east-1" },
            "listenOn": [s3.to_string()],
            "metricsListenOn": [admin.to_string()],
            "log": { "logLevel": "warn", "dumpLevel": "error" },
            "cloudserver": self.own,
        });
        for (key, value) in self.config.as_object().unwrap() {
            config[key] = value.clone();
        }
        let name = format!("{}", s3.port());
        self.write(&format!("{name}.json"), &config);
        let log = self.folder.path().join(format!("{name}.log"));
        let out = File::create(&log).unwrap();
        let mut command = machine.map_or_else(|| Command::new(binary()), |machine| machine.command(&binary()));
        command.arg("--config").arg(self.folder.path().join(format!("{name}.json")));
        command.arg("--data").arg(&self.data).arg("--metadata").arg(&self.metadata);
        command.current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).envs(self.variables.iter().cloned());
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let begin = Instant::now();
        let child = command.spawn().unwrap();
        Server { child, s3, admin, log, begin, start_took: Duration::ZERO }
    }
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("CLOUDSERVER_BIN");
    named.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cloudserver")), PathBuf::from)
}

/// A port that nobody listened on a moment ago: servers here are told their ports, as operators tell them.
///
/// It is none of those that the system gives to connections: a client of another test would have it before the server.
pub(crate) fn free_port() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run beside each other begin at different places.
    let begin = std::process::id().wrapping_mul(41);
    loop {
        let step = TAKEN.fetch_add(1, Ordering::SeqCst);
        let port = u16::try_from(PORTS.start + begin.wrapping_add(step) % (PORTS.end - PORTS.start)).unwrap();
        if let Ok(free) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return free.local_addr().unwrap();
        }
    }
}

impl Server {
    /// Waits until it serves; or says how it ended, and what it said.
    pub(crate) async fn until_serving(&mut self) -> Result<(), (ExitStatus, String)> {
        while TcpStream::connect(self.s3).await.is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err((status, self.log()));
            }
            assert!(self.begin.elapsed() < PATIENCE, "the server does not start\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.start_took = self.begin.elapsed();
        Ok(())
    }

    /// Whether it serves.
    pub(crate) async fn serves(&self) -> bool {
        TcpStream::connect(self.s3).await.is_ok()
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn s3(&self) -> SocketAddr {
        self.s3
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.s3, ACCESS, SECRET)
    }

    /// What it has written so far, but for the lines of requests.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines()
            .filter(|line| !line.contains(r#""name":"access""#))
            .fold(String::new(), |all, line| all + line + "\n")
    }

    /// Ends it without a warning, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until the process ends.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(begin.elapsed() < 2 * PATIENCE, "the server does not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it as an operator does.
    pub(crate) async fn stop(mut self) {
        self.process().signal("TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// An answer of the admin port: status and body.
    pub(crate) async fn admin(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, answer))
    }

    /// A metric by its whole name, with its labels. `None` before it was first counted.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.admin("/metrics").await.unwrap();
        let prefix = format!("{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Some(line.trim().parse().unwrap())
    }

    /// Waits for a metric to become `wanted`.
    pub(crate) async fn until_metric(&self, name: &str, wanted: f64) {
        let begin = Instant::now();
        loop {
            let value = self.metric(name).await;
            if value.is_some_and(|value| (value - wanted).abs() < f64::EPSILON) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{name} is {value:?}, not {wanted}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until a server that was told to stop says that it does.
pub(crate) async fn until_stopping(server: &Server) {
    loop {
        // The probe's own listener stays until the requests are done.
        match server.admin("/ready").await {
            Ok((200, _)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Ok((status, _)) => break assert_eq!(status, 503),
            Err(error) => panic!("no answer from /ready during the stop: {error}"),
        }
    }
}

/// Waits until `holds` says so.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come to hold");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
