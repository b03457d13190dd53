//! What listings read: the work of a page must not grow with what it does not show.

use std::sync::Arc;

use super::{
    probe::{Cost, Probe},
    world::World,
};
use crate::{
    metadata::{Batch, Namespace, Table},
    storage::{
        Bucket, keys,
        listing::{ListQuery, ListStart},
        records::{ObjectRecord, Record, Versioning},
    },
    types::{ObjectKey, VersionId},
};

async fn filled(names: impl Iterator<Item = String>) -> (World, Arc<Probe>, Arc<Bucket>) {
    let probe = Probe::counting();
    let world = World::over(Arc::<Probe>::clone(&probe));
    let bucket = world.bucket("large", Versioning::Enabled).await;
    let mut batch = Batch::new();
    let value = ObjectRecord { stamp: 1 << 40, ..ObjectRecord::default() }.to_bytes();
    for name in names {
        batch.put(Namespace::of(Table::Current, bucket.id), name.into_bytes(), value.clone());
    }
    world.metadata.commit(batch).await.unwrap();
    probe.take();
    (world, probe, bucket)
}

fn query(delimiter: &str, start: ListStart) -> ListQuery {
    ListQuery { delimiter: delimiter.to_owned(), start, limit: 1000, ..ListQuery::default() }
}

#[tokio::test]
async fn a_flat_page_is_one_scan_wherever_it_is() {
    let (world, probe, bucket) = filled((0..5000).map(|n| format!("key{n:05}"))).await;
    for start in [ListStart::Beginning, ListStart::AfterKey("key02000".to_owned())] {
        let page = world.storage.list_objects(&bucket, &query("", start)).await.unwrap();
        assert_eq!((page.entries.len(), page.is_truncated()), (1000, true));
        assert_eq!(probe.take(), Cost { scans: 1, pairs: 1001, snapshots: 0 });
    }
    world.storage.list_objects(&bucket, &query("", ListStart::AfterKey("key04000".to_owned()))).await.unwrap();
    assert_eq!(probe.take(), Cost { scans: 1, pairs: 999, snapshots: 0 });
}

#[tokio::test]
async fn a_large_common_prefix_costs_what_a_small_one_does() {
    let mut costs = Vec::new();
    for inside in [10, 50_000] {
        let names = (0..inside).map(|n| format!("in/{n:06}")).chain(["a", "z"].map(str::to_owned));
        let (world, probe, bucket) = filled(names).await;
        let page = world.storage.list_objects(&bucket, &query("/", ListStart::Beginning)).await.unwrap();
        assert_eq!(page.prefixes().collect::<Vec<_>>(), ["in/"]);
        assert_eq!(page.items().count(), 2);
        costs.push(probe.take());
    }
    assert_eq!(costs, [Cost { scans: 1, pairs: 3, snapshots: 0 }; 2]);
}

#[tokio::test]
async fn a_page_of_prefixes_is_one_scan_of_one_pair_each() {
    let names = (0..3000).flat_map(|group| (0..20).map(move |n| format!("{group:04}/{n}")));
    let (world, probe, bucket) = filled(names).await;
    for start in [ListStart::Beginning, ListStart::AfterPrefix("0999/".to_owned())] {
        let page = world.storage.list_objects(&bucket, &query("/", start)).await.unwrap();
        assert_eq!((page.prefixes().count(), page.is_truncated()), (1000, true));
        assert_eq!(probe.take(), Cost { scans: 1, pairs: 1001, snapshots: 0 });
    }
}

#[tokio::test]
async fn keys_between_prefixes_cost_a_pair_each() {
    let names = (0..5000).map(|n| if n % 300 == 0 { format!("key{n:05}/x") } else { format!("key{n:05}") });
    let (world, probe, bucket) = filled(names).await;
    let page = world.storage.list_objects(&bucket, &query("/", ListStart::Beginning)).await.unwrap();
    assert_eq!((page.items().count(), page.prefixes().count()), (996, 4));
    assert_eq!(probe.take(), Cost { scans: 1, pairs: 1001, snapshots: 0 });
}

#[tokio::test]
async fn a_page_of_versions_starts_within_a_long_history_for_nothing() {
    let (world, probe, bucket) = filled((0..10).map(|n| format!("key{n}"))).await;
    let key = ObjectKey::new("key5").unwrap();
    let mut batch = Batch::new();
    for stamp in 1000..21_000 {
        let mut record = ObjectRecord::default();
        record.set_version_id(VersionId::new(stamp, *b"RG001  "));
        let row = keys::version(&key, record.version_id());
        batch.put(Namespace::of(Table::Versions, bucket.id), row, record.to_bytes());
    }
    world.metadata.commit(batch).await.unwrap();
    let middle = crate::types::VersionSelector::Id(VersionId::new(11_000, *b"RG001  "));
    let start = ListStart::AfterVersion("key5".to_owned(), middle);
    let page = world.storage.list_versions(&bucket, &query("", start)).await.unwrap();
    assert_eq!((page.entries.len(), page.is_truncated()), (1000, true));
    let stamps: Vec<_> = page.items().map(|row| row.record.stamp).take(2).collect();
    assert_eq!(stamps, [10_999, 10_998]);
    let cost = probe.take();
    assert!(cost.scans <= 12 && cost.pairs <= 1100, "{cost:?}");
    // Folded, the history is jumped over.
    let page = world.storage.list_versions(&bucket, &query("y", ListStart::Beginning)).await.unwrap();
    assert_eq!(page.prefixes().collect::<Vec<_>>(), ["key"]);
    let cost = probe.take();
    assert!(cost.pairs <= 70, "{cost:?}");
}

#[tokio::test]
async fn completed_uploads_are_not_in_the_way_of_open_ones() {
    let probe = Probe::counting();
    let world = World::over(Arc::<Probe>::clone(&probe));
    let bucket = world.bucket("large", Versioning::Unversioned).await;
    for _ in 0..100 {
        world.multipart(&bucket, "done", &[b"x"]).await;
    }
    let open = world.create_upload(&bucket, "open").await;
    probe.take();
    let page = world.storage.list_uploads(&bucket, &query("", ListStart::Beginning)).await.unwrap();
    assert_eq!(page.items().map(|upload| upload.id).collect::<Vec<_>>(), [open]);
    assert_eq!(probe.take().pairs, 1);
}
