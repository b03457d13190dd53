//! What an object is sent with, and whether what arrived is what was sent.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Far, WRITE};
use crate::{
    data::NativeObject,
    s3client::{Stored, text_of},
    types::{
        BodyError, ByteStream, DigestSlot, ETag,
        checksum::{ChecksumAlgorithm, ChecksumHasher},
        digest::{Digest, Md5, md5},
    },
};

/// Most bytes of user metadata that S3 takes, names included.
const METADATA_LIMIT: usize = 2048;

/// What was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) md5: [u8; 16],
    /// CRC-64/NVME in base64: what Amazon answers with when nothing else was asked for.
    pub(super) crc: String,
}

impl Sent {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut crc = ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme);
        crc.update(bytes);
        let mut digest = md5();
        digest.update(bytes);
        Self { md5: digest.finalize().into(), crc: crc.finalize().to_base64() }
    }

    pub(super) fn etag(&self) -> String {
        hex::encode(self.md5)
    }

    /// Whether the far side has what was sent, as far as its answer tells; `false`: it does not tell.
    ///
    /// # Errors
    /// In words, where it has something else.
    pub(super) fn matches(&self, stored: &Stored) -> Result<bool, String> {
        let etag = stored.etag.as_deref().ok_or_else(|| "it gave no entity tag".to_owned())?;
        if !is_opaque(&stored.headers) && is_md5(etag) {
            let own = self.etag();
            return if etag.eq_ignore_ascii_case(&own) {
                Ok(true)
            } else {
                Err(format!("its entity tag is {etag}, what was sent has {own}"))
            };
        }
        if let Some(crc) = text_of(&stored.headers, "x-amz-checksum-crc64nvme") {
            return if crc == self.crc { Ok(true) } else { Err(format!("its checksum is {crc}, not {}", self.crc)) };
        }
        let hashes = text_of(&stored.headers, "x-goog-hash").unwrap_or_default();
        let md5 = hashes.split(',').find_map(|hash| hash.trim().strip_prefix("md5="));
        match md5 {
            Some(md5) if md5 == BASE64_STANDARD.encode(self.md5) => Ok(true),
            Some(md5) => Err(format!("its MD5 is {md5}")),
            None => Ok(false),
        }
    }
}

/// Whether entity tags say nothing about the bytes (S3 reference, "Object": encryption with KMS or clients' keys).
pub(super) fn is_opaque(headers: &HeaderMap) -> bool {
    text_of(headers, "x-amz-server-side-encryption").is_some_and(|kind| kind.starts_with("aws:"))
        || headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

pub(super) fn is_md5(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The entity tag of an object of these parts, where theirs are MD5s.
pub(super) fn composite(parts: &[(u32, String)]) -> Option<String> {
    let mut digests = Vec::with_capacity(parts.len());
    for (_, tag) in parts {
        let mut digest = [0; 16];
        hex::decode_to_slice(tag, &mut digest).ok()?;
        digests.push(digest);
    }
    Some(ETag::from_parts(digests.iter()).as_str().to_owned())
}

/// Digests under way.
struct Digesting {
    md5: Md5Source,
    crc: ChecksumHasher,
}

enum Md5Source {
    /// Computed here.
    Here(Md5),
    /// Whoever received the bytes computes it, several uploads together, and leaves it before the last of them comes.
    Receiver(DigestSlot),
}

impl Digesting {
    fn new(receiver: Option<DigestSlot>) -> Self {
        let md5 = receiver.map_or_else(|| Md5Source::Here(md5()), Md5Source::Receiver);
        Self { md5, crc: ChecksumHasher::new(ChecksumAlgorithm::Crc64Nvme) }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Md5Source::Here(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.crc.update(bytes);
    }

    /// Nothing where the receiver has left nothing: then nothing is known of what was sent.
    fn finish(self) -> Option<Sent> {
        let md5 = match self.md5 {
            Md5Source::Here(md5) => md5.finalize().into(),
            Md5Source::Receiver(slot) => slot.get()?.md5,
        };
        Some(Sent { md5, crc: self.crc.finalize().to_base64() })
    }
}

/// Digests of a stream, once it has ended cleanly.
pub(super) type SentSlot = Arc<OnceLock<Sent>>;

/// A stream whose digests are left behind at its end; `receiver` is where its receiver leaves those it computes.
pub(super) fn digested(stream: ByteStream, receiver: Option<DigestSlot>) -> (ByteStream, SentSlot) {
    let slot = SentSlot::default();
    (Digested { stream, digest: Some(Digesting::new(receiver)), slot: Arc::clone(&slot) }.boxed(), slot)
}

struct Digested {
    stream: ByteStream,
    digest: Option<Digesting>,
    slot: SentSlot,
}

impl Stream for Digested {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.as_mut().poll_next(cx));
        match &item {
            Some(Ok(slice)) => {
                if let Some(digest) = &mut self.digest {
                    digest.update(slice);
                }
            }
            Some(Err(_)) => self.digest = None,
            None => {
                if let Some(sent) = self.digest.take().and_then(Digesting::finish) {
                    // A second end of one stream cannot differ from the first.
                    drop(self.slot.set(sent));
                }
            }
        }
        Poll::Ready(item)
    }
}

impl Far {
    /// The headers of a new object.
    pub(super) fn headers(&self, object: &NativeObject, write: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &object.headers {
            set(&mut headers, name, value);
        }
        set(&mut headers, "x-amz-meta-cloudserver-write", write);
        let mut room = METADATA_LIMIT.saturating_sub(WRITE.len() + write.len());
        for (name, value) in object.metadata.iter().filter(|(name, _)| name != WRITE) {
            let value = header_text(value);
            // What S3 would refuse the whole object for is in our metadata anyway.
            if let Some(left) = room.checked_sub(name.len() + value.len()) {
                room = left;
                set(&mut headers, &format!("x-amz-meta-{name}"), &value);
            }
        }
        if self.options.server_side_encryption && !self.is_gcs() {
            set(&mut headers, "x-amz-server-side-encryption", "AES256");
        }
        if !object.tags.is_empty() && !self.is_gcs() {
            let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let tags = object.tags.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
            set(&mut headers, "x-amz-tagging", &tags.collect::<Vec<_>>().join("&"));
        }
        headers
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let value = header_text(value);
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

/// A text as headers may have it: what is not ASCII is encoded as RFC 2047 has it, and as S3 gives it back.
fn header_text(text: &str) -> String {
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain { text.trim().to_owned() } else { format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text)) }
}
