//! TLS 1.2 and 1.3 from PEM files, which can be read again while serving.

#[cfg(feature = "tls")]
mod generate;
#[cfg(feature = "tls")]
mod session;

#[cfg(feature = "tls")]
pub use generate::generate_self_signed;
#[cfg(feature = "tls")]
pub use session::{Tls, TlsError, TlsFiles};

/// A connection after its handshake.
pub(super) struct Accepted<S> {
    pub(super) stream: S,
    /// Whether the client chose HTTP/2.
    pub(super) is_http2: bool,
    /// The version of TLS, as `1.3`.
    pub(super) version: Option<&'static str>,
}

/// Keys and certificates; there are none without the feature `tls`.
#[cfg(not(feature = "tls"))]
#[derive(Debug)]
pub enum Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    #[expect(clippy::unused_async, reason = "the other build's handshake waits")]
    pub(super) async fn accept<S>(&self, _: S, _: std::time::Duration) -> std::io::Result<Accepted<S>> {
        match *self {}
    }
}
