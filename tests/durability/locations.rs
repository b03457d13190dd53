//! Locations from start to start, and from reload to reload.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Request},
    run,
    server::{World, until},
};

fn with(later: Option<&Value>) -> Value {
    let mut locations = World::locations();
    if let Some(more) = later {
        let mut entry = json!({ "type": "file", "objectId": "later", "legacyAwsBehavior": false, "details": {} });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        locations["later"] = entry;
    }
    locations
}

async fn create_at(client: &Client, bucket: &str, location: &str) {
    let body = format!(
        "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint></CreateBucketConfiguration>"
    );
    client.send(Request::new("PUT", format!("/{bucket}")).body(body)).await.unwrap().good("a bucket elsewhere");
}

fn body() -> Vec<u8> {
    vec![b'x'; 100_000]
}

#[test]
fn a_location_in_use_that_is_gone_at_a_start_is_told_of_and_costs_its_own_objects_only() {
    run(async {
        let world = World::new(json!({}));
        world.write("locationConfig.json", &with(Some(&json!({}))));
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("here").await;
        create_at(&client, "there", "later").await;
        client.put("/here/key", body()).await.unwrap().good("a PUT");
        client.put("/there/key", body()).await.unwrap().good("a PUT");

        // A running server keeps what it has.
        world.write("locationConfig.json", &with(None));
        server.process().signal("HUP");
        until("the reload is refused", || server.log().contains("cannot be removed from a running server")).await;
        client.get("/there/key").await.unwrap().good("a GET after the reload");
        server.stop().await;

        let server = world.start().await;
        let client = server.client();
        let told =
            |log: &str| log.contains("a location in use is not configured") && log.contains(r#""location":"later""#);
        until("the start tells of the location", || told(&server.log())).await;
        client.get("/here/key").await.unwrap().good("a GET elsewhere");
        let answer = client.get("/there/key").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "ServiceUnavailable"));
        let answer = client.put("/there/more", body()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "InvalidArgument"));
        client.delete("/there/key").await.unwrap();
        let (status, text) = server.admin("/ready").await.unwrap();
        assert_eq!(status, 200, "{text}");
        server.stop().await;

        // What was deleted meanwhile is removed once its place is there again.
        world.write("locationConfig.json", &with(Some(&json!({}))));
        let server = world.start().await;
        server.client().put("/there/again", body()).await.unwrap().good("a PUT");
        server.until_metric("cloudserver_garbage_pending", 0.0).await;
        server.until_metric(r#"cloudserver_location_versions{location="later"}"#, 1.0).await;
        server.stop().await;
    });
}

#[test]
fn a_limit_comes_with_a_reload_and_holds_over_a_kill() {
    run(async {
        let mut world = World::new(json!({}));
        world.config = json!({ "utapi": { "metrics": ["location"] } });
        world.write("locationConfig.json", &with(Some(&json!({}))));
        let mut server = world.start().await;
        let client = server.client();
        create_at(&client, "there", "later").await;
        for key in 0..3 {
            client.put(&format!("/there/{key}"), body()).await.unwrap().good("a PUT without a limit");
        }
        // 429,496 bytes.
        world.write("locationConfig.json", &with(Some(&json!({ "sizeLimitGB": 0.0004 }))));
        server.process().signal("HUP");
        server.until_metric(r#"cloudserver_location_limit_bytes{location="later"}"#, 429_496.0).await;
        client.put("/there/3", body()).await.unwrap().good("a PUT that fits");
        let full = async |client: &Client| {
            let answer = client.put("/there/more", body()).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.code()), (403, "AccessDenied"));
        };
        full(&client).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let server = world.start().await;
        let client = server.client();
        full(&client).await;
        client.delete("/there/0").await.unwrap();
        client.put("/there/4", body()).await.unwrap().good("a PUT in the place of another");
        full(&client).await;
        server.stop().await;
    });
}

#[test]
fn a_folder_that_is_not_mounted_is_no_empty_location() {
    run(async {
        let world = World::new(json!({}));
        let (folder, away) = (world.path().join("files"), world.path().join("unmounted"));
        fs::create_dir(&folder).unwrap();
        let mut locations = World::locations();
        locations["files"] = json!({
            "type": "posix", "objectId": "files", "legacyAwsBehavior": false, "details": { "path": folder },
        });
        world.write("locationConfig.json", &locations);
        let server = world.start().await;
        let client = server.client();
        client.create_bucket("here").await;
        create_at(&client, "there", "files").await;
        client.put("/there/key", body()).await.unwrap().good("a first start needs an empty folder and nothing else");
        client.put("/here/key", body()).await.unwrap().good("a PUT");
        server.stop().await;

        fs::rename(&folder, &away).unwrap();
        fs::create_dir(&folder).unwrap();
        let server = world.start().await;
        let client = server.client();
        for answer in [
            client.get("/there/key").await.unwrap(),
            client.put("/there/key", body()).await.unwrap(),
            client.put("/there/new", body()).await.unwrap(),
        ] {
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "ServiceUnavailable"));
        }
        client.get("/here/key").await.unwrap().good("a GET elsewhere");
        let (status, text) = server.admin("/ready").await.unwrap();
        assert_eq!(status, 200, "{text}");
        for told in [&text, &server.log()] {
            assert!(told.contains("is its file system mounted?"), "{told}");
        }
        let scan = json!({ "from": "files" }).to_string();
        let scan = Request::new("POST", "/_/locations/scan").query("bucket", "there").body(scan);
        assert!(!client.send(scan).await.unwrap().status.is_success(), "nothing is taken for gone");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written below a mount point");

        // Mounted at last; nobody restarts anything.
        fs::remove_dir(&folder).unwrap();
        fs::rename(&away, &folder).unwrap();
        server.until_metric(r#"cloudserver_location_up{location="files"}"#, 1.0).await;
        let answer = client.get("/there/key").await.unwrap().good("a GET of what was there");
        assert!(answer.body == body());
        server.stop().await;
    });
}
