//! Every document that a request may carry. The first letter of an input says which one.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
};

use bytes::Bytes;

use super::{Everybody, TAGS, refused, split, taken};
use crate::{
    s3::{
        error::S3Result,
        grants,
        ops::{
            abac, accelerate, buckets, cors, delete_objects, encryption,
            identified::{self, Analytics, Inventory, Kind, Metrics, Tiering},
            lifecycle, logging, multipart, notification,
            object_lock::{configuration, legal_hold, retention},
            ownership, public_access, quota, replication, request_payment, restore, versioning, website,
        },
        shape, tags,
        xml::{Element, XmlWriter, read},
    },
    types::{AccountId, Dialect},
};

/// The owner in lists of grants.
const OWNER: &str = "owner";

/// A document and what must hold of it.
type Row = (u8, fn(&[u8]));

const KINDS: &[Row] = &[
    (b'A', identified::<Analytics>),
    (b'I', identified::<Inventory>),
    (b'M', identified::<Metrics>),
    (b'T', identified::<Tiering>),
    (b'a', acl),
    (b'b', |document| drop(taken(buckets::configuration(document, Dialect::Aws)))),
    (b'c', |document| round(document, cors::parse, |rules| cors::write(rules))),
    (b'd', delete),
    (b'e', |document| stable(document, encryption::parse, encryption::write)),
    (b'f', |document| drop(taken(accelerate::status(document).map(str::to_owned)))),
    (b'g', logging),
    (b'h', |document| drop(taken(read_with(document, legal_hold::parse).map(|hold| format!("{hold:?}"))))),
    (b'i', |document| drop(taken(read_with(document, retention::parse).map(|asked| format!("{asked:?}"))))),
    (b'k', |document| {
        round(
            document,
            |root| configuration::parse(root, Dialect::Aws),
            |record| configuration::write(record).unwrap(),
        );
    }),
    (b'l', |document| {
        let parse = |root: &Element<'_>| lifecycle::document::parse(root, &|name| name == "cold");
        round(document, parse, |rules| lifecycle::document::write(rules));
    }),
    (b'm', parts),
    (b'n', |document| {
        let parse = |root: &Element<'_>| notification::document::parse(root, &|name| name == "target1");
        round(document, parse, notification::document::write);
    }),
    (b'o', |document| drop(taken(read_with(document, ownership::parse).map(|it| format!("{it:?}"))))),
    (b'p', |document| drop(taken(read_with(document, public_access::parse).map(|it| format!("{it:?}"))))),
    (b'q', quota),
    (b'r', |document| {
        let parse = |root: &Element<'_>| replication::document::parse(root, &|name| name == "site1");
        round(document, parse, replication::document::write);
    }),
    (b's', |document| drop(taken(abac::status(document).map(|enabled| enabled.to_string())))),
    (b'y', |document| drop(taken(read_with(document, request_payment::parse).map(|it| it.to_string())))),
    (b't', |document| {
        round(document, |root| tags::parse_document(root, TAGS, "Object"), |tags| tags::document(tags));
    }),
    (b'u', |document| drop(taken(read_with(document, encryption::parse_update).map(|it| format!("{it:?}"))))),
    (b'v', |document| drop(taken(versioning::parse_state(document).map(|state| format!("{state:?}"))))),
    (b'w', |document| round(document, website::parse, website::write)),
    (b'x', tree),
    (b'z', |document| drop(taken(read_with(document, restore::parse).map(|it| format!("{it:?}"))))),
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
    let Some(value) = taken(read_with(document, &parse)) else { return };
    let written = write(&value);
    let again = parse(&read::read(&written).expect("what is written is XML")).expect("what is written is taken");
    assert_eq!(again, value, "{}", String::from_utf8_lossy(&written));
    assert_eq!(write(&again), written);
}

/// As [`round`], where what is left out is written as what it means.
fn stable<T>(document: &[u8], parse: impl Fn(&Element<'_>) -> S3Result<T>, write: impl Fn(&T) -> Bytes) {
    let Some(value) = taken(read_with(document, &parse)) else { return };
    let written = write(&value);
    let again = read_with(&written, &parse).expect("what is written is taken");
    assert_eq!(write(&again), written);
}

fn read_with<T>(document: &[u8], parse: impl Fn(&Element<'_>) -> S3Result<T>) -> S3Result<T> {
    parse(&read::read(document)?)
}

/// A configuration with an id, under the id that it has.
fn identified<K: Kind>(document: &[u8]) {
    let id = read::read(document).ok().and_then(|root| root.optional_text("Id").ok()?.map(str::to_owned));
    let id = id.unwrap_or_default();
    let Some(record) = taken(identified::parse::<K>(document, &id)) else { return };
    let mut xml = XmlWriter::document(K::ROOTS.0, 1024);
    shape::write(&mut xml, &record.content, K::SHAPES);
    let written = xml.finish();
    let again = identified::parse::<K>(&written, &id).expect("what is written is taken");
    assert_eq!(again, record, "{}", String::from_utf8_lossy(&written));
}

/// Where a log goes. Grants are written groups first, so their order may change once and no more.
fn logging(document: &[u8]) {
    let parse = |document: &[u8]| read_with(document, |root| logging::parse(root, &Everybody));
    let Some(Some(record)) = taken(parse(document)) else { return };
    let write = |record| {
        let mut xml = XmlWriter::document("BucketLoggingStatus", 512);
        logging::write(&mut xml, record, &Everybody);
        xml.finish()
    };
    let written = write(&record);
    let again = parse(&written).expect("what is written is taken").expect("and is a setting");
    assert_eq!(write(&again), written);
    assert_eq!((&again.target_bucket, &again.target_prefix), (&record.target_bucket, &record.target_prefix));
    assert_eq!((again.partition, again.grants.is_some()), (record.partition, record.grants.is_some()));
}

/// Limits in both forms.
fn quota(document: &[u8]) {
    let Some(limits) = taken(quota::parse(document)) else { return };
    assert!(limits.bytes > 0 || limits.objects > 0);
    let mut xml = XmlWriter::bare("GetBucketQuota", &[], 256);
    for (name, limit) in [("Quota", limits.bytes), ("Objects", limits.objects)] {
        if limit > 0 {
            xml.value(name, limit);
        }
    }
    assert_eq!(quota::parse(&xml.finish()).expect("what is written is taken"), limits);
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
    // To Ceph equal numbers ascend, too.
    let Some(parts) = taken(multipart::complete::parse_parts(document, Dialect::Ceph)) else { return };
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
    let again = multipart::complete::parse_parts(&xml.finish(), Dialect::Aws).expect("what is written is taken");
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

/// Whether all names are plain ones. Namespaces are no part of a tree, so two attributes of one element that differ in
/// theirs only cannot be spelled.
fn spell(element: &Element<'_>, out: &mut String, depth: usize) -> bool {
    assert!(depth <= 32, "too deep");
    let name = element.name();
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let escape = |out: &mut String, text: &str| {
        for char in text.chars() {
            write!(out, "&#{};", u32::from(char)).unwrap();
        }
    };
    write!(out, "<{name}").unwrap();
    let mut names = BTreeSet::new();
    for (key, value) in element.attributes() {
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) || key == "xmlns" || !names.insert(key) {
            return false;
        }
        write!(out, " {key}=\"").unwrap();
        escape(out, value);
        out.push('"');
    }
    out.push('>');
    escape(out, element.text());
    let plain = element.children().iter().all(|child| spell(child, out, depth + 1));
    write!(out, "</{name}>").unwrap();
    plain
}
