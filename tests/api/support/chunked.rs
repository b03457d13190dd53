//! aws-chunked bodies, as the S3 reference draws them.

use cloudserver::types::{Checksum, ChecksumAlgorithm};

use super::sign::ChunkSigner;

/// How a body is wrapped.
#[derive(Clone, Debug)]
pub(crate) struct Wrap {
    /// Whether each chunk is signed.
    pub(crate) signed: bool,
    /// Bytes of a chunk.
    pub(crate) chunk: usize,
    /// The trailer's name and value.
    pub(crate) trailer: Option<(String, String)>,
}

impl Wrap {
    pub(crate) fn signed() -> Self {
        Self { signed: true, chunk: 8192, trailer: None }
    }

    pub(crate) fn unsigned() -> Self {
        Self { signed: false, chunk: 8192, trailer: None }
    }

    /// With a trailer that tells the truth about `data`.
    pub(crate) fn trailing(self, algorithm: ChecksumAlgorithm, data: &[u8]) -> Self {
        let value = Checksum::of(algorithm, data).to_base64();
        self.saying(algorithm.header(), &value)
    }

    /// With this trailer.
    pub(crate) fn saying(mut self, name: &str, value: &str) -> Self {
        self.trailer = Some((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of `x-amz-content-sha256`.
    pub(crate) fn name(&self) -> &'static str {
        match (self.signed, &self.trailer) {
            (false, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            (true, None) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (true, Some(_)) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        }
    }

    /// The body.
    pub(crate) fn encode(&self, data: &[u8], mut signer: Option<ChunkSigner>) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in data.chunks(self.chunk).chain([&[][..]]) {
            out.extend(self.header(chunk, signer.as_mut()));
            if !chunk.is_empty() {
                out.extend(chunk);
                out.extend(b"\r\n");
            }
        }
        if let Some((name, value)) = &self.trailer {
            out.extend(format!("{name}:{value}\r\n").into_bytes());
            if let Some(signer) = signer.as_mut().filter(|_| self.signed) {
                let signature = signer.trailer(&format!("{name}:{value}\n"));
                out.extend(format!("x-amz-trailer-signature:{signature}\r\n").into_bytes());
            }
        }
        out.extend(b"\r\n");
        out
    }

    /// A chunk's line.
    pub(crate) fn header(&self, chunk: &[u8], signer: Option<&mut ChunkSigner>) -> Vec<u8> {
        match signer.filter(|_| self.signed) {
            Some(signer) => format!("{:x};chunk-signature={}\r\n", chunk.len(), signer.chunk(chunk)).into_bytes(),
            None => format!("{:x}\r\n", chunk.len()).into_bytes(),
        }
    }
}
