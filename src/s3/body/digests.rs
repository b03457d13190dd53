//! What is computed over a body, and the verdict on it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use subtle::ConstantTimeEq;

use super::{ChunkVerifier, Encoding, Plan};
use crate::types::{
    BodyDigests, BodyError, Checksum, ChecksumAlgorithm,
    checksum::ChecksumHasher,
    digest::{Digest, Md5Stream, Sha256, sha256},
};

/// A signature: 64 hexadecimal digits.
pub(super) type Signature = [u8; 64];

/// About the size of a step itself.
const LEAST_WEIGHT: usize = 128;

/// One step over a body, in order.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Payload; `held` back until the next seal held.
    Data { bytes: Bytes, held: bool },
    /// The end of a signed chunk.
    Seal(Signature),
    /// The end of a signed trailer.
    SealTrailer { sha256_hex: String, signature: Signature },
    /// The checksum that the trailer carries.
    Expect(Checksum),
}

impl Op {
    /// The payload in it.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Data { bytes, .. } => Some(bytes),
            Self::Seal(_) | Self::SealTrailer { .. } | Self::Expect(_) => None,
        }
    }

    /// The bytes it keeps from being freed. A tiny slice weighs as much as the operation around it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len().max(LEAST_WEIGHT),
            Self::Seal(_) | Self::SealTrailer { .. } | Self::Expect(_) => LEAST_WEIGHT,
        }
    }
}

/// The chain of chunk signatures.
struct Chain {
    verifier: Box<dyn ChunkVerifier>,
    previous: String,
    chunk: Sha256,
}

impl Chain {
    fn new(verifier: Box<dyn ChunkVerifier>) -> Self {
        let previous = verifier.seed().to_owned();
        Self { verifier, previous, chunk: sha256() }
    }

    fn seal(&mut self, given: &Signature) -> Result<(), BodyError> {
        let hash = hex::encode(self.chunk.finalize_reset());
        let expected = self.verifier.chunk(&self.previous, &hash);
        self.previous = check(expected, given)?;
        Ok(())
    }

    fn seal_trailer(&mut self, sha256_hex: &str, given: &Signature) -> Result<(), BodyError> {
        let expected = self.verifier.trailer(&self.previous, sha256_hex);
        self.previous = check(expected, given)?;
        Ok(())
    }
}

/// Compares without telling by the time taken how many digits agree.
fn check(expected: String, given: &Signature) -> Result<String, BodyError> {
    if bool::from(expected.as_bytes().ct_eq(given)) { Ok(expected) } else { Err(BodyError::ChunkSignature) }
}

/// The running digests of a body and what they must come to.
pub(super) struct Digests {
    size: u64,
    /// Absent where nobody asks for it.
    md5: Option<Md5Stream>,
    /// The checksum to store; absent where another state here gives it, or nobody asks.
    checksum: Option<ChecksumHasher>,
    stored: Option<ChecksumAlgorithm>,
    sha256: Option<Sha256>,
    chain: Option<Chain>,
    expected_md5: Option<[u8; 16]>,
    expected_sha256: Option<[u8; 32]>,
    expected_checksum: Option<Checksum>,
}

/// Who wants the digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An object: MD5 and a checksum are stored with it.
    Object,
    /// A document: only what the client promised is computed.
    Document,
}

impl Digests {
    pub(super) fn new(plan: Plan, purpose: Purpose) -> Self {
        let promised = plan.trailer.or_else(|| plan.checksum.as_ref().map(|checksum| checksum.algorithm));
        let stored = match purpose {
            Purpose::Object => Some(promised.unwrap_or(plan.store)),
            Purpose::Document => promised,
        };
        let chain = match plan.encoding {
            Encoding::Plain | Encoding::ChunkedUnsigned => None,
            Encoding::ChunkedSigned(verifier) | Encoding::ChunkedSignedTrailer(verifier) => Some(Chain::new(verifier)),
        };
        let wants_md5 = purpose == Purpose::Object || plan.md5.is_some() || promised == Some(ChecksumAlgorithm::Md5);
        let checksum = stored.filter(|algorithm| match algorithm {
            ChecksumAlgorithm::Md5 => false,
            ChecksumAlgorithm::Sha256 => plan.sha256.is_none(),
            _ => true,
        });
        Self {
            size: 0,
            md5: wants_md5.then(Md5Stream::default),
            checksum: checksum.map(ChecksumHasher::new),
            stored,
            sha256: plan.sha256.map(|_| sha256()),
            chain,
            expected_md5: plan.md5,
            expected_sha256: plan.sha256,
            expected_checksum: plan.checksum,
        }
    }

