//! Plain bodies: length, digests, verdicts, documents.

use super::*;
use crate::types::digest::Md5;

fn md5_of(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

#[test]
fn a_whole_body_leaves_its_digests() {
    for length in [0, 1, 5000, 131_072, 131_073, 1_000_000] {
        let bytes = payload(length);
        for length in [None, Some(bytes.len() as u64)] {
            let seen = run(Script::cut(&bytes, &[1, 777, 70_000, 300_000]), Plan { length, ..Plan::default() });
            assert_eq!(seen.bytes, bytes);
            let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes);
            let expected = BodyDigests { size: bytes.len() as u64, md5: md5_of(&bytes), checksum };
            assert_eq!(seen.verdict, Ok(expected));
        }
    }
}

#[test]
fn the_checksum_stored_is_the_clients_choice_else_the_plans() {
    let bytes = payload(3000);
    for algorithm in ChecksumAlgorithm::ALL {
        let checksum = Checksum::of(algorithm, &bytes);
        let sha256 = Some(Sha256::digest(&bytes).into());
        for sha256 in [None, sha256] {
            let given = run(whole(&bytes), Plan { checksum: Some(checksum.clone()), sha256, ..Plan::default() });
            let chosen = run(whole(&bytes), Plan { store: algorithm, sha256, ..Plan::default() });
            for seen in [given, chosen] {
                assert_eq!(seen.verdict.map(|digests| digests.checksum), Ok(checksum.clone()));
            }
        }
    }
}

#[test]
fn a_body_of_another_length_is_refused() {
    let bytes = payload(1000);
    let short = run(whole(&bytes), Plan { length: Some(1001), ..Plan::default() });
    assert_eq!(short.verdict, Err(BodyError::Incomplete { expected: 1001, got: 1000 }));
    let long = run(whole(&bytes), Plan { length: Some(999), ..Plan::default() });
    assert_eq!(long.verdict, Err(BodyError::TooLarge { limit: 999 }));
    let limited = run(whole(&bytes), Plan { max_size: 10, ..Plan::default() });
    assert_eq!(limited, Seen { bytes: Vec::new(), verdict: Err(BodyError::TooLarge { limit: 10 }) });
}

#[test]
fn a_body_announced_too_long_is_refused_unread() {
    let script = Script::new([Step::Hang]);
    let polls = Arc::clone(&script.polls);
    let seen = run(script, Plan { length: Some(11), max_size: 10, ..Plan::default() });
    assert_eq!(seen.verdict, Err(BodyError::TooLarge { limit: 10 }));
    assert_eq!(polls.load(Ordering::Relaxed), 0);
}

