//! aws-chunked framing, read without copying the payload.
//!
//! ```text
//! unsigned   size CRLF data CRLF … 0 CRLF                                   [name:value CRLF] CRLF
//! signed     size;chunk-signature=hex CRLF data CRLF … 0;chunk-signature=hex CRLF             CRLF
//! with trailer                                                … [name:value CRLF x-amz-trailer-signature:hex CRLF] CRLF
//! ```
//!
//! Chunk headers are read strictly. After the zero chunk only the ends of lines are read leniently: clients end the
//! trailer with `\n`, `\r\n`, `\n\r\n`, or not at all. The rules are those of the S3 reference, "Signature
//! calculations: transferring payload in multiple chunks"; the codes are its error list's.

use bytes::Bytes;

use super::{
    HELD_CHUNK, LEAST_CHUNK,
    digests::{Op, Signature},
    pool::INLINE,
};
use crate::types::{BodyError, Checksum, ChecksumAlgorithm, digest::sha256_hex};

/// A chunk header has at most 16 digits, `;chunk-signature=` and 64 digits.
const LONGEST_HEADER: usize = 128;
/// One checksum (at most 88 digits of base64) and one signature, with their names.
const LONGEST_TRAILER: usize = 1024;
/// A chunk size has at most this many digits.
const SIZE_DIGITS: usize = 16;

/// Which of the forms above is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Unsigned,
    Signed,
    SignedTrailer,
}

#[derive(Debug)]
enum State {
    /// In a chunk's header line.
    Header,
    /// In a chunk's data.
    Data(Chunk),
    /// Between a chunk's data and its CRLF.
    DataEnd,
    /// Behind the zero chunk's header line.
    Trailer,
}

#[derive(Debug)]
struct Chunk {
    left: u64,
    held: bool,
    signature: Option<Signature>,
}

/// Turns the bytes of a body into operations on its digests, and checks the framing and the length.
#[derive(Debug)]
pub(super) struct Framing {
    form: Form,
    state: State,
    /// The part of a line that came with earlier frames.
    line: Vec<u8>,
    /// Payload bytes so far; of chunks, as their headers say.
    got: u64,
    expected: Option<u64>,
    max_size: u64,
    trailer: Option<ChecksumAlgorithm>,
    /// Number and size of the last chunk.
    last: (u64, u64),
}

impl Framing {
    pub(super) fn new(form: Form, expected: Option<u64>, max_size: u64, trailer: Option<ChecksumAlgorithm>) -> Self {
        let state = State::Header;
        Self { form, state, line: Vec::new(), got: 0, expected, max_size, trailer, last: (0, 0) }
    }

    /// Refuses a body by what it announces.
    pub(super) fn announced(&self) -> Result<(), BodyError> {
        match self.expected {
            Some(expected) if expected > self.max_size => Err(BodyError::TooLarge { limit: self.max_size }),
            _ => Ok(()),
        }
    }

    /// Whether the payload is known to be worth no hop to another thread.
    pub(super) fn is_small(&self) -> bool {
        self.expected.is_some_and(|expected| expected <= INLINE as u64)
    }

