//! A folder of an SSH server as a [tree of files](super::tree), over SFTP version 3 with what OpenSSH adds to it.
//!
//! A file is created new, written with several requests under way, synced where the server can (`fsync@openssh.com`), and
//! renamed: version 3 never replaces a file by that. Connections are kept and shared; one that breaks or falls silent is
//! left, and the next call opens another. The server must prove to be the one whose key is configured.

mod connect;
mod transfer;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use russh::keys::{PrivateKey, PublicKey, load_secret_key};
use russh_sftp::protocol::FileAttributes;
use secrecy::{ExposeSecret, SecretString};

use self::connect::{Connections, Session};
use super::{
    DiskUsage,
    tree::{FileTree, OpenFile, TreeBackend, TreeError},
};
use crate::{tasks::Tasks, types::ByteStream};

/// How we prove who we are.
#[derive(Clone)]
pub enum SftpLogin {
    /// By a password.
    Password(SecretString),
    /// By a key.
    Key(Arc<PrivateKey>),
}

impl SftpLogin {
    /// Reads a private key in OpenSSH's form, PKCS#8 or SEC1.
    ///
    /// # Errors
    /// What is wrong with the file, without its content.
    pub fn key_of(file: &std::path::Path, passphrase: Option<&SecretString>) -> Result<Self, String> {
        let key = load_secret_key(file, passphrase.map(ExposeSecret::expose_secret));
        let key = key.map_err(|error| format!("the private key {} cannot be used: {error}", file.display()))?;
        if key.algorithm().is_rsa() {
            return Err(format!("{} is an RSA key: use an Ed25519 or ECDSA key", file.display()));
        }
        Ok(Self::Key(Arc::new(key)))
    }
}

impl fmt::Debug for SftpLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Password(_)) { "Password" } else { "Key" })
    }
}

/// How the server proves who it is.
#[derive(Clone, Debug)]
pub enum HostKey {
    /// By this key.
    Key(PublicKey),
    /// By a key with this fingerprint: `SHA256:…`.
    Fingerprint(String),
    /// By a key that this file in the form of `known_hosts` has for it.
    File(PathBuf),
}

impl HostKey {
    /// Reads a key in the form of `known_hosts` without the host, or a fingerprint.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("SHA256:") {
            return Ok(Self::Fingerprint(text.trim_end_matches('=').to_owned()));
        }
        PublicKey::from_openssh(text).map(Self::Key).map_err(|error| format!("hostKey is no public key: {error}"))
    }
}

/// Where a folder is.
#[derive(Clone, Debug)]
pub struct SftpOptions {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The folder, which must be there; a relative path begins where the user's sessions do.
    pub path: String,
    /// Who we are there.
    pub user: String,
    /// How we prove it.
    pub login: SftpLogin,
    /// How the server proves who it is.
    pub host_key: HostKey,
}

/// Blobs in a folder; nothing is asked of it yet.
pub fn backend(options: SftpOptions) -> TreeBackend {
    let trimmed = options.path.trim_end_matches('/');
    let root = if trimmed.is_empty() && options.path.starts_with('/') { "/." } else { trimmed }.to_owned();
    let root = if root.is_empty() { ".".to_owned() } else { root };
    TreeBackend::over(Folder { connections: Connections::new(options), root, tasks: Tasks::default() })
}

/// A folder, and the connections to its server.
#[derive(Debug)]
struct Folder {
    connections: Connections,
    /// Without a slash at its end.
    root: String,
    /// Closing of files that were dropped.
    tasks: Tasks,
}

impl Folder {
    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    async fn session(&self) -> Result<Arc<Session>, TreeError> {
        self.connections.session().await
    }