    /// Whether slices leave only after they were hashed and their chunk's signature held.
    pub(super) fn gated(&self) -> bool {
        self.chain.is_some()
    }

    /// Whether a hash other than the MD5 takes long: all but those that the processor has fast instructions for.
    pub(super) fn slow(&self) -> bool {
        use ChecksumAlgorithm::{Sha1, Sha256, Sha512};
        self.gated() || self.sha256.is_some() || matches!(self.stored, Some(Sha1 | Sha256 | Sha512))
    }

    /// The MD5, where it is wanted. It takes its bytes apart from the rest: together with other uploads'.
    pub(super) fn md5(&mut self) -> Option<&mut Md5Stream> {
        self.md5.as_mut()
    }

    /// Takes one step, but for the MD5.
    pub(super) fn apply(&mut self, op: &Op) -> Result<(), BodyError> {
        match op {
            Op::Data { bytes, .. } => {
                self.update(bytes);
                Ok(())
            }
            Op::Seal(signature) => self.chain.as_mut().map_or(Ok(()), |chain| chain.seal(signature)),
            Op::SealTrailer { sha256_hex, signature } => {
                self.chain.as_mut().map_or(Ok(()), |chain| chain.seal_trailer(sha256_hex, signature))
            }
            Op::Expect(checksum) => match self.expected_checksum.replace(checksum.clone()) {
                Some(other) if other != *checksum => Err(BodyError::ChecksumMismatch(checksum.algorithm)),
                _ => Ok(()),
            },
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if let Some(chain) = &mut self.chain {
            chain.chunk.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    /// The verdict at the end of a body whose length and framing held.
    ///
    /// # Errors
    /// The first promise broken, those of the signature before those of integrity.
    pub(super) fn verdict(self) -> Result<Option<BodyDigests>, BodyError> {
        let sha256: Option<[u8; 32]> = self.sha256.map(|state| state.finalize().into());
        if let (Some(expected), Some(calculated)) = (self.expected_sha256, sha256)
            && expected != calculated
        {
            let (expected, calculated) = (hex::encode(expected), hex::encode(calculated));
            return Err(BodyError::Sha256Mismatch { expected, calculated });
        }
        let md5: Option<[u8; 16]> = self.md5.map(Md5Stream::finalize);
        if let (Some(expected), Some(calculated)) = (self.expected_md5, md5)
            && expected != calculated
        {
            let (expected, calculated) = (STANDARD.encode(expected), STANDARD.encode(calculated));
            return Err(BodyError::BadDigest { expected, calculated });
        }
        let checksum = match (self.checksum, self.stored) {
            (Some(hasher), _) => Some(hasher.finalize()),
            (None, Some(algorithm @ ChecksumAlgorithm::Md5)) => {
                md5.map(|value| Checksum { algorithm, value: value.to_vec() })
            }
            (None, Some(algorithm)) => sha256.map(|value| Checksum { algorithm, value: value.to_vec() }),
            (None, None) => None,
        };
        if let Some(expected) = self.expected_checksum
            && checksum.as_ref() != Some(&expected)
        {
            return Err(BodyError::ChecksumMismatch(expected.algorithm));
        }
        let size = self.size;
        Ok(md5.zip(checksum).map(|(md5, checksum)| BodyDigests { size, md5, checksum }))
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests").field("size", &self.size).field("stored", &self.stored).finish_non_exhaustive()
    }
}
