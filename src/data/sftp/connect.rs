//! Connections to a server: opened when they are needed, shared, and left when they break.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use russh::{
    Preferred,
    client::{self, Handle},
    keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, check_known_hosts_path},
};
use russh_sftp::{
    client::{Config, RawSftpSession, error::Error as SftpError, rawsession::Limits},
    extensions,
    protocol::{FileAttributes, StatusCode},
};
use secrecy::ExposeSecret;
use tokio::sync::Mutex as AsyncMutex;

use super::{super::tree::TreeError, HostKey, SftpLogin, SftpOptions, transfer::PIECE};

/// Connections to a server. Each has a thread's worth of encryption; requests of all users share them.
const CONNECTIONS: usize = 4;
/// Most time to open a connection, from the first packet to the first answer about files.
const CONNECT: Duration = Duration::from_secs(15);
/// A server that has sent nothing for so long is asked for a sign of life; three unanswered ones end the connection.
const SILENCE: Duration = Duration::from_secs(15);
/// Most seconds for one request: syncing a large file may take long.
const REQUEST_SECONDS: u64 = 120;
/// What servers without `limits@openssh.com` take in one piece, as all must.
const LEAST_PIECE: usize = 32 << 10;

/// The connections to a server.
pub(super) struct Connections {
    options: SftpOptions,
    places: [AsyncMutex<Option<Arc<Session>>>; CONNECTIONS],
    next: AtomicUsize,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("host", &self.options.host).finish_non_exhaustive()
    }
}

/// A connection on which files can be asked for.
pub(super) struct Session {
    pub(super) sftp: RawSftpSession,
    /// Bytes of a piece that this server takes and gives.
    pub(super) piece: usize,
    /// Files can be synced.
    pub(super) syncs: bool,
    /// Space can be asked for.
    pub(super) tells_space: bool,
    ssh: Handle<Judge>,
    broken: AtomicBool,
}

impl Session {
    fn is_usable(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.ssh.is_closed()
    }

    /// What an error means; one of the connection's makes that this is the last use of it.
    pub(super) fn failure(&self, what: &'static str, error: SftpError) -> TreeError {
        let told = |reason: &dyn fmt::Display| format!("{what}: {reason}");
        match error {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => TreeError::Missing,
                StatusCode::PermissionDenied | StatusCode::OpUnsupported => {
                    TreeError::Refused(told(&status.status_code))
                }
                StatusCode::NoConnection | StatusCode::ConnectionLost => {
                    self.broken.store(true, Ordering::Relaxed);
                    TreeError::Away(told(&status.status_code))
                }
                StatusCode::Ok | StatusCode::Eof | StatusCode::Failure | StatusCode::BadMessage => {
                    TreeError::Away(told(&status.status_code))
                }
            },
            // Not sent: the server's limit of open files.
            SftpError::Limited(why) => TreeError::Away(told(&why)),
            SftpError::IO(_) | SftpError::Timeout | SftpError::UnexpectedPacket | SftpError::UnexpectedBehavior(_) => {
                self.broken.store(true, Ordering::Relaxed);
                TreeError::Away(told(&error))
            }
        }
    }
}

/// Whether a listing or a file is at its end.
pub(super) fn is_end(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::Eof)
}

/// Bytes of a file.
pub(super) fn length_of(attributes: &FileAttributes) -> Result<u64, TreeError> {
    attributes.size.ok_or_else(|| TreeError::Refused("the server does not tell how long its files are".to_owned()))
}

impl Connections {
    pub(super) fn new(options: SftpOptions) -> Self {
        let places = std::array::from_fn(|_| AsyncMutex::new(None));
        Self { options, places, next: AtomicUsize::new(0) }
    }

