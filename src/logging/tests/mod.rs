mod courier;

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;

use super::{line::AccessLine, name};
use crate::{
    auth::AccountNumbers,
    logging::LogSettings,
    storage::records::{AccessLines, LogPartition, LoggingRecord},
    types::{AccountId, Timestamp},
};

fn line() -> AccessLine<'static> {
    AccessLine {
        owner: "79a5",
        bucket: "b",
        time: Timestamp::parse_iso8601("2019-02-06T00:00:38Z").unwrap(),
        peer: "192.0.2.3".parse().unwrap(),
        requester: "79a6",
        request_id: "3E57427F3EXAMPLE",
        operation: "REST.GET.VERSIONING",
        key: "",
        request: "GET /b?versioning HTTP/1.1",
        status: 200,
        error: "",
        sent: 113,
        object_size: None,
        total: Duration::from_millis(7),
        turnaround: Duration::from_micros(5999),
        referer: None,
        agent: Some("S3Console/0.4"),
        version: "",
        signature: "SigV4",
        authentication: "AuthHeader",
        host: Some("b.example.com"),
    }
}

/// Nobody has a number.
#[derive(Debug)]
struct Nobody;

impl AccountNumbers for Nobody {
    fn number_of(&self, _: &AccountId) -> Option<Arc<str>> {
        None
    }
}

fn settings() -> LogSettings {
    LogSettings {
        interval: Duration::from_millis(10),
        lines: 1000,
        region: "us-east-1".to_owned(),
        numbers: Arc::new(Nobody),
        dropped: Counter::default(),
    }
}

#[test]
fn a_line_has_twenty_six_fields_in_the_order_of_the_reference() {
    assert_eq!(
        line().to_string(),
        "79a5 b [06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a6 3E57427F3EXAMPLE REST.GET.VERSIONING - \
         \"GET /b?versioning HTTP/1.1\" 200 - 113 - 7 5 \"-\" \"S3Console/0.4\" - 3E57427F3EXAMPLE SigV4 - \
         AuthHeader b.example.com - - -\n"
    );
}

#[test]
fn no_text_of_a_client_ends_its_field_or_its_line() {
    let hostile = AccessLine {
        requester: "",
        key: "a b",
        agent: Some("x\" \"y\r\nz"),
        referer: Some("ä".repeat(3000).leak()),
        ..line()
    };
    let text = hostile.to_string();
    assert_eq!(text.matches('\n').count(), 1);
    assert_eq!(text.matches('"').count(), 6);
    assert!(text.contains(" a%20b ") && text.contains("\"x%22 %22y  z\""), "{text}");
    assert!(text.len() < 2600, "{}", text.len());
}

#[test]
fn log_objects_are_named_by_time_or_in_folders_by_day() {
    let settings = settings();
    let now = Timestamp::parse_iso8601("2026-03-04T05:06:07Z").unwrap();
    let event = Timestamp::parse_iso8601("2026-03-03T23:59:59Z").unwrap();
    let lines = AccessLines {
        source: "src".to_owned(),
        source_owner: "79a5".to_owned(),
        first_ms: event.as_millis(),
        ..AccessLines::default()
    };
    let key = |partition: LogPartition| {
        let logging =
            LoggingRecord { target_prefix: "log/".to_owned(), partition: partition.into(), ..LoggingRecord::default() };
        name::key(&settings, &lines, &logging, now, [0xab; 8])
    };
    assert_eq!(key(LogPartition::Simple), "log/2026-03-04-05-06-07-ABABABABABABABAB");
    assert_eq!(
        key(LogPartition::DeliveryTime),
        "log/79a5/us-east-1/src/2026/03/04/2026-03-04-05-06-07-ABABABABABABABAB"
    );
    assert_eq!(key(LogPartition::EventTime), "log/79a5/us-east-1/src/2026/03/03/2026-03-03-00-00-00-ABABABABABABABAB");
}
