//! Front, data module and metadata module as three processes: the modules are killed under load, and what was
//! acknowledged is there.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{
    client::{Client, Request},
    machine::blob_files,
    random::Random,
    run,
    server::{PATIENCE, World, binary, free_port, until},
};

/// Sizes of bodies: beside their metadata, and in the data module.
const SIZES: [usize; 3] = [100, 100_000, 700_000];

/// The largest body that is kept beside its metadata.
const INLINE: usize = 64 << 10;

/// A module's process; killed when dropped.
struct Module {
    role: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Module {
    async fn start(world: &World, role: &'static str, address: SocketAddr) -> Self {
        let (name, admin) = (format!("{role}.json"), free_port());
        let daemon = json!({"bindAddress": address.ip().to_string(), "port": address.port()});
        let config = json!({
            "restEndpoints": { "localhost": "us-east-1" },
            "metricsListenOn": [admin.to_string()],
            "log": { "logLevel": "warn", "dumpLevel": "error" },
            "dataDaemon": daemon,
            "metadataDaemon": daemon,
            "cloudserver": { "moduleToken": "a secret of theirs" },
        });
        world.write(&name, &config);
        let out = File::options().create(true).append(true).open(world.path().join(format!("{role}.log"))).unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--role", role, "--config"]).arg(world.path().join(&name));
        command.arg("--data").arg(world.path().join("module-data"));
        command.arg("--metadata").arg(world.path().join("module-metadata"));
        command.current_dir(world.path()).env_clear();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let mut child = command.spawn().unwrap();
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the {role} module ended: see {}", world.path().display());
            assert!(begin.elapsed() < PATIENCE, "the {role} module does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { role, address, child }
    }

    /// Ends it without a warning, and starts it anew on the same folder and port.
    async fn kill(mut self, world: &World, pause: Duration) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        tokio::time::sleep(pause).await;
        Self::start(world, self.role, self.address).await
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes that tell which object they are of.
fn body(key: &str, size: usize) -> Vec<u8> {
    key.bytes().chain([b'\n']).cycle().take(size).collect()
}

/// Writers of keys of their own.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<BTreeMap<String, usize>>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let acknowledged = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..6_usize {
            let (client, stop, done) = (client.clone(), Arc::clone(&stop), Arc::clone(&done));
            let acknowledged = Arc::clone(&acknowledged);
            tasks.spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (key, size) = (format!("w{writer}-{number:05}"), SIZES[(writer + number) % SIZES.len()]);
                    // No answer and a 503 are fine: nothing was promised.
                    if let Ok(answer) = client.put(&format!("/bucket/{key}"), body(&key, size)).await
                        && answer.status == 200
                    {
                        acknowledged.lock().unwrap().insert(key, size);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Self { stop, done, acknowledged, tasks }
    }

    /// Waits until writes have been acknowledged again.
    async fn goes_on(&self) {
        let now = self.done.load(Ordering::Relaxed);
        until("the load goes on", || self.done.load(Ordering::Relaxed) > now + 12).await;
    }

    async fn end(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Returns how many objects are there whose bytes are in the data module.
async fn check(client: &Client, acknowledged: &BTreeMap<String, usize>) -> usize {
    for (key, size) in acknowledged {
        let answer = client.get(&format!("/bucket/{key}")).await.unwrap().good(key);
        assert!(answer.body == body(key, *size), "{key} of {size} bytes reads back otherwise");
    }
    let (mut listed, mut marker) = (Vec::new(), String::new());
    loop {
        let request = Request::new("GET", "/bucket").query("marker", &marker);
        let page = client.send(request).await.unwrap().good("a listing");
        let keys: Vec<String> =
            page.text().split("<Key>").skip(1).map(|rest| rest[..rest.find('<').unwrap()].into()).collect();
        let Some(last) = keys.last() else { break };
        marker.clone_from(last);
        listed.extend(keys);
    }
    for key in acknowledged.keys() {
        assert!(listed.contains(key), "{key} is listed");
    }
    let mut large = acknowledged.values().filter(|size| **size > INLINE).count();
    for key in listed.iter().filter(|key| !acknowledged.contains_key(*key)) {
        let answer = client.get(&format!("/bucket/{key}")).await.unwrap().good("an object whose PUT was not answered");
        assert!(answer.body == body(key, answer.body.len()) && SIZES.contains(&answer.body.len()), "{key} is whole");
        large += usize::from(answer.body.len() > INLINE);
    }
    large
}

async fn front(world: &mut World, data: SocketAddr, metadata: SocketAddr) -> crate::support::server::Server {
    let client = |address: SocketAddr| json!({"host": address.ip().to_string(), "port": address.port()});
    world.config = json!({"dataClient": client(data), "metadataClient": client(metadata)});
    world.start().await
}

#[test]
fn modules_killed_under_load_lose_nothing_acknowledged_and_the_front_lives_on() {
    run(async {
        let own: Value = json!({"role": "front", "moduleToken": "a secret of theirs"});
        let (mut world, seed) = (World::new(own), Random::seed());
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut data = Module::start(&world, "data", free_port()).await;
        let mut metadata = Module::start(&world, "metadata", free_port()).await;
        let mut server = front(&mut world, data.address, metadata.address).await;
        server.client().create_bucket("bucket").await;
        let load = Load::start(&server.client());
        load.goes_on().await;
        for _ in 0..2 {
            let pause = Duration::from_millis(random.within(0..1500));
            data = data.kill(&world, pause).await;
            load.goes_on().await;
            let pause = Duration::from_millis(random.within(0..1500));
            metadata = metadata.kill(&world, pause).await;
            load.goes_on().await;
        }
        assert!(server.has_ended().is_none(), "the front lives on\n{}", server.log());
        let acknowledged = load.end().await;
        println!("{} objects were acknowledged", acknowledged.len());
        check(&server.client(), &acknowledged).await;
        assert_eq!(server.admin("/ready").await.unwrap().0, 200);

        // The front goes, too; the next one finds what unfinished writes left, and takes over.
        server.kill();
        let server = front(&mut world, data.address, metadata.address).await;
        let large = check(&server.client(), &acknowledged).await;
        server.until_metric("cloudserver_garbage_pending", 0.0).await;
        let folder = world.path().join("module-data");
        until("no blob is left that no object names", || blob_files(&folder) == large).await;
        assert_eq!(server.metric("cloudserver_panics_total").await, Some(0.0));
        server.stop().await;
    });
}
