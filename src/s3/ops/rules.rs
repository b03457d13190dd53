//! What the rules of lifecycle and replication have in common: their names, whether they are in force, and what objects
//! they are for (S3 reference, `Filter` of `LifecycleRule` and of `ReplicationRule`).

use crate::{
    s3::{
        error::{S3Error, S3Result},
        tags,
        xml::{Element, XmlError, XmlWriter},
    },
    storage::records::{LifecycleScope, Pair},
    types::digest::{Digest, Sha256},
};

/// Most rules of a configuration.
pub(super) const MAX_RULES: usize = 1000;
/// Most characters of a rule's name.
pub(super) const MAX_ID: usize = 255;
/// Most bytes of a prefix: those of a key.
const MAX_PREFIX: usize = 1024;

/// What objects a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// Where the conditions stand.
    pub(super) place: LifecycleScope,
    pub(super) prefix: Option<String>,
    pub(super) tags: Vec<Pair>,
}

impl Scope {
    /// Reads an old-style prefix or a filter: never both, never neither. Where the conditions stand there may be `more`
    /// of them; that element is given along.
    pub(super) fn parse<'a, 'text>(
        rule: &'a Element<'text>,
        more: &[&'static str],
    ) -> S3Result<(Self, Option<&'a Element<'text>>)> {
        let (place, conditions) = match (rule.optional_text("Prefix")?, rule.child("Filter")?) {
            (Some(prefix), None) => {
                let prefix = Some(checked_prefix(prefix)?);
                return Ok((Self { prefix, ..Self::default() }, None));
            }
            (None, Some(filter)) => match filter.child("And")? {
                None => (LifecycleScope::Filter, filter),
                Some(and) => {
                    filter.only(&["And"])?;
                    (LifecycleScope::And, and)
                }
            },
            (Some(_), Some(_)) => return Err(malformed("Filter")),
            (None, None) => return Err(XmlError::Missing("Filter").into()),
        };
        conditions.only(&[&["Prefix", "Tag"], more].concat())?;
        match (place, conditions.children().len()) {
            (LifecycleScope::Filter, 2..) => return Err(malformed("Filter")),
            (LifecycleScope::And, 0 | 1) => return Err(malformed("And")),
            _ => {}
        }
        let prefix = conditions.optional_text("Prefix")?.map(checked_prefix).transpose()?;
        let tags = parse_tags(conditions)?;
        Ok((Self { place, prefix, tags }, Some(conditions)))
    }
}

fn parse_tags(conditions: &Element<'_>) -> S3Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = Vec::new();
    for tag in conditions.children_named("Tag") {
        tag.only(&["Key", "Value"])?;
        let pair = Pair { name: tag.required_text("Key")?.to_owned(), value: tag.required_text("Value")?.to_owned() };
        if pairs.iter().any(|known| known.name == pair.name) {
            return Err(S3Error::request("Duplicate Tag Keys are not allowed."));
        }
        pairs.push(pair);
    }
    tags::check(&pairs, tags::TagLimit::FILTER, "Filter")?;
    Ok(pairs)
}

fn checked_prefix(text: &str) -> S3Result<String> {
    if text.len() > MAX_PREFIX {
        return Err(S3Error::request("The maximum size of a prefix is 1024."));
    }
    Ok(text.to_owned())
}

/// Writes what objects a rule is for; `more` writes the conditions beside prefix and tags.
pub(super) fn write_scope(
    xml: &mut XmlWriter,
    place: LifecycleScope,
    (prefix, tags): (Option<&str>, &[Pair]),
    more: impl FnOnce(&mut XmlWriter),
) {
    if place == LifecycleScope::Prefix {
        xml.optional("Prefix", prefix);
        return;
    }
    xml.open("Filter");
    if place == LifecycleScope::And {
        xml.open("And");
    }
    xml.optional("Prefix", prefix);
    for tag in tags {
        xml.open("Tag").text("Key", &tag.name).text("Value", &tag.value).close();
    }
    more(xml);
    if place == LifecycleScope::And {
        xml.close();
    }
    xml.close();
}

/// What an element says that can only be wrong.
pub(super) fn malformed(name: &'static str) -> S3Error {
    XmlError::Invalid(name).into()
}

/// Whether a rule, or a part of it, is in force.
pub(super) fn parse_status(element: &Element<'_>) -> S3Result<bool> {
    match element.required_text("Status")?.trim() {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err(malformed("Status")),
    }
}

/// The word for it.
pub(super) fn status(enabled: bool) -> &'static str {
    if enabled { "Enabled" } else { "Disabled" }
}

/// A name for a rule that has none: made of its content, so that the same document always gives the same names.
pub(super) fn name_of(content: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(content).into();
    let (short, _) = digest.split_at(24);
    hex::encode(short)
}
