//! All faults at once, at random: what is acknowledged is there, and nothing is ever wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudserver::data::{BlobId, DataBackend, DataError};

use crate::{
    far::{BOTH, Far, Keeps, backend, payload, read, write},
    faults::{Fault, Proxy},
};

const FAULTS: [Fault; 9] = [
    Fault::Delay(Duration::from_millis(30)),
    Fault::Refuse,
    Fault::HalfRequest,
    Fault::Status(503),
    Fault::Status(500),
    Fault::Swallow,
    Fault::Truncate,
    Fault::Lie,
    Fault::Flip,
];

/// Numbers from a seed.
fn mixed(seed: u64) -> u64 {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn index(number: u64, below: usize) -> usize {
    usize::try_from(number % below as u64).unwrap()
}

/// Writes, overwrites, reads and deletes three keys of its own; answers with what was acknowledged last of each.
async fn work(backend: &dyn DataBackend, worker: u64, rounds: u64) -> Vec<(BlobId, Bytes)> {
    let mut kept: Vec<Option<(BlobId, Bytes)>> = vec![None, None, None];
    for round in 0..rounds {
        let number = mixed(worker * 10_000 + round);
        let slot = index(number >> 8, kept.len());
        match number % 4 {
            0 | 1 => {
                let size = [0, 1, 5000, 300_000, 900_000][index(number >> 16, 5)];
                let bytes = payload(size, number);
                match write(backend, &format!("storm/{worker}/{slot}"), &bytes).await {
                    Ok(blob) => kept[slot] = Some((blob, bytes)),
                    // Nobody promised anything: without versions even the predecessor may have been replaced.
                    Err(_) => kept[slot] = None,
                }
            }
            2 => {
                let Some((blob, bytes)) = &kept[slot] else { continue };
                match read(backend, blob, bytes.len()).await {
                    Ok(found) => assert!(found == bytes, "wrong bytes of {blob:?}"),
                    Err(DataError::Unavailable(_) | DataError::Body(_)) => {}
                    Err(error) => panic!("an acknowledged object: {error}"),
                }
            }
            _ => {
                let Some((blob, _)) = kept[slot].take() else { continue };
                backend.delete(&blob).await.ok();
            }
        }
    }
    kept.into_iter().flatten().collect()
}

async fn storm(keeps: Keeps, seed: u64) {
    let far = Far::new().await;
    far.bucket("far", keeps).await;
    let raging = Arc::new(AtomicBool::new(true));
    let weather = Arc::clone(&raging);
    let proxy = Proxy::new(far.address, move |_, count| {
        let number = mixed(seed ^ (count as u64) << 20);
        if weather.load(Ordering::SeqCst) && number.is_multiple_of(5) {
            FAULTS[index(number >> 8, FAULTS.len())]
        } else {
            Fault::None
        }
    })
    .await;
    let backend = backend(proxy.address, "far", keeps);
    let began = Instant::now();
    let workers = (0..6).map(|worker| work(&*backend, seed * 100 + worker, 25));
    let acknowledged: Vec<(BlobId, Bytes)> = futures_util::future::join_all(workers).await.concat();
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
    raging.store(false, Ordering::SeqCst);
    assert!(!acknowledged.is_empty());
    for (blob, bytes) in &acknowledged {
        let found = read(&*backend, blob, bytes.len()).await.unwrap();
        assert!(found == bytes, "an acknowledged object in {keeps:?}: {blob:?}");
        backend.delete(blob).await.unwrap();
        let gone = read(&*backend, blob, bytes.len()).await;
        assert!(matches!(gone, Err(DataError::NotFound(_))), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_nothing_acknowledged_is_lost_and_no_byte_is_wrong() {
    for keeps in BOTH {
        for seed in 1..=2 {
            storm(keeps, seed).await;
        }
    }
}
