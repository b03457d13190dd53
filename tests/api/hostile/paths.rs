//! Names that would lead out of their bucket if somebody took them for paths.

use std::{collections::BTreeSet, fs, path::Path};

use cloudserver::config::DataKind;

use crate::support::world::{World, folder, path};

const TRAVERSALS: [&str; 20] = [
    "../../../../etc/passwd",
    "..",
    "../",
    "./../x",
    "a/../../b",
    "..\\..\\windows",
    "/etc/passwd",
    "//etc//passwd",
    "....//....//etc",
    "%2e%2e%2fetc",
    "..%00/x",
    "a\0b",
    "C:\\boot.ini",
    "~root/.ssh",
    "$HOME",
    "`id`",
    "; rm -rf /",
    "\u{202e}txt.exe",
    "con.txt",
    "users..bucket",
];

fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn keys_never_become_names_of_files() {
    let outer = folder();
    let data = outer.path().join("data");
    let world = World::with(|config| {
        config.data = DataKind::File;
        config.data_path.clone_from(&data);
    })
    .await;
    let bart = world.bucket("paths").await;
    let mut before = BTreeSet::new();
    files(outer.path(), &mut before);
    let body = vec![b'k'; 100_000];
    for key in TRAVERSALS {
        bart.put(&path("paths", key), &body).expect(200).await;
        bart.get(&path("paths", key)).expect(200).await.body_is(&body);
    }
    let mut after = BTreeSet::new();
    files(outer.path(), &mut after);
    let new: Vec<&String> = after.difference(&before).collect();
    assert_eq!(new.len(), TRAVERSALS.len(), "{new:?}");
    for file in new {
        assert!(file.starts_with(data.to_str().unwrap()), "{file}");
        let name = file.rsplit('/').next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{name}");
        assert!(!TRAVERSALS.iter().any(|key| key.contains(name)), "{name}");
    }
    for key in TRAVERSALS {
        bart.delete(&path("paths", key)).expect(204).await;
    }
    world.drained().await;
    let mut left = BTreeSet::new();
    files(outer.path(), &mut left);
    assert_eq!(left, before, "every file is freed");
    world.sound().await;
}

#[tokio::test]
async fn no_spelling_leads_into_another_bucket() {
    let world = World::new().await;
    let (bart, lisa) = (world.bucket("barts").await, world.lisa());
    lisa.put("/lisas", "").expect(200).await;
    lisa.put("/lisas/secret", "hers").expect(200).await;
    bart.put("/barts/a", "his").expect(200).await;
    let before = world.stored().await;
    for sent in [
        "/barts/../lisas/secret",
        "/barts/%2e%2e/lisas/secret",
        "/barts/..%2Flisas%2Fsecret",
        "/barts/a/../../lisas/secret",
        "/./lisas/secret",
        "/barts/%2E%2E%2Flisas/secret",
        "/barts\\..\\lisas\\secret",
    ] {
        // Signed for what the path means to S3.
        let meant = sent.replace("%2e", ".").replace("%2E", ".").replace("%2F", "/").replace('\\', "%5C");
        for method in ["GET", "DELETE"] {
            let reply = bart.call(method, &meant).spoiled(|request| request.target = sent.to_owned()).await;
            assert_ne!(reply.body, b"hers", "{sent}");
            assert!(matches!(reply.status, 204 | 400 | 403 | 404), "{sent}: {reply}");
        }
        before.assert_same(&world.stored().await, sent);
    }
    for source in [
        "/barts/../lisas/secret",
        "barts/%2e%2e/lisas/secret",
        "barts%2F..%2Flisas%2Fsecret",
        "../lisas/secret",
        "./lisas/secret",
        "lisas/secret",
        "/lisas/secret",
        "//lisas/secret",
        "lisas%2Fsecret",
        "http://localhost/lisas/secret",
        "barts/a?versionId=../../lisas/secret",
        "barts/a?versionId=null&x=/lisas/secret",
    ] {
        let reply = bart.put("/barts/to", "").header("x-amz-copy-source", source).send().await;
        assert!(matches!(reply.status, 400 | 403 | 404), "{source}: {reply}");
        before.assert_same(&world.stored().await, source);
    }
    world.sound().await;
}

#[tokio::test]
async fn internal_name_spaces_are_no_buckets() {
    let world = World::new().await;
    let bart = world.bucket("outside").await;
    bart.put("/outside/a", "x").expect(200).await;
    let before = world.stored().await;
    for name in [
        "__metastore",
        "users..bucket",
        "mpuShadowBucketoutside",
        "..recordLogs",
        "_",
        "_/healthcheck",
        "_/backbeat",
        "system",
        "current",
    ] {
        for method in ["GET", "HEAD", "DELETE", "PUT"] {
            for target in [format!("/{name}"), format!("/{name}/outside"), format!("/{name}?list-type=2")] {
                if name == "_/healthcheck" || matches!((method, name), ("PUT", "system" | "current")) {
                    continue;
                }
                let reply = bart.call(method, &target).send().await;
                assert!(matches!(reply.status, 400 | 404 | 405), "{method} {target}: {reply}");
            }
        }
        before.assert_same(&world.stored().await, name);
    }
    world.sound().await;
}

#[tokio::test]
async fn administration_is_not_on_this_port() {
    let world = World::new().await;
    for target in [
        "/metrics",
        "/live",
        "/ready",
        "/admin",
        "/_/metrics",
        "/_/backbeat/x",
        "/debug/pprof",
        "/minio/health/live",
        "/.env",
        "/server-status",
    ] {
        for client in [world.nobody(), world.bart()] {
            let reply = client.get(target).send().await;
            assert!(matches!(reply.status, 400 | 403 | 404), "{target}: {reply}");
            assert!(!reply.text().contains("cloudserver_"), "{reply}");
        }
    }
    // Only this machine may ask for health, and it learns no more than that.
    let health = world.nobody().get("/_/healthcheck").expect(200).await;
    assert!(!health.text().contains("verySecret"), "{health}");
}
