//! The rules for the `details` of locations in stores that know files only: `webdav`, `webhdfs`, `sftp`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    env::Environment,
    error::ConfigError,
    location_details::Checked,
    locations::{Entry, Location, LocationKind},
};

/// Variables `<location>_<suffix>` and the details they override.
const WEBDAV_VARIABLES: [(&str, &str); 3] =
    [("WEBDAV_USERNAME", "username"), ("WEBDAV_PASSWORD", "password"), ("WEBDAV_TOKEN", "token")];
const WEBHDFS_VARIABLES: [(&str, &str); 2] = [("WEBHDFS_USERNAME", "username"), ("WEBHDFS_TOKEN", "token")];
const SFTP_VARIABLES: [(&str, &str); 3] =
    [("SFTP_USERNAME", "username"), ("SFTP_PASSWORD", "password"), ("SFTP_PASSPHRASE", "passphrase")];

/// Where a location of one of these kinds is.
const PLACE: [&str; 5] = ["url", "endpoint", "host", "port", "path"];

impl Checked<'_> {
    /// A collection of a WebDAV server.
    pub(super) fn webdav(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        self.override_with(environment, &WEBDAV_VARIABLES);
        self.texts(&["url", "username", "password", "passwordFile", "token", "tokenFile"])?;
        self.address("url")?;
        self.secrets(&["password", "token"])?;
        let (user, password, token) = (self.has("username"), self.has_secret("password"), self.has_secret("token"));
        if user != password || (user && token) {
            return Err(self.refuse(
                "username and password must come together, and not beside a token",
                "write username and password (or passwordFile), or token (or tokenFile), or none of them",
            ));
        }
        match self.text("username").filter(|user| user.contains(':')) {
            Some(_) => Err(self.refuse("username must have no colon", "HTTP cannot carry one")),
            None => Ok(()),
        }
    }

    /// A directory of an HDFS cluster.
    pub(super) fn webhdfs(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        self.override_with(environment, &WEBHDFS_VARIABLES);
        self.texts(&["endpoint", "path", "username", "token", "tokenFile"])?;
        self.address("endpoint")?;
        let path = self.mandatory("path")?;
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || has_dots(path) {
            return Err(self.refuse(
                format!("path \"{path}\" must be the absolute path of a directory below the root"),
                "write such as \"/cloudserver\"",
            ));
        }
        self.secrets(&["token"])?;
        if self.has("username") && self.has_secret("token") {
            return Err(self.refuse("username and token exclude each other", "keep one: a token names its user"));
        }
        Ok(())
    }

    /// A folder of an SSH server.
    pub(super) fn sftp(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        self.override_with(environment, &SFTP_VARIABLES);
        let texts = ["host", "path", "username", "password", "passwordFile", "privateKeyFile", "passphrase"];
        self.texts(&texts)?;
        self.texts(&["passphraseFile", "hostKey", "knownHostsFile"])?;
        let host = self.mandatory("host")?;
        if host.contains(['/', '@', ' ']) {
            return Err(self.refuse("host must be a name or an address alone", "write the port as \"port\": 22"));
        }
        let port = self.get("port");
        if port.is_some_and(|port| port.as_u64().is_none_or(|port| !(1..=65_535).contains(&port))) {
            return Err(self.refuse("port must be a number from 1 to 65535", "write it without quotes, or remove it"));
        }
        self.mandatory("username")?;
        if has_dots(self.mandatory("path")?) {
            return Err(self.refuse("path must have no parts \".\" or \"..\"", "write the folder's own path"));
        }
        self.secrets(&["password", "passphrase"])?;
        if self.has_secret("password") == self.has("privateKeyFile") {
            return Err(self.refuse(
                "password or privateKeyFile is mandatory, and they exclude each other",
                "write privateKeyFile (with passphrase, if it has one), or password or passwordFile",
            ));
        }
        self.host_key()
    }

    /// Without a key to know the server by, anybody could be it.
    fn host_key(&self) -> Result<(), ConfigError> {
        let key = self.text("hostKey");
        if key.is_some() == self.has("knownHostsFile") {
            return Err(self.refuse(
                "hostKey or knownHostsFile is mandatory, and they exclude each other",
                "write as hostKey what `ssh-keyscan` shows behind the host's name, or a fingerprint SHA256:…",
            ));
        }
        let known = |key: &str| ["SHA256:", "ssh-ed25519 ", "ecdsa-sha2-"].iter().any(|start| key.starts_with(start));
        if key.is_some_and(|key| !known(key)) {
            return Err(self.refuse(
                "hostKey must be an Ed25519 or ECDSA key, or a fingerprint",
                "write \"ssh-ed25519 AAAA…\", or \"SHA256:…\"",
            ));
        }
        Ok(())
    }

    fn address(&self, key: &str) -> Result<(), ConfigError> {
        let address = self.mandatory(key)?;
        let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let plain = |rest: &str| !rest.starts_with(['/', ':']) && rest.bytes().all(|byte| byte.is_ascii_graphic());
        let well = rest.is_some_and(|rest| !rest.is_empty() && plain(rest) && !rest.contains(['?', '#', '@']));
        if well && address.parse::<http::Uri>().is_ok() {
            return Ok(());
        }
        // An address may hold a password.
        Err(self.refuse(
            format!("{key} must be an address that begins with http:// or https://, without user and question mark"),
            "write such as \"https://host/folder\"; user and password have keys of their own",
        ))
    }

    fn has_secret(&self, key: &str) -> bool {
        self.has(key) || self.has(&format!("{key}File"))
    }

    /// Each secret stands here or in a file, and is one that a header can have.
    fn secrets(&self, keys: &[&str]) -> Result<(), ConfigError> {
        for key in keys {
            if self.has(key) && self.has(&format!("{key}File")) {
                return Err(self.refuse(format!("{key} and {key}File exclude each other"), "keep one"));
            }
            if self.text(key).is_some_and(|secret| secret.is_empty() || secret.chars().any(char::is_control)) {
                return Err(self.refuse(format!("{key} must have no control characters"), "write it in one line"));
            }
        }
        Ok(())
    }
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "." | "..")) || path.contains('\0')
}

/// Two locations in one folder would take each other's blobs for their own.
pub(super) fn keep_apart(file: &str, by_name: &BTreeMap<String, Arc<Location>>) -> Result<(), ConfigError> {
    let ours =
        |place: &Location| matches!(place.kind, LocationKind::WebDav | LocationKind::WebHdfs | LocationKind::Sftp);
    let mut seen = BTreeMap::new();
    for place in by_name.values().filter(|place| ours(place)) {
        let text =
            |key| place.details.get(key).map(|value: &Value| value.to_string().trim_end_matches(['/', '"']).to_owned());
        if let Some(other) = seen.insert((place.kind, PLACE.map(text)), &place.name) {
            let entry = Entry { file, name: &place.name };
            return Err(entry.refuse(
                format!("is in the same folder as location \"{other}\""),
                "give each location a folder of its own",
            ));
        }
    }
    Ok(())
}
