//! `/_/report`: what the store holds, for those who know the secret.

use std::time::{Duration, Instant};

use cloudserver::config::Config;

use crate::support::{
    wire::SOON,
    world::{LISA, World},
};

fn with_token(config: &mut Config) {
    config.report_token = Some("secret".to_owned().into());
}

#[tokio::test]
async fn the_report_counts_exactly_by_bucket_and_account() {
    let world = World::with(with_token).await;
    let bart = world.versioned("one").await;
    world.bucket("two").await;
    world.lisa().put("/three", "").expect(200).await;
    bart.put("/one/a", "12345").expect(200).await;
    bart.put("/one/a", "123").expect(200).await;
    bart.put("/two/a", "x").expect(200).await;
    world.lisa().put("/three/a", "xyz").expect(200).await;
    let reply = world.nobody().get("/_/report").header("x-scal-report-token", "secret").expect(200).await;
    let report: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
    let items = &report["itemCounts"];
    for (name, count) in [("buckets", 3), ("objects", 3), ("versions", 1), ("bytes", 12), ("uploadBytes", 0)] {
        assert_eq!(items[name], count, "{name}");
    }
    let lisa = items["accounts"].as_array().unwrap().iter().find(|it| it["ownerCanonicalId"] == LISA).unwrap();
    assert_eq!((&lisa["buckets"], &lisa["bytes"], &lisa["displayName"]), (&1.into(), &3.into(), &"Lisa".into()));
    let names: Vec<_> = items["bucketList"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "three", "two"]);
    assert_eq!(report["reportModelVersion"], 1);
    let uuid = report["uuid"].as_str().unwrap().to_owned();
    assert_eq!(uuid.len(), 36);
    let again = world.nobody().get("/_/report").header("x-scal-report-token", "secret").expect(200).await;
    assert!(again.text().contains(&uuid), "the store keeps its name");
}

#[tokio::test]
async fn the_report_is_for_those_who_know_the_secret() {
    let world = World::with(with_token).await;
    let somebody = world.nobody();
    assert_eq!(somebody.get("/_/report").send().await.status, 403);
    for token in ["", "Secret", "secret1", "secre"] {
        let reply = somebody.get("/_/report").header("x-scal-report-token", token).send().await;
        assert_eq!(reply.status, 403, "{token}");
    }
    assert_eq!(somebody.put("/_/report", "").header("x-scal-report-token", "secret").send().await.status, 405);
    let silent = World::new().await;
    for token in ["", "secret"] {
        let reply = silent.nobody().get("/_/report").header("x-scal-report-token", token).send().await;
        assert_eq!(reply.status, 403, "without a secret there is no report");
    }
}

#[tokio::test]
async fn what_accounts_hold_shows_in_the_metrics() {
    let world = World::new().await;
    world.bucket("one").await;
    world.lisa().put("/two", "").expect(200).await;
    world.lisa().put("/two/a", "xyz").expect(200).await;
    let began = Instant::now();
    // Gauges are filled every few seconds.
    while world.metric("s3_cloudserver_objects_count").await < 1 {
        assert!(began.elapsed() < SOON, "the gauges are not filled");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (name, count) in [("buckets", 1), ("objects", 1), ("versions", 1), ("bytes", 3)] {
        let name = format!("cloudserver_account_{name}{{account=\"{LISA}\"}}");
        assert_eq!(world.metric(&name).await, count, "{name}");
    }
    assert_eq!(world.metric("s3_cloudserver_buckets_count").await, 2);
}
