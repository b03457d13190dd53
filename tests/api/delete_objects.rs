//! DeleteObjects (s3-wire.md §11).

use crate::support::{
    client::{Call, Client},
    world::{World, path, refused},
    xml::escape,
};

fn document(keys: &[&str], quiet: bool) -> String {
    let objects: String = keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", escape(key))).collect();
    format!("<Delete>{objects}<Quiet>{quiet}</Quiet></Delete>")
}

fn delete(client: &Client, body: impl AsRef<[u8]>) -> Call {
    client.post("/box?delete", body).digested()
}

#[tokio::test]
async fn keys_there_and_not_there_are_deleted_alike() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    let keys = ["a", "b/c", "ü", " leading and trailing ", "\nnewline", "a&<b>\"'", "%2F+", "..", "a\u{1}b"];
    for key in keys {
        bart.put(&path("box", key), "x").expect(200).await;
    }
    let reply = delete(&bart, document(&["none", "none"], false)).expect(200).await;
    assert_eq!(reply.tags("Key"), ["none", "none"]);
    assert_eq!(reply.elements("Deleted").len(), 2);
    let reply = delete(&bart, document(&keys, false)).expect(200).await;
    assert_eq!(reply.tags("Key"), keys);
    assert_eq!(reply.elements("Error").len(), 0, "{reply}");
    let left = bart.get("/box?list-type=2&encoding-type=url").expect(200).await;
    left.with("KeyCount", "0");
}

#[tokio::test]
async fn quiet_leaves_out_what_went_well() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    bart.put("/box/a", "x").expect(200).await;
    let long = "k".repeat(1025);
    let reply = delete(&bart, document(&["a", "none", &long], true)).expect(200).await;
    assert!(reply.elements("Deleted").is_empty(), "{reply}");
    assert_eq!(reply.elements("Error").len(), 1, "{reply}");
    reply.with("Key", &long).with("Code", "KeyTooLongError");
    bart.get("/box/a").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn each_entry_succeeds_or_fails_by_itself() {
    let world = World::new().await;
    let bart = world.versioned("box").await;
    let version = bart.put("/box/a", "x").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    let etag = bart.put("/box/b", "x").expect(200).await.etag();
    let body = format!(
        "<Delete><Object><Key>a</Key><VersionId>{version}</VersionId></Object>\
         <Object><Key>a</Key><VersionId>broken</VersionId></Object>\
         <Object><Key>b</Key><ETag>\"other\"</ETag></Object>\
         <Object><Key>b</Key><Size>17</Size></Object>\
         <Object><Key>b</Key><ETag>{etag}</ETag><Size>1</Size></Object>\
         <Object><Key></Key></Object></Delete>"
    );
    let reply = delete(&bart, body).expect(200).await;
    let deleted = reply.elements("Deleted");
    assert_eq!(deleted.len(), 2, "{reply}");
    assert_eq!(deleted[0].tag("VersionId"), Some(version));
    assert_eq!(deleted[0].tag("DeleteMarker"), None);
    assert_eq!(deleted[1].tag("DeleteMarker").as_deref(), Some("true"));
    assert!(deleted[1].tag("DeleteMarkerVersionId").is_some());
    assert_eq!(deleted[1].tag("VersionId"), None);
    let codes: Vec<String> = reply.tags("Code");
    assert_eq!(codes, ["InvalidArgument", "PreconditionFailed", "PreconditionFailed", "InvalidArgument"], "{reply}");
    bart.get("/box/b").refused(404, "NoSuchKey").await.has("x-amz-delete-marker", "true");
}

#[tokio::test]
async fn deleting_a_marker_by_its_id_says_that_it_was_one() {
    let world = World::new().await;
    let bart = world.versioned("box").await;
    bart.put("/box/a", "x").expect(200).await;
    let marker = bart.delete("/box/a").expect(204).await.header("x-amz-version-id").unwrap().to_owned();
    let body = format!("<Delete><Object><Key>a</Key><VersionId>{marker}</VersionId></Object></Delete>");
    let reply = delete(&bart, body).expect(200).await;
    reply.with("DeleteMarker", "true").with("DeleteMarkerVersionId", &marker).with("VersionId", &marker);
    bart.get("/box/a").expect(200).await;
}

