//! What the configuration says of asking others, in the words of the client that does it.

use std::{path::Path, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::StartError;
use crate::{
    config::{Config, LocationKind},
    outbound::{ClientOptions, Proxies, ProxyAddress},
};

/// Refuses a proxy that cannot be one, before anything needs it.
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    client_options(config, LocationKind::AwsS3).map(drop)
}

/// How locations of a type are reached.
pub(super) fn client_options(config: &Config, kind: LocationKind) -> Result<ClientOptions, StartError> {
    let outbound = &config.outbound;
    let agent = outbound.agent(kind);
    let at_root = |path: &Path| config.root.join(path);
    let proxies = Proxies {
        http: address(outbound.http_proxy.as_ref())?,
        https: address(outbound.https_proxy.as_ref())?,
        exceptions: outbound.no_proxy.clone(),
        #[cfg(feature = "tls")]
        identity: outbound
            .identity
            .as_ref()
            .map(|(key, cert)| crate::outbound::Identity { key: at_root(key), cert: at_root(cert) }),
    };
    Ok(ClientOptions {
        max_idle: if agent.keep_alive { agent.max_free_sockets } else { 0 },
        max_requests: agent.max_sockets,
        tcp_keep_alive: Some(agent.keep_alive_probe),
        proxies: Arc::new(proxies),
        extra_authorities: outbound.ca_bundle.as_deref().map(at_root),
        ..ClientOptions::default()
    })
}

fn address(url: Option<&SecretString>) -> Result<Option<ProxyAddress>, StartError> {
    url.map(|url| ProxyAddress::parse(url.expose_secret()).map_err(StartError::Proxy)).transpose()
}