    /// Takes a slice of the body.
    pub(super) fn push(&mut self, mut bytes: Bytes, ops: &mut Vec<Op>) -> Result<(), BodyError> {
        if self.form == Form::Plain {
            return self.push_plain(bytes, ops);
        }
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    if let Some(line) = self.take_line(&mut bytes)? {
                        self.header(&line, ops)?;
                    }
                }
                State::Data(chunk) => {
                    let most = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(bytes.len());
                    chunk.left -= most as u64;
                    ops.push(Op::Data { bytes: bytes.split_to(most), held: chunk.held });
                    if chunk.left == 0 {
                        ops.extend(chunk.signature.take().map(Op::Seal));
                        self.state = State::DataEnd;
                    }
                }
                State::DataEnd => match self.take_line(&mut bytes)? {
                    Some(line) if line.is_empty() => self.state = State::Header,
                    Some(_) => return Err(BodyError::MalformedChunk("no line end behind the data")),
                    None => {}
                },
                State::Trailer => {
                    if self.line.len().saturating_add(bytes.len()) > LONGEST_TRAILER {
                        return Err(BodyError::MalformedTrailer);
                    }
                    self.line.extend_from_slice(&bytes);
                    bytes.clear();
                }
            }
        }
        Ok(())
    }

    fn push_plain(&mut self, bytes: Bytes, ops: &mut Vec<Op>) -> Result<(), BodyError> {
        self.got = self.got.saturating_add(bytes.len() as u64);
        let limit = self.expected.unwrap_or(u64::MAX).min(self.max_size);
        if self.got > limit {
            return Err(BodyError::TooLarge { limit });
        }
        ops.push(Op::Data { bytes, held: false });
        Ok(())
    }

    /// Takes a line ended by CRLF, without its end; `None` if the line goes on in the next frame.
    fn take_line(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, BodyError> {
        let room = LONGEST_HEADER.saturating_sub(self.line.len());
        let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
        let Some(end) = end else {
            if bytes.len() >= room {
                return Err(BodyError::MalformedChunk("a chunk header is too long"));
            }
            self.line.extend_from_slice(bytes);
            bytes.clear();
            return Ok(None);
        };
        let tail = bytes.split_to(end + 1);
        let line = if self.line.is_empty() {
            tail
        } else {
            self.line.extend_from_slice(&tail);
            Bytes::from(std::mem::take(&mut self.line))
        };
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(Some(line.slice_ref(text))),
            None => Err(BodyError::MalformedChunk("a line does not end in CRLF")),
        }
    }

    fn header(&mut self, line: &[u8], ops: &mut Vec<Op>) -> Result<(), BodyError> {
        let (size, signature) = self.parse_header(line)?;
        if size == 0 {
            ops.extend(signature.map(Op::Seal));
            self.state = State::Trailer;
            return match self.expected {
                Some(expected) if expected != self.got => Err(BodyError::Incomplete { expected, got: self.got }),
                _ => Ok(()),
            };
        }
        let (number, last_size) = self.last;
        if number > 0 && last_size < LEAST_CHUNK {
            return Err(BodyError::InvalidChunkSize { chunk: number, size: last_size });
        }
        self.last = (number + 1, size);
        self.got = self.got.saturating_add(size);
        if let Some(expected) = self.expected.filter(|expected| self.got > *expected) {
            return Err(BodyError::Incomplete { expected, got: self.got });
        }
        if self.got > self.max_size {
            return Err(BodyError::TooLarge { limit: self.max_size });
        }
        let held = signature.is_some() && size <= HELD_CHUNK;
        self.state = State::Data(Chunk { left: size, held, signature });
        Ok(())
    }

    fn parse_header(&self, line: &[u8]) -> Result<(u64, Option<Signature>), BodyError> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at_checked(digits).unwrap_or((line, &[]));
        if digits == 0 || digits > SIZE_DIGITS {
            return Err(BodyError::MalformedChunk("a chunk size is no number"));
        }
        let size = size.iter().fold(0_u64, |size, digit| (size << 4) | u64::from(hex_value(*digit)));
        if self.form == Form::Unsigned {
            return match rest {
                [] => Ok((size, None)),
                _ => Err(BodyError::MalformedChunk("more than a size in a chunk header")),
            };
        }
        let signature = rest.strip_prefix(b";chunk-signature=").and_then(signature);
        signature
            .map(|signature| (size, Some(signature)))
            .ok_or(BodyError::MalformedChunk("no signature in a chunk header"))
    }

    /// Takes the end of the body.
    pub(super) fn finish(&mut self, ops: &mut Vec<Op>) -> Result<(), BodyError> {
        let missing = match &self.state {
            State::Trailer => return self.finish_trailer(ops),
            State::Data(chunk) => chunk.left,
            State::Header | State::DataEnd => 0,
        };
        let expected = self.expected.unwrap_or(self.got);
        if self.form != Form::Plain || expected != self.got {
            return Err(BodyError::Incomplete { expected, got: self.got.saturating_sub(missing) });
        }
        // This form has no place for a trailer, so what was announced cannot have come.
        self.trailer.map_or(Ok(()), |_| Err(BodyError::MalformedTrailer))
    }

    fn finish_trailer(&mut self, ops: &mut Vec<Op>) -> Result<(), BodyError> {
        let text = std::mem::take(&mut self.line);
        if self.form == Form::Signed && self.trailer.is_some() {
            return Err(BodyError::MalformedTrailer);
        }
        if text.is_empty() && self.trailer.is_some() {
            return Err(BodyError::MalformedChunk("the body ends before its trailer"));
        }
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut lines = lines.filter(|line| !line.is_empty());
        let checksum = self.trailer.map(|algorithm| announced(algorithm, lines.next())).transpose()?;
        if self.form == Form::SignedTrailer {
            // Where nothing is announced there is nothing to sign, but a client may sign the nothing.
            match (lines.next(), &checksum) {
                (Some(line), _) => ops.push(trailer_signature(line, checksum.as_ref())?),
                (None, Some(_)) => return Err(BodyError::MalformedChunk("the trailer has no signature")),
                (None, None) => {}
            }
        }
        ops.extend(checksum.map(Op::Expect));
        lines.next().map_or(Ok(()), |_| Err(BodyError::MalformedTrailer))
    }
}

/// Reads the line of the announced checksum.
fn announced(algorithm: ChecksumAlgorithm, line: Option<&[u8]>) -> Result<Checksum, BodyError> {
    let line = line.and_then(|line| str::from_utf8(line).ok()).ok_or(BodyError::MalformedTrailer)?;
    let (name, value) = line.split_once(':').ok_or(BodyError::MalformedTrailer)?;
    if !name.eq_ignore_ascii_case(algorithm.header()) {
        return Err(BodyError::MalformedTrailer);
    }
    if value.contains('\r') {
        return Err(BodyError::MalformedChunk("a broken line end in the trailer"));
    }
    Checksum::parse(algorithm, value).map_err(|_| BodyError::InvalidChecksumValue(algorithm.header().to_owned()))
}

/// Reads the line of the trailer's signature; what it signs is the checksum's line, ended by one LF.
fn trailer_signature(line: &[u8], checksum: Option<&Checksum>) -> Result<Op, BodyError> {
    let Some(value) = line.strip_prefix(b"x-amz-trailer-signature:") else {
        // Not announced, so it should not be there; announced, so its signature should be.
        return Err(match checksum {
            None => BodyError::MalformedTrailer,
            Some(_) => BodyError::MalformedChunk("the trailer has no signature"),
        });
    };
    let signature = signature(value).ok_or(BodyError::MalformedChunk("the trailer's signature is malformed"))?;
    let lines = checksum.map(|checksum| format!("{}:{}\n", checksum.algorithm.header(), checksum.to_base64()));
    Ok(Op::SealTrailer { sha256_hex: sha256_hex(lines.unwrap_or_default().as_bytes()), signature })
}

fn signature(digits: &[u8]) -> Option<Signature> {
    let signature = Signature::try_from(digits).ok()?;
    signature.iter().all(u8::is_ascii_hexdigit).then_some(signature)
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        // A letter's low bits count from 1 in both cases.
        _ => (digit & 7) + 9,
    }
}
