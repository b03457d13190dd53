//! A wrapper that breaks a backend on purpose, for tests of the layers above.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::{
    DataBackend, DataError,
    layered::{Call, Layer, Layered},
};
use crate::types::{BodyError, ByteStream};

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
    /// The bytes that are sent or received break off in an error after this many.
    BreakAfter(u64),
    /// The bytes that are sent or received end after this many as if all were well: a backend that lies.
    EndAfter(u64),
}

/// What is ordered, each order for one call, and the calls that were made.
#[derive(Debug, Default)]
pub struct Faults {
    orders: Mutex<VecDeque<(Call, Fault)>>,
    seen: Mutex<Vec<Call>>,
}

/// A backend that does as it is told, once per order; else it does as the backend within.
pub type FaultyBackend = Layered<Faults>;

impl FaultyBackend {
    /// Wraps a backend; nothing is broken yet.
    pub fn new(inner: Arc<dyn DataBackend>) -> Self {
        Self::over(inner, Faults::default())
    }

    /// Breaks the next such call that no earlier order breaks.
    pub fn break_next(&self, call: Call, fault: Fault) {
        self.layer().orders.lock().push_back((call, fault));
    }

    /// How often `call` was made.
    pub fn count(&self, call: Call) -> usize {
        self.layer().seen.lock().iter().filter(|seen| **seen == call).count()
    }
}

impl Faults {
    fn next(&self, call: Call) -> Option<Fault> {
        self.seen.lock().push(call);
        let mut orders = self.orders.lock();
        let index = orders.iter().position(|(ordered, _)| *ordered == call)?;
        orders.remove(index).map(|(_, fault)| fault)
    }
}

/// Makes a call with this fault.
async fn run<T: Send>(
    fault: Option<Fault>,
    work: impl Future<Output = Result<T, DataError>> + Send,
) -> Result<T, DataError> {
    before(fault).await?;
    let outcome = work.await;
    if fault == Some(Fault::LostReply) { Err(lost_reply()) } else { outcome }
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

impl Layer for Faults {
    async fn around<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        run(self.next(call), work).await
    }

    async fn send<T: Send, F: Future<Output = Result<T, DataError>> + Send>(
        &self,
        call: Call,
        body: ByteStream,
        work: impl FnOnce(ByteStream) -> F + Send,
    ) -> Result<T, DataError> {
        let fault = self.next(call);
        run(fault, async move { work(cut(body, fault)).await }).await
    }

    async fn receive(
        &self,
        work: impl Future<Output = Result<ByteStream, DataError>> + Send,
    ) -> Result<ByteStream, DataError> {
        let fault = self.next(Call::Get);
        run(fault, work).await.map(|bytes| cut(bytes, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{MemoryBackend, PutHint, conformance},
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
