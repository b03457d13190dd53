//! Notification configurations: kept and checked (s3-wire.md §9, backbeat.md §3).

use crate::support::world::{World, refused};

fn document(target: &str, event: &str) -> String {
    format!(
        "<NotificationConfiguration><QueueConfiguration><Id>q</Id><Queue>arn:scality:bucketnotif:::{target}</Queue>\
         <Event>{event}</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>a/</Value></FilterRule></S3Key>\
         </Filter></QueueConfiguration></NotificationConfiguration>"
    )
}

async fn world() -> World {
    World::with(|config| config.notification_targets = vec!["target1".to_owned()]).await
}

#[tokio::test]
async fn a_configuration_is_put_shown_and_removed_by_an_empty_one() {
    let world = world().await;
    let bart = world.bucket("events").await;
    let nothing = bart.get("/events?notification").expect(200).await;
    assert!(nothing.tags("Id").is_empty());
    bart.put("/events?notification", document("target1", "s3:ObjectCreated:*")).expect(200).await;
    let shown = bart.get("/events?notification").expect(200).await;
    assert_eq!(shown.tag("Queue").as_deref(), Some("arn:scality:bucketnotif:::target1"));
    assert_eq!(
        (shown.tag("Event").as_deref(), shown.tag("Value").as_deref()),
        (Some("s3:ObjectCreated:*"), Some("a/"))
    );
    bart.put("/events?notification", "<NotificationConfiguration/>").expect(200).await;
    assert!(bart.get("/events?notification").expect(200).await.tags("Id").is_empty());
}

#[tokio::test]
async fn unknown_targets_and_events_change_nothing() {
    let world = world().await;
    let bart = world.bucket("events").await;
    let put = |body: String| bart.put("/events?notification", body);
    put(document("target1", "s3:ObjectAcl:Put")).expect(200).await;
    refused(&world, put(document("other", "s3:ObjectAcl:Put")), 400, "InvalidArgument").await;
    refused(&world, put(document("target1", "s3:ObjectBurnt")), 400, "InvalidArgument").await;
    refused(&world, put("<NotificationConfiguration><X/></NotificationConfiguration>".to_owned()), 400, "MalformedXML")
        .await;
    for client in [world.lisa(), world.nobody()] {
        let put = client.put("/events?notification", document("target1", "s3:ObjectAcl:Put"));
        refused(&world, put, 403, "AccessDenied").await;
        refused(&world, client.get("/events?notification"), 403, "AccessDenied").await;
    }
    put(document("other", "s3:ObjectAcl:Put")).header("x-amz-skip-destination-validation", "true").expect(200).await;
}
