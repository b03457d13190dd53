//! aws-chunked: the reference's examples, every split, every fault.

use proptest::prelude::*;

use super::*;

/// The S3 reference, "Example: PUT object" of the chunked upload: 65 KiB of `a` in chunks of 64 KiB.
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];

/// The same with a trailer.
const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
const TRAILER_SIGNATURES: [&str; 4] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
];

fn example(signatures: &[&str], end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (signature, size) in signatures.iter().zip([65536_usize, 1024, 0]) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        if size > 0 {
            body.resize(body.len() + size, b'a');
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(end.as_bytes());
    body
}

#[test]
fn the_signed_example_of_the_reference_is_accepted() {
    let body = example(&SIGNATURES, "\r\n");
    let encoding = Encoding::ChunkedSigned(Box::new(Signer::example(SEED)));
    let seen = run(whole(&body), Plan { length: Some(66560), encoding, ..Plan::default() });
    assert_eq!(seen.bytes, vec![b'a'; 66560]);
    assert_eq!(seen.verdict.map(|digests| digests.size), Ok(66560));
}

#[test]
fn the_signed_trailer_example_of_the_reference_is_accepted_with_every_line_end() {
    let signature = TRAILER_SIGNATURES[3];
    for (first, last) in [("\r\n", "\r\n\r\n"), ("\n\r\n", "\r\n\r\n"), ("\n", "\n"), ("\r\n", ""), ("\n\r\n", "\r\n")]
    {
        let end = format!("x-amz-checksum-crc32c:sOO8/Q=={first}x-amz-trailer-signature:{signature}{last}");
        let body = example(&TRAILER_SIGNATURES[..3], &end);
        let encoding = Encoding::ChunkedSignedTrailer(Box::new(Signer::example(TRAILER_SEED)));
        let trailer = Some(ChecksumAlgorithm::Crc32c);
        let seen = run(whole(&body), Plan { length: Some(66560), trailer, encoding, ..Plan::default() });
        let digests = seen.verdict.expect("the example is right");
        assert_eq!(digests.checksum.to_base64(), "sOO8/Q==", "{end:?}");
    }
}

#[test]
fn every_algorithm_is_taken_from_a_trailer_and_stored() {
    let bytes = payload(20_000);
    for form in [Form::Unsigned, Form::SignedTrailer] {
        for algorithm in ChecksumAlgorithm::ALL {
            let checksum = Checksum::of(algorithm, &bytes);
            let encoded = form.encode(bytes.chunks(8192), Some(&checksum));
            let seen = run(whole(&encoded), form.plan(bytes.len(), Some(algorithm)));
            assert_eq!(seen.bytes, bytes, "{form:?} {algorithm}");
            assert_eq!(seen.verdict.map(|digests| digests.checksum), Ok(checksum), "{form:?} {algorithm}");

            let wrong = Checksum::of(algorithm, b"other");
            let encoded = form.encode(bytes.chunks(8192), Some(&wrong));
            let seen = run(whole(&encoded), form.plan(bytes.len(), Some(algorithm)));
            assert_eq!(seen.verdict, Err(BodyError::ChecksumMismatch(algorithm)), "{form:?} {algorithm}");
        }
    }
}

#[test]
fn without_a_trailer_crc64nvme_is_computed() {
    for form in Form::ALL {
        for bytes in [payload(0), payload(11), payload(300_000)] {
            let seen = run(whole(&form.encode(bytes.chunks(9000), None)), form.plan(bytes.len(), None));
            let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes);
            assert_eq!(seen.verdict.map(|digests| digests.checksum), Ok(checksum), "{form:?}");
            assert_eq!(seen.bytes, bytes);
        }
    }
}

/// The verdict on an unsigned body of announced length 5 with CRC32 announced.
fn unsigned(body: &str) -> Result<BodyDigests, BodyError> {
    run(whole(body.as_bytes()), Form::Unsigned.plan(5, Some(ChecksumAlgorithm::Crc32))).verdict
}

