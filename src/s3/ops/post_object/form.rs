//! The form's fields, up to its file (RFC 7578 over RFC 2046).
//!
//! ```text
//! --boundary CRLF  headers CRLF CRLF  value CRLF  --boundary …  headers of the file CRLF CRLF  │  file …
//! └────────────────────────── read here, at most FIELDS bytes ─────────────────────────────────┘
//! ```

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use memchr::memmem;
use percent_encoding::percent_decode_str;

use super::file::FileBody;
use crate::{
    s3::{
        codes::S3Code,
        error::{S3Error, S3Result},
    },
    types::BodyError,
};

/// Most bytes before the file: fields, their headers, boundaries (S3 reference: 20 KB).
const FIELDS: usize = 20 << 10;
/// The longest boundary taken; RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 200;
/// Stands for the file's name.
const FILENAME: &str = "${filename}";

/// The fields before the file: names in lower case, no name twice but for ignored ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) fields: Vec<(String, String)>,
    /// The file's name without directories; empty where the browser gave none.
    pub(super) filename: String,
}

/// The boundary that a `Content-Type` names; `None` for anything but a form with a boundary.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters(rest).into_iter().find(|(name, _)| name == "boundary")?.1;
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// Reads a form up to its file, for at most `limit`.
///
/// # Errors
/// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceededError`, `InvalidArgument` for a repeated field or no file,
/// `RequestTimeout`, `IncompleteBody`.
pub(super) async fn read<B>(body: B, boundary: &str, limit: Duration) -> S3Result<(Form, FileBody<B>)>
where
    B: Body<Data = Bytes> + Unpin,
{
    let read = Reader::new(body, boundary).form();
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(BodyError::TimedOut.into()))
}

impl Form {
    /// Puts the file's name in the place of `${filename}`, in every field that is no credential.
    ///
    /// # Errors
    /// `MaxPostPreDataLengthExceededError` where that makes a field longer than all could be.
    pub(super) fn substitute(mut self) -> S3Result<Self> {
        for (name, value) in &mut self.fields {
            let count = value.matches(FILENAME).count();
            if count == 0 || matches!(name.as_str(), "policy" | "signature" | "x-amz-signature") {
                continue;
            }
            if value.len().saturating_add(count.saturating_mul(self.filename.len())) > FIELDS {
                return Err(too_much());
            }
            *value = value.replace(FILENAME, &self.filename);
        }
        Ok(self)
    }
}

pub(super) struct Reader<B> {
    body: B,
    /// `CRLF--boundary`.
    delimiter: Vec<u8>,
    /// Bytes that came and are not taken yet.
    buffer: BytesMut,
    /// Bytes that may still be taken.
    left: usize,
}

/// The headers of a part that count.
#[derive(Debug, Default, PartialEq, Eq)]
struct PartHead {
    name: String,
    filename: String,
}

fn malformed() -> S3Error {
    S3Code::MalformedPOSTRequest.into()
}

impl<B: Body<Data = Bytes> + Unpin> Reader<B> {
    pub(super) fn new(body: B, boundary: &str) -> Self {
        // The line end before the first boundary is not sent.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self { body, delimiter: format!("\r\n--{boundary}").into_bytes(), buffer, left: FIELDS + 2 }
    }

    pub(super) async fn form(mut self) -> S3Result<(Form, FileBody<B>)> {
        let delimiter = std::mem::take(&mut self.delimiter);
        let mut fields: Vec<(String, String)> = Vec::new();
        // What stands before the first boundary is for readers that know no multipart.
        self.take_until(&delimiter).await?;
        loop {
            if !self.another_part().await? {
                return Err(S3Error::argument("POST requires exactly one file upload per request.", "file", "0"));
            }
            let PartHead { name, filename } = self.part_head().await?;
            if name == "file" {
                let filename = filename.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
                let file = FileBody::new(self.body, self.buffer.freeze(), &delimiter);
                return Ok((Form { fields, filename }, file));
            }
            let value = self.take_until(&delimiter).await?;
            let value = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
            // Of two values one would be judged and the other used.
            if fields.iter().any(|(known, _)| *known == name) && !name.starts_with("x-ignore-") {
                return Err(S3Error::argument("A form field was specified more than once.", &name, &value));
            }
            fields.push((name, value));
        }
    }

