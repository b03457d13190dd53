//! Uploads in parts that an interrupted run left open at the target.
//!
//! The journal names a key before its upload is begun, for the answer with the id may never come. So at the next run every
//! open upload of that very key by the very account that copies is given up.

use std::collections::BTreeSet;

use http::Method;

use crate::{
    s3client::{Call, S3Client, S3ClientError},
    xml::Element,
};

/// Gives up what is open of these keys.
pub(super) async fn give_up(
    client: &S3Client,
    bucket: &str,
    noted: Vec<String>,
    own: &str,
) -> Result<(), S3ClientError> {
    let keys: BTreeSet<String> = noted.into_iter().collect();
    for key in keys {
        for id in open(client, bucket, &key, own).await? {
            client.abort_multipart_upload(bucket, &key, &id).await?;
        }
    }
    Ok(())
}

/// Ids of the open uploads of a key: of the first thousand, which are more than there can be.
async fn open(client: &S3Client, bucket: &str, key: &str, own: &str) -> Result<Vec<String>, S3ClientError> {
    let call = Call::new(Method::GET, Some(bucket), None).and("uploads", "").and("prefix", key);
    let answer = client.document(call).await?;
    let root = answer.root()?;
    let text = |element: &Element<'_>, name: &str| {
        element.children_named(name).next().map(|child| child.text().to_owned()).unwrap_or_default()
    };
    let mut ids = Vec::new();
    for upload in root.children_named("Upload").filter(|upload| text(upload, "Key") == key) {
        let initiator = upload.children_named("Initiator").next().map(|who| text(who, "ID")).unwrap_or_default();
        // Some stores do not say who began it.
        if own.is_empty() || initiator.is_empty() || initiator == own {
            ids.push(text(upload, "UploadId"));
        }
    }
    Ok(ids)
}
