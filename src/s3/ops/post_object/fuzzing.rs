//! The fuzz target of browsers' forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target panics where a rule is broken")]

use std::{collections::HashSet, convert::Infallible, pin::Pin, task};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use memchr::memmem;

use super::{Head, HeaderMap, Method, file::FileBody, form, form::Form, head_of};
use crate::s3::{codes::S3Code, error::S3Result, fuzzing::refused};

/// A body in pieces of one size.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    size: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.size.min(self.rest.len());
        let piece = self.rest.split_to(size);
        task::Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}

/// What was read: the form, the file, and whether the file ended as it must.
type Read = (Form, Vec<u8>, bool);

fn read(body: &Bytes, boundary: &str, size: usize) -> S3Result<Read> {
    let pieces = Pieces { rest: body.clone(), size };
    let (form, file) = form::Reader::new(pieces, boundary).form().now_or_never().expect("all is there")?;
    let (file, whole) = content(file);
    Ok((form, file, whole))
}

fn content(mut file: FileBody<Pieces>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match file.frame().now_or_never().expect("all is there") {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(_)) => return (bytes, false),
            None => return (bytes, true),
        }
    }
}

/// The size of the pieces, a line with the content type, and a body.
pub(in crate::s3) fn form(data: &[u8]) {
    let Some((size, rest)) = data.split_first() else { return };
    let Some(line) = memchr::memchr(b'\n', rest) else { return };
    let (kind, body) = rest.split_at(line);
    let Some(boundary) = str::from_utf8(kind).ok().and_then(form::boundary) else { return };
    assert!((1..=200).contains(&boundary.len()));
    let body = Bytes::copy_from_slice(body.strip_prefix(b"\n").unwrap());
    let whole = read(&body, &boundary, usize::MAX);
    let pieces = read(&body, &boundary, usize::from(*size).max(1));
    let (form, file, ended) = match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole, pieces, "pieces are the same form");
            whole
        }
        (Err(whole), Err(pieces)) => {
            refused(&whole);
            return assert_eq!(whole.code, pieces.code, "pieces are refused alike");
        }
        (whole, pieces) => panic!("at once {whole:?}, in pieces {pieces:?}"),
    };
    check_file(&body, &boundary, &file, ended);
    check_fields(form);
}

/// The file is what stands before a boundary, and none is in it.
fn check_file(body: &Bytes, boundary: &str, file: &[u8], ended: bool) {
    let delimiter = format!("\r\n--{boundary}");
    assert!(memmem::find(file, delimiter.as_bytes()).is_none());
    let mut behind = file.to_vec();
    if ended {
        behind.extend_from_slice(delimiter.as_bytes());
    }
    assert!(memmem::find(body, &behind).is_some());
}

fn check_fields(form: Form) {
    let bytes: usize = form.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 20 << 10, "{bytes} bytes of fields");
    let mut names = HashSet::new();
    for (name, _) in &form.fields {
        assert!(name.starts_with("x-ignore-") || names.insert(name.clone()), "{name} stands twice");
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.is_empty() && name != "file");
    }
    assert!(!form.filename.contains(['/', '\\']), "{}", form.filename);
    let form = match form.substitute() {
        Ok(form) => form,
        Err(e) => return assert_eq!(e.code, S3Code::MaxPostPreDataLengthExceededError),
    };
    let request = Head::new(Method::POST, HeaderMap::new(), "").unwrap();
    if let Ok(head) = head_of(&form, &request).inspect_err(refused) {
        assert!(head.headers.get("x-amz-copy-source").is_none() && head.headers.get("content-length").is_none());
    }
}
