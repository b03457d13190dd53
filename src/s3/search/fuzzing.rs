//! The fuzz target of search clauses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target panics where a rule is broken")]

use super::{
    Clause, Field, Operator, Subject,
    parse::{Comparison, Like},
};
use crate::{
    storage::records::{ContentHeaders, ObjectRecord, Pair},
    types::version_id::VersionIdEncoding,
};

/// Operators and their spellings.
const OPERATORS: [(Operator, &str); 6] = [
    (Operator::Equal, "="),
    (Operator::Unequal, "<>"),
    (Operator::Less, "<"),
    (Operator::Greater, ">"),
    (Operator::AtMost, "<="),
    (Operator::AtLeast, ">="),
];

/// A clause: read, spelled and read again, it picks the same objects.
pub(crate) fn search(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(clause) = Clause::parse(text) else { return };
    let objects =
        [ObjectRecord::default(), object("blue", "7", 1000), object("it's", "-1e3", 7), object(text, text, 0)];
    let subjects = objects.iter().zip(["", "photos/1.jpg", "7", text]).map(|(record, key)| Subject {
        key,
        record,
        version_ids: VersionIdEncoding::Hex,
    });
    let again = spell(&clause).map(|spelled| {
        let again = Clause::parse(&spelled);
        again.unwrap_or_else(|e| panic!("{text:?} is a clause and {spelled:?} none: {e}"))
    });
    if let Some(again) = &again {
        assert_eq!(format!("{again:?}"), format!("{clause:?}"));
    }
    for subject in subjects {
        let picked = clause.picks(subject);
        assert!(again.as_ref().is_none_or(|again| again.picks(subject) == picked));
        assert_eq!(naive(&clause, subject), picked, "{text}");
        check(&clause, subject);
    }
}

fn object(color: &str, number: &str, size: u64) -> ObjectRecord {
    let pair = |name: &str, value: &str| Pair { name: name.to_owned(), value: value.to_owned() };
    ObjectRecord {
        size,
        etag: "5d41402abc4b2a76b9719d911017c592".to_owned(),
        modified_ms: 1_700_000_000_000,
        owner: "owner".to_owned(),
        content: Some(ContentHeaders { content_type: Some("text/plain".to_owned()), ..ContentHeaders::default() }),
        metadata: vec![pair("color", color), pair("n", number)],
        tags: vec![pair("a", number), pair("color", color)],
        ..ObjectRecord::default()
    }
}

/// What joins comparisons, read in the plainest way.
fn naive(clause: &Clause, subject: Subject<'_>) -> bool {
    match clause {
        Clause::All(clauses) => !clauses.iter().any(|clause| !naive(clause, subject)),
        Clause::Any(clauses) => clauses.iter().filter(|clause| naive(clause, subject)).count() > 0,
        one => one.picks(subject),
    }
}

/// A value is less than another, equal to it, greater, or not to be compared with it: one of these and no other.
fn check(clause: &Clause, subject: Subject<'_>) {
    match clause {
        Clause::All(clauses) | Clause::Any(clauses) => clauses.iter().for_each(|clause| check(clause, subject)),
        Clause::Like(_) => {}
        Clause::Compare(Comparison { field, value, .. }) => {
            let [equal, unequal, less, greater, at_most, at_least] = OPERATORS.map(|(operator, _)| {
                let one = Comparison { field: field.clone(), operator, value: value.clone() };
                Clause::Compare(one).picks(subject)
            });
            assert_ne!(equal, unequal);
            assert!(u8::from(equal) + u8::from(less) + u8::from(greater) <= 1, "{field:?} {value:?}");
            assert_eq!((at_most, at_least), (less || equal, greater || equal), "{field:?} {value:?}");
        }
    }
}

/// A clause as text; `None` where a text cannot stand in any quotes, or too much would be written.
fn spell(clause: &Clause) -> Option<String> {
    let joined = |clauses: &[Clause], word: &str, bare: fn(&Clause) -> bool| -> Option<String> {
        let parts = clauses.iter().map(|clause| {
            let text = spell(clause)?;
            Some(if bare(clause) { text } else { format!("({text})") })
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join(word))
    };
    let single = |clause: &Clause| matches!(clause, Clause::Compare(_) | Clause::Like(_));
    let text = match clause {
        Clause::All(clauses) => joined(clauses, " AND ", single)?,
        Clause::Any(clauses) => joined(clauses, " or ", |clause| !matches!(clause, Clause::Any(_)))?,
        Clause::Compare(Comparison { field, operator, value }) => {
            let (_, operator) = OPERATORS.iter().find(|(known, _)| known == operator)?;
            let value = if value.quoted { quoted(&value.text)? } else { value.text.clone() };
            format!("{} {operator} {value}", name(field)?)
        }
        Clause::Like(Like { .. }) => return None,
    };
    (text.len() <= 4096).then_some(text)
}

fn name(field: &Field) -> Option<String> {
    match field {
        Field::Attribute(name) => quoted(name),
        Field::Tag(key) => quoted(&format!("tags.{key}")),
        Field::Metadata(name) => quoted(&format!("x-amz-meta-{name}")),
    }
}

fn quoted(text: &str) -> Option<String> {
    let backslashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    let quote = ['"', '\'', '`'].into_iter().find(|quote| !text.contains(*quote))?;
    (backslashes % 2 == 0).then(|| format!("{quote}{text}{quote}"))
}
