//! Metadata search: `?search=` really filters, in pages that are bounded.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::world::{World, refused};

fn search(bucket: &str, clause: &str, more: &str) -> String {
    format!("/{bucket}?search={}{more}", utf8_percent_encode(clause, NON_ALPHANUMERIC))
}

async fn world() -> World {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for (key, size, tags, color) in [
        ("a/1", 10, "kind=cat", "blue"),
        ("a/2", 200, "kind=dog", "Blue"),
        ("c", 3000, "kind=cat&age=7", "red"),
        ("d/4", 40000, "", ""),
    ] {
        let mut call = bart.put(&format!("/bkt/{key}"), vec![b'x'; size]).header("content-type", "text/plain");
        if !tags.is_empty() {
            call = call.header("x-amz-tagging", tags);
        }
        if !color.is_empty() {
            call = call.header("x-amz-meta-color", color);
        }
        call.expect(200).await;
    }
    world
}

#[tokio::test]
async fn a_clause_picks_by_every_kind_of_field() {
    let world = world().await;
    let bart = world.bart();
    for (clause, keys) in [
        ("key='c'", vec!["c"]),
        ("content-length > 150 and content-length < 40000", vec!["a/2", "c"]),
        ("`x-amz-meta-color`=\"blue\"", vec!["a/1"]),
        ("x-amz-meta-color like '/^BLUE$/i'", vec!["a/1", "a/2"]),
        ("tags.kind='cat' AND (tags.age > 5 OR key LIKE '^a')", vec!["a/1", "c"]),
        ("tags.kind <> 'cat'", vec!["a/2", "d/4"]),
        ("content-type='text/plain' AND owner-display-name='Bart'", vec!["a/1", "a/2", "c", "d/4"]),
        ("last-modified > '2020-01-01' AND key != 'c'", vec!["a/1", "a/2", "d/4"]),
        ("replicationInfo.status='COMPLETED'", vec![]),
    ] {
        for form in ["", "&list-type=2"] {
            let reply = bart.get(&search("bkt", clause, form)).expect(200).await;
            assert_eq!(reply.tags("Key"), keys, "{clause}{form}");
            assert_eq!(reply.tag("IsTruncated").as_deref(), Some("false"));
        }
    }
}

#[tokio::test]
async fn what_is_no_clause_is_refused_in_the_originals_words() {
    let world = world().await;
    let bart = world.bart();
    for clause in ["", "key", "key=", "key='a", "key LIKE '('", "(key=a", "key = a b"] {
        let reply = refused(&world, bart.get(&search("bkt", clause, "")), 400, "InvalidArgument").await;
        reply.with("Message", "Invalid sql where clause sent as search query");
    }
    refused(&world, bart.get(&search("bkt", "key=a", "&versions")), 501, "NotImplemented").await;
    refused(&world, world.lisa().get(&search("bkt", "key=a", "")), 403, "AccessDenied").await;
    refused(&world, bart.get(&search("none", "key=a", "")), 404, "NoSuchBucket").await;
}

#[tokio::test]
async fn pages_prefixes_and_delimiters_work_on_what_was_picked() {
    let world = world().await;
    let bart = world.bart();
    let reply = bart.get(&search("bkt", "content-length > 1", "&delimiter=/")).expect(200).await;
    assert_eq!(
        (reply.tags("Key"), reply.tags("Prefix")),
        (vec!["c".into()], vec![String::new(), "a/".into(), "d/".into()])
    );
    let reply = bart.get(&search("bkt", "tags.kind=dog", "&delimiter=/")).expect(200).await;
    assert_eq!((reply.tags("Key"), reply.tags("Prefix")), (vec![], vec![String::new(), "a/".into()]));
    let reply = bart.get(&search("bkt", "content-length > 1", "&prefix=a/")).expect(200).await;
    assert_eq!(reply.tags("Key"), ["a/1", "a/2"]);
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let more = format!("&list-type=2&max-keys=1{token}");
        let reply = bart.get(&search("bkt", "tags.kind LIKE '.'", &more)).expect(200).await;
        found.extend(reply.tags("Key"));
        match reply.tag("NextContinuationToken") {
            Some(next) => token = format!("&continuation-token={next}"),
            None => break,
        }
    }
    assert_eq!(found, ["a/1", "a/2", "c"]);
    let mut found = Vec::new();
    let mut marker = String::new();
    loop {
        let more = format!("&delimiter=/&max-keys=1&marker={marker}");
        let reply = bart.get(&search("bkt", "content-length > 1", &more)).expect(200).await;
        found.extend(reply.tags("Key"));
        found.extend(reply.tags("Prefix").into_iter().skip(1));
        if reply.tag("IsTruncated").as_deref() == Some("false") {
            break;
        }
        marker = reply.tag("NextMarker").unwrap();
    }
    assert_eq!(found, ["a/", "c", "d/"]);
}
