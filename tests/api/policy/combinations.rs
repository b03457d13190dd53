//! Lists × policy × public access block × ownership × operation × caller, against a naive statement of the rules.

use super::{ALL, LISA, block, list, on, ownership, policy, statement};
use crate::support::{
    client::{Call, Client},
    world::World,
};

const BUCKET: &str = "combined";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Owner,
    Other,
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    None,
    AllForAll,
    OtherReadsAndWrites,
    OtherReadsNotAllList,
    LocalRead,
    NobodyDeletesOrLists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    GetOpen,
    HeadOpen,
    GetShut,
    GetOthers,
    GetMissing,
    List,
    Put,
    Delete,
    GetBucketAcl,
    GetOpenAcl,
    GetOpenTags,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    list: &'static str,
    rule: Rule,
    ignore: bool,
    restrict: bool,
    ownership: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    No,
    Yes,
    Nothing,
}

const LISTS: [&str; 4] = ["private", "public-read", "public-read-write", "authenticated-read"];
const RULES: [Rule; 6] = [
    Rule::None,
    Rule::AllForAll,
    Rule::OtherReadsAndWrites,
    Rule::OtherReadsNotAllList,
    Rule::LocalRead,
    Rule::NobodyDeletesOrLists,
];
const CALLERS: [Who; 3] = [Who::Owner, Who::Other, Who::Nobody];
const DEEDS: [Deed; 11] = [
    Deed::GetOpen,
    Deed::HeadOpen,
    Deed::GetShut,
    Deed::GetOthers,
    Deed::GetMissing,
    Deed::List,
    Deed::Put,
    Deed::Delete,
    Deed::GetBucketAcl,
    Deed::GetOpenAcl,
    Deed::GetOpenTags,
];

impl Rule {
    fn says(self, who: Who, deed: Deed) -> Says {
        let reads = matches!(deed, Deed::GetOpen | Deed::HeadOpen | Deed::GetShut | Deed::GetOthers | Deed::GetMissing);
        let when = |condition: bool, says: Says| if condition { says } else { Says::Nothing };
        match self {
            Self::None => Says::Nothing,
            Self::AllForAll => Says::Yes,
            Self::OtherReadsAndWrites => when(who == Who::Other && (reads || deed == Deed::Put), Says::Yes),
            Self::OtherReadsNotAllList if who == Who::Other && reads => Says::No,
            Self::OtherReadsNotAllList => when(deed == Deed::List, Says::Yes),
            Self::LocalRead => when(reads, Says::Yes),
            Self::NobodyDeletesOrLists => when(matches!(deed, Deed::Delete | Deed::List), Says::No),
        }
    }

    fn is_public(self) -> bool {
        matches!(self, Self::AllForAll | Self::OtherReadsNotAllList)
    }

    async fn set(self, client: &Client) {
        let (bucket, objects) = (BUCKET, format!("{BUCKET}/*"));
        let objects = [objects.as_str()];
        let local = r#"{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}"#;
        let statements = match self {
            Self::None => return drop(client.delete(&format!("/{bucket}?policy")).expect(204).await),
            Self::AllForAll => statement("Allow", ALL, "s3:*", bucket),
            Self::OtherReadsAndWrites => {
                [on("Allow", LISA, "s3:GetObject", &objects, "{}"), on("Allow", LISA, "s3:PutObject", &objects, "{}")]
                    .join(",")
            }
            Self::OtherReadsNotAllList => {
                [on("Deny", LISA, "s3:GetObject", &objects, "{}"), on("Allow", ALL, "s3:ListBucket", &[bucket], "{}")]
                    .join(",")
            }
            Self::LocalRead => on("Allow", ALL, "s3:GetObject", &objects, local),
            Self::NobodyDeletesOrLists => {
                [on("Deny", ALL, "s3:DeleteObject", &objects, "{}"), on("Deny", ALL, "s3:ListBucket", &[bucket], "{}")]
                    .join(",")
            }
        };
        policy(client, bucket, &statements).expect(204).await;
    }
}

