//! Copying a key with all its versions, as often as it takes.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Problem, Shared,
    copy::{Copied, CopyError, Copying, Place},
    headers::{Expected, is_digest},
    listing::{self, Group},
    report::Sums,
};
use crate::s3client::{S3Client, VersionEntry};

/// Tries of a key whose stores are up.
const ATTEMPTS: u32 = 5;
/// How long a store that is away is waited for.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);
/// Pauses between tries, at the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Said of keys that the target has gone on with.
const LEFT: &str = "it was written or deleted at the target since: left as it is there";

/// Said of what went at the source.
const GONE: &str = "it was deleted at the source before it could be copied";

/// What came of a key.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) sums: Sums,
    /// What was not copied.
    pub(super) problems: Vec<Problem>,
    /// What is not as it was.
    pub(super) notes: Vec<Problem>,
    /// Whether it was given up after many tries, and might be copied another time.
    pub(super) gave_up: bool,
    /// A store is away for good: the run ends.
    pub(super) fatal: Option<CopyError>,
}

/// What is missing at the target.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// These versions, from here on.
    From(usize),
    /// The target was written since: it stays as it is.
    Newer,
    /// What is there is not the beginning of what the source has.
    Conflict(&'static str),
}

/// Copies what the target lacks of a key. `lookup` says whether it may have some of it.
pub(super) async fn copy(shared: &Shared, place: &Place, group: &Group, lookup: bool) -> Outcome {
    let mut outcome = Outcome { sums: Sums { keys: 1, ..Sums::default() }, ..Outcome::default() };
    let began = Instant::now();
    let mut lookup = lookup;
    for attempt in 1_u32.. {
        let Err(error) = attempt_once(shared, place, (group, lookup), &mut outcome).await else { break };
        // From now on nobody knows what is there.
        lookup = true;
        if matches!(error, CopyError::Taken) {
            // In a bucket with versions what is there now tells whether the rest still fits.
            if place.is_versioned && attempt < ATTEMPTS {
                continue;
            }
            outcome.notes.push(problem(group, LEFT.to_owned()));
            break;
        }
        if !error.may_pass() {
            outcome.problems.push(problem(group, error.to_string()));
            break;
        }
        if attempt >= ATTEMPTS && are_up(shared, place).await {
            outcome.problems.push(problem(group, format!("{error} (tried {attempt} times)")));
            outcome.gave_up = true;
            break;
        }
        if began.elapsed() > PATIENCE {
            outcome.fatal = Some(error);
            break;
        }
        let pause = Duration::from_millis(200).saturating_mul(1 << attempt.min(8));
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
    outcome
}

fn problem(group: &Group, problem: String) -> Problem {
    Problem { key: group.key.clone(), problem, ..Problem::default() }
}

/// Whether both stores answer at all: then it is the key that is the trouble.
async fn are_up(shared: &Shared, place: &Place) -> bool {
    let up = |client: S3Client, bucket: String| async move {
        client.head_bucket(&bucket).await.map_or_else(|error| !error.may_pass(), |_| true)
    };
    up(shared.options.from.clone(), place.from.clone()).await && up(shared.options.to.clone(), place.to.clone()).await
}

async fn attempt_once(
    shared: &Shared,
    place: &Place,
    (group, lookup): (&Group, bool),
    outcome: &mut Outcome,
) -> Result<(), CopyError> {
    let copied = outcome.sums.versions + outcome.sums.markers;
    let there = if lookup {
        let found = listing::of_key(&shared.options.to, &place.to, &group.key, place.is_versioned).await;
        found.map_err(CopyError::Target)?.versions
    } else {
        Vec::new()
    };
    let first = match missing(&group.versions, &there, place.is_versioned) {
        Missing::From(first) => first,
        Missing::Newer => {
            outcome.notes.push(problem(group, LEFT.to_owned()));
            return Ok(());
        }
        Missing::Conflict(why) => {
            outcome.problems.push(problem(group, why.to_owned()));
            return Ok(());
        }
    };
    outcome.sums.present = (first as u64).saturating_sub(copied);
    let mut expected = there.last().map_or(Expected::Absent, |newest| Expected::Newest(newest.clone()));
    for entry in group.versions.iter().skip(first) {
        match (Copying { shared, place, entry, expected: &expected }).run().await {
            Ok(done) => {
                expected = Expected::Newest(done.newest.clone());
                note(outcome, entry, done);
            }
            Err(error) if error.may_pass() || matches!(error, CopyError::Taken) => return Err(error),
            Err(error) if is_gone(shared, place, entry, &error).await? => {
                outcome.notes.push(problem(group, GONE.to_owned()));
            }
            // The other versions are copied all the same.
            Err(error) => outcome.problems.push(Problem {
                key: group.key.clone(),
                version: entry.version.clone(),
                problem: error.to_string(),
            }),
        }
    }
    Ok(())
}

/// Whether what cannot be read is not listed any more either: a key that only cannot be read is no deleted one.
async fn is_gone(shared: &Shared, place: &Place, entry: &VersionEntry, error: &CopyError) -> Result<bool, CopyError> {
    if !matches!(error, CopyError::Source(error) if error.is_missing()) {
        return Ok(false);
    }
    let now = listing::of_key(&shared.options.from, &place.from, &entry.object.key, place.is_versioned).await;
    Ok(now.map_err(CopyError::Source)?.versions.iter().all(|version| version.version != entry.version))
}

fn note(outcome: &mut Outcome, entry: &VersionEntry, done: Copied) {
    if entry.marker {
        outcome.sums.markers += 1;
    } else {
        outcome.sums.versions += 1;
    }
    outcome.sums.bytes += done.bytes;
    outcome.notes.extend(done.notes.into_iter().map(|note| Problem {
        key: entry.object.key.clone(),
        version: entry.version.clone(),
        problem: note,
    }));
}

/// What the target lacks. Both are oldest first.
fn missing(source: &[VersionEntry], there: &[VersionEntry], is_versioned: bool) -> Missing {
    if !is_versioned {
        return match (source.first(), there.first()) {
            (Some(source), Some(there)) if same(source, there) => Missing::From(1),
            (Some(source), Some(there)) if source.object.modified < there.object.modified => Missing::Newer,
            _ => Missing::From(0),
        };
    }
    let mut next = 0;
    let mut foreign = false;
    for version in there {
        match source.iter().skip(next).position(|of| same(of, version)) {
            Some(skipped) if !foreign => next += skipped + 1,
            _ => foreign = true,
        }
    }
    match (foreign, next == source.len()) {
        // All is there, and somebody went on at the target.
        (false, _) | (true, true) => Missing::From(next),
        // Deleted there before anything of it was copied.
        (true, false) if next == 0 && there.iter().all(|version| version.marker) => Missing::Newer,
        (true, false) => Missing::Conflict(
            "the target has versions of this key that the source has not: remove them there, or copy to another bucket",
        ),
    }
}

/// Whether one is the copy of the other, as far as listings tell.
pub(super) fn same(source: &VersionEntry, copy: &VersionEntry) -> bool {
    if source.marker || copy.marker {
        return source.marker == copy.marker;
    }
    let (of, is) = (&source.object, &copy.object);
    // Tags of parts, and those that encryption makes, may differ though the bytes do not.
    of.size == is.size && (of.etag == is.etag || !(is_digest(&of.etag) && is_digest(&is.etag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{s3client::ObjectEntry, types::Timestamp};

    fn version(etag: &str, at: u64) -> VersionEntry {
        let etag = if etag.len() == 1 { etag.repeat(32) } else { etag.to_owned() };
        let modified = Some(Timestamp::from_secs(at));
        let object = ObjectEntry { etag, size: 1, modified, ..ObjectEntry::default() };
        VersionEntry { object, ..VersionEntry::default() }
    }

    fn marker() -> VersionEntry {
        VersionEntry { marker: true, ..VersionEntry::default() }
    }

    #[test]
    fn versions_go_on_where_the_target_ends() {
        let source = [version("a", 1), version("b", 2), marker(), version("a", 3)];
        for there in 0..=4 {
            assert_eq!(missing(&source, &source[..there], true), Missing::From(there));
        }
        // One that could not be copied stays out, and those after it are not copied twice.
        assert_eq!(missing(&source, &[version("a", 1), marker()], true), Missing::From(3));
        let more = [&source[..], &[version("c", 9)]].concat();
        assert_eq!(missing(&source, &more, true), Missing::From(4), "somebody went on at the target");
        assert!(matches!(missing(&source, &[version("c", 9)], true), Missing::Conflict(_)));
        assert!(matches!(missing(&source, &[version("a", 1), version("c", 9)], true), Missing::Conflict(_)));
        assert_eq!(missing(&[version("a", 1)], &[marker()], true), Missing::Newer, "deleted before it was copied");
    }

    #[test]
    fn what_the_target_wrote_later_is_left_alone() {
        let source = [version("a", 5)];
        assert_eq!(missing(&source, &[], false), Missing::From(0));
        assert_eq!(missing(&source, &[version("a", 9)], false), Missing::From(1));
        assert_eq!(missing(&source, &[version("b", 4)], false), Missing::From(0), "the source was written since");
        assert_eq!(missing(&source, &[version("b", 6)], false), Missing::Newer);
    }

    #[test]
    fn tags_of_parts_do_not_tell_versions_apart() {
        assert!(same(&version("a", 1), &version("0123-7", 1)));
        assert!(!same(&version("a", 1), &version("b", 1)));
        assert!(!same(&version("a", 1), &marker()));
    }
}
