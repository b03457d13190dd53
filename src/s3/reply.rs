//! Answers that many operations share.

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::{ResponseBody, error::S3Result, operation::Reply};
use crate::types::ByteStream;

/// A body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> ResponseBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that a stream fills; its length stands in the headers.
pub fn streaming(stream: ByteStream) -> ResponseBody {
    StreamBody::new(stream.map(|chunk| chunk.map(http_body::Frame::data))).boxed_unsync()
}

/// A status and headers, no body.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
}

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The whole text.
    pub xml: Bytes,
    /// Headers.
    pub headers: HeaderMap,
}

impl Plain {
    /// 200 without headers.
    pub fn ok() -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new() }
    }

    /// 204 without headers.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: HeaderMap::new() }
    }

    /// Adds a header; a value that is none is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }
}

impl Document {
    /// A document without headers.
    pub fn new(xml: Bytes) -> Self {
        Self { xml, headers: HeaderMap::new() }
    }

    /// Adds a header; a value that is none is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }
}

impl Reply for Plain {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let mut response = Response::new(empty());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if self.status == StatusCode::OK {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        Ok(response)
    }
}

impl Reply for Document {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let mut response = Response::new(full(self.xml));
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        Ok(response)
    }
}

/// Sets a header; a value that is none (control characters) is left out.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}
