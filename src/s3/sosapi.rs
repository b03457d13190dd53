//! Veeam's "Smart Object Storage API": two documents by which backup software learns what a bucket can do.
//!
//! They are made when asked for, under keys of their own in every bucket, by the rules of any other object; an object
//! that was really stored there comes first. The original's route `/_/veeam/<bucket>/…` names the same keys.

use bytes::Bytes;

use super::{context::Context, operation::ObjectRef, xml::write::XmlWriter};
use crate::storage::{Bucket, StorageError, StorageResult};

/// The folder of the two documents.
const FOLDER: &str = ".system-d26a9498-cb7c-4a87-a44a-8ae204f5ba6c/";
/// Where the original has them.
const ROUTE: &str = "/_/veeam/";
/// What Veeam should read and write at a time, in KiB.
const BLOCK_KIB: u32 = 4096;

/// The path of the object that the original's route means.
pub(super) fn rerouted(path: &str) -> Option<String> {
    let (bucket, rest) = path.strip_prefix(ROUTE)?.split_once('/')?;
    let folder = if rest.starts_with(FOLDER) { "" } else { FOLDER };
    Some(format!("/{bucket}/{folder}{rest}"))
}

/// The document of this key, if there is one and no object is stored there.
pub(super) async fn document(cx: &Context, bucket: &Bucket, object: &ObjectRef) -> StorageResult<Option<Bytes>> {
    let Some(name) = object.key.as_str().strip_prefix(FOLDER) else { return Ok(None) };
    match cx.storage.version(bucket, &object.key, object.version).await {
        Err(StorageError::NoSuchKey(None)) if object.version.is_none() => {}
        _ => return Ok(None),
    }
    match name {
        "system.xml" => Ok(Some(system(capacity(cx, bucket).await?.is_some()))),
        "capacity.xml" => {
            let Some((capacity, available, used)) = capacity(cx, bucket).await? else { return Ok(None) };
            let mut xml = XmlWriter::bare("CapacityInfo", &[], 256);
            xml.value("Capacity", capacity).value("Available", available).value("Used", used);
            Ok(Some(xml.finish()))
        }
        _ => Ok(None),
    }
}

/// Texts stand in quotes, as in Veeam's own examples.
fn system(has_capacity: bool) -> Bytes {
    let mut xml = XmlWriter::bare("SystemInfo", &[], 512);
    xml.text("ProtocolVersion", "\"1.0\"");
    xml.text("ModelName", concat!("\"cloudserver ", env!("CARGO_PKG_VERSION"), "\""));
    xml.open("ProtocolCapabilities");
    xml.value("CapacityInfo", has_capacity).value("UploadSessions", false).value("IAMSTS", false);
    xml.close();
    xml.open("SystemRecommendations").value("KbBlockSize", BLOCK_KIB).close();
    xml.finish()
}

/// Capacity, what is available of it, and what the bucket uses, in bytes: of the bucket's quota if it has one, else of
/// the device of its location; `None` where nobody knows.
async fn capacity(cx: &Context, bucket: &Bucket) -> StorageResult<Option<(u64, u64, u64)>> {
    let used = u64::try_from(cx.storage.usage(bucket).await?.stored_bytes()).unwrap_or_default();
    let quota = bucket.record.quota_bytes;
    if quota > 0 {
        return Ok(Some((quota, quota.saturating_sub(used), used)));
    }
    let locations = cx.storage.locations();
    let Some(location) = locations.get(&bucket.record.location) else { return Ok(None) };
    let disk = location.backend.disk_usage().await?;
    Ok(disk.map(|disk| (disk.total, disk.available, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_of_the_original_means_the_same_keys() {
        let path = "/b/.system-d26a9498-cb7c-4a87-a44a-8ae204f5ba6c/system.xml";
        assert_eq!(rerouted("/_/veeam/b/system.xml").as_deref(), Some(path));
        assert_eq!(rerouted(&format!("/_/veeam{path}")).as_deref(), Some(path));
        assert_eq!(rerouted("/_/veeam/b"), None);
        assert_eq!(rerouted("/_/veeamb/x"), None);
    }
}
