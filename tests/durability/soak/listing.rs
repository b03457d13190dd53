//! A million keys: a page of a listing costs what it costs among ten thousand, a search pages through them in bounded
//! steps, and a start does not notice.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::support::{
    client::{Client, Request},
    machine::{Process, mebibytes},
    run,
    server::World,
    xml,
};

const FOLDERS: u64 = 900;
/// Keys of each folder, and of the folder at the end that is folded: a million in all, and ten thousand.
const LARGE: (u64, u64) = (1000, 100_000);
const SMALL: (u64, u64) = (11, 10);
/// Processor time spent on each kind of page: the clock ticks every 10 ms.
const ENOUGH: Duration = Duration::from_millis(500);
/// The bound of issue 2.
const RATIO: f64 = 1.5;

/// The keys of a bucket of that shape: `d000/k0000` … and `fold/k000000` …
fn keys((per_folder, folded): (u64, u64)) -> impl Iterator<Item = String> {
    let plain = move |folder| (0..per_folder).map(move |key| format!("d{folder:03}/k{key:04}"));
    (0..FOLDERS).flat_map(plain).chain((0..folded).map(|key| format!("fold/k{key:06}")))
}

async fn fill(client: &Client, bucket: &str, shape: (u64, u64), connections: usize) {
    client.create_bucket(bucket).await;
    let begin = Instant::now();
    let count = keys(shape).count();
    stream::iter(keys(shape))
        .for_each_concurrent(connections, |key| async move {
            let path = format!("/{bucket}/{key}");
            client.put(&path, Bytes::from_static(b"small")).await.unwrap().good("put");
        })
        .await;
    println!("{bucket}: {count} keys in {:.0} s over {connections} connections", begin.elapsed().as_secs_f64());
}

/// A kind of page: where it begins, and whether folders are folded.
#[derive(Clone, Copy, Debug)]
struct Page {
    name: &'static str,
    after: &'static str,
    delimiter: bool,
    size: u64,
}

const fn page(name: &'static str, after: &'static str, delimiter: bool, size: u64) -> Page {
    Page { name, after, delimiter, size }
}

/// Both buckets answer the first six with equally many rows. The last but one folds 100,000 keys, or 10.
const KINDS: [Page; 7] = [
    page("first page", "", false, 1000),
    page("middle page", "d450/", false, 1000),
    page("last page", "d890/", false, 100),
    page("first folded page", "", true, 100),
    page("middle folded page", "d450/", true, 100),
    page("last folded page", "d849/zzzz", true, 50),
    page("one large folder", "d899/zzzz", true, 1),
];

async fn list(client: &Client, bucket: &str, kind: Page) -> usize {
    let request = Request::new("GET", format!("/{bucket}")).query("list-type", 2).query("max-keys", kind.size);
    let request = if kind.after.is_empty() { request } else { request.query("start-after", kind.after) };
    let request = if kind.delimiter { request.query("delimiter", "/") } else { request };
    let answer = client.send(request).await.unwrap().good("a page");
    xml::all(answer.text(), "Contents").len() + xml::all(answer.text(), "CommonPrefixes").len()
}

/// Processor time of the server per page.
async fn cost(client: &Client, process: Process, bucket: &str, kind: Page) -> Duration {
    for _ in 0..10 {
        assert_eq!(list(client, bucket, kind).await as u64, kind.size, "{} of {bucket}", kind.name);
    }
    let before = process.processor_time();
    let mut pages = 0;
    while process.processor_time() < before + ENOUGH {
        for _ in 0..50 {
            list(client, bucket, kind).await;
        }
        pages += 50;
    }
    process.processor_time().checked_sub(before).unwrap() / pages
}

#[test]
#[ignore = "a quarter of an hour: loads a million keys; run by `make soak`"]
fn r16_r20_a_million_keys_cost_a_page_and_a_start_nothing() {
    run(async {
        let world = World::new(json!({}));
        let server = world.start().await;
        let (client, process) = (server.client(), server.process());
        fill(&client, "small", SMALL, 64).await;
        fill(&client, "large", LARGE, 256).await;
        println!("after loading: {}, peak {}", mebibytes(process.resident()), mebibytes(process.peak()));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut worst = 0.0_f64;
        for kind in KINDS {
            // Turn by turn, so that what else the machine does meets both.
            let mut costs = [Duration::ZERO; 2];
            for _ in 0..3 {
                costs[0] += cost(&client, process, "small", kind).await / 3;
                costs[1] += cost(&client, process, "large", kind).await / 3;
            }
            let ratio = costs[1].as_secs_f64() / costs[0].as_secs_f64();
            println!(
                "{}: {:?} among ten thousand keys, {:?} among a million: {ratio:.2}",
                kind.name, costs[0], costs[1]
            );
            worst = worst.max(ratio);
        }
        println!("after listing: {}", mebibytes(process.resident()));
        search(&client, process).await;
        server.stop().await;
        starts(&world).await;
        assert!(worst <= RATIO, "a page costs {worst:.2} times as much");
    });
}

/// A search through the million keys that finds a thousand: page by page, each of bounded time and memory.
async fn search(client: &Client, process: Process) {
    let before = process.resident();
    let (mut found, mut pages, mut slowest) = (0, 0_u32, Duration::ZERO);
    let mut token: Option<String> = None;
    loop {
        let request = Request::new("GET", "/large").query("list-type", 2).query("search", r#"key LIKE "^fold/.*77$""#);
        let request = if let Some(token) = &token { request.query("continuation-token", token) } else { request };
        let begin = Instant::now();
        let answer = client.send(request).await.unwrap().good("a page of a search");
        slowest = slowest.max(begin.elapsed());
        pages += 1;
        found += xml::all(answer.text(), "Contents").len();
        token = xml::all(answer.text(), "NextContinuationToken").first().map(ToString::to_string);
        if token.is_none() {
            break;
        }
    }
    println!(
        "search of a million keys: {found} in {pages} pages, the slowest {slowest:?}, {} before and {} after",
        mebibytes(before),
        mebibytes(process.resident())
    );
    assert_eq!(found as u64, LARGE.1 / 100);
    assert!(pages > 10, "a page has a bound of work, so this many rows are many pages");
    // RocksDB's block cache may fill meanwhile; its bound is part of this one.
    assert!(process.resident() < 256 << 20, "a search holds a page, not a bucket");
}

/// Start-up on the million keys, after a clean stop and after a kill.
async fn starts(world: &World) {
    for how in ["clean", "killed"] {
        let mut server = world.start().await;
        let client = server.client();
        println!(
            "start after a {how} stop: {:?}, {} read, then {}",
            server.start_took,
            mebibytes(server.process().bytes_read()),
            mebibytes(server.process().resident()),
        );
        for number in 0..100 {
            client.put(&format!("/small/new{number}"), "more").await.unwrap().good("put");
        }
        server.kill();
    }
}
