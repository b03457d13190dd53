//! Whom to believe: the authorities that a server's certificate may come from, and what is shown to it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A certificate of this server's own, shown to who asks for one; PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The private key.
    pub key: PathBuf,
    /// The certificate and its chain.
    pub cert: PathBuf,
}

/// Shakes hands.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Trusts the authorities in `file` only, else the system's.
    ///
    /// # Errors
    /// In words.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        match file {
            Some(file) => Self::of(&mut RootCertStore::empty(), &[file.to_owned()], None),
            None => Self::of(&mut RootCertStore::empty(), &[system()?], None),
        }
    }

    fn of(roots: &mut RootCertStore, bundles: &[PathBuf], identity: Option<&Identity>) -> Result<Self, String> {
        for bundle in bundles {
            let text = fs::read(bundle).map_err(|e| format!("{}: {e}", bundle.display()))?;
            // A system's list may hold what this library does not take; one's own file may not.
            let certificates = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
            let (taken, _) = roots.add_parsable_certificates(certificates);
            if taken == 0 {
                return Err(format!("{}: no certificate in it", bundle.display()));
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots.clone());
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                config.with_client_auth_cert(chain, key).map_err(|e| format!("{}: {e}", identity.cert.display()))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands with `host` over a connection that is open.
    ///
    /// # Errors
    /// An I/O error that says why the other end is not believed.
    pub async fn connect<S>(&self, host: &str, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| io::Error::other(format!("{host} is no name of a server")))?;
        self.connector.connect(name, socket).await
    }
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let certificates = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect);
        let certificates = certificates.map_err(|e| format!("{}: {e}", self.cert.display()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| format!("{}: {e}", self.key.display()))?;
        Ok((certificates, key))
    }
}

/// The system's list of authorities.
fn system() -> Result<PathBuf, String> {
    let found = BUNDLES.iter().map(Path::new).find(|path| path.is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        "this system has no list of certificate authorities: install ca-certificates, or name a file of your own"
            .to_owned()
    })
}

/// What a client believes; read when TLS is first needed.
pub(super) struct Trusts {
    extra: Option<PathBuf>,
    identity: Option<Identity>,
    target: OnceLock<Trust>,
    proxy: OnceLock<Trust>,
}

impl Trusts {
    pub(super) const fn new(extra: Option<PathBuf>, identity: Option<Identity>) -> Self {
        Self { extra, identity, target: OnceLock::new(), proxy: OnceLock::new() }
    }

    /// For those who are asked.
    pub(super) fn of_target(&self) -> io::Result<&Trust> {
        self.get(&self.target, None)
    }

    /// For a proxy on the way.
    pub(super) fn of_proxy(&self) -> io::Result<&Trust> {
        self.get(&self.proxy, self.identity.as_ref())
    }

    /// A list that cannot be read is an error each time: somebody may put it right.
    fn get<'a>(&self, slot: &'a OnceLock<Trust>, identity: Option<&Identity>) -> io::Result<&'a Trust> {
        if let Some(trust) = slot.get() {
            return Ok(trust);
        }
        let bundles: Vec<PathBuf> = match (&self.extra, system()) {
            (Some(extra), Ok(system)) => vec![system, extra.clone()],
            (Some(extra), Err(_)) => vec![extra.clone()],
            (None, Ok(system)) => vec![system],
            (None, Err(error)) => return Err(io::Error::other(error)),
        };
        let trust = Trust::of(&mut RootCertStore::empty(), &bundles, identity).map_err(io::Error::other)?;
        Ok(slot.get_or_init(|| trust))
    }
}
