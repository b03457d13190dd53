//! Whether a caller may do something: policy, ownership and access control lists together.
//!
//! Order: an explicit denial of the bucket's policy; then the public access block; then the owner, the policy's
//! permissions and the lists, any of which suffices; else no. What each action needs of owners and lists is the table
//! [`Action::rule`].

use std::sync::LazyLock;

use super::{
    DeliveryService, Principal,
    action::{Action, Resource, Rule},
    policy::{Facts, Policy, Question, Verdict},
};
use crate::types::{AccountId, Acl, Grant, Grantee, ObjectOwnership, Permission};

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
    /// Its policy and what that is asked, evaluated before any list.
    pub policy: Option<PolicyFacts<'a>>,
    /// What narrows lists and policy.
    pub limits: AccessLimits,
    /// Whether `ALLOW_PUBLIC_READ_BUCKETS` names it: who may list it may then read its objects (the original's rule).
    pub public_read_override: bool,
}

/// A policy, and what the request is to it.
#[derive(Clone, Copy, Debug)]
pub struct PolicyFacts<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What the action is asked of.
    pub resource: Resource<'a>,
    /// What else is known of the request.
    pub facts: &'a dyn Facts,
}

/// Settings of a bucket that narrow what lists and policy give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLimits {
    /// Who owns what is written into it.
    pub ownership: ObjectOwnership,
    /// `IgnorePublicAcls`: grants to everybody mean nothing.
    pub ignore_public_acls: bool,
    /// `RestrictPublicBuckets`: while the policy is public, nobody but the owner's account gets in.
    pub restrict_public: bool,
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
    let verdict = bucket.verdict(principal, action);
    if bucket.is_closed(principal, action, verdict) {
        return Decision::Deny;
    }
    let permitted = verdict == Verdict::Allow && bucket.policy_reaches(action, object);
    (permitted || principal.is_service() || by_ownership_and_lists(principal, action, bucket, object)).into()
}

/// Whether something that no permission outweighs forbids the action: the policy, or the public access block.
pub fn is_forbidden(principal: &Principal, action: Action, bucket: &BucketFacts<'_>) -> bool {
    bucket.is_closed(principal, action, bucket.verdict(principal, action))
}

/// Whether whoever writes an object may also say `action`'s part of it: tags, a list.
///
/// Where the bucket has no policy, the right to write includes that. Where it has one, tags need a permission of
/// their own; a list needs none for callers with an account, because they become the owner of what they write.
pub fn authorize_written(principal: &Principal, action: Action, bucket: &BucketFacts<'_>) -> Decision {
    if bucket.policy.is_none() {
        return Decision::Allow;
    }
    let verdict = bucket.verdict(principal, action);
    if bucket.is_closed(principal, action, verdict) {
        return Decision::Deny;
    }
    let as_writer = action == Action::PutObjectAcl && !principal.is_anonymous() && principal.user.is_none();
    (verdict == Verdict::Allow || as_writer || principal.is_service() || owns(principal, bucket.owner)).into()
}

/// Whether a service of the server's own may write an object for `sender`, an account.
///
/// The bucket's policy decides where it says something. Else the log delivery group's entries in the list do (S3 user
/// guide, "Permissions for log delivery"), or that the bucket is the sender's own: its wish was permission enough.
pub fn authorize_delivery(service: DeliveryService, bucket: &BucketFacts<'_>, sender: &AccountId) -> Decision {
    match bucket.verdict(&Principal::delivery(service), Action::PutObject) {
        Verdict::Deny => Decision::Deny,
        Verdict::Allow => Decision::Allow,
        Verdict::Silent => {
            let listed = service == DeliveryService::Logs && bucket.takes_logs();
            (listed || sender == bucket.owner).into()
        }
    }
}

/// Whether `principal` may do `action` outside of any bucket: list its buckets, create one.
pub fn authorize_account(principal: &Principal, action: Action) -> Decision {
    (action.rule() == Rule::Account && !principal.is_anonymous()).into()
}

