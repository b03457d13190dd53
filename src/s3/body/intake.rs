//! Where requests' bodies enter the server.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Encoding, Pace, Plan,
    digests::{Digests, Purpose},
    frames::Frames,
    framing::{Form, Framing},
    pool::{HashPool, together},
    verified::Verified,
};
use crate::types::{BodyError, DigestSlot, IncomingBody};

/// What documents of all requests may hold together beyond [`FREE`] of each, in KiB: some are read before it is known
/// whether their sender may do what they ask for.
const DOCUMENTS: usize = 128 << 10;
/// Bytes of each document that are not counted. Most documents are smaller.
const FREE: usize = 16 << 10;
/// The most time for a document, however steadily it comes.
const DOCUMENT_TIME: Duration = Duration::from_mins(1);

/// Takes request bodies in. One per server: its uploads share the hashing threads. Clones share them, too.
#[derive(Clone, Debug)]
pub struct Intake {
    pace: Pace,
    pool: HashPool,
    documents: Arc<Semaphore>,
}

/// A document, and its share of what documents may hold.
struct Counted {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Intake {
    /// An intake that tolerates clients of this pace and hashes on at most `threads` threads.
    pub fn new(pace: Pace, threads: usize) -> Self {
        Self { pace, pool: HashPool::new(threads, together()), documents: Arc::new(Semaphore::new(DOCUMENTS)) }
    }

    /// How slow a client may be.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// An intake whose threads take so many uploads' batches at once.
    #[cfg(test)]
    pub(super) fn with_lanes(pace: Pace, threads: usize, together: usize) -> Self {
        Self { pool: HashPool::new(threads, together), ..Self::new(pace, threads) }
    }

    /// An intake whose documents may hold so many KiB together.
    #[cfg(test)]
    pub(super) fn with_room(self, room: usize) -> Self {
        Self { documents: Arc::new(Semaphore::new(room)), ..self }
    }

    /// Takes in the body of an object or a part. Nothing is polled until the stream is.
    ///
    /// The stream ends with the first promise of `plan` that was broken; at a clean end the digest slot is filled.
    ///
    /// # Cancel safety
    /// A dropped stream drops the client's body; a batch that is being hashed is finished and forgotten.
    pub fn accept<B>(&self, body: B, plan: Plan) -> IncomingBody
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let length = plan.length;
        let digests = DigestSlot::default();
        let stream = Box::pin(self.verify(body, plan, Purpose::Object, digests.clone()));
        IncomingBody { stream, length, digests }
    }

    /// Reads a document (XML or JSON) whole, up to `limit` bytes, under the same checks.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] beyond `limit`, already by the announced length; [`BodyError::Crowded`] where documents
    /// hold too much already; [`BodyError::TimedOut`] after a minute; else as [`Intake::accept`].
    pub async fn collect_document<B>(&self, body: B, mut plan: Plan, limit: usize) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        plan.max_size = plan.max_size.min(limit as u64);
        // A client that announces too much need not send it first.
        if body.size_hint().lower() > plan.max_size {
            return Err(BodyError::TooLarge { limit: plan.max_size });
        }
        let stream = Box::pin(self.verify(body, plan, Purpose::Document, DigestSlot::default()));
        timeout(DOCUMENT_TIME, self.gather(stream, limit)).await.unwrap_or(Err(BodyError::TimedOut))
    }

    async fn gather<B>(&self, mut stream: Pin<Box<Verified<B>>>, limit: usize) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // What came in one piece is not copied.
        let (mut only, mut all, mut size) = (Bytes::new(), BytesMut::new(), 0);
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(slice) = stream.next().await {
            let slice = slice?;
            size += slice.len();
            if size > limit {
                return Err(BodyError::TooLarge { limit: limit as u64 });
            }
            if size == slice.len() {
                only = slice;
            } else {
                all.extend_from_slice(&std::mem::take(&mut only));
                all.extend_from_slice(&slice);
            }
            let due = size.saturating_sub(FREE).div_ceil(1 << 10);
            let more = due.saturating_sub(room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
            if more > 0 {
                let more = u32::try_from(more).map_err(|_| BodyError::Crowded)?;
                let more = Arc::clone(&self.documents).try_acquire_many_owned(more).map_err(|_| BodyError::Crowded)?;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
        }
        let bytes = if all.is_empty() { only } else { all.freeze() };
        Ok(match room {
            Some(room) => Bytes::from_owner(Counted { bytes, _room: room }),
            None => bytes,
        })
    }

    fn verify<B>(&self, body: B, plan: Plan, purpose: Purpose, slot: DigestSlot) -> Verified<B>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let form = match &plan.encoding {
            Encoding::Plain => Form::Plain,
            Encoding::ChunkedUnsigned => Form::Unsigned,
            Encoding::ChunkedSigned(_) => Form::Signed,
            Encoding::ChunkedSignedTrailer(_) => Form::SignedTrailer,
        };
        let framing = Framing::new(form, plan.length, plan.max_size, plan.trailer);
        let frames = Frames::new(body, self.pace);
        Verified::new(frames, framing, Digests::new(plan, purpose), self.pool.enter(), slot)
    }
}
