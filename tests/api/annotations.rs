//! Annotations of objects.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};

use crate::support::{
    client::Call,
    world::{World, refused, versioning},
};

fn sse_c(call: Call) -> Call {
    let key = [7; 32];
    let name = |tail: &str| format!("x-amz-server-side-encryption-customer-{tail}");
    call.header(&name("algorithm"), "AES256")
        .header(&name("key"), BASE64_STANDARD.encode(key))
        .header(&name("key-md5"), BASE64_STANDARD.encode(Md5::digest(key)))
}

async fn used(world: &World, bucket: &str) -> i64 {
    let bucket = world.storage().bucket(&cloudserver::types::BucketName::new(bucket).unwrap()).await.unwrap();
    world.storage().usage(&bucket).await.unwrap().bytes
}

#[tokio::test]
async fn an_annotation_is_written_read_replaced_listed_and_removed() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "12345").expect(200).await;
    bart.get("/bkt/a?annotation&annotationName=one").refused(404, "NoSuchAnnotation").await;
    let written = bart.put("/bkt/a?annotation&annotationName=one", "Grüße").expect(200).await;
    assert_eq!((written.tag("Key").as_deref(), written.tag("AnnotationName").as_deref()), (Some("a"), Some("one")));
    assert!(written.header("etag").is_some() && written.header("x-amz-checksum-crc64nvme").is_some());
    let read =
        bart.get("/bkt/a?annotation&annotationName=one").header("x-amz-checksum-mode", "ENABLED").expect(200).await;
    assert_eq!(read.header("etag"), written.header("etag"));
    assert_eq!(read.header("x-amz-checksum-crc64nvme"), written.header("x-amz-checksum-crc64nvme"));
    read.body_is("Grüße");
    bart.put("/bkt/a?annotation&annotationName=one", "new").expect(200).await;
    bart.put("/bkt/a?annotation&annotationName=two", "second").expect(200).await;
    assert_eq!(used(&world, "bkt").await, 5 + 3 + 6);
    bart.get("/bkt/a?annotation&annotationName=one").expect(200).await.body_is("new");
    let listed = bart.get("/bkt/a?annotation").expect(200).await;
    assert_eq!(listed.tags("AnnotationName"), ["one", "two"]);
    assert_eq!(listed.tags("Size"), ["3", "6"]);
    assert_eq!(listed.tag("AnnotationCount").as_deref(), Some("2"));
    let page = bart.get("/bkt/a?annotation&max-annotation-results=1").expect(200).await;
    assert_eq!(page.tags("AnnotationName"), ["one"]);
    let token = page.tag("NextContinuationToken").unwrap();
    let page = bart.get(&format!("/bkt/a?annotation&continuation-token={token}")).expect(200).await;
    assert_eq!((page.tags("AnnotationName"), page.tag("NextContinuationToken")), (vec!["two".to_owned()], None));
    let page = bart.get("/bkt/a?annotation&annotation-prefix=t").expect(200).await;
    assert_eq!(page.tags("AnnotationName"), ["two"]);
    for _ in 0..2 {
        bart.delete("/bkt/a?annotation&annotationName=one").expect(204).await;
    }
    bart.get("/bkt/a?annotation&annotationName=one").refused(404, "NoSuchAnnotation").await;
    bart.get("/bkt/a").expect(200).await.body_is("12345");
    bart.delete("/bkt/a").expect(204).await;
    assert_eq!(used(&world, "bkt").await, 0);
    world.drained().await;
    bart.delete("/bkt").expect(204).await;
    world.sound().await;
}

#[tokio::test]
async fn what_is_no_annotation_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "x").expect(200).await;
    let long = "n".repeat(513);
    let at = |name: &str| format!("/bkt/a?annotation&annotationName={name}");
    for (name, code) in [
        ("", "InvalidAnnotationName"),
        ("AWS-x", "InvalidAnnotationName"),
        ("s3", "InvalidAnnotationName"),
        ("a%0Ab", "InvalidAnnotationName"),
        (&long, "AnnotationNameTooLong"),
    ] {
        refused(&world, bart.put(&at(name), "text"), 400, code).await;
    }
    refused(&world, bart.put(&at("n"), [0xff, 0xfe]), 415, "UnsupportedMediaType").await;
    refused(&world, bart.put(&at("n"), ""), 400, "InvalidRequest").await;
    refused(&world, bart.put(&at("n"), vec![b'x'; (1 << 20) + 1]), 400, "EntityTooLarge").await;
    refused(&world, bart.put(&at("n"), "x").header("x-amz-object-if-match", "\"no\""), 412, "PreconditionFailed").await;
    refused(&world, bart.put("/bkt/none?annotation&annotationName=n", "x"), 404, "NoSuchKey").await;
    refused(&world, bart.get("/bkt/a?annotation&max-annotation-results=1001"), 400, "InvalidArgument").await;
    refused(&world, bart.get(&format!("/bkt/a?annotation&annotation-prefix={long}")), 400, "InvalidPrefix").await;
    for client in [world.lisa(), world.nobody()] {
        refused(&world, client.put(&at("n"), "x"), 403, "AccessDenied").await;
        refused(&world, client.get("/bkt/a?annotation"), 403, "AccessDenied").await;
        refused(&world, client.delete(&at("n")), 403, "AccessDenied").await;
    }
    bart.put(&at("n"), vec![b'x'; 1 << 20]).expect(200).await;
}

