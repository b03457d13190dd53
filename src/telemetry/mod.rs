//! Logs, metrics, the access log and health.
//!
//! Everything here is passed by argument: there is no global but the log subscriber that `tracing` itself needs.
//! What a request costs here is a few atomics and one formatted line, if the access log is on.

use std::{fmt, sync::Arc};

pub mod access_log;
pub mod health;
pub mod json;
pub mod lines;
pub mod logs;
pub mod metrics;
pub mod request_scope;

pub use access_log::AccessLog;
pub use health::{AllowList, Health, HealthReport, Probe};
pub use lines::LineSink;
pub use logs::{LogSettings, Logs};
pub use metrics::Metrics;

/// The identifier of a request: 20 hexadecimal digits, or the chain a peer sent in `x-scal-request-uids`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// The identifier as it stands in headers, error documents and logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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
