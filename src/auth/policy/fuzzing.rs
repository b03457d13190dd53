//! The fuzz target of bucket policies: reading them, and what they say.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target panics where a rule is broken"
)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ConditionKey, Facts, Policy, Question, Verdict};
use crate::{
    auth::{Action, Principal, Resource},
    types::{AccountId, BucketName, ObjectKey},
};

const BUCKET: &str = "photos";
/// Most statements that are taken apart.
const MOST: usize = 12;

/// What is known of the requests of these tests.
#[derive(Debug)]
struct Known(bool);

impl Facts for Known {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        let values: &[&str] = match key {
            ConditionKey::SourceIp => &["10.0.0.1"],
            ConditionKey::SecureTransport => &["true"],
            ConditionKey::Username => &["ned"],
            ConditionKey::CurrentTime => &["2026-01-02T03:04:05Z"],
            ConditionKey::EpochTime => &["1767323045"],
            ConditionKey::Prefix => &["home/"],
            ConditionKey::MaxKeys => &["10"],
            ConditionKey::RequestObjectTagKeys => &["red", "blue"],
            ConditionKey::ExistingObjectTag(_) => &["red"],
            ConditionKey::Header(_) => &["private"],
            _ => &[],
        };
        if self.0 { values.iter().map(|value| (*value).to_owned()).collect() } else { Vec::new() }
    }
}

/// Callers, what they ask for, and of which key; none for the bucket.
fn questions() -> Vec<(Principal, Action, Option<ObjectKey>, Known)> {
    let account = |number: &str| Principal {
        account: AccountId::new(format!("canonical-{number}")),
        arn: Arc::from(format!("arn:aws:iam::{number}:root")),
        ..Principal::anonymous()
    };
    let user = Principal {
        arn: Arc::from("arn:aws:iam::123456789012:user/ned"),
        user: Some(Arc::from("ned")),
        ..account("123456789012")
    };
    let mut questions = Vec::new();
    for caller in [Principal::anonymous(), account("123456789012"), account("123456789013"), user] {
        for (action, key) in [
            (Action::GetObject, Some("a")),
            (Action::GetObject, Some("home/ned/x")),
            (Action::PutObject, Some("home/*")),
            (Action::ListBucket, None),
            (Action::PutBucketPolicy, None),
        ] {
            let key = key.map(|key| ObjectKey::new(key).unwrap());
            questions.push((caller.clone(), action, key.clone(), Known(true)));
            questions.push((caller.clone(), action, key, Known(false)));
        }
    }
    questions
}

fn bucket() -> BucketName {
    BucketName::new(BUCKET).unwrap()
}

fn verdicts(policy: &Policy) -> Vec<Verdict> {
    let bucket = bucket();
    let says = |(principal, action, key, facts): &(Principal, Action, Option<ObjectKey>, Known)| {
        let resource = key.as_ref().map_or(Resource::Bucket(&bucket), |key| Resource::Object(&bucket, key));
        let question = Question { principal, action: *action, resource, facts };
        let verdict = policy.decide(&question);
        assert_eq!(policy.for_caller(principal, facts).decide(&question), verdict, "settled once");
        verdict
    };
    questions().iter().map(says).collect()
}

