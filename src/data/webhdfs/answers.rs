//! What a cluster's refusals mean: a status, and the name of the exception behind it.

use http::{Response, StatusCode};
use serde_json::Value;

use super::super::tree::TreeError;
use crate::types::{ByteStream, body};

/// Longest error document read.
const LONGEST_ERROR: usize = 64 << 10;

/// What an answer that says no means for the file it was about.
pub(super) async fn failure(operation: &'static str, answer: Response<ByteStream>) -> TreeError {
    let (head, stream) = answer.into_parts();
    let text = body::collect(stream, LONGEST_ERROR).await.unwrap_or_default();
    let document: Value = serde_json::from_slice(&text).unwrap_or_default();
    let exception = document.pointer("/RemoteException/exception").and_then(Value::as_str).unwrap_or_default();
    meaning(operation, head.status, exception)
}

fn meaning(operation: &'static str, status: StatusCode, exception: &str) -> TreeError {
    let told = || {
        let reason = if exception.is_empty() { status.canonical_reason().unwrap_or("no reason") } else { exception };
        format!("{operation}: {} {}", status.as_str(), reason.chars().take(100).collect::<String>())
    };
    match exception {
        "FileNotFoundException" => return TreeError::Missing,
        "FileAlreadyExistsException" => return TreeError::Exists,
        "DSQuotaExceededException" | "NSQuotaExceededException" | "QuotaByStorageTypeExceededException" => {
            return TreeError::NoSpace;
        }
        // The other name node of a pair, or one that has just begun.
        "StandbyException" | "RetriableException" | "SafeModeException" => return TreeError::Away(told()),
        _ => {}
    }
    match status.as_u16() {
        404 => TreeError::Missing,
        401 | 403 => TreeError::Refused(format!("{}: look at user and token, and at what the user may do", told())),
        408 | 429 | 500..=599 => TreeError::Away(told()),
        _ => TreeError::Refused(told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exception_counts_more_than_the_status() {
        let of = |status: u16, exception| meaning("OPEN", StatusCode::from_u16(status).unwrap(), exception);
        assert_eq!(of(404, "FileNotFoundException"), TreeError::Missing);
        assert_eq!(of(403, "FileAlreadyExistsException"), TreeError::Exists);
        assert_eq!(of(403, "DSQuotaExceededException"), TreeError::NoSpace);
        assert!(matches!(of(403, "StandbyException"), TreeError::Away(why) if why == "OPEN: 403 StandbyException"));
        assert!(matches!(of(403, "AccessControlException"), TreeError::Refused(_)));
        assert!(matches!(of(500, "IOException"), TreeError::Away(_)));
        assert!(matches!(of(400, ""), TreeError::Refused(why) if why == "OPEN: 400 Bad Request"));
    }
}
