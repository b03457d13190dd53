//! `ListParts` and `ListMultipartUploads`.

use super::{Upload, open_uploads};
use crate::support::{
    sign::escape_value,
    world::{BART, World, path},
};

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let upload = Upload::begin_with(&bart, "/uploads/a", &[("x-amz-storage-class", "STANDARD_IA")]).await;
    let empty = upload.list("").expect(200).await.with("IsTruncated", "false").with("MaxParts", "1000");
    assert!(empty.elements("Part").is_empty());
    for number in [1, 2, 3, 10, 100] {
        upload.part(number, format!("part {number}")).await;
    }
    let whole = upload.list("").expect(200).await;
    assert_eq!(whole.tags("PartNumber"), ["1", "2", "3", "10", "100"]);
    assert_eq!(whole.tags("Size"), ["6", "6", "6", "7", "8"]);
    assert_eq!(whole.elements("Initiator")[0].tag("ID").as_deref(), Some(BART));
    assert_eq!(whole.elements("Owner")[0].tag("ID").as_deref(), Some(BART));
    let whole = whole
        .with("Bucket", "uploads")
        .with("Key", "a")
        .with("UploadId", &upload.id)
        .with("StorageClass", "STANDARD_IA");
    whole.with("PartNumberMarker", "0").with("NextPartNumberMarker", "100");
    for max in 1..=6 {
        let (mut seen, mut marker) = (Vec::new(), "0".to_owned());
        loop {
            let reply = upload.list(&format!("&max-parts={max}&part-number-marker={marker}")).expect(200).await;
            assert!(reply.tags("PartNumber").len() <= max);
            seen.extend(reply.tags("PartNumber"));
            let reply = reply.with("MaxParts", &max.to_string()).with("PartNumberMarker", &marker);
            if reply.tag("IsTruncated").as_deref() == Some("false") {
                break;
            }
            marker = reply.tag("NextPartNumberMarker").unwrap();
        }
        assert_eq!(seen, ["1", "2", "3", "10", "100"], "pages of {max}");
    }
    for (query, numbers) in [
        ("&part-number-marker=3", &["10", "100"][..]),
        ("&part-number-marker=4", &["10", "100"]),
        ("&part-number-marker=100", &[]),
        ("&part-number-marker=99999", &[]),
        ("&max-parts=0", &[]),
        ("&max-parts=100000", &["1", "2", "3", "10", "100"]),
    ] {
        assert_eq!(upload.list(query).expect(200).await.tags("PartNumber"), numbers, "{query}");
    }
    for query in [
        "&max-parts=-1",
        "&max-parts=x",
        "&part-number-marker=-1",
        "&part-number-marker=x",
        "&max-parts=99999999999999999999",
    ] {
        upload.list(query).refused(400, "InvalidArgument").await;
    }
}

#[tokio::test]
async fn uploads_are_listed_by_key_then_by_age() {
    let world = World::small_parts().await;
    let bart = world.bucket("uploads").await;
    let mut begun = Vec::new();
    for key in ["b/1", "a", "b/2", "a", "c d", "a"] {
        let upload = Upload::begin(&bart, &path("uploads", key)).await;
        begun.push((key.to_owned(), upload.id));
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    begun.sort_by(|a, b| a.0.cmp(&b.0));
    let whole = open_uploads(&bart, "uploads").await;
    let listed: Vec<(String, String)> = whole.tags("Key").into_iter().zip(whole.tags("UploadId")).collect();
    assert_eq!(listed, begun);
    let whole = whole.with("Bucket", "uploads").with("MaxUploads", "1000").with("IsTruncated", "false");
    assert_eq!(whole.tags("Initiated").len(), 6);
    for max in 1..=7 {
        let (mut seen, mut place) = (Vec::new(), String::new());
        loop {
            let reply = bart.get(&format!("/uploads?uploads&max-uploads={max}{place}")).expect(200).await;
            let page: Vec<_> = reply.tags("Key").into_iter().zip(reply.tags("UploadId")).collect();
            assert!(page.len() <= max, "{reply}");
            seen.extend(page);
            if reply.tag("IsTruncated").as_deref() == Some("false") {
                break;
            }
            let key = escape_value(&reply.tag("NextKeyMarker").unwrap());
            place = format!("&key-marker={key}&upload-id-marker={}", reply.tag("NextUploadIdMarker").unwrap());
        }
        assert_eq!(seen, begun, "pages of {max}");
    }
    for (query, keys) in [
        ("prefix=b", &["b/1", "b/2"][..]),
        ("delimiter=%2F", &["a", "a", "a", "c d"]),
        ("key-marker=a", &["b/1", "b/2", "c d"]),
        ("key-marker=b%2F1", &["b/2", "c d"]),
        ("upload-id-marker=whatever", &["a", "a", "a", "b/1", "b/2", "c d"]),
        ("encoding-type=url&prefix=c", &["c%20d"]),
        ("max-uploads=0", &[]),
    ] {
        let reply = bart.get(&format!("/uploads?uploads&{query}")).expect(200).await;
        assert_eq!(reply.tags("Key"), keys, "{query}");
    }
    for query in ["key-marker=a&upload-id-marker=x", "max-uploads=-1", "max-uploads=x", "encoding-type=x"] {
        bart.get(&format!("/uploads?uploads&{query}")).refused(400, "InvalidArgument").await;
    }
}

#[tokio::test]
async fn uploads_are_in_no_listing_of_objects() {
    let world = World::small_parts().await;
    let bart = world.versioned("uploads").await;
    let upload = Upload::begin(&bart, "/uploads/a").await;
    upload.part(1, "x").await;
    for query in ["", "?list-type=2", "?versions"] {
        assert!(bart.get(&format!("/uploads{query}")).expect(200).await.tags("Key").is_empty(), "{query}");
    }
    bart.head("/uploads/a").expect(404).await;
}
