//! Takes connections, one task per listener.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
};

use super::{
    connection::{self, reached},
    drain::Stage,
    service::{Core, Place},
};
use crate::tasks::StopSignal;

/// The shortest and the longest pause after a failed accept.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A listener at work, with the connections it took. Dropping it closes them.
#[derive(Debug)]
pub(super) struct Accepting {
    core: Arc<Core>,
    socket: TcpListener,
    connections: JoinSet<()>,
    pause: Duration,
    running: Running,
}

/// Counts the listeners that have not ended.
#[derive(Debug)]
pub(super) struct Running(Arc<watch::Sender<usize>>);

impl Running {
    pub(super) fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|running| *running += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running = running.saturating_sub(1));
    }
}

impl Accepting {
    pub(super) fn new(core: Arc<Core>, socket: TcpListener, running: Running) -> Self {
        Self { core, socket, connections: JoinSet::new(), pause: PAUSE.0, running }
    }

    /// Accepts until told to stop, then waits for the connections to end.
    pub(super) async fn run(mut self, mut stop: StopSignal) {
        let mut stage = self.core.stage.subscribe();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut stage, Stage::Draining) => break,
                () = stop.wait() => break,
                Some(ended) = self.connections.join_next() => self.reap(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => self.failed(&error).await,
                }
            }
        }
        self.core.advance(Stage::Draining);
        let Self { core, socket, mut connections, running, .. } = self;
        drop(socket);
        tokio::select! {
            biased;
            () = reached(&mut stage, Stage::Cut) => connections.shutdown().await,
            () = async { while connections.join_next().await.is_some() {} } => {}
        }
        drop((core, running));
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.pause = PAUSE.0;
        // A socket of both families shows IPv4 clients as IPv6: lists of networks mean the client's own address.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = Place::take(&self.core) else {
            // Not even a word: whoever opens this many must not cost more than the accept.
            self.core.service.metrics.refused("connection_dropped");
            return;
        };
        if place.is_refused() {
            self.core.service.metrics.refused("connection");
        }
        self.connections.spawn(connection::run(stream, peer, place, Arc::clone(&self.core)));
    }

    fn reap(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            self.core.panicked(&*error.into_panic());
        }
    }

    /// Out of file descriptors or memory: those who are served will free some. A client that left before it was
    /// accepted is no reason to wait.
    async fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        tracing::warn!(%error, pause_ms = self.pause.as_millis(), "cannot accept connections");
        self.core.service.metrics.refused("accept_failed");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}
