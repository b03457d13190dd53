//! What lies between two features: each does its part, and a caller could slip through where they meet.

use super::{LISA, on, policy, statement};
use crate::support::world::{BART, LISA as LISA_ID, World, refused};

#[tokio::test]
async fn what_tells_of_bytes_needs_the_right_to_read_them() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let tag = bart.put("/bkt/a", "secret").expect(200).await.etag();
    let allow = statement("Allow", LISA, "s3:*", "bkt");
    let deny = on("Deny", LISA, "s3:GetObject", &["bkt/*"], "{}");
    policy(&bart, "bkt", &format!("{allow},{deny}")).expect(204).await;
    let lisa = world.lisa();
    let attributes = || lisa.get("/bkt/a?attributes").header("x-amz-object-attributes", "ETag,ObjectSize,Checksum");
    refused(&world, attributes(), 403, "AccessDenied").await;
    // Whether a guessed tag, size or date is right shows in the answer: 412 or not.
    for guess in [tag.as_str(), "\"00000000000000000000000000000000\""] {
        refused(&world, lisa.put("/bkt/a", "x").header("if-match", guess), 403, "AccessDenied").await;
        refused(&world, lisa.delete("/bkt/a").header("if-match", guess), 403, "AccessDenied").await;
    }
    refused(&world, lisa.delete("/bkt/a").header("x-amz-if-match-size", "7"), 403, "AccessDenied").await;
    let entry = "<Delete><Object><Key>a</Key><Size>7</Size></Object></Delete>";
    let reply = lisa.post("/bkt?delete", entry).digested().expect(200).await;
    assert_eq!(reply.tags("Code"), ["AccessDenied"]);
    // Without a guess, and where reading is allowed, all goes on.
    lisa.put("/bkt/b", "x").header("if-none-match", "*").expect(200).await;
    policy(&bart, "bkt", &allow).expect(204).await;
    attributes().expect(200).await.with("ObjectSize", "6");
    lisa.put("/bkt/a", "new").header("if-match", &tag).expect(200).await;
}

