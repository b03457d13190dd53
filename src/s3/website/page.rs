//! The page that a visitor sees where the bucket has none for an error.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use quick_xml::escape::escape;

use crate::{
    s3::{ResponseBody, error::S3Error, reply},
    telemetry::RequestId,
};

/// What went wrong, in headers that scripts and proxies read (S3 user guide, "Website endpoints").
pub(super) fn explain(error: &S3Error, headers: &mut HeaderMap) {
    headers.insert("x-amz-error-code", HeaderValue::from_static(error.code.name()));
    reply::set(headers, HeaderName::from_static("x-amz-error-message"), error.message());
    if let Some((_, key)) = error.fields().find(|(name, _)| *name == "Key") {
        reply::set(headers, HeaderName::from_static("x-amz-error-detail-key"), &reply_safe(key));
    }
}

/// Keys beyond visible ASCII travel escaped.
fn reply_safe(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).to_string()
}

/// The answer to a request that failed, with the built-in page. `custom` is why the bucket's own page is not shown.
pub(super) fn render(
    error: &S3Error,
    custom: Option<&S3Error>,
    id: &RequestId,
    with_body: bool,
) -> Response<ResponseBody> {
    let mut response = error.render("", id, false);
    if response.status() == StatusCode::NOT_MODIFIED {
        return response;
    }
    let html = html(error, custom, id);
    let headers = response.headers_mut();
    explain(error, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(html.len()));
    if with_body {
        *response.body_mut() = reply::full(html);
    }
    response
}

fn html(error: &S3Error, custom: Option<&S3Error>, id: &RequestId) -> String {
    let title = error.status().to_string();
    let mut page = format!("<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n");
    list(&mut page, error, &[("RequestId", &id.0), ("HostId", &id.0)]);
    if let Some(custom) = custom {
        page.push_str("<h3>The error document of this website cannot be shown</h3>\n");
        list(&mut page, custom, &[]);
    }
    page.push_str("<hr/>\n</body>\n</html>\n");
    page
}

fn list(page: &mut String, error: &S3Error, more: &[(&'static str, &str)]) {
    page.push_str("<ul>\n");
    let what = [("Code", error.code.name()), ("Message", error.message())];
    for (name, value) in what.into_iter().chain(error.fields()).chain(more.iter().copied()) {
        // A String takes whatever is written.
        writeln!(page, "<li>{name}: {}</li>", escape(value)).ok();
    }
    page.push_str("</ul>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::codes::S3Code;

    #[test]
    fn nothing_of_the_request_becomes_markup() {
        let key = "<script>alert('x')</script>&\"";
        let error = S3Error::from(S3Code::NoSuchKey).with("Key", key);
        let custom = S3Error::from(S3Code::AccessDenied).with("Key", key);
        let page = html(&error, Some(&custom), &RequestId("id".into()));
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("<h1>404 Not Found</h1>") && page.contains("<li>Code: NoSuchKey</li>"), "{page}");
        assert!(page.contains("<li>Code: AccessDenied</li>") && page.contains("<li>RequestId: id</li>"), "{page}");
    }

    #[test]
    fn a_key_of_any_characters_fits_its_header() {
        let mut headers = HeaderMap::new();
        explain(&S3Error::from(S3Code::NoSuchKey).with("Key", "a\r\nü"), &mut headers);
        assert_eq!(headers["x-amz-error-detail-key"], "a%0D%0A%C3%BC");
    }
}
