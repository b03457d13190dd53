//! aws-chunked bodies: what they promise is kept, or nothing is stored (s3-wire.md §3).

use cloudserver::types::{Checksum, ChecksumAlgorithm};

use crate::support::{
    chunked::Wrap,
    client::{Call, Client, Payload},
    sign::Scheme,
    wire::{Reply, Request},
    world::{World, refused},
};

const CRC: &str = "x-amz-checksum-crc32";

fn crc(data: &[u8]) -> String {
    Checksum::of(ChecksumAlgorithm::Crc32, data).to_base64()
}

/// A wrapped PUT whose body is put together by hand: announced with `length`, framed by `body`.
fn framed(client: &Client, wrap: &Wrap, length: usize) -> (Call, Request) {
    let call = client.put("/chunks/a", vec![0; length]).wrapped(wrap.clone());
    let request = call.signed();
    (call, request)
}

/// Sends a wrapped PUT of `length` announced bytes with this body, and expects that it is refused without a trace.
async fn refused_body(world: &World, wrap: &Wrap, length: usize, body: &[u8], error: (u16, &str)) -> Reply {
    let bart = world.bart();
    let (_, mut request) = framed(&bart, wrap, length);
    request.body = body.to_vec();
    let before = world.stored().await;
    let reply = bart.send(&request).await;
    let got = reply.tag("Code").unwrap_or_default();
    assert_eq!(
        (reply.status, got.as_str()),
        error,
        "{:?}: {reply}",
        String::from_utf8_lossy(&body[..body.len().min(200)])
    );
    before.assert_same(&world.stored().await, "a refused body");
    reply
}

#[tokio::test]
async fn every_form_reads_back_at_every_size() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    for size in [0, 1, 8191, 8192, 8193, 16_384, 65_536, 65_537, 300_000] {
        let body: Vec<u8> = (0..size).map(|index| u8::try_from(index % 249).unwrap()).collect();
        for chunk in [8192, 65_536, 1 << 20] {
            for wrap in [
                Wrap { chunk, ..Wrap::signed() },
                Wrap { chunk, ..Wrap::signed() }.trailing(ChecksumAlgorithm::Crc32c, &body),
                Wrap { chunk, ..Wrap::unsigned() },
                Wrap { chunk, ..Wrap::unsigned() }.trailing(ChecksumAlgorithm::Sha256, &body),
            ] {
                bart.put("/chunks/a", &body).wrapped(wrap).expect(200).await;
                bart.get("/chunks/a").expect(200).await.body_is(&body).has("content-length", &size.to_string());
            }
        }
    }
    world.sound().await;
}

#[tokio::test]
async fn without_announced_trailer_the_server_computes_a_checksum() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let reply = bart.put("/chunks/a", "body").wrapped(Wrap::unsigned()).expect(200).await;
    reply.has("x-amz-checksum-crc64nvme", &Checksum::of(ChecksumAlgorithm::Crc64Nvme, b"body").to_base64());
}

#[tokio::test]
async fn aws_chunked_is_not_stored_and_other_encodings_are() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    for (sent, kept) in [
        ("aws-chunked", None),
        ("aws-chunked,gzip", Some("gzip")),
        ("gzip, aws-chunked", Some("gzip")),
        ("gzip", Some("gzip")),
        ("", None),
    ] {
        let mut call = bart.put("/chunks/a", "body").header("x-amz-decoded-content-length", "4");
        if !sent.is_empty() {
            call = call.header("content-encoding", sent);
        }
        call.payload(Payload::Wrapped(Wrap::unsigned())).expect(200).await;
        assert_eq!(bart.get("/chunks/a").expect(200).await.body_is("body").header("content-encoding"), kept, "{sent}");
    }
}

#[tokio::test]
async fn the_chunked_coding_of_http_may_carry_the_chunks_of_aws() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let body = vec![b'q'; 20_000];
    let call = bart.put("/chunks/a", &body).wrapped(Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, &body));
    let mut request = call.signed();
    let inner = std::mem::take(&mut request.body);
    for piece in inner.chunks(777) {
        request.body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        request.body.extend(piece);
        request.body.extend(b"\r\n");
    }
    request.body.extend(b"0\r\n\r\n");
    request.set("transfer-encoding", "chunked");
    bart.send(&request).await.expect(200).has(CRC, &crc(&body));
    bart.get("/chunks/a").expect(200).await.body_is(&body);
}