/// A policy that is read says the same however it is written down: statements in another order, apart, or with their
/// lists apart; and what needs no conditions says what a naive reading says.
pub(crate) fn policy(data: &[u8]) {
    let policy = match Policy::parse(data, &bucket()) {
        Ok(policy) => policy,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    assert!(data.len() <= super::MAX_POLICY);
    let document: Value = serde_json::from_slice(data).expect("a policy is JSON");
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        single => vec![single.clone()],
    };
    let written = |statements: &[Value]| {
        let mut whole = document.clone();
        whole["Statement"] = json!(statements);
        Policy::parse(whole.to_string().as_bytes(), &bucket())
    };
    let found = verdicts(&policy);
    let turned: Vec<Value> = statements.iter().rev().cloned().collect();
    if let Ok(turned) = written(&turned) {
        assert_eq!((verdicts(&turned), turned.is_public()), (found.clone(), policy.is_public()), "{document}");
    }
    if statements.len() > MOST {
        return;
    }
    let alone: Vec<Policy> =
        statements.iter().map(|statement| written(std::slice::from_ref(statement)).expect("a statement")).collect();
    assert_eq!(alone.iter().any(Policy::is_public), policy.is_public(), "{document}");
    let each: Vec<Vec<Verdict>> = alone.iter().map(verdicts).collect();
    for (index, verdict) in found.iter().enumerate() {
        let said = || each.iter().filter_map(|verdicts| verdicts.get(index));
        let expected = if said().any(|verdict| *verdict == Verdict::Deny) {
            Verdict::Deny
        } else if said().any(|verdict| *verdict == Verdict::Allow) {
            Verdict::Allow
        } else {
            Verdict::Silent
        };
        assert_eq!(*verdict, expected, "question {index} of {document}");
    }
    for (statement, verdicts) in statements.iter().zip(&each) {
        check_statement(statement, verdicts);
        check_split(statement, verdicts, &written);
    }
}

/// A statement about everybody, without conditions and variables, against a naive reading.
fn check_statement(statement: &Value, found: &[Verdict]) {
    let everybody = statement.get("Principal").is_some_and(|it| *it == "*" || *it == json!({"AWS": "*"}));
    if !everybody || statement.get("Condition").is_some() || statement.to_string().contains('$') {
        return;
    }
    let effect = if statement["Effect"] == "Deny" { Verdict::Deny } else { Verdict::Allow };
    for ((_, action, key, _), verdict) in questions().iter().zip(found) {
        let of_action = |name: &str| like(&name.to_ascii_lowercase(), &action.as_str().to_ascii_lowercase());
        let key = key.as_ref().map(|key| format!("/{}", key.as_str())).unwrap_or_default();
        let resource = format!("arn:aws:s3:::{BUCKET}{key}");
        let applies = either(statement, "Action", of_action) && either(statement, "Resource", |it| like(it, &resource));
        let expected = if applies { effect } else { Verdict::Silent };
        assert_eq!(*verdict, expected, "{action:?} of {resource} by {statement}");
    }
}

/// Whether the element has a name that fits, or its negation none.
fn either(statement: &Value, name: &str, fits: impl Fn(&str) -> bool) -> bool {
    match statement.get(name) {
        Some(names) => texts(names).iter().any(|name| fits(name)),
        None => !texts(&statement[format!("Not{name}")]).iter().any(|name| fits(name)),
    }
}

fn texts(value: &Value) -> Vec<String> {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        single => vec![one(single)],
    }
}

/// Whether a text fits a pattern, by a table of all their beginnings.
fn like(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut row: Vec<bool> = std::iter::once(true).chain(text.iter().map(|_| false)).collect();
    for wanted in pattern.chars() {
        let mut next = vec![wanted == '*' && row.first() == Some(&true)];
        for (index, char) in text.iter().enumerate() {
            let (before, above) = (row.get(index) == Some(&true), row.get(index + 1) == Some(&true));
            next.push(match wanted {
                '*' => above || next.last() == Some(&true),
                '?' => before,
                exact => before && exact == *char,
            });
        }
        row = next;
    }
    row.last() == Some(&true)
}

/// A statement about several actions or resources is as many statements about one each.
fn check_split(
    statement: &Value,
    found: &[Verdict],
    written: &impl Fn(&[Value]) -> Result<Policy, super::PolicyError>,
) {
    for name in ["Action", "Resource"] {
        let Some(Value::Array(names)) = statement.get(name) else { continue };
        // What is asked of variables is asked of all that stand in the statement.
        if statement.to_string().contains('$') || names.len() > MOST {
            continue;
        }
        let with = |one: &Value| {
            let mut part = statement.clone();
            part[name] = one.clone();
            part
        };
        let parts: Vec<Value> = names.iter().map(with).collect();
        // Written apart it may be too long.
        if let Ok(parts) = written(&parts) {
            assert_eq!(verdicts(&parts), found, "{name} of {statement}");
        }
    }
}
