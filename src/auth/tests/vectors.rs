//! AWS's published examples: signatures that must be accepted as they stand.

use super::{DATE, NO_BODY, Sent, day};
use crate::{
    auth::{AuthError, Authenticated, ChunkSigner, Payload, Scheme},
    types::{Timestamp, digest::sha256_hex},
};

fn v4(sent: Sent, signed_headers: &str, signature: &str) -> Sent {
    let value = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders={signed_headers},Signature={signature}"
    );
    sent.with("authorization", value)
}

fn example(method: &str, target: &str, payload: &str) -> Sent {
    Sent::new(method, target).at_bucket("examplebucket").with("x-amz-date", DATE).with("x-amz-content-sha256", payload)
}

#[test]
fn the_v4_header_examples_of_the_s3_reference_are_accepted() {
    let empty = [
        v4(
            example("GET", "/test.txt", NO_BODY).with("range", "bytes=0-9"),
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        v4(
            example("GET", "/?lifecycle", NO_BODY),
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        v4(
            example("GET", "/?max-keys=2&prefix=J", NO_BODY),
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for sent in empty {
        let Authenticated { principal, scheme, payload } = sent.at(day()).unwrap();
        assert_eq!((principal.account.as_str(), scheme), ("79a5", Scheme::HeaderV4));
        assert_eq!(principal.access_key.as_deref(), Some(super::KEY));
        assert!(matches!(payload, Payload::Sha256(digest) if hex::encode(digest) == NO_BODY));
    }
    let put = example("PUT", "/test$file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")
        .with("date", "Fri, 24 May 2013 00:00:00 GMT")
        .with("x-amz-storage-class", "REDUCED_REDUNDANCY");
    let put = v4(
        put,
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    assert!(matches!(put.at(day()).unwrap().payload, Payload::Sha256(_)));
}

#[test]
fn the_presigned_example_of_the_s3_reference_is_accepted_for_its_day() {
    let sent = Sent::new(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1\
         %2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&\
         X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    )
    .at_bucket("examplebucket");
    let one_second_left = Timestamp::from_secs(day().as_secs() + 86_399);
    let Authenticated { scheme, payload, .. } = sent.at(one_second_left).unwrap();
    assert_eq!(scheme, Scheme::QueryV4);
    assert!(matches!(payload, Payload::Unsigned));
    let over = Timestamp::from_secs(day().as_secs() + 86_400);
    assert!(matches!(
        sent.at(over),
        Err(AuthError::Expired { lifetime_seconds: Some(86_400), expires, server_time }) if expires == over && server_time == over
    ));
}

fn streaming(payload: &str) -> Sent {
    Sent::new("PUT", "/examplebucket/chunkObject.txt")
        .set("host", "s3.amazonaws.com")
        .with("x-amz-date", DATE)
        .with("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .with("x-amz-content-sha256", payload)
        .with("content-encoding", "aws-chunked")
        .with("x-amz-decoded-content-length", "66560")
}

fn signer(sent: &Sent, with_trailer: bool) -> ChunkSigner {
    match sent.at(day()).unwrap().payload {
        Payload::StreamingSigned { signer, trailer } if trailer == with_trailer => signer,
        other => panic!("{other:?}"),
    }
}

/// The three chunks of the example: 64 KiB, the last KiB, and nothing.
fn chunks(signer: &ChunkSigner) -> [String; 3] {
    let digest = |length| sha256_hex(&vec![b'a'; length]);
    let first = signer.chunk(signer.seed(), &digest(65_536));
    let second = signer.chunk(&first, &digest(1024));
    let last = signer.chunk(&second, &digest(0));
    [first, second, last]
}

#[test]
fn the_chunk_signatures_of_the_s3_reference_are_reproduced() {
    let sent = v4(
        streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").with("content-length", "66824"),
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
         x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
    let signer = signer(&sent, false);
    assert_eq!(signer.seed(), "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    assert_eq!(
        chunks(&signer),
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ]
    );
}

#[test]
fn the_trailer_signature_of_the_s3_reference_is_reproduced() {
    let sent = v4(
        streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER").with("x-amz-trailer", "x-amz-checksum-crc32c"),
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;\
         x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    );
    let signer = signer(&sent, true);
    let signatures = chunks(&signer);
    assert_eq!(
        signatures,
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ]
    );
    let trailer = signer.trailer(&signatures[2], &sha256_hex(b"x-amz-checksum-crc32c:sOO8/Q==\n"));
    assert_eq!(trailer, "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435");
    assert!(ChunkSigner::matches(&trailer, "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"));
    assert!(!ChunkSigner::matches(&trailer, "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e436"));
    assert!(!ChunkSigner::matches(&trailer, ""));
}

fn v2(sent: Sent, date: &str, signature: &str) -> Sent {
    sent.with("date", date).with("authorization", format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}"))
}

#[test]
fn the_v2_header_examples_of_the_s3_reference_are_accepted() {
    let johnsmith = |method, target| Sent::new(method, target).at_bucket("johnsmith");
    let path_style = |method, target| Sent::new(method, target).set("host", "s3.amazonaws.com");
    let upload = Sent::new("PUT", "/db-backup.dat.gz")
        .at_bucket("static.johnsmith.net")
        .with("x-amz-acl", "public-read")
        .with("content-type", "application/x-download")
        .with("content-md5", "4gJE4saaMU4BqNR0kLY+lw==")
        .with("x-amz-meta-reviewedby", "joe@johnsmith.net")
        .with("x-amz-meta-reviewedby", "jane@johnsmith.net")
        .with("x-amz-meta-filechecksum", "0x02661779")
        .with("x-amz-meta-checksumalgorithm", "crc32")
        .with("content-disposition", "attachment; filename=database.dat")
        .with("content-encoding", "gzip");
    let examples = [
        (johnsmith("GET", "/photos/puppy.jpg"), "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        (
            johnsmith("PUT", "/photos/puppy.jpg").with("content-type", "image/jpeg"),
            "Tue, 27 Mar 2007 21:15:45 +0000",
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        (
            johnsmith("GET", "/?prefix=photos&max-keys=50&marker=puppy"),
            "Tue, 27 Mar 2007 19:42:41 +0000",
            "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        (johnsmith("GET", "/?acl"), "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
        (
            path_style("DELETE", "/awsexamplebucket1/photos/puppy.jpg"),
            "Tue, 27 Mar 2007 21:20:26 +0000",
            "XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
        ),
        (upload, "Tue, 27 Mar 2007 21:06:08 +0000", "ilyl83RwaSoYIEdixDQcA4OnAnc="),
        (path_style("GET", "/"), "Wed, 28 Mar 2007 01:29:59 +0000", "qGdzdERIC03wnaRNKh6OqZehG9s="),
        (
            path_style("GET", "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re"),
            "Wed, 28 Mar 2007 01:49:49 +0000",
            "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
        ),
    ];
    for (sent, date, signature) in examples {
        let time = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
        let at = Timestamp::from_secs(u64::try_from(time.as_second()).unwrap());
        let found = v2(sent.clone(), date, signature).at(at).unwrap_or_else(|error| panic!("{sent:?}: {error:?}"));
        assert_eq!(found.scheme, Scheme::HeaderV2);
        assert!(matches!(found.payload, Payload::Unsigned));
    }
}

#[test]
fn the_v2_query_example_of_the_s3_reference_is_accepted_until_it_expires() {
    let sent = Sent::new(
        "GET",
        "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&\
         Expires=1175139620",
    )
    .at_bucket("johnsmith");
    assert_eq!(sent.at(Timestamp::from_secs(1_175_139_619)).unwrap().scheme, Scheme::QueryV2);
    assert!(matches!(
        sent.at(Timestamp::from_secs(1_175_139_620)),
        Err(AuthError::Expired { lifetime_seconds: None, .. })
    ));
}