#[tokio::test]
async fn a_search_shows_nothing_that_a_listing_would_not() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for key in ["open/a", "secret/b"] {
        bart.put(&format!("/bkt/{key}"), "x").expect(200).await;
    }
    let lisa = world.lisa();
    let allow = statement("Allow", LISA, "s3:*", "bkt");
    let no_list = on("Deny", LISA, "s3:ListBucket", &["bkt"], "{}");
    policy(&bart, "bkt", &format!("{allow},{no_list}")).expect(204).await;
    refused(&world, lisa.get("/bkt"), 403, "AccessDenied").await;
    refused(&world, lisa.get("/bkt?search=key%20LIKE%20s"), 403, "AccessDenied").await;
    let by_prefix = on("Deny", LISA, "s3:ListBucket", &["bkt"], r#"{"StringLike":{"s3:prefix":["","secret*"]}}"#);
    policy(&bart, "bkt", &format!("{allow},{by_prefix}")).expect(204).await;
    for prefix in ["", "secret/"] {
        refused(&world, lisa.get(&format!("/bkt?search=key%20LIKE%20s&prefix={prefix}")), 403, "AccessDenied").await;
    }
    let found = lisa.get("/bkt?search=key%20LIKE%20a&prefix=open/").expect(200).await;
    assert_eq!(found.tags("Key"), ["open/a"]);
    // A permission for searches alone may ask for a prefix, too.
    let search = on("Allow", LISA, "s3:MetadataSearch", &["bkt"], r#"{"StringEquals":{"s3:prefix":"open/"}}"#);
    let keys = on("Allow", LISA, "s3:ListBucket", &["bkt"], "{}");
    policy(&bart, "bkt", &format!("{search},{keys}")).expect(204).await;
    lisa.get("/bkt?search=key%20LIKE%20a&prefix=open/").expect(200).await;
    refused(&world, lisa.get("/bkt?search=key%20LIKE%20a"), 403, "AccessDenied").await;
}

#[tokio::test]
async fn annotations_of_old_versions_need_a_permission_of_their_own() {
    let world = World::new().await;
    let bart = world.versioned("bkt").await;
    let old = bart.put("/bkt/a", "1").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    let note = "/bkt/a?annotation&annotationName=n";
    let of_old = format!("{note}&versionId={old}");
    bart.put(&of_old, "of the old one").expect(200).await;
    bart.put("/bkt/a", "2").expect(200).await;
    let current: Vec<String> = ["Get", "Put", "Delete"]
        .iter()
        .map(|verb| on("Allow", LISA, &format!("s3:{verb}ObjectAnnotation"), &["bkt/*"], "{}"))
        .collect();
    policy(&bart, "bkt", &current.join(",")).expect(204).await;
    let lisa = world.lisa();
    lisa.put(note, "of the new one").expect(200).await;
    lisa.get(note).expect(200).await;
    for call in [lisa.get(&of_old), lisa.put(&of_old, "x"), lisa.delete(&of_old)] {
        refused(&world, call, 403, "AccessDenied").await;
    }
    // A copy of the old version takes its annotations only for those who may read them.
    world.lisa().put("/hers", "").expect(200).await;
    let read = on("Allow", LISA, "s3:GetObject*", &["bkt/*"], "{}");
    let deny = on("Deny", LISA, "s3:GetObjectVersionAnnotation", &["bkt/*"], "{}");
    policy(&bart, "bkt", &format!("{read},{deny}")).expect(204).await;
    let source = format!("/bkt/a?versionId={old}");
    let copy = || lisa.put("/hers/copy", "").header("x-amz-copy-source", &source);
    refused(&world, copy(), 403, "AccessDenied").await;
    policy(&bart, "bkt", &read).expect(204).await;
    // Each of the two buckets has the owner that is expected of it.
    let owners = [("x-amz-expected-bucket-owner", LISA_ID), ("x-amz-source-expected-bucket-owner", BART)];
    copy().headers(&owners).expect(200).await;
    lisa.get("/hers/copy?annotation&annotationName=n").expect(200).await.body_is("of the old one");
}

#[tokio::test]
async fn words_that_an_operation_ignores_do_not_meet_a_policy() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/plain", "plain").expect(200).await;
    let allow = statement("Allow", LISA, "s3:*", "bkt");
    let sealed = r#"{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}"#;
    let deny = on("Deny", LISA, "s3:PutObject", &["bkt/sealed/*"], sealed);
    policy(&bart, "bkt", &format!("{allow},{deny}")).expect(204).await;
    let lisa = world.lisa();
    let rename = || lisa.put("/bkt/sealed/a?renameObject", "").header("x-amz-rename-source", "plain");
    refused(&world, rename(), 403, "AccessDenied").await;
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-acl", "bucket-owner-full-control"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-grant-full-control", "id=\"a\""),
    ] {
        refused(&world, rename().header(name, value), 400, "InvalidArgument").await;
    }
    let query = "/bkt/sealed/a?renameObject&X-Amz-Server-Side-Encryption=AES256";
    let spelled = lisa.put(query, "").header("x-amz-rename-source", "plain");
    refused(&world, spelled, 400, "InvalidArgument").await;
    // A lock that an append cannot give is refused, not forgotten.
    for (offset, key) in [("5", "plain"), ("0", "new")] {
        let append = bart.put(&format!("/bkt/{key}"), "more").digested();
        let held = append.header("x-amz-write-offset-bytes", offset).header("x-amz-object-lock-legal-hold", "ON");
        refused(&world, held, 400, "InvalidRequest").await;
    }
    // A header that a batch ignores does not stand for conditions of its entries.
    let conditional = on("Allow", LISA, "s3:DeleteObject", &["bkt/*"], r#"{"Null":{"s3:if-match":"false"}}"#);
    policy(&bart, "bkt", &conditional).expect(204).await;
    let batch = || lisa.post("/bkt?delete", "<Delete><Object><Key>plain</Key></Object></Delete>").digested();
    assert_eq!(batch().expect(200).await.tags("Code"), ["AccessDenied"]);
    refused(&world, batch().header("if-match", "*"), 501, "NotImplemented").await;
    bart.get("/bkt/plain").expect(200).await.body_is("plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_after_the_judgement_is_judged_too() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    // She may learn what is there, and read nothing of it.
    policy(&bart, "bkt", &on("Allow", LISA, "s3:ListBucket", &["bkt"], "{}")).expect(204).await;
    let lisa = world.lisa();
    lisa.put("/hers", "").expect(200).await;
    let coming_and_going = async {
        for _ in 0..200 {
            bart.put("/bkt/x", "secret").expect(200).await;
            bart.delete("/bkt/x").expect(204).await;
        }
    };
    let mut readers = tokio::task::JoinSet::new();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for reader in 0..6 {
        let (lisa, done) = (world.lisa(), std::sync::Arc::clone(&done));
        readers.spawn(async move {
            let mut seen = std::collections::BTreeMap::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let reply = if reader % 2 == 0 {
                    lisa.get("/bkt/x").send().await
                } else {
                    lisa.put(&format!("/hers/{reader}"), "").header("x-amz-copy-source", "bkt/x").send().await
                };
                *seen.entry(reply.status).or_insert(0_usize) += 1;
            }
            seen
        });
    }
    coming_and_going.await;
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(seen) = readers.join_next().await {
        let seen = seen.unwrap();
        assert!(seen.keys().all(|status| [403, 404].contains(status)), "{seen:?}");
    }
}

