//! Small settings of buckets, what a creation may say, and operations that are not here.

use crate::support::world::{World, refused};

#[tokio::test]
async fn acceleration_is_kept_but_not_for_names_with_periods() {
    let world = World::new().await;
    let bart = world.bucket("quick").await;
    world.bucket("not.quick").await;
    let body = |status: &str| format!("<AccelerateConfiguration><Status>{status}</Status></AccelerateConfiguration>");
    assert_eq!(bart.get("/quick?accelerate").expect(200).await.tag("Status"), None);
    for status in ["Enabled", "Suspended"] {
        bart.put("/quick?accelerate", body(status)).expect(200).await;
        assert_eq!(bart.get("/quick?accelerate").expect(200).await.tag("Status").as_deref(), Some(status));
    }
    refused(&world, bart.put("/quick?accelerate", body("Disabled")), 400, "MalformedXML").await;
    refused(&world, bart.put("/quick?accelerate", "<AccelerateConfiguration/>"), 400, "MalformedXML").await;
    refused(&world, bart.put("/not.quick?accelerate", body("Enabled")), 400, "InvalidRequest").await;
    refused(&world, world.lisa().put("/quick?accelerate", body("Enabled")), 403, "AccessDenied").await;
    refused(&world, world.lisa().get("/quick?accelerate"), 403, "AccessDenied").await;
}

#[tokio::test]
async fn access_by_attributes_is_disabled_until_it_is_enabled() {
    let world = World::new().await;
    let bart = world.bucket("tagged").await;
    let body = |status: &str| format!("<AbacStatus><Status>{status}</Status></AbacStatus>");
    assert_eq!(bart.get("/tagged?abac").expect(200).await.tag("Status").as_deref(), Some("Disabled"));
    bart.put("/tagged?abac", body("Enabled")).expect(200).await;
    assert_eq!(bart.get("/tagged?abac").expect(200).await.tag("Status").as_deref(), Some("Enabled"));
    refused(&world, bart.put("/tagged?abac", body("On")), 400, "MalformedXML").await;
    refused(&world, world.lisa().put("/tagged?abac", body("Disabled")), 403, "AccessDenied").await;
    refused(&world, world.lisa().get("/tagged?abac"), 403, "AccessDenied").await;
}

#[tokio::test]
async fn a_bucket_is_born_with_its_tags() {
    let world = World::new().await;
    let bart = world.bart();
    let body = |tags: &str| format!("<CreateBucketConfiguration><Tags>{tags}</Tags></CreateBucketConfiguration>");
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    bart.put("/born", body(tag)).expect(200).await;
    let tags = bart.get("/born?tagging").expect(200).await;
    assert_eq!((tags.tag("Key").as_deref(), tags.tag("Value").as_deref()), (Some("k"), Some("v")));
    refused(&world, bart.put("/unborn", body(&tag.repeat(2))), 400, "InvalidTag").await;
    refused(&world, bart.put("/unborn", body(&tag.replace('k', "aws:k"))), 400, "InvalidTag").await;
    bart.put("/global", "").header("x-amz-bucket-namespace", "global").expect(200).await;
    let regional = bart.put("/unborn", "").header("x-amz-bucket-namespace", "account-regional");
    refused(&world, regional, 501, "NotImplemented").await;
    let unknown = bart.put("/unborn", "").header("x-amz-bucket-namespace", "mine");
    refused(&world, unknown, 400, "InvalidArgument").await;
}

#[tokio::test]
async fn lists_of_buckets_tell_region_and_resource_name_and_choose_by_region() {
    let world = World::new().await;
    let bart = world.bucket("listed").await;
    let page = bart.get("/?bucket-region=us-east-1").expect(200).await;
    assert_eq!(page.tag("BucketArn").as_deref(), Some("arn:aws:s3:::listed"));
    assert_eq!(page.tag("BucketRegion").as_deref(), Some("us-east-1"));
    assert!(bart.get("/?bucket-region=eu-west-1").expect(200).await.elements("Bucket").is_empty());
    assert_eq!(bart.get("/").expect(200).await.tag("BucketArn"), None);
}

#[tokio::test]
async fn operations_that_are_not_here_are_named_in_the_answer() {
    let world = World::new().await;
    let bart = world.bucket("here").await;
    bart.put("/here/key", "x").expect(200).await;
    for (method, target, name) in [
        ("POST", "/here?metadataConfiguration", "CreateBucketMetadataConfiguration"),
        ("GET", "/here?metadataTable", "GetBucketMetadataTableConfiguration"),
        ("PUT", "/here?metadataJournalTable", "UpdateBucketMetadataJournalTableConfiguration"),
        ("GET", "/here?session", "CreateSession"),
        ("GET", "/?x-id=ListDirectoryBuckets", "ListDirectoryBuckets"),
        ("GET", "/here/key?torrent", "GetObjectTorrent"),
        ("POST", "/here/key?select&select-type=2", "SelectObjectContent"),
    ] {
        let reply = refused(&world, bart.call(method, target).body(""), 501, "NotImplemented").await;
        assert!(reply.tag("Message").unwrap().starts_with(name), "{reply}");
    }
    let call = bart.post("/WriteGetObjectResponse", "").header("x-amz-request-route", "r");
    refused(&world, call, 501, "NotImplemented").await.with("Operation", "WriteGetObjectResponse");
}
