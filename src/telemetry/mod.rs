//! Logs, metrics and the access log.

use std::sync::Arc;

/// The identifier of a request: 20 hexadecimal digits, or the chain a peer sent in `x-scal-request-uids`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// What the S3 layer knows of a finished request; travels in the response's extensions to the access log.
#[derive(Clone, Debug, Default)]
pub struct AccessFacts {
    /// The operation's name in the S3 reference, such as `PutObject`.
    pub operation: &'static str,
    /// The operation's name in the original's metrics, such as `objectPut`.
    pub action: &'static str,
    /// The bucket of the request.
    pub bucket: Option<Arc<str>>,
    /// The key of the request.
    pub key: Option<Arc<str>>,
    /// The canonical id of the caller.
    pub requester: Option<Arc<str>>,
    /// The S3 error code of the answer.
    pub error: Option<&'static str>,
}
