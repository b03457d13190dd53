//! Answers of modules. Errors have the original's form: `{"errorType":"…","errorMessage":"…"}` and a line end.

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{
    data::DataError,
    metadata::{MetadataError, wire::WireError},
    s3::{
        Refusal, ResponseBody,
        reply::{empty, full},
    },
    telemetry::AccessFacts,
    types::BodyError,
};

/// An error on its way to a front.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// Which condition of a batch does not hold.
    pub(super) condition: Option<usize>,
}

/// The form of an error, in the original's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    error_type: &'a str,
    error_message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<usize>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), condition: None }
    }

    pub(super) fn access_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ObjNotFound", "This object does not exist")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "The specified method is not allowed against this resource.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn invalid_uri(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidURI", message)
    }

    pub(super) fn invalid_range() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", "The requested range cannot be satisfied.")
    }

    pub(super) fn not_implemented(message: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(super) fn answer(&self) -> Response<ResponseBody> {
        let told = Told { error_type: self.kind, error_message: &self.message, condition: self.condition };
        let mut text = serde_json::to_vec(&told).unwrap_or_default();
        text.push(b'\n');
        let mut response = Response::new(full(text));
        *response.status_mut() = self.status;
        response
    }
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        let message = error.to_string();
        match error {
            DataError::NotFound(_) => Self::not_found(),
            DataError::OutOfRange(_) => Self::invalid_range(),
            DataError::NoSpace => Self::new(StatusCode::INSUFFICIENT_STORAGE, "NoSpace", message),
            DataError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message),
            DataError::Corrupt { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Corrupt", message),
            DataError::Io(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::new(StatusCode::CONFLICT, "EntityAlreadyExists", "this name is in use")
            }
            // A module knows neither names of objects nor parts, so the last two cannot come.
            DataError::Io(_) | DataError::NameTooLong(_) | DataError::Parts(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
            }
            DataError::Body(error) => error.into(),
        }
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        let kind = if error == BodyError::TimedOut { "RequestTimeout" } else { "IncompleteBody" };
        Self::new(StatusCode::BAD_REQUEST, kind, error.to_string())
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidInput", error.to_string())
    }
}

impl From<MetadataError> for Fault {
    fn from(error: MetadataError) -> Self {
        let message = error.to_string();
        let (status, kind, condition) = match error {
            MetadataError::Conflict(condition) => (StatusCode::PRECONDITION_FAILED, "Conflict", Some(condition)),
            MetadataError::ReadOnly => (StatusCode::SERVICE_UNAVAILABLE, "ReadOnly", None),
            MetadataError::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "NoSpace", None),
            MetadataError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Busy", None),
            MetadataError::Corrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Corrupt", None),
            MetadataError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", None),
            MetadataError::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Io", None),
        };
        Self { status, kind, message, condition }
    }
}

/// The answer to a request that the listener refuses.
pub(super) fn refused(refusal: Refusal) -> Response<ResponseBody> {
    let fault = match refusal {
        Refusal::SlowDown => Fault::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Reduce your request rate."),
        Refusal::Stopping => {
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the module is stopping")
        }
        Refusal::Panicked => Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "We encountered an internal error. Please try again.",
        ),
        Refusal::HeadersTooLarge => Fault::new(
            StatusCode::BAD_REQUEST,
            "HttpHeadersTooLarge",
            "Your http headers exceed the maximum allowed http headers size.",
        ),
        Refusal::TargetTooLong | Refusal::InvalidTarget => Fault::invalid_uri("malformed URI"),
        Refusal::AmbiguousFraming => {
            Fault::new(StatusCode::BAD_REQUEST, "BadRequest", "the length of the request is ambiguous")
        }
    };
    fault.answer()
}

/// A JSON document.
pub(super) fn document(value: &impl serde::Serialize) -> Result<Response<ResponseBody>, Fault> {
    let text = serde_json::to_vec(value);
    let text =
        text.map_err(|error| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()))?;
    let mut response = Response::new(full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A status and no body.
pub(super) fn bare(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// The answer, or the error's; with what the access line says of it.
pub(super) fn told(
    result: Result<Response<ResponseBody>, Fault>,
    operation: &'static str,
    action: &'static str,
) -> Response<ResponseBody> {
    let mut facts = AccessFacts { operation, action, ..AccessFacts::default() };
    let mut response = result.unwrap_or_else(|fault| {
        facts.error = Some(fault.kind);
        if fault.status.is_server_error() {
            tracing::error!(operation, kind = fault.kind, "{}", fault.message);
        }
        fault.answer()
    });
    response.extensions_mut().insert(facts);
    response
}
