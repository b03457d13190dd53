//! Bodies large enough to be hashed by workers: many at once, dropped, and with a verifier that breaks.

use futures_util::future::join_all;

use super::*;

#[test]
fn many_uploads_at_once_keep_their_digests_apart() {
    let intake = intake();
    let uploads = (0..60_u8).map(|salt| {
        let number = usize::from(salt);
        let bytes: Vec<u8> = payload(200_000 + number * 5_000).into_iter().map(|byte| byte ^ salt).collect();
        let form = Form::ALL[number % 3];
        let encoded = form.encode(bytes.chunks(20_000), None);
        let cuts: Vec<usize> = (0..30).map(|cut| cut * 7919 * (number + 1)).collect();
        let body = intake.accept(Script::cut(&encoded, &cuts), form.plan(bytes.len(), None));
        async move {
            let seen = drain(body).await;
            let digests = seen.verdict.expect("a right body");
            assert_eq!(digests.md5.to_vec(), Checksum::of(ChecksumAlgorithm::Md5, &bytes).value);
            assert_eq!(digests.checksum, Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes));
            assert!(seen.bytes == bytes, "upload {number} differs");
        }
    });
    RUNTIME.block_on(join_all(uploads));
}

#[test]
fn an_upload_dropped_while_it_is_hashed_leaves_the_pool_working() {
    let intake = intake();
    for slices in 0..4 {
        let mut body = intake.accept(Script::cut(&payload(2 << 20), &[400_000, 900_000]), Plan::default());
        RUNTIME.block_on(async {
            for _ in 0..slices {
                assert!(body.stream.next().await.is_some());
            }
        });
    }
    let bytes = payload(700_000);
    let seen = RUNTIME.block_on(drain(intake.accept(whole(&bytes), Plan::default())));
    assert_eq!(seen.verdict.map(|digests| digests.size), Ok(700_000));
}

/// A verifier that breaks down.
struct Broken;

impl ChunkVerifier for Broken {
    fn seed(&self) -> &'static str {
        ""
    }
    fn chunk(&self, _: &str, _: &str) -> String {
        panic!("broken on purpose")
    }
    fn trailer(&self, _: &str, _: &str) -> String {
        String::new()
    }
}

#[test]
fn a_worker_that_breaks_down_ends_its_upload_only() {
    let intake = intake();
    let bytes = payload(1_000_000);
    let encoded = Form::Signed.encode(bytes.chunks(500_000), None);
    for _ in 0..5 {
        let plan = Plan { encoding: Encoding::ChunkedSigned(Box::new(Broken)), ..Form::Signed.plan(bytes.len(), None) };
        let seen = RUNTIME.block_on(drain(intake.accept(Script::cut(&encoded, &[600_000]), plan)));
        assert_eq!(seen, Seen { bytes: Vec::new(), verdict: Err(BodyError::Unreadable("hashing broke down".into())) });
    }
    let seen = RUNTIME.block_on(drain(intake.accept(whole(&encoded), Form::Signed.plan(bytes.len(), None))));
    assert!(seen.bytes == bytes);
}

#[test]
fn a_chunk_in_many_small_slices_is_held_and_passed_on_whole() {
    let bytes = payload(60_000);
    let encoded = Form::Signed.encode([bytes.as_slice()], None);
    let cuts: Vec<usize> = (0..encoded.len()).step_by(3).collect();
    let mut body = intake().accept(Script::cut(&encoded, &cuts), Form::Signed.plan(bytes.len(), None));
    let (mut all, mut slices) = (Vec::new(), 0);
    while let Some(slice) = RUNTIME.block_on(body.stream.next()) {
        all.extend_from_slice(&slice.expect("a right body"));
        slices += 1;
    }
    assert!(all == bytes && slices < 400, "{slices} slices");
}

#[test]
fn no_frame_is_asked_for_before_the_writer_wants_it() {
    let frame = Bytes::from(payload(64 << 10));
    let script = Script::new((0..1024).map(|_| Step::Send(frame.clone())));
    let polls = Arc::clone(&script.polls);
    let mut body = intake().accept(script, Plan::default());
    RUNTIME.block_on(async {
        assert!(body.stream.next().await.is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    assert_eq!(RUNTIME.block_on(drain(body)).verdict.map(|digests| digests.size), Ok(1024 * (64 << 10)));
}

/// A verifier that waits for leave.
struct Slow(Signer, std::sync::mpsc::Receiver<()>);

impl ChunkVerifier for Slow {
    fn seed(&self) -> &str {
        self.0.seed()
    }
    fn chunk(&self, previous: &str, sha256_hex: &str) -> String {
        // A sender that is gone gives leave for good.
        let _ = self.1.recv();
        self.0.chunk(previous, sha256_hex)
    }
    fn trailer(&self, _: &str, _: &str) -> String {
        String::new()
    }
}

#[test]
fn a_client_faster_than_the_hashing_waits() {
    let bytes = payload(16 << 20);
    let encoded = Form::Signed.encode(bytes.chunks(64 << 10), None);
    let cuts: Vec<usize> = (0..encoded.len()).step_by(64 << 10).collect();
    let script = Script::cut(&encoded, &cuts);
    let polls = Arc::clone(&script.polls);
    let (leave, wait) = std::sync::mpsc::channel();
    let encoding = Encoding::ChunkedSigned(Box::new(Slow(Signer::any(), wait)));
    let mut body = intake().accept(script, Plan { encoding, ..Form::Signed.plan(bytes.len(), None) });
    RUNTIME.block_on(async {
        // However slow the machine is: a few, and then no more for a while.
        for more in (0..300).map(|_| polls.load(Ordering::Relaxed) / 2 < 5).chain([true]) {
            let first = tokio::time::timeout(Duration::from_millis(100), body.stream.next()).await;
            assert!(first.is_err(), "a slice left before its signature was checked");
            if !more {
                break;
            }
        }
    });
    // Each frame takes two polls; two batches of 256 KiB, and the frame that fills each.
    let frames = polls.load(Ordering::Relaxed) / 2;
    assert!((5..=12).contains(&frames), "{frames} frames of 64 KiB were taken in");
    drop(leave);
    assert!(RUNTIME.block_on(drain(body)).bytes == bytes);
}
