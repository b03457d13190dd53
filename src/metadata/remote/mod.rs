//! A metadata store in another process: a metadata module (docs/modules.md).
//!
//! - **Never twice.** A commit whose answer is lost is sent again under the same number; the module knows which
//!   numbers are done ([`slots`](self)). What stays open when the deadline comes is told as such: the caller cannot know.
//! - **One front.** The first commit begins a session, which ends the sessions before it: a front that was cut off and
//!   comes back is refused, and says so in its health.
//! - **One view.** A snapshot is a view that the module holds; it is closed there with the next request after its drop,
//!   or when nobody used it for a while.

mod channel;
mod slots;
mod view;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Method;
use tokio::sync::Mutex;

use self::{
    channel::{Attempt, Channel},
    slots::{Slot, Slots},
    view::{RemoteView, document, scan},
};
use super::{
    Batch, Direction, Jump, MetadataError, MetadataStats, MetadataStore, MetadataView, Namespace, Pairs, wire,
};
use crate::{
    outbound::{ClientOptions, OutboundError},
    types::{ByteStream, body::collect},
};

/// Where a metadata module is, and how it is asked.
#[derive(Clone)]
pub struct RemoteStoreOptions {
    /// `http://host:port`.
    pub base: String,
    /// The secret that it shares with its front, if any.
    pub token: Option<String>,
    /// How long a request is tried, over restarts of the module. Default 8 seconds.
    pub patience: Duration,
    /// Connections.
    pub client: ClientOptions,
}

impl RemoteStoreOptions {
    /// The module at `base`, and defaults.
    pub fn new(base: impl Into<String>) -> Self {
        let client = ClientOptions {
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(20),
            first_byte: Duration::from_secs(20),
            // Less than the module's own 60 seconds: it must not close what we are about to use.
            keep: Duration::from_secs(55),
            ..ClientOptions::default()
        };
        Self { base: base.into(), token: None, patience: Duration::from_secs(8), client }
    }
}

/// Without the token.
impl fmt::Debug for RemoteStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStoreOptions").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A store behind a metadata module.
#[derive(Debug)]
pub struct RemoteStore {
    channel: Arc<Channel>,
    slots: Slots,
    /// 0 before it began.
    session: AtomicU64,
    beginning: Mutex<()>,
    superseded: AtomicBool,
    closed: AtomicBool,
    commits: AtomicU64,
}

