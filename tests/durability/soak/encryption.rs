//! Ranges of an encrypted object cost about what they cost of a plain one: only the chunks they touch are opened.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use serde_json::json;

use crate::support::{
    client::{Client, Request},
    machine::{Process, mebibytes},
    run,
    server::World,
};

const GIB: u64 = 1 << 30;
/// The bound of issue 3.
const RATIO: f64 = 1.5;
/// Bytes of a range, and how many are asked for in a round.
const RANGES: [(u64, u64); 5] = [(100, 1000), (64 << 10, 1000), (1 << 20, 300), (16 << 20, 30), (GIB, 2)];
/// Rounds: turn by turn, so that what else the machine does meets both.
const ROUNDS: u32 = 3;

/// A gibibyte that costs the client next to nothing.
fn gibibyte() -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    let piece = Bytes::from((0..256 << 10).map(|place: u32| place.to_le_bytes()[0]).collect::<Vec<_>>());
    stream::iter((0..GIB >> 18).map(move |_| piece.clone()))
}

/// What a range costs: time until it is here, and the server's processor time.
async fn cost(client: &Client, process: Process, path: &str, (size, count): (u64, u64)) -> [Duration; 2] {
    let (begin, before) = (Instant::now(), process.processor_time());
    for step in 0..count {
        // Anywhere, and in the middle of chunks and blocks.
        let start = if size == GIB { 0 } else { (step * 104_729_999 + 12_345) % (GIB - size) };
        let range = format!("bytes={start}-{}", start + size - 1);
        let answer = client.send(Request::new("GET", path).header("range", range)).await.unwrap().good("a range");
        assert_eq!(answer.body.len() as u64, size);
    }
    let used = process.processor_time().checked_sub(before).unwrap();
    let count = u32::try_from(count).unwrap();
    [begin.elapsed() / count, used / count]
}

#[test]
#[ignore = "a minute and 3 GiB of disk, and a figure of the release build; run by `make soak`"]
fn ranges_of_an_encrypted_gibibyte_cost_what_they_cost_of_a_plain_one() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        let (client, process) = (server.client(), server.process());
        client.create_bucket("large").await;
        for (name, method) in [("plain", None), ("sealed", Some("AES256"))] {
            let request = Request::new("PUT", format!("/large/{name}"));
            let request = match method {
                Some(method) => request.header("x-amz-server-side-encryption", method),
                None => request,
            };
            let (begin, before) = (Instant::now(), process.processor_time());
            client.send(request.stream(GIB, gibibyte())).await.unwrap().good("a PUT of 1 GiB");
            let used = process.processor_time().checked_sub(before).unwrap();
            println!("PUT of 1 GiB, {name}: {:.2?}, {used:.2?} of processor time", begin.elapsed());
        }
        let mut worst = 0.0_f64;
        for kind in RANGES {
            let mut costs = [[Duration::ZERO; 2]; 2];
            for _ in 0..ROUNDS {
                for (sum, path) in costs.iter_mut().zip(["/large/plain", "/large/sealed"]) {
                    let [time, used] = cost(&client, process, path, kind).await;
                    *sum = [sum[0] + time / ROUNDS, sum[1] + used / ROUNDS];
                }
            }
            let [plain, sealed] = costs;
            let ratio = |of: usize| sealed[of].as_secs_f64() / plain[of].as_secs_f64();
            println!(
                "{} bytes: {:.1?} plain, {:.1?} encrypted: {:.2}; processor {:.1?} and {:.1?}: {:.2}",
                kind.0,
                plain[0],
                sealed[0],
                ratio(0),
                plain[1],
                sealed[1],
                ratio(1)
            );
            worst = worst.max(ratio(0));
        }
        println!("peak {}", mebibytes(process.peak()));
        server.stop().await;
        assert!(worst <= RATIO, "a range takes {worst:.2} times as long");
    });
}
