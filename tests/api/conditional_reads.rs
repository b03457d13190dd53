//! Conditional GET and HEAD: RFC 9110 §13.2.2 as S3 reads it (s3-wire.md §5).

use cloudserver::types::Timestamp;

use crate::support::{client::now, world::World};

/// How a condition of a request stands to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Absent,
    Holds,
    Fails,
}

use Given::{Absent, Fails, Holds};

const ALL: [Given; 3] = [Absent, Holds, Fails];

/// The rule itself: what a client sees.
fn expected(if_match: Given, if_unmodified: Given, if_none_match: Given, if_modified: Given) -> u16 {
    match (if_match, if_unmodified) {
        (Fails, _) | (Absent, Fails) => return 412,
        _ => {}
    }
    match (if_none_match, if_modified) {
        (Fails, _) | (Absent, Fails) => 304,
        _ => 200,
    }
}

#[tokio::test]
async fn every_combination_of_conditions_is_judged_in_the_order_of_the_rfc() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    let etag = bart.put("/conditions/object", "body").expect(200).await.etag();
    let modified = bart.head("/conditions/object").expect(200).await.header("last-modified").unwrap().to_owned();
    let old = "Sat, 01 Jan 2000 00:00:00 GMT";
    let mut judged = 0;
    for if_match in ALL {
        for if_unmodified in ALL {
            for if_none_match in ALL {
                for if_modified in ALL {
                    let given = [
                        ("if-match", if_match, etag.as_str(), "\"other\""),
                        ("if-unmodified-since", if_unmodified, &modified, old),
                        ("if-none-match", if_none_match, "\"other\"", &etag),
                        ("if-modified-since", if_modified, old, &modified),
                    ];
                    let wanted = expected(if_match, if_unmodified, if_none_match, if_modified);
                    for method in ["GET", "HEAD"] {
                        let mut call = bart.call(method, "/conditions/object");
                        for (name, given, holds, fails) in given {
                            match given {
                                Absent => {}
                                Holds => call = call.header(name, holds),
                                Fails => call = call.header(name, fails),
                            }
                        }
                        let reply = call.send().await;
                        assert_eq!(reply.status, wanted, "{method} {given:?}");
                        match wanted {
                            200 => drop(reply.has("content-length", "4").has("etag", &etag)),
                            304 => drop(reply.has("etag", &etag).has("last-modified", &modified).body_is("")),
                            _ if method == "GET" => drop(reply.refused(412, "PreconditionFailed")),
                            _ => drop(reply.body_is("")),
                        }
                        judged += 1;
                    }
                }
            }
        }
    }
    assert_eq!(judged, 162);
}

#[tokio::test]
async fn tags_are_read_in_every_spelling() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    let quoted = bart.put("/conditions/object", "body").expect(200).await.etag();
    let unquoted = quoted.trim_matches('"');
    for list in [
        "*".to_owned(),
        quoted.clone(),
        unquoted.to_owned(),
        format!("W/{quoted}"),
        format!("\"other\", {quoted}"),
        format!("{quoted},\"other\""),
        format!("  {quoted}  "),
    ] {
        bart.get("/conditions/object").header("if-match", &list).expect(200).await.body_is("body");
        bart.get("/conditions/object").header("if-none-match", &list).expect(304).await;
    }
    for list in ["\"other\"", "other", "\"a\", \"b\"", "W/\"other\""] {
        bart.get("/conditions/object")
            .header("if-match", list)
            .refused(412, "PreconditionFailed")
            .await
            .with("Condition", "If-Match");
        bart.get("/conditions/object").header("if-none-match", list).expect(200).await;
    }
}

#[tokio::test]
async fn dates_are_read_in_all_three_forms_and_others_ignored() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    bart.put("/conditions/object", "body").expect(200).await;
    for old in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
        bart.get("/conditions/object")
            .header("if-unmodified-since", old)
            .refused(412, "PreconditionFailed")
            .await
            .with("Condition", "If-Unmodified-Since");
        bart.get("/conditions/object").header("if-modified-since", old).expect(200).await;
    }
    for none in ["yesterday", "", "0", "Sun, 99 Nov 1994 08:49:37 GMT"] {
        bart.get("/conditions/object").header("if-unmodified-since", none).expect(200).await;
        bart.get("/conditions/object").header("if-modified-since", none).expect(200).await;
    }
    let future = Timestamp::from_secs(now().as_secs() + 86_400).to_http_date();
    bart.get("/conditions/object").header("if-modified-since", &future).expect(200).await;
    bart.get("/conditions/object").header("if-unmodified-since", &future).expect(200).await;
}

#[tokio::test]
async fn a_condition_on_nothing_is_not_found() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    for (name, value) in [("if-match", "*"), ("if-match", "\"x\""), ("if-none-match", "*"), ("if-none-match", "\"x\"")]
    {
        bart.get("/conditions/none").header(name, value).refused(404, "NoSuchKey").await.with("Key", "none");
        bart.head("/conditions/none").header(name, value).expect(404).await.body_is("");
    }
}

#[tokio::test]
async fn conditions_do_not_tell_strangers_what_is_there() {
    let world = World::new().await;
    let bart = world.bucket("conditions").await;
    let etag = bart.put("/conditions/object", "body").expect(200).await.etag();
    for client in [world.lisa(), world.nobody()] {
        for target in ["/conditions/object", "/conditions/none"] {
            for (name, value) in [
                ("if-match", etag.as_str()),
                ("if-match", "\"x\""),
                ("if-none-match", etag.as_str()),
                ("if-none-match", "*"),
                ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
                ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
                ("range", "bytes=100-"),
                ("x-none", ""),
            ] {
                client.get(target).header(name, value).refused(403, "AccessDenied").await.lacks("etag");
                client.head(target).header(name, value).expect(403).await.lacks("etag");
            }
        }
    }
}
