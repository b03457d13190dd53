//! The evaluator against a second statement of the rules, and against what the public suites expect.

use std::sync::Arc;

use crate::{
    auth::{AccessLimits, Action, BucketFacts, ObjectFacts, Principal, Resource, authorize, authorize_account},
    types::{AccountId, Acl, BucketName, CannedAcl, Grant, Grantee, ObjectKey, Permission, account},
};

const CANNED: [CannedAcl; 8] = [
    CannedAcl::Private,
    CannedAcl::PublicRead,
    CannedAcl::PublicReadWrite,
    CannedAcl::AuthenticatedRead,
    CannedAcl::BucketOwnerRead,
    CannedAcl::BucketOwnerFullControl,
    CannedAcl::AwsExecRead,
    CannedAcl::LogDeliveryWrite,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    Owner,
    Writer,
    Stranger,
    UserOfOwner,
    Replication,
    LogDelivery,
}

const CALLERS: [Caller; 7] = [
    Caller::Nobody,
    Caller::Owner,
    Caller::Writer,
    Caller::Stranger,
    Caller::UserOfOwner,
    Caller::Replication,
    Caller::LogDelivery,
];

fn id(caller: Caller) -> AccountId {
    match caller {
        Caller::Nobody => AccountId::anonymous(),
        Caller::Owner | Caller::UserOfOwner => AccountId::new("owner"),
        Caller::Writer => AccountId::new("writer"),
        Caller::Stranger => AccountId::new("stranger"),
        Caller::Replication => AccountId::new(format!("{}replication", account::SERVICE_PREFIX)),
        Caller::LogDelivery => AccountId::new(account::LOG_DELIVERY),
    }
}

fn principal(caller: Caller) -> Principal {
    let user = (caller == Caller::UserOfOwner).then(|| Arc::from("user"));
    Principal { account: id(caller), user, ..Principal::anonymous() }
}

/// The rules once more, by the words in the names: who is asked for what, then what that takes.
fn may(caller: Caller, action: &str, bucket: CannedAcl, object: Option<(Caller, CannedAcl)>, readable: bool) -> bool {
    if caller == Caller::Replication {
        return true;
    }
    let is_bucket_owner = caller == Caller::Owner;
    let has_account = caller != Caller::Nobody;
    let reads = |canned| match canned {
        CannedAcl::PublicRead | CannedAcl::PublicReadWrite => true,
        CannedAcl::AuthenticatedRead => has_account,
        _ => false,
    };
    let writes_bucket = bucket == CannedAcl::PublicReadWrite
        || (bucket == CannedAcl::LogDeliveryWrite && caller == Caller::LogDelivery);
    let reads_bucket_acl = bucket == CannedAcl::LogDeliveryWrite && caller == Caller::LogDelivery;
    let name = action.split_once(':').unwrap().1.replace("Version", "");
    match name.as_str() {
        "ListAllMyBuckets" | "CreateBucket" => return has_account,
        "PutObject" => return is_bucket_owner || writes_bucket,
        "DeleteObject" if !action.contains("Version") => return is_bucket_owner || writes_bucket,
        "ListBucket" | "ListBuckets" | "ListBucketMultipartUploads" | "MetadataSearch" => {
            return is_bucket_owner || reads(bucket);
        }
        "GetBucketAcl" => return is_bucket_owner || reads_bucket_acl,
        "ListMultipartUploadParts" | "AbortMultipartUpload" => {
            let began =
                object.is_some_and(|(writer, _)| writer == caller) && has_account && caller != Caller::UserOfOwner;
            return is_bucket_owner || began;
        }
        name if !name.contains("Object") || action == "s3:DeleteObjectVersion" => return is_bucket_owner,
        name if ["Retention", "LegalHold", "Lock", "RestoreObject", "Encryption"]
            .iter()
            .any(|it| name.contains(it)) =>
        {
            return is_bucket_owner;
        }
        _ => {}
    }
    let Some((writer, canned)) = object else { return is_bucket_owner || reads(bucket) };
    let is_writer = (writer == caller && has_account) || (writer == Caller::Nobody && is_bucket_owner);
    if name.contains("Tagging") || name.contains("Annotation") {
        return is_writer || is_bucket_owner;
    }
    let full = is_bucket_owner && canned == CannedAcl::BucketOwnerFullControl;
    if name.contains("Acl") {
        let log = canned == CannedAcl::LogDeliveryWrite && caller == Caller::LogDelivery && name.starts_with("Get");
        return is_writer || full || log;
    }
    let as_bucket_owner = is_bucket_owner && canned == CannedAcl::BucketOwnerRead;
    is_writer || full || as_bucket_owner || reads(canned) || (readable && (is_bucket_owner || reads(bucket)))
}

