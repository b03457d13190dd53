//! The settings themselves: put, read, removed, refused.

use super::{ALL, LISA, block, list, on, policy, statement};
use crate::support::world::{World, refused};

#[tokio::test]
async fn a_policy_reads_back_as_it_was_put() {
    let world = World::new().await;
    let bart = world.bucket("doc").await;
    bart.get("/doc?policy").refused(404, "NoSuchBucketPolicy").await;
    let document = "{ \"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\":\"Allow\",\"Principal\":\"*\",\
                    \"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::doc/\u{e4}*\"}}";
    bart.put("/doc?policy", document).digested().expect(204).await;
    let reply = bart.get("/doc?policy").expect(200).await.has("content-type", "application/json");
    assert_eq!(reply.text(), document);
    for _ in 0..2 {
        bart.delete("/doc?policy").expect(204).await;
    }
    bart.get("/doc?policy").refused(404, "NoSuchBucketPolicy").await;
}

#[tokio::test]
async fn a_policy_that_is_none_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("bad").await;
    policy(&bart, "bad", &statement("Allow", LISA, "s3:GetObject", "bad")).expect(204).await;
    let long = format!("{}{}", statement("Allow", ALL, "s3:GetObject", "bad"), " ".repeat(21 << 10));
    for statements in [
        "",
        "{}",
        &statement("Allow", ALL, "s3:GetObject", "other"),
        &statement("Allow", ALL, "s3:Fly", "bad"),
        &statement("Allow", r#""lisa""#, "s3:GetObject", "bad"),
        &on("Allow", ALL, "s3:GetObject", &["bad/*"], r#"{"StringIs":{"s3:prefix":"a"}}"#),
        &on("Allow", ALL, "s3:GetObject", &["bad/*"], r#"{"StringEquals":{"s3:unknown":"a"}}"#),
        &statement("Allow", ALL, "s3:GetObject", "bad").replacen("Principal", "NotPrincipal", 1),
        &long,
    ] {
        refused(&world, policy(&bart, "bad", statements), 400, "MalformedPolicy").await;
    }
    for body in ["no json", "[]", "\u{0}"] {
        refused(&world, bart.put("/bad?policy", body).digested(), 400, "MalformedPolicy").await;
    }
    refused(&world, bart.put("/bad?policy", "").digested(), 400, "MissingRequestBodyError").await;
    // s3cmd sends no digest of policies; S3 takes them.
    refused(&world, bart.put("/bad?policy", "{}"), 400, "MalformedPolicy").await;
    let huge = " ".repeat(200 << 10);
    refused(&world, bart.put("/bad?policy", huge).digested(), 400, "MaxMessageLengthExceeded").await;
}

#[tokio::test]
async fn the_status_says_whether_policy_or_list_are_public() {
    let world = World::new().await;
    let bart = world.bucket("status").await;
    let is_public = async |expected: &str| {
        bart.get("/status?policyStatus").expect(200).await.with("IsPublic", expected);
    };
    is_public("false").await;
    list(&bart, "status", "authenticated-read").expect(200).await;
    is_public("true").await;
    block(&bart, "status", [false, true, false, false]).expect(200).await;
    is_public("false").await;
    policy(&bart, "status", &statement("Allow", ALL, "s3:GetObject", "status")).expect(204).await;
    is_public("true").await;
    policy(&bart, "status", &statement("Allow", LISA, "s3:GetObject", "status")).expect(204).await;
    is_public("false").await;
}

#[tokio::test]
async fn the_public_access_block_is_kept_and_blocks_what_is_new() {
    let world = World::new().await;
    let bart = world.bucket("block").await;
    bart.get("/block?publicAccessBlock").refused(404, "NoSuchPublicAccessBlockConfiguration").await;
    block(&bart, "block", [true, false, true, false]).expect(200).await;
    let reply = bart.get("/block?publicAccessBlock").expect(200).await;
    let reply = reply.with("BlockPublicAcls", "true").with("IgnorePublicAcls", "false");
    reply.with("BlockPublicPolicy", "true").with("RestrictPublicBuckets", "false");
    bart.put("/block/a", "body").expect(200).await;
    let everybody = "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\"";
    for canned in ["public-read", "public-read-write", "authenticated-read"] {
        refused(&world, list(&bart, "block", canned), 403, "AccessDenied").await;
        refused(&world, bart.put("/block/b", "body").header("x-amz-acl", canned), 403, "AccessDenied").await;
        refused(&world, bart.put("/block/a?acl", "").header("x-amz-acl", canned), 403, "AccessDenied").await;
        refused(&world, bart.post("/block/b?uploads", "").header("x-amz-acl", canned), 403, "AccessDenied").await;
        let copy = bart.put("/block/b", "").headers(&[("x-amz-copy-source", "/block/a"), ("x-amz-acl", canned)]);
        refused(&world, copy, 403, "AccessDenied").await;
    }
    refused(&world, bart.put("/block/b", "body").header("x-amz-grant-read", everybody), 403, "AccessDenied").await;
    bart.put("/block/b", "body").header("x-amz-acl", "bucket-owner-full-control").expect(200).await;
    list(&bart, "block", "private").expect(200).await;
    let public = policy(&bart, "block", &statement("Allow", ALL, "s3:GetObject", "block"));
    refused(&world, public.clone(), 403, "AccessDenied").await;
    policy(&bart, "block", &statement("Allow", LISA, "s3:GetObject", "block")).expect(204).await;
    policy(&bart, "block", &statement("Deny", ALL, "s3:PutObject", "block")).expect(204).await;
    for _ in 0..2 {
        bart.delete("/block?publicAccessBlock").expect(204).await;
    }
    public.expect(204).await;
    list(&bart, "block", "public-read").expect(200).await;
    let unknown = "<PublicAccessBlockConfiguration><Block>true</Block></PublicAccessBlockConfiguration>";
    refused(&world, bart.put("/block?publicAccessBlock", unknown).digested(), 400, "MalformedXML").await;
    refused(&world, bart.put("/block?publicAccessBlock", unknown), 400, "InvalidRequest").await;
}

#[tokio::test]
async fn settings_survive_with_the_bucket_and_go_with_it() {
    let world = World::new().await;
    let bart = world.bucket("again").await;
    policy(&bart, "again", &statement("Allow", ALL, "s3:*", "again")).expect(204).await;
    block(&bart, "again", [true; 4]).expect(200).await;
    bart.put("/again?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        .expect(200)
        .await;
    bart.get("/again?policy").expect(200).await;
    bart.delete("/again").expect(204).await;
    bart.put("/again", "").expect(200).await;
    bart.get("/again?policy").refused(404, "NoSuchBucketPolicy").await;
    bart.get("/again?publicAccessBlock").refused(404, "NoSuchPublicAccessBlockConfiguration").await;
}
