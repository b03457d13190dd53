//! Probes in the background.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, timeout};

use super::LocationHealth;
use crate::{location::LocationTable, tasks::StopSignal};

/// The time between looks for probes that are due.
const TICK: Duration = Duration::from_millis(250);

fn elsewhere(table: &LocationTable) -> impl Iterator<Item = Arc<LocationHealth>> {
    table.iter().filter_map(|location| location.health.clone())
}

/// Asks all locations elsewhere at once, for no longer than `limit`: a start does not wait for those that are away.
pub async fn first_look(table: &LocationTable, limit: Duration) {
    let all = elsewhere(table).map(|health| async move {
        if timeout(limit, health.check()).await.is_err() {
            tracing::warn!(location = &*health.name, "the location has not answered yet");
        }
    });
    join_all(all).await;
}

/// Probes the locations that `table` gives now and later, each in its own time, until the server stops. A probe that
/// hangs keeps no other waiting.
pub async fn watch(table: impl Fn() -> Arc<LocationTable> + Send, mut stop: StopSignal) {
    let mut probes: FuturesUnordered<BoxFuture<'static, String>> = FuturesUnordered::new();
    let mut running: Vec<String> = Vec::new();
    while !stop.is_stopping() {
        let now = Instant::now();
        for health in elsewhere(&table()) {
            if !running.iter().any(|name| *name == *health.name) && health.is_due(now) {
                running.push(health.name.to_string());
                let probe = async move {
                    health.check().await;
                    health.name.to_string()
                };
                probes.push(probe.boxed());
            }
        }
        tokio::select! {
            () = stop.wait() => return,
            () = tokio::time::sleep(TICK) => {}
            Some(name) = probes.next(), if !probes.is_empty() => running.retain(|other| *other != name),
        }
    }
}
