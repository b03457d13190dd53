//! What a policy says of a request.

use super::{Effect, Policy, Statement, keys::Facts, known::Known, names, pattern::Template};
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
        let resource: Vec<char> = resource.chars().collect();
        let facts = Known::new(question.facts);
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            // What is allowed already cannot be more so.
            if statement.effect == Effect::Allow && verdict == Verdict::Allow {
                continue;
            }
            if statement.applies(question, &facts, &resource) {
                match statement.effect {
                    Effect::Deny => return Verdict::Deny,
                    Effect::Allow => verdict = Verdict::Allow,
                }
            }
        }
        verdict
    }

    /// What is left of the policy to ask for one caller and one request, which may be about many objects: what does not
    /// depend on them is answered here, once.
    #[must_use]
    pub fn for_caller(&self, principal: &Principal, facts: &dyn Facts) -> Self {
        let facts = Known::new(facts);
        let statements = self.statements.iter().filter_map(|statement| statement.for_caller(principal, &facts));
        Self { statements: statements.collect(), public: self.public, uses: self.uses }
    }
}

impl Statement {
    /// What is left to ask of a statement; `None` where it cannot apply any more.
    fn for_caller(&self, principal: &Principal, facts: &Known<'_>) -> Option<Self> {
        let (settled, open): (Vec<_>, Vec<_>) = self.conditions.iter().partition(|condition| condition.is_of_caller());
        let may_apply = self.principals.cover(principal, self.effect)
            && settled.iter().all(|condition| condition.holds(facts, self.effect));
        may_apply.then(|| Self { conditions: open.into_iter().cloned().collect(), ..self.clone() })
    }

    fn applies(&self, question: &Question<'_>, facts: &Known<'_>, resource: &[char]) -> bool {
        self.actions & names::bit(question.action) != 0
            && self.principals.cover(question.principal, self.effect)
            && self.values_are_known(facts)
            && self.names(resource, facts)
            && self.conditions.iter().all(|condition| condition.holds(facts, self.effect))
    }

    /// A variable without a value stands for nothing: what would be allowed by its absence is not meant.
    fn values_are_known(&self, facts: &Known<'_>) -> bool {
        self.effect == Effect::Deny || self.variables.iter().all(|key| facts.values(key).len() == 1)
    }

    fn names(&self, resource: &[char], facts: &Known<'_>) -> bool {
        let matches =
            |name: &Template| name.expand(facts, resource.len()).is_some_and(|pattern| pattern.matches(resource));
        self.resources.names.iter().any(matches) != self.resources.negated
    }
}
