//! The rules for a location's `details`, kind by kind.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    env::Environment,
    error::ConfigError,
    locations::{Entry, LocationKind},
};
use crate::types::BucketName;

/// Applies the variables that override details, then checks the details of a location of `kind`.
pub(super) fn check(
    entry: Entry<'_>,
    kind: LocationKind,
    details: Map<String, Value>,
    environment: &Environment,
) -> Result<Map<String, Value>, ConfigError> {
    let mut checked = Checked { entry, details };
    match kind {
        LocationKind::Mem | LocationKind::File | LocationKind::Mongodb => {}
        LocationKind::AwsS3 | LocationKind::Gcp => checked.s3(kind)?,
        LocationKind::Azure | LocationKind::AzureArchive => {
            checked.override_with(environment, &AZURE_VARIABLES);
            checked.azure(kind)?;
        }
        LocationKind::Dmf => checked.dmf()?,
        LocationKind::Scality => checked.scality()?,
        LocationKind::Pfs => checked.pfs(environment)?,
        LocationKind::Posix => checked.posix()?,
        LocationKind::WebDav => checked.webdav(environment)?,
        LocationKind::WebHdfs => checked.webhdfs(environment)?,
        LocationKind::Sftp => checked.sftp(environment)?,
    }
    Ok(checked.details)
}

/// Variables `<location>_<suffix>` and the details they override.
const AZURE_VARIABLES: [(&str, &str); 8] = [
    ("AZURE_STORAGE_ENDPOINT", "azureStorageEndpoint"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "azureStorageAccountName"),
    ("AZURE_STORAGE_ACCESS_KEY", "azureStorageAccessKey"),
    ("AZURE_SAS_TOKEN", "sasToken"),
    ("AZURE_AUTH_METHOD", "authMethod"),
    ("AZURE_TENANT_ID", "tenantId"),
    ("AZURE_CLIENT_ID", "clientId"),
    ("AZURE_CLIENT_KEY", "clientKey"),
];

/// The keys of each way to log in at Azure.
const AZURE_LOGINS: [(&str, &[&str]); 3] = [
    ("shared-key", &["azureStorageAccountName", "azureStorageAccessKey"]),
    ("shared-access-signature", &["sasToken"]),
    ("client-secret", &["tenantId", "clientId", "clientKey"]),
];

/// Details under examination.
pub(super) struct Checked<'a> {
    entry: Entry<'a>,
    details: Map<String, Value>,
}

