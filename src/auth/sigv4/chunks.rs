//! Signatures of the chunks of an `aws-chunked` body.

use std::sync::Arc;

use super::key::SigningKey;

/// Computes the signatures that the chunks of one body must carry, each built on the one before.
///
/// The seed is the verified signature of the request. `Debug` shows no key. Compare in constant time:
/// [`ChunkSigner::matches`].
#[derive(Clone, Debug)]
pub struct ChunkSigner {
    key: SigningKey,
    /// `{date}\n{scope}\n`.
    context: Arc<str>,
    seed: Arc<str>,
}

/// SHA-256 of nothing, between newlines: the line that chunks reserve for headers.
const NO_HEADERS: &[u8] = b"\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

impl ChunkSigner {
    pub(super) fn new(key: SigningKey, date: &str, scope: &str, seed: &str) -> Self {
        Self { key, context: Arc::from([date, "\n", scope, "\n"].concat()), seed: Arc::from(seed) }
    }

    /// The signature of the request, on which the first chunk builds; 64 lower-case hexadecimal digits.
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The signature of a chunk whose data has the digest `chunk_sha256_hex` (lower case), after the chunk or seed
    /// signed `previous`; lower-case hexadecimal digits.
    pub fn chunk(&self, previous: &str, chunk_sha256_hex: &str) -> String {
        self.sign(&[
            b"AWS4-HMAC-SHA256-PAYLOAD\n",
            self.context.as_bytes(),
            previous.as_bytes(),
            NO_HEADERS,
            chunk_sha256_hex.as_bytes(),
        ])
    }

    /// The signature of the trailer whose canonical text has the digest `trailer_sha256_hex` (lower case), after the
    /// zero chunk signed `previous`; lower-case hexadecimal digits.
    pub fn trailer(&self, previous: &str, trailer_sha256_hex: &str) -> String {
        self.sign(&[
            b"AWS4-HMAC-SHA256-TRAILER\n",
            self.context.as_bytes(),
            previous.as_bytes(),
            b"\n",
            trailer_sha256_hex.as_bytes(),
        ])
    }

    /// Whether two signatures are the same, in time that does not tell where they differ.
    pub fn matches(expected: &str, provided: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), provided.as_bytes()).into()
    }

    fn sign(&self, parts: &[&[u8]]) -> String {
        self.key.sign(parts).map(char::from).iter().collect()
    }
}
