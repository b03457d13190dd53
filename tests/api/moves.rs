//! `/_/locations`: moves of a bucket's objects, asked for over the wire.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    wire::SOON,
    world::{World, path},
};

fn to_file() -> String {
    json!({"from": "us-east-1", "to": "us-west-1"}).to_string()
}

async fn ended(client: &Client, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let reply = client.get(&format!("/_/locations/jobs/{id}")).expect(200).await;
        let job: Value = serde_json::from_str(&reply.text()).unwrap();
        if job["state"] != "running" {
            return job;
        }
        assert!(began.elapsed() < SOON, "{job}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_owner_moves_a_bucket_while_it_is_served() {
    let world = World::new().await;
    let bart = world.bucket("bucket").await;
    let large = vec![7_u8; 100_000];
    for key in ["small", "large"] {
        let body = if key == "small" { b"tiny".to_vec() } else { large.clone() };
        bart.put(&path("bucket", key), body).expect(200).await;
    }
    let etag = bart.head("/bucket/large").expect(200).await.header("etag").unwrap().to_owned();
    let reply = bart.post("/_/locations/move?bucket=bucket", to_file()).expect(202).await;
    let job: Value = serde_json::from_str(&reply.text()).unwrap();
    let job = ended(&bart, job["id"].as_str().unwrap()).await;
    assert_eq!((&job["state"], &job["done"], &job["left"]), (&"done".into(), &2.into(), &0.into()), "{job}");
    let after = bart.get("/bucket/large").expect(200).await;
    assert_eq!((after.body.as_slice(), after.header("etag")), (large.as_slice(), Some(etag.as_str())));
    let all: Value = serde_json::from_str(&bart.get("/_/locations/jobs").expect(200).await.text()).unwrap();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
    world.sound().await;
}

#[tokio::test]
async fn only_the_owner_moves_and_sees_moves() {
    let world = World::new().await;
    let bart = world.bucket("bucket").await;
    let move_it = "/_/locations/move?bucket=bucket";
    world.lisa().post(move_it, to_file()).refused(403, "AccessDenied").await;
    world.nobody().post(move_it, to_file()).refused(403, "AccessDenied").await;
    world.nobody().get("/_/locations/jobs").refused(403, "AccessDenied").await;
    let reply = bart.post(move_it, to_file()).expect(202).await;
    let job: Value = serde_json::from_str(&reply.text()).unwrap();
    let one = format!("/_/locations/jobs/{}", job["id"].as_str().unwrap());
    world.lisa().get(&one).refused(404, "NoSuchKey").await;
    world.lisa().delete(&one).refused(404, "NoSuchKey").await;
    let theirs: Value = serde_json::from_str(&world.lisa().get("/_/locations/jobs").expect(200).await.text()).unwrap();
    assert_eq!(theirs["jobs"], json!([]));
    bart.delete(&one).expect(200).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::new().await;
    let bart = world.bucket("bucket").await;
    let move_it = "/_/locations/move?bucket=bucket";
    for (body, status, code) in [
        (json!({"from": "us-east-1", "to": "us-east-1"}), 400, "InvalidArgument"),
        (json!({"from": "us-east-1", "to": "atlantis"}), 400, "InvalidArgument"),
        (json!({"from": "us-east-1", "to": "us-west-1", "speed": 9}), 400, "InvalidRequest"),
        (json!("all"), 400, "InvalidRequest"),
    ] {
        bart.post(move_it, body.to_string()).refused(status, code).await;
    }
    bart.post("/_/locations/move?bucket=other", to_file()).refused(404, "NoSuchBucket").await;
    bart.post("/_/locations/move", to_file()).refused(400, "InvalidBucketName").await;
    bart.post("/_/locations/dance?bucket=bucket", to_file()).refused(501, "NotImplemented").await;
    bart.get("/_/locations/jobs/nothing").refused(404, "NoSuchKey").await;
    bart.put("/_/locations/jobs/nothing", "").refused(404, "NoSuchKey").await;
    bart.put("/_/locations/move", "").refused(405, "MethodNotAllowed").await;
}