impl BucketFacts<'_> {
    fn verdict(&self, principal: &Principal, action: Action) -> Verdict {
        let Some(PolicyFacts { policy, resource, facts }) = self.policy else { return Verdict::Silent };
        policy.decide(&Question { principal, action, resource, facts })
    }

    /// No policy keeps the owner from mending it (S3 reference, "`PutBucketPolicy`").
    fn is_closed(&self, principal: &Principal, action: Action, verdict: Verdict) -> bool {
        let mends = matches!(action, Action::GetBucketPolicy | Action::PutBucketPolicy | Action::DeleteBucketPolicy)
            && owns(principal, self.owner);
        let is_outsider = principal.is_anonymous() || principal.account != *self.owner;
        let restricted = self.limits.restrict_public
            && is_outsider
            && !principal.is_service()
            && self.policy.is_some_and(|asked| asked.policy.is_public());
        (verdict == Verdict::Deny && !mends) || restricted
    }

    /// A bucket's policy gives nothing of objects that others own (S3 reference, "Bucket policies").
    fn policy_reaches(&self, action: Action, object: Option<&ObjectFacts<'_>>) -> bool {
        match (action.rule(), object) {
            (Rule::Account, _) | (Rule::Object(_) | Rule::Tagging, None) => false,
            (Rule::Object(_) | Rule::Tagging, Some(object)) => {
                self.is_enforced() || object.owner == self.owner || object.owner.is_anonymous()
            }
            (Rule::BucketOwner | Rule::Bucket(_) | Rule::Upload, _) => true,
        }
    }

    fn is_enforced(&self) -> bool {
        self.limits.ownership == ObjectOwnership::BucketOwnerEnforced
    }

    /// Whether the list names the log delivery group as S3 asks for: to write, and to read the list.
    fn takes_logs(&self) -> bool {
        let gives = |permission| {
            self.acl.grants.iter().any(|grant| {
                grant.grantee == Grantee::LogDelivery
                    && (grant.permission == permission || grant.permission == Permission::FullControl)
            })
        };
        !self.is_enforced() && gives(Permission::Write) && gives(Permission::ReadAcp)
    }

    /// Whether a list gives the caller a permission. Users of an account have what the groups have, not what their
    /// account has: else the owner's own entry would give every user everything.
    fn granted(&self, principal: &Principal, acl: &Acl, permission: Permission) -> bool {
        static SOMEBODY: LazyLock<AccountId> = LazyLock::new(|| AccountId::new("user without policies"));
        let caller = if principal.user.is_some() { &*SOMEBODY } else { &principal.account };
        let ignored = |grant: &Grant| self.limits.ignore_public_acls && grant.grantee.is_public();
        !self.is_enforced() && acl.grants.iter().any(|grant| !ignored(grant) && grant.gives(caller, permission))
    }

    /// The owner of a bucket stands in for anonymous writers, else nobody could ever read what they wrote; what other
    /// accounts wrote is theirs, unless the bucket says otherwise.
    fn owns_object(&self, principal: &Principal, object: &ObjectFacts<'_>) -> bool {
        let is_bucket_owners = self.is_enforced() || object.owner.is_anonymous();
        owns(principal, if is_bucket_owners { self.owner } else { object.owner })
    }
}

fn by_ownership_and_lists(
    principal: &Principal,
    action: Action,
    bucket: &BucketFacts<'_>,
    object: Option<&ObjectFacts<'_>>,
) -> bool {
    let owns_bucket = owns(principal, bucket.owner);
    match (action.rule(), object) {
        (Rule::Account, _) => !principal.is_anonymous(),
        (Rule::BucketOwner, _) | (Rule::Upload, None) => owns_bucket,
        (Rule::Bucket(permission), _) => owns_bucket || bucket.granted(principal, bucket.acl, permission),
        (Rule::Object(_) | Rule::Tagging, None) => {
            owns_bucket || bucket.granted(principal, bucket.acl, Permission::Read)
        }
        (Rule::Object(permission), Some(object)) => {
            bucket.owns_object(principal, object)
                || bucket.granted(principal, object.acl, permission)
                || (bucket.public_read_override
                    && permission == Permission::Read
                    && bucket.granted(principal, bucket.acl, permission))
        }
        (Rule::Tagging, Some(object)) => owns_bucket || bucket.owns_object(principal, object),
        (Rule::Upload, Some(upload)) => owns_bucket || owns(principal, upload.owner),
    }
}

/// Whether the caller is the account itself. Nobody is the owner of what anonymous callers wrote, and the users of an
/// account have nothing by themselves: they wait for identity policies.
fn owns(principal: &Principal, owner: &AccountId) -> bool {
    !principal.is_anonymous() && principal.user.is_none() && principal.account == *owner
}
