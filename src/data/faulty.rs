//! A wrapper that breaks a backend on purpose, for tests of the layers above.

use std::{collections::VecDeque, fmt, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use parking_lot::Mutex;

use super::{BlobId, Capabilities, DataBackend, DataError, DiskUsage, PutHint, Written};
use crate::types::{BodyError, ByteStream};

/// The calls that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`DataBackend::put`].
    Put,
    /// [`DataBackend::get`].
    Get,
    /// [`DataBackend::delete`].
    Delete,
    /// [`DataBackend::list`].
    List,
    /// [`DataBackend::probe`].
    Probe,
    /// [`DataBackend::disk_usage`].
    DiskUsage,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails at once.
    Unavailable,
    /// The call fails at once: the device is full.
    NoSpace,
    /// The call fails at once: a fault of the device.
    Io,
    /// The call comes to its end, is then reported as failed: the reply was lost.
    LostReply,
    /// The call works, this much later.
    Delay(Duration),
    /// The bytes of a put or get break off in an error after this many.
    BreakAfter(u64),
    /// The bytes of a put or get end after this many as if all were well: a backend that lies.
    EndAfter(u64),
}

/// A backend that does as it is told, once per order; else it does as the backend within.
pub struct FaultyBackend {
    inner: Arc<dyn DataBackend>,
    orders: Mutex<VecDeque<(Call, Fault)>>,
    seen: Mutex<Vec<Call>>,
}

impl fmt::Debug for FaultyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyBackend")
            .field("inner", &self.inner)
            .field("orders", &self.orders.lock())
            .finish_non_exhaustive()
    }
}

impl FaultyBackend {
    /// Wraps a backend; nothing is broken yet.
    pub fn new(inner: Arc<dyn DataBackend>) -> Self {
        Self { inner, orders: Mutex::default(), seen: Mutex::default() }
    }

    /// Breaks the next such call that no earlier order breaks.
    pub fn break_next(&self, call: Call, fault: Fault) {
        self.orders.lock().push_back((call, fault));
    }

    /// How often `call` was made.
    pub fn count(&self, call: Call) -> usize {
        self.seen.lock().iter().filter(|seen| **seen == call).count()
    }

    fn next_fault(&self, call: Call) -> Option<Fault> {
        self.seen.lock().push(call);
        let mut orders = self.orders.lock();
        let index = orders.iter().position(|(ordered, _)| *ordered == call)?;
        orders.remove(index).map(|(_, fault)| fault)
    }

    /// Runs a call that carries no bytes.
    async fn run<T>(&self, call: Call, inner: BoxFuture<'_, Result<T, DataError>>) -> Result<T, DataError> {
        let fault = self.next_fault(call);
        before(fault).await?;
        let result = inner.await;
        if fault == Some(Fault::LostReply) { Err(lost_reply()) } else { result }
    }
}

async fn before(fault: Option<Fault>) -> Result<(), DataError> {
    match fault {
        Some(Fault::Unavailable) => Err(DataError::Unavailable("broken on purpose".to_owned())),
        Some(Fault::NoSpace) => Err(DataError::NoSpace),
        Some(Fault::Io) => Err(DataError::Io(std::io::Error::other("broken on purpose"))),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        Some(Fault::LostReply | Fault::BreakAfter(_) | Fault::EndAfter(_)) | None => Ok(()),
    }
}

fn lost_reply() -> DataError {
    DataError::Unavailable("the reply was lost on purpose".to_owned())
}

/// The stream as the fault leaves it.
fn cut(stream: ByteStream, fault: Option<Fault>) -> ByteStream {
    let (left, breaks) = match fault {
        Some(Fault::BreakAfter(bytes)) => (bytes, true),
        Some(Fault::EndAfter(bytes)) => (bytes, false),
        _ => return stream,
    };
    let state = Some((stream, left));
    stream::unfold(state, move |state| async move {
        let (mut stream, left) = state?;
        let broken = || Err(BodyError::Unreadable("broken on purpose".to_owned()));
        if left == 0 {
            return breaks.then(|| (broken(), None));
        }
        let slice: Result<Bytes, BodyError> = stream.next().await?;
        Some(match slice {
            Ok(mut slice) => {
                slice.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - slice.len() as u64;
                (Ok(slice), Some((stream, left)))
            }
            Err(error) => (Err(error), None),
        })
    })
    .boxed()
}

