//! Buckets: names, creation, deletion, location, and the list of them (s3-wire.md §8, §9).

use crate::support::{
    sign::escape_value,
    world::{World, refused},
};

#[tokio::test]
async fn names_follow_the_naming_rules() {
    let world = World::new().await;
    let bart = world.bart();
    for name in ["abc", "a-b", "a.b", "0-0", "my.bucket-1", &"a".repeat(63)] {
        bart.put(&format!("/{name}"), "").expect(200).await.has("location", &format!("/{name}"));
        bart.head(&format!("/{name}")).expect(200).await.has("x-amz-bucket-region", "us-east-1").body_is("");
        bart.delete(&format!("/{name}")).expect(204).await;
    }
    let long = "a".repeat(64);
    for name in [
        "ab",
        long.as_str(),
        "Abc",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-abc",
        "abc-s3alias",
        "abc--ol-s3",
        "abc.mrap",
        "abc--x-s3",
        "users..bucket",
        "__metastore",
        "a%20b",
        "a%00b",
        "%C3%BC%C3%BC%C3%BC",
        "..",
    ] {
        let call = bart.put(&format!("/{name}"), "");
        let reply = refused(&world, call, 400, "InvalidBucketName").await;
        assert!(reply.tag("BucketName").is_some(), "{reply}");
        refused(&world, bart.put(&format!("/{name}/key"), ""), 400, "InvalidBucketName").await;
    }
}

#[tokio::test]
async fn a_location_is_chosen_by_name() {
    let world = World::new().await;
    let bart = world.bart();
    let body = |name: &str| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{name}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    for (bucket, body, shown) in [
        ("plain", String::new(), ""),
        ("east", body("us-east-1"), ""),
        ("west", body("us-west-1"), "us-west-1"),
        ("europe", body("EU"), "EU"),
        ("empty", "<CreateBucketConfiguration/>".to_owned(), ""),
    ] {
        bart.put(&format!("/{bucket}"), body).expect(200).await;
        let reply = bart.get(&format!("/{bucket}?location")).expect(200).await;
        let text = reply.text();
        let inside = text.split_once("/\">").unwrap().1.split_once('<').unwrap().0;
        assert_eq!(inside, shown, "{text}");
    }
    for (body, code) in [
        (body("atlantis"), "InvalidLocationConstraint"),
        (body("location-dmf-v1"), "InvalidLocationConstraint"),
        ("<Other/>".to_owned(), "MalformedXML"),
        ("<CreateBucketConfiguration>".to_owned(), "MalformedXML"),
        ("nonsense".to_owned(), "MalformedXML"),
        (
            "<CreateBucketConfiguration><LocationConstraint>EU</LocationConstraint><LocationConstraint>EU</LocationConstraint>\
             </CreateBucketConfiguration>"
                .to_owned(),
            "MalformedXML",
        ),
    ] {
        refused(&world, bart.put("/other", body), 400, code).await;
    }
}

#[tokio::test]
async fn a_bucket_is_created_once() {
    let world = World::new().await;
    let bart = world.bart();
    // In the legacy location a second creation is answered as the first.
    bart.put("/legacy", "").expect(200).await;
    bart.put("/legacy", "").expect(200).await;
    let west =
        "<CreateBucketConfiguration><LocationConstraint>us-west-1</LocationConstraint></CreateBucketConfiguration>";
    bart.put("/modern", west).expect(200).await;
    let reply = refused(&world, bart.put("/modern", west), 409, "BucketAlreadyOwnedByYou").await;
    reply.with("BucketName", "modern");
    refused(&world, bart.put("/modern", ""), 409, "BucketAlreadyOwnedByYou").await;
    for bucket in ["legacy", "modern"] {
        let reply = refused(&world, world.lisa().put(&format!("/{bucket}"), ""), 409, "BucketAlreadyExists").await;
        reply.with("BucketName", bucket);
    }
    refused(&world, world.nobody().put("/anonymous", ""), 403, "AccessDenied").await;
}

#[tokio::test]
async fn only_an_empty_bucket_can_be_deleted() {
    let world = World::new().await;
    let bart = world.bucket("full").await;
    bart.put("/full/a", "x").expect(200).await;
    refused(&world, bart.delete("/full"), 409, "BucketNotEmpty").await.with("BucketName", "full");
    refused(&world, world.lisa().delete("/full"), 403, "AccessDenied").await;
    refused(&world, world.nobody().delete("/full"), 403, "AccessDenied").await;
    bart.delete("/full/a").expect(204).await;
    bart.delete("/full").expect(204).await.body_is("");
    bart.delete("/full").refused(404, "NoSuchBucket").await;
    bart.delete("/No_Such").refused(404, "NoSuchBucket").await;
}

#[tokio::test]
async fn a_bucket_with_open_uploads_can_be_deleted_and_frees_them() {
    let world = World::new().await;
    let bart = world.bucket("pending").await;
    let upload = bart.post("/pending/a?uploads", "").expect(200).await.tag("UploadId").unwrap();
    bart.put(&format!("/pending/a?partNumber=1&uploadId={upload}"), vec![1; 200_000]).expect(200).await;
    bart.put(&format!("/pending/a?partNumber=2&uploadId={upload}"), "small").expect(200).await;
    bart.delete("/pending").expect(204).await;
    world.drained().await;
    assert!(world.blobs().await.is_empty(), "parts of a deleted bucket are freed");
    bart.put("/pending", "").expect(200).await;
    let call = bart.put(&format!("/pending/a?partNumber=3&uploadId={upload}"), "late");
    refused(&world, call, 404, "NoSuchUpload").await;
    let reply = bart.get("/pending?uploads").expect(200).await;
    assert!(reply.elements("Upload").is_empty(), "{reply}");
}

