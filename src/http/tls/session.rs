//! Handshakes, and the files they need.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    InconsistentKeys, ProtocolVersion, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::Accepted;

/// HTTP/2 by the name ALPN gives it.
const HTTP2: &[u8] = b"h2";

/// Where key and certificates are: `certFilePaths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The private key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The certificate, PEM, with or without the certificates of its issuers.
    pub cert: PathBuf,
    /// Certificates of the issuers that are not in `cert`: sent behind it. (Clients are not asked for certificates.)
    pub ca: Option<PathBuf>,
}

/// Why the files do not make a server.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read. The words are the original's.
    #[error("File not found or unreachable: {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no PEM of the right kind.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Key and certificate do not fit each other, or are of no use.
    #[error("key and certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("{path} cannot be written: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Key and certificates in use. Connections keep those they began with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be read or they do not make a server.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let config = ArcSwap::new(read(&files)?);
        Ok(Self { files, config })
    }

    /// Reads the files again, for connections from now on. Where that fails, the old ones stay in use.
    ///
    /// # Errors
    /// As [`Tls::load`]; logged already.
    pub fn reload(&self) -> Result<(), TlsError> {
        match read(&self.files) {
            Ok(config) => {
                self.config.store(config);
                tracing::info!(cert = %self.files.cert.display(), "certificates reloaded");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "new certificates are no good, the old ones stay");
                Err(error)
            }
        }
    }

    /// Shakes hands, in no more than `limit`.
    pub(in crate::http) async fn accept<S>(&self, socket: S, limit: Duration) -> io::Result<Accepted<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        let stream = tokio::time::timeout(limit, acceptor.accept(socket)).await??;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let version = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
            Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
            _ => None,
        };
        Ok(Accepted { stream, is_http2, version })
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let mut chain = certificates(&files.cert)?;
    if let Some(ca) = &files.ca {
        // The chain may be whole already.
        for issuer in certificates(ca)? {
            if !chain.contains(&issuer) {
                chain.push(issuer);
            }
        }
    }
    let key = private_key(&files.key)?;
    let provider = aws_lc_rs::default_provider();
    let certified = CertifiedKey::new(chain, provider.key_provider.load_private_key(key)?);
    match certified.keys_match() {
        // A certificate that only clients need to understand (`openssl x509 -req` makes version 1) cannot be compared.
        Ok(())
        | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown) | rustls::Error::InvalidCertificate(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes(path)?).collect();
    let found = found.map_err(|error| malformed(path, error.to_string()))?;
    if found.is_empty() {
        return Err(malformed(path, "no certificate in it".to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // The parser's message never quotes the file.
    PrivateKeyDer::from_pem_slice(&bytes(path)?).map_err(|error| malformed(path, error.to_string()))
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn malformed(path: &Path, problem: String) -> TlsError {
    TlsError::Malformed { path: path.to_owned(), problem }
}
