//! Listeners, connections, TLS and limits: everything between a socket and [`crate::s3::Handler`].
//!
//! ```text
//! accept → place → (TLS) → gate → hyper → requests → Handler
//!          limit    ALPN   framing         id, permit, panic, headers, access line
//! ```
//!
//! - A request reaches the handler only if its head has one meaning (see `framing`), within [`Limits`].
//! - Every answer, refusals included, carries the request id and ends in one access line and one metric sample.
//! - Whatever ends a request (the answer's end, the client, a time-out, a panic) frees its permit: all of it hangs
//!   on one value that is dropped.
//! - Idle and minimum-rate limits of request bodies are not here: the adapters that read them know their size.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{tasks::Tasks, telemetry::health::Readiness};

mod accept;
mod activity;
mod connection;

mod drain;
mod exchange;
mod framing;
mod limits;
mod listener;
mod request_id;
mod requests;
mod service;
mod streams;
mod tls;

pub use drain::Drain;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use framing::fuzzing;
pub use limits::Limits;
pub use listener::Listener;
pub use service::Service;
pub use tls::Tls;
#[cfg(feature = "tls")]
pub use tls::{TlsError, TlsFiles, generate_self_signed};

#[cfg(test)]
mod tests;

/// Serves `service` on `listeners` until the returned handle (or `tasks`) stops it.
///
/// The limits count all listeners together. `readiness` is told when draining starts. To stop: [`Drain::finish`],
/// then [`Tasks::stop`]; on a second signal [`Drain::cut`].
///
/// # Errors
/// The system's, where a socket cannot be watched.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn serve(
    listeners: Vec<Listener>,
    service: Service,
    readiness: Readiness,
    tasks: &Tasks,
) -> std::io::Result<Drain> {
    let refusing = service.limits.for_refusing();
    let core = Arc::new(service::Core {
        service,
        refusing,
        ids: request_id::RequestIds::default(),
        open: service::Open::default(),
        stage: watch::Sender::new(drain::Stage::Open),
    });
    let (running, ended) = watch::channel(0);
    let running = Arc::new(running);
    for listener in listeners {
        let socket = tokio::net::TcpListener::from_std(listener.socket)?;
        let accepting = accept::Accepting::new(Arc::clone(&core), socket, accept::Running::new(&running));
        tasks.spawn("accept", accepting.run(tasks.stop_signal()));
    }
    Ok(Drain { core, listeners: ended, readiness })
}
