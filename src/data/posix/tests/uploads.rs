//! Parts are put together at the end, and copies share what they can.

use super::*;
use crate::data::{NativeSource, PartsFault};

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_put_together_in_their_order_by_their_tokens() {
    for world in [World::with(|_| {}), World::without_attributes()] {
        let upload = world.backend.create_upload(&object("big/one")).await.unwrap();
        let bytes = pattern(5_000_000);
        let part = |number: u32, range: Range<usize>| {
            world.backend.put_part(&upload, number, body(&bytes[range.clone()]), Some(range.len() as u64).into())
        };
        let third = part(3, 4_000_000..5_000_000).await.unwrap();
        let wrong = part(1, 0..10).await.unwrap();
        let first = part(1, 0..3_000_000).await.unwrap();
        let second = part(2, 3_000_000..4_000_000).await.unwrap();
        assert_ne!(wrong.token, first.token);
        assert!(world.tree().is_empty());
        let parts = vec![(1, first.token.clone()), (2, second.token), (3, third.token)];
        let staged = world.backend.staged_upload(&upload, parts, 5_000_000);
        assert_eq!(world.backend.find(&upload).await.unwrap(), None);
        let short = Staged { size: 4_999_999, ..staged.clone() };
        assert!(matches!(world.backend.publish(&short).await, Err(DataError::Corrupt { .. })));
        let written = world.backend.publish(&staged).await.unwrap();
        world.assert_holds(&written.blob, &bytes).await;
        assert_eq!(world.backend.find(&upload).await.unwrap(), Some(written.clone()));
        assert_eq!(world.backend.publish(&staged).await.unwrap(), written);
        world.backend.discard(&upload).await.unwrap();
        world.assert_holds(&written.blob, &bytes).await;
        assert!(world.ours().is_empty(), "{:?}", world.ours());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_discarded_takes_its_parts_along() {
    let world = World::new();
    let upload = world.backend.create_upload(&object("k")).await.unwrap();
    let part = world.backend.put_part(&upload, 1, body(b"part"), None.into()).await.unwrap();
    for (number, token) in [(2, part.token.as_str()), (1, "1-x"), (1, "../../b/k"), (1, "whole")] {
        let staged = world.backend.staged_upload(&upload, vec![(number, token.to_owned())], 4);
        let refused = world.backend.publish(&staged).await;
        assert!(matches!(refused, Err(DataError::Parts(PartsFault::Missing))), "{token}: {refused:?}");
    }
    for _ in 0..2 {
        world.backend.discard(&upload).await.unwrap();
    }
    assert!(world.ours().is_empty());
    let late = world.backend.put_part(&upload, 2, body(b"late"), None.into()).await;
    assert!(matches!(late, Err(DataError::NotFound(_))), "{late:?}");
    let staged = world.backend.staged_upload(&upload, vec![(1, part.token)], 4);
    assert!(matches!(world.backend.publish(&staged).await, Err(DataError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_taken_from_the_very_bytes() {
    let world = World::new();
    let bytes = pattern(700_000);
    let blob = world.publish("from", &bytes).await;
    let source = |range| NativeSource { blob: &blob, range, size: 700_000 };
    let staged = world.backend.stage_copy(&object("to"), source(0..700_000)).await.unwrap().unwrap();
    let copy = world.backend.publish(&staged).await.unwrap();
    world.assert_holds(&copy.blob, &bytes).await;
    let upload = world.backend.create_upload(&object("parts")).await.unwrap();
    let one = world.backend.copy_part(&upload, 1, source(100_000..300_000)).await.unwrap().unwrap();
    let two = world.backend.copy_part(&upload, 2, source(5..9)).await.unwrap().unwrap();
    assert_eq!((one.size, two.size), (200_000, 4));
    let staged = world.backend.staged_upload(&upload, vec![(1, one.token), (2, two.token)], 200_004);
    let joined = world.backend.publish(&staged).await.unwrap();
    world.assert_holds(&joined.blob, &[&bytes[100_000..300_000], &bytes[5..9]].concat()).await;

    fs::write(world.path("b/from"), b"changed").unwrap();
    let stale = world.backend.stage_copy(&object("to"), source(0..5)).await;
    assert!(matches!(stale, Err(DataError::Corrupt { .. })), "{stale:?}");
    world.delete(&blob).await;
    assert_eq!(fs::read(world.path("b/from")).unwrap(), b"changed", "what somebody else wrote is not ours to remove");
    assert!(world.ours().is_empty(), "{:?}", world.ours());
}
