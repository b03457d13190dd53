//! Every document that a request may carry. The first letter of an input says which one.

use std::fmt::Debug;

use bytes::Bytes;

use super::{Everybody, TAGS, refused, split, taken};
use crate::{
    s3::{
        error::S3Result,
        grants,
        ops::{buckets, cors, delete_objects, lifecycle, multipart, versioning, website},
        tags,
        xml::{Element, XmlWriter, read},
    },
    types::AccountId,
};

/// The owner in lists of grants.
const OWNER: &str = "owner";

/// A document and what must hold of it.
type Kind = (u8, fn(&[u8]));

const KINDS: &[Kind] = &[
    (b'a', acl),
    (b'b', |document| drop(taken(buckets::location_constraint(document)))),
    (b'c', |document| round(document, cors::parse, |rules| cors::write(rules))),
    (b'd', delete),
    (b'l', |document| {
        round(
            document,
            |root| lifecycle::document::parse(root, &|name| name == "cold"),
            |rules| lifecycle::document::write(rules),
        );
    }),
    (b'm', parts),
    (b't', |document| {
        round(document, |root| tags::parse_document(root, TAGS, "Object"), |tags| tags::document(tags));
    }),
    (b'v', |document| {
        taken(versioning::parse_state(document));
    }),
    (b'w', |document| round(document, website::parse, website::write)),
    (b'x', tree),
];

/// A document of any kind.
pub(crate) fn documents(data: &[u8]) {
    let Some((letter, document)) = split(data) else { return };
    if let Some((_, check)) = KINDS.iter().find(|(known, _)| *known == letter) {
        check(document);
    }
}

/// What is read is written so that it reads back the same.
fn round<T: PartialEq + Debug>(
    document: &[u8],
    parse: impl Fn(&Element<'_>) -> S3Result<T>,
    write: impl Fn(&T) -> Bytes,
) {
    let root = match read::read(document) {
        Ok(root) => root,
        Err(e) => return refused(&e.into()),
    };
    let Some(value) = taken(parse(&root)) else { return };
    let written = write(&value);
    let again = parse(&read::read(&written).expect("what is written is XML")).expect("what is written is taken");
    assert_eq!(again, value, "{}", String::from_utf8_lossy(&written));
    assert_eq!(write(&again), written);
}

/// Groups are written first, so the order of grants may change once and no more.
fn acl(document: &[u8]) {
    let owner = AccountId::new(OWNER);
    let Some(list) = taken(grants::read(document, &owner, &Everybody)) else { return };
    assert!(list.grants.len() <= grants::MAX_GRANTS);
    let written = grants::write(&owner, "name", &list, &Everybody);
    let again = grants::read(&written, &owner, &Everybody).expect("what is written is taken");
    assert_eq!(grants::write(&owner, "name", &again, &Everybody), written);
    assert_eq!(again.grants.len(), list.grants.len());
    assert!(list.grants.iter().all(|grant| again.grants.contains(grant)), "{list:?} {again:?}");
}

/// Keys and versions to be deleted are those that the document names, whatever characters they have.
fn delete(document: &[u8]) {
    let Some((entries, quiet)) = taken(delete_objects::parse(document)) else { return };
    assert!((1..=1000).contains(&entries.len()));
    let mut xml = XmlWriter::document("Delete", 256);
    xml.value("Quiet", quiet);
    for entry in &entries {
        xml.open("Object").text("Key", &entry.key).optional("VersionId", entry.version.as_deref()).close();
    }
    let (again, quiet_again) = delete_objects::parse(&xml.finish()).expect("what is written is taken");
    assert_eq!((again.len(), quiet_again), (entries.len(), quiet));
    for (one, other) in again.iter().zip(&entries) {
        assert_eq!((&one.key, &one.version), (&other.key, &other.version));
    }
}

/// Parts of an upload ascend, and their tags and checksums are those that the document names.
fn parts(document: &[u8]) {
    let Some(parts) = taken(multipart::complete::parse_parts(document)) else { return };
    assert!((1..=10_000).contains(&parts.len()));
    assert!(parts.iter().zip(parts.iter().skip(1)).all(|(one, next)| one.number < next.number));
    let mut xml = XmlWriter::document("CompleteMultipartUpload", 256);
    for part in &parts {
        xml.open("Part").value("PartNumber", part.number).quoted("ETag", part.etag.as_str());
        if let Some(checksum) = &part.checksum {
            xml.text(checksum.algorithm.xml_element(), &checksum.to_base64());
        }
        xml.close();
    }
    let again = multipart::complete::parse_parts(&xml.finish()).expect("what is written is taken");
    for (one, other) in again.iter().zip(&parts) {
        assert_eq!((one.number, &one.checksum), (other.number, &other.checksum));
    }
}

/// Any tree, spelled in the plainest way, is the same tree.
fn tree(document: &[u8]) {
    let root = match read::read(document) {
        Ok(root) => root,
        Err(e) => return refused(&e.into()),
    };
    let mut spelled = String::new();
    if spell(&root, &mut spelled, 1) {
        assert_eq!(read::read(spelled.as_bytes()).as_ref(), Ok(&root), "{spelled}");
    }
}

/// Whether all names are plain ones; namespaces are no part of a tree.
fn spell(element: &Element<'_>, out: &mut String, depth: usize) -> bool {
    assert!(depth <= 32, "too deep");
    let name = element.name();
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let escape = |text: &str| -> String { text.chars().map(|char| format!("&#{};", u32::from(char))).collect() };
    out.push_str(&format!("<{name}"));
    for (key, value) in element.attributes() {
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) || key == "xmlns" {
            return false;
        }
        out.push_str(&format!(" {key}=\"{}\"", escape(value)));
    }
    out.push_str(&format!(">{}", escape(element.text())));
    let plain = element.children().iter().all(|child| spell(child, out, depth + 1));
    out.push_str(&format!("</{name}>"));
    plain
}
