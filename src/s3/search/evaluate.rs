//! Judging an object by a clause.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    Field, Literal,
    parse::{Clause, Comparison, Like},
};
use crate::{
    storage::records::{ContentHeaders, ObjectRecord, Pair},
    types::version_id::VersionIdEncoding,
};

/// An object that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its key.
    pub key: &'a str,
    /// What is known of it.
    pub record: &'a ObjectRecord,
    /// How its version id is spelled.
    pub version_ids: VersionIdEncoding,
}

/// The value of a field.
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(u64),
}

impl Clause {
    /// Whether the object is one that the clause asks for.
    ///
    /// A field that the object lacks is unequal to everything; no other comparison with it holds (as in the
    /// original's database).
    pub fn picks(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::All(clauses) => clauses.iter().all(|clause| clause.picks(subject)),
            Self::Any(clauses) => clauses.iter().any(|clause| clause.picks(subject)),
            Self::Compare(Comparison { field, operator, value }) => match subject.value(field) {
                Some(found) => {
                    found.compare(value).map_or(*operator == super::Operator::Unequal, |order| operator.holds(order))
                }
                None => *operator == super::Operator::Unequal,
            },
            Self::Like(Like { field, pattern }) => match subject.value(field) {
                Some(Value::Text(text)) => pattern.is_match(&text),
                Some(Value::Number(number)) => pattern.is_match(&number.to_string()),
                None => false,
            },
        }
    }
}

impl Value<'_> {
    /// `None` where the two cannot be compared.
    fn compare(&self, literal: &Literal) -> Option<Ordering> {
        match self {
            Self::Number(number) => match literal.text.parse::<u64>() {
                Ok(other) => Some(number.cmp(&other)),
                Err(_) => numbers(&number.to_string(), &literal.text),
            },
            Self::Text(text) if literal.quoted => Some((**text).cmp(&literal.text)),
            Self::Text(text) => numbers(text, &literal.text).or_else(|| Some((**text).cmp(&literal.text))),
        }
    }
}

/// Compares two texts as numbers, if both are.
fn numbers(one: &str, other: &str) -> Option<Ordering> {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return Some(one.cmp(&other));
    }
    one.parse::<f64>().ok()?.partial_cmp(&other.parse::<f64>().ok()?)
}

fn named<'a>(pairs: &'a [Pair], name: &str) -> Option<Value<'a>> {
    pairs.iter().find(|pair| pair.name == name).map(|pair| Value::Text(Cow::Borrowed(&pair.value)))
}

fn text(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then_some(Value::Text(Cow::Borrowed(text)))
}

