//! `ListObjects`, `ListObjectsV2`, `ListObjectVersions` (s3-wire.md §8).

use crate::support::{
    client::Client,
    sign::escape_value,
    wire::Reply,
    world::{World, path, refused},
    xml,
};

const TREE: [&str; 10] = ["a", "a/1", "a/2", "a/b/1", "b/1", "b/2", "c", "c//", "d e+f%", "ü/ä"];

async fn tree(world: &World) -> Client {
    let bart = world.bucket("tree").await;
    for key in TREE {
        bart.put(&path("tree", key), key).expect(200).await;
    }
    bart
}

/// Keys and common prefixes of a page.
fn shown(reply: &Reply) -> (Vec<String>, Vec<String>) {
    let keys = reply.elements("Contents").iter().map(|entry| entry.tag("Key").unwrap()).collect();
    let prefixes = reply.elements("CommonPrefixes").iter().map(|entry| entry.tag("Prefix").unwrap()).collect();
    (keys, prefixes)
}

#[tokio::test]
async fn keys_come_in_the_order_of_their_bytes() {
    let world = World::new().await;
    let bart = world.bucket("order").await;
    let mut keys =
        ["b", "a", "B", "!", "~", "é", "z", "aa", "a!", "a/", "a0", "\u{10000}", "\u{ffff}", "日本", "0", "a\u{1}"]
            .map(str::to_owned);
    for key in &keys {
        bart.put(&path("order", key), "").expect(200).await;
    }
    keys.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for query in ["", "?list-type=2", "?versions"] {
        let reply = bart.get(&format!("/order{query}")).expect(200).await;
        assert_eq!(reply.tags("Key"), keys, "{query}");
        let url = bart.get(&format!("/order{query}{}encoding-type=url", if query.is_empty() { "?" } else { "&" }));
        let url = url.expect(200).await.with("EncodingType", "url");
        let encoded: Vec<String> = keys.iter().map(|key| crate::support::sign::escape_key(key)).collect();
        assert_eq!(url.tags("Key"), encoded, "{query}");
    }
}

#[tokio::test]
async fn an_entry_says_what_is_known_of_the_object() {
    let world = World::new().await;
    let bart = world.bucket("tree").await;
    bart.put("/tree/a", "body").header("x-amz-storage-class", "GLACIER_IR").expect(200).await;
    for (query, owner) in [
        ("", true),
        ("?list-type=2", false),
        ("?list-type=2&fetch-owner=true", true),
        ("?list-type=2&fetch-owner=false", false),
        ("?versions", true),
    ] {
        let reply = bart.get(&format!("/tree{query}")).expect(200).await;
        assert!(reply.text().contains("<ETag>&quot;841a2d689ad86bd1611447453c22c6fc&quot;</ETag>"), "{reply}");
        assert_eq!(reply.tag("ID").is_some(), owner, "{query}");
        let modified = reply.tag("LastModified").unwrap();
        assert!(modified.len() == 24 && modified.ends_with('Z'), "{modified}");
        let reply = reply.with("Size", "4").with("StorageClass", "GLACIER_IR").with("Name", "tree");
        reply
            .with("ChecksumAlgorithm", "CRC64NVME")
            .with("ChecksumType", "FULL_OBJECT")
            .has("content-type", "application/xml");
    }
}

