//! Connections: straight or through a proxy, with or without TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tower::Service;

#[cfg(feature = "tls")]
use super::trust::Trusts;
use super::{ClientOptions, proxy::ProxyAddress, proxy::bare};

/// Longest head of a proxy's answer, in bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    options: Arc<ClientOptions>,
    #[cfg(feature = "tls")]
    trusts: Arc<Trusts>,
}

impl Connector {
    pub(super) fn new(options: Arc<ClientOptions>) -> Self {
        Self {
            #[cfg(feature = "tls")]
            trusts: Arc::new(Trusts::new(options.extra_authorities.clone(), options.proxies.identity.clone())),
            options,
        }
    }

    async fn open(self, uri: Uri) -> io::Result<TokioIo<Stream>> {
        let limit = self.options.connect;
        let opened = tokio::time::timeout(limit, self.connect(&uri)).await;
        opened.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("not connected within {} s", limit.as_secs_f64())))
        })
    }

    async fn connect(&self, uri: &Uri) -> io::Result<TokioIo<Stream>> {
        let secure = uri.scheme_str() == Some("https");
        let host = bare(uri.host().unwrap_or_default());
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let (socket, proxied): (Box<dyn Socket>, bool) = match self.options.proxies.of(uri) {
            None => (Box::new(self.socket(host, port).await?), false),
            Some(proxy) if secure => (self.tunnel(proxy, host, port).await?, false),
            Some(proxy) => (self.proxy(proxy).await?, true),
        };
        let inner = if secure { self.secure(socket, host).await? } else { socket };
        Ok(TokioIo::new(Stream { inner, proxied }))
    }

    async fn socket(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        if let Some(time) = self.options.tcp_keep_alive {
            SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
        }
        Ok(socket)
    }

    async fn proxy(&self, proxy: &ProxyAddress) -> io::Result<Box<dyn Socket>> {
        let socket: Box<dyn Socket> = Box::new(self.socket(&proxy.host, proxy.port).await?);
        if !proxy.secure {
            return Ok(socket);
        }
        #[cfg(feature = "tls")]
        return Ok(Box::new(self.trusts.of_proxy()?.connect(&proxy.host, socket).await?));
        #[cfg(not(feature = "tls"))]
        return Err(no_tls());
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, socket: Box<dyn Socket>, host: &str) -> io::Result<Box<dyn Socket>> {
        Ok(Box::new(self.trusts.of_target()?.connect(host, socket).await?))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as with TLS")]
    async fn secure(&self, _: Box<dyn Socket>, _: &str) -> io::Result<Box<dyn Socket>> {
        Err(no_tls())
    }

    /// Has the proxy connect us to the target (RFC 9110 §9.3.6).
    async fn tunnel(&self, proxy: &ProxyAddress, host: &str, port: u16) -> io::Result<Box<dyn Socket>> {
        let mut socket = self.proxy(proxy).await?;
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(login) = &proxy.login {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(login.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        socket.write_all(&request).await?;
        socket.flush().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= LONGEST_HEAD {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            // Byte by byte: what comes behind the head belongs to the target.
            head.push(socket.read_u8().await?);
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        match line.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(socket),
            _ => Err(io::Error::other(format!("the proxy refused: {}", line.escape_default()))),
        }
    }
}

#[cfg(not(feature = "tls"))]
fn no_tls() -> io::Error {
    io::Error::other("this build has no TLS: build with the feature tls")
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.clone().open(uri).boxed()
    }
}

/// Bytes both ways.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A connection.
pub(super) struct Stream {
    inner: Box<dyn Socket>,
    /// The other end is a proxy that takes absolute URIs.
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