impl Setting {
    fn may(&self, who: Who, deed: Deed) -> bool {
        let enforced = self.ownership == "BucketOwnerEnforced";
        let says = self.rule.says(who, deed);
        if says == Says::No || (self.restrict && self.rule.is_public() && who != Who::Owner) {
            return false;
        }
        // Who may not list must not learn what is missing.
        if deed == Deed::GetMissing {
            return self.may(who, Deed::List);
        }
        if deed == Deed::GetOthers && !enforced {
            return who == Who::Other;
        }
        if says == Says::Yes || who == Who::Owner {
            return true;
        }
        // What is left are lists, and all of them are for groups.
        if enforced || self.ignore {
            return false;
        }
        match deed {
            Deed::GetOpen | Deed::HeadOpen => true,
            Deed::List => match self.list {
                "public-read" | "public-read-write" => true,
                "authenticated-read" => who == Who::Other,
                _ => false,
            },
            Deed::Put | Deed::Delete => self.list == "public-read-write",
            _ => false,
        }
    }
}

fn call(client: &Client, deed: Deed) -> Call {
    let at = |name: &str| format!("/{BUCKET}/{name}");
    match deed {
        Deed::GetOpen => client.get(&at("open")),
        Deed::HeadOpen => client.head(&at("open")),
        Deed::GetShut => client.get(&at("shut")),
        Deed::GetOthers => client.get(&at("others")),
        Deed::GetMissing => client.get(&at("missing")),
        Deed::List => client.get(&format!("/{BUCKET}?list-type=2&max-keys=1")),
        Deed::Put => client.put(&at("new"), "body"),
        Deed::Delete => client.delete(&at("gone")),
        Deed::GetBucketAcl => client.get(&format!("/{BUCKET}?acl")),
        Deed::GetOpenAcl => client.get(&at("open?acl")),
        Deed::GetOpenTags => client.get(&at("open?tagging")),
    }
}

#[tokio::test]
async fn lists_policy_block_and_ownership_together_decide_as_the_rules_say() {
    let world = World::new().await;
    let bart = world.bucket(BUCKET).await;
    let lisa = world.lisa();
    let callers = [bart.clone(), lisa.clone(), world.nobody()];
    list(&bart, BUCKET, "public-read-write").expect(200).await;
    bart.put(&format!("/{BUCKET}/open"), "body").header("x-amz-acl", "public-read").expect(200).await;
    bart.put(&format!("/{BUCKET}/shut"), "body").expect(200).await;
    lisa.put(&format!("/{BUCKET}/others"), "body").expect(200).await;

    let (mut done, mut refused) = (0, 0);
    for canned in LISTS {
        ownership(&bart, BUCKET, "ObjectWriter").expect(200).await;
        list(&bart, BUCKET, canned).expect(200).await;
        for name in ["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"] {
            let set = ownership(&bart, BUCKET, name).send().await;
            if name == "BucketOwnerEnforced" && canned != "private" {
                set.refused(400, "InvalidBucketAclWithObjectOwnership");
                continue;
            }
            set.expect(200);
            for rule in RULES {
                rule.set(&bart).await;
                for (ignore, restrict) in [(false, false), (true, false), (false, true), (true, true)] {
                    block(&bart, BUCKET, [false, ignore, false, restrict]).expect(200).await;
                    let setting = Setting { list: canned, rule, ignore, restrict, ownership: name };
                    for (who, client) in CALLERS.into_iter().zip(&callers) {
                        for deed in DEEDS {
                            let expected = match (setting.may(who, deed), deed) {
                                (false, _) => 403,
                                (true, Deed::GetMissing) => 404,
                                (true, Deed::Delete) => 204,
                                (true, _) => 200,
                            };
                            let reply = call(client, deed).send().await;
                            assert_eq!(reply.status, expected, "{setting:?} {who:?} {deed:?}: {reply}");
                            if expected == 403 { refused += 1 } else { done += 1 }
                        }
                    }
                }
            }
        }
    }
    assert!(done > 2000 && refused > 2000, "{done} done, {refused} refused");
    world.sound().await;
}
