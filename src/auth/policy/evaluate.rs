//! What a policy says of a request.

use super::{Effect, Policy, Statement, keys::Facts, names, pattern::Template};
use crate::auth::{Action, Principal, Resource};

/// What a policy is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// For what.
    pub action: Action,
    /// Of what.
    pub resource: Resource<'a>,
    /// What else is known of the request.
    pub facts: &'a dyn Facts,
}

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Explicitly no, whatever others say.
    Deny,
    /// Yes.
    Allow,
    /// Nothing.
    Silent,
}

impl Policy {
    /// What the policy says: a denial wins over any permission.
    pub fn decide(&self, question: &Question<'_>) -> Verdict {
        let resource = match question.resource {
            Resource::Bucket(bucket) => bucket.to_string(),
            Resource::Object(bucket, key) => format!("{bucket}/{key}"),
        };
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            // What is allowed already cannot be more so.
            if statement.effect == Effect::Allow && verdict == Verdict::Allow {
                continue;
            }
            if statement.applies(question, &resource) {
                match statement.effect {
                    Effect::Deny => return Verdict::Deny,
                    Effect::Allow => verdict = Verdict::Allow,
                }
            }
        }
        verdict
    }
}

impl Statement {
    fn applies(&self, question: &Question<'_>, resource: &str) -> bool {
        let facts = question.facts;
        self.actions & names::bit(question.action) != 0
            && self.principals.cover(question.principal, self.effect)
            && self.values_are_known(facts)
            && self.names(resource, facts)
            && self.conditions.iter().all(|condition| condition.holds(facts, self.effect))
    }

    /// A variable without a value stands for nothing: what would be allowed by its absence is not meant.
    fn values_are_known(&self, facts: &dyn Facts) -> bool {
        self.effect == Effect::Deny || self.variables.iter().all(|key| facts.values(key).len() == 1)
    }

    fn names(&self, resource: &str, facts: &dyn Facts) -> bool {
        let matches = |name: &Template| name.expand(facts).is_some_and(|pattern| pattern.matches(resource));
        self.resources.names.iter().any(matches) != self.resources.negated
    }
}
