//! The names of log objects (S3 reference, "Log object key format").

use super::LogSettings;
use crate::{
    storage::records::{AccessLines, LogPartition, LoggingRecord},
    types::Timestamp,
};

fn form(time: Timestamp, format: &str) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).strftime(format).to_string()
}

/// The key of an object with these lines, written at `now`. `unique` tells apart those of one second.
///
/// Where S3 has the account's number of twelve digits, this has the canonical id: the number is no part of a bucket.
pub(super) fn key(
    settings: &LogSettings,
    lines: &AccessLines,
    logging: &LoggingRecord,
    now: Timestamp,
    unique: [u8; 8],
) -> String {
    let unique = hex::encode_upper(unique);
    let (day, time) = match logging.partition() {
        LogPartition::Simple => (None, form(now, "%Y-%m-%d-%H-%M-%S")),
        LogPartition::DeliveryTime => (Some(form(now, "%Y/%m/%d")), form(now, "%Y-%m-%d-%H-%M-%S")),
        // The events of a day are in its folder; the time of day says nothing then.
        LogPartition::EventTime => {
            let event = Timestamp::from_millis(lines.first_ms);
            (Some(form(event, "%Y/%m/%d")), form(event, "%Y-%m-%d-00-00-00"))
        }
    };
    match day {
        None => format!("{}{time}-{unique}", logging.target_prefix),
        Some(day) => format!(
            "{}{}/{}/{}/{day}/{time}-{unique}",
            logging.target_prefix, lines.source_owner, settings.region, lines.source
        ),
    }
}
