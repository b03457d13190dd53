//! Completion and abort.

use md5::{Digest as _, Md5};

use super::{Upload, document, open_uploads};
use crate::support::world::{World, refused};

#[tokio::test]
async fn an_upload_becomes_an_object_of_its_parts() {
    let world = World::new().await;
    let bart = world.bucket("uploads").await;
    let headers = [
        ("content-type", "text/plain"),
        ("x-amz-meta-a", "1"),
        ("x-amz-tagging", "t=1"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("cache-control", "x"),
    ];
    let upload = Upload::begin_with(&bart, "/uploads/a", &headers).await;
    let (first, second) = (vec![b'1'; 5 << 20], b"the end".to_vec());
    let tags = [upload.part(1, &first).await, upload.part(2, &second).await];
    bart.get("/uploads/a").refused(404, "NoSuchKey").await;
    bart.get("/uploads").expect(200).await.with("IsTruncated", "false");
    let reply = upload.complete(&[(1, &tags[0]), (2, &tags[1])]).expect(200).await;
    let mut all = Md5::new();
    all.update(Md5::digest(&first));
    all.update(Md5::digest(&second));
    let etag = format!("\"{}-2\"", hex::encode(all.finalize()));
    let host = world.address;
    let reply = reply.with("ETag", &etag).with("Bucket", "uploads").with("Key", "a");
    reply.with("Location", &format!("http://{host}/uploads/a")).lacks("x-amz-version-id");
    let got = bart.get("/uploads/a").expect(200).await.body_is([first.clone(), second.clone()].concat());
    let got =
        got.has("etag", &etag).has("content-type", "text/plain").has("x-amz-meta-a", "1").has("cache-control", "x");
    got.has("x-amz-tagging-count", "1").has("x-amz-storage-class", "STANDARD_IA").lacks("x-amz-mp-parts-count");
    assert!(open_uploads(&bart, "uploads").await.elements("Upload").is_empty());

    let part = bart.get("/uploads/a?partNumber=2").expect(206).await.body_is(&second);
    part.has("x-amz-mp-parts-count", "2").has("content-range", "bytes 5242880-5242886/5242887").has("etag", &etag);
    let part = bart.head("/uploads/a?partNumber=1").expect(206).await;
    part.has("content-length", "5242880").has("x-amz-mp-parts-count", "2");
    let beyond = bart.get("/uploads/a?partNumber=3").refused(416, "InvalidPartNumber").await;
    beyond.with("ActualPartCount", "2");
    let across = bart.get("/uploads/a").header("range", "bytes=5242879-5242882").expect(206).await;
    across.body_is("1the");
    bart.delete("/uploads/a").expect(204).await;
    world.drained().await;
    assert!(world.blobs().await.is_empty());
}

#[tokio::test]
async fn a_part_but_the_last_must_have_five_mebibytes() {
    let world = World::new().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let small = upload.part(1, vec![1; (5 << 20) - 1]).await;
    let last = upload.part(2, "x").await;
    let reply = refused(&world, upload.complete(&[(1, &small), (2, &last)]), 400, "EntityTooSmall").await;
    let reply = reply.with("ProposedSize", "5242879").with("MinSizeAllowed", "5242880").with("PartNumber", "1");
    reply.with("ETag", small.trim_matches('"'));
    // Alone it is the last.
    upload.complete(&[(1, &small)]).expect(200).await;
}

#[tokio::test]
async fn completing_again_with_the_same_list_gives_the_same_answer() {
    let world = World::small_parts().await;
    for versioned in [false, true] {
        let bucket = if versioned { "versioned" } else { "plain" };
        let bart = if versioned { world.versioned(bucket).await } else { world.bucket(bucket).await };
        let upload = Upload::begin(&bart, &format!("/{bucket}/a")).await;
        let tags = [upload.part(1, "one").await, upload.part(2, "two").await, upload.part(3, "unlisted").await];
        let list = [(1, tags[0].as_str()), (2, tags[1].as_str())];
        let first = upload.complete(&list).expect(200).await;
        let stored = world.stored().await;
        for _ in 0..3 {
            let again = upload.complete(&list).expect(200).await;
            assert_eq!(again.tag("ETag"), first.tag("ETag"));
            assert_eq!(again.header("x-amz-version-id"), first.header("x-amz-version-id"));
        }
        stored.assert_same(&world.stored().await, "a repeated completion");
        bart.get(&format!("/{bucket}/a")).expect(200).await.body_is("onetwo");
        // Everything else about the upload is over.
        refused(&world, upload.abort(), 404, "NoSuchUpload").await;
        refused(&world, upload.put(1, "x"), 404, "NoSuchUpload").await;
        refused(&world, upload.list(""), 404, "NoSuchUpload").await.with("UploadId", &upload.id);
    }
    world.sound().await;
}

#[tokio::test]
async fn lists_that_contradict_the_upload_complete_nothing() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let (one, two) = (upload.part(1, "one").await, upload.part(2, "two").await);
    let (one, two) = (one.as_str(), two.as_str());
    for (list, code) in [
        (&[(2, two), (1, one)][..], "InvalidPartOrder"),
        (&[(1, one), (1, one)], "InvalidPartOrder"),
        (&[(1, two)], "InvalidPart"),
        (&[(1, "\"d41d8cd98f00b204e9800998ecf8427e\"")], "InvalidPart"),
        (&[(1, "")], "InvalidPart"),
        (&[(1, one), (3, two)], "InvalidPart"),
        (&[(10_000, one)], "InvalidPart"),
        (&[(10_001, one)], "InvalidPart"),
        (&[(4_000_000_000, one)], "InvalidPart"),
        (&[(0, one)], "InvalidArgument"),
        (&[], "MalformedXML"),
    ] {
        refused(&world, upload.complete(list), 400, code).await;
    }
    for body in [
        "",
        "nonsense",
        "<CompleteMultipartUpload/>",
        "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part><PartNumber>1.0</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part><PartNumber>99999999999999999999</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
        "<Complete><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></Complete>",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>",
        "<!DOCTYPE a><CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>",
    ] {
        refused(&world, upload.completion(body), 400, "MalformedXML").await;
    }
    let many: Vec<(u32, &str)> = (1..=10_001).map(|number| (number, one)).collect();
    refused(&world, upload.complete(&many), 400, "MalformedXML").await;
    let long = format!("{}{}", document(&[(1, one)]), " ".repeat(5 << 20));
    refused(&world, upload.completion(&long), 400, "MaxMessageLengthExceeded").await;
    let negative = document(&[(1, one)]).replace("<PartNumber>1<", "<PartNumber>-1<");
    refused(&world, upload.completion(&negative), 400, "InvalidArgument").await;
    for size in ["7", "-1", "x", "99999999999999999999"] {
        let call = upload.complete(&[(1, one), (2, two)]).header("x-amz-mp-object-size", size);
        refused(&world, call, 400, "InvalidRequest").await;
    }
    for (md5, code) in [("AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"), ("AAAA", "InvalidDigest")] {
        refused(&world, upload.complete(&[(1, one), (2, two)]).header("content-md5", md5), 400, code).await;
    }
    let good = upload.complete(&[(1, one), (2, two)]).header("x-amz-mp-object-size", "6");
    good.expect(200).await;
    bart.get("/uploads/a").expect(200).await.body_is("onetwo");
}

