//! Reads: from what is there now, or from a view that the module holds open.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture};
use http::Method;

use super::channel::Channel;
use crate::{
    metadata::{Direction, Jump, MetadataError, MetadataView, Namespace, Pairs, wire},
    types::{ByteStream, body::collect},
};

/// Pairs of the first and of the largest page of a walk that leaves out.
const PAGES: (usize, usize) = (16, 1024);
/// Most bytes of a small document.
const MOST_DOCUMENT: usize = 64 << 10;

/// A view that is open at the module. Dropping it closes it there, a little later.
#[derive(Debug)]
pub(super) struct RemoteView {
    channel: Arc<Channel>,
    name: String,
}

impl RemoteView {
    pub(super) async fn open(channel: &Arc<Channel>) -> Result<Self, MetadataError> {
        let answer = channel.ask(Method::POST, wire::VIEW, &Bytes::new(), document).await?;
        let name = answer.get("view").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(MetadataError::Unavailable("the metadata module opened a view without a name".to_owned()));
        }
        Ok(Self { channel: Arc::clone(channel), name })
    }

    /// Walks by `jump` within this view, page by page.
    pub(super) async fn walk(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: &dyn Jump,
        limit: usize,
    ) -> Result<Pairs, MetadataError> {
        let (mut pairs, mut from, mut size) = (Pairs::new(), range.start, PAGES.0);
        while pairs.len() < limit && from < range.end {
            let page = self.scan(ns, from.clone()..range.end.clone(), Direction::Forward, size).await?;
            let is_last = page.len() < size;
            for (key, value) in page {
                if pairs.len() >= limit {
                    break;
                }
                if key < from {
                    continue;
                }
                from = jump.behind(&key).filter(|next| *next > key).unwrap_or_else(|| next_key(&key));
                pairs.push((key, value));
            }
            if is_last {
                break;
            }
            size = (size * 2).min(PAGES.1);
        }
        Ok(pairs)
    }
}

impl Drop for RemoteView {
    fn drop(&mut self) {
        self.channel.forget(std::mem::take(&mut self.name));
    }
}

impl MetadataView for RemoteView {
    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        let query = wire::Query { ns, range, direction, limit: limit as u64, view: self.name.clone(), jump: None };
        Box::pin(scan(&self.channel, query))
    }
}

/// The least key behind `key`.
fn next_key(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.extend_from_slice(&[0]);
    next.freeze()
}

/// Reads pairs; a question without an answer is not asked.
pub(super) async fn scan(channel: &Channel, query: wire::Query) -> Result<Pairs, MetadataError> {
    if query.range.start >= query.range.end || query.limit == 0 {
        return Ok(Pairs::new());
    }
    channel.ask(Method::POST, wire::SCAN, &query.write(), rows).await
}

/// Rows up to the last one. An answer that ends before it is none.
async fn rows(mut answer: ByteStream) -> Result<Pairs, MetadataError> {
    let (mut pairs, mut buffer) = (Pairs::new(), BytesMut::new());
    while let Some(slice) = answer.next().await {
        buffer.extend_from_slice(&slice.map_err(|error| MetadataError::Unavailable(error.to_string()))?);
        while let Some(row) = wire::take_row(&mut buffer).map_err(|error| MetadataError::Io(error.to_string()))? {
            if row.end {
                return Ok(pairs);
            }
            pairs.push((row.key, row.value));
        }
    }
    Err(MetadataError::Unavailable("the metadata module's answer broke off".to_owned()))
}

/// A small JSON document.
pub(super) async fn document(answer: ByteStream) -> Result<serde_json::Value, MetadataError> {
    let broken = |error: &dyn std::fmt::Display| MetadataError::Unavailable(error.to_string());
    let text = collect(answer, MOST_DOCUMENT).await.map_err(|error| broken(&error))?;
    serde_json::from_slice(&text).map_err(|error| broken(&error))
}
