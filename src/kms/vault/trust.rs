//! Whom to believe: the authorities that a server's certificate may come from.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Shakes hands with one server.
#[derive(Clone)]
pub(super) struct Trust {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Trust {
    /// Reads the authorities: those in `ca_file`, else the system's.
    ///
    /// # Errors
    /// In words.
    pub(super) fn load(host: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a server"))?;
        let bundle = match ca_file {
            Some(file) => file,
            None => BUNDLES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file())
                .ok_or("this system has no list of certificate authorities: name one in caFile")?,
        };
        let text = std::fs::read(bundle).map_err(|e| format!("{}: {e}", bundle.display()))?;
        let mut roots = RootCertStore::empty();
        // A system's list may hold what this library does not take; one's own file may not.
        let (taken, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).filter_map(Result::ok));
        if taken == 0 {
            return Err(format!("{}: no certificate in it", bundle.display()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect(self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name, socket).await
    }
}
