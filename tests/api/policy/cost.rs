//! What a decision costs: whoever sets a policy and sends requests chooses both sides of its comparisons.

use std::time::{Duration, Instant};

use super::{ALL, LISA, on, policy};
use crate::support::world::{World, refused};

/// Far above what it takes, and far below what it took when comparisons took the product of the lengths.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn hostile_patterns_cost_a_batch_of_deletes_little() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    bart.put("/bkt/kept", "body").expect(200).await;
    let allow = on("Allow", LISA, "s3:DeleteObject", &["bkt/*"], "{}");
    let hostile = (0..15).map(|number| {
        let pattern = format!("*{}{number}x*", "a".repeat(1000));
        on("Deny", LISA, "s3:DeleteObject", &["bkt/*"], &format!(r#"{{"StringLike":{{"aws:UserAgent":"{pattern}"}}}}"#))
    });
    let statements: Vec<String> = hostile.chain([allow]).collect();
    policy(&bart, "bkt", &statements.join(",")).expect(204).await;
    let keys: String = (0..1000).map(|number| format!("<Object><Key>{number}</Key></Object>")).collect();
    let begun = Instant::now();
    let batch = world.lisa().post("/bkt?delete", format!("<Delete><Quiet>true</Quiet>{keys}</Delete>")).digested();
    let reply = batch.header("user-agent", "a".repeat(2000)).expect(200).await;
    assert!(reply.tags("Code").is_empty(), "{reply}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    bart.get("/bkt/kept").expect(200).await;
}

#[tokio::test]
async fn what_is_settled_once_for_a_batch_is_decided_as_for_each_key() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    for key in ["in/a", "in/b", "out/a"] {
        bart.put(&format!("/bkt/{key}"), "body").expect(200).await;
    }
    bart.put("/bkt/in/kept", "body").header("x-amz-tagging", "keep=yes").expect(200).await;
    let agent = r#"{"StringLike":{"aws:UserAgent":"tidy/*"}}"#;
    let kept = r#"{"StringEquals":{"s3:ExistingObjectTag/keep":"yes","aws:UserAgent":"tidy/1"}}"#;
    let allow = on("Allow", LISA, "s3:DeleteObject", &["bkt/in/*"], agent);
    let deny = on("Deny", ALL, "s3:DeleteObject", &["bkt/*"], kept);
    policy(&bart, "bkt", &format!("{allow},{deny}")).expect(204).await;
    let keys: String =
        ["in/a", "in/b", "in/kept", "out/a"].iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let batch = || world.lisa().post("/bkt?delete", format!("<Delete>{keys}</Delete>")).digested();
    assert_eq!(batch().header("user-agent", "other").expect(200).await.tags("Code").len(), 4);
    let reply = batch().header("user-agent", "tidy/1").expect(200).await;
    let refused: Vec<_> = reply.elements("Error").iter().filter_map(|error| error.tag("Key")).collect();
    assert_eq!(refused, ["in/kept", "out/a"]);
    assert_eq!(bart.get("/bkt").expect(200).await.tags("Key"), ["in/kept", "out/a"]);
}

#[tokio::test]
async fn many_conditions_on_tags_read_the_header_once() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let conditions: Vec<String> = (0..150).map(|number| format!(r#""s3:RequestObjectTag/k{number}":"v""#)).collect();
    let wanted = format!(r#"{{"StringNotEquals":{{{}}}}}"#, conditions.join(","));
    policy(&bart, "bkt", &on("Deny", ALL, "s3:PutObject", &["bkt/*"], &wanted)).expect(204).await;
    let tags: Vec<String> = (0..5000).map(|number| format!("{number:x}")).collect();
    let begun = Instant::now();
    let call = world.nobody().put("/bkt/a", "x").header("x-amz-tagging", tags.join("&"));
    refused(&world, call, 403, "AccessDenied").await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}
