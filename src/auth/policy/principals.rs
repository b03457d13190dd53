//! Whom a statement is about.

use super::{Effect, json::Json};
use crate::auth::Principal;

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug)]
pub(super) struct Principals {
    names: Vec<Name>,
    negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `*`: with or without credentials.
    Everyone,
    /// Twelve digits, or `arn:aws:iam::…:root`: an account.
    Account(String),
    /// A user, role or session of an account.
    Member { account: String, arn: String },
    /// A canonical id.
    Canonical(String),
    /// A service, such as `logging.s3.amazonaws.com`: this server's own where it delivers something, never a caller.
    Service(String),
    /// A provider of identities: never one of our callers.
    Foreign,
}

impl Principals {
    pub(super) fn everyone() -> Self {
        Self { names: vec![Name::Everyone], negated: false }
    }

    /// Reads the element; `None` for anything that names nobody.
    pub(super) fn parse(json: &Json, negated: bool) -> Option<Self> {
        let names = match json {
            Json::Text(text) if text == "*" => vec![Name::Everyone],
            Json::Object(kinds) if !kinds.is_empty() => {
                let mut names = Vec::new();
                for (kind, value) in kinds {
                    for text in texts(value)? {
                        names.push(name(kind, text)?);
                    }
                }
                names
            }
            _ => return None,
        };
        Some(Self { names, negated })
    }

    /// Whether it is about everybody.
    pub(super) fn is_everyone(&self) -> bool {
        !self.negated && self.names.contains(&Name::Everyone)
    }

    /// Whether it is about this caller. A name takes in the users of an account only where that makes a denial
    /// broader: what an account may do is not yet theirs.
    pub(super) fn cover(&self, principal: &Principal, effect: Effect) -> bool {
        let with_users = effect == Effect::Deny && !self.negated;
        self.names.iter().any(|name| name.is(principal, with_users)) != self.negated
    }
}

/// One text or a list of them, not empty.
fn texts(json: &Json) -> Option<Vec<&str>> {
    match json {
        Json::Text(text) => Some(vec![text]),
        Json::List(items) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Json::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn name(kind: &str, text: &str) -> Option<Name> {
    if text.is_empty() {
        return None;
    }
    match kind {
        "AWS" if text == "*" => Some(Name::Everyone),
        "AWS" => account_or_member(text),
        "CanonicalUser" if !text.contains(['*', '?']) => Some(Name::Canonical(text.to_owned())),
        "Service" => Some(Name::Service(text.to_owned())),
        "Federated" => Some(Name::Foreign),
        _ => None,
    }
}

fn account_or_member(text: &str) -> Option<Name> {
    // Wildcards other than the whole name mean nothing in principals (IAM reference).
    if text.contains(['*', '?']) {
        return None;
    }
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Name::Account(text.to_owned()));
    }
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, service) = (next()?, next()?, next()?);
    let (region, account, member) = (next()?, next()?, next()?);
    let is_name = arn == "arn" && partition.starts_with("aws") && matches!(service, "iam" | "sts") && region.is_empty();
    if !is_name || account.is_empty() || member.is_empty() {
        return None;
    }
    Some(match member {
        "root" => Name::Account(account.to_owned()),
        _ => Name::Member { account: account.to_owned(), arn: text.to_owned() },
    })
}

impl Name {
    /// Whether this is the caller. An account that has no users to name stands for all that could be named in it.
    fn is(&self, principal: &Principal, with_users: bool) -> bool {
        let whole = principal.user.is_none() || with_users;
        match self {
            Self::Everyone => true,
            Self::Account(number) => whole && principal.account_number() == Some(number),
            Self::Member { account, arn } => {
                *arn == *principal.arn || (principal.user.is_none() && principal.account_number() == Some(account))
            }
            Self::Canonical(id) => whole && !principal.is_anonymous() && principal.account.as_str() == id,
            Self::Service(name) => principal.delivers_as() == Some(name),
            Self::Foreign => false,
        }
    }
}
