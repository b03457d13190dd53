//! Reading from a module: one request for a range, and more for its rest if the connection breaks.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode, header};

use super::{Answer, Module, path_of, set};
use crate::{
    data::{BlobId, DataError},
    types::{BodyError, ByteStream},
};

/// Requests for the rest of one stream, at most.
const MOST_RESUMES: u32 = 3;

/// A stream under way.
struct Reader {
    module: Arc<Module>,
    blob: BlobId,
    /// What has not come yet.
    range: Range<u64>,
    stream: ByteStream,
    resumes: u32,
}

/// Opens the bytes of `range`, which is not empty.
pub(super) async fn open(module: &Arc<Module>, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
    let stream = request(module, blob, range.clone()).await?;
    let reader = Reader { module: Arc::clone(module), blob: blob.clone(), range, stream, resumes: 0 };
    let slices = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(slice) => Some((Ok(slice), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(slices.boxed())
}

impl Reader {
    /// The next slice; `None` once all of the range has come.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.range.is_empty() {
                return None;
            }
            let why = match self.stream.next().await {
                Some(Ok(slice)) if slice.is_empty() => continue,
                Some(Ok(mut slice)) => {
                    let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
                    slice.truncate(left);
                    self.range.start += slice.len() as u64;
                    return Some(Ok(slice));
                }
                Some(Err(error)) => error.to_string(),
                None => "the module's answer ended early".to_owned(),
            };
            if let Err(error) = self.resume(&why).await {
                return Some(Err(BodyError::Unreadable(error.to_string())));
            }
        }
    }

    /// Asks for the rest. Blobs do not change, so it fits to what has come.
    async fn resume(&mut self, why: &str) -> Result<(), DataError> {
        self.resumes += 1;
        if self.resumes > MOST_RESUMES {
            return Err(DataError::Unavailable(why.to_owned()));
        }
        tracing::debug!(blob = self.blob.as_str(), why, "a read from the data module is resumed");
        self.stream = request(&self.module, &self.blob, self.range.clone()).await?;
        Ok(())
    }
}

async fn request(module: &Module, blob: &BlobId, range: Range<u64>) -> Result<ByteStream, DataError> {
    let mut headers = HeaderMap::new();
    let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    set(&mut headers, header::RANGE, &wanted)?;
    let Answer { status, headers, body } = module.ask(Method::GET, &path_of(blob)?, headers).await?;
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let served = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(parse);
            let (served, _) = served.ok_or_else(|| module.strange("206 without a good Content-Range"))?;
            if served == range { Ok(body) } else { Err(DataError::OutOfRange(range)) }
        }
        // All of it, where all of it was asked for.
        StatusCode::OK if length(&headers) == Some(range.end) && range.start == 0 => Ok(body),
        StatusCode::OK => Err(module.strange("200 to a request for a range")),
        StatusCode::NOT_FOUND => Err(DataError::NotFound(blob.clone())),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(DataError::OutOfRange(range)),
        other => Err(module.refused(other, body, blob).await),
    }
}

/// Bytes of a blob, asked for without taking them.
pub(super) async fn size(module: &Module, blob: &BlobId) -> Result<u64, DataError> {
    // A foreign module need not know HEAD; what is not read of a GET's answer is not sent.
    let method = if module.is_extended() { Method::HEAD } else { Method::GET };
    let Answer { status, headers, body } = module.ask(method, &path_of(blob)?, HeaderMap::new()).await?;
    match status {
        StatusCode::OK => length(&headers).ok_or_else(|| module.strange("200 without Content-Length")),
        StatusCode::NOT_FOUND => Err(DataError::NotFound(blob.clone())),
        other => Err(module.refused(other, body, blob).await),
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `bytes first-last/total`.
fn parse(value: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, total.parse().ok()?))
}