#[tokio::test]
async fn a_spoiled_chunk_stores_nothing() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    bart.put("/chunks/a", "old").expect(200).await;
    let data = vec![b'd'; 5 * 8192 + 100];
    for trailer in [false, true] {
        let wrap = if trailer { Wrap::signed().trailing(ChecksumAlgorithm::Crc32, &data) } else { Wrap::signed() };
        let good = bart.put("/chunks/a", &data).wrapped(wrap.clone()).signed();
        let starts: Vec<usize> = good
            .body
            .windows(17)
            .enumerate()
            .filter(|(_, window)| *window == b";chunk-signature=")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(starts.len(), 7);
        for (number, start) in starts.iter().enumerate() {
            // One digit of the signature, and one byte of the data behind it.
            let mut places = vec![start + 17];
            if number < 6 {
                places.push(start + 17 + 64 + 2 + 50);
            }
            for place in places {
                let mut request = good.clone();
                request.body[place] = if request.body[place] == b'0' { b'1' } else { b'0' };
                let before = world.stored().await;
                bart.send(&request).await.refused(403, "SignatureDoesNotMatch");
                before.assert_same(&world.stored().await, "a spoiled chunk");
            }
        }
    }
    bart.get("/chunks/a").expect(200).await.body_is("old");
}

#[tokio::test]
async fn chunks_cannot_be_reordered_repeated_or_left_out() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let pieces = [vec![b'1'; 8192], vec![b'2'; 8192], vec![b'3'; 8192]];
    let wrap = Wrap::signed();
    for order in [&[1, 0, 2][..], &[0, 0, 1], &[0, 2, 1], &[0, 1, 1], &[2, 1, 0]] {
        let (call, mut request) = framed(&bart, &wrap, 3 * 8192);
        let mut signer = call.chunk_signer(&request);
        let headers: Vec<Vec<u8>> = pieces.iter().map(|piece| wrap.header(piece, Some(&mut signer))).collect();
        request.body.clear();
        for index in order {
            request.body.extend(&headers[*index]);
            request.body.extend(&pieces[*index]);
            request.body.extend(b"\r\n");
        }
        request.body.extend(wrap.header(b"", Some(&mut signer)));
        request.body.extend(b"\r\n");
        let before = world.stored().await;
        bart.send(&request).await.refused(403, "SignatureDoesNotMatch");
        before.assert_same(&world.stored().await, "chunks out of order");
    }
    // Without the zero chunk the body is not over.
    let (call, mut request) = framed(&bart, &wrap, 8192);
    let mut signer = call.chunk_signer(&request);
    request.body = [wrap.header(&pieces[0], Some(&mut signer)), pieces[0].clone(), b"\r\n".to_vec()].concat();
    let before = world.stored().await;
    bart.send(&request).await.refused(400, "IncompleteBody");
    before.assert_same(&world.stored().await, "no zero chunk");
}

#[tokio::test]
async fn the_length_announced_is_the_length_that_comes() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let data = vec![b'l'; 10_000];
    for wrap in [Wrap::unsigned(), Wrap::signed(), Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, &data)] {
        for wrong in ["9999", "10001", "0", "1", "18446744073709551615"] {
            let mut call = bart.put("/chunks/a", &data).header("x-amz-decoded-content-length", wrong);
            if let Some((name, _)) = &wrap.trailer {
                call = call.header("x-amz-trailer", name);
            }
            let before = world.stored().await;
            let reply = call.payload(Payload::Wrapped(wrap.clone())).send().await;
            let code = if wrong.len() > 10 { "EntityTooLarge" } else { "IncompleteBody" };
            reply.refused(400, code);
            before.assert_same(&world.stored().await, "a wrong length");
        }
        for wrong in ["", "x", "-1", "1e4", "10000 ", "99999999999999999999999"] {
            let mut call = bart.put("/chunks/a", &data).header("x-amz-decoded-content-length", wrong);
            if let Some((name, _)) = &wrap.trailer {
                call = call.header("x-amz-trailer", name);
            }
            let call = call.payload(Payload::Wrapped(wrap.clone()));
            if wrong.trim() == "10000" {
                call.expect(200).await;
                bart.delete("/chunks/a").expect(204).await;
            } else {
                refused(&world, call, 411, "MissingContentLength").await;
            }
        }
        let mut call = bart.put("/chunks/a", &data);
        if let Some((name, _)) = &wrap.trailer {
            call = call.header("x-amz-trailer", name);
        }
        refused(&world, call.payload(Payload::Wrapped(wrap)), 411, "MissingContentLength").await;
    }
}