impl Checked<'_> {
    pub(super) fn refuse(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        self.entry.refuse(problem, remedy)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.details.get(key).is_some_and(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.details.get(key).and_then(Value::as_str)
    }

    pub(super) fn texts(&self, keys: &[&str]) -> Result<(), ConfigError> {
        match keys.iter().find(|key| self.has(key) && self.text(key).is_none()) {
            Some(key) => Err(self.refuse(format!("{key} must be a string"), "write it in quotes")),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.details.get(key).filter(|value| !value.is_null())
    }

    fn flags(&self, keys: &[&str]) -> Result<(), ConfigError> {
        let wrong = |key: &&&str| self.has(key) && !self.details.get(**key).is_some_and(Value::is_boolean);
        match keys.iter().find(wrong) {
            Some(key) => Err(self.refuse(format!("{key} must be a boolean"), "write true or false")),
            None => Ok(()),
        }
    }

    pub(super) fn mandatory(&self, key: &str) -> Result<&str, ConfigError> {
        self.text(key)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.refuse(format!("{key} is mandatory and must be a string"), "add it to details"))
    }

    /// An S3 store, or Google's S3-like one.
    fn s3(&self, kind: LocationKind) -> Result<(), ConfigError> {
        self.texts(&["awsEndpoint", "gcpEndpoint", "bucketName", "mpuBucketName", "credentialsProfile", "region"])?;
        self.flags(&["bucketMatch", "https", "pathStyle", "supportsVersioning", "serverSideEncryption"])?;
        let endpoint = if kind == LocationKind::Gcp { "gcpEndpoint" } else { "awsEndpoint" };
        if self.text(endpoint).is_some_and(|text| text.contains("://")) {
            return Err(self.refuse(
                format!("{endpoint} must be host[:port] without a scheme"),
                "remove http:// or https:// and say \"https\": false or true",
            ));
        }
        self.credentials()
    }

    fn credentials(&self) -> Result<(), ConfigError> {
        let Some(credentials) = self.details.get("credentials").filter(|value| !value.is_null()) else {
            return Ok(());
        };
        let text = |key| credentials.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        if text("accessKey") && text("secretKey") {
            return Ok(());
        }
        Err(self.refuse(
            "credentials must have accessKey and secretKey, both strings",
            "add them, or name a section of ~/.aws/credentials in credentialsProfile",
        ))
    }

    /// Takes details from the variables `<location>_<suffix>`, which win.
    pub(super) fn override_with(&mut self, environment: &Environment, variables: &[(&str, &str)]) {
        for (suffix, key) in variables {
            if let Some(value) = environment.get(&format!("{}_{suffix}", self.entry.name)) {
                self.details.insert((*key).to_owned(), Value::String(value.to_owned()));
            }
        }
    }

    fn azure(&self, kind: LocationKind) -> Result<(), ConfigError> {
        if kind == LocationKind::AzureArchive && self.details.is_empty() {
            return Ok(());
        }
        self.texts(&AZURE_VARIABLES.map(|(_, key)| key))?;
        self.texts(&["azureContainerName"])?;
        self.flags(&["bucketMatch", "https"])?;
        if kind == LocationKind::Azure {
            self.mandatory("azureStorageEndpoint")?;
            let container = self.mandatory("azureContainerName")?;
            if BucketName::new(container).is_err() {
                return Err(self.refuse(
                    format!("azureContainerName \"{container}\" is not a valid container name"),
                    "write 3 to 63 small letters, digits and hyphens",
                ));
            }
        }
        self.azure_account()?;
        self.azure_login(kind)
    }

    fn azure_account(&self) -> Result<(), ConfigError> {
        let name = self.text("azureStorageAccountName").unwrap_or("abc");
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(3..=24).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(self.refuse(
                format!("azureStorageAccountName \"{name}\" is not a valid account name"),
                "write 3 to 24 small letters and digits",
            ));
        }
        let key = self.text("azureStorageAccessKey").unwrap_or_default();
        if base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).is_err() {
            return Err(self.refuse("azureStorageAccessKey is not valid base64", "copy the key from the Azure portal"));
        }
        Ok(())
    }

    /// `authMethod` names one way; without it the keys at hand must be those of one way only.
    fn azure_login(&self, kind: LocationKind) -> Result<(), ConfigError> {
        let named = self.text("authMethod");
        if kind == LocationKind::Azure || named.is_some() {
            let method = named.unwrap_or("shared-key");
            let Some((_, keys)) = AZURE_LOGINS.iter().find(|(name, _)| *name == method) else {
                return Err(self.refuse(
                    format!("authMethod \"{method}\" is unknown"),
                    "write shared-key, shared-access-signature or client-secret",
                ));
            };
            return keys.iter().try_for_each(|key| self.mandatory(key).map(drop));
        }
        let complete = AZURE_LOGINS.iter().filter(|(_, keys)| keys.iter().all(|key| self.has(key))).count();
        match complete {
            1 => Ok(()),
            0 => Err(self.refuse(
                "Missing authentication method",
                "add azureStorageAccountName and azureStorageAccessKey, or sasToken, or tenantId, clientId and clientKey",
            )),
            _ => Err(self.refuse("Multiple authentication methods are not allowed", "keep the keys of one method")),
        }
    }

    /// Unchecked while incomplete: the shipped archive has no details.
    fn dmf(&self) -> Result<(), ConfigError> {
        let keys = ["endpoint", "username", "password", "nsId"];
        if !keys.iter().chain(&["repoId"]).all(|key| self.has(key)) {
            return Ok(());
        }
        self.texts(&keys)?;
        if is_list_of_texts(self.details.get("repoId")) {
            return Ok(());
        }
        Err(self.refuse("repoId must be an array of strings", "write \"repoId\": [\"…\"]"))
    }

    fn scality(&self) -> Result<(), ConfigError> {
        let Some(connector) = self.details.get("connector").filter(|value| !value.is_null()) else {
            return Ok(());
        };
        let sproxyd = connector.get("sproxyd");
        let drivers: Vec<&Value> = [sproxyd, connector.get("hdclient")].into_iter().flatten().collect();
        if drivers.is_empty() {
            return Err(self.refuse("connector must have sproxyd or hdclient", "add one of them"));
        }
        if !drivers.iter().all(|driver| is_list_of_texts(driver.get("bootstrap"))) {
            return Err(self.refuse("connector bootstrap must be a list of strings", "write [\"host:port\"]"));
        }
        let cos = sproxyd.and_then(|driver| driver.get("chordCos"));
        if cos.is_some_and(|cos| cos.as_u64().is_none_or(|cos| cos > 6)) {
            return Err(self.refuse("chordCos must be a number from 0 to 6", "write it without quotes"));
        }
        if sproxyd.and_then(|driver| driver.get("path")).is_some_and(|path| !path.is_string()) {
            return Err(self.refuse("connector path must be a string", "write \"path\": \"/proxy/…\""));
        }
        Ok(())
    }

    fn pfs(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        if let Some(value) = environment.get(&format!("{}_PFSD_ENDPOINT", self.entry.name)) {
            let (host, port) = value.rsplit_once(':').unwrap_or((value, ""));
            let mut endpoint = Map::new();
            endpoint.insert("host".to_owned(), Value::String(host.to_owned()));
            endpoint.insert("port".to_owned(), port.parse::<u16>().map_or(Value::Null, Value::from));
            self.details.insert("pfsDaemonEndpoint".to_owned(), Value::Object(endpoint));
        }
        let endpoint = self.details.get("pfsDaemonEndpoint");
        let host = endpoint.and_then(|endpoint| endpoint.get("host")).is_some_and(Value::is_string);
        let port = endpoint.and_then(|endpoint| endpoint.get("port")).is_some_and(Value::is_u64);
        if host && port {
            return Ok(());
        }
        Err(self.refuse("pfsDaemonEndpoint must have host and port", "write {\"host\": \"…\", \"port\": 9992}"))
    }

    fn posix(&self) -> Result<(), ConfigError> {
        self.flags(&["bucketMatch"])?;
        if self.has("scanBy") && !is_list_of_texts(self.details.get("scanBy")) {
            return Err(self.refuse(
                "scanBy must be a list of accounts",
                "write the names of those who may scan the folder, such as [\"Bart\"], or remove the key for nobody",
            ));
        }
        let path = self.mandatory("path")?;
        if !Path::new(path).is_absolute() || path.contains('\0') {
            return Err(self.refuse(
                format!("path \"{path}\" must be absolute"),
                "write the whole path of a folder that is there, such as \"/srv/files\"",
            ));
        }
        for (key, least, usual) in [("fileMode", 0o600, "0644"), ("directoryMode", 0o700, "0755")] {
            if !self.has(key) {
                continue;
            }
            let mode = self.text(key).and_then(permissions);
            if mode.is_none_or(|mode| mode & least != least) {
                return Err(self.refuse(
                    format!(
                        "{key} must be permissions in octal digits, in quotes, that leave the owner at least {least:o}"
                    ),
                    format!("write \"{key}\": \"{usual}\", or remove the key for that"),
                ));
            }
        }
        Ok(())
    }
}

/// Permission bits as `chmod` takes them: three or four octal digits, without the bit of other users' rights.
pub fn permissions(text: &str) -> Option<u32> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits)?;
    // Set-user-id has no place on files that others write through us; the sticky and group bits of folders have.
    (mode & 0o4000 == 0).then_some(mode)
}

fn is_list_of_texts(value: Option<&Value>) -> bool {
    value.and_then(Value::as_array).is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
}