impl DataBackend for FaultyBackend {
    fn reserve(&self) -> Option<BlobId> {
        self.inner.reserve()
    }

    fn put(&self, body: ByteStream, hint: PutHint) -> BoxFuture<'_, Result<Written, DataError>> {
        async move {
            let fault = self.next_fault(Call::Put);
            before(fault).await?;
            let written = self.inner.put(cut(body, fault), hint).await;
            if fault == Some(Fault::LostReply) { Err(lost_reply()) } else { written }
        }
        .boxed()
    }

    fn get<'a>(&'a self, blob: &'a BlobId, range: Range<u64>) -> BoxFuture<'a, Result<ByteStream, DataError>> {
        async move {
            let fault = self.next_fault(Call::Get);
            before(fault).await?;
            let stream = self.inner.get(blob, range).await?;
            if fault == Some(Fault::LostReply) { Err(lost_reply()) } else { Ok(cut(stream, fault)) }
        }
        .boxed()
    }

    fn delete<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<(), DataError>> {
        self.run(Call::Delete, self.inner.delete(blob)).boxed()
    }

    fn size<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<Option<u64>, DataError>> {
        self.inner.size(blob)
    }

    fn list<'a>(&'a self, after: Option<&'a BlobId>, limit: usize) -> BoxFuture<'a, Result<Vec<BlobId>, DataError>> {
        self.run(Call::List, self.inner.list(after, limit)).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), DataError>> {
        self.run(Call::Probe, self.inner.probe()).boxed()
    }

    fn disk_usage(&self) -> BoxFuture<'_, Result<Option<DiskUsage>, DataError>> {
        self.run(Call::DiskUsage, self.inner.disk_usage()).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{MemoryBackend, conformance},
        types::body,
    };

    fn backend() -> FaultyBackend {
        FaultyBackend::new(Arc::new(MemoryBackend::new()))
    }

    #[tokio::test]
    async fn without_orders_the_wrapper_keeps_the_rules_of_the_seam() {
        conformance::suite(Arc::new(backend())).await;
    }

    #[tokio::test]
    async fn an_order_breaks_one_call() {
        let faulty = backend();
        faulty.break_next(Call::Put, Fault::NoSpace);
        let bytes = || body::once(Bytes::from_static(b"0123456789"));
        assert!(matches!(faulty.put(bytes(), PutHint::default()).await, Err(DataError::NoSpace)));
        let blob = faulty.put(bytes(), PutHint::default()).await.unwrap().blob;
        faulty.break_next(Call::Get, Fault::BreakAfter(4));
        faulty.break_next(Call::Get, Fault::EndAfter(4));
        let mut broken = faulty.get(&blob, 0..10).await.unwrap();
        assert_eq!(broken.next().await.unwrap().unwrap(), "0123");
        assert!(broken.next().await.unwrap().is_err());
        let lying = body::collect(faulty.get(&blob, 0..10).await.unwrap(), 100).await.unwrap();
        assert_eq!(lying, "0123");
        let whole = body::collect(faulty.get(&blob, 0..10).await.unwrap(), 100).await.unwrap();
        assert_eq!(whole, "0123456789");
        assert_eq!((faulty.count(Call::Put), faulty.count(Call::Get)), (2, 3));
    }

    #[tokio::test]
    async fn a_lost_reply_hides_a_put_that_happened() {
        let faulty = backend();
        faulty.break_next(Call::Put, Fault::LostReply);
        let lost = faulty.put(body::once(Bytes::from_static(b"x")), PutHint::default()).await;
        assert!(matches!(lost, Err(DataError::Unavailable(_))));
        assert_eq!(faulty.list(None, 10).await.unwrap().len(), 1);
    }
}
