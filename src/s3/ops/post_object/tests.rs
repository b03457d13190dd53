//! Forms as browsers send them, however they are cut into frames.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::{
    at_least,
    file::FileBody,
    form::{self, Form},
    head_of, header_name,
};
use crate::{
    s3::{codes::S3Code, error::S3Result, head::Head},
    types::{BodyError, body},
};

const HOUR: Duration = Duration::from_hours(1);

/// A body in frames of `size` bytes.
fn framed(text: &[u8], size: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
    let frames: Vec<_> = text.chunks(size).map(|slice| Ok(Frame::data(Bytes::copy_from_slice(slice)))).collect();
    StreamBody::new(stream::iter(frames))
}

fn part(disposition: &str, value: &[u8]) -> Vec<u8> {
    let mut part = format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").into_bytes();
    part.extend_from_slice(value);
    part.extend_from_slice(b"\r\n");
    part
}

/// The fields, and what became of the file.
async fn read(text: &[u8], size: usize) -> S3Result<(Form, Result<Bytes, BodyError>)> {
    let (form, file) = form::read(framed(text, size), "XX", HOUR).await?;
    let file: FileBody<_> = file;
    Ok((form, file.collect().await.map(http_body_util::Collected::to_bytes)))
}

fn now<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn refused(text: &[u8]) -> Option<S3Code> {
    now(read(text, 7)).err().map(|e| e.code)
}

#[test]
fn fields_come_before_the_file_and_names_have_no_case() {
    let mut text = b"for old readers\r\n".to_vec();
    text.extend(part("name=\"kEy\"", b"a/${filename}"));
    text.extend(part("name=Content-Type; filename=\"x\"", "text/plain; ü".as_bytes()));
    text.extend(part("name=\"empty\"", b""));
    text.extend(part("name=\"file\"; filename=\"C:\\dir\\photo \\\"1\\\".jpg\"", b"bytes\r\n--X\r\nof the file"));
    text.extend(part("name=\"later\"", b"ignored"));
    text.extend_from_slice(b"--XX--\r\n");
    for size in [1, 2, 3, 5, 64, 10_000] {
        let (form, file) = now(read(&text, size)).unwrap();
        assert_eq!(file.unwrap(), b"bytes\r\n--X\r\nof the file"[..], "frames of {size}");
        assert_eq!(form.filename, "photo \"1\".jpg");
        let form = form.substitute().unwrap();
        let expected = [("key", "a/photo \"1\".jpg"), ("content-type", "text/plain; ü"), ("empty", "")];
        assert_eq!(form.fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

#[test]
fn a_form_that_is_none_is_malformed() {
    let file = part("name=\"file\"", b"x");
    for text in [
        b"".to_vec(),
        b"no boundary at all".to_vec(),
        b"--XX".to_vec(),
        b"--XXjunk\r\n".to_vec(),
        b"--XX\r\nno colon\r\n\r\nx".to_vec(),
        b"--XX\r\nContent-Disposition: form-data\r\n\r\nx".to_vec(),
        b"--XX\r\nContent-Type: text/plain\r\n\r\nx".to_vec(),
        part("name=\"key\"", b"\xff").into_iter().chain(file).collect(),
    ] {
        assert_eq!(refused(&text), Some(S3Code::MalformedPOSTRequest), "{}", text.escape_ascii());
    }
}

#[test]
fn a_form_has_a_file_and_no_field_twice() {
    let key = part("name=\"key\"", b"k");
    let without: Vec<u8> = [&key[..], b"--XX--\r\n"].concat();
    assert_eq!(refused(&without), Some(S3Code::InvalidArgument));
    let file = part("name=\"file\"", b"x");
    assert_eq!(refused(&[&key[..], &key, &file, b"--XX--"].concat()), Some(S3Code::InvalidArgument));
    let ignored = part("name=\"x-ignore-me\"", b"1");
    assert_eq!(refused(&[&ignored[..], &ignored, &file, b"--XX--"].concat()), None);
}

#[test]
fn fields_are_bounded_and_the_file_is_not() {
    let (large, file) = (vec![b'a'; 20 << 10], vec![b'a'; 1 << 20]);
    let with = |field: &[u8], file: &[u8]| {
        [part("name=\"key\"", field), part("name=\"file\"", file), b"--XX--".to_vec()].concat()
    };
    assert_eq!(refused(&with(&large, b"")), Some(S3Code::MaxPostPreDataLengthExceededError));
    let (_, taken) = now(read(&with(&large[..19 << 10], &file), 4096)).unwrap();
    assert_eq!(taken.unwrap().len(), file.len());
}

#[test]
fn a_name_in_place_of_filename_cannot_make_a_field_grow_without_bound() {
    let form = |value: String| Form { fields: vec![("key".to_owned(), value)], filename: "n".repeat(5000) };
    assert!(form("${filename}".to_owned()).substitute().is_ok());
    let grown = form("${filename}".repeat(5)).substitute().unwrap_err();
    assert_eq!(grown.code, S3Code::MaxPostPreDataLengthExceededError);
}

#[test]
fn a_file_without_its_closing_boundary_is_incomplete() {
    for end in ["", "\r\n--X", "\r\n--"] {
        let mut text = part("name=\"file\"", b"bytes");
        text.truncate(text.len() - 2);
        text.extend_from_slice(end.as_bytes());
        let (_, file) = now(read(&text, 3)).unwrap();
        assert_eq!(file, Err(BodyError::Disconnected), "{end:?}");
    }
}

#[test]
fn a_client_that_stops_before_its_file_is_not_waited_for() {
    let start = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"--XX\r\n")))]);
    let body = StreamBody::new(futures_util::StreamExt::chain(start, stream::pending()));
    let error = now(form::read(body, "XX", Duration::from_millis(1))).unwrap_err();
    assert_eq!(error.code, S3Code::RequestTimeout);
}

