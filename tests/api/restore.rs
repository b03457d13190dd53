//! `RestoreObject`, and what storage classes mean to readers (s3-wire-2.md §15). When copies end is tested where time
//! can be moved: in `storage::tests::restore`.

use cloudserver::types::Timestamp;

use crate::{
    multipart::Upload,
    support::{
        client::{Call, Client, now},
        wire::Reply,
        world::{World, refused},
    },
};

const CLASS: &str = "x-amz-storage-class";
const SOURCE: &str = "x-amz-copy-source";
const STATUS: (&str, &str) = ("x-amz-optional-object-attributes", "RestoreStatus");

fn document(days: u32, tier: &str) -> String {
    format!(
        "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{days}</Days>\
         <GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters></RestoreRequest>"
    )
}

fn restore(client: &Client, target: &str, days: u32) -> Call {
    let target = format!("{target}{}restore", if target.contains('?') { '&' } else { '?' });
    client.post(&target, document(days, "Standard"))
}

/// When the copy ends of which an answer tells.
fn end(reply: &Reply) -> Timestamp {
    let text = reply.header("x-amz-restore").unwrap_or_else(|| panic!("not restored: {reply}"));
    let date = text.strip_prefix("ongoing-request=\"false\", expiry-date=\"").unwrap().strip_suffix('"').unwrap();
    Timestamp::parse_http_date(date).unwrap()
}

#[tokio::test]
async fn an_archived_object_is_seen_but_not_read_until_it_is_restored() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for (class, body) in [("GLACIER", vec![b'x'; 100]), ("DEEP_ARCHIVE", vec![b'y'; 200_000])] {
        bart.put("/bkt/a", &body).header(CLASS, class).expect(200).await;
        for call in [
            bart.get("/bkt/a"),
            bart.get("/bkt/a").header("range", "bytes=0-5"),
            bart.get("/bkt/a").header("range", "bytes=9999999-"),
            bart.get("/bkt/a?partNumber=1"),
        ] {
            call.refused(403, "InvalidObjectState").await.with("StorageClass", class);
        }
        let head = bart.head("/bkt/a").expect(200).await.has(CLASS, class).lacks("x-amz-restore");
        let etag = head.header("etag").unwrap().to_owned();
        bart.get("/bkt/a").header("if-none-match", &etag).expect(304).await;
        bart.get("/bkt/a").header("if-match", "\"other\"").refused(412, "PreconditionFailed").await;
        let attributes = bart.get("/bkt/a?attributes").header("x-amz-object-attributes", "StorageClass");
        attributes.expect(200).await.with("StorageClass", class);

        restore(&bart, "/bkt/a", 3).expect(202).await.body_is("");
        let read = bart.get("/bkt/a").expect(200).await.has(CLASS, class);
        let until = end(&read);
        let left = until.distance(now()).as_secs();
        assert!(until.as_secs().is_multiple_of(86_400) && (3 * 86_400 - 60..=4 * 86_400).contains(&left), "{until:?}");
        read.body_is(&body);
        bart.get("/bkt/a").header("range", "bytes=1-5").expect(206).await.body_is(&body[1..=5]);
        let head = bart.head("/bkt/a").expect(200).await;
        assert_eq!((end(&head), head.header("etag")), (until, Some(etag.as_str())));
        restore(&bart, "/bkt/a", 10).expect(200).await;
        assert_eq!(end(&bart.head("/bkt/a").expect(200).await).distance(until).as_secs(), 7 * 86_400);
    }
    world.sound().await;
}

#[tokio::test]
async fn a_copy_of_an_archived_object_needs_a_restore_and_then_changes_its_class() {
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "old bytes").header(CLASS, "GLACIER").expect(200).await;
    let onto = |key: &str| bart.put(&format!("/bkt/{key}"), "").header(SOURCE, "/bkt/a").header(CLASS, "STANDARD_IA");
    for key in ["a", "b"] {
        refused(&world, onto(key), 403, "InvalidObjectState").await.with("StorageClass", "GLACIER");
    }
    let upload = Upload::begin(&bart, "/bkt/parts").await;
    refused(&world, upload.put(1, "").header(SOURCE, "/bkt/a"), 403, "InvalidObjectState").await;
    restore(&bart, "/bkt/a", 1).expect(202).await;
    upload.put(1, "").header(SOURCE, "/bkt/a").expect(200).await;
    onto("b").expect(200).await;
    bart.get("/bkt/b").expect(200).await.lacks("x-amz-restore").body_is("old bytes");
    onto("a").expect(200).await;
    let warm = bart.get("/bkt/a").expect(200).await.has(CLASS, "STANDARD_IA").lacks("x-amz-restore");
    warm.body_is("old bytes");
    refused(&world, restore(&bart, "/bkt/a", 1), 403, "InvalidObjectState").await.with("StorageClass", "STANDARD_IA");
}

