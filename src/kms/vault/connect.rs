//! Connections to one server, with or without TLS.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tower::Service;

#[cfg(feature = "tls")]
use crate::outbound::Trust;

/// Opens connections to the server it was made for.
#[derive(Clone)]
pub(super) struct Connector {
    host: String,
    port: u16,
    #[cfg(feature = "tls")]
    trust: Option<Trust>,
}

impl Connector {
    /// # Errors
    /// In words, for an address that is none, or certificates that cannot be read.
    pub(super) fn new(address: &Uri, ca_file: Option<&Path>) -> Result<Self, String> {
        let host = address.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(format!("{address} names no host"));
        }
        let secure = match address.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{address} must begin with http:// or https://")),
        };
        let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
        #[cfg(not(feature = "tls"))]
        if secure || ca_file.is_some() {
            return Err("this build has no TLS: build with the feature tls".to_owned());
        }
        #[cfg(feature = "tls")]
        let trust = if secure { Some(Trust::load(ca_file).map_err(|why| format!("{why} (caFile)"))?) } else { None };
        Ok(Self {
            host,
            port,
            #[cfg(feature = "tls")]
            trust,
        })
    }

    async fn open(self) -> io::Result<TokioIo<Stream>> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        socket.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if let Some(trust) = self.trust {
            return Ok(TokioIo::new(Stream(Box::new(trust.connect(&self.host, socket).await?))));
        }
        Ok(TokioIo::new(Stream(Box::new(socket))))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.clone().open().boxed()
    }
}

/// Bytes both ways.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A connection.
pub(super) struct Stream(Box<dyn Socket>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
