//! How an object was put together: the sizes of its parts, which its entity tag depends on.

use std::ops::Range;

use futures_util::StreamExt;
use http::Method;

use crate::{
    s3client::{Call, Get, Reply, S3Client, S3ClientError, text_of},
    types::{
        ETag,
        digest::{Digest, Md5},
    },
};

/// Sizes that clients commonly use, in MiB.
const COMMON: [u64; 14] = [5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512];
const MIB: u64 = 1 << 20;

/// The object that is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) client: &'a S3Client,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) size: u64,
    pub(super) etag: &'a str,
}

/// How many parts an entity tag tells of; `None` for an object written in one piece.
pub(super) fn count(etag: &str) -> Option<u32> {
    etag.rsplit_once('-').and_then(|(_, count)| count.parse().ok()).filter(|count| (1..=10_000).contains(count))
}

impl Source<'_> {
    /// The sizes of the parts; `None` where nobody can tell.
    pub(super) async fn parts(&self) -> Result<Option<Vec<u64>>, S3ClientError> {
        let Some(count) = count(self.etag) else { return Ok(None) };
        if count == 1 {
            return Ok(Some(vec![self.size]));
        }
        match self.asked(count).await {
            Ok(Some(sizes)) => Ok(Some(sizes)),
            Ok(None) => self.guessed(count).await,
            Err(error) if error.status().is_some_and(|status| (400..500).contains(&status)) => {
                self.guessed(count).await
            }
            Err(error) => Err(error),
        }
    }

    /// As the store says. Where the first and the last part fit, those between are like the first.
    async fn asked(&self, count: u32) -> Result<Option<Vec<u64>>, S3ClientError> {
        let Some(first) = self.part(1, count).await? else { return Ok(None) };
        let Some(last) = self.part(count, count).await? else { return Ok(None) };
        let mut sizes = vec![first; usize::try_from(count - 1).unwrap_or_default()];
        sizes.push(last);
        if sizes.iter().sum::<u64>() == self.size {
            return Ok(Some(sizes));
        }
        sizes = vec![first];
        for number in 2..count {
            let Some(size) = self.part(number, count).await? else { return Ok(None) };
            sizes.push(size);
        }
        sizes.push(last);
        Ok((sizes.iter().sum::<u64>() == self.size).then_some(sizes))
    }

    /// The size of a part; `None` where the store tells of the whole object instead.
    async fn part(&self, number: u32, count: u32) -> Result<Option<u64>, S3ClientError> {
        let call = Call::new(Method::HEAD, Some(self.bucket), Some(self.key));
        let call = call.and("partNumber", number.to_string()).and_some("versionId", self.version);
        let reply = self.client.send(call).await?;
        let known = text_of(&reply.headers, "x-amz-mp-parts-count").and_then(|known| known.parse().ok());
        Ok(if known == Some(count) { length(&reply) } else { None })
    }

    /// Tries common sizes: the bytes are read once, and the tag decides.
    async fn guessed(&self, count: u32) -> Result<Option<Vec<u64>>, S3ClientError> {
        let mut candidates: Vec<Guess> = sizes(self.size, u64::from(count)).into_iter().map(Guess::new).collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let get = Get { version: self.version, ..Get::default() };
        let mut body = self.client.get_object(self.bucket, self.key, get).await?.body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| S3ClientError::Answer(error.to_string()))?;
            for guess in &mut candidates {
                guess.update(&chunk);
            }
        }
        let found = candidates.into_iter().find_map(|guess| guess.finish(self.etag));
        Ok(found.map(|part| {
            let whole = usize::try_from(self.size / part).unwrap_or_default();
            let rest = self.size % part;
            let mut sizes = vec![part; whole];
            sizes.extend((rest > 0).then_some(rest));
            sizes
        }))
    }
}

/// Part sizes that make so many parts.
fn sizes(size: u64, count: u64) -> Vec<u64> {
    let even = size.div_ceil(count);
    let mut sizes: Vec<u64> = COMMON.iter().map(|size| size * MIB).collect();
    sizes.extend([even, even.next_multiple_of(MIB), 5_000_000, 8_000_000, 10_000_000, 64_000_000, 100_000_000]);
    sizes.retain(|part| *part > 0 && size.div_ceil(*part) == count);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The tag of an object in parts of one size.
struct Guess {
    size: u64,
    left: u64,
    part: Md5,
    digests: Vec<[u8; 16]>,
}

impl Guess {
    fn new(size: u64) -> Self {
        Self { size, left: size, part: Md5::new(), digests: Vec::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(here);
            self.part.update(now);
            self.left -= now.len() as u64;
            if self.left == 0 {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        self.digests.push(std::mem::take(&mut self.part).finalize().into());
        self.left = self.size;
    }

    fn finish(mut self, etag: &str) -> Option<u64> {
        if self.left != self.size {
            self.end_part();
        }
        (ETag::from_parts(self.digests.iter()).as_str() == etag).then_some(self.size)
    }
}

/// The bytes of each part, one behind the other.
pub(super) fn ranges(sizes: &[u64]) -> Vec<Range<u64>> {
    let mut start = 0;
    let range = |size: &u64| {
        let range = start..start + size;
        start = range.end;
        range
    };
    sizes.iter().map(range).collect()
}

/// The length that an answer announces.
pub(super) fn length(reply: &Reply) -> Option<u64> {
    text_of(&reply.headers, "content-length").and_then(|length| length.parse().ok())
}
