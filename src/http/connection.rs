//! One connection, from accept to close.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
};

use super::{
    Limits,
    activity::{Activity, Marked},
    drain::Stage,
    framing::Gate,
    requests::Requests,
    service::{Core, Place},
    streams::StreamTasks,
};
use crate::s3::Connection;

/// Serves a connection to its end, which is also the end of all its requests.
///
/// # Cancel safety
/// Dropping it closes the socket and drops the handlers of its requests.
pub(super) async fn run(stream: TcpStream, peer: SocketAddr, place: Place, core: Arc<Core>) {
    // A small answer must not wait for the acknowledgement of the one before.
    let local = stream.set_nodelay(true).and_then(|()| stream.local_addr());
    let Ok(local) = local.inspect_err(|error| tracing::debug!(%error, %peer, "a connection is gone already")) else {
        return;
    };
    let secure = core.service.tls.is_some();
    let connection = Connection { peer: canonical(peer), local: canonical(local), secure, tls_version: None };
    let activity = Arc::new(Activity::new());
    let socket = Marked::new(stream, Arc::clone(&activity));
    let mut session = Session { core, activity, connection, place };
    match session.core.service.tls.clone() {
        None => session.http1(socket).await,
        Some(tls) => {
            let limit = session.core.service.limits.handshake_timeout;
            let mut stage = session.core.stage.subscribe();
            let shaken = tokio::select! {
                biased;
                // Whoever has not said what they want is not under way.
                () = reached(&mut stage, Stage::Draining) => return,
                shaken = tls.accept(socket, limit) => shaken,
            };
            if let Ok(accepted) = &shaken {
                session.connection.tls_version = accepted.version;
            }
            match shaken {
                Ok(accepted) if accepted.is_http2 => session.http2(accepted.stream).await,
                Ok(accepted) => session.http1(accepted.stream).await,
                Err(error) => {
                    session.core.service.metrics.tls_failures.inc();
                    tracing::debug!(%error, %peer, "TLS handshake failed");
                }
            }
        }
    }
}

/// An IPv4 client of a dual-stack socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

struct Session {
    core: Arc<Core>,
    activity: Arc<Activity>,
    connection: Connection,
    place: Place,
}

impl Session {
    fn limits(&self) -> &Limits {
        if self.place.is_refused() { &self.core.refusing } else { &self.core.service.limits }
    }

    fn requests(&self) -> Requests {
        Requests {
            core: Arc::clone(&self.core),
            activity: Arc::clone(&self.activity),
            connection: self.connection,
            refusing: self.place.is_refused(),
        }
    }

    async fn http1(self, socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let limits = self.limits();
        let gate = Gate::new(socket, Arc::clone(&self.activity), limits.head(), limits.linger_bytes);
        let gate = gate.in_crowd(Arc::clone(&self.core.open.connections));
        let mut builder = http1::Builder::new();
        // Time is kept by the activity's marks.
        builder.header_read_timeout(None).max_buf_size(limits.buffer_bytes(self.place.others));
        if limits.headers > 100 {
            builder.max_headers(limits.headers);
        }
        let served = builder.serve_connection(TokioIo::new(gate), self.requests());
        self.watch(pin!(served)).await;
    }

    async fn http2(self, socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let limits = self.limits();
        let window = u32::try_from(limits.buffer_bytes(self.place.others)).unwrap_or(u32::MAX >> 1);
        let header_list = u32::try_from(limits.header_bytes + limits.target_bytes).unwrap_or(u32::MAX);
        let tasks = StreamTasks::default();
        let served = http2::Builder::new(tasks.clone())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(header_list)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.saturating_mul(2))
            .max_send_buf_size(limits.buffer_bytes(self.place.others))
            .serve_connection(TokioIo::new(socket), self.requests());
        self.watch(pin!(served)).await;
        tasks.stop();
    }

    /// Drives the connection until it ends, is overdue, or the server is cut.
    async fn watch<C: Driven>(&self, mut served: Pin<&mut C>) {
        let limits = self.limits();
        let mut stage = self.core.stage.subscribe();
        let mut look = tokio::time::interval(limits.look_every());
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        look.reset();
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, peer = %self.connection.peer, "connection ended");
                    }
                    return;
                }
                () = reached(&mut stage, Stage::Draining), if !draining => {
                    draining = true;
                    served.as_mut().drain();
                    // hyper waits for the first request of a fresh connection.
                    if C::IDLE_MEANS_OVER && self.activity.is_idle() {
                        return;
                    }
                }
                _ = look.tick() => {
                    if draining && self.activity.is_idle() {
                        return;
                    }
                    if let Some(overdue) = self.activity.overdue(limits) {
                        if let Some(reason) = overdue.reason() {
                            self.core.service.metrics.refused(reason);
                        }
                        tracing::debug!(?overdue, peer = %self.connection.peer, "connection cut");
                        return;
                    }
                }
            }
        }
    }
}

/// Waits for a stage; forever, if there is no one left to announce it.
pub(super) async fn reached(stage: &mut watch::Receiver<Stage>, goal: Stage) {
    if stage.wait_for(|now| *now >= goal).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What hyper's two kinds of connection have in common.
trait Driven: Future<Output = hyper::Result<()>> {
    /// Whether a connection without requests may be closed without a word.
    const IDLE_MEANS_OVER: bool;

    /// Takes no further requests.
    fn drain(self: Pin<&mut Self>);
}

impl<I> Driven for http1::Connection<I, Requests>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    const IDLE_MEANS_OVER: bool = true;

    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I> Driven for http2::Connection<I, Requests, StreamTasks>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    // HTTP/2 has a word for it: GOAWAY.
    const IDLE_MEANS_OVER: bool = false;

    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
