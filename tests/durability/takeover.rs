//! W8: one of two servers over the same folders serves, and the other one takes over when it fails.
//!
//! Two machines are two network name spaces with boot ids of their own, so that neither can tell whether a process of
//! the other lives. They share a local file system: its locks hold between them, as those of NFS do.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    history::{
        Change, History, Mode, Outcome,
        payload::{self, Tag},
    },
    support::{
        client::Client,
        machine::Machine,
        run,
        server::{Server, World},
    },
};

/// The time of the lease.
const SECONDS: u64 = 6;
const WRITERS: u16 = 6;
/// Some of them are blobs.
const LENGTHS: [u32; 3] = [100, 5_000, 150_000];

fn world() -> World {
    let mut world = World::new(json!({ "lease": { "enabled": "on", "seconds": SECONDS } }));
    world.config = json!({
        "healthChecks": { "allowFrom": ["198.18.0.0/15"] },
        "log": { "logLevel": "info", "dumpLevel": "error" },
    });
    world
}

fn machines() -> Option<[Machine; 2]> {
    Some([Machine::new()?, Machine::new()?])
}

/// Keys with one writer each, and what each may hold.
struct Load {
    histories: Vec<(History, u32)>,
}

impl Load {
    async fn new(server: &Server) -> Self {
        server.client().create_bucket("bucket").await;
        Self { histories: (0..WRITERS).map(|_| (History::new(Mode::Plain), 0)).collect() }
    }

    /// Writes to a server until it is done for, by `strike`; returns when all writers know.
    async fn write(&mut self, client: &Client, strike: impl Future<Output = ()>) {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for (writer, (mut history, mut number)) in self.histories.drain(..).enumerate() {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tasks.spawn(async move {
                let path = format!("/bucket/{writer}");
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let length = LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()];
                    let tag = Tag { writer: writer.try_into().unwrap(), number, length };
                    let put = tokio::time::timeout(Duration::from_secs(2), client.put(&path, tag.bytes())).await;
                    let done = matches!(&put, Ok(Ok(answer)) if answer.status.is_success());
                    let outcome = if done { Outcome::Done(None) } else { Outcome::Unknown };
                    history.note(&Change::Put(vec![tag]), &outcome);
                    if !done {
                        break;
                    }
                }
                (writer, history, number)
            });
        }
        strike.await;
        stop.store(true, Ordering::SeqCst);
        let mut ended = tasks.join_all().await;
        ended.sort_unstable_by_key(|(writer, ..)| *writer);
        self.histories = ended.into_iter().map(|(_, history, number)| (history, number)).collect();
    }

    /// Everything acknowledged is there, and whole.
    async fn check(&self, server: &Server) {
        let client = server.client();
        for (writer, (history, number)) in self.histories.iter().enumerate() {
            assert!(*number > 1, "writer {writer} has hardly written anything");
            let answer = client.get(&format!("/bucket/{writer}")).await.unwrap().good("read");
            let tags = payload::read(&answer.body).unwrap();
            history.check_read(Some(&tags)).unwrap_or_else(|violation| panic!("writer {writer}: {violation}"));
        }
    }
}

async fn seconds(count: f64) {
    tokio::time::sleep(Duration::from_secs_f64(count)).await;
}

/// Waits until a stand-by says that it waits: `/live` is well, `/ready` is not.
async fn until_waiting(server: &Server) {
    let begin = Instant::now();
    loop {
        if let Ok((503, body)) = server.admin("/ready").await {
            assert!(body.contains("owns the folders"), "{body}");
            assert_eq!(server.admin("/live").await.unwrap().0, 200);
            assert!(!server.serves().await);
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "no stand-by\n{}", server.log());
        seconds(0.05).await;
    }
}

/// Waits until the stand-by serves, and says how long that took.
async fn until_taken(server: &mut Server) -> Duration {
    let begin = Instant::now();
    while !server.serves().await {
        assert!(server.has_ended().is_none(), "{}", server.log());
        assert!(begin.elapsed() < Duration::from_secs(40), "nobody takes over\n{}", server.log());
        seconds(0.02).await;
    }
    begin.elapsed()
}

#[test]
fn w8_after_a_kill_on_the_same_machine_the_other_serves_at_once_with_all_that_was_acknowledged() {
    run(async {
        let world = world();
        let mut owner = world.start().await;
        let mut load = Load::new(&owner).await;
        for _ in 0..3 {
            let mut other = world.launch(None);
            until_waiting(&other).await;
            let client = owner.client();
            load.write(&client, async {
                seconds(1.0).await;
                owner.kill();
            })
            .await;
            let took = until_taken(&mut other).await;
            println!("taken over within {took:?}");
            load.check(&other).await;
            assert_eq!(other.admin("/ready").await.unwrap().0, 200);
            owner = other;
        }
        owner.stop().await;
    });
}

