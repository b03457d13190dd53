//! Which sockets the server listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
    settings::ListenOrigin,
};

/// What a list of listeners must be, by its key.
#[derive(Clone, Copy)]
pub(super) struct ListRule {
    key: &'static str,
    list: Rule,
    port: Rule,
    address: Rule,
}

/// `listenOn`.
pub(super) const LISTEN_ON: ListRule = ListRule {
    key: "listenOn",
    list: rule("listenOn must be a list of strings", "write [\"127.0.0.1:8000\"], or [] for every interface"),
    port: rule("listenOn port must be a positive integer", "write [\"127.0.0.1:8000\"] or [\"[::1]:8000\"]"),
    address: rule("listenOn must name IP addresses", "write [\"127.0.0.1:8000\"] or [\"[::1]:8000\"]"),
};

/// `metricsListenOn`.
pub(super) const METRICS_LISTEN_ON: ListRule = ListRule {
    key: "metricsListenOn",
    list: rule("metricsListenOn must be a list of strings", "write [\"127.0.0.1:8002\"], or [] for every interface"),
    port: rule("metricsListenOn port must be a positive integer", "write [\"127.0.0.1:8002\"] or [\"[::1]:8002\"]"),
    address: rule("metricsListenOn must name IP addresses", "write [\"127.0.0.1:8002\"] or [\"[::1]:8002\"]"),
};

/// Takes a list of `ip:port` and `[v6]:port`; `localhost` stands for both loopbacks.
pub(super) fn take_list(fields: &mut Fields, rules: ListRule) -> Result<Vec<SocketAddr>, ConfigError> {
    let texts: Vec<String> = fields.take(rules.key, rules.list)?.unwrap_or_default();
    let mut found = Vec::new();
    for text in texts {
        let addresses = parse(&text).map_err(|fault| match fault {
            Fault::Port => fields.refuse(rules.key, rules.port),
            Fault::Address => fields.refuse(rules.key, rules.address),
        })?;
        found.extend(addresses);
    }
    Ok(found)
}

enum Fault {
    Port,
    Address,
}

fn parse(text: &str) -> Result<Vec<SocketAddr>, Fault> {
    let (host, port) = text.trim().rsplit_once(':').ok_or(Fault::Port)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(Fault::Port)?;
    if host == "localhost" {
        return Ok(loopback(port));
    }
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let ip: IpAddr = host.parse().map_err(|_| Fault::Address)?;
    Ok(vec![SocketAddr::new(ip, port)])
}

/// Both loopback addresses.
pub(super) fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// The listeners of one kind: those named, else loopback only, else every interface.
pub(super) fn choose(named: Vec<SocketAddr>, port: u16, loopback_only: bool) -> (Vec<SocketAddr>, ListenOrigin) {
    if !named.is_empty() {
        return (named, ListenOrigin::Configured);
    }
    if loopback_only {
        return (loopback(port), ListenOrigin::Loopback);
    }
    (vec![(Ipv6Addr::UNSPECIFIED, port).into()], ListenOrigin::Everywhere)
}