#[tokio::test]
async fn only_the_last_chunk_may_be_small() {
    let world = World::new().await;
    world.bucket("chunks").await;
    let mut body = b"2000\r\n".to_vec();
    body.extend(vec![b'a'; 8192]);
    body.extend(b"\r\n1fff\r\n");
    body.extend(vec![b'b'; 8191]);
    body.extend(b"\r\n1\r\nc\r\n0\r\n\r\n");
    let reply = refused_body(&world, &Wrap::unsigned(), 16_384, &body, (400, "InvalidChunkSizeError")).await;
    reply.with("Chunk", "2").with("BadChunkSize", "8191");
}

#[tokio::test]
async fn frames_that_are_none_store_nothing() {
    let world = World::new().await;
    world.bucket("chunks").await;
    for body in [
        &b""[..],
        b"4\r\nbody",
        b"4\r\nbody\r\n",
        b"4\r\nbo",
        b"4",
        b"4\nbody\n0\n\n",
        b"4\r\nbodyX\r\n0\r\n\r\n",
        b"4\r\nbody0\r\n\r\n",
        b"04 \r\nbody\r\n0\r\n\r\n",
        b" 4\r\nbody\r\n0\r\n\r\n",
        b"+4\r\nbody\r\n0\r\n\r\n",
        b"-4\r\nbody\r\n0\r\n\r\n",
        b"0x4\r\nbody\r\n0\r\n\r\n",
        b"g\r\nbody\r\n0\r\n\r\n",
        b"\r\nbody\r\n0\r\n\r\n",
        b"4;ext=1\r\nbody\r\n0\r\n\r\n",
        b"4;chunk-signature=0000000000000000000000000000000000000000000000000000000000000000\r\nbody\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nbody\r\n0\r\n\r\n",
        b"fffffffffffffffffffffffff\r\nbody\r\n0\r\n\r\n",
        b"5\r\nbody\r\n\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"{\"not\": \"chunks\"}",
    ] {
        refused_body(&world, &Wrap::unsigned(), 4, body, (400, "IncompleteBody")).await;
    }
    let long = [b"4;".to_vec(), vec![b'x'; 100_000]].concat();
    refused_body(&world, &Wrap::unsigned(), 4, &long, (400, "IncompleteBody")).await;
    for body in [
        &b"4\r\nbody\r\n0\r\n\r\n"[..],
        b"4;chunk-signature=\r\nbody\r\n0;chunk-signature=\r\n\r\n",
        b"4;chunk-signature=zz\r\nbody\r\n0\r\n\r\n",
        b"4;signature=0000000000000000000000000000000000000000000000000000000000000000\r\nbody\r\n0\r\n\r\n",
    ] {
        refused_body(&world, &Wrap::signed(), 4, body, (400, "IncompleteBody")).await;
    }
    let zeros = [
        b"4;chunk-signature=".to_vec(),
        vec![b'0'; 64],
        b"\r\nbody\r\n0;chunk-signature=".to_vec(),
        vec![b'0'; 64],
        b"\r\n\r\n".to_vec(),
    ];
    refused_body(&world, &Wrap::signed(), 4, &zeros.concat(), (403, "SignatureDoesNotMatch")).await;
    world.sound().await;
}

#[tokio::test]
async fn the_ends_of_lines_behind_the_last_chunk_may_vary() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let sum = crc(b"body");
    let wrap = Wrap::unsigned().saying(CRC, &sum);
    for tail in [
        format!("{CRC}:{sum}\r\n\r\n"),
        format!("{CRC}:{sum}\r\n"),
        format!("{CRC}:{sum}"),
        format!("{CRC}:{sum}\n\r\n"),
        format!("{CRC}:{sum}\n\n"),
        format!("X-Amz-Checksum-Crc32:{sum}\r\n\r\n"),
    ] {
        let (_, mut request) = framed(&bart, &wrap, 4);
        request.body = format!("4\r\nbody\r\n0\r\n{tail}").into_bytes();
        bart.send(&request).await.expect(200).has(CRC, &sum);
    }
}

