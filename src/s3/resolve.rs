//! Which operation a request means, and what it addresses. Paths alone cannot route S3.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, header};

use super::{
    absent,
    codes::S3Code,
    context::Settings,
    error::{S3Error, S3Result},
    head::Head,
    operation::{Pattern, Route, Scope},
    table::OPERATIONS,
};
use crate::types::sub_resource::SUB_RESOURCES;

/// The header that makes a PUT a copy.
const COPY_SOURCE: &str = "x-amz-copy-source";

/// What a request addresses, before its operation is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The bucket as spelled; empty for the service.
    pub bucket: String,
    /// The key, decoded; empty for a bucket.
    pub key: String,
    /// The endpoint's host name, without the bucket and without port.
    pub endpoint: String,
    /// The bucket, where the host name gave it.
    pub virtual_bucket: Option<String>,
}

impl Address {
    /// What the request addresses.
    pub fn scope(&self) -> Scope {
        match (self.bucket.is_empty(), self.key.is_empty()) {
            (true, _) => Scope::Service,
            (false, true) => Scope::Bucket,
            (false, false) => Scope::Object,
        }
    }
}

/// The host name of a request, lower case, without port; HTTP/2 has it in the target.
pub fn host_of<'a>(headers: &'a HeaderMap, uri: &'a http::Uri) -> &'a str {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host is a bucket's, be it the API's or a website's.
pub fn names_bucket(host: &str, settings: &Settings) -> bool {
    let hosts = (settings.website_endpoints.as_slice(), settings.endpoints.as_ref());
    address(host, "/", &settings.endpoints).is_ok_and(|address| address.virtual_bucket.is_some())
        || website(host, "/", hosts).is_some()
}

/// Splits host and path into bucket and key.
///
/// # Errors
/// `InvalidURI` for a broken escape.
pub fn address(host: &str, path: &str, endpoints: &BTreeMap<String, String>) -> S3Result<Address> {
    let host = host.to_ascii_lowercase();
    let is_ip = host.parse::<std::net::IpAddr>().is_ok();
    let virtual_host = if is_ip || endpoints.contains_key(&host) { None } else { virtual_bucket(&host, endpoints) };
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some((bucket, endpoint)) = virtual_host {
        return Ok(Address {
            bucket: bucket.to_owned(),
            key: super::head::decode(path)?,
            endpoint: endpoint.to_owned(),
            virtual_bucket: Some(bucket.to_owned()),
        });
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (super::head::decode(bucket)?, super::head::decode(key)?);
    if bucket.is_empty() && !key.is_empty() {
        return Err(S3Error::new(S3Code::InvalidBucketName, S3Code::InvalidBucketName.message()));
    }
    Ok(Address { bucket, key, endpoint: host, virtual_bucket: None })
}

/// The page that a request is for, where its host is a website's: a bucket's name before a website endpoint, or an
/// endpoint that is a bucket's name itself, as where a site has a domain of its own. An endpoint of the API that fits
/// as well goes first where it is the longer one.
pub fn website(
    host: &str,
    path: &str,
    (websites, endpoints): (&[String], &BTreeMap<String, String>),
) -> Option<S3Result<Address>> {
    let host = host.to_ascii_lowercase();
    if endpoints.contains_key(&host) {
        return None;
    }
    let of_bucket = |endpoint: &&String| host.strip_suffix(endpoint.as_str()).is_some_and(|rest| rest.ends_with('.'));
    let named = websites.iter().find(|endpoint| **endpoint == host);
    let (bucket, endpoint) = if let Some(endpoint) = named {
        (host.as_str(), endpoint)
    } else {
        let endpoint = websites.iter().filter(of_bucket).max_by_key(|endpoint| endpoint.len())?;
        (host.strip_suffix(endpoint.as_str())?.strip_suffix('.')?, endpoint)
    };
    let api = virtual_bucket(&host, endpoints);
    if bucket.is_empty() || api.is_some_and(|(_, api)| api.len() > endpoint.len()) {
        return None;
    }
    let key = super::head::decode(path.strip_prefix('/').unwrap_or(path));
    Some(key.map(|key| Address {
        bucket: bucket.to_owned(),
        key,
        endpoint: endpoint.clone(),
        virtual_bucket: Some(bucket.to_owned()),
    }))
}

/// The longest configured endpoint that `host` ends with, and what stands before it.
fn virtual_bucket<'a>(host: &'a str, endpoints: &'a BTreeMap<String, String>) -> Option<(&'a str, &'a str)> {
    endpoints
        .keys()
        .filter_map(|endpoint| {
            let bucket = host.strip_suffix(endpoint.as_str())?.strip_suffix('.')?;
            (!bucket.is_empty()).then_some((bucket, endpoint.as_str()))
        })
        .max_by_key(|(_, endpoint)| endpoint.len())
}

/// The row of the table that a request means.
///
/// # Errors
/// `NotImplemented` for a sub-resource this server does not have, `MethodNotAllowed` for a method that fits nothing,
/// `InvalidArgument` for sub-resources that no operation has together, and for a copy source on what is no copy.
pub fn route(head: &Head, scope: Scope) -> S3Result<&'static Route> {
    if let Some(refusal) = absent::refusal(head, scope) {
        return Err(refusal);
    }
    let matching = OPERATIONS.iter().filter(|route| route.pattern.matches(head, scope));
    let best = matching.max_by_key(|route| route.pattern.weight());
    let route = match (best, named(head, scope).as_slice()) {
        (Some(route), []) => route,
        (None, []) => return Err(not_allowed(head, scope)),
        (Some(route), names) if names.iter().all(|name| belongs(&route.pattern, name)) => route,
        (Some(route), names) if names.iter().any(|name| route.pattern.query.contains(name)) => {
            return Err(conflicting(names));
        }
        (_, [name, ..]) => return Err(missing(head, scope, name)),
    };
    match head.header(COPY_SOURCE) {
        Some(source) if route.pattern.method == Method::PUT && route.pattern.header != COPY_SOURCE => {
            let message = "You can only specify a copy source header for copy requests.";
            Err(S3Error::argument(message, COPY_SOURCE, source))
        }
        _ => Ok(route),
    }
}