#[test]
fn the_boundary_comes_from_the_content_type() {
    let found = |text| form::boundary(text);
    assert_eq!(found("multipart/form-data; boundary=a-b"), Some("a-b".to_owned()));
    assert_eq!(found("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b".to_owned()));
    for bad in ["multipart/form-data", "multipart/mixed; boundary=a", "multipart/form-data; boundary=", "text/plain"] {
        assert_eq!(found(bad), None, "{bad}");
    }
    assert_eq!(found(&format!("multipart/form-data; boundary={}", "a".repeat(201))), None);
}

#[test]
fn fields_become_the_headers_of_a_put_and_credentials_do_not() {
    assert_eq!(header_name("acl"), Some("x-amz-acl"));
    assert_eq!(header_name("x-amz-meta-a"), Some("x-amz-meta-a"));
    for not in ["x-amz-signature", "x-amz-credential", "policy", "key", "x-amz-trailer", "x-amz-copy-source", "host"] {
        assert_eq!(header_name(not), None, "{not}");
    }
    let request = Head::new(http::Method::POST, http::HeaderMap::new(), "").unwrap();
    let head = |name: &str, value: &str| {
        let fields = vec![(name.to_owned(), value.to_owned())];
        head_of(&Form { fields, filename: String::new() }, &request).map_err(|e| e.code)
    };
    assert_eq!(head("x-amz-meta-a", "ü").unwrap().raw_header("x-amz-meta-a").as_deref(), Some("ü"));
    assert_eq!(head("x-amz-meta-a", "a\nb").unwrap_err(), S3Code::InvalidArgument);
    assert_eq!(head("x-amz-meta-ü", "a").unwrap_err(), S3Code::InvalidArgument);
}

#[test]
fn a_file_shorter_than_the_policy_demands_ends_in_an_error() {
    let taken = |least| now(body::collect(at_least(body::once(Bytes::from_static(b"abc")), least), 100));
    assert_eq!(taken(3), Ok(Bytes::from_static(b"abc")));
    assert_eq!(taken(4), Err(BodyError::TooSmall { least: 4, got: 3 }));
}

/// Bytes with many beginnings of a boundary.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n-".to_vec()),
        Just(b"\r\n--".to_vec()),
        Just(b"\r\n--X".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_file_is_the_same_however_it_is_cut(file in tricky(), size in 1_usize..60) {
        let whole = [&file[..], b"\r\n--XX"].concat();
        let end = whole.windows(6).position(|window| window == b"\r\n--XX").unwrap();
        let text = [part("name=\"key\"", b"k"), part("name=\"file\"", &file), b"--XX--".to_vec()].concat();
        let (_, taken) = now(read(&text, size)).unwrap();
        prop_assert_eq!(&taken.unwrap()[..], &whole[..end]);
    }
}