#[tokio::test]
async fn trailers_are_what_was_announced() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let (sum, other) = (crc(b"body"), crc(b"other"));
    let sha = Checksum::of(ChecksumAlgorithm::Sha1, b"body").to_base64();
    let announced = Wrap::unsigned().saying(CRC, &sum);
    for (tail, code) in [
        (format!("{CRC}:{other}\r\n\r\n"), "BadDigest"),
        (format!("x-amz-checksum-sha1:{sha}\r\n\r\n"), "MalformedTrailerError"),
        (format!("x-other:{sum}\r\n\r\n"), "MalformedTrailerError"),
        (format!("{CRC}:{sum}\r\nx-amz-checksum-sha1:{sha}\r\n\r\n"), "MalformedTrailerError"),
        (format!("{CRC}:{sum}\r\n{CRC}:{sum}\r\n\r\n"), "MalformedTrailerError"),
        (format!("{CRC} {sum}\r\n\r\n"), "MalformedTrailerError"),
        ("\r\n".to_owned(), "MalformedTrailerError"),
        (format!("{CRC}:none\r\n\r\n"), "InvalidRequest"),
        (format!("{CRC}:\r\n\r\n"), "InvalidRequest"),
        (format!("{CRC}:{sha}\r\n\r\n"), "InvalidRequest"),
        (format!("{CRC}:{}\r\n\r\n", "A".repeat(5000)), "MalformedTrailerError"),
    ] {
        let body = format!("4\r\nbody\r\n0\r\n{tail}");
        refused_body(&world, &announced, 4, body.as_bytes(), (400, code)).await;
    }
    // Not announced, so it should not be there.
    let body = format!("4\r\nbody\r\n0\r\n{CRC}:{sum}\r\n\r\n");
    refused_body(&world, &Wrap::unsigned(), 4, body.as_bytes(), (400, "MalformedTrailerError")).await;
    // What cannot be a trailer is refused at once.
    for name in ["x-amz-meta-a", "content-length", "x-amz-checksum-crc17", "x-amz-checksum-crc32,x-amz-checksum-sha1"] {
        let call = bart.put("/chunks/a", "body").wrapped(Wrap::unsigned().saying(name, &sum));
        refused(&world, call, 400, "InvalidRequest").await;
    }
}

#[tokio::test]
async fn a_signed_trailer_is_signed() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    let wrap = Wrap::signed().trailing(ChecksumAlgorithm::Crc32, b"body");
    let good = bart.put("/chunks/a", "body").wrapped(wrap.clone()).signed();
    let text = String::from_utf8(good.body.clone()).unwrap();
    let (front, signature) = text.split_once("x-amz-trailer-signature:").unwrap();
    let (lead, _) = front.rsplit_once(CRC).unwrap();
    let forged = if signature.starts_with('0') { "1" } else { "0" };
    for (body, error) in [
        (format!("{front}x-amz-trailer-signature:{forged}{}", &signature[1..]), (403, "SignatureDoesNotMatch")),
        (format!("{front}\r\n"), (400, "IncompleteBody")),
        (format!("{front}x-amz-trailer-signature:\r\n\r\n"), (400, "IncompleteBody")),
        (format!("{front}x-amz-signature:{signature}"), (400, "IncompleteBody")),
        (
            format!("{lead}{CRC}:{}\r\nx-amz-trailer-signature:{signature}", crc(b"other")),
            (403, "SignatureDoesNotMatch"),
        ),
        (format!("{lead}\r\n"), (400, "MalformedTrailerError")),
    ] {
        let mut request = good.clone();
        request.body = body.clone().into_bytes();
        let before = world.stored().await;
        let reply = bart.send(&request).await;
        assert_eq!((reply.status, reply.tag("Code").unwrap_or_default().as_str()), error, "{body}\n{reply}");
        before.assert_same(&world.stored().await, "a wrong trailer");
    }
    bart.send(&good).await.expect(200);
}

