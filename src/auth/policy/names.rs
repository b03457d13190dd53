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

/// Wildcards as everywhere; work is at most the product of the two lengths, however many stars there are.
fn matches(name: &str, action: &str) -> bool {
    let (mut pattern, mut text) = (name.as_bytes(), action.as_bytes());
    // What follows the last star, and where in the text it was tried last.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        (pattern, text) = match (pattern, text, retry) {
            ([], [], _) => return true,
            ([b'*', rest @ ..], _, _) => {
                retry = Some((rest, text));
                (rest, text)
            }
            ([a, pattern @ ..], [b, text @ ..], _) if *a == b'?' || a.eq_ignore_ascii_case(b) => (pattern, text),
            (_, _, Some((rest, [_, tail @ ..]))) => {
                retry = Some((rest, tail));
                (rest, tail)
            }
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_with_wildcards_in_any_case() {
        let matched = |name: &str| actions(name).map(u128::count_ones);
        assert_eq!(matched("s3:getobject"), Some(1));
        assert_eq!(matched("S3:Get?bject"), Some(1));
        assert_eq!(matched("*"), u32::try_from(Action::ALL.len()).ok());
        assert_eq!(matched("***s3:***Get**Object***"), matched("*Get*Object*"));
        assert_eq!(matched("s3:ReplicateTags"), Some(0));
        for none in ["", "?", "s3:", "s3:GetObject?", "s3:GetObjects*", "*x-y*"] {
            assert_eq!(matched(none), None, "{none}");
        }
    }

    /// Each star once multiplied the ways to match, and a policy has room for a thousand such names.
    #[test]
    fn names_of_many_wildcards_cost_no_more_than_others() {
        let began = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(actions(&format!("{}!", "*?".repeat(12))), None);
        }
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
