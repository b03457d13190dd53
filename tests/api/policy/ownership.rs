//! Who owns what is written.

use super::{LISA, list, ownership, policy, statement};
use crate::support::world::{BART, LISA as LISAS_ID, World, refused};

#[tokio::test]
async fn the_setting_is_absent_until_it_is_made() {
    let world = World::new().await;
    let bart = world.bucket("own").await;
    bart.get("/own?ownershipControls").refused(404, "OwnershipControlsNotFoundError").await;
    for value in ["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"] {
        ownership(&bart, "own", value).expect(200).await;
        bart.get("/own?ownershipControls").expect(200).await.with("ObjectOwnership", value);
        bart.put(&format!("/own-{}", value.to_lowercase()), "")
            .header("x-amz-object-ownership", value)
            .expect(200)
            .await;
        bart.get(&format!("/own-{}?ownershipControls", value.to_lowercase()))
            .expect(200)
            .await
            .with("ObjectOwnership", value);
    }
    for _ in 0..2 {
        bart.delete("/own?ownershipControls").expect(204).await;
    }
    bart.get("/own?ownershipControls").refused(404, "OwnershipControlsNotFoundError").await;
    refused(&world, ownership(&bart, "own", "Everybody"), 400, "MalformedXML").await;
    let undigested = bart.put("/own?ownershipControls", "<OwnershipControls/>");
    refused(&world, undigested, 400, "InvalidRequest").await;
}

#[tokio::test]
async fn what_others_write_belongs_to_whom_the_setting_says() {
    let world = World::new().await;
    let bart = world.bucket("theirs").await;
    policy(&bart, "theirs", &statement("Allow", LISA, "s3:*", "theirs")).expect(204).await;
    let lisa = world.lisa();
    for (value, canned, owner) in [
        ("ObjectWriter", None, LISAS_ID),
        ("ObjectWriter", Some("bucket-owner-full-control"), LISAS_ID),
        ("BucketOwnerPreferred", None, LISAS_ID),
        ("BucketOwnerPreferred", Some("private"), LISAS_ID),
        ("BucketOwnerPreferred", Some("bucket-owner-full-control"), BART),
        ("BucketOwnerEnforced", None, BART),
        ("BucketOwnerEnforced", Some("bucket-owner-full-control"), BART),
    ] {
        ownership(&bart, "theirs", value).expect(200).await;
        let with = |call: crate::support::client::Call| match canned {
            Some(name) => call.header("x-amz-acl", name),
            None => call,
        };
        with(lisa.put("/theirs/a", "body")).expect(200).await;
        let copied = with(lisa.put("/theirs/b", "")).header("x-amz-copy-source", "/theirs/a");
        copied.expect(200).await;
        for key in ["a", "b"] {
            let reply = lisa.get(&format!("/theirs/{key}?acl")).expect(200).await;
            assert_eq!(reply.tag("ID").as_deref(), Some(owner), "{value} {canned:?} {key}: {reply}");
        }
        let upload = with(lisa.post("/theirs/c?uploads", "")).expect(200).await.tag("UploadId").unwrap();
        let parts = lisa.get(&format!("/theirs/c?uploadId={upload}")).expect(200).await;
        assert_eq!(parts.elements("Owner")[0].tag("ID").as_deref(), Some(owner), "{value} {canned:?}: {parts}");
        assert_eq!(parts.elements("Initiator")[0].tag("ID").as_deref(), Some(LISAS_ID));
    }
}

#[tokio::test]
async fn lists_mean_nothing_where_the_owner_owns_everything() {
    let world = World::new().await;
    let bart = world.bucket("nolists").await;
    bart.put("/nolists/open", "body").header("x-amz-acl", "public-read").expect(200).await;
    let nobody = world.nobody();
    nobody.get("/nolists/open").expect(200).await;
    // A list that lets others in must go first.
    list(&bart, "nolists", "public-read").expect(200).await;
    let enforce = ownership(&bart, "nolists", "BucketOwnerEnforced");
    refused(&world, enforce.clone(), 400, "InvalidBucketAclWithObjectOwnership").await;
    list(&bart, "nolists", "private").expect(200).await;
    enforce.expect(200).await;
    nobody.get("/nolists/open").refused(403, "AccessDenied").await;
    for call in [
        bart.put("/nolists/a", "body").header("x-amz-acl", "private"),
        bart.put("/nolists/a", "body").header("x-amz-acl", "public-read"),
        bart.put("/nolists/a", "body").header("x-amz-grant-read", format!("id={LISAS_ID}")),
        bart.post("/nolists/a?uploads", "").header("x-amz-acl", "private"),
        bart.put("/nolists/a", "").headers(&[("x-amz-copy-source", "/nolists/open"), ("x-amz-acl", "private")]),
        bart.put("/nolists/open?acl", "").header("x-amz-acl", "private"),
        list(&bart, "nolists", "private"),
    ] {
        refused(&world, call, 400, "AccessControlListNotSupported").await;
    }
    bart.put("/nolists/a", "body").header("x-amz-grant-full-control", format!("id={BART}")).expect(200).await;
    // They can still be read, and are the owner's.
    bart.get("/nolists?acl").expect(200).await.with("Permission", "FULL_CONTROL");
    let shown = bart.get("/nolists/open?acl").expect(200).await;
    assert_eq!(shown.tags("Permission"), ["FULL_CONTROL"], "{shown}");
    // As they were, once they mean something again.
    bart.delete("/nolists?ownershipControls").expect(204).await;
    nobody.get("/nolists/open").expect(200).await;
    let create = |name: &str, canned: &str| {
        bart.put(name, "").headers(&[("x-amz-object-ownership", "BucketOwnerEnforced"), ("x-amz-acl", canned)])
    };
    refused(&world, create("/fresh", "public-read"), 400, "InvalidBucketAclWithObjectOwnership").await;
    create("/fresh", "private").expect(200).await;
}