#[tokio::test]
async fn paths_of_the_server_hide_no_keys_of_a_bucket() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for key in ["_/report", "_/healthcheck", "_/healthcheck/deep", "_/veeam/bkt/system.xml"] {
        bart.put(&format!("/{key}"), key).host("bkt.localhost").expect(200).await;
        bart.get(&format!("/{key}")).host("bkt.localhost").expect(200).await.body_is(key);
        bart.get(&format!("/bkt/{key}")).expect(200).await.body_is(key);
    }
    world.nobody().get("/_/healthcheck").expect(200).await;
}

#[tokio::test]
async fn conditional_writes_can_be_enforced_and_uploads_still_begin() {
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    let allow = statement("Allow", LISA, "s3:*", "bkt");
    let enforced = r#"{"Null":{"s3:if-none-match":"true"},"Bool":{"s3:ObjectCreationOperation":"true"}}"#;
    let deny = on("Deny", LISA, "s3:PutObject", &["bkt/*"], enforced);
    policy(&bart, "bkt", &format!("{allow},{deny}")).expect(204).await;
    let lisa = world.lisa();
    lisa.put("/bkt/a", "x").header("if-none-match", "*").expect(200).await;
    let begun = lisa.post("/bkt/b?uploads", "").expect(200).await.tag("UploadId").unwrap();
    let tag = lisa.put(&format!("/bkt/b?partNumber=1&uploadId={begun}"), "part").expect(200).await.etag();
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>");
    let end = || {
        let document = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        lisa.post(&format!("/bkt/b?uploadId={begun}"), document)
    };
    refused(&world, end(), 403, "AccessDenied").await;
    end().header("if-none-match", "*").expect(200).await;
    refused(&world, lisa.put("/bkt/a", "y"), 403, "AccessDenied").await;
    // What looks like a part, and is none, is nothing.
    refused(&world, lisa.put("/bkt/a?partNumber=1", "y"), 400, "InvalidArgument").await;
    let copy = lisa.put("/bkt/c", "").header("x-amz-copy-source", "bkt/a");
    refused(&world, copy, 403, "AccessDenied").await;
}
