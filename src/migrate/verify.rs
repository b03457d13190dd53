//! Comparing the copy with what was copied.

use futures_util::{StreamExt, stream};

use super::{
    MigrateError, Options, Pairing, Problem, Progress, Verify,
    bucket::absent,
    copy::Tally,
    key::same,
    listing::{self, Group, Walk},
    report::BucketReport,
};
use crate::s3client::{Get, S3Client, S3ClientError, VersionEntry};

/// Compares every key of a bucket.
pub(super) async fn bucket(
    options: &Options,
    pair: &Pairing,
    progress: &Progress,
    report: &mut BucketReport,
) -> Result<(), MigrateError> {
    progress.enter(&pair.from);
    let versioning = options.from.bucket_versioning(&pair.from).await.or_else(absent);
    let is_versioned = versioning.map_err(MigrateError::Source)?.is_some();
    let mut walk = Walk::new(&options.from, (&pair.from, &options.prefix), is_versioned, None);
    let mut differences = 0;
    let mut is_over = false;
    while !is_over {
        let mut groups = Vec::new();
        while groups.len() < options.workers.max(1) * 4 {
            let Some(group) = walk.next().await.map_err(MigrateError::Source)? else {
                is_over = true;
                break;
            };
            groups.push(group);
        }
        let compared = stream::iter(groups).map(|group| async move {
            let found = key(options, pair, &group, is_versioned).await;
            (group, found)
        });
        let mut compared = compared.buffer_unordered(options.workers.max(1));
        while let Some((group, found)) = compared.next().await {
            let found = found?;
            report.verified += group.versions.len() as u64;
            progress.done(group.versions.len());
            for problem in found {
                progress.problem();
                differences += 1;
                report.note(problem);
            }
        }
    }
    report.differences = Some(differences);
    Ok(())
}

/// What is different of a key.
async fn key(
    options: &Options,
    pair: &Pairing,
    group: &Group,
    is_versioned: bool,
) -> Result<Vec<Problem>, MigrateError> {
    let there = listing::of_key(&options.to, &pair.to, &group.key, is_versioned).await.map_err(MigrateError::Target)?;
    let mut problems = Vec::new();
    let mut differs = |version: &str, problem: String| {
        problems.push(Problem { key: group.key.clone(), version: version.to_owned(), problem });
    };
    if there.versions.len() < group.versions.len() {
        let (has, of) = (there.versions.len(), group.versions.len());
        differs("", format!("the target has {has} of its {of} versions"));
        return Ok(problems);
    }
    // What the target has beyond is what was written there since.
    for (version, copy) in group.versions.iter().zip(&there.versions) {
        if !same(version, copy) {
            let (was, is) = (&version.object, &copy.object);
            let text = format!("{} bytes with the tag {} became {} with {}", was.size, was.etag, is.size, is.etag);
            differs(&version.version, text);
        } else if options.verify == Verify::Bytes && !version.marker {
            match bytes(options, pair, version, copy).await {
                Ok(true) => {}
                Ok(false) => differs(&version.version, "its bytes are others at the target".to_owned()),
                Err((store, error)) => differs(&version.version, format!("it cannot be read at {store}: {error}")),
            }
        }
    }
    Ok(problems)
}

/// Whether the bytes are the same.
async fn bytes(
    options: &Options,
    pair: &Pairing,
    version: &VersionEntry,
    copy: &VersionEntry,
) -> Result<bool, (&'static str, S3ClientError)> {
    let was = digest(&options.from, &pair.from, version).await.map_err(|error| ("the source", error))?;
    let is = digest(&options.to, &pair.to, copy).await.map_err(|error| ("the target", error))?;
    Ok(was == is)
}

/// The digest of a version's bytes.
pub(super) async fn digest(client: &S3Client, bucket: &str, version: &VersionEntry) -> Result<String, S3ClientError> {
    let named = Some(version.version.as_str()).filter(|version| !version.is_empty());
    let answer = client.get_object(bucket, &version.object.key, Get { version: named, ..Get::default() }).await?;
    let tally = Tally::default();
    let mut body = tally.over(answer.body);
    while let Some(chunk) = body.next().await {
        chunk.map_err(|error| S3ClientError::Answer(error.to_string()))?;
    }
    Ok(tally.hex())
}
