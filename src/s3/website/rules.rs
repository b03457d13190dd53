//! Where a website sends its visitors: which rule applies, and the address it gives.

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::storage::records::{RedirectRecord, RoutingRuleRecord};

/// What is escaped in a key: all but the unreserved characters and the slash (RFC 3986 §2.3).
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// What is escaped in words of the configuration: what no address can hold. The owner may give a query, or escapes
/// of his own: AWS's guide to images resized on demand does (`resize?key=`).
const WORDS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Another address and the status that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    pub(super) status: StatusCode,
    pub(super) location: String,
}

/// The first rule that applies before anything is looked up: one that asks for no error.
pub(super) fn before<'r>(rules: &'r [RoutingRuleRecord], key: &str) -> Option<&'r RoutingRuleRecord> {
    rules.iter().find(|rule| rule.error_status.is_none() && has_prefix(rule, key))
}

/// The first rule that applies to a request that failed.
pub(super) fn after<'r>(
    rules: &'r [RoutingRuleRecord],
    key: &str,
    status: StatusCode,
) -> Option<&'r RoutingRuleRecord> {
    let status = u32::from(status.as_u16());
    rules.iter().find(|rule| rule.error_status == Some(status) && has_prefix(rule, key))
}

fn has_prefix(rule: &RoutingRuleRecord, key: &str) -> bool {
    rule.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
}

/// Where a rule sends a request for `key`; `base` is `scheme://host` as the visitor wrote it.
pub(super) fn follow(rule: &RoutingRuleRecord, base: &str, key: &str) -> Redirection {
    let stays = RedirectRecord::default();
    let prefix = rule.prefix.as_deref().unwrap_or_default();
    redirect(rule.redirect.as_ref().unwrap_or(&stays), base, key, prefix)
}

/// Where a redirection sends a request for `key`, of which it may replace `prefix`.
pub(super) fn redirect(to: &RedirectRecord, base: &str, key: &str, prefix: &str) -> Redirection {
    let (scheme, host) = base.split_once("://").unwrap_or(("http", base));
    let scheme = to.protocol.as_deref().unwrap_or(scheme);
    let host = to.host.as_deref().unwrap_or(host);
    let path = match (&to.key, &to.key_prefix) {
        (Some(whole), _) => utf8_percent_encode(whole, WORDS).to_string(),
        (None, Some(start)) => {
            let rest = key.strip_prefix(prefix).unwrap_or(key);
            format!("{}{}", utf8_percent_encode(start, WORDS), utf8_percent_encode(rest, KEY))
        }
        (None, None) => utf8_percent_encode(key, KEY).to_string(),
    };
    let status = to.status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    Redirection {
        status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
        location: format!("{scheme}://{host}/{path}"),
    }
}

/// The address of a folder on the same host. Two slashes at its beginning would name another host.
pub(super) fn folder(key: &str) -> Redirection {
    let guard = if key.starts_with('/') { "/." } else { "" };
    let location = format!("{guard}/{}/", utf8_percent_encode(key, KEY));
    Redirection { status: StatusCode::FOUND, location }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: Option<&str>, error_status: Option<u32>, redirect: RedirectRecord) -> RoutingRuleRecord {
        RoutingRuleRecord { prefix: prefix.map(str::to_owned), error_status, redirect: Some(redirect) }
    }

    fn to(host: Option<&str>, key: Option<&str>, key_prefix: Option<&str>) -> RedirectRecord {
        let own = |text: Option<&str>| text.map(str::to_owned);
        RedirectRecord { host: own(host), key: own(key), key_prefix: own(key_prefix), ..RedirectRecord::default() }
    }

    #[test]
    fn a_rule_for_errors_waits_for_one_and_the_first_that_fits_counts() {
        let elsewhere = to(Some("a.org"), None, None);
        let rules = [
            rule(Some("docs/"), Some(404), elsewhere.clone()),
            rule(Some("docs/"), None, elsewhere.clone()),
            rule(None, Some(404), elsewhere.clone()),
            rule(None, Some(403), elsewhere),
        ];
        let place = |found: Option<&RoutingRuleRecord>| rules.iter().position(|rule| Some(rule) == found);
        assert_eq!(place(before(&rules, "docs/a")), Some(1));
        assert_eq!(place(before(&rules, "doc")), None);
        assert_eq!(place(after(&rules, "docs/a", StatusCode::NOT_FOUND)), Some(0));
        assert_eq!(place(after(&rules, "x", StatusCode::NOT_FOUND)), Some(2));
        assert_eq!(place(after(&rules, "x", StatusCode::FORBIDDEN)), Some(3));
        assert_eq!(place(after(&rules, "x", StatusCode::METHOD_NOT_ALLOWED)), None);
        let always = [rule(None, None, to(None, Some("k"), None))];
        assert!(before(&always, "").is_some());
    }

    #[test]
    fn what_a_redirection_leaves_out_stays_as_it_was_asked() {
        let base = "http://site.example:8000";
        for (redirect_to, prefix, key, location) in [
            (to(None, Some("error.html"), None), "", "any", "http://site.example:8000/error.html"),
            (to(None, None, Some("documents/")), "docs/", "docs/a b", "http://site.example:8000/documents/a%20b"),
            (to(Some("b.org"), None, None), "", "a/ü?", "http://b.org/a/%C3%BC%3F"),
            (to(Some("b.org"), None, Some("resize?key=")), "", "x.jpg", "http://b.org/resize?key=x.jpg"),
            (to(None, None, Some("")), "old/", "old/x", "http://site.example:8000/x"),
            (to(None, Some("a b\r\n"), None), "", "k", "http://site.example:8000/a%20b%0D%0A"),
        ] {
            let found = redirect(&redirect_to, base, key, prefix);
            assert_eq!((found.status.as_u16(), found.location.as_str()), (301, location));
        }
        let secure = RedirectRecord { protocol: Some("https".into()), status: Some(307), ..RedirectRecord::default() };
        let found = redirect(&secure, base, "k", "");
        assert_eq!((found.status.as_u16(), found.location.as_str()), (307, "https://site.example:8000/k"));
    }

    #[test]
    fn a_folder_stays_on_its_host() {
        assert_eq!(folder("a b/c").location, "/a%20b/c/");
        assert_eq!(folder("/evil.example").location, "/.//evil.example/");
    }
}
