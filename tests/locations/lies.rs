//! One fault at a time, and what must come of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cloudserver::{
    data::{DataBackend, DataError},
    types::body,
};

use crate::{
    far::{BOTH, Far, Keeps, backend, object, payload, read, write},
    faults::{Fault, Proxy},
};

const SMALL: usize = 1000;
const LARGE: usize = 3 << 20;

struct Scene {
    far: Far,
    _proxy: Proxy,
    backend: Arc<dyn DataBackend>,
    keeps: Keeps,
}

/// A backend whose first `times` requests that begin so and contain that meet with a fault.
async fn scene(keeps: Keeps, fault: Fault, begins: &'static str, contains: &'static str, times: usize) -> Scene {
    let far = Far::new().await;
    far.bucket("far", keeps).await;
    let met = AtomicUsize::new(0);
    let proxy = Proxy::new(far.address, move |line, _| {
        let meant = line.starts_with(begins) && line.contains(contains) && !line.contains("versioning");
        if meant && met.fetch_add(1, Ordering::SeqCst) < times { fault } else { Fault::None }
    })
    .await;
    let backend = backend(proxy.address, "far", keeps);
    Scene { far, _proxy: proxy, backend, keeps }
}

impl Scene {
    /// Versions (or objects) at the far side, markers not counted.
    async fn there(&self) -> usize {
        let client = crate::far::client(self.far.address, cloudserver::s3client::Retry::default());
        let page = client.list_versions("far", "", (None, None), 1000).await.unwrap();
        page.versions.iter().filter(|entry| !entry.marker).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swallowed_answer_is_reconciled() {
    for keeps in BOTH {
        for (size, begins) in [(SMALL, "PUT "), (LARGE, if keeps == Keeps::Versions { "PUT " } else { "POST " })] {
            let contains = if begins == "POST " { "uploadId" } else { "/k" };
            let scene = scene(keeps, Fault::Swallow, begins, contains, 1).await;
            let bytes = payload(size, 1);
            let blob = write(&*scene.backend, "k", &bytes).await.unwrap();
            assert_eq!(read(&*scene.backend, &blob, size).await.unwrap(), bytes, "{keeps:?} {size}");
            assert_eq!(scene.there().await, 1, "{keeps:?} {size}: once is enough");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_changed_on_the_way_are_refused_and_do_not_stay() {
    for keeps in BOTH {
        let scene = scene(keeps, Fault::Flip, "PUT ", "/k", 9).await;
        for size in [SMALL, LARGE] {
            let refused = write(&*scene.backend, "k", &payload(size, 1)).await;
            assert!(refused.is_err(), "{keeps:?} {size}: {refused:?}");
            assert_eq!(scene.there().await, 0, "{keeps:?} {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_entity_tag_is_an_error_or_a_second_look() {
    for keeps in BOTH {
        // Of a stream: nobody can look at it again, so it goes.
        let lying = scene(keeps, Fault::Lie, "PUT ", "/k", 9).await;
        let refused = write(&*lying.backend, "k", &payload(LARGE, 1)).await;
        assert!(matches!(refused, Err(DataError::Corrupt { .. })), "{keeps:?}: {refused:?}");
        assert_eq!(lying.there().await, 0, "{keeps:?}");
        // Of what was published: another look tells.
        let once = scene(keeps, Fault::Lie, "PUT ", "/k", 1).await;
        let bytes = payload(SMALL, 1);
        let blob = write(&*once.backend, "k", &bytes).await.unwrap();
        assert_eq!(read(&*once.backend, &blob, SMALL).await.unwrap(), bytes);
        let always = scene(keeps, Fault::Lie, "", "/k", 99).await;
        let refused = write(&*always.backend, "k", &bytes).await;
        assert!(matches!(refused, Err(DataError::Corrupt { .. })), "{keeps:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_goes_on_where_it_was() {
    for fault in [Fault::Truncate, Fault::Stall, Fault::Status(503), Fault::Refuse] {
        let scene = scene(Keeps::Versions, fault, "GET ", "/k", 2).await;
        let bytes = payload(LARGE, 1);
        let blob = write(&*scene.backend, "k", &bytes).await.unwrap();
        assert_eq!(read(&*scene.backend, &blob, LARGE).await.unwrap(), bytes, "{fault:?}");
        let mut part = scene.backend.get(&blob, 10..2_000_000).await.unwrap();
        let mut found = Vec::new();
        while let Some(slice) = futures_util::StreamExt::next(&mut part).await {
            found.extend_from_slice(&slice.unwrap());
        }
        assert!(found == bytes[10..2_000_000], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_changed_on_the_way_back_are_not_delivered_as_a_whole() {
    let scene = scene(Keeps::Nothing, Fault::Flip, "GET ", "/k", 1).await;
    // In one piece: what comes in parts has no tag that a whole could be compared with.
    let bytes = payload(SMALL, 1);
    let blob = write(&*scene.backend, "k", &bytes).await.unwrap();
    let wrong = read(&*scene.backend, &blob, SMALL).await;
    assert!(matches!(wrong, Err(DataError::Body(_))), "{wrong:?}");
    assert_eq!(read(&*scene.backend, &blob, SMALL).await.unwrap(), bytes);
}

/// Every request meets with the fault.
async fn away(fault: Fault) {
    for keeps in BOTH {
        let scene = scene(keeps, fault, "", "/far", usize::MAX).await;
        for size in [SMALL, LARGE] {
            let began = Instant::now();
            let refused = write(&*scene.backend, "k", &payload(size, 1)).await;
            assert!(matches!(refused, Err(DataError::Unavailable(_))), "{keeps:?} {size}: {refused:?}");
            assert!(began.elapsed() < Duration::from_mins(1), "{keeps:?}: {:?}", began.elapsed());
        }
        // What was delayed may still arrive.
        if !matches!(fault, Fault::Delay(_)) {
            assert_eq!(scene.there().await, 0, "{keeps:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_refuses_connections_is_told_in_time() {
    away(Fault::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_is_overloaded_is_told_in_time() {
    away(Fault::Status(503)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_fails_is_told_in_time() {
    away(Fault::Status(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_is_silent_is_told_in_time() {
    away(Fault::Delay(Duration::from_secs(30))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_not_noticed() {
    for keeps in BOTH {
        for fault in [Fault::Status(503), Fault::Refuse, Fault::Delay(Duration::from_millis(200))] {
            let begins = if fault == Fault::Refuse { "GET " } else { "" };
            let scene = scene(keeps, fault, begins, "/k", 2).await;
            let bytes = payload(SMALL, 1);
            let blob = write(&*scene.backend, "k", &bytes).await.unwrap();
            assert_eq!(read(&*scene.backend, &blob, SMALL).await.unwrap(), bytes, "{keeps:?} {fault:?}");
            scene.backend.delete(&blob).await.unwrap();
            assert_eq!(scene.keeps, keeps);
            assert_eq!(scene.there().await, 0, "{keeps:?} {fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_for_a_while_does_not_make_its_objects_gone() {
    let scene = scene(Keeps::Nothing, Fault::Status(404), "HEAD ", "", 2).await;
    let bytes = payload(SMALL, 1);
    let blob = write(&*scene.backend, "k", &bytes).await.unwrap();
    let failed = scene.backend.delete(&blob).await;
    assert!(matches!(failed, Err(DataError::Unavailable(_))), "a deletion that was not made: {failed:?}");
    assert_eq!(scene.there().await, 1);
    scene.backend.delete(&blob).await.unwrap();
    assert_eq!(scene.there().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_the_far_side_that_are_kept_have_a_length() {
    for keeps in BOTH {
        for size in [SMALL, LARGE] {
            let scene = scene(keeps, Fault::Bloat, "", "/k", 100).await;
            let refused = write(&*scene.backend, "k", &payload(size, 1)).await;
            assert!(matches!(refused, Err(DataError::Corrupt { .. } | DataError::Unavailable(_))), "{refused:?}");
        }
        let scene = scene(keeps, Fault::Bloat, "", "/k", 100).await;
        let native = scene.backend.native().unwrap();
        let upload = native.create_upload(&object("k")).await.unwrap();
        for size in [SMALL, LARGE] {
            let part = native.put_part(&upload, 1, body::once(payload(size, 1)), Some(size as u64).into()).await;
            assert!(matches!(part, Err(DataError::Corrupt { .. })), "{part:?}");
        }
    }
}
