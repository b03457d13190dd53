//! Where requests' bodies enter the server.

use bytes::Bytes;
use http_body::Body;

use super::{
    Encoding, Pace, Plan,
    digests::{Digests, Purpose},
    frames::Frames,
    framing::{Form, Framing},
    pool::{HashPool, TOGETHER},
    verified::Verified,
};
use crate::types::{BodyError, DigestSlot, IncomingBody, body::collect};

/// Takes request bodies in. One per server: its uploads share the hashing threads. Clones share them, too.
#[derive(Clone, Debug)]
pub struct Intake {
    pace: Pace,
    pool: HashPool,
}

impl Intake {
    /// An intake that tolerates clients of this pace and hashes on at most `threads` threads.
    pub fn new(pace: Pace, threads: usize) -> Self {
        Self { pace, pool: HashPool::new(threads, TOGETHER) }
    }

    /// How slow a client may be.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// An intake whose threads take so many uploads' batches at once.
    #[cfg(test)]
    pub(super) fn with_lanes(pace: Pace, threads: usize, together: usize) -> Self {
        Self { pace, pool: HashPool::new(threads, together) }
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
    /// [`BodyError::TooLarge`] beyond `limit`, already by the announced length; else as [`Intake::accept`].
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
        collect(stream, limit).await
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
