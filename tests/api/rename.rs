//! `RenameObject`.

use futures_util::future::join_all;

use crate::{
    multipart::Upload,
    support::world::{World, refused, versioning},
};

#[tokio::test]
async fn a_rename_moves_the_object_with_all_that_is_known_of_it() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let headers = [("x-amz-meta-color", "blue"), ("content-type", "text/plain"), ("x-amz-tagging", "a=1")];
    for body in [vec![b'x'; 100], vec![b'y'; 200_000]] {
        bart.put("/bkt/old", &body).headers(&headers).expect(200).await;
        bart.put("/bkt/old?annotation&annotationName=n", "note").expect(200).await;
        let before = bart.head("/bkt/old").expect(200).await;
        bart.put("/bkt/new?renameObject", "").header("x-amz-rename-source", "old").expect(200).await;
        bart.get("/bkt/old").refused(404, "NoSuchKey").await;
        let after = bart.get("/bkt/new").expect(200).await;
        for name in ["etag", "last-modified", "content-type", "x-amz-meta-color", "x-amz-tagging-count"] {
            assert_eq!(after.header(name), before.header(name), "{name}");
        }
        after.body_is(&body);
        bart.get("/bkt/new?annotation&annotationName=n").expect(200).await.body_is("note");
    }
    let listed = bart.get("/bkt").expect(200).await;
    assert_eq!(listed.tags("Key"), ["new"]);
    bart.delete("/bkt/new").expect(204).await;
    bart.delete("/bkt").expect(204).await;
    world.sound().await;
}

#[tokio::test]
async fn conditions_of_source_and_destination_are_kept() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let tag = bart.put("/bkt/a", "a").expect(200).await.header("etag").unwrap().to_owned();
    let other = bart.put("/bkt/c", "c").expect(200).await.header("etag").unwrap().to_owned();
    let rename = || bart.put("/bkt/c?renameObject", "").header("x-amz-rename-source", "/bkt/a");
    for (name, value) in [
        ("if-none-match", "*"),
        ("if-match", tag.as_str()),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-amz-rename-source-if-match", other.as_str()),
        ("x-amz-rename-source-if-none-match", "*"),
        ("x-amz-rename-source-if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        refused(&world, rename().header(name, value), 412, "PreconditionFailed").await;
    }
    let missing = bart.put("/bkt/c?renameObject", "").header("x-amz-rename-source", "none");
    refused(&world, missing, 404, "NoSuchKey").await;
    refused(&world, bart.put("/bkt/a?renameObject", "").header("x-amz-rename-source", "a"), 400, "InvalidRequest")
        .await;
    refused(&world, bart.put("/bkt/x?renameObject", "").header("x-amz-rename-source", "/o/a"), 400, "InvalidArgument")
        .await;
    refused(&world, bart.put("/bkt/x?renameObject", ""), 400, "InvalidArgument").await;
    for client in [world.lisa(), world.nobody()] {
        let call = client.put("/bkt/x?renameObject", "").header("x-amz-rename-source", "a");
        refused(&world, call, 403, "AccessDenied").await;
    }
    rename().header("if-match", &other).header("x-amz-rename-source-if-match", &tag).expect(200).await;
    bart.get("/bkt/c").expect(200).await.body_is("a");
    versioning(&bart, "bkt", "Enabled").await;
    let call = bart.put("/bkt/d?renameObject", "").header("x-amz-rename-source", "c");
    refused(&world, call, 400, "InvalidRequest").await;
}

#[tokio::test]
async fn a_client_token_makes_a_rename_happen_once() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/a", "first").expect(200).await;
    let rename = |to: &str| {
        let call = bart.put(&format!("/bkt/{to}?renameObject"), "");
        call.header("x-amz-rename-source", "a").header("x-amz-client-token", "token-1")
    };
    rename("c").expect(200).await;
    bart.put("/bkt/a", "second").expect(200).await;
    rename("c").expect(200).await;
    bart.get("/bkt/a").expect(200).await.body_is("second");
    bart.get("/bkt/c").expect(200).await.body_is("first");
    refused(&world, rename("d"), 400, "IdempotencyParameterMismatch").await;
    let long = "t".repeat(65);
    for token in ["", "a b", &long] {
        let call = bart.put("/bkt/d?renameObject", "").header("x-amz-rename-source", "a");
        refused(&world, call.header("x-amz-client-token", token), 400, "InvalidArgument").await;
    }
}

#[tokio::test]
async fn of_many_renames_of_one_object_one_wins() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for round in 0..5 {
        bart.put("/bkt/a", format!("round {round}")).expect(200).await;
        let renames = (0..16).map(|number| {
            let bart = bart.clone();
            let call =
                bart.put(&format!("/bkt/to-{round}-{number}?renameObject"), "").header("x-amz-rename-source", "a");
            async move { call.send().await.status }
        });
        let statuses = join_all(renames).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
        assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 15);
    }
    assert_eq!(bart.get("/bkt").expect(200).await.tags("Key").len(), 5);
    world.sound().await;
}

#[tokio::test]
async fn a_renamed_object_reads_back_whole_however_it_is_encrypted() {
    const METHOD: &str = "x-amz-server-side-encryption";
    let world = World::small_parts().await;
    let bart = world.bucket("bkt").await;
    let pieces = [vec![b'a'; 70_000], vec![b'b'; 9], vec![b'c'; 200_000]];
    let whole = pieces.concat();
    let rename = async |from: &str, to: &str| {
        bart.put(&format!("/bkt/{to}?renameObject"), "").header("x-amz-rename-source", from).expect(200).await;
    };
    for method in ["AES256", "aws:kms", "aws:kms:dsse"] {
        for body in [&whole[..100], &whole] {
            bart.put("/bkt/old", body).header(METHOD, method).expect(200).await;
            rename("old", "new").await;
            bart.get("/bkt/new").expect(200).await.has(METHOD, method).body_is(body);
        }
        let upload = Upload::begin_with(&bart, "/bkt/parts", &[(METHOD, method)]).await;
        let mut parts = Vec::new();
        for (number, piece) in (1..).zip(&pieces) {
            parts.push((number, upload.part(number, piece).await));
        }
        let parts: Vec<_> = parts.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
        upload.complete(&parts).expect(200).await;
        rename("parts", "dir/whole").await;
        let read = bart.get("/bkt/dir/whole").expect(200).await;
        read.has(METHOD, method).body_is(&whole);
        let range = bart.get("/bkt/dir/whole").header("range", "bytes=69990-70020").expect(206).await;
        range.body_is(&whole[69_990..=70_020]);
        bart.get("/bkt/dir/whole?partNumber=3").expect(206).await.body_is(&pieces[2]);
    }
    world.sound().await;
}