#[tokio::test]
async fn tags_are_listed_in_any_spelling_and_elements_in_any_order() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    for spell in [
        |tag: &str| format!("\"{tag}\""),
        |tag: &str| tag.to_owned(),
        |tag: &str| format!("&quot;{tag}&quot;"),
        |tag: &str| format!("&#34;{tag}&#34;"),
    ] {
        let upload = Upload::begin(&bart, "/uploads/a").await;
        let tag = upload.part(7, "seven").await;
        let tag = spell(tag.trim_matches('"'));
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n \
             <Part>\n <ETag>{tag}</ETag>\n <PartNumber> 7 </PartNumber>\n </Part>\n</CompleteMultipartUpload>"
        );
        upload.completion(&body).expect(200).await;
        bart.get("/uploads/a").expect(200).await.body_is("seven");
    }
}

#[tokio::test]
async fn parts_not_listed_are_dropped() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let large = vec![3; 100_000];
    let two = upload.part(2, "two").await;
    upload.part(3, &large).await;
    let five = upload.part(5, &large).await;
    upload.part(9, &large).await;
    upload.complete(&[(2, &two), (5, &five)]).expect(200).await;
    bart.get("/uploads/a").expect(200).await.body_is([b"two".to_vec(), large].concat());
    world.drained().await;
    assert_eq!(world.blobs().await.len(), 1, "only the listed part's bytes are kept");
}