#[tokio::test]
async fn what_is_no_restore_changes_nothing() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/warm", "x").expect(200).await;
    bart.put("/bkt/cold", "x").header(CLASS, "DEEP_ARCHIVE").expect(200).await;
    let at = |body: &str| bart.post("/bkt/cold?restore", body);
    refused(&world, at(""), 400, "MissingRequestBodyError").await;
    refused(&world, at("<RestoreRequest>"), 400, "MalformedXML").await;
    refused(&world, at("<Other><Days>1</Days></Other>"), 400, "MalformedXML").await;
    refused(&world, at(&document(0, "Standard")), 400, "InvalidArgument").await;
    refused(&world, at(&document(1, "Fast")), 400, "MalformedXML").await;
    refused(&world, at(&document(1, "Expedited")), 400, "InvalidArgument").await;
    refused(&world, at(&document(2_147_483_647, "Bulk")), 400, "InvalidArgument").await;
    let select = "<RestoreRequest><Type>SELECT</Type><Tier>Expedited</Tier></RestoreRequest>";
    refused(&world, at(select), 501, "NotImplemented").await;
    refused(&world, restore(&bart, "/bkt/warm", 1), 403, "InvalidObjectState").await.with("StorageClass", "STANDARD");
    refused(&world, restore(&bart, "/bkt/none", 1), 404, "NoSuchKey").await;
    refused(&world, restore(&bart, "/none/cold", 1), 404, "NoSuchBucket").await;
    refused(&world, at(&document(1, "Bulk")).header("x-amz-checksum-crc32", "AAAAAA=="), 400, "BadDigest").await;
    for client in [world.lisa(), world.nobody()] {
        refused(&world, restore(&client, "/bkt/cold", 1), 403, "AccessDenied").await;
    }
    bart.post("/bkt/cold?restore", document(1, "Bulk")).expect(202).await;
}

#[tokio::test]
async fn a_policy_may_let_others_restore() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "x").header(CLASS, "GLACIER").expect(200).await;
    let statement =
        r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:RestoreObject", "Resource": "arn:aws:s3:::bkt/*"}"#;
    bart.put("/bkt?policy", format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#))
        .digested()
        .expect(204)
        .await;
    restore(&world.lisa(), "/bkt/a", 1).expect(202).await;
    world.lisa().get("/bkt/a").refused(403, "AccessDenied").await;
    bart.get("/bkt/a").expect(200).await.body_is("x");
}

#[tokio::test]
async fn a_version_is_restored_by_its_id_and_shows_in_every_listing() {
    let world = World::new().await;
    let bart = world.versioned("bkt").await;
    let put = |body: &str| bart.put("/bkt/a", body).header(CLASS, "GLACIER");
    let first = put("one").expect(200).await.header("x-amz-version-id").unwrap().to_owned();
    put("two").expect(200).await;
    restore(&bart, &format!("/bkt/a?versionId={first}"), 2).expect(202).await;
    bart.get(&format!("/bkt/a?versionId={first}")).expect(200).await.body_is("one");
    bart.get("/bkt/a").refused(403, "InvalidObjectState").await;
    let versions = bart.get("/bkt?versions").headers(&[STATUS]).expect(200).await;
    assert_eq!(versions.tags("IsRestoreInProgress"), ["false"]);
    let until = end(&bart.head(&format!("/bkt/a?versionId={first}")).expect(200).await);
    assert_eq!(versions.tags("RestoreExpiryDate"), [until.to_iso8601()]);
    restore(&bart, "/bkt/a", 2).expect(202).await;
    for list in ["/bkt", "/bkt?list-type=2"] {
        let listed = bart.get(list).headers(&[STATUS]).expect(200).await;
        assert_eq!(listed.elements("RestoreStatus").len(), 1, "{list}");
        assert_eq!(bart.get(list).expect(200).await.elements("RestoreStatus").len(), 0, "{list}");
        bart.get(list).header(STATUS.0, "Size").refused(400, "InvalidArgument").await;
    }
    let marker = bart.delete("/bkt/a").expect(204).await.header("x-amz-version-id").unwrap().to_owned();
    refused(&world, restore(&bart, "/bkt/a", 1), 404, "NoSuchKey").await;
    refused(&world, restore(&bart, &format!("/bkt/a?versionId={marker}"), 1), 405, "MethodNotAllowed").await;
}

#[tokio::test]
async fn encrypted_uploads_of_many_parts_are_archived_and_restored_like_others() {
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    let headers = [(CLASS, "GLACIER"), ("x-amz-server-side-encryption", "AES256")];
    let upload = Upload::begin_with(&bart, "/bkt/parts", &headers).await;
    let pieces = [vec![b'a'; 100_000], vec![b'b'; 10]];
    let tags = [upload.part(1, &pieces[0]).await, upload.part(2, &pieces[1]).await];
    upload.complete(&[(1, &tags[0]), (2, &tags[1])]).expect(200).await;
    bart.get("/bkt/parts").refused(403, "InvalidObjectState").await;
    // Neither the quota nor a rename is in the way of a restore.
    bart.put("/bkt?quota", r#"{"quota": 5}"#).expect(200).await;
    bart.put("/bkt/moved?renameObject", "").header("x-amz-rename-source", "parts").expect(200).await;
    restore(&bart, "/bkt/moved", 1).expect(202).await;
    bart.get("/bkt/moved").expect(200).await.body_is(pieces.concat());
    world.sound().await;
}
