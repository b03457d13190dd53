//! Requests from other origins: which rule of a bucket allows one, and the headers that say so to a browser.
//!
//! The first rule counts that matches origin, method and every header asked for (S3 reference, "How does Amazon S3
//! evaluate the CORS configuration on a bucket?"). Nothing here grants anything: a browser asks whether it may show
//! an answer to a script, and who sent the request is decided elsewhere.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use super::{
    ResponseBody,
    codes::S3Code,
    error::{S3Error, S3Result},
    operation::Scope,
    reply::{empty, set},
};
use crate::storage::{Bucket, records::CorsRule};

/// Methods that a rule may allow.
pub const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];
/// What an answer that a rule allows depends on.
const VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// What a browser says of a request from another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossOrigin {
    /// Where the script comes from.
    origin: String,
    /// What it wants to do: `Access-Control-Request-Method`, else the request's own method.
    method: String,
    /// Headers it wants to send, in lower case.
    headers: Vec<String>,
}

impl CrossOrigin {
    /// What a request says; `None` where it names no origin, as requests outside of browsers.
    pub fn read(method: &Method, headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            origin: text(headers, &header::ORIGIN)?.to_owned(),
            method: text(headers, &header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str()).to_owned(),
            headers: asked_headers(headers),
        })
    }

    /// What a preflight request asks.
    ///
    /// # Errors
    /// `BadRequest` without origin, or without a method that rules can allow.
    pub fn preflight(headers: &HeaderMap) -> S3Result<Self> {
        let bad = |message: String| S3Error::new(S3Code::BadRequest, message);
        let origin = text(headers, &header::ORIGIN)
            .ok_or_else(|| bad("Insufficient information. Origin request header needed.".to_owned()))?;
        let method = text(headers, &header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
        if !METHODS.contains(&method) {
            return Err(bad(format!("Invalid Access-Control-Request-Method: {method}")));
        }
        Ok(Self { origin: origin.to_owned(), method: method.to_owned(), headers: asked_headers(headers) })
    }

    /// The rule that allows it.
    fn rule<'r>(&self, rules: &'r [CorsRule]) -> Option<&'r CorsRule> {
        rules.iter().find(|rule| {
            rule.methods.contains(&self.method)
                && rule.origins.iter().any(|pattern| matches(pattern, &self.origin))
                && self
                    .headers
                    .iter()
                    .all(|name| rule.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name)))
        })
    }

    /// Adds what the bucket's rules say to an answer. Without a rule that allows the request, nothing.
    pub fn apply(&self, bucket: &Bucket, headers: &mut HeaderMap) {
        if let Some(rule) = self.rule(&bucket.record.cors) {
            self.show(rule, headers);
        }
    }

    /// The answer to a preflight request.
    ///
    /// # Errors
    /// `AccessForbidden` where the bucket has no rules, or none that allows the request.
    pub fn answer(&self, bucket: &Bucket, scope: Scope) -> S3Result<Response<ResponseBody>> {
        let forbidden = |message: &'static str| {
            S3Error::new(S3Code::AccessForbidden, message)
                .with("Method", self.method.as_str())
                .with("ResourceType", if scope == Scope::Object { "OBJECT" } else { "BUCKET" })
        };
        if bucket.record.cors.is_empty() {
            return Err(forbidden("CORSResponse: CORS is not enabled for this bucket."));
        }
        let rule = self.rule(&bucket.record.cors).ok_or_else(|| {
            forbidden(
                "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, \
                 request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                 by the resource's CORS spec.",
            )
        })?;
        let mut response = Response::new(empty());
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.show(rule, response.headers_mut());
        Ok(response)
    }

    fn show(&self, rule: &CorsRule, headers: &mut HeaderMap) {
        let mut say = |name: HeaderName, value: &str| set(headers, name, value);
        if rule.origins.iter().any(|pattern| pattern == "*") {
            say(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            say(header::ACCESS_CONTROL_ALLOW_ORIGIN, &self.origin);
            say(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        say(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        if !self.headers.is_empty() {
            say(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(", "));
        }
        if !rule.expose.is_empty() {
            say(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
        }
        if let Some(seconds) = rule.max_age_secs {
            say(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        headers.append(header::VARY, VARY);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|value| !value.is_empty())
}

fn asked_headers(headers: &HeaderMap) -> Vec<String> {
    let names = text(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().split(',');
    names.map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

/// Whether a text fits a pattern with at most one `*`, which stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CorsRule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CorsRule { methods: own(methods), origins: own(origins), headers: own(headers), ..CorsRule::default() }
    }

    fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_star_stands_for_anything_and_its_ends_never_overlap() {
        for (pattern, text, expected) in [
            ("*", "https://a", true),
            ("https://a", "https://a", true),
            ("https://a", "https://A", false),
            ("start*end", "startend", true),
            ("start*end", "start12end", true),
            ("start*end", "0startend", false),
            ("aba*aba", "aba", false),
            ("*.put", "foo.put", true),
            ("*.put", "foo.put.x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_wins_that_allows_origin_method_and_every_header() {
        let rules = [
            rule(&["GET"], &["https://a"], &["x-one"]),
            rule(&["GET"], &["https://a"], &["X-*"]),
            rule(&["PUT"], &["*"], &[]),
        ];
        let found = |origin: &str, method: &str, headers: &str| {
            let mut fields = vec![("origin", origin), ("access-control-request-method", method)];
            if !headers.is_empty() {
                fields.push(("access-control-request-headers", headers));
            }
            let asked = CrossOrigin::preflight(&request(&fields)).unwrap();
            asked.rule(&rules).map(|rule| rules.iter().position(|known| known == rule).unwrap())
        };
        assert_eq!(found("https://a", "GET", ""), Some(0));
        assert_eq!(found("https://a", "GET", "X-One"), Some(0));
        assert_eq!(found("https://a", "GET", "x-one, X-Two"), Some(1));
        assert_eq!(found("https://a", "GET", "x-one,y"), None);
        assert_eq!(found("https://b", "GET", ""), None);
        assert_eq!(found("https://b", "PUT", ""), Some(2));
        assert_eq!(found("https://b", "PUT", "x-one"), None);
    }

    #[test]
    fn only_a_bare_star_answers_with_a_star() {
        let asked = CrossOrigin::read(&Method::GET, &request(&[("origin", "https://a")])).unwrap();
        let mut headers = HeaderMap::new();
        asked.show(&rule(&["GET", "HEAD"], &["https://*"], &[]), &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "https://a");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["access-control-allow-methods"], "GET, HEAD");
        assert!(headers[header::VARY].to_str().unwrap().starts_with("Origin"));
        let mut headers = HeaderMap::new();
        asked.show(&rule(&["GET"], &["https://b", "*"], &[]), &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn a_preflight_request_names_an_origin_and_a_method_of_s3() {
        let asks = |fields: &[(&'static str, &str)]| CrossOrigin::preflight(&request(fields)).map_err(|e| e.code);
        assert_eq!(asks(&[("access-control-request-method", "GET")]), Err(S3Code::BadRequest));
        assert_eq!(asks(&[("origin", "https://a")]), Err(S3Code::BadRequest));
        for method in ["get", "PATCH", "OPTIONS"] {
            let fields = [("origin", "https://a"), ("access-control-request-method", method)];
            assert_eq!(asks(&fields), Err(S3Code::BadRequest), "{method}");
        }
        assert!(asks(&[("origin", "https://a"), ("access-control-request-method", "DELETE")]).is_ok());
    }

    #[test]
    fn without_an_origin_a_request_is_of_no_concern() {
        assert_eq!(CrossOrigin::read(&Method::GET, &HeaderMap::new()), None);
    }
}
