//! Uploads in parts that an interrupted run left open at the target.
//!
//! The journal has the id of each upload before its first part is sent: those are given up by the next run, and no others.
//! An upload whose answer never came has no bytes, and nobody can tell it from one that somebody else began: it is named in
//! the report of the run that ends and left alone.

use std::collections::BTreeMap;

use http::Method;

use super::{BucketReport, Pairing, Problem, Shared};
use crate::{
    s3client::{Call, S3Client, S3ClientError},
    xml::Element,
};

/// Gives up what earlier runs left open: their keys, by id. To be done again at the end, and noted then: an upload that
/// a killed run was just completing cannot be given up, and is open again if that fails.
pub(super) async fn give_up(
    shared: &Shared,
    pair: &Pairing,
    uploads: &BTreeMap<String, String>,
) -> Result<(), S3ClientError> {
    for (id, key) in uploads {
        shared.options.to.abort_multipart_upload(&pair.to, key, id).await?;
    }
    Ok(())
}

/// Names what is open at the target and may be of this migration. At the end of a run: what a killed one sent last may
/// arrive after the next has begun.
pub(super) async fn name(
    shared: &Shared,
    pair: &Pairing,
    own: &str,
    report: &mut BucketReport,
) -> Result<(), S3ClientError> {
    for key in shared.journal.unanswered(&pair.from) {
        for (id, initiator) in open(&shared.options.to, &pair.to, &key).await? {
            // Some stores do not say who began it.
            if own.is_empty() || initiator.is_empty() || initiator == own {
                let text = "an upload in parts is open at the target that an interrupted run may have begun";
                let problem = format!("{text}: if nobody else uses it, abort it there (upload id {id})");
                report.note(Problem { key: key.clone(), problem, ..Problem::default() });
            }
        }
    }
    Ok(())
}

/// Ids of the open uploads of a key, and who began each: of the first thousand, which are more than there can be.
async fn open(client: &S3Client, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, S3ClientError> {
    let call = Call::new(Method::GET, Some(bucket), None).and("uploads", "").and("prefix", key);
    let answer = client.document(call).await?;
    let root = answer.root()?;
    let text = |element: &Element<'_>, name: &str| {
        element.children_named(name).next().map(|child| child.text().to_owned()).unwrap_or_default()
    };
    let of_key = root.children_named("Upload").filter(|upload| text(upload, "Key") == key);
    let found = of_key.map(|upload| {
        let initiator = upload.children_named("Initiator").next().map(|who| text(who, "ID")).unwrap_or_default();
        (text(upload, "UploadId"), initiator)
    });
    Ok(found.collect())
}
