//! Replication configurations: kept and checked (s3-wire.md §9, backbeat.md §1.1).

use crate::support::world::{World, refused, versioning};

fn document(class: &str) -> String {
    format!(
        "<ReplicationConfiguration><Role>arn:aws:iam::root:role/s3-replication-role</Role><Rule><ID>r</ID>\
         <Status>Enabled</Status><Prefix>a/</Prefix><Destination><Bucket>arn:aws:s3:::there</Bucket>{class}\
         </Destination></Rule></ReplicationConfiguration>"
    )
}

#[tokio::test]
async fn a_configuration_is_put_shown_and_removed() {
    let world = World::new().await;
    let bart = world.versioned("copies").await;
    bart.get("/copies?replication").refused(404, "ReplicationConfigurationNotFoundError").await;
    bart.delete("/copies?replication").expect(204).await;
    bart.put("/copies?replication", document("")).digested().expect(200).await;
    let shown = bart.get("/copies?replication").expect(200).await;
    assert_eq!(shown.tag("Role").as_deref(), Some("arn:aws:iam::root:role/s3-replication-role"));
    assert_eq!((shown.tag("ID").as_deref(), shown.tag("Prefix").as_deref()), (Some("r"), Some("a/")));
    bart.delete("/copies?replication").expect(204).await;
    bart.get("/copies?replication").refused(404, "ReplicationConfigurationNotFoundError").await;
}

#[tokio::test]
async fn it_needs_versioning_which_then_stays() {
    let world = World::new().await;
    let bart = world.bucket("copies").await;
    let put = bart.put("/copies?replication", document("")).digested();
    refused(&world, put.clone(), 400, "InvalidRequest").await;
    versioning(&bart, "copies", "Suspended").await;
    refused(&world, put.clone(), 400, "InvalidRequest").await;
    versioning(&bart, "copies", "Enabled").await;
    put.expect(200).await;
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    refused(&world, bart.put("/copies?versioning", suspend), 409, "InvalidBucketState").await;
    bart.delete("/copies?replication").expect(204).await;
    versioning(&bart, "copies", "Suspended").await;
}

#[tokio::test]
async fn what_s3_refuses_changes_nothing() {
    let world = World::with(|config| config.replication_sites = vec!["azure".to_owned()]).await;
    let bart = world.versioned("copies").await;
    let class = |text: &str| format!("<StorageClass>{text}</StorageClass>");
    bart.put("/copies?replication", document(&class("azure:preferred_read"))).digested().expect(200).await;
    let put = |body: String| bart.put("/copies?replication", body).digested();
    refused(&world, put(document(&class("nowhere"))), 400, "MalformedXML").await;
    refused(&world, put(document("").replace("<Status>Enabled</Status>", "")), 400, "MalformedXML").await;
    refused(&world, put(document("").replace("arn:aws:iam::root", "arn:aws:s3::")), 400, "InvalidArgument").await;
    refused(&world, bart.put("/copies?replication", document("")), 400, "InvalidRequest").await;
    refused(&world, put(String::new()), 400, "MissingRequestBodyError").await;
    for client in [world.lisa(), world.nobody()] {
        let put = client.put("/copies?replication", document("")).digested();
        refused(&world, put, 403, "AccessDenied").await;
        refused(&world, client.get("/copies?replication"), 403, "AccessDenied").await;
        refused(&world, client.delete("/copies?replication"), 403, "AccessDenied").await;
    }
    refused(&world, bart.get("/missing?replication"), 404, "NoSuchBucket").await;
}
