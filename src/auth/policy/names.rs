//! Names of actions in policies.

use crate::auth::Action;

/// Actions of S3 that no operation of this server asks for. Policies may name them, as they do on AWS.
const OTHERS: &[&str] = &[
    "s3:CreateBucketMetadataTableConfiguration",
    "s3:DeleteBucketMetadataTableConfiguration",
    "s3:GetBucketMetadataTableConfiguration",
    "s3:UpdateBucketMetadataInventoryTableConfiguration",
    "s3:UpdateBucketMetadataJournalTableConfiguration",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucketReplication",
    "s3:GetDataAccess",
    "s3:GetObjectTorrent",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTorrent",
    "s3:InitiateReplication",
    "s3:ListBucketByTags",
    "s3:ListTagsForResource",
    "s3:ObjectOwnerOverrideToBucketOwner",
    "s3:PauseReplication",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
    "s3:ReplicateTags",
    "s3:TagResource",
    "s3:UntagResource",
];

/// The actions that a name stands for, a bit each; `None` where it is the name of none. Names are not case-sensitive;
/// `*` and `?` are wildcards.
pub(super) fn actions(name: &str) -> Option<u128> {
    let mut bits = 0;
    let mut known = false;
    for action in Action::ALL {
        if matches(name, action.as_str()) {
            bits |= bit(*action);
            known = true;
        }
    }
    (known || OTHERS.iter().any(|other| matches(name, other))).then_some(bits)
}

/// The bit of an action.
pub(super) const fn bit(action: Action) -> u128 {
    const { assert!(Action::ALL.len() <= 128, "a set of actions is 128 bits") };
    1 << action as u32
}

fn matches(name: &str, action: &str) -> bool {
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                glob(rest, text) || text.split_first().is_some_and(|(_, text)| glob(pattern, text))
            }
            ([b'?', pattern @ ..], [_, text @ ..]) => glob(pattern, text),
            ([a, pattern @ ..], [b, text @ ..]) => a.eq_ignore_ascii_case(b) && glob(pattern, text),
            _ => false,
        }
    }
    // Stars in a row mean one, and are what makes matching slow.
    name.matches('*').count() <= MAX_STARS && glob(name.as_bytes(), action.as_bytes())
}

/// Most wildcards in the name of an action: each multiplies the ways to match.
const MAX_STARS: usize = 4;