#[tokio::test]
async fn chunks_are_for_the_bytes_of_objects_only() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    bart.put("/chunks/a", "old").expect(200).await;
    let body = "<Tagging><TagSet/></Tagging>";
    for wrap in [Wrap::unsigned(), Wrap::signed()] {
        for call in [
            bart.put("/chunks/a?tagging", body),
            bart.put("/chunks?versioning", body),
            bart.put("/other", ""),
            bart.post("/chunks?delete", body),
            bart.post("/chunks/a?uploads", ""),
            bart.put("/chunks/b", "").header("x-amz-copy-source", "chunks/a"),
            bart.get("/chunks/a"),
            bart.delete("/chunks/a"),
            bart.get("/"),
        ] {
            refused(&world, call.wrapped(wrap.clone()), 400, "InvalidRequest").await;
        }
    }
}

#[tokio::test]
async fn the_words_of_the_hash_header_are_known_ones() {
    let world = World::new().await;
    let bart = world.bucket("chunks").await;
    for words in [
        "x",
        "UNSIGNED",
        "unsigned-payload",
        "STREAMING-UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-EVENTS",
        &"g".repeat(64),
        &"0".repeat(63),
    ] {
        let call = bart.put("/chunks/a", "body").payload(Payload::Saying(words.to_owned()));
        let reply = refused(&world, call, 400, "InvalidArgument").await;
        reply.with("ArgumentName", "x-amz-content-sha256").with("ArgumentValue", words);
    }
    for words in ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"] {
        let call = bart.put("/chunks/a", "body").payload(Payload::Saying(words.to_owned()));
        refused(&world, call, 501, "NotImplemented").await;
    }
}

#[tokio::test]
async fn anonymous_chunks_have_no_signatures() {
    let world = World::new().await;
    let bart = world.bart();
    bart.put("/open", "").header("x-amz-acl", "public-read-write").expect(200).await;
    for (client, scheme) in
        [(world.nobody(), Scheme::Anonymous), (bart.clone(), Scheme::HeaderV2), (bart.clone(), Scheme::QueryV2)]
    {
        let client = client.by(scheme);
        let wrap = Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, b"body");
        client.put("/open/a", "body").wrapped(wrap).expect(200).await.has(CRC, &crc(b"body"));
        let lying = Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, b"other");
        refused(&world, client.put("/open/a", "body").wrapped(lying), 400, "BadDigest").await;
        refused(&world, client.put("/open/a", "body").wrapped(Wrap::signed()), 400, "InvalidRequest").await;
    }
}

#[tokio::test]
async fn parts_come_in_chunks_too() {
    let world = World::small_parts().await;
    let bart = world.bucket("chunks").await;
    let upload = crate::multipart::Upload::begin(&bart, "/chunks/a").await;
    let body = vec![b'p'; 100_000];
    for (number, wrap) in [
        (1, Wrap::signed()),
        (2, Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, &body)),
        (3, Wrap::signed().trailing(ChecksumAlgorithm::Sha256, &body)),
    ] {
        upload.put(number, &body).wrapped(wrap).expect(200).await;
    }
    let lying = Wrap::unsigned().trailing(ChecksumAlgorithm::Crc32, b"other");
    refused(&world, upload.put(2, &body).wrapped(lying), 400, "BadDigest").await;
    let tags = upload.list("").expect(200).await.tags("ETag");
    upload.complete(&[(1, &tags[0]), (2, &tags[1]), (3, &tags[2])]).expect(200).await;
    bart.get("/chunks/a").expect(200).await.body_is(body.repeat(3));
}
