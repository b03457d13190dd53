//! kill -9 at random moments under load: R1, R3, R6, R9, R12 and the start of R16.

mod buckets;
mod observe;
mod writer;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use buckets::BucketWriter;
#[cfg(feature = "failpoints")]
pub(crate) use observe::md5;
use serde_json::json;
use writer::{INLINE, Shared, Writer};

use crate::{
    history::{Mode, State, Violation, What, payload::Tag},
    support::{
        client::{Client, Request},
        machine::blob_files,
        random::Random,
        run,
        server::{Server, World, until},
    },
};

const WRITERS: u16 = 16;
const BUCKETS: [(&str, Mode); 2] = [("plain", Mode::Plain), ("versioned", Mode::Versioned)];
const VERSIONING: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

/// Everything that goes through the kills.
struct Campaign {
    world: World,
    random: Random,
    writers: Vec<Writer>,
    buckets: BucketWriter,
    shared: Arc<Shared>,
    starts: Vec<Duration>,
}

#[test]
fn r1_r3_r9_acknowledged_writes_survive_kills_and_unanswered_ones_do_not_change_their_mind() {
    run(campaign(8, 200..1500));
}

#[test]
#[ignore = "minutes: 100 kills, run by `make soak`"]
fn r1_r3_r9_a_hundred_kills() {
    let kills = std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    run(campaign(kills, 50..4000));
}

/// Kills the server `kills` times after a load of random length (in milliseconds), checking everything at each start.
async fn campaign(kills: usize, load: Range<u64>) {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut campaign = Campaign::new(seed).await;
    for kill in 0..kills {
        let mut server = campaign.start_and_check(kill).await;
        campaign.load(&mut server, load.clone()).await.unwrap_or_else(|e| panic!("seed {seed}, kill {kill}: {e}"));
    }
    let server = campaign.start_and_check(kills).await;
    campaign.check_files(&server).await;
    campaign.empty(&server).await;
    assert_eq!(server.metric("cloudserver_panics_total").await, Some(0.0));
    server.stop().await;
    campaign.report(kills);
}

