//! Veeam's documents about a bucket.

use crate::support::world::{World, refused};

const FOLDER: &str = ".system-d26a9498-cb7c-4a87-a44a-8ae204f5ba6c";

#[tokio::test]
async fn a_bucket_tells_what_it_can_and_how_much_it_holds() {
    let world = World::new().await;
    let bart = world.bucket("bkt").await;
    let system = bart.get(&format!("/bkt/{FOLDER}/system.xml")).expect(200).await;
    assert_eq!(system.tag("ProtocolVersion").as_deref(), Some("\"1.0\""));
    assert_eq!(system.tag("CapacityInfo").as_deref(), Some("false"), "memory has no bounds");
    bart.get(&format!("/bkt/{FOLDER}/capacity.xml")).refused(404, "NoSuchKey").await;
    bart.put("/bkt?quota", r#"{"quota": 1000}"#).expect(200).await;
    bart.put("/bkt/a", vec![b'x'; 300]).expect(200).await;
    for path in [format!("/bkt/{FOLDER}/capacity.xml"), "/_/veeam/bkt/capacity.xml".to_owned()] {
        let capacity = bart.get(&path).expect(200).await;
        let values = ["Capacity", "Available", "Used"].map(|name| capacity.tag(name).unwrap());
        assert_eq!(values, ["1000", "700", "300"]);
        let head = bart.head(&path).expect(200).await;
        assert_eq!(head.header("content-length"), capacity.header("content-length"));
    }
    bart.get(&format!("/_/veeam/bkt/{FOLDER}/system.xml")).expect(200).await;
    bart.get(&format!("/bkt/{FOLDER}/other.xml")).refused(404, "NoSuchKey").await;
    for client in [world.lisa(), world.nobody()] {
        refused(&world, client.get(&format!("/bkt/{FOLDER}/system.xml")), 403, "AccessDenied").await;
        refused(&world, client.get("/_/veeam/bkt/capacity.xml"), 403, "AccessDenied").await;
    }
    bart.put(&format!("/bkt/{FOLDER}/system.xml"), "<mine/>").expect(200).await;
    bart.get("/_/veeam/bkt/system.xml").expect(200).await.body_is("<mine/>");
}
