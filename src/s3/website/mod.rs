//! Buckets as websites: pages for visitors without credentials (S3 user guide, "Hosting a static website").
//!
//! Order of a visit: the redirection of everything; rules that ask for no error; the page, or a folder's index; the
//! page's own redirection. After an error: the folder of that name, rules for the error, the bucket's error document
//! under the error's status, the built-in page. Who may see a page is decided as for any anonymous `GetObject`.
//! Signatures, versions, `response-*` and all other parameters mean nothing here.

mod page;
mod rules;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header, request::Parts};

use self::rules::Redirection;
use super::{
    ResponseBody,
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    head::Head,
    operation::{Operation, Reply},
    ops::get_object::{GetObject, HeadObject},
    reply,
    resolve::Address,
};
use crate::{
    storage::{Bucket, StorageError, records::WebsiteRecord},
    telemetry::RequestId,
};

/// Methods that websites know.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// Headers of a request that concern the page it names, and not another one shown in its place.
const CONDITIONS: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// A visit that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: S3Error,
    /// The bucket's error document, or why it cannot be shown; `None` where the bucket has none.
    document: Option<S3Result<Response<ResponseBody>>>,
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self { error, document: None }
    }
}

impl Failure {
    /// The same with the error changed.
    #[must_use]
    pub fn map(self, change: impl FnOnce(S3Error) -> S3Error) -> Self {
        Self { error: change(self.error), document: self.document }
    }

    /// The answer: the bucket's error document, or the built-in page.
    pub fn render(self, id: &RequestId, with_body: bool) -> Response<ResponseBody> {
        match self.document {
            Some(Ok(mut document)) if document.status() == StatusCode::OK => {
                *document.status_mut() = self.error.status();
                page::explain(&self.error, document.headers_mut());
                // A range that fits nothing: what would have fitted is said beside the document, too.
                if let Some(size) = self.error.render("", id, false).headers_mut().remove(header::CONTENT_RANGE) {
                    document.headers_mut().insert(header::CONTENT_RANGE, size);
                }
                document
            }
            // The error document is itself moved elsewhere.
            Some(Ok(moved)) => moved,
            Some(Err(custom)) => page::render(&self.error, Some(&custom), id, with_body),
            None => page::render(&self.error, None, id, with_body),
        }
    }
}

/// The request for a page, less all that websites ignore.
///
/// # Errors
/// `MethodNotAllowed` for anything but GET and HEAD.
pub fn head(parts: Parts, address: &Address, base_url: &str) -> S3Result<Head> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(S3Error::from(S3Code::MethodNotAllowed)
            .with("Method", parts.method.as_str())
            .with("ResourceType", "OBJECT")
            .header(header::ALLOW, METHODS));
    }
    let mut headers = HeaderMap::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        if *name != header::AUTHORIZATION && !name.as_str().starts_with("x-amz-") {
            headers.append(name, value.clone());
        }
    }
    let mut head = Head::new(parts.method, headers, "")?;
    head.bucket.clone_from(&address.bucket);
    head.key.clone_from(&address.key);
    head.host.clone_from(&address.endpoint);
    base_url.clone_into(&mut head.base_url);
    Ok(head)
}

/// Answers a visit. `cx` is an anonymous caller's, with a head from [`head`].
///
/// # Errors
/// [`Failure`], to be shown to the visitor.
pub async fn visit(cx: &Context) -> Result<Response<ResponseBody>, Failure> {
    let bucket = cx.bucket(&cx.head.bucket()?).await?;
    let Some(site) = &bucket.record.website else {
        let error = S3Error::from(S3Code::NoSuchWebsiteConfiguration).with("BucketName", bucket.name.as_str());
        return Err(error.into());
    };
    let (key, base) = (cx.head.key.as_str(), cx.head.base_url.as_str());
    if let Some(all) = &site.redirect_all {
        return Ok(send_to(&rules::redirect(all, base, key, "")));
    }
    if let Some(rule) = rules::before(&site.rules, key) {
        return Ok(send_to(&rules::follow(rule, base, key)));
    }
    let index = if key.is_empty() || key.ends_with('/') { site.index.as_str() } else { "" };
    match show(cx, &bucket, &format!("{key}{index}"), cx.head.headers.clone()).await {
        Ok(response) => Ok(response),
        Err(error) => after_error(cx, &bucket, site, error).await,
    }
}

