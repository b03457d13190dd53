//! Policies, read and asked.

mod language;
mod model;
mod operators;
mod public;

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{ConditionKey, Facts, Policy, PolicyError, Question, Verdict};
use crate::{
    auth::{Action, Principal, Resource},
    types::{AccountId, BucketName, ObjectKey},
};

/// Facts by the names of their keys.
#[derive(Clone, Debug, Default)]
struct Told(HashMap<ConditionKey, Vec<String>>);

impl Facts for Told {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }
}

fn told(facts: &[(&str, &[&str])]) -> Told {
    let one = |(name, values): &(&str, &[&str])| {
        (ConditionKey::parse(name).unwrap(), values.iter().map(|value| (*value).to_owned()).collect())
    };
    Told(facts.iter().map(one).collect())
}

fn account(number: &str) -> Principal {
    Principal {
        account: AccountId::new(format!("canonical-{number}")),
        arn: Arc::from(format!("arn:aws:iam::{number}:root")),
        ..Principal::anonymous()
    }
}

const LISA: &str = "123456789013";
const BUCKET: &str = "photos";

fn parse(document: &Value) -> Result<Policy, PolicyError> {
    Policy::parse(document.to_string().as_bytes(), &BucketName::new(BUCKET).unwrap())
}

/// A policy of one statement: `change` replaces or adds elements.
fn statement(change: Value) -> Value {
    let mut statement = json!({
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::photos/*",
    });
    let (Value::Object(target), Value::Object(change)) = (&mut statement, change) else { panic!("no object") };
    for (name, value) in change {
        if value.is_null() {
            target.remove(&name);
        } else {
            target.insert(name, value);
        }
    }
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

/// What the policy says to `principal` who asks for `key` (the bucket where it is empty).
fn says(policy: &Policy, principal: &Principal, action: Action, key: &str, facts: &Told) -> Verdict {
    let bucket = BucketName::new(BUCKET).unwrap();
    let key = ObjectKey::new(if key.is_empty() { "unused" } else { key }).map(|it| (it, key.is_empty())).unwrap();
    let resource = if key.1 { Resource::Bucket(&bucket) } else { Resource::Object(&bucket, &key.0) };
    let question = Question { principal, action, resource, facts };
    let verdict = policy.decide(&question);
    assert_eq!(policy.for_caller(principal, facts).decide(&question), verdict, "settled once");
    verdict
}

/// Whether an Allow under this condition holds.
fn met(condition: &Value, facts: &[(&str, &[&str])]) -> bool {
    let policy = parse(&statement(json!({"Condition": condition}))).unwrap();
    says(&policy, &account(LISA), Action::GetObject, "a", &told(facts)) == Verdict::Allow
}
