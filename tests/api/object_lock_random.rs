//! Random requests by everybody against versions that must not go: the owner, an account with every grant, somebody
//! without credentials, a service account.
//!
//! The engine's own test (`storage::tests::lock`) does the same with the clock set back and over restarts.

use std::{fs, net::SocketAddr};

use cloudserver::config::{Config, Launch, Options};

use crate::{
    multipart::Upload,
    support::{
        client::{Call, Client},
        world::{LISA, World, folder},
    },
};

const REQUESTS: usize = 10_000;
const DATE: &str = "2100-01-02T03:04:05.000Z";
/// All are seen again after so many requests.
const CHECKED: usize = 500;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, faces: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % faces).unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Compliance,
    Governance,
    Held,
}

/// A version that must stay, as long as nobody who may does what lifts its lock.
#[derive(Debug)]
struct Locked {
    target: String,
    key: &'static str,
    id: String,
    kind: Kind,
    body: String,
}

/// A world in which a service account can sign.
async fn world() -> World {
    let folder = folder();
    let path = folder.path().join("authdata.json");
    let accounts = include_str!("../../conf/authdata.json").replace("lifecycleSecretKey1", "another secret");
    fs::write(&path, accounts).unwrap();
    let launch = Launch {
        options: Options { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Options::default() },
        environment: [("S3BACKEND", "mem"), ("S3AUTH_CONFIG", path.to_str().unwrap())].into_iter().collect(),
        ..Launch::default()
    };
    let mut loaded = Config::load(&launch).unwrap();
    loaded.admin_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    loaded.mpu_testing = true;
    World::with(|config| *config = loaded).await
}

async fn locked_versions(bart: &Client) -> Vec<Locked> {
    let mut all = Vec::new();
    for (number, key) in ["a", "b", "c", "a", "b"].into_iter().enumerate() {
        for kind in [Kind::Compliance, Kind::Governance, Kind::Held] {
            let body = format!("{kind:?} {number}").repeat(1 + number * 2000);
            let until = ("x-amz-object-lock-retain-until-date", DATE);
            let headers = match kind {
                Kind::Compliance => vec![("x-amz-object-lock-mode", "COMPLIANCE"), until],
                Kind::Governance => vec![("x-amz-object-lock-mode", "GOVERNANCE"), until],
                Kind::Held => vec![("x-amz-object-lock-legal-hold", "ON")],
            };
            let grant = ("x-amz-grant-full-control", format!("id={LISA}"));
            let call = bart.put(&format!("/lock/{key}"), &body).headers(&headers).header(grant.0, grant.1).digested();
            let id = call.expect(200).await.header("x-amz-version-id").unwrap().to_owned();
            all.push(Locked { target: format!("/lock/{key}?versionId={id}"), key, id, kind, body });
        }
    }
    all
}

async fn verify(bart: &Client, all: &[Locked]) {
    for locked in all {
        let reply = bart.get(&locked.target).expect(200).await.body_is(&locked.body);
        match locked.kind {
            Kind::Compliance => drop(reply.has("x-amz-object-lock-mode", "COMPLIANCE")),
            Kind::Governance => assert!(reply.header("x-amz-object-lock-mode").is_some(), "{reply}"),
            Kind::Held => drop(reply.has("x-amz-object-lock-legal-hold", "ON")),
        }
    }
}

/// A request that would harm `locked` if it could. `trusted` callers may lift holds and GOVERNANCE: they try the rest.
fn attack(client: &Client, locked: &Locked, trusted: bool, dice: &mut Dice) -> Call {
    let may_lift = trusted && locked.kind != Kind::Compliance;
    let bypass = |call: Call| if may_lift { call } else { call.header("x-amz-bypass-governance-retention", "true") };
    let Locked { target, key, id, .. } = locked;
    let date = ["2099-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2000-01-01T00:00:00Z"][dice.roll(3)];
    match dice.roll(12) {
        0..3 => bypass(client.delete(target)),
        3 => {
            let entry = format!("<Object><Key>{key}</Key><VersionId>{id}</VersionId></Object>");
            bypass(client.post("/lock?delete", format!("<Delete>{entry}{entry}</Delete>")).digested())
        }
        4 => bypass(client.put(&format!("{target}&retention"), "<Retention/>").digested()),
        5 => {
            let mode = ["GOVERNANCE", "COMPLIANCE"][dice.roll(2)];
            let document =
                format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{date}</RetainUntilDate></Retention>");
            bypass(client.put(&format!("{target}&retention"), document).digested())
        }
        6 => {
            let hold = if trusted { "ON" } else { "OFF" };
            let document = format!("<LegalHold><Status>{hold}</Status></LegalHold>");
            let target = if trusted && locked.kind != Kind::Held { "/lock/none" } else { target };
            client
                .put(&format!("{target}{}legal-hold", if target.contains('?') { '&' } else { '?' }), document)
                .digested()
        }
        7 => client.put(&format!("/lock/{key}"), "over it"),
        8 => client
            .put(&format!("/lock/{key}"), "")
            .header("x-amz-copy-source", format!("/lock/{key}?versionId={id}"))
            .header("x-amz-metadata-directive", "REPLACE"),
        9 => client.delete(&format!("/lock/{key}")),
        10 => [
            client.put(
                "/lock?versioning",
                "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
            ),
            client.delete("/lock"),
            client
                .put(
                    "/lock?object-lock",
                    "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
                )
                .digested(),
        ][dice.roll(3)]
        .clone(),
        _ => client.put(&format!("{target}&tagging"), "<Tagging><TagSet/></Tagging>"),
    }
}

#[tokio::test]
async fn no_sequence_of_requests_by_anybody_removes_or_changes_a_locked_version() {
    let world = world().await;
    let bart = world.bart();
    bart.put("/lock", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let all = locked_versions(&bart).await;
    bart.put("/lock?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    let service = world.client("lifecycleKey1", "another secret");
    service.get("/lock").expect(200).await;
    let callers = [(&bart, true), (&world.lisa(), false), (&world.nobody(), false), (&service, true)];
    let mut dice = Dice(0x5eed_10c4);
    let mut refused = 0;
    for step in 1..=REQUESTS {
        let (client, trusted) = callers[dice.roll(4)];
        let locked = &all[dice.roll(all.len() as u64)];
        let reply = attack(client, locked, trusted, &mut dice).send().await;
        assert!(reply.status < 500, "{reply}");
        refused += usize::from(matches!(reply.status, 403 | 409));
        if step % CHECKED == 0 {
            verify(&bart, &all).await;
            let upload = Upload::begin(&bart, "/lock/a").await;
            let etag = upload.part(1, "over it").await;
            upload.complete(&[(1, &etag)]).expect(200).await;
        }
    }
    verify(&bart, &all).await;
    assert!(refused > REQUESTS / 4, "{refused} were refused");
    world.sound().await;
}