#[tokio::test]
async fn a_prefix_and_a_delimiter_fold_the_tree() {
    let world = World::new().await;
    let bart = tree(&world).await;
    for (query, keys, prefixes) in [
        ("", &TREE[..], &[][..]),
        ("delimiter=", &TREE, &[]),
        ("prefix=", &TREE, &[]),
        ("prefix=a", &["a", "a/1", "a/2", "a/b/1"], &[]),
        ("prefix=a%2F", &["a/1", "a/2", "a/b/1"], &[]),
        ("prefix=none", &[], &[]),
        ("delimiter=%2F", &["a", "c", "d e+f%"], &["a/", "b/", "c/", "ü/"]),
        ("delimiter=%2F&prefix=a", &["a"], &["a/"]),
        ("delimiter=%2F&prefix=a%2F", &["a/1", "a/2"], &["a/b/"]),
        ("delimiter=%2F&prefix=c%2F", &[], &["c//"]),
        ("delimiter=%2F1", &["a", "a/2", "b/2", "c", "c//", "d e+f%", "ü/ä"], &["a/1", "a/b/1", "b/1"]),
        ("delimiter=b%2F", &["a", "a/1", "a/2", "c", "c//", "d e+f%", "ü/ä"], &["a/b/", "b/"]),
        ("delimiter=%2Fnone", &TREE, &[]),
        ("delimiter=%20e", &["a", "a/1", "a/2", "a/b/1", "b/1", "b/2", "c", "c//", "ü/ä"], &["d e"]),
        ("prefix=d+e", &["d e+f%"], &[]),
        ("prefix=d%20e%2B", &["d e+f%"], &[]),
    ] {
        for version in ["", "list-type=2&"] {
            let reply = bart.get(&format!("/tree?{version}{query}")).expect(200).await;
            let (got_keys, got_prefixes) = shown(&reply);
            assert_eq!((got_keys.as_slice(), got_prefixes.as_slice()), (&own(keys)[..], &own(prefixes)[..]), "{query}");
            let count = (!version.is_empty()).then(|| (keys.len() + prefixes.len()).to_string());
            assert_eq!(reply.tag("KeyCount"), count, "{query}");
        }
    }
    let reply = bart.get("/tree?delimiter=").expect(200).await;
    assert_eq!(reply.tag("Delimiter"), None, "an empty delimiter is none");
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Walks all pages; gives what they showed, and the number of pages.
async fn walk(client: &Client, query: &str, max: usize, version: u8) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut place) = (Vec::new(), 0, String::new());
    loop {
        let start = match (version, place.is_empty()) {
            (_, true) => String::new(),
            (1, _) => format!("&marker={}", escape_value(&place)),
            _ => format!("&continuation-token={}", escape_value(&place)),
        };
        let kind = if version == 2 { "list-type=2&" } else { "" };
        let reply = client.get(&format!("/tree?{kind}max-keys={max}&{query}{start}")).expect(200).await;
        let (keys, prefixes) = shown(&reply);
        pages += 1;
        let shown = keys.len() + prefixes.len();
        assert!(shown <= max, "{reply}");
        let end = keys.iter().chain(&prefixes).max().cloned();
        all.extend(keys);
        all.extend(prefixes);
        if reply.tag("IsTruncated").as_deref() == Some("false") {
            assert_eq!(reply.tag("NextContinuationToken"), None);
            assert_eq!(reply.tag("NextMarker"), None);
            all.sort();
            return (all, pages);
        }
        assert_eq!(shown, max, "a page that is not the last is full: {reply}");
        place = match version {
            2 => reply.tag("NextContinuationToken").unwrap(),
            _ if query.contains("delimiter=%2F") => {
                assert_eq!(reply.tag("NextMarker"), end);
                end.unwrap()
            }
            _ => {
                assert_eq!(reply.tag("NextMarker"), None, "only with a delimiter");
                end.unwrap()
            }
        };
    }
}

#[tokio::test]
async fn pages_of_every_size_show_everything_once() {
    let world = World::new().await;
    let bart = tree(&world).await;
    for query in ["", "delimiter=%2F", "prefix=a%2F&delimiter=%2F", "prefix=a"] {
        let (whole, _) = walk(&bart, query, 1000, 2).await;
        for version in [1, 2] {
            for max in 1..=11 {
                let (all, pages) = walk(&bart, query, max, version).await;
                assert_eq!(all, whole, "{query} {max} V{version}");
                assert_eq!(pages, whole.len().div_ceil(max).max(1), "{query} {max} V{version}");
            }
        }
    }
}

#[tokio::test]
async fn max_keys_is_clamped_to_a_thousand_and_may_be_zero() {
    let world = World::new().await;
    let bart = tree(&world).await;
    for version in ["", "list-type=2&", "versions&"] {
        for (asked, shown) in
            [("1001", "1000"), ("2147483647", "1000"), ("1000", "1000"), ("3", "3"), ("0", "0"), ("", "1000")]
        {
            let reply = bart.get(&format!("/tree?{version}max-keys={asked}")).expect(200).await.with("MaxKeys", shown);
            if asked == "0" {
                assert_eq!(reply.tags("Key").len(), 0, "{reply}");
                reply.with("IsTruncated", "false");
            }
        }
        for bad in ["-1", "x", "1.5", "0x10", "99999999999999999999999", "%20", "1%00"] {
            let reply = bart.get(&format!("/tree?{version}max-keys={bad}")).refused(400, "InvalidArgument").await;
            reply.with("ArgumentName", "max-keys");
        }
        let bad = bart.get(&format!("/tree?{version}encoding-type=base64"));
        bad.refused(400, "InvalidArgument").await.with("ArgumentName", "encoding-type");
    }
}