#[tokio::test]
async fn the_same_key_twice_is_two_deletes() {
    let world = World::new().await;
    let bart = world.versioned("box").await;
    let reply = delete(&bart, document(&["a", "a", "a"], false)).expect(200).await;
    let mut ids = reply.tags("DeleteMarkerVersionId");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{reply}");
}

#[tokio::test]
async fn a_thousand_keys_are_the_most() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    let keys: Vec<String> = (0..1001).map(|number| format!("key{number:04}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for key in keys.iter().step_by(100) {
        bart.put(&path("box", key), "x").expect(200).await;
    }
    refused(&world, delete(&bart, document(&keys, false)), 400, "MalformedXML").await;
    let reply = delete(&bart, document(&keys[..1000], false)).expect(200).await;
    assert_eq!(reply.tags("Key"), keys[..1000], "in the client's order");
    bart.get("/box?list-type=2").expect(200).await.with("Key", "key1000").with("KeyCount", "1");
}

#[tokio::test]
async fn documents_that_are_none_delete_nothing() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    bart.put("/box/a", "x").expect(200).await;
    for (body, code) in [
        (String::new(), "MissingRequestBodyError"),
        ("<Delete></Delete>".to_owned(), "MalformedXML"),
        ("<Delete><Quiet>true</Quiet></Delete>".to_owned(), "MalformedXML"),
        ("<Remove><Object><Key>a</Key></Object></Remove>".to_owned(), "MalformedXML"),
        ("<Delete><Object><Key>a</Key></Object>".to_owned(), "MalformedXML"),
        ("<Delete><Object><Key>a</Key></Object></Delete><Delete/>".to_owned(), "MalformedXML"),
        ("<Delete><Object></Object></Delete>".to_owned(), "MalformedXML"),
        ("<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>".to_owned(), "MalformedXML"),
        ("<Delete><Object><Key>a</Key><Size>x</Size></Object></Delete>".to_owned(), "MalformedXML"),
        ("{\"Delete\": []}".to_owned(), "MalformedXML"),
        (format!("<Delete><Object><Key>a</Key></Object>{}</Delete>", " ".repeat(3 << 20)), "MaxMessageLengthExceeded"),
    ] {
        refused(&world, delete(&bart, body), 400, code).await;
    }
    refused(&world, bart.post("/box?delete", document(&["a"], false)), 400, "InvalidRequest").await;
    let wrong = bart.post("/box?delete", document(&["a"], false)).header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    refused(&world, wrong, 400, "BadDigest").await;
    let wrong = bart.post("/box?delete", document(&["a"], false)).header("x-amz-checksum-crc32", "AAAAAA==");
    refused(&world, wrong, 400, "BadDigest").await;
    let nowhere = bart.post("/nobucket?delete", document(&["a"], false)).digested();
    refused(&world, nowhere, 404, "NoSuchBucket").await;
    // The order of elements does not matter, nor does their namespace, nor what is unknown.
    let odd = "<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>false</Quiet>\
               <Object><VersionId></VersionId><Other/><Key>a</Key></Object></Delete>";
    delete(&bart, odd).expect(200).await.with("Key", "a");
    bart.get("/box/a").refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn a_checksum_serves_as_digest() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    for algorithm in cloudserver::types::ChecksumAlgorithm::ALL {
        bart.put("/box/a", "x").expect(200).await;
        let body = document(&["a"], false);
        let value = cloudserver::types::Checksum::of(algorithm, body.as_bytes()).to_base64();
        let call = bart.post("/box?delete", &body).header(algorithm.header(), value);
        let call = call.header("x-amz-sdk-checksum-algorithm", algorithm.name());
        call.expect(200).await.with("Key", "a");
        bart.get("/box/a").refused(404, "NoSuchKey").await;
    }
}

#[tokio::test]
async fn strangers_are_refused_key_by_key() {
    let world = World::new().await;
    let bart = world.bucket("box").await;
    bart.put("/box/a", "x").expect(200).await;
    let before = world.stored().await;
    for client in [world.lisa(), world.nobody()] {
        let reply = delete(&client, document(&["a", "none"], false)).send().await;
        if reply.status == 200 {
            assert_eq!(reply.tags("Code"), ["AccessDenied", "AccessDenied"], "{reply}");
            assert!(reply.elements("Deleted").is_empty(), "{reply}");
        } else {
            reply.refused(403, "AccessDenied");
        }
        before.assert_same(&world.stored().await, "a stranger");
    }
}