#[tokio::test]
async fn annotations_belong_to_one_version_and_count_against_the_quota() {
    let world = World::new().await;
    let bart = world.versioned("bkt").await;
    let first = bart.put("/bkt/a", "one").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    let at = |more: &str| format!("/bkt/a?annotation&annotationName=n{more}");
    let written = bart.put(&at(""), "of the first").expect(200).await;
    written.has("x-amz-object-version-id", &first);
    bart.put("/bkt/a", "two").expect(200).await;
    bart.get(&at("")).refused(404, "NoSuchAnnotation").await;
    bart.get(&at(&format!("&versionId={first}"))).expect(200).await.body_is("of the first");
    bart.put(&at(&format!("&versionId={first}")), "again").expect(200).await;
    bart.put("/bkt?quota", r#"{"quota": 15}"#).expect(200).await;
    refused(&world, bart.put(&at(""), "12345"), 429, "QuotaExceeded").await;
    bart.put(&at(""), "1234").expect(200).await;
    versioning(&bart, "bkt", "Suspended").await;
    bart.delete(&format!("/bkt/a?versionId={first}")).expect(204).await;
    assert_eq!(used(&world, "bkt").await, 3 + 4);
    bart.get(&at("")).expect(200).await.body_is("1234");
    world.sound().await;
}

#[tokio::test]
async fn a_copy_takes_the_annotations_unless_they_are_excluded() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "body").expect(200).await;
    for number in 0..20 {
        bart.put(&format!("/bkt/a?annotation&annotationName=n{number:02}"), format!("text {number}")).expect(200).await;
    }
    bart.put("/bkt/copy", "").header("x-amz-copy-source", "/bkt/a").expect(200).await;
    let without = [("x-amz-copy-source", "/bkt/a"), ("x-amz-object-annotation-directive", "EXCLUDE")];
    bart.put("/bkt/bare", "").headers(&without).expect(200).await;
    assert_eq!(bart.get("/bkt/copy?annotation").expect(200).await.tags("AnnotationName").len(), 20);
    assert_eq!(bart.get("/bkt/bare?annotation").expect(200).await.tags("AnnotationName").len(), 0);
    bart.delete("/bkt/a").expect(204).await;
    world.drained().await;
    bart.get("/bkt/copy?annotation&annotationName=n19").expect(200).await.body_is("text 19");
    let odd = [("x-amz-copy-source", "/bkt/copy"), ("x-amz-object-annotation-directive", "SOME")];
    refused(&world, bart.put("/bkt/odd", "").headers(&odd), 400, "InvalidArgument").await;
    // A copy that is not written leaves no annotation behind.
    let late = [("x-amz-copy-source", "/bkt/copy"), ("if-none-match", "*")];
    refused(&world, bart.put("/bkt/bare", "").headers(&late), 412, "PreconditionFailed").await;
    bart.put("/bkt?quota", r#"{"objects": 2}"#).expect(200).await;
    refused(&world, bart.put("/bkt/full", "").header("x-amz-copy-source", "/bkt/copy"), 429, "QuotaExceeded").await;
    world.sound().await;
}