/// The sub-resources that a request names. All of them count: one that the operation does not have would else change
/// what is asked about the request, and not what is done. The service has none.
fn named(head: &Head, scope: Scope) -> Vec<&'static str> {
    SUB_RESOURCES.iter().copied().filter(|name| scope != Scope::Service && head.has_query(name)).collect()
}

/// Whether a sub-resource is the operation's own, or a plain parameter of it: reads of objects take a part's number,
/// and a search says by itself that it finds no versions.
fn belongs(pattern: &Pattern, name: &str) -> bool {
    let reads = matches!(pattern.method, Method::GET | Method::HEAD) && pattern.scope == Scope::Object;
    match name {
        "partNumber" if reads && pattern.query.is_empty() => true,
        "versions" if pattern.query.contains(&"search") => true,
        _ => pattern.query.contains(&name),
    }
}

fn conflicting(names: &[&'static str]) -> S3Error {
    let message = format!("Conflicting query string parameters: {}", names.join(", "));
    S3Error::argument(message, "ResourceType", names.first().copied().unwrap_or_default())
}

fn missing(head: &Head, scope: Scope, name: &str) -> S3Error {
    let allowed = allowed(scope, |pattern| pattern.query.contains(&name));
    if allowed.is_empty() {
        return S3Error::from(S3Code::NotImplemented).with("Header", name);
    }
    // The method would do: what lacks is another parameter.
    if allowed.split(", ").any(|method| method == head.method.as_str()) {
        return S3Error::argument("This operation needs further query string parameters.", "ResourceType", name);
    }
    method_not_allowed(head, scope, &allowed)
}

fn not_allowed(head: &Head, scope: Scope) -> S3Error {
    method_not_allowed(head, scope, &allowed(scope, |pattern| pattern.query.is_empty()))
}

fn allowed(scope: Scope, fits: impl Fn(&Pattern) -> bool) -> String {
    let mut methods: Vec<&str> = OPERATIONS
        .iter()
        .filter(|route| route.pattern.scope == scope && fits(&route.pattern))
        .map(|route| route.pattern.method.as_str())
        .collect();
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

fn method_not_allowed(head: &Head, scope: Scope, allowed: &str) -> S3Error {
    let kind = match scope {
        Scope::Service => "SERVICE",
        Scope::Bucket => "BUCKET",
        Scope::Object => "OBJECT",
    };
    S3Error::from(S3Code::MethodNotAllowed)
        .with("Method", head.method.as_str())
        .with("ResourceType", kind)
        .header(header::ALLOW, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints() -> BTreeMap<String, String> {
        ["localhost", "s3.example.com", "example.com"].map(|host| (host.to_owned(), "us-east-1".to_owned())).into()
    }

    #[test]
    fn hosts_and_paths_give_bucket_and_key() {
        let at = |host: &str, path: &str| {
            let address = address(host, path, &endpoints()).unwrap();
            (address.bucket, address.key, address.virtual_bucket.is_some())
        };
        assert_eq!(at("localhost", "/"), (String::new(), String::new(), false));
        assert_eq!(at("localhost", "/b"), ("b".into(), String::new(), false));
        assert_eq!(at("localhost", "/b/"), ("b".into(), String::new(), false));
        assert_eq!(at("localhost", "/b//k"), ("b".into(), "/k".into(), false));
        assert_eq!(at("localhost", "/b/../x/./y/"), ("b".into(), "../x/./y/".into(), false));
        assert_eq!(at("127.0.0.1", "/b/k%2F%25"), ("b".into(), "k/%".into(), false));
        assert_eq!(at("b.localhost", "/k"), ("b".into(), "k".into(), true));
        assert_eq!(at("a.b.s3.example.com", "/"), ("a.b".into(), String::new(), true));
        assert_eq!(at("unknown.org", "/b/k"), ("b".into(), "k".into(), false));
        assert_eq!(at("B.LOCALHOST", "/k"), ("b".into(), "k".into(), true));
    }

    #[test]
    fn a_host_under_a_website_endpoint_is_a_website() {
        let websites = ["s3-website.localhost", "www.shop.org", "eu.s3.example.com"].map(str::to_owned);
        let at = |host: &str, path: &str| {
            let address = website(host, path, (&websites, &endpoints()))?.unwrap();
            Some((address.bucket, address.key))
        };
        assert_eq!(at("b.s3-website.localhost", "/"), Some(("b".into(), String::new())));
        assert_eq!(at("A.B.S3-Website.Localhost", "/x//y%20z/"), Some(("a.b".into(), "x//y z/".into())));
        assert_eq!(at("www.shop.org", "/a"), Some(("www.shop.org".into(), "a".into())));
        assert_eq!(at("x.www.shop.org", "/a"), Some(("x".into(), "a".into())));
        assert_eq!(at("b.eu.s3.example.com", "/a"), Some(("b".into(), "a".into())));
        for host in
            ["localhost", "b.localhost", "b.s3.example.com", "xs3-website.localhost", ".s3-website.localhost", ""]
        {
            assert_eq!(at(host, "/a"), None, "{host}");
        }
        assert!(website("b.www.shop.org", "/%zz", (&websites, &endpoints())).unwrap().is_err());
        // Named as both, a host is the API's.
        let both = ["localhost".to_owned(), "example.com".to_owned()];
        assert!(website("localhost", "/", (&both, &endpoints())).is_none());
        assert!(website("b.s3.example.com", "/", (&both, &endpoints())).is_none());
    }

    fn routed(method: Method, scope: Scope, query: &str) -> Result<&'static str, S3Code> {
        let head = Head::new(method, HeaderMap::new(), query).unwrap();
        route(&head, scope).map(|route| route.name).map_err(|error| error.code)
    }

    #[test]
    fn every_name_that_tells_operations_apart_is_a_known_sub_resource() {
        // They tell no two operations apart that may do different things.
        const PLAIN: [&str; 2] = ["annotationName", "id"];
        for route in OPERATIONS {
            for name in route.pattern.query.iter().filter(|name| !name.contains('=') && !PLAIN.contains(name)) {
                assert!(SUB_RESOURCES.contains(name), "{name} of {}", route.name);
            }
        }
    }

    #[test]
    fn a_sub_resource_that_an_operation_does_not_have_is_never_passed_over() {
        for route in OPERATIONS.iter().filter(|route| route.pattern.scope != Scope::Service) {
            let pattern = &route.pattern;
            for name in SUB_RESOURCES.iter().filter(|name| !belongs(pattern, name)) {
                let query = [pattern.query, &[*name]].concat().join("&");
                // Without its header a copy is a write, and the like.
                match routed(pattern.method.clone(), pattern.scope, &query) {
                    Ok(other) => {
                        let other = OPERATIONS.iter().find(|known| known.name == other).unwrap();
                        assert!(other.pattern.query.contains(name), "{} {query} is {}", route.name, other.name);
                        assert!(
                            pattern.query.iter().all(|own| own.contains('=') || belongs(&other.pattern, own)),
                            "{} {query} is {}",
                            route.name,
                            other.name
                        );
                    }
                    Err(code) => assert!(
                        matches!(code, S3Code::InvalidArgument | S3Code::MethodNotAllowed | S3Code::NotImplemented),
                        "{} {query}: {code:?}",
                        route.name
                    ),
                }
            }
        }
    }

    #[test]
    fn what_clients_say_besides_conflicts_with_nothing() {
        for (method, scope, query, name) in [
            (Method::GET, Scope::Object, "partNumber=1&versionId=x&response-expires=a&x-id=GetObject", "GetObject"),
            (Method::HEAD, Scope::Object, "partNumber=1", "HeadObject"),
            (Method::PUT, Scope::Object, "partNumber=1&uploadId=x&x-id=UploadPart", "UploadPart"),
            (Method::GET, Scope::Object, "uploadId=x&max-parts=2&part-number-marker=1", "ListParts"),
            (Method::POST, Scope::Object, "uploads&x-id=CreateMultipartUpload", "CreateMultipartUpload"),
            (Method::GET, Scope::Bucket, "list-type=2&prefix=acl&delimiter=/", "ListObjectsV2"),
            (Method::GET, Scope::Bucket, "versions&prefix=a&key-marker=b&version-id-marker=c", "ListObjectVersions"),
            (Method::GET, Scope::Object, "annotation&annotationName=n&versionId=x", "GetObjectAnnotation"),
            (Method::GET, Scope::Bucket, "inventory&id=x", "GetBucketInventoryConfiguration"),
            (Method::GET, Scope::Service, "location", "ListBuckets"),
        ] {
            assert_eq!(routed(method, scope, query), Ok(name), "{query}");
        }
        for (method, scope, query) in [
            (Method::POST, Scope::Object, "partNumber=1&uploadId=x"),
            (Method::POST, Scope::Object, "retention=&uploads="),
            (Method::POST, Scope::Object, "legal-hold&retention&uploads"),
            (Method::PUT, Scope::Object, "partNumber=1"),
            (Method::PUT, Scope::Object, "acl&tagging"),
            (Method::PUT, Scope::Object, "uploadId=x"),
            (Method::DELETE, Scope::Object, "uploadId=x&tagging"),
        ] {
            assert_eq!(routed(method, scope, query), Err(S3Code::InvalidArgument), "{query}");
        }
        // The bucket is not meant where an upload is.
        assert_eq!(routed(Method::DELETE, Scope::Bucket, "uploadId=x"), Err(S3Code::NotImplemented));
        assert_eq!(routed(Method::PUT, Scope::Object, "policy"), Err(S3Code::NotImplemented));
    }

    #[test]
    fn no_two_rows_of_the_table_mean_the_same_request() {
        for (index, route) in OPERATIONS.iter().enumerate() {
            for other in OPERATIONS.iter().skip(index + 1) {
                assert_ne!(route.pattern, other.pattern, "{} and {}", route.name, other.name);
                assert_ne!(route.name, other.name);
            }
        }
    }
}
