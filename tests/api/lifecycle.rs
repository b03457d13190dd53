//! What answers tell of lifecycle rules (s3-wire-2.md §15).

use crate::support::{
    client::{Client, now},
    world::World,
};
use cloudserver::types::Timestamp;

const DAY: u64 = 86_400;

async fn rules(bart: &Client, rules: &str) {
    let body = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    bart.put("/ages?lifecycle", body).expect(200).await;
}

fn rule(id: &str, filter: &str, action: &str) -> String {
    format!("<Rule><ID>{id}</ID><Status>Enabled</Status><Filter>{filter}</Filter>{action}</Rule>")
}

fn days(days: u32) -> String {
    format!("<Expiration><Days>{days}</Days></Expiration>")
}

/// The midnight after `days` days from now.
fn midnight(days: u64) -> String {
    Timestamp::from_secs((now().as_secs() / DAY + days + 1) * DAY).to_http_date()
}

fn expiry(days: u64, id: &str) -> String {
    format!("expiry-date=\"{}\", rule-id=\"{id}\"", midnight(days))
}

#[tokio::test]
async fn reads_and_writes_tell_when_the_object_expires() {
    let world = World::new().await;
    let bart = world.bucket("ages").await;
    let tagged = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let all = rule("by prefix/ä", "<Prefix>a/</Prefix>", &days(3)) + &rule("tag", tagged, &days(1));
    rules(&bart, &all).await;
    let by_prefix = expiry(3, "by%20prefix%2F%C3%A4");
    bart.put("/ages/a/1", "x").expect(200).await.has("x-amz-expiration", &by_prefix);
    bart.head("/ages/a/1").expect(200).await.has("x-amz-expiration", &by_prefix);
    bart.get("/ages/a/1").expect(200).await.has("x-amz-expiration", &by_prefix);
    // Of several rules the first to come counts.
    bart.put("/ages/a/2", "x")
        .header("x-amz-tagging", "k=v")
        .expect(200)
        .await
        .has("x-amz-expiration", &expiry(1, "tag"));
    bart.put("/ages/b", "x").expect(200).await.lacks("x-amz-expiration");
    bart.head("/ages/b").expect(200).await.lacks("x-amz-expiration");
    let copy = bart.put("/ages/a/3", "").header("x-amz-copy-source", "/ages/b").expect(200).await;
    copy.has("x-amz-expiration", &by_prefix);
    rules(&bart, &all.replace("Enabled", "Disabled")).await;
    bart.head("/ages/a/1").expect(200).await.lacks("x-amz-expiration");
}

#[tokio::test]
async fn a_named_version_has_no_expiration() {
    let world = World::new().await;
    let bart = world.versioned("ages").await;
    rules(&bart, &rule("r", "", &days(1))).await;
    let put = bart.put("/ages/a", "x").expect(200).await;
    let version = put.header("x-amz-version-id").unwrap().to_owned();
    bart.head("/ages/a").expect(200).await.has("x-amz-expiration", &expiry(1, "r"));
    bart.head(&format!("/ages/a?versionId={version}")).expect(200).await.lacks("x-amz-expiration");
}

#[tokio::test]
async fn uploads_tell_when_they_are_thrown_away_and_their_objects_when_they_expire() {
    let world = World::small_parts().await;
    let bart = world.bucket("ages").await;
    let abort = |days: u32| {
        format!(
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
        )
    };
    let both = rule("late", "", &abort(7)) + &rule("soon", "<Prefix>a</Prefix>", &(abort(2) + &days(9)));
    rules(&bart, &both).await;
    let begun = bart.post("/ages/a?uploads", "").expect(200).await;
    let id = begun.tag("UploadId").unwrap();
    begun.has("x-amz-abort-date", &midnight(2)).has("x-amz-abort-rule-id", "soon");
    let part = bart.put(&format!("/ages/a?partNumber=1&uploadId={id}"), "x").expect(200).await.etag();
    let listed = bart.get(&format!("/ages/a?uploadId={id}")).expect(200).await;
    listed.has("x-amz-abort-date", &midnight(2)).has("x-amz-abort-rule-id", "soon");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = bart.post(&format!("/ages/a?uploadId={id}"), body).expect(200).await;
    done.has("x-amz-expiration", &expiry(9, "soon"));
    bart.post("/ages/b?uploads", "").expect(200).await.has("x-amz-abort-date", &midnight(7));
}
