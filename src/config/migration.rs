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
    /// `owner`: the account whose buckets are read there, by its name, email address or canonical id. What is on the old
    /// server is its own: nobody else gets it by making a bucket of the right name.
    pub owner: String,
    /// `buckets`: which of its buckets are read there. Default all.
    pub buckets: Option<Vec<String>>,
    /// `listings`: whether listings show what is there. Default true.
    pub lists: bool,
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
const OWNER: Rule = rule(
    "migration needs the account that the old server's objects belong to here",
    "write \"owner\": the name, email address or canonical id of the account that cloudserver migrate copies as",
);
const KEYS: Rule = rule(
    "migration needs credentials for its endpoint",
    "write accessKey and secretKey, or credentialsFile and credentialsProfile",
);

impl Migration {
    pub(super) fn read(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let keep_dates = fields.take("keepDates", SWITCH)?.unwrap_or(false);
        let endpoint = fields.take::<String>("endpoint", ENDPOINT)?;
        let credentials = OldCredentials::read(&mut fields)?;
        let region = fields.take("region", TEXT)?.unwrap_or_else(|| "us-east-1".to_owned());
        let path_style = fields.take("pathStyle", SWITCH)?.unwrap_or(true);
        let owner = fields.take::<String>("owner", OWNER)?;
        let buckets = fields.take("buckets", BUCKETS)?;
        let lists = fields.take("listings", SWITCH)?.unwrap_or(true);
        let source = match endpoint {
            None => None,
            Some(endpoint) => {
                let (https, authority) = place(&endpoint).ok_or_else(|| fields.refuse("endpoint", ENDPOINT))?;
                let credentials = credentials.ok_or_else(|| fields.refuse("accessKey", KEYS))?;
                let owner = owner.ok_or_else(|| fields.refuse("owner", OWNER))?;
                Some(OldServer { https, authority, region, path_style, owner, buckets, lists, credentials })
            }
        };
        fields.finish(warnings);
        Ok(Self { source, keep_dates })
    }
}

impl OldCredentials {
    fn read(fields: &mut Fields) -> Result<Option<Self>, ConfigError> {
        let key = fields.take::<String>("accessKey", TEXT)?;
        let secret = fields.take::<String>("secretKey", TEXT)?;
        let file = fields.take::<PathBuf>("credentialsFile", TEXT)?;
        let profile = fields.take::<String>("credentialsProfile", TEXT)?;
        match (key, secret, file) {
            (Some(key), Some(secret), None) => Ok(Some(Self::Keys(key, secret.into()))),
            (None, None, Some(file)) => Ok(Some(Self::Profile(file, profile.unwrap_or_else(|| "default".to_owned())))),
            (None, None, None) => Ok(None),
            _ => Err(fields.refuse("accessKey", KEYS)),
        }
    }
}

/// Whether an endpoint is reached over TLS, and its host and port.
fn place(endpoint: &str) -> Option<(bool, String)> {
    let uri: http::Uri = endpoint.parse().ok()?;
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?.to_string();
    let is_bare = !authority.contains('@') && matches!(uri.path(), "" | "/") && uri.query().is_none();
    is_bare.then_some((https, authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_nothing_else() {
        assert_eq!(place("http://old:9000"), Some((false, "old:9000".to_owned())));
        assert_eq!(place("https://old.example.com/"), Some((true, "old.example.com".to_owned())));
        for wrong in ["old:9000", "ftp://old", "http://old/path", "http://me:secret@old", "http://old/?a", ""] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
