//! W8: one of two servers over the same folders serves, and the other one takes over when it fails.
//!
//! Two machines are two network name spaces with boot ids of their own, so that neither can tell whether a process of
//! the other lives. They share a local file system: its locks hold between them, as those of NFS do.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
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
        server::{PATIENCE, Server, World, until},
    },
};

/// The time of the lease, where it is to run out.
const SECONDS: u64 = 6;
/// A writer takes an owner that does not answer for lost after this time; the lease has run out by then.
const LOST: Duration = Duration::from_secs(10);
const WRITERS: u16 = 6;
/// Some of them are blobs.
const LENGTHS: [u32; 3] = [100, 5_000, 150_000];

fn world(seconds: u64) -> World {
    let mut world = World::new(json!({ "lease": { "enabled": "on", "seconds": seconds } }));
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

    /// Writes to a server until it is done for, by `strike`, which begins when all have written; returns when all know.
    async fn write(&mut self, client: &Client, strike: impl Future<Output = ()>) {
        let stop = Arc::new(AtomicBool::new(false));
        let written: Arc<[AtomicU32; WRITERS as usize]> = Arc::default();
        let mut tasks = tokio::task::JoinSet::new();
        for (writer, (mut history, mut number)) in self.histories.drain(..).enumerate() {
            let (client, stop, written) = (client.clone(), Arc::clone(&stop), Arc::clone(&written));
            tasks.spawn(async move {
                let path = format!("/bucket/{writer}");
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let length = LENGTHS[usize::try_from(number).unwrap() % LENGTHS.len()];
                    let tag = Tag { writer: writer.try_into().unwrap(), number, length };
                    let put = tokio::time::timeout(LOST, client.put(&path, tag.bytes())).await;
                    let done = matches!(&put, Ok(Ok(answer)) if answer.status.is_success());
                    let outcome = if done { Outcome::Done(None) } else { Outcome::Unknown };
                    history.note(&Change::Put(vec![tag]), &outcome);
                    if !done {
                        break;
                    }
                    written[writer].fetch_add(1, Ordering::SeqCst);
                }
                (writer, history, number)
            });
        }
        until("all writers have written", || written.iter().all(|count| count.load(Ordering::SeqCst) > 1)).await;
        strike.await;
        stop.store(true, Ordering::SeqCst);
        let mut ended = tasks.join_all().await;
        ended.sort_unstable_by_key(|(writer, ..)| *writer);
        self.histories = ended.into_iter().map(|(_, history, number)| (history, number)).collect();
    }

    /// Everything acknowledged is there, and whole.
    async fn check(&self, server: &Server) {
        let client = server.client();
        for (writer, (history, _)) in self.histories.iter().enumerate() {
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
        assert!(begin.elapsed() < PATIENCE, "no stand-by\n{}", server.log());
        seconds(0.05).await;
    }
}

/// An owner of the folders, what is written to it, and a stand-by.
struct Scene {
    world: World,
    owner: Server,
    other: Server,
    load: Load,
}

impl Scene {
    /// Both servers on this machine, or each on one of its own.
    async fn begin(world: World, machines: [Option<&Machine>; 2]) -> Self {
        let mut owner = world.launch(machines[0]);
        owner.until_serving().await.unwrap();
        let load = Load::new(&owner).await;
        let other = world.launch(machines[1]);
        until_waiting(&other).await;
        Self { world, owner, other, load }
    }

    /// Does something to the owner while it is written to.
    async fn strike(&mut self, strike: impl FnOnce(&mut Server)) {
        let (client, owner) = (self.owner.client(), &mut self.owner);
        let strike = async {
            seconds(1.0).await;
            strike(owner);
        };
        self.load.write(&client, strike).await;
    }

    /// Waits until the stand-by serves, with everything acknowledged; says how long that took.
    async fn until_taken(&mut self) -> Duration {
        let begin = Instant::now();
        while !self.other.serves().await {
            assert!(self.other.has_ended().is_none(), "{}", self.other.log());
            assert!(begin.elapsed() < PATIENCE, "nobody takes over\n{}", self.other.log());
            seconds(0.02).await;
        }
        let took = begin.elapsed();
        println!("taken over within {took:?}");
        self.load.check(&self.other).await;
        took
    }
}

#[test]
fn w8_after_a_kill_on_the_same_machine_the_other_serves_at_once_with_all_that_was_acknowledged() {
    run(async {
        let mut scene = Scene::begin(world(SECONDS), [None, None]).await;
        for round in 0..3 {
            scene.strike(Server::kill).await;
            scene.until_taken().await;
            assert_eq!(scene.other.admin("/ready").await.unwrap().0, 200);
            if round < 2 {
                let next = scene.world.launch(None);
                until_waiting(&next).await;
                scene.owner = std::mem::replace(&mut scene.other, next);
            }
        }
        scene.other.stop().await;
    });
}