    async fn rename_at(&self, from: &str, to: &str) -> Result<(), TreeError> {
        let session = self.session().await?;
        let (from, to) = (self.at(from), self.at(to));
        let Err(error) = session.sftp.rename(from.as_str(), to.as_str()).await else { return Ok(()) };
        let failure = session.failure("rename", error);
        if !matches!(failure, TreeError::Away(_)) {
            return Err(failure);
        }
        // Version 3 has one word for all reasons.
        match session.sftp.lstat(to).await {
            Ok(_) => Err(TreeError::Exists),
            Err(_) => Err(failure),
        }
    }

    async fn make(&self, path: &str) -> Result<(), TreeError> {
        let session = self.session().await?;
        let path = self.at(path);
        let attributes = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
        let Err(error) = session.sftp.mkdir(path.as_str(), attributes).await else { return Ok(()) };
        let failure = session.failure("mkdir", error);
        match session.sftp.stat(path).await {
            Ok(there) if there.attrs.is_dir() => Ok(()),
            Ok(_) | Err(_) => Err(failure),
        }
    }

    async fn names_at(&self, folder: &str) -> Result<Vec<String>, TreeError> {
        let session = self.session().await?;
        let handle = session.sftp.opendir(self.at(folder)).await.map_err(|error| session.failure("opendir", error))?;
        let handle = transfer::Opened::new(&session, handle.handle, &self.tasks);
        let mut names = Vec::new();
        loop {
            match session.sftp.readdir(handle.name()).await {
                Ok(page) => names.extend(page.files.into_iter().map(|file| file.filename)),
                Err(error) if connect::is_end(&error) => return Ok(names),
                Err(error) => return Err(session.failure("readdir", error)),
            }
        }
    }

    async fn space(&self) -> Result<Option<DiskUsage>, TreeError> {
        let session = self.session().await?;
        if !session.tells_space {
            return Ok(None);
        }
        let space = session.sftp.statvfs(self.root.as_str()).await;
        let space = space.map_err(|error| session.failure("statvfs", error))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.fragment_size);
        Ok(Some(DiskUsage {
            available: bytes(space.blocks_avail),
            free: bytes(space.blocks_free),
            total: bytes(space.blocks),
        }))
    }
}

impl FileTree for Folder {
    fn write<'a>(
        &'a self,
        path: &'a str,
        body: ByteStream,
        _size: Option<u64>,
    ) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            let session = self.session().await?;
            let written = transfer::write(&session, self.at(path), body, &self.tasks).await;
            // Version 3 has no word for a full disk, but it can be looked for.
            match written {
                Err(TreeError::Away(why)) => match self.space().await {
                    Ok(Some(space)) if space.available < transfer::PIECE as u64 => Err(TreeError::NoSpace),
                    Ok(_) | Err(_) => Err(TreeError::Away(why)),
                },
                written => written,
            }
        }
        .boxed()
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        self.rename_at(from, to).boxed()
    }

    fn length<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<u64, TreeError>> {
        async move {
            let session = self.session().await?;
            let there = session.sftp.stat(self.at(path)).await.map_err(|error| session.failure("stat", error))?;
            connect::length_of(&there.attrs)
        }
        .boxed()
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<OpenFile, TreeError>> {
        async move { transfer::open(&self.session().await?, self.at(path), range, &self.tasks).await }.boxed()
    }

    fn remove<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        async move {
            let session = self.session().await?;
            let removed = session.sftp.remove(self.at(path)).await;
            removed.map(drop).map_err(|error| session.failure("remove", error))
        }
        .boxed()
    }

    fn make_folder<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), TreeError>> {
        self.make(path).boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, TreeError>> {
        self.names_at(folder).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), TreeError>> {
        async move {
            let missing = || TreeError::Refused("the folder is not there: make it, or correct the path".to_owned());
            let session = self.session().await?;
            match session.sftp.stat(self.root.as_str()).await {
                Ok(there) if there.attrs.is_dir() => Ok(()),
                Ok(_) => Err(missing()),
                Err(error) => match session.failure("stat", error) {
                    TreeError::Missing => Err(missing()),
                    failure => Err(failure),
                },
            }
        }
        .boxed()
    }

    fn usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, TreeError>> {
        self.space().boxed()
    }
}