    /// The bytes up to `mark`, which is taken, too.
    async fn take_until(&mut self, mark: &[u8]) -> S3Result<BytesMut> {
        let mut searched = 0;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(position) = memmem::find(rest, mark) {
                let length = searched.saturating_add(position);
                self.left = self.left.checked_sub(length.saturating_add(mark.len())).ok_or_else(too_much)?;
                let taken = self.buffer.split_to(length);
                self.buffer.advance(mark.len());
                return Ok(taken);
            }
            // The mark may begin at the end of what has come.
            searched = self.buffer.len().saturating_sub(mark.len().saturating_sub(1));
            if self.buffer.len() > self.left {
                return Err(too_much());
            }
            self.more().await?;
        }
    }

    /// Takes another frame in.
    async fn more(&mut self) -> S3Result<()> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    self.buffer.extend_from_slice(&bytes);
                }
                Ok(())
            }
            Some(Err(_)) => Err(BodyError::Disconnected.into()),
            None => Err(malformed()),
        }
    }

    /// Whether another part follows the delimiter just taken.
    async fn another_part(&mut self) -> S3Result<bool> {
        while self.buffer.len() < 2 {
            self.more().await?;
        }
        if self.buffer.starts_with(b"--") {
            return Ok(false);
        }
        let padding = self.take_until(b"\r\n").await?;
        if padding.iter().all(|byte| matches!(byte, b' ' | b'\t')) { Ok(true) } else { Err(malformed()) }
    }

    /// The headers of a part. A part without a name is no field.
    async fn part_head(&mut self) -> S3Result<PartHead> {
        let mut head = PartHead::default();
        loop {
            let line = self.take_until(b"\r\n").await?;
            if line.is_empty() {
                return if head.name.is_empty() { Err(malformed()) } else { Ok(head) };
            }
            let line = str::from_utf8(&line).map_err(|_| malformed())?;
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            if name.trim().eq_ignore_ascii_case("content-disposition") {
                head = disposition(value).ok_or_else(malformed)?;
            }
        }
    }
}

fn too_much() -> S3Error {
    S3Error::from(S3Code::MaxPostPreDataLengthExceededError).with("MaxPostPreDataLengthExceeded", FIELDS.to_string())
}

/// `form-data; name="…"; filename="…"`.
fn disposition(value: &str) -> Option<PartHead> {
    let (kind, rest) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut head = PartHead::default();
    for (name, value) in parameters(rest) {
        match name.as_str() {
            "name" => head.name = value.to_ascii_lowercase(),
            "filename" if head.filename.is_empty() => head.filename = value,
            // RFC 5987: `UTF-8''percent-encoded`; older clients spell other letters so.
            "filename*" => {
                let encoded = value.splitn(3, '\'').nth(2)?;
                head.filename = percent_decode_str(encoded).decode_utf8().ok()?.into_owned();
            }
            _ => {}
        }
    }
    Some(head)
}

/// The parameters of a header, names in lower case. In quotes a backslash escapes only a quote: browsers of old send
/// whole paths with bare backslashes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end().to_ascii_lowercase();
        let after = after.trim_start();
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => match after.split_once(';') {
                Some((value, rest)) => (value.trim().to_owned(), rest),
                None => (after.trim().to_owned(), ""),
            },
        };
        found.push((name, value));
    }
    found
}

/// A value behind its opening quote, and what follows the closing one.
fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        rest = after;
        if let Some(before) = before.strip_suffix('\\') {
            value.extend([before, "\""]);
        } else {
            value.push_str(before);
            return (value, rest);
        }
    }
    value.push_str(rest);
    (value, "")
}