#[tokio::test]
async fn markers_need_not_be_keys_and_are_exclusive() {
    let world = World::new().await;
    let bart = tree(&world).await;
    for (marker, first) in
        [("a", "a/1"), ("a/", "a/1"), ("a/1", "a/2"), ("a/11", "a/2"), ("", "a"), ("c///", "d e+f%"), ("\u{7f}", "ü/ä")]
    {
        let escaped = escape_value(marker);
        let reply = bart.get(&format!("/tree?marker={escaped}")).expect(200).await.with("Marker", marker);
        assert_eq!(shown(&reply).0[0], first, "{marker}");
        let reply =
            bart.get(&format!("/tree?list-type=2&start-after={escaped}")).expect(200).await.with("StartAfter", marker);
        assert_eq!(shown(&reply).0[0], first, "{marker}");
    }
    let reply = bart.get("/tree?marker=%F0%90%80%80").expect(200).await;
    assert!(shown(&reply).0.is_empty());
    // A group counts as one entry, its prefix: a marker within the group is behind that.
    for marker in ["a%2F", "a%2F1", "a%2Fzzz"] {
        for query in [format!("marker={marker}"), format!("list-type=2&start-after={marker}")] {
            let reply = bart.get(&format!("/tree?delimiter=%2F&{query}")).expect(200).await;
            assert_eq!(shown(&reply).1, ["b/", "c/", "ü/"], "{query}");
        }
    }
}

#[tokio::test]
async fn a_token_wins_over_start_after_and_must_be_ours() {
    let world = World::new().await;
    let bart = tree(&world).await;
    let first = bart.get("/tree?list-type=2&max-keys=3").expect(200).await.with("IsTruncated", "true");
    let token = first.tag("NextContinuationToken").unwrap();
    let escaped = escape_value(&token);
    let reply = bart.get(&format!("/tree?list-type=2&start-after=c&continuation-token={escaped}")).expect(200).await;
    assert_eq!(shown(&reply).0[0], "a/b/1");
    reply.with("ContinuationToken", &token);
    let long = "A".repeat(3000);
    // An empty token is none.
    bart.get("/tree?list-type=2&continuation-token=").expect(200).await.with("KeyCount", "10");
    for bad in ["x", "****", "a%00", "%2B%2F", "eA", &long] {
        let call = bart.get(&format!("/tree?list-type=2&continuation-token={bad}"));
        call.refused(400, "InvalidArgument").await.with("ArgumentName", "continuation-token");
    }
}

#[tokio::test]
async fn what_encoding_type_encodes() {
    let world = World::new().await;
    let bart = tree(&world).await;
    let query = "prefix=d+e&delimiter=%2B&marker=%20&encoding-type=url&max-keys=1";
    let reply = bart.get(&format!("/tree?{query}")).expect(200).await;
    let reply = reply.with("Marker", "%20").with("Delimiter", "%2B").with("EncodingType", "url");
    // Clients do not decode the prefix of version 1: it stays as it is unless that would not read back.
    assert_eq!(reply.tags("Prefix"), ["d e", "d%20e%2B"]);
    for (prefix, shown) in [("a%2B", "a%2B"), ("a%25", "a%25"), ("a%01", "a%01"), ("%C3%BC", "ü"), ("a%26", "a&")] {
        bart.get(&format!("/tree?prefix={prefix}&encoding-type=url")).expect(200).await.with("Prefix", shown);
    }
    // A tab or an end of line is read where a reference stands for it, and only there.
    for (prefix, shown, raw) in [("%0A", "\n", "&#xa;"), ("%09", "\t", "&#x9;"), ("%0D", "\r", "&#xd;")] {
        let reply = bart.get(&format!("/tree?prefix={prefix}&encoding-type=url")).expect(200).await;
        assert_eq!(xml::sections(&reply.text(), "Prefix"), [raw]);
        reply.with("Prefix", shown);
    }
    bart.get("/tree?list-type=2&prefix=d+e&encoding-type=url").expect(200).await.with("Prefix", "d%20e");
    let reply = bart.get("/tree?list-type=2&start-after=%20&encoding-type=url&max-keys=1").expect(200).await;
    let token = reply.with("StartAfter", "%20").tag("NextContinuationToken").unwrap();
    bart.get(&format!("/tree?list-type=2&continuation-token={token}&encoding-type=url"))
        .expect(200)
        .await
        .with("Key", "a/1");
}

#[tokio::test]
async fn keys_that_xml_cannot_hold_are_numeric_references() {
    let world = World::new().await;
    let bart = world.bucket("odd").await;
    let keys = ["\u{1}control", "<tag>&amp;\"'", "]]>", "line\nend\rs\ttab", "\u{7f}\u{85}", "a\u{fffe}"];
    for key in keys {
        bart.put(&path("odd", key), "").expect(200).await;
        let reply = bart.get(&format!("/odd?prefix={}", escape_value(key))).expect(200).await;
        assert_eq!(reply.tag("Prefix").as_deref(), Some(key));
        assert_eq!(reply.tags("Key"), [key]);
        let raw = &xml::sections(&reply.text(), "Key")[0];
        assert!(!raw.chars().any(|char| matches!(char, '\0'..'\x20' | '<' | '\u{fffe}')), "{raw:?}");
    }
    // NUL is a byte like others.
    bart.put("/odd/nul%00byte", "x").expect(200).await;
    bart.get("/odd/nul%00byte").expect(200).await.body_is("x");
    let reply = bart.get("/odd?prefix=nul&encoding-type=url").expect(200).await;
    assert_eq!(reply.tags("Key"), ["nul%00byte"]);
}

