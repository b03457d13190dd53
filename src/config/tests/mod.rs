//! The rules and start-up errors of the whole configuration, on folders of their own.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Config, ConfigError, Environment, Launch, ListenOrigin, Options};

mod accounts;
mod modules;
mod places;
mod reloads;
mod rules;
mod sources;
mod variables;

const CONFIG: &str = include_str!("../../../config.json");
const LOCATIONS: &str = include_str!("../../../locationConfig.json");
const ACCOUNTS: &str = include_str!("../../../conf/authdata.json");

/// An install root with the three shipped files, to be changed at will.
struct Install {
    folder: TempDir,
    launch: Launch,
}

impl Install {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("conf")).unwrap();
        let install = Self { launch: Launch { roots: vec![folder.path().into()], ..Launch::default() }, folder };
        install.write("config.json", CONFIG);
        install.write("locationConfig.json", LOCATIONS);
        install.write("conf/authdata.json", ACCOUNTS);
        install
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Merges `change` into a file: objects key by key, everything else as a whole; `null` removes.
    fn change(self, name: &str, change: &Value) -> Self {
        let mut value: Value = serde_json::from_str(&fs::read_to_string(self.path(name)).unwrap()).unwrap();
        merge(&mut value, change);
        self.write(name, &value.to_string());
        self
    }

    fn config(self, change: &Value) -> Self {
        self.change("config.json", change)
    }

    fn location(self, name: &str, entry: &Value) -> Self {
        self.change("locationConfig.json", &json!({ name: entry }))
    }

    fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.launch.environment = pairs.iter().copied().collect();
        self
    }

    fn options(mut self, options: Options) -> Self {
        self.launch.options = options;
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.launch).unwrap()
    }

    fn error(&self) -> ConfigError {
        Config::load(&self.launch).unwrap_err()
    }

    /// The error's text: one line, beginning as the rule says, naming the file and saying what to do.
    fn assert_error(&self, begins: &str, file: &str) {
        let text = self.error().to_string();
        assert!(text.starts_with(begins), "{text:?} does not begin with {begins:?}");
        assert!(!text.contains('\n'), "{text:?} has several lines");
        assert!(text.contains(file), "{text:?} does not name {file:?}");
    }
}

fn merge(value: &mut Value, change: &Value) {
    let (Value::Object(map), Value::Object(changes)) = (&mut *value, change) else {
        *value = change.clone();
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key).or_insert_with(|| json!({})), change);
        }
    }
}

fn addresses(texts: &[&str]) -> Vec<std::net::SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn shipped_files_load_without_a_warning() {
    let config = Install::new().load();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.locations.iter().count(), 18);
    assert_eq!(config.accounts.iter().count(), 5);
    assert_eq!(config.rest_endpoints.len(), 8);
    assert!(config.rest_endpoints.values().all(|location| location == "us-east-1"));
    assert_eq!(config.website_endpoints.len(), 14);
}

#[test]
fn debug_output_of_a_configuration_has_no_secret() {
    let install = Install::new()
        .location(
            "far",
            &json!({
                "type": "aws_s3", "objectId": "far", "legacyAwsBehavior": false,
                "details": {"credentials": {"accessKey": "a", "secretKey": "TopSecret1"}},
            }),
        )
        .env(&[("REDIS_PASSWORD", "TopSecret2")]);
    let config = install.load();
    let custom = install.env(&[("SCALITY_ACCESS_KEY_ID", "a"), ("SCALITY_SECRET_ACCESS_KEY", "TopSecret3")]).load();
    let text = format!("{config:?} {:?} {custom:?}", config.reloadable());
    for secret in ["TopSecret", "verySecretKey1", "verySecretKey2", "cluesoSecretKey1"] {
        assert!(!text.contains(secret), "{secret} shows in {text}");
    }
}