impl RemoteStore {
    /// Makes ready to ask the module; nothing is sent yet.
    pub fn new(options: RemoteStoreOptions) -> Self {
        let RemoteStoreOptions { base, token, patience, client } = options;
        Self {
            channel: Arc::new(Channel::new(base, token.as_deref(), client, patience)),
            slots: Slots::default(),
            session: AtomicU64::new(0),
            beginning: Mutex::default(),
            superseded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }

    /// Begins the session, unless it has begun. From now on every other front is refused.
    ///
    /// # Errors
    /// [`MetadataError::Unavailable`] where the module does not answer.
    pub async fn begin(&self) -> Result<u64, MetadataError> {
        let _one_at_a_time = self.beginning.lock().await;
        let known = self.session.load(Ordering::Acquire);
        if known > 0 {
            return Ok(known);
        }
        // Asking twice ends a session that nobody used.
        let answer = self.channel.ask(Method::POST, wire::SESSION, &Bytes::new(), document).await?;
        let session = answer.get("session").and_then(serde_json::Value::as_u64).unwrap_or_default();
        if session == 0 {
            return Err(MetadataError::Unavailable("the metadata module began no session".to_owned()));
        }
        self.session.store(session, Ordering::Release);
        Ok(session)
    }

    async fn ticket(&self, slot: &Slot) -> Result<wire::Ticket, MetadataError> {
        let session = match self.session.load(Ordering::Acquire) {
            0 => self.begin().await?,
            known => known,
        };
        Ok(wire::Ticket { session, slot: slot.number(), sequence: slot.sequence(), again: false })
    }

    async fn send(&self, batch: Batch) -> Result<(), MetadataError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(MetadataError::Unavailable("the store is closed".to_owned()));
        }
        if self.superseded.load(Ordering::Acquire) {
            return Err(MetadataError::ReadOnly);
        }
        let slot = self.slots.take().await?;
        let mut ticket = self.ticket(&slot).await?;
        let mut body = wire::write_batch(&batch, ticket);
        if body.len() > wire::MOST_BYTES {
            return Err(MetadataError::Io(format!("a batch of {} bytes is too large for a module", body.len())));
        }
        let mut pauses = self.channel.pauses();
        loop {
            let failed = match self.channel.attempt(Method::POST, wire::BATCH, body.clone()).await {
                Ok(Attempt::Done(_)) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Attempt::Refused(refusal)) if refusal.is_superseded() => {
                    self.superseded.store(true, Ordering::Release);
                    tracing::error!("another front has taken over the metadata module: this one writes no more");
                    return Err(refusal.into());
                }
                // An earlier attempt may still be done: only the module's word on this very batch ends it.
                Ok(Attempt::Refused(refusal)) if refusal.is_conflict() || !ticket.again => return Err(refusal.into()),
                Ok(Attempt::Refused(refusal)) => MetadataError::from(refusal),
                Err(error) => {
                    if !error.nothing_sent() && !ticket.again {
                        ticket.again = true;
                        body = wire::write_batch(&batch, ticket);
                    }
                    if matches!(error, OutboundError::Unsendable(_)) {
                        return Err(MetadataError::Unavailable(error.to_string()));
                    }
                    MetadataError::Unavailable(error.to_string())
                }
            };
            if !pauses.wait().await {
                return Err(MetadataError::Unavailable(format!("{failed}; whether it was committed is not known")));
            }
        }
    }

    async fn walk(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> Result<Pairs, MetadataError> {
        if range.start >= range.end || limit == 0 {
            return Ok(Pairs::new());
        }
        let most = usize::try_from(wire::MOST_JUMPS).unwrap_or(usize::MAX);
        if let Some(groups) = jump.as_common_prefixes().filter(|groups| limit <= most && !groups.delimiter.is_empty()) {
            let (view, direction) = (String::new(), Direction::Forward);
            let query = wire::Query { ns, range, direction, limit: limit as u64, view, jump: Some(groups.clone()) };
            return scan(&self.channel, query).await;
        }
        RemoteView::open(&self.channel).await?.walk(ns, range, jump.as_ref(), limit).await
    }
}

async fn value(answer: ByteStream) -> Result<Option<Bytes>, MetadataError> {
    // The first byte says whether there is a value: an empty one is a value, too.
    let bytes = collect(answer, wire::MOST_BYTES).await;
    let mut bytes = bytes.map_err(|error| MetadataError::Unavailable(error.to_string()))?;
    if bytes.is_empty() {
        return Err(MetadataError::Unavailable("the metadata module's answer broke off".to_owned()));
    }
    Ok((bytes.split_to(1).as_ref() == [1]).then_some(bytes))
}

impl MetadataStore for RemoteStore {
    fn get<'a>(&'a self, ns: Namespace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, MetadataError>> {
        Box::pin(async move {
            let message = wire::Get { space: Some(ns.into()), key: Bytes::copy_from_slice(key) };
            let body = prost::Message::encode_to_vec(&message).into();
            self.channel.ask(Method::POST, wire::GET, &body, value).await
        })
    }

    fn scan(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        let query = wire::Query { ns, range, direction, limit: limit as u64, view: String::new(), jump: None };
        Box::pin(scan(&self.channel, query))
    }

    fn scan_jumping(
        &self,
        ns: Namespace,
        range: Range<Bytes>,
        jump: Arc<dyn Jump>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Pairs, MetadataError>> {
        Box::pin(self.walk(ns, range, jump, limit))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn MetadataView>, MetadataError>> {
        Box::pin(async move { Ok(Arc::new(RemoteView::open(&self.channel).await?) as Arc<dyn MetadataView>) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(self.send(batch))
    }

    /// Ends this end only: the module goes on.
    fn close(&self) -> BoxFuture<'_, Result<(), MetadataError>> {
        Box::pin(async move {
            self.closed.store(true, Ordering::Release);
            Ok(())
        })
    }

    fn is_writable(&self) -> bool {
        let refused = self.closed.load(Ordering::Acquire) || self.superseded.load(Ordering::Acquire);
        !refused && self.channel.writable.load(Ordering::Relaxed)
    }

    /// The module's own metrics tell of its disk and syncs.
    fn stats(&self) -> MetadataStats {
        MetadataStats { commits: self.commits.load(Ordering::Relaxed), ..MetadataStats::default() }
    }
}
