//! Bucket policies: read once when they are set, then asked at each request.
//!
//! [`Policy::parse`] is strict: whatever it cannot place (an element, an action, an operator, a condition key, a
//! principal of another shape, a resource of another bucket, a JSON key that stands twice) is refused when the policy
//! is put, so that evaluation never meets anything it does not know. What the evaluator is told of a request comes
//! through [`Facts`], lazily: a policy without conditions costs no look at them.
//!
//! Unknown things never widen access: an Allow whose variable has no value does not apply, and a value that cannot be
//! compared fails an Allow and meets a Deny.

mod conditions;
mod evaluate;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod json;
mod keys;
mod known;
mod names;
mod parse;
mod pattern;
mod principals;
mod public;
#[cfg(test)]
mod tests;

pub use evaluate::{Question, Verdict};
pub use keys::{ConditionKey, Facts};
pub use parse::PolicyError;

use conditions::Condition;
use pattern::Template;
use principals::Principals;

/// The largest document, in bytes (S3 reference, "Bucket policies": 20 KB).
pub const MAX_POLICY: usize = 20 << 10;

/// A parsed bucket policy.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
    public: bool,
    uses: Uses,
}

/// Which facts a policy asks for that cost something to find out.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    existing_tags: bool,
    request_tags: bool,
    locks: bool,
}

/// One rule.
#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    principals: Principals,
    /// A bit for each [`Action`](super::Action) it is about.
    actions: u128,
    resources: Resources,
    conditions: Vec<Condition>,
    /// Variables without a default: an Allow applies only where each has a value.
    variables: Vec<ConditionKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// `Resource` or `NotResource`; names without `arn:aws:s3:::`.
#[derive(Clone, Debug)]
struct Resources {
    names: Vec<Template>,
    negated: bool,
}

impl Policy {
    /// A policy that denies everything: stands for a stored one that this release cannot read.
    pub fn closed() -> Self {
        let statement = Statement {
            effect: Effect::Deny,
            principals: Principals::everyone(),
            actions: u128::MAX,
            resources: Resources { names: Vec::new(), negated: true },
            conditions: Vec::new(),
            variables: Vec::new(),
        };
        Self { statements: vec![statement], public: false, uses: Uses::default() }
    }

    /// Whether it gives something to everybody (S3 reference, "The meaning of public").
    pub const fn is_public(&self) -> bool {
        self.public
    }

    /// Whether it asks for the tags of objects that are there (`s3:ExistingObjectTag`).
    pub const fn asks_existing_tags(&self) -> bool {
        self.uses.existing_tags
    }

    /// Whether it asks for the tags that a request sets (`s3:RequestObjectTag`, `s3:RequestObjectTagKeys`).
    pub const fn asks_request_tags(&self) -> bool {
        self.uses.request_tags
    }

    /// Whether it asks for the lock that a request sets (`s3:object-lock-*`).
    pub const fn asks_locks(&self) -> bool {
        self.uses.locks
    }
}
