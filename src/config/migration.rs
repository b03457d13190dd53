//! The server that this one takes over from: `cloudserver.migration`.

use std::path::PathBuf;

use secrecy::SecretString;

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// `cloudserver.migration`.
#[derive(Clone, Debug, Default)]
pub struct Migration {
    /// Where objects are read that are not here yet. Default nowhere.
    pub source: Option<OldServer>,
    /// `keepDates`: whether the owner of a bucket may say when what he writes was last modified. Default false.
    pub keep_dates: bool,
}

/// The old server.
#[derive(Clone, Debug)]
pub struct OldServer {
    /// `endpoint`: whether it is reached over TLS.
    pub https: bool,
    /// `endpoint`: its host and port.
    pub authority: String,
    /// `region`, for signatures. Default `us-east-1`.
    pub region: String,
    /// `pathStyle`: buckets are named in the path, not in the host. Default true.
    pub path_style: bool,
    /// `buckets`: which buckets are read there. Default all.
    pub buckets: Option<Vec<String>>,
    /// `accessKey` and `secretKey`, or `credentialsFile` with `credentialsProfile`.
    pub credentials: OldCredentials,
}

/// Who this server is to the old one.
#[derive(Clone, Debug)]
pub enum OldCredentials {
    /// A key and its secret.
    Keys(String, SecretString),
    /// A file like `~/.aws/credentials` and its section.
    Profile(PathBuf, String),
}

const ENDPOINT: Rule = rule(
    "migration.endpoint must be http://host:port or https://host, without a path",
    "write \"endpoint\": \"http://old:9000\"",
);
const TEXT: Rule = rule("the setting must be a string", "write it in quotes");
const SWITCH: Rule = rule("the setting must be a boolean", "write true or false");
const BUCKETS: Rule = rule("migration.buckets must be a list of names", "write [\"photos\"], or remove it for all");
const KEYS: Rule = rule(
    "migration needs credentials for its endpoint",
    "write accessKey and secretKey, or credentialsFile and credentialsProfile",
);

impl Migration {
    pub(super) fn read(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let keep_dates = fields.take("keepDates", SWITCH)?.unwrap_or(false);
        let source = match fields.take::<String>("endpoint", ENDPOINT)? {
            None => None,
            Some(endpoint) => Some(OldServer::read(&endpoint, &mut fields)?),
        };
        fields.finish(warnings);
        Ok(Self { source, keep_dates })
    }
}

impl OldServer {
    fn read(endpoint: &str, fields: &mut Fields) -> Result<Self, ConfigError> {
        let uri: http::Uri = endpoint.parse().map_err(|_| fields.refuse("endpoint", ENDPOINT))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fields.refuse("endpoint", ENDPOINT)),
        };
        let authority = uri.authority().map(ToString::to_string).filter(|authority| !authority.contains('@'));
        let authority = authority.filter(|_| matches!(uri.path(), "" | "/"));
        let authority = authority.ok_or_else(|| fields.refuse("endpoint", ENDPOINT))?;
        let key = fields.take::<String>("accessKey", TEXT)?;
        let secret = fields.take::<String>("secretKey", TEXT)?;
        let file = fields.take::<PathBuf>("credentialsFile", TEXT)?;
        let profile = fields.take::<String>("credentialsProfile", TEXT)?;
        let credentials = match (key, secret, file) {
            (Some(key), Some(secret), None) => OldCredentials::Keys(key, secret.into()),
            (None, None, Some(file)) => OldCredentials::Profile(file, profile.unwrap_or_else(|| "default".to_owned())),
            _ => return Err(fields.refuse("accessKey", KEYS)),
        };
        Ok(Self {
            https,
            authority,
            region: fields.take("region", TEXT)?.unwrap_or_else(|| "us-east-1".to_owned()),
            path_style: fields.take("pathStyle", SWITCH)?.unwrap_or(true),
            buckets: fields.take("buckets", BUCKETS)?,
            credentials,
        })
    }
}
