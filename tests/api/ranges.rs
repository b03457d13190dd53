//! Ranges and parts of objects (s3-wire.md §5).

use crate::support::{
    client::Client,
    world::{World, path},
};

async fn ten(world: &World) -> Client {
    let bart = world.bucket("ranges").await;
    bart.put("/ranges/ten", "0123456789").expect(200).await;
    bart.put("/ranges/empty", "").expect(200).await;
    bart
}

#[tokio::test]
async fn a_range_is_clipped_to_the_object() {
    let world = World::new().await;
    let bart = ten(&world).await;
    for (range, body, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=0-9", "0123456789", "bytes 0-9/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-100", "789", "bytes 7-9/10"),
        ("bytes=0-18446744073709551615", "0123456789", "bytes 0-9/10"),
        ("bytes=0-99999999999999999999999999", "0123456789", "bytes 0-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-10", "0123456789", "bytes 0-9/10"),
        ("bytes=-100", "0123456789", "bytes 0-9/10"),
        ("BYTES=2-3", "23", "bytes 2-3/10"),
    ] {
        let reply = bart.get("/ranges/ten").header("range", range).expect(206).await.body_is(body);
        let reply = reply.has("content-range", shown).has("accept-ranges", "bytes");
        reply.has("content-length", &body.len().to_string()).lacks("x-amz-mp-parts-count");
        let reply = bart.head("/ranges/ten").header("range", range).expect(206).await;
        reply.has("content-range", shown).has("content-length", &body.len().to_string());
    }
}

#[tokio::test]
async fn a_range_that_is_none_gives_the_whole_object() {
    let world = World::new().await;
    let bart = ten(&world).await;
    for range in [
        "bytes=5-3",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "bytes=0-0,-1",
        "items=0-1",
        "0-1",
        "bytes 0-1",
        "bytes=1--2",
        "bytes=+1-2",
        "bytes=0x1-2",
    ] {
        let reply = bart.get("/ranges/ten").header("range", range).expect(200).await.body_is("0123456789");
        reply.lacks("content-range");
    }
}

#[tokio::test]
async fn a_range_beyond_the_object_cannot_be_satisfied() {
    let world = World::new().await;
    let bart = ten(&world).await;
    for (key, range, size) in [
        ("ten", "bytes=10-", "10"),
        ("ten", "bytes=10-20", "10"),
        ("ten", "bytes=-0", "10"),
        ("ten", "bytes=18446744073709551615-", "10"),
        ("ten", "bytes=99999999999999999999999-", "10"),
        ("empty", "bytes=0-", "0"),
        ("empty", "bytes=0-0", "0"),
        ("empty", "bytes=-1", "0"),
    ] {
        let reply = bart.get(&path("ranges", key)).header("range", range).refused(416, "InvalidRange").await;
        let reply = reply.with("RangeRequested", range).with("ActualObjectSize", size);
        reply.has("content-range", &format!("bytes */{size}"));
        bart.head(&path("ranges", key)).header("range", range).expect(416).await.body_is("");
    }
}

#[tokio::test]
async fn if_range_lets_a_range_pass_only_for_the_same_version() {
    let world = World::new().await;
    let bart = ten(&world).await;
    let head = bart.head("/ranges/ten").expect(200).await;
    let (etag, modified) = (head.etag(), head.header("last-modified").unwrap().to_owned());
    for validator in [&etag, &modified] {
        let call = bart.get("/ranges/ten").headers(&[("range", "bytes=1-2"), ("if-range", validator)]);
        call.expect(206).await.body_is("12");
    }
    for validator in ["\"other\"", "Sat, 01 Jan 2000 00:00:00 GMT"] {
        let call = bart.get("/ranges/ten").headers(&[("range", "bytes=1-2"), ("if-range", validator)]);
        call.expect(200).await.body_is("0123456789").lacks("content-range");
    }
}

#[tokio::test]
async fn every_range_of_a_large_object_has_its_bytes() {
    let world = World::new().await;
    let bart = world.bucket("ranges").await;
    let body: Vec<u8> = (0..700_001_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
    bart.put("/ranges/large", &body).expect(200).await;
    let size = body.len();
    for edge in [0, 1, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 524_288, size - 2, size - 1] {
        for length in [1, 2, 65_536, 300_000] {
            let end = (edge + length).min(size);
            let call = bart.get("/ranges/large").header("range", format!("bytes={edge}-{}", edge + length - 1));
            let reply = call.expect(206).await.body_is(&body[edge..end]);
            reply.has("content-range", &format!("bytes {edge}-{}/{size}", end - 1));
        }
    }
}

#[tokio::test]
async fn part_numbers_of_an_object_in_one_piece() {
    let world = World::new().await;
    let bart = ten(&world).await;
    let reply = bart.get("/ranges/ten?partNumber=1").expect(206).await.body_is("0123456789");
    reply.has("content-range", "bytes 0-9/10").lacks("x-amz-mp-parts-count");
    bart.head("/ranges/ten?partNumber=1").expect(206).await.has("content-length", "10");
    bart.get("/ranges/empty?partNumber=1").expect(206).await.body_is("").lacks("content-range");
    for part in ["2", "10000"] {
        let reply = bart.get(&format!("/ranges/ten?partNumber={part}")).refused(416, "InvalidPartNumber").await;
        reply.with("PartNumberRequested", part).with("ActualPartCount", "1");
    }
    for part in ["0", "-1", "10001", "x", "99999999999999999999", "1.5", ""] {
        let call = bart.get(&format!("/ranges/ten?partNumber={part}"));
        call.refused(400, "InvalidArgument").await.with("ArgumentName", "partNumber");
    }
    let both = bart.get("/ranges/ten?partNumber=1").header("range", "bytes=0-1");
    both.refused(400, "InvalidRequest").await;
}
