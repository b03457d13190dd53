//! Fuzz targets of the protocol: documents, tags, forms, and the small languages of headers and parameters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target panics where a rule is broken")]

mod documents;
mod values;

pub(crate) use documents::documents;
pub(crate) use values::values;

use std::sync::Arc;

use super::{
    codes::S3Code,
    context::Directory,
    error::{S3Error, S3Result},
    ops::post_object,
    tags::{self, TagLimit},
    xml::{read, write::url_encode},
};
use crate::{
    telemetry::RequestId,
    types::{AccountId, Dialect},
};

/// Most tags in these tests.
const MOST_TAGS: usize = 10;
/// The same as a rule.
const TAGS: TagLimit = TagLimit::new(MOST_TAGS, Dialect::Aws);

/// An input's first byte, which says what it is, and the rest.
fn split(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

/// A refusal blames the client, by a code that S3 knows, in a document that every parser reads.
pub(super) fn refused(error: &S3Error) {
    let code = error.code;
    assert!(code.status().is_client_error() || code == S3Code::NotImplemented, "{error:?}");
    assert!(!error.message().is_empty());
    // No parser takes a NUL, however it is written; a client that sends one learns the status.
    if error.message().contains('\0') || error.fields().any(|(_, value)| value.contains('\0')) {
        return;
    }
    let document = error.document("/bucket/key", &RequestId(Arc::from("1")));
    let root = read::read(&document).expect("an error's document is XML");
    assert_eq!((root.name(), root.required_text("Code")), ("Error", Ok(code.name())));
    for (name, value) in error.fields() {
        // Values from requests come back as they were sent.
        assert!(root.children_named(name).any(|element| element.text() == value), "{name}: {value:?}");
    }
}

/// What was read, if it was not refused.
fn taken<T>(result: S3Result<T>) -> Option<T> {
    result.inspect_err(refused).ok()
}

/// Accounts as a document may name them: all whose id is not too long.
#[derive(Debug)]
struct Everybody;

impl Directory for Everybody {
    fn display_name(&self, account: &AccountId) -> Option<Arc<str>> {
        (account.as_str().len() <= 64).then(|| Arc::from("somebody"))
    }

    fn by_email(&self, email: &str) -> Option<AccountId> {
        email.contains('@').then(|| AccountId::new("mailed"))
    }
}

/// Tags in a header.
pub(crate) fn tagging(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(read) = taken(tags::parse_header(text, TAGS)) else { return };
    assert!(read.len() <= MOST_TAGS);
    assert!(read.iter().zip(read.iter().skip(1)).all(|(a, b)| a.name < b.name), "sorted, none twice");
    let spelled: Vec<String> =
        read.iter().map(|tag| format!("{}={}", url_encode(&tag.name), url_encode(&tag.value))).collect();
    assert_eq!(tags::parse_header(&spelled.join("&"), TAGS).unwrap(), read);
    let document = tags::document(&read);
    let again = tags::parse_document(&read::read(&document).unwrap(), TAGS, "Object").unwrap();
    assert_eq!(again, read, "header and document say the same");
}

/// A browser's form.
pub(crate) fn form(data: &[u8]) {
    post_object::fuzzing::form(data);
}
