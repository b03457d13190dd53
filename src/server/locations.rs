//! What has to be right of locations before they are used, and what is told of those in use.

use crate::{
    config::{Location, Locations},
    location::LocationTable,
    storage::{LocationUsage, Orphaned, Storage, StorageResult, Unconfirmed},
    telemetry::metrics::LocationMetrics,
};

/// Puts the limits of these locations in force, and says what is known of their stores.
pub(super) async fn settle(storage: &Storage, table: &LocationTable) -> StorageResult<()> {
    storage.expect_stores(table).await?;
    storage.limit_locations(table).await
}

/// Tells loudly of locations that are in use and not configured. The server starts all the same: what is elsewhere can
/// be read, what is there answers 503 until the location is back, and nothing of it is given up.
pub(super) async fn tell_of_orphans(storage: &Storage, table: &LocationTable) -> StorageResult<()> {
    for Orphaned { name, usage, buckets } in storage.orphaned_locations(table).await? {
        tracing::error!(
            location = name,
            buckets,
            versions = usage.versions,
            bytes = usage.stored_bytes(),
            "a location in use is not configured: its objects answer 503 until it is in the location file again"
        );
    }
    Ok(())
}

/// What an operator should know of a change of locations, given what they hold.
pub(super) async fn warn_of_changes(storage: &Storage, old: &Locations, new: &Locations) -> StorageResult<()> {
    let usage = storage.usage_of_locations().await?;
    for before in old.iter() {
        let Some(after) = new.get(&before.name) else { continue };
        let held = usage.get(&before.name).copied().unwrap_or_default();
        if held != LocationUsage::default() && moved(before, after) {
            tracing::warn!(
                location = before.name,
                versions = held.versions,
                "the location is another place now: objects that are at the old one cannot be read until it is back"
            );
        }
    }
    Ok(())
}

/// Whether the bytes of a location are to be looked for elsewhere. Other secrets, or another way there, are none.
fn moved(before: &Location, after: &Location) -> bool {
    const PLACE: [&str; 12] = [
        "awsEndpoint",
        "gcpEndpoint",
        "bucketName",
        "bucketMatch",
        "azureStorageEndpoint",
        "azureContainerName",
        "azureStorageAccountName",
        "path",
        "url",
        "endpoint",
        "host",
        "port",
    ];
    before.kind != after.kind || PLACE.iter().any(|key| before.details.get(key) != after.details.get(key))
}

/// Fills the gauges of what locations hold.
pub(super) async fn show_locations(storage: &Storage, metrics: &LocationMetrics) {
    let Ok(mut usage) = storage.usage_of_locations().await else { return };
    let table = storage.locations();
    for location in table.iter() {
        let held = usage.remove(&*location.name).unwrap_or_default();
        metrics.show_held(&location.name, (held.versions, held.stored_bytes()), location.size_limit);
    }
    for (name, held) in usage {
        metrics.show_held(&name, (held.versions, held.stored_bytes()), None);
    }
    let (now, mut waiting) = (storage.clock().now(), storage.unconfirmed());
    for location in table.iter() {
        let nothing = Unconfirmed { notes: 0, since: now };
        waiting.entry(location.name.to_string()).or_insert(nothing);
    }
    metrics.show_unconfirmed(
        waiting
            .into_iter()
            .map(|(name, Unconfirmed { notes, since })| (name, notes, now.as_secs().saturating_sub(since.as_secs()))),
    );
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde_json::json;

    use super::*;
    use crate::config::{Config, Launch, Options};

    fn locations(details: &serde_json::Value) -> std::sync::Arc<Locations> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("locations.json");
        let document = json!({
            "us-east-1": {"type": "mem", "objectId": "u", "legacyAwsBehavior": true, "details": {}},
            "far": {"type": "aws_s3", "objectId": "f", "legacyAwsBehavior": false, "details": details},
        });
        std::fs::write(&file, document.to_string()).unwrap();
        let launch = Launch {
            options: Options { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Options::default() },
            environment: [("S3BACKEND", "mem"), ("S3_LOCATION_FILE", file.to_str().unwrap())].into_iter().collect(),
            ..Launch::default()
        };
        Config::load(&launch).unwrap().locations
    }

    #[test]
    fn another_bucket_is_another_place_and_another_secret_is_not() {
        let details = |bucket: &str, secret: &str| {
            locations(&json!({
                "awsEndpoint": "s3.test", "bucketName": bucket,
                "credentials": {"accessKey": "a", "secretKey": secret},
            }))
        };
        let (old, secret, bucket) = (details("b", "s"), details("b", "t"), details("c", "s"));
        let far = |locations: &Locations| std::sync::Arc::clone(locations.get("far").unwrap());
        assert!(!moved(&far(&old), &far(&secret)));
        assert!(moved(&far(&old), &far(&bucket)));
    }
}
