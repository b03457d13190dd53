//! Names. What needs a far side is tested against real ones, in `tests/locations`.

use futures_util::{StreamExt as _, stream};

use super::{
    check::digested,
    names::{FarBlob, Handle, Way, new_write},
    *,
};
use crate::types::{BodyDigests, BodyError, Checksum, ChecksumAlgorithm, DigestSlot, body};

fn slices() -> ByteStream {
    stream::iter(["one", "", " and two"].map(|text| Ok(bytes::Bytes::from_static(text.as_bytes())))).boxed()
}

/// A body whose receiver says at its end that its MD5 is this.
fn received(md5: [u8; 16]) -> (ByteStream, DigestSlot) {
    let slot = DigestSlot::default();
    let end = slot.clone();
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Md5, value: md5.to_vec() };
    let verdict = stream::poll_fn(move |_| {
        end.set(BodyDigests { size: 11, md5, checksum: checksum.clone() });
        std::task::Poll::Ready(None)
    });
    (slices().chain(verdict).boxed(), slot)
}

#[tokio::test]
async fn the_md5_of_what_is_sent_is_its_receivers_or_computed_here() {
    let (stream, slot) = digested(slices(), None);
    assert!(slot.get().is_none(), "nothing is known before the end");
    body::collect(stream, 100).await.unwrap();
    assert_eq!(slot.get().unwrap().etag(), "6d6ddee5c41e7e99c75d79495bfd344f");
    let crc = slot.get().unwrap().crc.clone();

    let (stream, receiver) = received([7; 16]);
    let (stream, slot) = digested(stream, Some(receiver));
    body::collect(stream, 100).await.unwrap();
    assert_eq!(slot.get().unwrap().md5, [7; 16], "it is not computed once more");
    assert_eq!(slot.get().unwrap().crc, crc);
}

#[tokio::test]
async fn nothing_is_known_of_what_broke_off_or_of_what_its_receiver_says_nothing() {
    let (stream, slot) = digested(slices(), Some(DigestSlot::default()));
    body::collect(stream, 100).await.unwrap();
    assert!(slot.get().is_none(), "its receiver has left nothing");
    for receiver in [None, Some(received([7; 16]).1)] {
        let broken = slices().chain(stream::iter([Err(BodyError::Disconnected)])).boxed();
        let (stream, slot) = digested(broken, receiver);
        assert_eq!(body::collect(stream, 100).await, Err(BodyError::Disconnected));
        assert!(slot.get().is_none());
    }
}

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
