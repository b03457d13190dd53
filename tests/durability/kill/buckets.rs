//! Buckets that come, change and go: the same check for what is not an object.

use std::sync::{Arc, atomic::Ordering};

use super::writer::Shared;
use crate::{
    history::Violation,
    support::{
        client::{Client, Request},
        random::Random,
        xml,
    },
};

/// One name: no bucket, or one with versioning on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bucket {
    Absent,
    Plain,
    Versioned,
}

/// Makes, changes and removes some buckets.
#[derive(Debug)]
pub(crate) struct BucketWriter {
    random: Random,
    /// The allowed states of each.
    buckets: Vec<Vec<Bucket>>,
    shared: Arc<Shared>,
}

const ON: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

fn name(index: usize) -> String {
    format!("/comes-and-goes-{index}")
}

impl BucketWriter {
    pub(crate) fn new(seed: u64, shared: Arc<Shared>) -> Self {
        Self { random: Random::new(!seed), buckets: vec![vec![Bucket::Absent]; 5], shared }
    }

    /// Works until an outcome is unknown.
    pub(crate) async fn work(&mut self, client: &Client) -> Result<(), Violation> {
        loop {
            let index = usize::try_from(self.random.within(0..self.buckets.len() as u64)).unwrap();
            let [now] = self.buckets[index].as_slice() else { return Ok(()) };
            let (next, request) = match now {
                Bucket::Absent => (Bucket::Plain, Request::new("PUT", name(index))),
                Bucket::Plain if self.random.chance(50) => {
                    (Bucket::Versioned, Request::new("PUT", name(index)).query("versioning", "").body(ON))
                }
                _ => (Bucket::Absent, Request::new("DELETE", name(index))),
            };
            match client.send(request).await {
                Ok(answer) if answer.status.is_success() => {
                    self.buckets[index] = vec![next];
                    self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) if !answer.status.is_server_error() => {
                    return Err(Violation(format!("{next:?} of {now:?}: {} {}", answer.status, answer.text())));
                }
                _ => {
                    self.buckets[index].push(next);
                    self.shared.unknown.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }

    /// Looks at all of them.
    pub(crate) async fn check(&mut self, client: &Client) -> Result<(), Violation> {
        let listing = client.get("/").await.unwrap().good("ListBuckets");
        let listed = xml::all(listing.text(), "Name");
        for (index, allowed) in self.buckets.iter_mut().enumerate() {
            let answer = client.send(Request::new("GET", name(index)).query("versioning", "")).await.unwrap();
            let seen = match answer.status.as_u16() {
                404 => Bucket::Absent,
                _ if answer.text().contains("Enabled") => Bucket::Versioned,
                _ => Bucket::Plain,
            };
            if !allowed.contains(&seen) || listed.contains(&&name(index)[1..]) != (seen != Bucket::Absent) {
                return Err(Violation(format!(
                    "bucket {index}: allowed {allowed:?}, seen {seen:?}, listed {listed:?}"
                )));
            }
            *allowed = vec![seen];
        }
        Ok(())
    }

    /// Removes what is there.
    pub(crate) async fn remove_all(&self, client: &Client) {
        for index in 0..self.buckets.len() {
            drop(client.delete(&name(index)).await.unwrap());
        }
    }
}
