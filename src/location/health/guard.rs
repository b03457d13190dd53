//! What is around the backend of a location that is elsewhere.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{Activity, LocationHealth, Pass, activity::Watched, silent};
use crate::{
    data::{
        DataError, Found,
        layered::{Call, Layer},
    },
    types::{BodyError, ByteStream},
};

/// Calls behind which a store may have to put whole objects together take so many times longer than others.
const LONG: u32 = 10;

/// What sees to it that calls end in time, or are not made at all.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<LocationHealth>);

impl Guard {
    /// The longest silence within a call.
    fn answer(&self) -> Duration {
        self.0.settings.answer
    }
}

impl Layer for Guard {
    async fn around<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, DataError>> + Send,
    ) -> Result<T, DataError> {
        let limit = match call {
            Call::StageCopy | Call::Publish | Call::CopyPart => self.answer() * LONG,
            _ => self.answer(),
        };
        let mut pass = self.0.admit(call.name()).await?;
        let outcome = timeout(limit, work).await.unwrap_or_else(|_| Err(silent(limit)));
        pass.end(outcome.as_ref().err());
        outcome
    }

    async fn send<T: Send, F: Future<Output = Result<T, DataError>> + Send>(
        &self,
        call: Call,
        body: ByteStream,
        work: impl FnOnce(ByteStream) -> F + Send,
    ) -> Result<T, DataError> {
        let mut pass = self.0.admit(call.name()).await?;
        let activity = Arc::new(Activity::new());
        pass.activity = Some(Arc::clone(&activity));
        let figures = self.0.figures.clone();
        let body = Watched { inner: body, activity: Arc::clone(&activity), figures }.boxed();
        let limit = self.answer();
        let outcome = activity.within(limit, work(body)).await.unwrap_or_else(|| Err(silent(limit)));
        pass.end(outcome.as_ref().err());
        outcome
    }

    async fn receive(
        &self,
        work: impl Future<Output = Result<ByteStream, DataError>> + Send,
    ) -> Result<ByteStream, DataError> {
        let mut pass = self.0.admit(Call::Get.name()).await?;
        let limit = self.answer();
        let outcome = timeout(limit, work).await.unwrap_or_else(|_| Err(silent(limit)));
        match outcome {
            Ok(bytes) => {
                pass.answered();
                Ok(received(bytes, pass, limit))
            }
            Err(fault) => {
                pass.end(Some(&fault));
                Err(fault)
            }
        }
    }

    /// By the health's own look, which counts and is noted.
    async fn probe(&self, _: impl Future<Output = Result<(), DataError>> + Send) -> Result<(), DataError> {
        if self.0.check().await {
            return Ok(());
        }
        Err(DataError::Unavailable(self.0.report().problem))
    }

    fn walk(
        &self,
        found: BoxStream<'static, Result<Found, DataError>>,
    ) -> BoxStream<'static, Result<Found, DataError>> {
        let (health, limit) = (Arc::clone(&self.0), self.answer());
        let begun = async move { health.admit("walk").await.map(|pass| walked(found, pass, limit)) };
        stream::once(begun).try_flatten().boxed()
    }
}

/// The bytes of a blob, each in time. The pass stays until they end: a reader takes up a call, too.
fn received(bytes: ByteStream, pass: Pass, limit: Duration) -> ByteStream {
    let next = move |state: Option<(ByteStream, Pass)>| async move {
        let (mut bytes, pass) = state?;
        let item = match timeout(limit, bytes.next()).await {
            Ok(Some(item)) => item,
            Ok(None) => {
                pass.delivered(None);
                return None;
            }
            Err(_) => Err(BodyError::Unreadable(silent(limit).to_string())),
        };
        match item {
            Ok(chunk) => {
                pass.health.figures.received(chunk.len());
                Some((Ok(chunk), Some((bytes, pass))))
            }
            Err(error) => {
                pass.delivered(Some(&DataError::Unavailable(error.to_string())));
                Some((Err(error), None))
            }
        }
    };
    stream::unfold(Some((bytes, pass)), next).boxed()
}

/// The end of a walk, whether or not anything was found before it.
fn over(pass: &mut Pass, fault: Option<&DataError>) {
    if pass.is_over {
        pass.delivered(fault);
    } else {
        pass.end(fault);
    }
}

/// What is found, each in time. The pass stays until the walk ends.
fn walked(
    found: BoxStream<'static, Result<Found, DataError>>,
    pass: Pass,
    limit: Duration,
) -> BoxStream<'static, Result<Found, DataError>> {
    let next = move |state: Option<(BoxStream<'static, Result<Found, DataError>>, Pass)>| async move {
        let (mut found, mut pass) = state?;
        let item = timeout(limit, found.next()).await.unwrap_or_else(|_| Some(Err(silent(limit))));
        match item {
            Some(Ok(item)) => {
                // Whoever stops from here on was not kept waiting.
                if !pass.is_over {
                    pass.answered();
                }
                Some((Ok(item), Some((found, pass))))
            }
            Some(Err(error)) => {
                over(&mut pass, Some(&error));
                Some((Err(error), None))
            }
            None => {
                over(&mut pass, None);
                None
            }
        }
    };
    stream::unfold(Some((found, pass)), next).boxed()
}