#[tokio::test]
async fn versions_go_on_behind_key_and_version() {
    let world = World::new().await;
    let bart = world.versioned("tree").await;
    for key in ["a", "b/1", "b/2", "c"] {
        for _ in 0..3 {
            bart.put(&path("tree", key), "x").expect(200).await;
        }
        bart.delete(&path("tree", key)).expect(204).await;
    }
    let whole = bart.get("/tree?versions").expect(200).await;
    let all: Vec<(String, String)> = whole.tags("Key").into_iter().zip(whole.tags("VersionId")).collect();
    assert_eq!(all.len(), 16);
    for max in 1..=17 {
        let (mut seen, mut place) = (Vec::new(), String::new());
        loop {
            let reply = bart.get(&format!("/tree?versions&max-keys={max}{place}")).expect(200).await;
            let page: Vec<_> = reply.tags("Key").into_iter().zip(reply.tags("VersionId")).collect();
            assert!(page.len() <= max);
            seen.extend(page);
            if reply.tag("IsTruncated").as_deref() == Some("false") {
                assert_eq!(reply.tag("NextKeyMarker"), None);
                break;
            }
            let key = escape_value(&reply.tag("NextKeyMarker").unwrap());
            place = format!("&key-marker={key}&version-id-marker={}", reply.tag("NextVersionIdMarker").unwrap());
        }
        assert_eq!(seen, all, "pages of {max}");
    }
    // The key alone leaves all its versions behind.
    let reply = bart.get("/tree?versions&key-marker=a").expect(200).await;
    assert_eq!(reply.tags("Key")[0], "b/1");
    let folded = bart.get("/tree?versions&delimiter=%2F").expect(200).await;
    assert_eq!(folded.elements("CommonPrefixes").len(), 1);
    assert_eq!(folded.tags("Key").len(), 8);
    let lone = bart.get(&format!("/tree?versions&version-id-marker={}", all[0].1));
    lone.refused(400, "InvalidArgument").await.with("ArgumentName", "version-id-marker");
    let broken = bart.get("/tree?versions&key-marker=a&version-id-marker=x");
    broken.refused(400, "InvalidArgument").await;
    // A marker whose version is gone meanwhile still has its place.
    bart.delete(&format!("/tree/a?versionId={}", all[1].1)).expect(204).await;
    let reply = bart.get(&format!("/tree?versions&key-marker=a&version-id-marker={}", all[1].1)).expect(200).await;
    assert_eq!(reply.tags("VersionId")[0], all[2].1);
}

#[tokio::test]
async fn delete_markers_and_deleted_keys_are_in_no_plain_listing() {
    let world = World::new().await;
    let bart = world.versioned("tree").await;
    for key in ["a", "b/1", "c"] {
        bart.put(&path("tree", key), "x").expect(200).await;
    }
    bart.delete("/tree/a").expect(204).await;
    bart.delete("/tree/b/1").expect(204).await;
    for query in ["", "?list-type=2", "?delimiter=%2F"] {
        let reply = bart.get(&format!("/tree{query}")).expect(200).await;
        assert_eq!(shown(&reply), (own(&["c"]), own(&[])), "{query}");
    }
}

#[tokio::test]
async fn a_listing_follows_each_write_at_once() {
    let world = World::new().await;
    let bart = world.bucket("tree").await;
    for number in 0..30 {
        bart.put(&format!("/tree/{number:02}"), "x").expect(200).await;
        let reply = bart.get("/tree?list-type=2").expect(200).await.with("KeyCount", &(number + 1).to_string());
        assert_eq!(shown(&reply).0.last().unwrap(), &format!("{number:02}"));
    }
    for number in 0..30 {
        bart.delete(&format!("/tree/{number:02}")).expect(204).await;
        bart.get("/tree?list-type=2").expect(200).await.with("KeyCount", &(29 - number).to_string());
    }
}

#[tokio::test]
async fn strangers_may_not_list() {
    let world = World::new().await;
    tree(&world).await;
    for client in [world.lisa(), world.nobody()] {
        for query in ["", "?list-type=2", "?versions", "?uploads", "?delimiter=%2F"] {
            refused(&world, client.get(&format!("/tree{query}")), 403, "AccessDenied").await;
            client.get(&format!("/nobucket{query}")).refused(404, "NoSuchBucket").await;
        }
    }
    // A public bucket may be listed, its uploads and versions still not by anybody.
    let bart = world.bart();
    bart.put("/public", "").header("x-amz-acl", "public-read").expect(200).await;
    world.nobody().get("/public").expect(200).await;
}