#[tokio::test]
async fn abort_frees_everything_and_once() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let before = world.stored().await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    for number in 1..5 {
        upload.part(number, vec![1; 100_000]).await;
        upload.part(number, "small").await;
    }
    upload.part(6, vec![1; 100_000]).await;
    upload.abort().expect(204).await.body_is("");
    let reply = refused(&world, upload.abort(), 404, "NoSuchUpload").await;
    reply.with("UploadId", &upload.id);
    before.assert_same(&world.stored().await, "an aborted upload");
    refused(&world, upload.complete(&[(1, "x")]), 404, "NoSuchUpload").await;
    refused(&world, upload.put(1, "x"), 404, "NoSuchUpload").await;
    refused(&world, upload.list(""), 404, "NoSuchUpload").await;
}

#[tokio::test]
async fn an_upload_belongs_to_its_key() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    world.bucket("others").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let tag = upload.part(1, "x").await;
    for (path, id) in [
        ("/uploads/b", upload.id.as_str()),
        ("/others/a", &upload.id),
        ("/uploads/a", "x"),
        ("/uploads/a", ""),
        ("/uploads/a", "00000000000000000000000000000000"),
        ("/uploads/a", "..%2F..%2Fx"),
        ("/uploads/a", "%00"),
    ] {
        let wrong = Upload { path: path.to_owned(), id: id.to_owned(), ..upload.clone() };
        refused(&world, wrong.put(2, "x"), 404, "NoSuchUpload").await;
        refused(&world, wrong.complete(&[(1, &tag)]), 404, "NoSuchUpload").await;
        refused(&world, wrong.abort(), 404, "NoSuchUpload").await;
        refused(&world, wrong.list(""), 404, "NoSuchUpload").await;
    }
    upload.complete(&[(1, &tag)]).expect(200).await;
}

#[tokio::test]
async fn the_version_id_of_an_upload_is_allotted_when_it_completes() {
    let world = World::small_parts().await;
    let bart = world.versioned("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let tag = upload.part(1, "uploaded").await;
    let plain = bart.put("/uploads/a", "plain").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    let reply = upload.complete(&[(1, &tag)]).expect(200).await;
    let version = reply.header("x-amz-version-id").unwrap().to_owned();
    assert_eq!(bart.get("/uploads?versions").expect(200).await.tags("VersionId"), [version, plain]);
    bart.get("/uploads/a").expect(200).await.body_is("uploaded");
}

#[tokio::test]
async fn strangers_touch_no_upload() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    let tag = upload.part(1, "x").await;
    for client in [world.lisa(), world.nobody()] {
        let theirs = Upload { client: client.clone(), ..upload.clone() };
        refused(&world, client.post("/uploads/a?uploads", ""), 403, "AccessDenied").await;
        refused(&world, theirs.put(1, "evil"), 403, "AccessDenied").await;
        refused(&world, theirs.complete(&[(1, &tag)]), 403, "AccessDenied").await;
        refused(&world, theirs.abort(), 403, "AccessDenied").await;
        refused(&world, theirs.list(""), 403, "AccessDenied").await;
        refused(&world, client.get("/uploads?uploads"), 403, "AccessDenied").await;
    }
    upload.complete(&[(1, &tag)]).expect(200).await;
    bart.get("/uploads/a").expect(200).await.body_is("x");
}
