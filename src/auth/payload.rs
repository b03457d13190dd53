//! What `x-amz-content-sha256` promises about the body.

use http::HeaderMap;

use super::{AuthError, ChunkSigner};

/// What the body must prove while it is read.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Nothing: `UNSIGNED-PAYLOAD`, V2, and presigned URLs that do not say otherwise.
    Unsigned,
    /// That its SHA-256 is this one.
    Sha256([u8; 32]),
    /// It comes in chunks without signatures, followed by a trailer (`STREAMING-UNSIGNED-PAYLOAD-TRAILER`).
    StreamingUnsignedTrailer,
    /// It comes in chunks, each signed (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD[-TRAILER]`).
    StreamingSigned {
        /// Computes what the signatures must be.
        signer: ChunkSigner,
        /// Whether a signed trailer follows.
        trailer: bool,
    },
}

/// The values of `x-amz-content-sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Unsigned,
    Sha256([u8; 32]),
    UnsignedTrailer,
    Signed { trailer: bool },
    SignedV4a,
}

/// The value that stands for "not signed", and the canonical request's last line of most presigned URLs.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

impl Declared {
    pub(super) fn parse(text: &str) -> Result<Self, AuthError> {
        match text {
            UNSIGNED => Ok(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedTrailer),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::Signed { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::Signed { trailer: true }),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Ok(Self::SignedV4a)
            }
            _ => {
                let mut digest = [0; 32];
                hex::decode_to_slice(text, &mut digest)
                    .map_err(|_| AuthError::InvalidContentSha256(text.to_owned()))?;
                Ok(Self::Sha256(digest))
            }
        }
    }

    /// What the body must prove, where `signer` starts from a verified V4 signature.
    pub(super) fn into_payload(self, signer: impl FnOnce() -> ChunkSigner) -> Result<Payload, AuthError> {
        match self {
            Self::Unsigned => Ok(Payload::Unsigned),
            Self::Sha256(digest) => Ok(Payload::Sha256(digest)),
            Self::UnsignedTrailer => Ok(Payload::StreamingUnsignedTrailer),
            Self::Signed { trailer } => Ok(Payload::StreamingSigned { signer: signer(), trailer }),
            Self::SignedV4a => Err(AuthError::SigV4aNotOffered),
        }
    }
}

/// The one `x-amz-content-sha256` header.
pub(super) fn header(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all("x-amz-content-sha256").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(AuthError::InvalidContentSha256(String::from_utf8_lossy(value.as_bytes()).into_owned())),
        },
        (Some(_), Some(_)) => Err(AuthError::InvalidContentSha256("(several values)".to_owned())),
    }
}

/// What the body of an anonymous or V2 request must prove: there is no key to sign chunks with.
pub(super) fn without_signing_key(headers: &HeaderMap) -> Result<Payload, AuthError> {
    match header(headers)?.map(Declared::parse).transpose()? {
        None | Some(Declared::Unsigned) => Ok(Payload::Unsigned),
        Some(Declared::Sha256(digest)) => Ok(Payload::Sha256(digest)),
        Some(Declared::UnsignedTrailer) => Ok(Payload::StreamingUnsignedTrailer),
        Some(Declared::Signed { .. } | Declared::SignedV4a) => Err(AuthError::SignedPayloadWithoutKey),
    }
}
