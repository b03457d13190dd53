//! Asks the server that runs here how it is.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use super::failure;
use crate::config::{Config, Launch};

/// For connecting, and for each piece of the answer: the server gives its parts three seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// Answers are short; more is not read.
const MOST: u64 = 64 << 10;

/// Asks for `/ready`, or else for `/live`, on the admin port of the configuration; shows the answer on `output`, or on
/// `errors` why there is none.
pub fn health(ready: bool, launch: &Launch, output: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    let config = match Config::load(launch) {
        Ok(config) => config,
        Err(error) => return failure(writeln!(errors, "{error}")),
    };
    let path = if ready { "/ready" } else { "/live" };
    let tls = config.tls.is_some() || config.ssl_generate.is_some();
    let mut refused = String::from("there is no admin listener: set metricsListenOn");
    for address in &config.admin_listen {
        let address = reachable(*address);
        match ask(address, tls, path) {
            Ok((200, body)) => {
                return if writeln!(output, "{body}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            Ok((status, body)) => return failure(writeln!(errors, "{address}{path} answers {status}: {body}")),
            Err(error) => refused = format!("{address} does not answer: {error}"),
        }
    }
    failure(writeln!(errors, "{refused}"))
}

/// Where a listener on every interface is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // It takes IPv4 as well, which is there where IPv6 may not be.
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr, tls: bool, path: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    if tls { exchange(secure::connect(stream)?, &request) } else { exchange(stream, &request) }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MOST).read_to_end(&mut answer) {
        // A TLS peer that closes without a word ends the answer as well; what is missing shows below.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        result => drop(result?),
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    status.zip(body).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer of HTTP"))
}

/// TLS to oneself. The certificate is for the names that clients use, not for this machine's address, and what is
/// asked is no secret: so it is not checked.
#[cfg(feature = "tls")]
mod secure {
    use std::{io, net::TcpStream, sync::Arc};

    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    pub(super) fn connect(stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = versions
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::new(config.with_no_client_auth()), name);
        Ok(StreamOwned::new(client.map_err(io::Error::other)?, stream))
    }
}

/// Without TLS no server is configured for it: it would not have started.
#[cfg(not(feature = "tls"))]
mod secure {
    use std::{io, net::TcpStream};

    pub(super) fn connect(_: TcpStream) -> io::Result<TcpStream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this build has no TLS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_asked_over_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8002", "127.0.0.1:8002"),
            ("[::]:8002", "127.0.0.1:8002"),
            ("[::1]:8002", "[::1]:8002"),
            ("192.0.2.1:8002", "192.0.2.1:8002"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
