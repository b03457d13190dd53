//! Why a far store did not do it.

use http::{HeaderMap, StatusCode};
use thiserror::Error;

use super::text_of;
use crate::{outbound::OutboundError, types::BodyError, xml};

/// Longest text taken over from a far side, in characters.
const LONGEST_TEXT: usize = 300;

/// An answer that says no.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{code} ({status}): {message}")]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// S3's code, such as `NoSuchKey`; made of the status where the answer had none.
    pub code: String,
    /// The far side's words, cut to a sane length.
    pub message: String,
    /// `x-amz-request-id`, for whoever runs the far side.
    pub request_id: Option<String>,
}

/// Why there is no good answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum S3ClientError {
    /// The far side says no.
    #[error(transparent)]
    Refused(Refusal),
    /// There is no answer.
    #[error(transparent)]
    Outbound(OutboundError),
    /// There is an answer that cannot be used, or nothing could be asked.
    #[error("{0}")]
    Answer(String),
}

impl Refusal {
    /// Reads an error document; `None` for any other.
    pub(super) fn read(status: StatusCode, text: &[u8]) -> Option<Self> {
        let root = xml::read::read(text).ok()?;
        if root.name() != "Error" {
            return None;
        }
        let field = |name| root.children_named(name).next().map(|child| cut(child.text()));
        let code = field("Code").filter(|code| !code.is_empty())?;
        // An error that came too late to change the status.
        let status = if status.is_success() { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        Some(Self { status, code, message: field("Message").unwrap_or_default(), request_id: field("RequestId") })
    }

    /// What a status without a document says, such as that of a HEAD.
    pub(super) fn of_status(status: StatusCode, headers: &HeaderMap) -> Self {
        let code = match status.as_u16() {
            304 => "NotModified",
            400 => "BadRequest",
            401 | 403 => "AccessDenied",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 => "Conflict",
            412 => "PreconditionFailed",
            416 => "InvalidRange",
            429 | 503 => "SlowDown",
            501 => "NotImplemented",
            status if status >= 500 => "InternalError",
            _ => "Unexpected",
        };
        Self {
            status,
            code: code.to_owned(),
            message: status.canonical_reason().unwrap_or_default().to_owned(),
            request_id: text_of(headers, "x-amz-request-id").map(cut),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(LONGEST_TEXT).collect()
}

impl S3ClientError {
    /// The far side's code, if it answered with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::Outbound(_) | Self::Answer(_) => None,
        }
    }

    /// The far side's status, if it answered with an error.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status.as_u16()),
            Self::Outbound(_) | Self::Answer(_) => None,
        }
    }

    /// What broke in the body that was to be sent.
    pub const fn body(&self) -> Option<&BodyError> {
        match self {
            Self::Outbound(OutboundError::Body(error)) => Some(error),
            _ => None,
        }
    }

    /// The object, or this version of it, is not there.
    pub fn is_missing(&self) -> bool {
        match self {
            // A delete marker of that name answers 405.
            Self::Refused(refusal) => {
                matches!(refusal.code.as_str(), "NoSuchKey" | "NoSuchVersion" | "NotFound")
                    || (refusal.code == "MethodNotAllowed" && refusal.status.as_u16() == 405)
            }
            Self::Outbound(_) | Self::Answer(_) => false,
        }
    }

    /// The same request may have more luck later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
                    || matches!(
                        refusal.code.as_str(),
                        "RequestTimeout" | "SlowDown" | "InternalError" | "OperationAborted" | "Throttling"
                    )
            }
            Self::Outbound(OutboundError::Body(_) | OutboundError::Unsendable(_)) => false,
            Self::Outbound(_) | Self::Answer(_) => true,
        }
    }

    /// The far side surely did nothing, and the same request may have more luck later.
    pub fn was_not_done(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.status.as_u16(), 408 | 429)
                    || matches!(refusal.code.as_str(), "RequestTimeout" | "SlowDown" | "Throttling")
            }
            Self::Outbound(OutboundError::Connect { .. }) => true,
            Self::Outbound(_) | Self::Answer(_) => false,
        }
    }

    /// The far side may have done it, though it did not say so.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.status.is_server_error() && !self.was_not_done(),
            Self::Outbound(error) => !error.nothing_sent() && !matches!(error, OutboundError::Body(_)),
            Self::Answer(_) => true,
        }
    }
}
