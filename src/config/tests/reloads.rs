//! What a reload changes, and what it refuses; and what the operator is shown.

use super::{ACCOUNTS, CONFIG, Install, Options, json};
use crate::config::{banner, shared_credentials};

const OWN: &str = r#"{"accounts": [{"name": "a", "email": "a@b.test", "arn": "arn:aws:iam::000000000001:root",
    "canonicalID": "c", "shortid": "000000000001", "keys": [{"access": "own", "secret": "own"}]}]}"#;

#[test]
fn reload_takes_new_accounts_locations_and_endpoints() {
    let install = Install::new();
    let config = install.load();
    let before = config.reloadable();
    let install = install
        .change("locationConfig.json", &json!({"EU": null, "sa-east-1": null}))
        .location("moon", &json!({"type": "file", "objectId": "m", "legacyAwsBehavior": false, "details": {}}))
        .config(&json!({"restEndpoints": {"moon.test": "moon"}}));
    install.write("conf/authdata.json", OWN);
    let after = config.reload(&before).unwrap();
    assert_eq!(after.removed_locations, ["EU", "sa-east-1"]);
    assert!(after.snapshot.locations.contains("moon"));
    assert_eq!(after.snapshot.rest_endpoints["moon.test"], "moon");
    assert!(after.snapshot.accounts.by_access_key("own").is_some());
    assert!(before.accounts.by_access_key("accessKey1").is_some(), "the old set is as it was");
}

#[test]
fn broken_file_leaves_the_old_set_in_force() {
    let install = Install::new();
    let config = install.load();
    let current = config.reloadable();
    install.write("config.json", "{");
    assert!(config.reload(&current).unwrap_err().to_string().contains("is not valid JSON"));
    install.write("config.json", CONFIG);
    assert_eq!(config.reload(&current).unwrap().removed_locations, Vec::<String>::new());
}

#[test]
fn reload_does_not_open_shipped_credentials_to_the_network() {
    let install = Install::new();
    install.write("conf/authdata.json", OWN);
    let config = install.load();
    install.write("conf/authdata.json", ACCOUNTS);
    let error = config.reload(&config.reloadable()).unwrap_err().to_string();
    assert!(error.contains("listens beyond this machine"), "{error}");
}

#[test]
fn reload_in_production_refuses_shipped_credentials() {
    let install = Install::new().config(&json!({"cloudserver": {"production": true}, "listenOn": ["127.0.0.1:1"]}));
    install.write("conf/authdata.json", OWN);
    let config = install.load();
    install.write("conf/authdata.json", ACCOUNTS);
    install.write("config.json", CONFIG);
    let error = config.reload(&config.reloadable()).unwrap_err().to_string();
    assert!(error.starts_with("bad config: production mode refuses"), "{error}");
}

#[test]
fn banner_tells_what_is_served_and_warns_of_shared_credentials() {
    let mut install = Install::new();
    install.launch.options = Options { data: Some("/d".into()), metadata: Some("/m".into()), ..Options::default() };
    let text = banner(&install.load());
    for part in [
        "http://127.0.0.1:8000 http://[::1]:8000 (this machine only)",
        "http://127.0.0.1:8002",
        "/d (locations of type file)",
        "/m (RocksDB)",
        "strict: what was acknowledged survives a power cut",
        "WARNING: the secrets of access keys accessKey1, accessKey2 are public knowledge",
        "SCALITY_ACCESS_KEY_ID",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("verySecretKey"));
    let own = install.env(&[("SCALITY_ACCESS_KEY_ID", "a"), ("SCALITY_SECRET_ACCESS_KEY", "b")]).load();
    assert_eq!(shared_credentials(&own), None);
    assert!(!banner(&own).contains("WARNING"));
}

#[test]
fn banner_is_honest_about_durability() {
    let relaxed = Install::new().change("locationConfig.json", &json!({"EU": {"durability": "relaxed"}})).load();
    assert!(banner(&relaxed).contains("strict, but relaxed (a power cut may lose what was acknowledged) in EU"));
    let no_sync = Install::new().env(&[("S3DATA_NOSYNC", "true")]).load();
    assert!(banner(&no_sync).contains("relaxed: a power cut may lose"));
    let memory = Install::new().env(&[("S3BACKEND", "mem")]).load();
    assert!(banner(&memory).contains("none: what is in memory is gone when the server ends"));
}
