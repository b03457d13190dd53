//! Which requests go through a proxy.
//!
//! `NO_PROXY` is read as the original did: exact host names (with a port, if one is written), `*`, and names that
//! begin with a dot or `*.` for everything that ends so.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

#[cfg(feature = "tls")]
use super::trust::Identity;

/// A proxy.
#[derive(Clone)]
pub struct ProxyAddress {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<HeaderValue>,
}

impl ProxyAddress {
    /// Reads `http://[user:password@]host[:port]` or `https://…`.
    ///
    /// # Errors
    /// In words; never with the password.
    pub fn parse(url: &str) -> Result<Self, String> {
        // The variables are often written without a scheme.
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri =
            url.trim_end_matches('/').parse().map_err(|_| "the proxy's address cannot be read".to_owned())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the proxy's address must begin with http:// or https://".to_owned()),
        };
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        if login.is_some_and(|login| !login.contains(':')) {
            return Err("the proxy's login must be user:password".to_owned());
        }
        let host = bare(uri.host().unwrap_or_default()).to_owned();
        if host.is_empty() {
            return Err("the proxy's address names no host".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, login: login.and_then(basic) })
    }
}

/// Without the login.
impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.secure { "https" } else { "http" }, self.host, self.port)
    }
}

fn basic(login: &str) -> Option<HeaderValue> {
    let plain: Vec<u8> = percent_decode_str(login).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The proxies in use. By default none.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For targets at `http://`.
    pub http: Option<ProxyAddress>,
    /// For targets at `https://`.
    pub https: Option<ProxyAddress>,
    /// `NO_PROXY`: targets that are asked directly, separated by commas or blanks.
    pub exceptions: String,
    /// What this server shows to a proxy that is reached over TLS.
    #[cfg(feature = "tls")]
    pub identity: Option<Identity>,
}

impl Proxies {
    /// The proxy for a target.
    pub(super) fn of(&self, uri: &Uri) -> Option<&ProxyAddress> {
        let secure = uri.scheme_str() == Some("https");
        let proxy = if secure { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = bare(uri.host().unwrap_or_default());
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        (!self.excepts(host, port)).then_some(proxy)
    }

    /// What a request must show to its proxy. A tunnel has shown it when it was opened.
    pub(super) fn login_for(&self, uri: &Uri) -> Option<HeaderValue> {
        if uri.scheme_str() != Some("http") {
            return None;
        }
        self.of(uri)?.login.clone()
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let rules = self.exceptions.split([',', ' ']).map(str::trim).filter(|rule| !rule.is_empty());
        rules.into_iter().any(|rule| matches(&rule.to_ascii_lowercase(), &host, port))
    }
}

fn matches(rule: &str, host: &str, port: u16) -> bool {
    if rule == "*" || bare(rule) == host {
        return true;
    }
    let (name, named_port) = match rule.rsplit_once(':') {
        Some((name, digits)) if !bare(name).contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
        _ => (rule, None),
    };
    if named_port.is_some_and(|named: u16| named != port) {
        return false;
    }
    let suffix = name.strip_prefix('*').unwrap_or(name);
    if suffix.starts_with('.') { host.ends_with(suffix) } else { named_port.is_some() && bare(name) == host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_suffixes_and_everything() {
        let proxies = Proxies {
            http: ProxyAddress::parse("http://proxy:3128").ok(),
            exceptions: "exact.test, .suffix.test *.star.test,port.test:8000,::1".to_owned(),
            ..Proxies::default()
        };
        let direct = |uri: &str| proxies.of(&uri.parse().unwrap()).is_none();
        for uri in [
            "http://exact.test/",
            "http://EXACT.test:99/",
            "http://a.suffix.test/",
            "http://a.b.star.test/",
            "http://port.test:8000/",
            "http://[::1]:9/",
            // There is no proxy for https.
            "https://other.test/",
        ] {
            assert!(direct(uri), "{uri}");
        }
        for uri in ["http://other.test/", "http://sub.exact.test/", "http://suffix.test/", "http://port.test/"] {
            assert!(!direct(uri), "{uri}");
        }
        let all = Proxies { exceptions: "*".to_owned(), ..proxies };
        assert!(all.of(&"http://other.test/".parse().unwrap()).is_none());
    }

    #[test]
    fn a_proxys_address_has_a_scheme_a_host_and_perhaps_a_login() {
        let proxy = ProxyAddress::parse("https://us%40er:p%3Aw@[::1]/").unwrap();
        assert_eq!((proxy.secure, proxy.host.as_str(), proxy.port), (true, "::1", 443));
        assert_eq!(proxy.login.unwrap().to_str().unwrap(), format!("Basic {}", BASE64_STANDARD.encode("us@er:p:w")));
        assert_eq!(ProxyAddress::parse("proxy:3128").unwrap().port, 3128);
        for wrong in ["ftp://proxy", "http://", "http://user@proxy", "http://a b"] {
            assert!(ProxyAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}