impl Campaign {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(json!({}));
        world.variables.push(("MPU_TESTING".to_owned(), "yes".to_owned()));
        let server = world.start().await;
        for (bucket, mode) in BUCKETS {
            server.client().create_bucket(bucket).await;
            if mode == Mode::Versioned {
                let request = Request::new("PUT", format!("/{bucket}")).query("versioning", "").body(VERSIONING);
                server.client().send(request).await.unwrap().good("versioning");
            }
        }
        server.stop().await;
        let shared = Arc::<Shared>::default();
        let writer = |number| Writer::new(number, seed, BUCKETS, Arc::clone(&shared));
        Self {
            world,
            random: Random::new(seed),
            writers: (0..WRITERS).map(writer).collect(),
            buckets: BucketWriter::new(seed, Arc::clone(&shared)),
            shared,
            starts: Vec::new(),
        }
    }

    /// Starts a server and compares all that it shows with all that may be. Now and then it is killed while it
    /// recovers, or right after it has been looked at: that changes nothing.
    async fn start_and_check(&mut self, kill: usize) -> Server {
        while self.random.chance(15) {
            let mut server = self.world.start().await;
            self.starts.push(server.start_took);
            if self.random.chance(50) {
                self.check(&server).await.unwrap_or_else(|e| panic!("start {kill}, killed again: {e}"));
            }
            tokio::time::sleep(Duration::from_millis(self.random.within(0..100))).await;
            server.kill();
        }
        let server = self.world.start().await;
        self.starts.push(server.start_took);
        self.check(&server).await.unwrap_or_else(|e| panic!("start {kill}: {e}\n{}", server.log()));
        let log = server.log();
        assert!(!log.contains(r#""level":"error""#), "a restart needs no repair: {log}");
        server
    }

    /// Lets the writers work for a while, then kills the server under them.
    async fn load(&mut self, server: &mut Server, load: Range<u64>) -> Result<(), Violation> {
        let client = server.client();
        let mut tasks = tokio::task::JoinSet::new();
        for mut writer in self.writers.drain(..) {
            let client = client.clone();
            tasks.spawn(async move {
                let ended = writer.work(&client).await;
                (writer, ended)
            });
        }
        let work = async {
            tokio::time::sleep(Duration::from_millis(self.random.within(load))).await;
            server.kill();
            tasks.join_all().await
        };
        let (buckets, writers) = tokio::join!(self.buckets.work(&client), work);
        let ended: Result<Vec<()>, _> = writers
            .into_iter()
            .map(|(writer, ended)| {
                self.writers.push(writer);
                ended
            })
            .collect();
        ended.and(buckets)
    }

    async fn check(&mut self, server: &Server) -> Result<(), Violation> {
        let client = server.client();
        self.buckets.check(&client).await?;
        let mut seen = BTreeMap::new();
        let known = self.shared.known.lock().unwrap().clone();
        for (bucket, mode) in BUCKETS {
            let states = observe::bucket(&client, bucket, mode, &known).await?;
            seen.extend(states.into_iter().map(|(key, state)| (format!("/{bucket}/{key}"), state)));
        }
        for key in self.writers.iter_mut().flat_map(|writer| &mut writer.keys) {
            let state = seen.remove(&key.path()).unwrap_or_default();
            if state.current().is_none() && client.get(&key.path()).await.unwrap().status != 404 {
                return Err(Violation(format!("{} is not listed, but can be read", key.path())));
            }
            key.history.observe(&state).map_err(|e| Violation(format!("{}: {e}", key.path())))?;
        }
        if seen.is_empty() { Ok(()) } else { Err(Violation(format!("keys that nobody wrote: {seen:?}"))) }
    }

    fn states(&self) -> impl Iterator<Item = &State> {
        self.writers.iter().flat_map(|writer| &writer.keys).map(|key| key.history.state().unwrap())
    }

    /// Once garbage is collected, there is a file for each body too large for the metadata store, and no other.
    async fn check_files(&self, server: &Server) {
        let is_file = |tag: &&Tag| tag.length > INLINE;
        let files: usize = self
            .states()
            .map(|state| {
                let versions = state.versions.iter().filter_map(|version| match &version.what {
                    What::Object(tags) => Some(tags),
                    What::Marker => None,
                });
                versions.flatten().filter(is_file).count()
                    + state.uploads.values().flat_map(BTreeMap::values).filter(is_file).count()
            })
            .sum();
        assert!(files > 0, "the load made no files");
        until(&format!("{files} files"), || blob_files(&self.world.data) == files).await;
        let objects = self.states().filter(|state| state.current().is_some()).count();
        let objects = f64::from(u32::try_from(objects).unwrap());
        server.until_metric("s3_cloudserver_objects_count", objects).await;
        assert_eq!(blob_files(&self.world.data), files);
    }

    /// After everything is deleted, nothing is left.
    async fn empty(&mut self, server: &Server) {
        let client = server.client();
        for key in self.writers.iter().flat_map(|writer| &writer.keys) {
            remove(&client, &key.path(), key.history.state().unwrap()).await;
        }
        server.until_metric("s3_cloudserver_objects_count", 0.0).await;
        server.until_metric("cloudserver_garbage_pending", 0.0).await;
        assert_eq!(blob_files(&self.world.data), 0, "garbage drains to zero");
        self.buckets.remove_all(&client).await;
        for (bucket, _) in BUCKETS {
            client.delete(&format!("/{bucket}")).await.unwrap().good("an empty bucket can be deleted");
        }
    }

    fn report(&mut self, kills: usize) {
        self.starts.sort();
        let at = |part: usize| self.starts[(self.starts.len() - 1) * part / 100].as_millis();
        println!(
            "{kills} kills under load, {} starts; {} changes acknowledged, {} of unknown outcome, {} reads checked",
            self.starts.len(),
            self.shared.acknowledged.load(Ordering::Relaxed),
            self.shared.unknown.load(Ordering::Relaxed),
            self.shared.reads.load(Ordering::Relaxed),
        );
        println!("restart to first connection: median {} ms, p95 {} ms, most {} ms", at(50), at(95), at(100));
    }
}

/// Deletes a key's versions and uploads.
async fn remove(client: &Client, path: &str, state: &State) {
    for upload in state.uploads.keys() {
        let request = Request::new("DELETE", path).query("uploadId", upload);
        client.send(request).await.unwrap().good("abort");
    }
    for version in &state.versions {
        let request = Request::new("DELETE", path);
        let request = match &version.id {
            Some(id) => request.query("versionId", id),
            None => request,
        };
        client.send(request).await.unwrap().good("delete");
    }
}