    /// A connection that works, as far as anybody knows.
    pub(super) async fn session(&self) -> Result<Arc<Session>, TreeError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let place = self.places.get(next).ok_or_else(|| TreeError::Away("there is no connection".to_owned()))?;
        let mut place = place.lock().await;
        if let Some(session) = place.as_ref().filter(|session| session.is_usable()) {
            return Ok(Arc::clone(session));
        }
        *place = None;
        let opened = tokio::time::timeout(CONNECT, open(&self.options)).await;
        let late = |_| TreeError::Away(format!("{}:{} does not answer in time", self.options.host, self.options.port));
        let session = Arc::new(opened.map_err(late)??);
        *place = Some(Arc::clone(&session));
        Ok(session)
    }
}

async fn open(options: &SftpOptions) -> Result<Session, TreeError> {
    let SftpOptions { host, port, user, .. } = options;
    let away = |error: &dyn fmt::Display| TreeError::Away(format!("{host}:{port}: {error}"));
    let refused = Arc::new(Mutex::new(None));
    let judge = Judge { options: options.clone(), refused: Arc::clone(&refused) };
    let connected = client::connect(Arc::new(settings(&options.host_key)), (host.as_str(), *port), judge).await;
    let mut ssh = connected.map_err(|error| match refused.lock().take() {
        Some(why) => TreeError::Refused(why),
        None => away(&error),
    })?;
    let answer = match &options.login {
        SftpLogin::Password(password) => ssh.authenticate_password(user, password.expose_secret()).await,
        SftpLogin::Key(key) => {
            ssh.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::clone(key), None)).await
        }
    };
    if !answer.map_err(|error| away(&error))?.success() {
        return Err(TreeError::Refused(format!(
            "{host}:{port} does not let the user in: look at user, key and password"
        )));
    }
    let channel = ssh.channel_open_session().await.map_err(|error| away(&error))?;
    channel.request_subsystem(true, "sftp").await.map_err(|error| away(&error))?;
    let config = Config { request_timeout_secs: REQUEST_SECONDS, ..Config::default() };
    let mut sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
    let version = sftp.init().await.map_err(|error| away(&error))?;
    let can = |extension: &str| version.extensions.contains_key(extension);
    let mut piece = LEAST_PIECE;
    if can(extensions::LIMITS) {
        let limits = Limits::from(sftp.limits().await.map_err(|error| away(&error))?);
        let least = |limit: Option<u64>| limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LEAST_PIECE);
        piece = least(limits.read_len).min(least(limits.write_len)).min(PIECE);
        sftp.set_limits(limits);
    }
    let (syncs, tells_space) = (can(extensions::FSYNC), can(extensions::STATVFS));
    Ok(Session { sftp, piece, syncs, tells_space, ssh, broken: AtomicBool::new(false) })
}

fn settings(host_key: &HostKey) -> client::Config {
    let mut preferred = Preferred::default();
    // A server with several keys shows the one we know.
    if let HostKey::Key(key) = host_key {
        preferred.key = vec![key.algorithm()].into();
    }
    client::Config { nodelay: true, keepalive_interval: Some(SILENCE), preferred, ..client::Config::default() }
}

/// Decides whether a server is the one that we mean.
struct Judge {
    options: SftpOptions,
    /// Why it is not.
    refused: Arc<Mutex<Option<String>>>,
}

impl Judge {
    fn knows(&self, key: &PublicKey) -> Result<bool, String> {
        let SftpOptions { host, port, host_key, .. } = &self.options;
        match host_key {
            HostKey::Key(known) => Ok(known.key_data() == key.key_data()),
            HostKey::Fingerprint(known) => Ok(*known == key.fingerprint(HashAlg::Sha256).to_string()),
            HostKey::File(file) => {
                let known = check_known_hosts_path(host, *port, key, file);
                known.map_err(|error| format!("{}: {error}", file.display()))
            }
        }
    }
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let why = match self.knows(key) {
            Ok(true) => return Ok(true),
            Ok(false) => "it is not the configured one".to_owned(),
            Err(why) => why,
        };
        let SftpOptions { host, port, .. } = &self.options;
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        *self.refused.lock() = Some(format!("{host}:{port} shows the host key {fingerprint}: {why}"));
        Ok(false)
    }
}