#[test]
fn a_wrong_digest_is_named() {
    for bytes in [payload(1000), payload(500_000)] {
        let (md5, sha256) = (md5_of(&bytes), Sha256::digest(&bytes).into());
        let right = Plan { md5: Some(md5), sha256: Some(sha256), ..Plan::default() };
        assert!(run(whole(&bytes), right).verdict.is_ok());

        let seen = run(whole(&bytes), Plan { md5: Some(md5_of(b"")), ..Plan::default() });
        let Err(BodyError::BadDigest { expected, calculated }) = seen.verdict else { panic!("{:?}", seen.verdict) };
        assert_eq!(expected, "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(calculated, Checksum::of(ChecksumAlgorithm::Md5, &bytes).to_base64());

        let seen = run(whole(&bytes), Plan { sha256: Some(Sha256::digest(b"").into()), ..Plan::default() });
        let Err(BodyError::Sha256Mismatch { expected, calculated }) = seen.verdict else {
            panic!("{:?}", seen.verdict)
        };
        assert_eq!(expected, sha256_hex(b""));
        assert_eq!(calculated, sha256_hex(&bytes));

        for algorithm in ChecksumAlgorithm::ALL {
            let checksum = Some(Checksum::of(algorithm, b"other"));
            let seen = run(whole(&bytes), Plan { checksum, ..Plan::default() });
            assert_eq!(seen.verdict, Err(BodyError::ChecksumMismatch(algorithm)));
        }
    }
}

#[test]
fn a_wrong_small_body_of_known_length_is_never_seen() {
    let bytes = payload(100_000);
    let checksum = Some(Checksum::of(ChecksumAlgorithm::Crc32, b"other"));
    let seen = run(whole(&bytes), Plan { length: Some(100_000), checksum, ..Plan::default() });
    assert_eq!(seen.bytes, Vec::<u8>::new());
}

#[test]
fn a_checksum_in_both_places_must_agree() {
    let form = Form::Unsigned;
    let (right, wrong) =
        (Checksum::of(ChecksumAlgorithm::Crc32, b"hello"), Checksum::of(ChecksumAlgorithm::Crc32, b"other"));
    let other = Checksum::of(ChecksumAlgorithm::Crc32c, b"hello");
    for (header, ok) in [(right.clone(), true), (wrong, false), (other, false)] {
        let encoded = form.encode([b"hello".as_slice()], Some(&right));
        let plan = Plan { checksum: Some(header), ..form.plan(5, Some(ChecksumAlgorithm::Crc32)) };
        assert_eq!(run(whole(&encoded), plan).verdict.is_ok(), ok);
    }
}

#[test]
fn a_trailer_cannot_come_with_a_plain_body() {
    let seen = run(whole(b"hello"), Plan { trailer: Some(ChecksumAlgorithm::Crc32), ..Plan::default() });
    assert_eq!(seen.verdict, Err(BodyError::MalformedTrailer));
}

#[test]
fn a_lost_connection_is_told_at_once() {
    let bytes = payload(400_000);
    let script = Script::new([Step::Send(Bytes::from(bytes.clone())), Step::Break]);
    let seen = run(script, Plan { length: Some(800_000), ..Plan::default() });
    assert_eq!(seen, Seen { bytes, verdict: Err(BodyError::Disconnected) });
}

#[test]
fn nothing_is_polled_before_the_stream_is() {
    let script = Script::new([Step::Send(Bytes::from_static(b"hello"))]);
    let polls = Arc::clone(&script.polls);
    let body = intake().accept(script, Plan::default());
    assert_eq!(polls.load(Ordering::Relaxed), 0, "the first poll sends 100 Continue");
    assert_eq!(RUNTIME.block_on(drain(body)).bytes, b"hello");
}

fn document(body: Script, plan: Plan, limit: usize) -> Result<Bytes, BodyError> {
    RUNTIME.block_on(intake().collect_document(body, plan, limit))
}

#[test]
fn a_document_is_read_whole_under_the_same_checks() {
    let bytes = payload(200_000);
    let cut = || Script::cut(&bytes, &[10, 60_000, 150_000]);
    let right = || Plan {
        length: Some(200_000),
        md5: Some(md5_of(&bytes)),
        checksum: Some(Checksum::of(ChecksumAlgorithm::Crc32, &bytes)),
        sha256: Some(Sha256::digest(&bytes).into()),
        ..Plan::default()
    };
    assert_eq!(document(cut(), Plan::default(), 200_000).as_deref(), Ok(bytes.as_slice()));
    assert_eq!(document(cut(), right(), 200_000).as_deref(), Ok(bytes.as_slice()));
    let error = document(cut(), Plan { md5: Some([0; 16]), ..right() }, 200_000).expect_err("a wrong digest");
    assert!(matches!(error, BodyError::BadDigest { .. }));
    let error = document(cut(), Plan { sha256: Some([0; 32]), ..right() }, 200_000).expect_err("a wrong hash");
    assert!(matches!(error, BodyError::Sha256Mismatch { .. }));
    for algorithm in ChecksumAlgorithm::ALL {
        let right = Plan { checksum: Some(Checksum::of(algorithm, &bytes)), ..Plan::default() };
        assert!(document(cut(), right, 200_000).is_ok(), "{algorithm}");
        let wrong = Plan { checksum: Some(Checksum::of(algorithm, b"")), ..Plan::default() };
        assert_eq!(document(cut(), wrong, 200_000), Err(BodyError::ChecksumMismatch(algorithm)));
    }
    assert_eq!(document(cut(), Plan::default(), 199_999), Err(BodyError::TooLarge { limit: 199_999 }));
    assert_eq!(document(cut(), right(), 199_999), Err(BodyError::TooLarge { limit: 199_999 }));
}

#[test]
fn a_document_that_came_in_one_piece_is_not_copied() {
    let bytes = Bytes::from(payload(1000));
    let script = Script::new([Step::Send(bytes.clone())]).eager();
    let read = document(script, Plan { length: Some(1000), ..Plan::default() }, 1 << 20).expect("a right document");
    assert_eq!(read.as_ptr(), bytes.as_ptr());
    assert_eq!(document(Script::new([]), Plan::default(), 10), Ok(Bytes::new()));
}

#[test]
fn documents_of_all_requests_share_what_they_may_hold_and_small_ones_need_nothing_of_it() {
    let intake = intake().with_room(40);
    let read = |bytes: &[u8]| {
        let body = Script::cut(bytes, &[10]);
        RUNTIME.block_on(intake.collect_document(body, Plan::default(), 1 << 20))
    };
    let (large, small) = (payload(50 << 10), payload(16 << 10));
    let first = read(&large).expect("there is room for 34 KiB");
    assert_eq!(read(&large), Err(BodyError::Crowded));
    assert_eq!(read(&small).as_deref(), Ok(small.as_slice()), "small ones are not counted");
    assert_eq!(first, large, "what was read stays");
    let part = first.slice(..10);
    drop(first);
    assert_eq!(read(&large), Err(BodyError::Crowded), "a slice keeps the whole");
    drop(part);
    assert_eq!(read(&large).as_deref(), Ok(large.as_slice()));
}