#[test]
fn the_trailer_must_be_the_one_announced() {
    let right = "x-amz-checksum-crc32:NhCmhg==";
    assert!(unsigned(&format!("5\r\nhello\r\n0\r\n{right}\r\n\r\n")).is_ok());
    for lenient in ["", "\r\n", "\n\r\n", "\n", "\n\n", "\r\n\r\n\r\n"] {
        assert!(unsigned(&format!("5\r\nhello\r\n0\r\n{right}{lenient}")).is_ok(), "{lenient:?}");
    }
    for (trailer, error) in [
        ("\r\n", BodyError::MalformedTrailer),
        (":NhCmhg==\r\n\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32\r\n\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32c:NhCmhg==\r\n\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32 :NhCmhg==\r\n\r\n", BodyError::MalformedTrailer),
        ("invalid:NhCmhg==\r\n\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32:NhCmhg==\r\nx-amz-meta-a:b\r\n\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-crc32:NhCmhg==\r\n", BodyError::MalformedTrailer),
        ("x-amz-checksum-crc32:NhCmhw==\r\n\r\n", BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32)),
        ("x-amz-checksum-crc32:invalid\r\n\r\n", BodyError::InvalidChecksumValue("x-amz-checksum-crc32".to_owned())),
        ("x-amz-checksum-crc32: NhCmhg==\r\n", BodyError::InvalidChecksumValue("x-amz-checksum-crc32".to_owned())),
        ("x-amz-checksum-crc32:NhCmhgAA\r\n", BodyError::InvalidChecksumValue("x-amz-checksum-crc32".to_owned())),
        ("", BodyError::MalformedChunk("the body ends before its trailer")),
    ] {
        assert_eq!(unsigned(&format!("5\r\nhello\r\n0\r\n{trailer}")), Err(error), "{trailer:?}");
    }
    let long = format!("5\r\nhello\r\n0\r\n{right}\r\nx:{}\r\n\r\n", "y".repeat(5000));
    assert_eq!(unsigned(&long), Err(BodyError::MalformedTrailer));
}

#[test]
fn a_trailer_that_was_not_announced_is_refused() {
    let checksum = Checksum::of(ChecksumAlgorithm::Crc32, b"hello");
    for form in Form::ALL {
        let encoded = form.encode([b"hello".as_slice()], Some(&checksum));
        assert_eq!(run(whole(&encoded), form.plan(5, None)).verdict, Err(BodyError::MalformedTrailer), "{form:?}");
    }
    // This form has no trailers, announced or not.
    let encoded = Form::Signed.encode([b"hello".as_slice()], Some(&checksum));
    let seen = run(whole(&encoded), Form::Signed.plan(5, Some(ChecksumAlgorithm::Crc32)));
    assert_eq!(seen.verdict, Err(BodyError::MalformedTrailer));
}

