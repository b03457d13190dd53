//! Names. What needs a far side is tested against real ones, in `tests/locations`.

use super::{
    names::{FarBlob, Handle, Way, new_write},
    *,
};

#[test]
fn names_of_blobs_are_read_as_they_were_written() {
    for (key, version, etag) in
        [("a", Some("v:1/2%"), "abc-2"), ("b:c:d/\u{fc} ", None, "0123"), ("x", Some("null-ish"), "")]
    {
        let name = FarBlob {
            key: key.to_owned(),
            version: version.map(str::to_owned),
            write: "w:1".to_owned(),
            etag: etag.to_owned(),
        };
        assert_eq!(FarBlob::parse(&name.id()).unwrap(), name);
    }
    for foreign in ["", "s3:", "s3:::a", "s3:::e:k", "s3:v:w:e:", "s4:v:w:e:k", "abcd"] {
        assert!(matches!(FarBlob::parse(&BlobId::new(foreign)), Err(DataError::Corrupt { .. })), "{foreign}");
    }
}

#[test]
fn handles_are_read_as_they_were_written_and_long_ones_are_none() {
    let write = new_write().unwrap();
    assert_eq!(write.len(), 40);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "text/plain".parse().unwrap());
    headers.insert("x-amz-meta-a", "b\"c".parse().unwrap());
    let mut handle = Handle::new(Way::Held, "k\n\u{fc}", &write);
    handle.keep_headers(&headers);
    let read = Handle::parse(&handle.text().unwrap()).unwrap();
    assert_eq!(read, handle);
    assert_eq!(read.kept_headers(), headers);
    handle.key = "k".repeat(5000);
    assert_eq!(handle.text(), None);
    assert!(Handle::parse("{}").is_err());
}
