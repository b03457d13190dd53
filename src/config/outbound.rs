//! Asking others: `outboundProxy`, the variables of proxies, and `externalBackends`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde_json::Value;

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
    locations::LocationKind,
};

/// How connections to external locations of one type are kept; `externalBackends.<type>.httpAgent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAgent {
    /// `keepAlive`: whether a connection serves more than one request. Default true (the original: false for `aws_s3`).
    pub keep_alive: bool,
    /// `keepAliveMsecs`: silence after which the system asks the other end for a sign of life. Default 1 second.
    pub keep_alive_probe: Duration,
    /// `maxFreeSockets`: connections that are kept while nobody uses them, for each host. Default 256.
    pub max_free_sockets: usize,
    /// `maxSockets`: requests under way, for each host. Default none.
    pub max_sockets: Option<usize>,
}

impl Default for HttpAgent {
    fn default() -> Self {
        Self { keep_alive: true, keep_alive_probe: Duration::from_secs(1), max_free_sockets: 256, max_sockets: None }
    }
}

/// How this server reaches others.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The proxy for `http://`: `HTTP_PROXY`, else `outboundProxy.url`. Default none.
    pub http_proxy: Option<SecretString>,
    /// The proxy for `https://`: `HTTPS_PROXY`, else `outboundProxy.url`. Default none.
    pub https_proxy: Option<SecretString>,
    /// `NO_PROXY`: who is asked directly. Default nobody.
    pub no_proxy: String,
    /// `outboundProxy.key` and `outboundProxy.cert`: what is shown to a proxy that is reached over TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `HTTPS_PROXY_CERTIFICATE`, else `outboundProxy.caBundle`: authorities to trust beside the system's.
    pub ca_bundle: Option<PathBuf>,
    agents: BTreeMap<LocationKind, HttpAgent>,
}

/// Types that `externalBackends` may name, and their variables' beginnings.
const KINDS: [(LocationKind, &str); 3] =
    [(LocationKind::AwsS3, "AWS_S3_"), (LocationKind::Azure, "AZURE_"), (LocationKind::Gcp, "GCP_")];

const KEEP_ALIVE: Rule = rule("httpAgent.keepAlive must be a boolean", "write true or false");
const PROBE: Rule = rule("httpAgent.keepAliveMsecs must be a number > 0", "write 1000, or remove it");
const FREE: Rule = rule("httpAgent.maxFreeSockets must be a number >= 0", "write 256, or remove it");
const SOCKETS: Rule = rule("httpAgent.maxSockets must be a number >= 0 or null", "write null, or remove it");

impl Outbound {
    /// How connections to locations of a type are kept.
    pub fn agent(&self, kind: LocationKind) -> HttpAgent {
        self.agents.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn read(fields: &mut Fields, environment: &Environment) -> Result<Self, ConfigError> {
        let mut outbound = proxy(fields)?;
        outbound.agents = agents(fields, environment)?;
        let either = |name: &str| environment.get(name).or_else(|| environment.get(&name.to_ascii_lowercase()));
        if let Some(url) = either("HTTP_PROXY") {
            outbound.http_proxy = Some(login_checked("HTTP_PROXY", url)?);
        }
        if let Some(url) = either("HTTPS_PROXY") {
            outbound.https_proxy = Some(login_checked("HTTPS_PROXY", url)?);
        }
        if let Some(file) = environment.get("HTTPS_PROXY_CERTIFICATE") {
            outbound.ca_bundle = Some(PathBuf::from(file));
        }
        either("NO_PROXY").unwrap_or_default().clone_into(&mut outbound.no_proxy);
        Ok(outbound)
    }
}

fn login_checked(name: &str, url: &str) -> Result<SecretString, ConfigError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    if rest.rsplit_once('@').is_some_and(|(login, _)| !login.contains(':')) {
        return Err(ConfigError::Environment {
            name: name.to_owned(),
            problem: "a proxy's auth must be user:password".to_owned(),
            remedy: "write http://user:password@host:port".to_owned(),
        });
    }
    Ok(SecretString::from(url))
}