#[tokio::test]
async fn a_bucket_created_again_shows_nothing_of_its_former_life() {
    let world = World::new().await;
    let bart = world.bucket("again").await;
    bart.put("/again?tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>")
        .expect(200)
        .await;
    crate::support::world::versioning(&bart, "again", "Enabled").await;
    let version = bart.put("/again/a", "x").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    bart.delete(&format!("/again/a?versionId={version}")).expect(204).await;
    bart.delete("/again").expect(204).await;
    let lisa = world.lisa();
    lisa.put("/again", "").expect(200).await;
    lisa.get("/again?tagging").refused(404, "NoSuchTagSet").await;
    assert_eq!(lisa.get("/again?versioning").expect(200).await.tag("Status"), None);
    lisa.get(&format!("/again/a?versionId={version}")).refused(404, "NoSuchVersion").await;
    bart.get("/again").refused(403, "AccessDenied").await;
}

#[tokio::test]
async fn what_a_bucket_cannot_have_yet_is_refused_and_not_forgotten() {
    let world = World::new().await;
    let bart = world.bart();
    for (name, value) in [
        ("x-amz-bucket-object-lock-enabled", "perhaps"),
        ("x-amz-object-ownership", "Everybody"),
        ("x-amz-acl", "everybody"),
    ] {
        let reply = bart.put("/lock", "").header(name, value).send().await;
        assert!(matches!(reply.status, 400 | 501), "{reply}");
        bart.head("/lock").expect(404).await;
    }
}

#[tokio::test]
async fn everybody_lists_his_own_buckets() {
    let world = World::new().await;
    let (bart, lisa) = (world.bart(), world.lisa());
    for name in ["one", "three", "two"] {
        bart.put(&format!("/{name}"), "").expect(200).await;
    }
    lisa.put("/hers", "").expect(200).await;
    let reply = bart.get("/").expect(200).await;
    assert_eq!(reply.tags("Name"), ["one", "three", "two"]);
    assert_eq!(reply.tag("ContinuationToken"), None);
    assert_eq!(reply.tag("BucketRegion"), None, "only when asked with a parameter");
    let created = reply.tag("CreationDate").unwrap();
    assert!(created.len() == 24 && created.ends_with('Z'), "{created}");
    reply.with("ID", crate::support::world::BART);
    assert_eq!(lisa.get("/").expect(200).await.tags("Name"), ["hers"]);
    refused(&world, world.nobody().get("/"), 403, "AccessDenied").await;
}

#[tokio::test]
async fn the_list_of_buckets_has_pages_prefixes_and_regions() {
    let world = World::new().await;
    let bart = world.bart();
    let names: Vec<String> = (0..7).map(|number| format!("bucket-{number}")).chain(["other".to_owned()]).collect();
    for name in &names {
        bart.put(&format!("/{name}"), "").expect(200).await;
    }
    for max in [1, 2, 3, 7, 8, 10_000] {
        let (mut seen, mut place) = (Vec::new(), String::new());
        loop {
            let reply = bart.get(&format!("/?max-buckets={max}{place}")).expect(200).await;
            let page = reply.tags("Name");
            assert!(page.len() <= max, "{reply}");
            assert_eq!(reply.tags("BucketRegion").len(), page.len(), "{reply}");
            seen.extend(page);
            let Some(token) = reply.tag("ContinuationToken") else { break };
            place = format!("&continuation-token={}", escape_value(&token));
        }
        assert_eq!(seen, names, "pages of {max}");
    }
    let reply = bart.get("/?prefix=bucket").expect(200).await.with("Prefix", "bucket");
    assert_eq!(reply.tags("Name"), names[..7]);
    assert_eq!(bart.get("/?bucket-region=us-east-1").expect(200).await.tags("Name"), names);
    assert!(bart.get("/?bucket-region=moon-1").expect(200).await.tags("Name").is_empty());
    let long = "A".repeat(1025);
    for bad in [
        "max-buckets=0",
        "max-buckets=-1",
        "max-buckets=10001",
        "max-buckets=x",
        "continuation-token=*",
        &format!("continuation-token={long}"),
    ] {
        bart.get(&format!("/?{bad}")).refused(400, "InvalidArgument").await;
    }
}

#[tokio::test]
async fn a_head_tells_the_region_to_everybody_it_may_tell_anything() {
    let world = World::new().await;
    let bart = world.bucket("region").await;
    bart.head("/region").expect(200).await.has("x-amz-bucket-region", "us-east-1");
    world.lisa().head("/region").expect(403).await.has("x-amz-bucket-region", "us-east-1");
    world.nobody().head("/region").expect(403).await.has("x-amz-bucket-region", "us-east-1");
    bart.head("/nowhere").expect(404).await;
}