#[test]
fn w8_a_graceful_stop_hands_over_at_once() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let world = world();
        let mut owner = world.launch(Some(&one));
        owner.until_serving().await.unwrap();
        let mut load = Load::new(&owner).await;
        let mut other = world.launch(Some(&two));
        until_waiting(&other).await;
        load.write(&owner.client(), seconds(1.0)).await;
        let stopping = Instant::now();
        owner.stop().await;
        let stop_took = stopping.elapsed();
        let took = until_taken(&mut other).await;
        println!("stopped within {stop_took:?}, taken over within {took:?} more");
        assert!(took < Duration::from_secs(SECONDS), "a lease that was given back is not waited for: {took:?}");
        load.check(&other).await;
        other.stop().await;
    });
}

#[test]
fn w8_after_a_kill_on_another_machine_the_other_serves_when_the_lease_has_run_out() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let world = world();
        let mut owner = world.launch(Some(&one));
        owner.until_serving().await.unwrap();
        let mut load = Load::new(&owner).await;
        let mut other = world.launch(Some(&two));
        until_waiting(&other).await;
        let client = owner.client();
        load.write(&client, async {
            seconds(1.0).await;
            owner.kill();
        })
        .await;
        let took = until_taken(&mut other).await;
        println!("taken over within {took:?}");
        load.check(&other).await;
        assert!(other.log().contains("holds no lock any more"), "{}", other.log());
        other.stop().await;
    });
}

#[test]
fn w8_a_frozen_owner_of_the_same_machine_is_killed_before_its_folders_are_taken() {
    run(async {
        let world = world();
        let mut owner = world.start().await;
        let mut load = Load::new(&owner).await;
        let mut other = world.launch(None);
        until_waiting(&other).await;
        let (client, process) = (owner.client(), owner.process());
        load.write(&client, async {
            seconds(1.0).await;
            process.signal("STOP");
        })
        .await;
        let took = until_taken(&mut other).await;
        println!("taken over within {took:?}");
        assert!(owner.has_ended().is_some(), "a frozen process may not wake up beside another owner");
        assert!(other.log().contains("was frozen"), "{}", other.log());
        load.check(&other).await;
        other.stop().await;
    });
}

#[test]
fn w8_a_frozen_owner_of_another_machine_is_waited_for_and_ends_itself_when_it_wakes_up() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let world = world();
        let mut owner = world.launch(Some(&one));
        owner.until_serving().await.unwrap();
        let mut load = Load::new(&owner).await;
        let mut other = world.launch(Some(&two));
        until_waiting(&other).await;
        let (client, process) = (owner.client(), owner.process());
        load.write(&client, async {
            seconds(1.0).await;
            process.signal("STOP");
        })
        .await;
        seconds(9.0).await;
        assert!(!other.serves().await, "its machine holds the lock: it may wake up at any time");
        let (_, ready) = other.admin("/ready").await.unwrap();
        assert!(ready.contains("seems to be frozen"), "{ready}");
        process.signal("CONT");
        let status = owner.ended().await;
        assert!(!status.success(), "{status}");
        assert!(owner.log().contains("could not be renewed in time: this server ends at once"), "{}", owner.log());
        let took = until_taken(&mut other).await;
        println!("taken over within {took:?}");
        load.check(&other).await;
        other.stop().await;
    });
}

/// A mount without locks, or locks that the file server took from a machine that was cut off.
#[test]
fn w8_an_owner_that_lost_its_locks_while_frozen_is_superseded_and_does_no_damage_when_it_wakes_up() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let world = world();
        let mut owner = world.launch(Some(&one));
        owner.until_serving().await.unwrap();
        let mut load = Load::new(&owner).await;
        let mut other = world.launch(Some(&two));
        until_waiting(&other).await;
        let (client, process) = (owner.client(), owner.process());
        load.write(&client, async {
            seconds(1.0).await;
            process.signal("STOP");
            // Whoever opens these names from now on finds locks that nobody holds.
            for lock in ["metadata/.lease/lock", "metadata/cloudserver.lock", "metadata/LOCK", "data/LOCK"] {
                fs::remove_file(world.path().join(lock)).unwrap();
            }
        })
        .await;
        let took = until_taken(&mut other).await;
        println!("superseded within {took:?}");
        load.check(&other).await;
        // The old one wakes up while the new one is written to.
        load.write(&other.client(), async {
            seconds(0.5).await;
            process.signal("CONT");
            seconds(1.5).await;
        })
        .await;
        let status = owner.ended().await;
        assert!(!status.success(), "{status}");
        load.check(&other).await;
        other.stop().await;
        let again = world.start().await;
        load.check(&again).await;
        assert!(!again.log().contains(r#""level":"error""#), "{}", again.log());
        again.stop().await;
    });
}

#[test]
fn w8_without_a_lease_a_second_server_ends_at_once() {
    run(async {
        let mut world = world();
        world.own = json!({});
        let owner = world.start().await;
        let (status, log) = world.try_start().await.unwrap_err();
        assert!(!status.success() && log.contains("in use"), "{log}");
        owner.stop().await;
    });
}