#[test]
fn broken_framing_is_refused() {
    const LONG: &str = "a chunk header is too long";
    let end = "0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    for (body, what) in [
        (format!("5\nhello\r\n{end}"), "a line does not end in CRLF"),
        (format!("5\r\nhello{end}"), "no line end behind the data"),
        (format!("5\r\nhello\n{end}"), "a line does not end in CRLF"),
        (format!("x\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!("-5\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!("+5\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!(" 5\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!("\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!("00000000000000005\r\nhello\r\n{end}"), "a chunk size is no number"),
        (format!("5;x=y\r\nhello\r\n{end}"), "more than a size in a chunk header"),
        (format!("5;{}\r\nhello\r\n{end}", "x".repeat(200)), LONG),
        ("5".repeat(200), LONG),
    ] {
        assert_eq!(unsigned(&body), Err(BodyError::MalformedChunk(what)), "{body:?}");
    }
    for header in ["5\r\n", "5;\r\n", "5;chunk-signature=\r\n", "5;chunk-signature=00\r\n", "5;signature=00\r\n"] {
        let seen = run(whole(format!("{header}hello\r\n").as_bytes()), Form::Signed.plan(5, None));
        let error = BodyError::MalformedChunk("no signature in a chunk header");
        assert_eq!(seen, Seen { bytes: Vec::new(), verdict: Err(error) }, "{header:?}");
    }
}

#[test]
fn a_body_cut_anywhere_is_never_whole() {
    let bytes = payload(9000);
    let checksum = Checksum::of(ChecksumAlgorithm::Sha1, &bytes);
    for form in Form::ALL {
        let trailer = (form != Form::Signed).then_some(&checksum);
        let encoded = form.encode(bytes.chunks(8192), trailer);
        // The last line end may be missing.
        for length in (0..encoded.len() - 4).filter(|length| length % 97 == 0 || encoded.len() - length < 400) {
            let plan = form.plan(bytes.len(), trailer.map(|checksum| checksum.algorithm));
            let seen = run(whole(&encoded[..length]), plan);
            assert!(seen.verdict.is_err(), "{form:?} cut at {length} of {}", encoded.len());
            assert!(bytes.starts_with(&seen.bytes));
        }
    }
}

#[test]
fn the_decoded_length_must_match() {
    for form in Form::ALL {
        let encoded = form.encode([b"0123456789".as_slice()], None);
        for length in [0, 5, 9, 11, 200] {
            let error = BodyError::Incomplete { expected: length as u64, got: 10 };
            assert_eq!(run(whole(&encoded), form.plan(length, None)).verdict, Err(error), "{form:?}");
        }
    }
    let cut = run(whole(b"a\r\n012"), Form::Unsigned.plan(10, None));
    assert_eq!(cut.verdict, Err(BodyError::Incomplete { expected: 10, got: 3 }));
    let huge = run(whole(b"ffffffffffffffff\r\n012"), Form::Unsigned.plan(10, None));
    assert_eq!(huge.verdict, Err(BodyError::Incomplete { expected: 10, got: u64::MAX }));
    let plan = Plan { max_size: 1 << 30, encoding: Encoding::ChunkedUnsigned, ..Plan::default() };
    assert_eq!(run(whole(b"ffffffffff\r\n012"), plan).verdict, Err(BodyError::TooLarge { limit: 1 << 30 }));
}

#[test]
fn only_the_last_chunk_may_be_small() {
    for form in Form::ALL {
        for (sizes, fault) in [
            (vec![8192, 8192, 100], None),
            (vec![100], None),
            (vec![10000, 9500, 8192], None),
            (vec![100, 8192, 100], Some((1, 100))),
            (vec![8192, 8191, 100], Some((2, 8191))),
            (vec![10, 10, 10], Some((1, 10))),
        ] {
            let bytes = payload(sizes.iter().sum());
            let mut rest = bytes.as_slice();
            let chunks: Vec<&[u8]> = sizes
                .iter()
                .map(|size| {
                    let (chunk, tail) = rest.split_at(*size);
                    rest = tail;
                    chunk
                })
                .collect();
            let seen = run(whole(&form.encode(chunks, None)), form.plan(bytes.len(), None));
            let fault = fault.map(|(chunk, size)| BodyError::InvalidChunkSize { chunk, size });
            assert_eq!(seen.verdict.err(), fault, "{form:?} {sizes:?}");
        }
    }
}

#[test]
fn the_sink_sees_nothing_of_a_tampered_chunk() {
    let bytes = payload(70_000);
    let size = 10_000;
    for form in [Form::Signed, Form::SignedTrailer] {
        for chunk in 0..7 {
            let mut encoded = form.encode(bytes.chunks(size), None);
            let at = chunk * (size + 4 + 17 + 64 + 4) + 50 + 4 + 17 + 64 + 2;
            encoded[at] ^= 1;
            for cuts in [vec![], vec![at + 1], (0..200).map(|cut| cut * 367).collect()] {
                let seen = run(Script::cut(&encoded, &cuts), form.plan(bytes.len(), None));
                assert_eq!(seen.verdict, Err(BodyError::ChunkSignature), "{form:?} chunk {chunk}");
                assert!(seen.bytes.len() <= chunk * size, "{form:?} chunk {chunk}: {} bytes", seen.bytes.len());
                assert!(bytes.starts_with(&seen.bytes));
            }
        }
    }
}

#[test]
fn a_tampered_chunk_too_long_to_hold_still_ends_in_an_error() {
    let bytes = payload(usize::try_from(HELD_CHUNK).expect("small") + 1);
    let mut encoded = Form::Signed.encode([bytes.as_slice()], None);
    assert_eq!(run(whole(&encoded), Form::Signed.plan(bytes.len(), None)).bytes, bytes);
    let middle = encoded.len() / 2;
    encoded[middle] ^= 1;
    let seen = run(Script::cut(&encoded, &[100_000, 500_000]), Form::Signed.plan(bytes.len(), None));
    assert_eq!(seen.verdict, Err(BodyError::ChunkSignature));
}

#[test]
fn chunks_cannot_be_reordered_dropped_or_repeated() {
    let bytes = payload(30_000);
    let encoded = Form::Signed.encode(bytes.chunks(10_000), None);
    let chunk = 10_000 + 4 + 17 + 64 + 4;
    let (first, second, rest) = (&encoded[..chunk], &encoded[chunk..2 * chunk], &encoded[2 * chunk..]);
    for (body, length) in [
        ([second, first, rest].concat(), 30_000),
        ([first, rest].concat(), 20_000),
        ([first, first, second, rest].concat(), 40_000),
    ] {
        let seen = run(whole(&body), Form::Signed.plan(length, None));
        assert_eq!(seen.verdict, Err(BodyError::ChunkSignature));
    }
}

#[test]
fn the_trailer_of_a_signed_body_must_be_signed() {
    let checksum = Checksum::of(ChecksumAlgorithm::Crc32, b"hello");
    let encoded = Form::SignedTrailer.encode([b"hello".as_slice()], Some(&checksum));
    let text = String::from_utf8(encoded).expect("text");
    let (unsigned, signature) = text.split_once("x-amz-trailer-signature:").expect("it is there");
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    let other = signature.split_at(1).1;
    for (body, error) in [
        (format!("{unsigned}\r\n"), BodyError::MalformedChunk("the trailer has no signature")),
        (format!("{unsigned}x:y\r\n\r\n"), BodyError::MalformedChunk("the trailer has no signature")),
        (
            text.replace("trailer-signature:", "trailer-signature:0"),
            BodyError::MalformedChunk("the trailer's signature is malformed"),
        ),
        (format!("{unsigned}x-amz-trailer-signature:{flipped}{other}"), BodyError::ChunkSignature),
        (format!("{text}x:y\r\n"), BodyError::MalformedTrailer),
    ] {
        let seen = run(whole(body.as_bytes()), Form::SignedTrailer.plan(5, Some(ChecksumAlgorithm::Crc32)));
        assert_eq!(seen.verdict, Err(error), "{body}");
    }
}

#[test]
fn payload_is_passed_on_by_reference() {
    let bytes = payload(100_000);
    let encoded = Bytes::from(Form::Unsigned.encode(bytes.chunks(50_000), None));
    let range = encoded.as_ptr_range();
    let mut body = intake().accept(http_body_util::Full::new(encoded), Form::Unsigned.plan(bytes.len(), None));
    let mut slices = 0;
    while let Some(slice) = RUNTIME.block_on(body.stream.next()) {
        assert!(range.contains(&slice.expect("a right body").as_ptr()));
        slices += 1;
    }
    assert_eq!(slices, 2);
}

/// A body in any form, whole or damaged in a few places.
fn any_body() -> impl Strategy<Value = (Form, usize, Option<ChecksumAlgorithm>, Vec<u8>, Vec<u8>)> {
    let form = proptest::sample::select(Form::ALL.to_vec());
    let length = prop_oneof![3 => 0_usize..40_000, 1 => 200_000_usize..700_000];
    let algorithm = proptest::option::of(proptest::sample::select(ChecksumAlgorithm::ALL.to_vec()));
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (form, length, 8192_usize..70_000, algorithm, damage).prop_map(|(form, length, size, algorithm, damage)| {
        let bytes = payload(length);
        let algorithm = algorithm.filter(|_| form != Form::Signed);
        let checksum = algorithm.map(|algorithm| Checksum::of(algorithm, &bytes));
        let mut encoded = form.encode(bytes.chunks(size), checksum.as_ref());
        for (place, value) in damage {
            let place = place.index(encoded.len());
            encoded[place] = value;
        }
        (form, length, algorithm, bytes, encoded)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_split_into_frames_gives_the_same_payload_and_verdict(
        (form, length, algorithm, bytes, encoded) in any_body(),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        eager: bool,
    ) {
        let at_once = run(whole(&encoded), form.plan(length, algorithm));
        let script = Script::cut(&encoded, &cuts);
        let cut = run(if eager { script.eager() } else { script }, form.plan(length, algorithm));
        prop_assert_eq!(&cut.verdict, &at_once.verdict);
        if let Ok(digests) = &cut.verdict {
            prop_assert_eq!(&cut.bytes, &at_once.bytes);
            prop_assert_eq!(digests.size, length as u64);
            // The unsigned form without a trailer promises nothing about the bytes themselves.
            if form != Form::Unsigned || algorithm.is_some() {
                prop_assert!(cut.bytes == bytes, "a clean end with wrong bytes");
            }
        }
    }

    #[test]
    fn single_bytes_at_a_time_decode(form in proptest::sample::select(Form::ALL.to_vec()), length in 0_usize..9000) {
        let bytes = payload(length);
        let encoded = form.encode(bytes.chunks(8192), None);
        let cuts: Vec<usize> = (0..encoded.len()).collect();
        let seen = run(Script::cut(&encoded, &cuts), form.plan(length, None));
        prop_assert!(seen.verdict.is_ok());
        prop_assert_eq!(seen.bytes, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_end_cleanly_at_random(
        form in proptest::sample::select(Form::ALL.to_vec()),
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..600),
            "[0-9a-f]{1,3}\r\n[a-z\r\n:;=0]{0,300}".prop_map(String::into_bytes),
        ],
        trailer in proptest::option::of(Just(ChecksumAlgorithm::Crc32)),
        length in 0_usize..64,
    ) {
        let seen = run(whole(&bytes), form.plan(length, trailer));
        if let Ok(digests) = seen.verdict {
            prop_assert_eq!(digests.size, length as u64);
            prop_assert!(form == Form::Unsigned, "an unsigned body passed for a signed one");
        }
    }
}

#[test]
fn a_hundred_corruptions_never_end_cleanly_with_wrong_bytes() {
    let bytes = payload(100_000);
    let checksum = Checksum::of(ChecksumAlgorithm::Crc32, &bytes);
    let noise = payload(1000);
    for form in [Form::Unsigned, Form::SignedTrailer] {
        let encoded = form.encode(bytes.chunks(16_384), Some(&checksum));
        for round in 0..100 {
            let number = usize::from(noise[round * 3]) << 16
                | usize::from(noise[round * 3 + 1]) << 8
                | usize::from(noise[round * 3 + 2]);
            let mut damaged = encoded.clone();
            damaged[number % encoded.len()] ^= 1 << (round % 8);
            let seen = run(whole(&damaged), form.plan(bytes.len(), Some(ChecksumAlgorithm::Crc32)));
            assert!(seen.verdict.is_err() || seen.bytes == bytes, "{form:?} damaged at {}", number % encoded.len());
        }
    }
}