fn proxy(fields: &mut Fields) -> Result<Outbound, ConfigError> {
    let Some(value) = fields.raw("outboundProxy") else { return Ok(Outbound::default()) };
    let refuse = |problem: &str, remedy: &str| ConfigError::Proxy {
        file: fields.file().to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let url = text("url").unwrap_or_default();
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(refuse("url must begin with http:// or https://", "write \"url\": \"http://host:port\""));
    };
    if rest.rsplit_once('@').is_some_and(|(login, _)| !login.contains(':')) {
        return Err(refuse("auth must be user:password", "write http://user:password@host:port"));
    }
    let identity = match (text("key"), text("cert")) {
        (Some(key), Some(cert)) => Some((PathBuf::from(key), PathBuf::from(cert))),
        (None, None) => None,
        _ => return Err(refuse("key and cert must come together", "add the missing one, or remove the other")),
    };
    Ok(Outbound {
        http_proxy: Some(SecretString::from(url)),
        https_proxy: Some(SecretString::from(url)),
        identity,
        ca_bundle: text("caBundle").map(PathBuf::from),
        ..Outbound::default()
    })
}

/// The file's agents, with what the container's variables rewrote in it.
fn agents(fields: &mut Fields, environment: &Environment) -> Result<BTreeMap<LocationKind, HttpAgent>, ConfigError> {
    const OBJECT: Rule = rule("externalBackends must be an object", "write {…}, or remove it");
    const UNKNOWN: Rule = rule("externalBackends has an unknown type", "keep aws_s3, azure and gcp only");
    let backends = match fields.raw("externalBackends") {
        None => serde_json::Map::new(),
        Some(Value::Object(backends)) => backends,
        Some(_) => return Err(fields.refuse("externalBackends", OBJECT)),
    };
    if !backends.keys().all(|key| KINDS.iter().any(|(kind, _)| kind.as_str() == key)) {
        return Err(fields.refuse("externalBackends", UNKNOWN));
    }
    let mut agents = BTreeMap::new();
    for (kind, prefix) in KINDS {
        let mut agent = backends.get(kind.as_str()).and_then(|backend| backend.get("httpAgent")).cloned();
        for (suffix, key) in [
            ("HTTPAGENT_KEEPALIVE", "keepAlive"),
            ("HTTPAGENT_KEEPALIVE_MS", "keepAliveMsecs"),
            ("HTTPAGENT_KEEPALIVE_MAX_SOCKETS", "maxSockets"),
            ("HTTPAGENT_KEEPALIVE_MAX_FREE_SOCKETS", "maxFreeSockets"),
        ] {
            let Some(text) = environment.get(&format!("{prefix}{suffix}")) else { continue };
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
            let agent = agent.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(map) = agent.as_object_mut() {
                map.insert(key.to_owned(), value);
            }
        }
        if let Some(agent) = agent {
            agents.insert(kind, http_agent(&agent).map_err(|rule| fields.refuse("externalBackends", rule))?);
        }
    }
    Ok(agents)
}

fn http_agent(agent: &Value) -> Result<HttpAgent, Rule> {
    let mut read = HttpAgent::default();
    if let Some(value) = agent.get("keepAlive") {
        read.keep_alive = value.as_bool().ok_or(KEEP_ALIVE)?;
    }
    if let Some(value) = agent.get("keepAliveMsecs") {
        let millis = value.as_u64().filter(|millis| *millis > 0).ok_or(PROBE)?;
        read.keep_alive_probe = Duration::from_millis(millis);
    }
    let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
    if let Some(value) = agent.get("maxFreeSockets") {
        read.max_free_sockets = count(value).ok_or(FREE)?;
    }
    if let Some(value) = agent.get("maxSockets").filter(|value| !value.is_null()) {
        read.max_sockets = Some(count(value).ok_or(SOCKETS)?).filter(|most| *most > 0);
    }
    Ok(read)
}