impl<'a> Subject<'a> {
    fn value(&self, field: &Field) -> Option<Value<'a>> {
        match field {
            Field::Tag(key) => named(&self.record.tags, key),
            Field::Metadata(name) => named(&self.record.metadata, name),
            Field::Attribute(name) => self.attribute(name),
        }
    }

    /// The attributes of the original's object model, by their names there.
    fn attribute(&self, name: &str) -> Option<Value<'a>> {
        let record = self.record;
        let content = |pick: fn(&ContentHeaders) -> &Option<String>| {
            pick(record.content.as_ref()?).as_deref().map(|value| Value::Text(Cow::Borrowed(value)))
        };
        let owned = |value: String| Some(Value::Text(Cow::Owned(value)));
        match name {
            "key" => text(self.key),
            "content-length" | "size" => Some(Value::Number(record.size)),
            "last-modified" | "creation-time" => owned(record.modified().to_iso8601()),
            "content-md5" | "etag" => text(&record.etag),
            "content-type" => content(|headers| &headers.content_type),
            "cache-control" => content(|headers| &headers.cache_control),
            "content-disposition" => content(|headers| &headers.content_disposition),
            "content-encoding" => content(|headers| &headers.content_encoding),
            "content-language" => content(|headers| &headers.content_language),
            "expires" => content(|headers| &headers.expires),
            "owner-id" => text(&record.owner),
            "owner-display-name" => text(&record.owner_display_name),
            "x-amz-storage-class" if record.storage_class.is_empty() => text("STANDARD"),
            "x-amz-storage-class" => text(&record.storage_class),
            "x-amz-website-redirect-location" => text(&record.redirect),
            "dataStoreName" => text(&record.location),
            "isNull" => text(if record.is_null { "true" } else { "false" }),
            "isDeleteMarker" => text("false"),
            "x-amz-version-id" | "versionId" if record.is_null => text("null"),
            "x-amz-version-id" | "versionId" => owned(record.version_id().encode(self.version_ids)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn record() -> ObjectRecord {
        let pair = |name: &str, value: &str| Pair { name: name.to_owned(), value: value.to_owned() };
        ObjectRecord {
            size: 1500,
            etag: "abc".to_owned(),
            modified_ms: 1_700_000_000_000,
            owner: "me".to_owned(),
            tags: vec![pair("kind", "cat"), pair("n", "10")],
            metadata: vec![pair("color", "Blue"), pair("age", "9")],
            content: Some(ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() }),
            ..ObjectRecord::default()
        }
    }

    fn picks(clause: &str) -> bool {
        let subject = Subject { key: "a/b.txt", record: &record(), version_ids: VersionIdEncoding::Base62 };
        Clause::parse(clause).unwrap().picks(subject)
    }

    #[test]
    fn fields_are_compared_by_what_they_are() {
        for clause in [
            "key='a/b.txt'",
            "content-length > 999",
            "content-length>='1500'",
            "content-length < 1500.5",
            "last-modified > '2023-11-14'",
            "last-modified < '2024'",
            "`content-type` = text/plain",
            "tags.kind=cat",
            "tags.n > 9",
            "x-amz-meta-age < 10",
            "X-Amz-Meta-Color = 'Blue'",
            "owner-id=me",
            "etag=abc",
            "x-amz-storage-class=STANDARD",
            "key LIKE '\\.txt$'",
            "x-amz-meta-color LIKE '/^blue$/i'",
            "content-length LIKE '^15'",
            "tags.none != 1",
            "nothing <> ''",
            "key=x OR (tags.kind=cat AND etag=abc)",
        ] {
            assert!(picks(clause), "{clause}");
        }
        for clause in [
            "key=a",
            "content-length > 1500",
            "tags.n > '9'",
            "x-amz-meta-age < '10' AND key=x",
            "tags.none = ''",
            "tags.none < 'z'",
            "nothing LIKE '.*'",
            "x-amz-meta-color LIKE '^blue$'",
            "content-length = x",
            "replicationInfo.status = COMPLETED",
            "key=x OR tags.kind=cat AND etag=x",
        ] {
            assert!(!picks(clause), "{clause}");
        }
    }

    /// A clause and whether it holds, by a model of its own.
    fn clause() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop_oneof![
            (0..20_i64).prop_map(|n| (format!("tags.n < {n}"), 10 < n)),
            (0..20_i64).prop_map(|n| (format!("tags.n >= {n}"), 10 >= n)),
            (0..20_i64).prop_map(|n| (format!("`tags.n` <> {n}"), 10 != n)),
        ];
        leaf.prop_recursive(4, 32, 3, |inner| {
            (proptest::collection::vec(inner, 1..3), proptest::prelude::any::<bool>()).prop_map(|(parts, all)| {
                let holds = if all { parts.iter().all(|part| part.1) } else { parts.iter().any(|part| part.1) };
                let texts: Vec<String> = parts.into_iter().map(|part| format!("({})", part.0)).collect();
                (texts.join(if all { " AND " } else { " or " }), holds)
            })
        })
    }

    proptest! {
        #[test]
        fn and_or_and_parentheses_mean_what_they_say((text, holds) in clause()) {
            prop_assert_eq!(picks(&text), holds, "{}", text);
        }
    }
}
