//! Whether a caller may do something: ownership and access control lists, with the place where policies come first.
//!
//! Order: explicit denials of the bucket's policy; then the owner, the policy's permissions and the lists, any of
//! which suffices; else no. What each action needs of owners and lists is the table [`Action::rule`].

use std::sync::LazyLock;

use super::{
    Principal,
    action::{Action, Rule},
    policy::Policy,
};
use crate::types::{AccountId, Acl, Permission};

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// 403 `AccessDenied`.
    Deny,
}

/// What the decision must know about a bucket.
#[derive(Clone, Copy, Debug)]
pub struct BucketFacts<'a> {
    /// The account that owns it.
    pub owner: &'a AccountId,
    /// Its list.
    pub acl: &'a Acl,
    /// Its policy, evaluated before any list.
    pub policy: Option<&'a Policy>,
    /// Whether `ALLOW_PUBLIC_READ_BUCKETS` names it: who may list it may then read its objects (the original's rule).
    pub public_read_override: bool,
}

/// What the decision must know about an object, or about an upload in progress.
#[derive(Clone, Copy, Debug)]
pub struct ObjectFacts<'a> {
    /// The account that wrote it, or began the upload.
    pub owner: &'a AccountId,
    /// Its list.
    pub acl: &'a Acl,
}

impl Decision {
    /// Whether to go ahead.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }
}

impl From<bool> for Decision {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allow } else { Self::Deny }
    }
}

/// Whether `principal` may do `action` to a bucket, or to an object in it.
///
/// `object` is the object or upload that is there, `None` where there is none. Reading what is not there asks whether
/// the caller may list the bucket: who may not must not learn that it is missing (403 instead of 404).
pub fn authorize(
    principal: &Principal,
    action: Action,
    bucket: &BucketFacts<'_>,
    object: Option<&ObjectFacts<'_>>,
) -> Decision {
    if let Some(policy) = bucket.policy {
        match *policy {}
    }
    if principal.is_service() {
        return Decision::Allow;
    }
    let owns_bucket = owns(principal, bucket.owner);
    let allowed = match (action.rule(), object) {
        (Rule::Account, _) => !principal.is_anonymous(),
        (Rule::BucketOwner, _) | (Rule::Upload, None) => owns_bucket,
        (Rule::Bucket(permission), _) => owns_bucket || granted(principal, bucket.acl, permission),
        (Rule::Object(_) | Rule::Tagging, None) => owns_bucket || granted(principal, bucket.acl, Permission::Read),
        (Rule::Object(permission), Some(object)) => {
            owns_object(principal, bucket, object)
                || granted(principal, object.acl, permission)
                || (bucket.public_read_override
                    && permission == Permission::Read
                    && granted(principal, bucket.acl, permission))
        }
        (Rule::Tagging | Rule::Upload, Some(object)) => owns_bucket || owns(principal, object.owner),
    };
    allowed.into()
}

/// Whether `principal` may do `action` outside of any bucket: list its buckets, create one.
pub fn authorize_account(principal: &Principal, action: Action) -> Decision {
    (action.rule() == Rule::Account && !principal.is_anonymous()).into()
}

/// Whether the caller is the account itself. Nobody is the owner of what anonymous callers wrote, and the users of an
/// account have nothing by themselves: they wait for identity policies.
fn owns(principal: &Principal, owner: &AccountId) -> bool {
    !principal.is_anonymous() && principal.user.is_none() && principal.account == *owner
}

/// The owner of a bucket stands in for anonymous writers, else nobody could ever read what they wrote; what other
/// accounts wrote is theirs.
fn owns_object(principal: &Principal, bucket: &BucketFacts<'_>, object: &ObjectFacts<'_>) -> bool {
    owns(principal, if object.owner.is_anonymous() { bucket.owner } else { object.owner })
}

/// Whether a list gives the caller a permission. Users of an account have what the groups have, not what their
/// account has: else the owner's own entry would give every user everything.
fn granted(principal: &Principal, acl: &Acl, permission: Permission) -> bool {
    static SOMEBODY: LazyLock<AccountId> = LazyLock::new(|| AccountId::new("user without policies"));
    let caller = if principal.user.is_some() { &*SOMEBODY } else { &principal.account };
    acl.allows(caller, permission)
}
