//! The tools of the tests: scripted clients, an encoder, a signer, a sink.

mod checks;
mod chunked;
mod pace;
mod pooled;
mod wire;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use http_body::{Body, Frame};
use tokio::{runtime::Runtime, time::Sleep};

use super::*;
use crate::types::{
    BodyDigests, BodyError, IncomingBody,
    digest::{Digest, Sha256, sha256_hex},
};

/// What a scripted client does next.
#[derive(Debug)]
pub(super) enum Step {
    Send(Bytes),
    /// Lets the server come back once.
    Yield,
    Sleep(Duration),
    Break,
    /// Never sends again.
    Hang,
}

/// A client's body as a script.
#[derive(Debug)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whether the end shows with the last byte, as with a known length, or only when asked.
    eager_end: bool,
    pub(super) polls: Arc<AtomicUsize>,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), sleep: None, eager_end: false, polls: Arc::default() }
    }

    /// Sends `bytes` cut at `cuts` (taken modulo the length), with a pause between any two frames.
    pub(super) fn cut(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let (mut steps, mut from) = (Vec::new(), 0);
        for end in ends {
            steps.extend([Step::Send(Bytes::copy_from_slice(&bytes[from..end])), Step::Yield]);
            from = end;
        }
        Self::new(steps)
    }

    pub(super) fn eager(mut self) -> Self {
        self.eager_end = true;
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Sleep(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Break) => return Poll::Ready(Some(Err("connection reset"))),
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.eager_end && !self.steps.iter().any(|step| !matches!(step, Step::Yield))
    }
}

/// A body that is there at once.
pub(super) fn whole(bytes: &[u8]) -> http_body_util::Full<Bytes> {
    http_body_util::Full::new(Bytes::copy_from_slice(bytes))
}

/// What a sink saw, and the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: Result<BodyDigests, BodyError>,
}

pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

pub(super) fn intake() -> Intake {
    Intake::with_lanes(Pace::default(), 2, 4)
}

pub(super) async fn drain(mut body: IncomingBody) -> Seen {
    let mut bytes = Vec::new();
    while let Some(item) = body.stream.next().await {
        match item {
            Ok(slice) => {
                assert!(!slice.is_empty(), "an empty slice");
                bytes.extend_from_slice(&slice);
            }
            Err(error) => {
                assert_eq!(body.digests.get(), None, "digests of a broken body");
                assert!(body.stream.next().await.is_none(), "a stream goes on behind its verdict");
                return Seen { bytes, verdict: Err(error) };
            }
        }
    }
    let digests = body.digests.get().expect("digests of a whole body").clone();
    Seen { bytes, verdict: Ok(digests) }
}

/// Runs a body through an intake of its own.
pub(super) fn run<B>(body: B, plan: Plan) -> Seen
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    RUNTIME.block_on(drain(intake().accept(body, plan)))
}

/// Signs as the S3 reference describes, for the tests' own clients and servers alike.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) key: Vec<u8>,
    pub(super) date: &'static str,
    pub(super) scope: &'static str,
    pub(super) seed: String,
}

pub(super) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

impl Signer {
    /// With the credentials and the date of the reference's examples.
    pub(super) fn example(seed: &str) -> Self {
        let key = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
        let parts = ["20130524", "us-east-1", "s3", "aws4_request"];
        let key = parts.iter().fold(key, |key, part| hmac(&key, part.as_bytes()));
        Self { key, date: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request", seed: seed.to_owned() }
    }

    pub(super) fn any() -> Self {
        Self::example(&sha256_hex(b"seed"))
    }

    fn sign(&self, kind: &str, lines: &str) -> String {
        let text = format!("AWS4-HMAC-SHA256-{kind}\n{}\n{}\n{lines}", self.date, self.scope);
        hex::encode(hmac(&self.key, text.as_bytes()))
    }
}

impl ChunkVerifier for Signer {
    fn seed(&self) -> &str {
        &self.seed
    }
    fn chunk(&self, previous: &str, sha256_hex: &str) -> String {
        self.sign("PAYLOAD", &format!("{previous}\n{}\n{sha256_hex}", hex::encode(Sha256::digest(b""))))
    }
    fn trailer(&self, previous: &str, sha256_hex: &str) -> String {
        self.sign("TRAILER", &format!("{previous}\n{sha256_hex}"))
    }
}

/// The three forms of aws-chunked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Unsigned,
    Signed,
    SignedTrailer,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Unsigned, Self::Signed, Self::SignedTrailer];

    pub(super) fn encoding(self) -> Encoding {
        match self {
            Self::Unsigned => Encoding::ChunkedUnsigned,
            Self::Signed => Encoding::ChunkedSigned(Box::new(Signer::any())),
            Self::SignedTrailer => Encoding::ChunkedSignedTrailer(Box::new(Signer::any())),
        }
    }

    pub(super) fn plan(self, length: usize, trailer: Option<ChecksumAlgorithm>) -> Plan {
        Plan { length: Some(length as u64), trailer, encoding: self.encoding(), ..Plan::default() }
    }

    /// Encodes the chunks, as a client does.
    pub(super) fn encode<'a>(self, chunks: impl IntoIterator<Item = &'a [u8]>, trailer: Option<&Checksum>) -> Vec<u8> {
        let signer = Signer::any();
        let mut previous = signer.seed.clone();
        let mut encoded = Vec::new();
        for chunk in chunks.into_iter().filter(|chunk| !chunk.is_empty()).chain([b"".as_slice()]) {
            encoded.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
            if self != Self::Unsigned {
                previous = signer.chunk(&previous, &sha256_hex(chunk));
                encoded.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
            }
            encoded.extend_from_slice(b"\r\n");
            if !chunk.is_empty() {
                encoded.extend_from_slice(chunk);
                encoded.extend_from_slice(b"\r\n");
            }
        }
        if let Some(checksum) = trailer {
            let line = format!("{}:{}", checksum.algorithm.header(), checksum.to_base64());
            encoded.extend_from_slice(format!("{line}\r\n").as_bytes());
            if self == Self::SignedTrailer {
                let signature = signer.trailer(&previous, &sha256_hex(format!("{line}\n").as_bytes()));
                encoded.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        encoded.extend_from_slice(b"\r\n");
        encoded
    }
}

/// Bytes that repeat nowhere nearby.
pub(super) fn payload(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
