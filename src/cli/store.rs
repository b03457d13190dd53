//! A store that the command line names: where it is, and who asks.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use http::Uri;

use crate::{
    clock::SystemClock,
    outbound::{ClientOptions, HttpClient, Proxies, ProxyAddress},
    s3client::{Credentials, Endpoint, Flavor, Retry, S3Client},
};

/// How it is named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    /// `http://host:port` or `https://host`.
    pub(super) url: &'a str,
    pub(super) access_key: Option<&'a str>,
    pub(super) secret_key: Option<&'a str>,
    pub(super) token: Option<&'a str>,
    /// A section of `~/.aws/credentials`.
    pub(super) profile: Option<&'a str>,
    pub(super) region: &'a str,
    /// Whether buckets are named in the host.
    pub(super) virtual_hosts: bool,
    /// The options' common beginning, for messages: `--from`, `--to`, or `--server`.
    pub(super) option: &'a str,
}

impl Named<'_> {
    /// A client of the store.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub(super) fn client(&self) -> Result<S3Client, String> {
        let (url, option) = (self.url, self.option);
        let uri: Uri = url.parse().map_err(|error| format!("{option} {url}: {error}"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{option} {url}: write http://host:port or https://host")),
        };
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        if !matches!(uri.path(), "" | "/") {
            return Err(format!("{option} {url}: an endpoint has no path; buckets are named by options of their own"));
        }
        let endpoint = Endpoint {
            https,
            authority,
            path_style: !self.virtual_hosts,
            region: self.region.to_owned(),
            flavor: Flavor::Aws,
        };
        let options = ClientOptions { proxies: Arc::new(proxies()?), ..ClientOptions::default() };
        let retry = Retry { attempts: 8, deadline: Duration::from_mins(1), ..Retry::default() };
        let client = S3Client::new(HttpClient::new(options), endpoint, self.credentials()?, Arc::new(SystemClock));
        Ok(client.with_retry(retry))
    }

    fn credentials(&self) -> Result<Credentials, String> {
        let option = self.option;
        if let Some(profile) = self.profile {
            let file = env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
            let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
            let file = file.or(home).ok_or("HOME is not set: no file of profiles can be found")?;
            return Credentials::of_profile(&file, profile).map_err(|error| error.to_string());
        }
        match (self.access_key, self.secret_key) {
            (Some(access), Some(secret)) => Ok(Credentials::new(access, secret).with_token(self.token)),
            _ => Err(format!(
                "{option}: an access key and its secret are needed; `--help` names the options and variables for them"
            )),
        }
    }
}

/// The proxies that the usual variables name.
fn proxies() -> Result<Proxies, String> {
    let text = |name: &str| env::var(name).or_else(|_| env::var(name.to_ascii_lowercase())).ok();
    let proxy = |name: &str| {
        let parsed = text(name).filter(|url| !url.is_empty()).map(|url| ProxyAddress::parse(&url));
        parsed.transpose().map_err(|error| format!("{name}: {error}"))
    };
    Ok(Proxies {
        http: proxy("HTTP_PROXY")?,
        https: proxy("HTTPS_PROXY")?,
        exceptions: text("NO_PROXY").unwrap_or_default(),
        ..Proxies::default()
    })
}