#[tokio::test]
async fn annotations_are_encrypted_as_their_object_is_and_go_with_it_into_any_other_encryption() {
    const METHOD: &str = "x-amz-server-side-encryption";
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let note = "?annotation&annotationName=n";
    let mut tags = Vec::new();
    for method in ["AES256", "aws:kms"] {
        bart.put("/bkt/a", "body").header(METHOD, method).expect(200).await;
        let text = "text".repeat(50_000);
        let written = bart.put(&format!("/bkt/a{note}"), &text).expect(200).await;
        let read = bart.get(&format!("/bkt/a{note}")).expect(200).await;
        assert_eq!(read.header("etag"), written.header("etag"));
        read.body_is(&text);
        for target in ["", "AES256", "aws:kms"] {
            let copy = bart.put("/bkt/copy", "").header("x-amz-copy-source", "/bkt/a");
            let copy = if target.is_empty() { copy } else { copy.header(METHOD, target) };
            copy.expect(200).await;
            let read = bart.get(&format!("/bkt/copy{note}")).expect(200).await;
            tags.push((target, read.header("etag").unwrap().trim_matches('"').to_owned()));
            read.body_is(&text);
        }
        // Under another name and under another key it reads the same.
        bart.put("/bkt/moved?renameObject", "").header("x-amz-rename-source", "a").expect(200).await;
        let update = "<ObjectEncryption><SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS></ObjectEncryption>";
        bart.put("/bkt/moved?encryption", update).expect(200).await;
        bart.get(&format!("/bkt/moved{note}")).expect(200).await.body_is(&text);
    }
    let md5 = hex::encode(Md5::digest("text".repeat(50_000)));
    for (target, tag) in tags {
        assert_eq!(tag == md5, target != "aws:kms", "{target}: {tag}");
    }
    world.sound().await;
}

#[tokio::test]
async fn an_object_with_its_clients_key_has_no_annotations() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    sse_c(bart.put("/bkt/sealed", "body")).expect(200).await;
    let note = "?annotation&annotationName=n";
    refused(&world, bart.put(&format!("/bkt/sealed{note}"), "x"), 400, "InvalidRequest").await;
    refused(&world, sse_c(bart.put(&format!("/bkt/sealed{note}"), "x")), 400, "InvalidRequest").await;
    bart.get(&format!("/bkt/sealed{note}")).refused(404, "NoSuchAnnotation").await;
    bart.put("/bkt/plain", "body").expect(200).await;
    bart.put(&format!("/bkt/plain{note}"), "x").expect(200).await;
    let copy = sse_c(bart.put("/bkt/copy", "").header("x-amz-copy-source", "/bkt/plain"));
    refused(&world, copy.clone(), 400, "InvalidRequest").await;
    copy.header("x-amz-object-annotation-directive", "EXCLUDE").expect(200).await;
}

#[tokio::test]
async fn annotations_of_a_locked_version_are_added_but_not_replaced_or_removed() {
    const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/bkt", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let note = |name: &str| format!("/bkt/a?annotation&annotationName={name}");
    for (mode, passes) in [("GOVERNANCE", true), ("COMPLIANCE", false)] {
        let until = "2100-01-01T00:00:00Z";
        let lock = [("x-amz-object-lock-mode", mode), ("x-amz-object-lock-retain-until-date", until)];
        bart.put("/bkt/a", "body").headers(&lock).digested().expect(200).await;
        bart.put(&note("n"), "first").expect(200).await;
        bart.put(&note("other"), "second").expect(200).await;
        refused(&world, bart.put(&note("n"), "new"), 403, "AccessDenied").await;
        refused(&world, bart.delete(&note("n")), 403, "AccessDenied").await;
        if passes {
            bart.put(&note("n"), "new").headers(&[BYPASS]).expect(200).await;
            bart.get(&note("n")).expect(200).await.body_is("new");
            bart.delete(&note("n")).headers(&[BYPASS]).expect(204).await;
        } else {
            refused(&world, bart.put(&note("n"), "new").headers(&[BYPASS]), 403, "AccessDenied").await;
            refused(&world, bart.delete(&note("n")).headers(&[BYPASS]), 403, "AccessDenied").await;
            bart.get(&note("n")).expect(200).await.body_is("first");
        }
        // What is not there is neither replaced nor removed.
        bart.delete(&note("none")).expect(204).await;
    }
}

/// Annotations are for what the caller was judged by: an object that came in its place is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_never_reach_what_somebody_else_wrote_meanwhile() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let lisa = world.lisa();
    bart.put("/bkt?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    for round in 0..40 {
        let key = format!("/bkt/{round}");
        lisa.put(&key, "hers").expect(200).await;
        let target = format!("{key}?annotation&annotationName=hers");
        let his = bart.put(&key, "his");
        let write = async |text: &'static str| lisa.put(&target, text).send().await;
        let (_, first, second) = tokio::join!(his.expect(200), write("1"), write("2"));
        for written in [first, second] {
            assert!(matches!(written.status, 200 | 403 | 409), "{written}");
        }
        bart.get(&target).refused(404, "NoSuchAnnotation").await;
    }
}