#[test]
fn w8_a_graceful_stop_hands_over_at_once() {
    run(async {
        let Some([one, two]) = machines() else { return };
        // Much longer than a start takes.
        let lease = 60;
        let mut scene = Scene::begin(world(lease), [Some(&one), Some(&two)]).await;
        scene.load.write(&scene.owner.client(), seconds(1.0)).await;
        scene.owner.process().signal("TERM");
        assert!(scene.owner.ended().await.success(), "{}", scene.owner.log());
        let took = scene.until_taken().await;
        assert!(took < Duration::from_secs(lease), "a lease that was given back is not waited for: {took:?}");
        scene.other.stop().await;
    });
}

#[test]
fn w8_after_a_kill_on_another_machine_the_other_serves_when_the_lease_has_run_out() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let mut scene = Scene::begin(world(SECONDS), [Some(&one), Some(&two)]).await;
        scene.strike(Server::kill).await;
        scene.until_taken().await;
        until("the log says why", || scene.other.log().contains("holds no lock any more")).await;
        scene.other.stop().await;
    });
}

#[test]
fn w8_a_frozen_owner_of_the_same_machine_is_killed_before_its_folders_are_taken() {
    run(async {
        let mut scene = Scene::begin(world(SECONDS), [None, None]).await;
        scene.strike(|owner| owner.process().signal("STOP")).await;
        scene.until_taken().await;
        assert!(scene.owner.has_ended().is_some(), "a frozen process may not wake up beside another owner");
        until("the log says why", || scene.other.log().contains("was frozen")).await;
        scene.other.stop().await;
    });
}

#[test]
fn w8_a_frozen_owner_of_another_machine_is_waited_for_and_ends_itself_when_it_wakes_up() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let mut scene = Scene::begin(world(SECONDS), [Some(&one), Some(&two)]).await;
        scene.strike(|owner| owner.process().signal("STOP")).await;
        let begin = Instant::now();
        while !scene.other.admin("/ready").await.unwrap().1.contains("seems to be frozen") {
            assert!(begin.elapsed() < PATIENCE, "the stand-by does not say why it waits\n{}", scene.other.log());
            seconds(0.1).await;
        }
        assert!(!scene.other.serves().await, "its machine holds the lock: it may wake up at any time");
        scene.owner.process().signal("CONT");
        let (status, log) = (scene.owner.ended().await, scene.owner.log());
        assert!(!status.success(), "{status}");
        assert!(log.contains("could not be renewed in time: this server ends at once"), "{log}");
        scene.until_taken().await;
        scene.other.stop().await;
    });
}

/// A mount without locks, or locks that the file server took from a machine that was cut off.
#[test]
fn w8_an_owner_that_lost_its_locks_while_frozen_is_superseded_and_does_no_damage_when_it_wakes_up() {
    run(async {
        let Some([one, two]) = machines() else { return };
        let mut scene = Scene::begin(world(SECONDS), [Some(&one), Some(&two)]).await;
        let folder = scene.world.path().to_owned();
        let freeze = |owner: &mut Server| {
            owner.process().signal("STOP");
            // Whoever opens these names from now on finds locks that nobody holds.
            for lock in ["metadata/.lease/lock", "metadata/cloudserver.lock", "metadata/LOCK", "data/LOCK"] {
                fs::remove_file(folder.join(lock)).unwrap();
            }
        };
        scene.strike(freeze).await;
        scene.until_taken().await;
        // The old one wakes up while the new one is written to.
        let (client, process) = (scene.other.client(), scene.owner.process());
        let wakes = async {
            process.signal("CONT");
            seconds(1.5).await;
        };
        scene.load.write(&client, wakes).await;
        let status = scene.owner.ended().await;
        assert!(!status.success(), "{status}");
        scene.load.check(&scene.other).await;
        scene.other.stop().await;
        let again = scene.world.start().await;
        scene.load.check(&again).await;
        assert!(!again.log().contains(r#""level":"error""#), "{}", again.log());
        again.stop().await;
    });
}

#[test]
fn w8_without_a_lease_a_second_server_ends_at_once() {
    run(async {
        let mut world = world(SECONDS);
        world.own = json!({});
        let owner = world.start().await;
        let (status, log) = world.try_start().await.unwrap_err();
        assert!(!status.success() && log.contains("in use"), "{log}");
        owner.stop().await;
    });
}
