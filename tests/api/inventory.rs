//! Inventory reports: that they come, and what they tell.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;

use crate::support::{
    client::Client,
    wire::SOON,
    world::{BART, World},
};

fn document(id: &str, versions: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("<Field>{field}</Field>")).collect();
    format!(
        "<InventoryConfiguration><Destination><S3BucketDestination><AccountId>123456789012</AccountId>\
         <Bucket>arn:aws:s3:::reports</Bucket><Format>CSV</Format><Prefix>deep/down</Prefix>\
         <Encryption><SSE-S3/></Encryption></S3BucketDestination></Destination><IsEnabled>true</IsEnabled>\
         <Filter><Prefix>a</Prefix></Filter><Id>{id}</Id><IncludedObjectVersions>{versions}</IncludedObjectVersions>\
         <OptionalFields>{fields}</OptionalFields><Schedule><Frequency>Weekly</Frequency></Schedule>\
         </InventoryConfiguration>"
    )
}

async fn world() -> (World, Client) {
    let world = World::with(|config| {
        config.inventory.look = Duration::from_millis(20);
        config.inventory.rows = 2;
    })
    .await;
    let bart = world.versioned("source").await;
    world.bucket("reports").await;
    (world, bart)
}

/// Waits for keys with this end in the reports, and gives them.
async fn wait(bart: &Client, end: &str, count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let keys = bart.get("/reports?list-type=2&prefix=deep/down/source/").expect(200).await.tags("Key");
        let found: Vec<String> = keys.iter().filter(|key| key.ends_with(end)).cloned().collect();
        if found.len() >= count {
            return found;
        }
        assert!(began.elapsed() < SOON, "no {count} of {end} among {keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_report_comes_with_manifests_and_every_version_below_the_prefix() {
    let (world, bart) = world().await;
    bart.put("/source/a%20%22b%22", "12345").expect(200).await;
    bart.put("/source/a%20%22b%22", "123").expect(200).await;
    bart.put("/source/a%2Bc", "1").expect(200).await;
    bart.delete("/source/a%2Bc").expect(204).await;
    bart.put("/source/b", "1").expect(200).await;
    let fields = ["Size", "ETag", "ObjectOwner", "EncryptionStatus", "IsMultipartUploaded"];
    bart.put("/source?inventory&id=one", document("one", "All", &fields)).expect(200).await;
    let checksum = wait(&bart, "/manifest.checksum", 1).await.remove(0);
    let manifest = bart.get(&format!("/reports/{}", checksum.replace(".checksum", ".json"))).expect(200).await;
    let manifest = manifest.has("x-amz-server-side-encryption", "AES256");
    let manifest: serde_json::Value = serde_json::from_str(&manifest.text()).unwrap();
    assert_eq!(manifest["sourceBucket"], "source");
    assert_eq!(manifest["destinationBucket"], "arn:aws:s3:::reports");
    assert_eq!(
        manifest["fileSchema"],
        "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag, IsMultipartUploaded, EncryptionStatus, ObjectOwner"
    );
    let mut text = String::new();
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let bytes = bart.get(&format!("/reports/{}", file["key"].as_str().unwrap())).expect(200).await.body;
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    }
    assert_eq!(files.len(), 2);
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.trim_matches('"').split("\",\"").collect::<Vec<_>>()).collect();
    let cell = |at: usize| rows.iter().map(|row| row[at]).collect::<Vec<_>>();
    assert_eq!(cell(1), ["a%20%22b%22", "a%20%22b%22", "a%2Bc", "a%2Bc"]);
    assert_eq!(cell(3), ["true", "false", "true", "false"]);
    assert_eq!(cell(4), ["false", "false", "true", "false"]);
    assert_eq!(cell(5), ["3", "5", "", "1"]);
    assert_eq!(cell(8), ["NOT-SSE", "NOT-SSE", "", "NOT-SSE"]);
    assert_eq!(cell(9), [BART; 4]);
    let listed = bart.get("/source?versions&prefix=a").expect(200).await.tags("VersionId");
    assert_eq!(cell(2), listed.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(wait(&bart, "/symlink.txt", 1).await.len(), 1);
    assert_eq!(world.metric("cloudserver_inventory_reports_total").await, 1);
    assert_eq!(world.metric("cloudserver_inventory_rows_total").await, 4);
    world.sound().await;
}

#[tokio::test]
async fn a_destination_that_is_gone_or_forbids_it_gets_nothing_and_the_server_says_so() {
    let (world, bart) = world().await;
    let deny = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\
                \"Principal\":{\"Service\":\"s3.amazonaws.com\"},\"Action\":\"s3:PutObject\",\
                \"Resource\":\"arn:aws:s3:::reports/*\"}]}";
    bart.put("/reports?policy", deny).digested().expect(204).await;
    bart.put("/source/a", "1").expect(200).await;
    for (id, count) in [("one", 1), ("two", 2)] {
        bart.put(&format!("/source?inventory&id={id}"), document(id, "Current", &[])).expect(200).await;
        let began = Instant::now();
        while world.metric("cloudserver_inventory_failures_total").await < count {
            assert!(began.elapsed() < SOON, "the refusal of {id} does not show");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if id == "one" {
            // It is empty: nothing was written.
            bart.delete("/reports").expect(204).await;
        }
    }
    world.sound().await;
}
