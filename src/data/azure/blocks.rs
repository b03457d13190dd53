//! Cutting a body into blocks: each is a request, and only the last one tells that the body ended well.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;

use crate::types::{BodyError, ByteStream};

/// A body that blocks are taken from.
pub(super) struct Source {
    rest: Arc<Mutex<Rest>>,
}

struct Rest {
    body: ByteStream,
    held: Bytes,
}

impl Rest {
    /// At most `most` bytes; `None` at the clean end.
    async fn take(&mut self, most: u64) -> Option<Result<Bytes, BodyError>> {
        while self.held.is_empty() {
            match self.body.next().await? {
                Ok(slice) => self.held = slice,
                Err(error) => return Some(Err(error)),
            }
        }
        let len = usize::try_from(most).unwrap_or(usize::MAX).min(self.held.len());
        Some(Ok(self.held.split_to(len)))
    }
}

impl Source {
    pub(super) fn new(body: ByteStream) -> Self {
        Self { rest: Arc::new(Mutex::new(Rest { body, held: Bytes::new() })) }
    }

    /// The next `size` bytes as a stream. The last block's ends only when the body has.
    pub(super) fn block(&self, size: u64, last: bool) -> ByteStream {
        let rest = Arc::clone(&self.rest);
        stream::unfold(Some((rest, size)), move |state| async move {
            let (rest, left) = state?;
            let item = next(&rest, left, (size, last)).await?;
            // After an error nothing comes.
            let state = item.as_ref().ok().map(|slice| (rest, left - slice.len() as u64));
            Some((item, state))
        })
        .boxed()
    }

    /// The next bytes, at most `most`; fewer only at the clean end of the body.
    pub(super) async fn gather(&self, most: usize) -> Result<Bytes, BodyError> {
        let mut rest = self.rest.lock().await;
        let mut bytes = BytesMut::new();
        while bytes.len() < most {
            match rest.take((most - bytes.len()) as u64).await {
                Some(slice) => bytes.extend_from_slice(&slice?),
                None => break,
            }
        }
        Ok(bytes.freeze())
    }

    /// Whether the body has ended cleanly here.
    pub(super) async fn is_over(&self) -> Result<bool, BodyError> {
        let mut rest = self.rest.lock().await;
        match rest.take(u64::MAX).await {
            None => Ok(true),
            Some(slice) => {
                rest.held = slice?;
                Ok(false)
            }
        }
    }
}

async fn next(rest: &Mutex<Rest>, left: u64, (size, last): (u64, bool)) -> Option<Result<Bytes, BodyError>> {
    let mut rest = rest.lock().await;
    if left > 0 {
        let got = size - left;
        return Some(rest.take(left).await.unwrap_or(Err(BodyError::Incomplete { expected: size, got })));
    }
    if !last {
        return None;
    }
    match rest.take(1).await? {
        Ok(_) => Some(Err(BodyError::TooLarge { limit: size })),
        Err(error) => Some(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(slices: &[&'static str], broken: bool) -> ByteStream {
        let end = broken.then_some(Err(BodyError::Disconnected));
        let slices: Vec<_> = slices.iter().map(|slice| Ok(Bytes::from_static(slice.as_bytes()))).chain(end).collect();
        stream::iter(slices).boxed()
    }

    async fn collect(stream: ByteStream) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        for slice in stream.collect::<Vec<_>>().await {
            all.extend_from_slice(&slice?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn blocks_are_cut_anywhere_and_the_last_one_has_the_verdict() {
        let source = Source::new(body(&["abc", "", "defg"], false));
        assert_eq!(collect(source.block(2, false)).await.unwrap(), b"ab");
        assert_eq!(collect(source.block(5, true)).await.unwrap(), b"cdefg");
        let source = Source::new(body(&["abc"], true));
        assert_eq!(collect(source.block(1, false)).await.unwrap(), b"a");
        assert_eq!(collect(source.block(2, true)).await, Err(BodyError::Disconnected));
        let source = Source::new(body(&["abc"], false));
        assert_eq!(collect(source.block(2, true)).await, Err(BodyError::TooLarge { limit: 2 }));
        let source = Source::new(body(&["abc"], false));
        assert_eq!(collect(source.block(4, true)).await, Err(BodyError::Incomplete { expected: 4, got: 3 }));
        let source = Source::new(body(&["abc", "d"], false));
        assert_eq!(source.gather(3).await.unwrap(), "abc");
        assert!(!source.is_over().await.unwrap());
        assert_eq!(source.gather(3).await.unwrap(), "d");
        assert!(source.is_over().await.unwrap());
    }
}
