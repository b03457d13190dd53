//! Writes by others: plain, in parts, by forms; what they say of the object, and whose it becomes.

use super::{ALL, LISA, on, policy, statement};
use crate::{
    multipart::Upload,
    support::{client::Call, world::World},
};

const OWNER: &str = "x-amz-expected-bucket-owner";
const SOURCE: &str = "x-amz-source-expected-bucket-owner";

/// A form without credentials, with these fields.
fn form(world: &World, bucket: &str, fields: &[(&str, &str)]) -> Call {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!("--line\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    body.push_str("--line\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nbody\r\n--line--\r\n");
    world.nobody().post(&format!("/{bucket}"), body).header("content-type", "multipart/form-data; boundary=line")
}

#[tokio::test]
async fn forms_obey_the_policy() {
    let world = World::new().await;
    let bart = world.bucket("forms").await;
    form(&world, "forms", &[("key", "in/a")]).refused(403, "AccessDenied").await;
    let allow = on("Allow", ALL, "s3:PutObject", &["forms/in/*"], "{}");
    policy(&bart, "forms", &allow).expect(204).await;
    form(&world, "forms", &[("key", "in/a")]).expect(204).await;
    form(&world, "forms", &[("key", "out/a")]).refused(403, "AccessDenied").await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    // What the form says besides needs permissions of its own.
    form(&world, "forms", &[("key", "in/a"), ("tagging", tags)]).refused(403, "AccessDenied").await;
    form(&world, "forms", &[("key", "in/a"), ("acl", "public-read")]).refused(403, "AccessDenied").await;
    let tagging =
        on("Allow", ALL, "s3:PutObjectTagging", &["forms/in/*"], r#"{"StringEquals":{"s3:RequestObjectTag/a":"b"}}"#);
    policy(&bart, "forms", &format!("{allow},{tagging}")).expect(204).await;
    form(&world, "forms", &[("key", "in/a"), ("tagging", tags)]).expect(204).await;
    let other = tags.replace(">b<", ">c<");
    form(&world, "forms", &[("key", "in/a"), ("tagging", &other)]).refused(403, "AccessDenied").await;
    // The headers of the request are not those of the object, but say where it comes from.
    let referer = on("Allow", ALL, "s3:PutObject", &["forms/*"], r#"{"StringLike":{"aws:Referer":"http://a/*"}}"#);
    policy(&bart, "forms", &referer).expect(204).await;
    form(&world, "forms", &[("key", "a")]).refused(403, "AccessDenied").await;
    form(&world, "forms", &[("key", "a")]).header("referer", "http://a/b").expect(204).await;
}

#[tokio::test]
async fn uploads_in_parts_obey_the_policy() {
    let world = World::small_parts().await;
    let bart = world.bucket("parts").await;
    let (lisa, nobody) = (world.lisa(), world.nobody());
    policy(&bart, "parts", &on("Allow", LISA, "s3:PutObject", &["parts/in/*"], "{}")).expect(204).await;
    lisa.post("/parts/out?uploads", "").refused(403, "AccessDenied").await;
    let upload = Upload::begin(&lisa, "/parts/in/a").await;
    let tag = upload.part(1, "part").await;
    upload.list("").expect(200).await;
    nobody.get(&format!("/parts/in/a?uploadId={}", upload.id)).refused(403, "AccessDenied").await;
    nobody.put(&format!("/parts/in/a?partNumber=2&uploadId={}", upload.id), "x").refused(403, "AccessDenied").await;
    nobody.delete(&format!("/parts/in/a?uploadId={}", upload.id)).refused(403, "AccessDenied").await;
    upload.complete(&[(1, &tag)]).expect(200).await;

    // The owner of the bucket sees and ends what others began; others do where the policy says so.
    let begun = Upload::begin(&bart, "/parts/in/b").await;
    let path = format!("/parts/in/b?uploadId={}", begun.id);
    lisa.get(&path).refused(403, "AccessDenied").await;
    policy(&bart, "parts", &statement("Allow", LISA, "s3:ListMultipartUploadParts", "parts")).expect(204).await;
    lisa.get(&path).expect(200).await;
    lisa.delete(&path).refused(403, "AccessDenied").await;
    policy(&bart, "parts", &statement("Deny", ALL, "s3:AbortMultipartUpload", "parts")).expect(204).await;
    bart.delete(&path).refused(403, "AccessDenied").await;
    bart.delete("/parts?policy").expect(204).await;
    bart.delete(&path).expect(204).await;
    bart.delete(&path).refused(404, "NoSuchUpload").await;
}

/// A policy that demands something of each upload demands it once: clients say it when they begin.
#[tokio::test]
async fn what_an_upload_says_at_its_beginning_is_not_demanded_of_its_parts() {
    let world = World::small_parts().await;
    let bart = world.bucket("once").await;
    let full = r#"{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}"#;
    let not_full = r#"{"StringNotEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}"#;
    let allow = on("Allow", LISA, "s3:PutObject", &["once/*"], "{}");
    let lisa = world.lisa();
    for statements in [
        on("Allow", LISA, "s3:PutObject", &["once/*"], full),
        format!("{allow},{}", on("Deny", ALL, "s3:PutObject", &["once/*"], not_full)),
    ] {
        policy(&bart, "once", &statements).expect(204).await;
        lisa.post("/once/a?uploads", "").refused(403, "AccessDenied").await;
        lisa.put("/once/a", "body").refused(403, "AccessDenied").await;
        let headers = [("x-amz-acl", "bucket-owner-full-control")];
        lisa.put("/once/a", "body").headers(&headers).expect(200).await;
        let upload = Upload::begin_with(&lisa, "/once/a", &headers).await;
        let tag = upload.part(1, "part").await;
        // Only whoever said it is believed.
        bart.put(&format!("/once/a?partNumber=2&uploadId={}", upload.id), "x").send().await;
        upload.complete(&[(1, &tag)]).expect(200).await;
        bart.get("/once/a").expect(200).await.body_is("part");
    }
}

#[tokio::test]
async fn a_list_at_a_write_can_be_denied_and_needs_no_more_for_its_owner_to_be() {
    let world = World::new().await;
    let bart = world.bucket("lists-at").await;
    let lisa = world.lisa();
    let allow = on("Allow", LISA, "s3:PutObject", &["lists-at/*"], "{}");
    policy(&bart, "lists-at", &allow).expect(204).await;
    lisa.put("/lists-at/a", "body").header("x-amz-acl", "public-read").expect(200).await;
    world.nobody().get("/lists-at/a").expect(200).await;
    let deny = on("Deny", LISA, "s3:PutObjectAcl", &["lists-at/*"], "{}");
    policy(&bart, "lists-at", &format!("{allow},{deny}")).expect(204).await;
    lisa.put("/lists-at/b", "body").header("x-amz-acl", "public-read").refused(403, "AccessDenied").await;
    lisa.put("/lists-at/b", "body").header("x-amz-grant-read", "id=\"x\"").refused(403, "AccessDenied").await;
    lisa.put("/lists-at/b", "body").expect(200).await;
    // What Lisa wrote is hers: the bucket's policy gives nothing of it.
    policy(&bart, "lists-at", &statement("Allow", ALL, "s3:GetObject", "lists-at")).expect(204).await;
    world.nobody().get("/lists-at/b").refused(403, "AccessDenied").await;
    bart.get("/lists-at/b").refused(403, "AccessDenied").await;
    lisa.get("/lists-at/b").expect(200).await;
}

#[tokio::test]
async fn the_expected_owner_is_asked_of_every_bucket_by_its_own_header() {
    let world = World::new().await;
    let bart = world.bucket("barts").await;
    bart.put("/barts/a", "body").expect(200).await;
    policy(&bart, "barts", &statement("Allow", LISA, "s3:*", "barts")).expect(204).await;
    let lisa = world.lisa();
    lisa.put("/lisas", "").expect(200).await;
    // Another's number, which the caller cannot know from its own credentials.
    lisa.get("/barts/a").header(OWNER, "123456789012").expect(200).await;
    lisa.get("/barts/a").header(OWNER, crate::support::world::BART).expect(200).await;
    lisa.get("/barts/a").header(OWNER, "123456789013").refused(403, "AccessDenied").await;
    for call in [
        lisa.get("/barts"),
        lisa.get("/barts?policyStatus"),
        lisa.get("/barts?publicAccessBlock"),
        lisa.get("/barts?ownershipControls"),
        lisa.get("/barts?requestPayment"),
        lisa.put("/barts/b", "body"),
        lisa.delete("/barts/b"),
        lisa.get(&format!("/barts/a?uploadId={}", "ab".repeat(16))),
    ] {
        call.header(OWNER, "123456789013").refused(403, "AccessDenied").await;
    }
    let copy = lisa.put("/lisas/a", "").header("x-amz-copy-source", "/barts/a");
    copy.clone().headers(&[(OWNER, "123456789013"), (SOURCE, "123456789012")]).expect(200).await;
    copy.clone().headers(&[(OWNER, "123456789013"), (SOURCE, "123456789013")]).refused(403, "AccessDenied").await;
    copy.headers(&[(OWNER, "123456789012")]).refused(403, "AccessDenied").await;
}