#[test]
fn every_action_caller_and_canned_list_is_decided_by_the_rules() {
    let owner = id(Caller::Owner);
    let mut seen = [0_u32; 2];
    for action in Action::ALL.iter().copied() {
        for caller in CALLERS {
            for bucket_acl in CANNED {
                for readable in [false, true] {
                    let acl = Acl::from_canned(bucket_acl, &owner, &owner);
                    let bucket = BucketFacts {
                        owner: &owner,
                        acl: &acl,
                        policy: None,
                        limits: AccessLimits::default(),
                        public_read_override: readable,
                    };
                    let found = authorize(&principal(caller), action, &bucket, None).is_allowed();
                    assert_eq!(
                        found,
                        may(caller, action.as_str(), bucket_acl, None, readable),
                        "{action} {caller:?} {bucket_acl:?} without object"
                    );
                    for writer in [Caller::Owner, Caller::Writer, Caller::Nobody] {
                        for canned in CANNED {
                            let writer_id = id(writer);
                            let acl = Acl::from_canned(canned, &writer_id, &owner);
                            let object = ObjectFacts { owner: &writer_id, acl: &acl };
                            let found = authorize(&principal(caller), action, &bucket, Some(&object)).is_allowed();
                            let expected = may(caller, action.as_str(), bucket_acl, Some((writer, canned)), readable);
                            assert_eq!(
                                found, expected,
                                "{action} {caller:?} bucket {bucket_acl:?} {readable} object of {writer:?} {canned:?}"
                            );
                            seen[usize::from(found)] += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 10_000), "both verdicts occur: {seen:?}");
}

#[test]
fn accounts_list_and_create_buckets_and_nobody_else_does() {
    for caller in CALLERS {
        for action in Action::ALL.iter().copied() {
            let expected =
                matches!(action, Action::ListAllMyBuckets | Action::CreateBucket) && caller != Caller::Nobody;
            assert_eq!(authorize_account(&principal(caller), action).is_allowed(), expected, "{action} {caller:?}");
        }
    }
}

#[test]
fn names_are_those_of_policies_and_unique() {
    let mut names: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    for (action, name) in Action::ALL.iter().zip(&names) {
        // Quotas are the original's own invention, and so is the name space of their actions.
        let space = if name.ends_with("BucketQuota") { "scality" } else { "s3" };
        assert_eq!(*name, format!("{space}:{action:?}"));
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Action::ALL.len());
}

#[test]
fn resources_are_named_as_policies_name_them() {
    let (bucket, key) = (BucketName::new("photos").unwrap(), ObjectKey::new("2026/ä b").unwrap());
    assert_eq!(Resource::Bucket(&bucket).to_string(), "arn:aws:s3:::photos");
    assert_eq!(Resource::Object(&bucket, &key).to_string(), "arn:aws:s3:::photos/2026/ä b");
}

/// What another account may do, in the words of the public suite's access tests.
#[test]
fn another_account_has_what_the_lists_of_bucket_and_object_give() {
    use CannedAcl::{Private, PublicRead, PublicReadWrite};
    let owner = id(Caller::Owner);
    let stranger = principal(Caller::Stranger);
    for (bucket_acl, object_acl, read, list, write) in [
        (Private, Private, false, false, false),
        (Private, PublicRead, true, false, false),
        (Private, PublicReadWrite, true, false, false),
        (PublicRead, Private, false, true, false),
        (PublicRead, PublicRead, true, true, false),
        (PublicRead, PublicReadWrite, true, true, false),
        (PublicReadWrite, Private, false, true, true),
        (PublicReadWrite, PublicRead, true, true, true),
        (PublicReadWrite, PublicReadWrite, true, true, true),
    ] {
        let (bucket_list, object_list) =
            (Acl::from_canned(bucket_acl, &owner, &owner), Acl::from_canned(object_acl, &owner, &owner));
        let bucket = BucketFacts {
            owner: &owner,
            acl: &bucket_list,
            policy: None,
            limits: AccessLimits::default(),
            public_read_override: false,
        };
        let object = ObjectFacts { owner: &owner, acl: &object_list };
        let ask = |action| authorize(&stranger, action, &bucket, Some(&object)).is_allowed();
        assert_eq!(
            (ask(Action::GetObject), ask(Action::ListBucket), ask(Action::PutObject)),
            (read, list, write),
            "{bucket_acl:?} {object_acl:?}"
        );
        let missing = authorize(&stranger, Action::GetObject, &bucket, None).is_allowed();
        assert_eq!(missing, list, "404 only for those who may list");
    }
}

#[test]
fn each_grant_on_a_bucket_gives_that_and_nothing_else() {
    let owner = id(Caller::Owner);
    let stranger = principal(Caller::Stranger);
    let actions = [Action::ListBucket, Action::PutObject, Action::GetBucketAcl, Action::PutBucketAcl];
    for (permission, expected) in [
        (Permission::FullControl, [true; 4]),
        (Permission::Read, [true, false, false, false]),
        (Permission::Write, [false, true, false, false]),
        (Permission::ReadAcp, [false, false, true, false]),
        (Permission::WriteAcp, [false, false, false, true]),
    ] {
        let grantee = Grantee::Account(stranger.account.clone());
        let acl = Acl { grants: vec![Grant { grantee, permission }] };
        let bucket = BucketFacts {
            owner: &owner,
            acl: &acl,
            policy: None,
            limits: AccessLimits::default(),
            public_read_override: false,
        };
        assert_eq!(actions.map(|action| authorize(&stranger, action, &bucket, None).is_allowed()), expected);
        // Versions and settings are beyond any list.
        for action in [Action::DeleteObjectVersion, Action::DeleteBucket, Action::PutBucketVersioning] {
            assert!(!authorize(&stranger, action, &bucket, None).is_allowed(), "{permission:?} {action}");
        }
        // The owner needs no entry.
        let all =
            Action::ALL.iter().all(|action| authorize(&principal(Caller::Owner), *action, &bucket, None).is_allowed());
        assert!(all, "{permission:?}");
    }
}

#[test]
fn only_the_four_services_bypass_ownership() {
    let owner = id(Caller::Owner);
    let acl = Acl::default();
    let bucket = BucketFacts {
        owner: &owner,
        acl: &acl,
        policy: None,
        limits: AccessLimits::default(),
        public_read_override: false,
    };
    for (name, allowed) in [
        ("replication", true),
        ("lifecycle", true),
        ("gc", true),
        ("md-ingestion", true),
        ("clueso", false),
        ("", false),
    ] {
        let account = AccountId::new(format!("{}{name}", account::SERVICE_PREFIX));
        let service = Principal { account, ..Principal::anonymous() };
        assert_eq!(service.is_service(), allowed);
        assert_eq!(authorize(&service, Action::PutObject, &bucket, None).is_allowed(), allowed, "{name}");
    }
}