async fn after_error(
    cx: &Context,
    bucket: &Arc<Bucket>,
    site: &WebsiteRecord,
    error: S3Error,
) -> Result<Response<ResponseBody>, Failure> {
    let (key, base, status) = (cx.head.key.as_str(), cx.head.base_url.as_str(), error.status());
    let missing = matches!(error.code, S3Code::NoSuchKey | S3Code::AccessDenied);
    if missing && is_folder(cx, bucket, site).await? {
        return Ok(send_to(&rules::folder(key)));
    }
    if let Some(rule) = rules::after(&site.rules, key, status) {
        return Ok(send_to(&rules::follow(rule, base, key)));
    }
    if !status.is_client_error() || site.error_key.is_empty() {
        return Err(error.into());
    }
    let mut headers = cx.head.headers.clone();
    for name in CONDITIONS {
        headers.remove(name);
    }
    let document = show(cx, bucket, &site.error_key, headers).await;
    Err(Failure { error, document: Some(document) })
}

/// Whether the key names no object, but a folder whose index the visitor may see.
async fn is_folder(cx: &Context, bucket: &Arc<Bucket>, site: &WebsiteRecord) -> S3Result<bool> {
    let key = cx.head.key.as_str();
    if key.is_empty() || key.ends_with('/') {
        return Ok(false);
    }
    let found = cx.storage.version(bucket, &super::head::key(key)?, None).await;
    if !matches!(found, Err(StorageError::NoSuchKey(_))) {
        return Ok(false);
    }
    let index = format!("{key}/{}", site.index);
    let Ok((cx, _)) = open(cx, &index, HeaderMap::new()).await else { return Ok(false) };
    let object = cx.head.object()?;
    Ok(cx.authorized(&object).is_some() || cx.storage.version(bucket, &object.key, None).await.is_ok())
}

/// The reading of an object, once it is clear that the visitor may.
async fn open(cx: &Context, key: &str, mut headers: HeaderMap) -> S3Result<(Context, GetObject)> {
    // The bucket's policy may ask where a visitor comes from.
    for name in [header::REFERER, header::USER_AGENT] {
        if let Some(value) = cx.head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let mut head = Head::new(cx.head.method.clone(), headers, "")?;
    head.bucket.clone_from(&cx.head.bucket);
    head.dialect = cx.head.dialect;
    key.clone_into(&mut head.key);
    let mut cx = cx.with_head(Arc::new(head));
    let operation = GetObject::parse(&cx.head)?;
    for need in operation.needs() {
        cx.authorize(&need).await?;
    }
    Ok((cx, operation))
}

/// An object as a visitor sees it, or where it sends him; what is missing is named.
async fn show(cx: &Context, bucket: &Bucket, key: &str, headers: HeaderMap) -> S3Result<Response<ResponseBody>> {
    read(cx, bucket, key, headers).await.map_err(|error| match error.code {
        S3Code::NoSuchKey => error.with("Key", key),
        _ => error,
    })
}

async fn read(cx: &Context, bucket: &Bucket, key: &str, headers: HeaderMap) -> S3Result<Response<ResponseBody>> {
    let (cx, operation) = open(cx, key, headers).await?;
    let object = cx.head.object()?;
    let location = match cx.authorized(&object) {
        Some(record) => record.redirect.clone(),
        // What is missing is said by the operation.
        None => cx.storage.version(bucket, &object.key, None).await.map(|record| record.redirect).unwrap_or_default(),
    };
    if !location.is_empty() {
        return Ok(send_to(&Redirection { status: StatusCode::MOVED_PERMANENTLY, location }));
    }
    let reply = if cx.head.method == Method::HEAD {
        HeadObject::parse(&cx.head)?.answer(cx).await?
    } else {
        operation.answer(cx).await?
    };
    reply.render()
}

fn send_to(to: &Redirection) -> Response<ResponseBody> {
    let mut response = Response::new(reply::empty());
    *response.status_mut() = to.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    reply::set(headers, header::LOCATION, &to.location);
    response
}
