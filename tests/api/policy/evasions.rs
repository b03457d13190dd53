//! Ways around a policy: requests that look like something else than they do.

use super::{LISA, on, policy, statement};
use crate::{
    multipart::{Upload, document},
    support::world::{World, refused},
};

const FAR: [(&str, &str); 2] =
    [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", "2090-01-01T00:00:00Z")];

#[tokio::test]
async fn no_name_in_the_query_makes_an_upload_pass_for_a_change_of_a_lock() {
    let world = World::small_parts().await;
    let (bart, lisa) = (world.bart(), world.lisa());
    bart.put("/kept", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let allow = on("Allow", LISA, "s3:PutObject", &["kept/*"], "{}");
    let days = r#"{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"10"}}"#;
    let deny = on("Deny", LISA, "s3:PutObject*", &["kept/*"], days);
    policy(&bart, "kept", &format!("{allow},{deny}")).expect(204).await;
    refused(&world, lisa.post("/kept/k?uploads=", "").headers(&FAR), 403, "AccessDenied").await;
    for query in ["retention=&uploads=", "legal-hold=&uploads=", "legal-hold=&retention=&uploads=", "uploads&tagging"] {
        let call = lisa.post(&format!("/kept/k?{query}"), "").headers(&FAR);
        refused(&world, call, 400, "InvalidArgument").await;
    }
    refused(&world, lisa.put("/kept/k?retention&partNumber=1", "x").headers(&FAR), 400, "InvalidArgument").await;
    assert!(bart.get("/kept?versions").expect(200).await.tags("VersionId").is_empty());
    assert!(bart.get("/kept?uploads").expect(200).await.tags("UploadId").is_empty());
}

#[tokio::test]
async fn what_is_written_once_stays_as_it_is() {
    let world = World::small_parts().await;
    let bart = world.bucket("once").await;
    let lisa = world.lisa();
    let allow = on("Allow", LISA, "s3:PutObject", &["once/*"], "{}");
    let enforced = r#"{"Null":{"s3:if-none-match":"true"},"Bool":{"s3:ObjectCreationOperation":"true"}}"#;
    let deny = on("Deny", LISA, "s3:PutObject", &["once/*"], enforced);
    policy(&bart, "once", &format!("{allow},{deny}")).expect(204).await;
    lisa.put("/once/k", "original").header("if-none-match", "*").expect(200).await;
    let upload = Upload::begin(&lisa, "/once/k").await;
    let parts = document(&[(1, &upload.part(1, "over").await)]);
    for (query, status, code) in [("", 403, "AccessDenied"), ("partNumber=1&", 400, "InvalidArgument")] {
        let call = lisa.post(&format!("/once/k?{query}uploadId={}", upload.id), &parts);
        refused(&world, call, status, code).await;
    }
    for tag in ["\"zzz\"", "zzz", "W/\"a\"", "\"*\"", "*,\"x\"", " "] {
        let put = lisa.put("/once/k", "over").header("if-none-match", tag);
        refused(&world, put, 501, "NotImplemented").await;
        let complete = lisa.post(&format!("/once/k?uploadId={}", upload.id), &parts).header("if-none-match", tag);
        refused(&world, complete, 501, "NotImplemented").await;
    }
    // A condition of another kind that goes before is none that the policy asks for.
    let newest = bart.get("/once?versions").expect(200).await.tag("VersionId").unwrap();
    let behind = lisa.put("/once/k", "over").headers(&[("if-none-match", "*"), ("x-cloudserver-if-newest", &newest)]);
    refused(&world, behind, 403, "AccessDenied").await;
    // Who wrote it owns it.
    lisa.get("/once/k").expect(200).await.body_is("original");
}

#[tokio::test]
async fn tags_in_a_condition_are_no_promise_to_overwrite_nothing_and_tell_no_tag() {
    use cloudserver::types::Dialect;
    let world = World::with(|config| config.compat.dialect = Dialect::Ceph).await;
    let bart = world.bucket("once").await;
    let lisa = world.lisa();
    let etag = bart.put("/once/k", "original").expect(200).await.etag();
    let allow = on("Allow", LISA, "s3:PutObject", &["once/*"], "{}");
    policy(&bart, "once", &allow).expect(204).await;
    for tag in [etag.as_str(), "\"zzz\""] {
        refused(&world, lisa.put("/once/k", "over").header("if-none-match", tag), 403, "AccessDenied").await;
    }
    let reads = statement("Allow", LISA, "s3:GetObject", "once");
    let enforced = r#"{"Null":{"s3:if-none-match":"true"}}"#;
    let deny = on("Deny", LISA, "s3:PutObject", &["once/*"], enforced);
    policy(&bart, "once", &format!("{allow},{reads},{deny}")).expect(204).await;
    refused(&world, lisa.put("/once/k", "over").header("if-none-match", "\"zzz\""), 403, "AccessDenied").await;
    lisa.put("/once/new", "x").header("if-none-match", "*").expect(200).await;
    bart.get("/once/k").expect(200).await.body_is("original");
}

#[tokio::test]
async fn a_copy_is_judged_by_the_tags_that_it_gets() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let lisa = world.lisa();
    let allow = statement("Allow", LISA, "s3:*", "bkt");
    let low = r#"{"StringNotEquals":{"s3:RequestObjectTag/cls":"low"}}"#;
    let deny = |action: &'static str| on("Deny", LISA, action, &["bkt/*"], low);
    lisa.put("/hers", "").expect(200).await;
    lisa.put("/hers/high", "z").header("x-amz-tagging", "cls=high").expect(200).await;
    lisa.put("/hers/low", "z").header("x-amz-tagging", "cls=low").expect(200).await;
    lisa.put("/hers/none", "z").expect(200).await;
    for action in ["s3:PutObject", "s3:PutObjectTagging"] {
        policy(&bart, "bkt", &format!("{allow},{}", deny(action))).expect(204).await;
        let copy = |from: &str| lisa.put("/bkt/c", "").header("x-amz-copy-source", format!("/hers/{from}"));
        copy("low").expect(200).await;
        for said in [&[][..], &[("x-amz-tagging", "cls=low")], &[("x-amz-tagging-directive", "COPY")]] {
            refused(&world, copy("high").headers(said), 403, "AccessDenied").await;
        }
        if action == "s3:PutObject" {
            refused(&world, copy("none").header("x-amz-tagging", "cls=low"), 403, "AccessDenied").await;
        }
        let replaced = copy("high").header("x-amz-tagging-directive", "REPLACE");
        replaced.clone().header("x-amz-tagging", "cls=low").expect(200).await;
        refused(&world, replaced.header("x-amz-tagging", "cls=high"), 403, "AccessDenied").await;
        assert_eq!(bart.get("/bkt/c?tagging").expect(200).await.tags("Value"), ["low"]);
    }
}

#[tokio::test]
async fn an_append_says_nothing_of_the_object_and_tells_nothing_of_it() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let lisa = world.lisa();
    bart.put("/bkt/secret", "PIN=4711").header("x-amz-tagging", "cls=high").expect(200).await;
    bart.put("/bkt/empty", "").expect(200).await;
    let allow = on("Allow", LISA, "s3:PutObject*", &["bkt/*"], "{}");
    policy(&bart, "bkt", &allow).expect(204).await;
    let append =
        |key: &str, offset: &str| lisa.put(&format!("/bkt/{key}"), "").header("x-amz-write-offset-bytes", offset);
    for offset in ["3", "8", "9"] {
        refused(&world, append("secret", offset), 403, "AccessDenied").await;
    }
    let told = refused(&world, append("secret", "0"), 400, "InvalidWriteOffset").await;
    assert_eq!(told.tag("ObjectSize"), None);
    append("new", "0").header("x-amz-tagging", "cls=low").expect(200).await;
    let reads = on("Allow", LISA, "s3:GetObject", &["bkt/*"], "{}");
    policy(&bart, "bkt", &format!("{allow},{reads}")).expect(204).await;
    refused(&world, append("secret", "3"), 400, "InvalidWriteOffset").await.with("ObjectSize", "8");
    refused(&world, append("secret", "0"), 400, "InvalidWriteOffset").await.with("ObjectSize", "8");
    append("secret", "8").expect(200).await;
    // What an append would pass over must not meet a policy.
    for (name, value) in [("x-amz-tagging", "cls=low"), ("x-amz-acl", "private"), ("x-amz-grant-read", "id=\"a\"")] {
        refused(&world, append("secret", "8").header(name, value), 400, "InvalidArgument").await;
        refused(&world, append("empty", "0").header(name, value), 400, "InvalidArgument").await;
    }
}
