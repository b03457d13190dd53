//! What answers tell of rules that will take an object or an upload away: `x-amz-expiration`, `x-amz-abort-date`.
//!
//! Days are counted from creation to the next midnight UTC (S3 reference, "Lifecycle and other bucket configurations").

use http::{HeaderMap, HeaderName};

use crate::{
    s3::{reply::set, xml::url_encode},
    storage::{
        Bucket,
        records::{LifecycleRule, ObjectRecord},
    },
    types::{ObjectKey, Timestamp},
};

const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");
const ABORT_DATE: HeaderName = HeaderName::from_static("x-amz-abort-date");
const ABORT_RULE: HeaderName = HeaderName::from_static("x-amz-abort-rule-id");

/// The midnight at which something that began at `from` has had its days.
fn midnight_after(from: Timestamp, days: u32) -> Timestamp {
    from.plus_days(days).next_midnight()
}

/// A rule's name as a header shows it.
fn shown(rule: &LifecycleRule) -> String {
    url_encode(&rule.id).replace('/', "%2F")
}

/// Whether a rule is in force for keys like this.
fn concerns(rule: &LifecycleRule, key: &ObjectKey) -> bool {
    rule.enabled && rule.prefix.as_deref().is_none_or(|prefix| key.as_str().starts_with(prefix))
}

/// Whether an object meets the conditions of a rule that concerns its key.
fn fits(rule: &LifecycleRule, record: &ObjectRecord) -> bool {
    rule.tags.iter().all(|tag| record.tags.contains(tag))
        && rule.size_greater_than.is_none_or(|least| record.size > least)
        && rule.size_less_than.is_none_or(|most| record.size < most)
}

/// When a rule takes the object, if it does.
fn expires(rule: &LifecycleRule, modified: Timestamp) -> Option<Timestamp> {
    let expiration = rule.expiration.as_ref()?;
    let by_date = expiration.date_ms.map(Timestamp::from_millis);
    by_date.or_else(|| expiration.days.map(|days| midnight_after(modified, days)))
}

/// Says when the current version of an object expires, and by which rule; of several the first to come.
pub fn show_expiration(headers: &mut HeaderMap, bucket: &Bucket, key: &ObjectKey, record: &ObjectRecord) {
    let Some(lifecycle) = &bucket.record.lifecycle else { return };
    let modified = record.modified();
    let rules = lifecycle.rules.iter().filter(|rule| concerns(rule, key) && fits(rule, record));
    let first = rules.filter_map(|rule| Some((expires(rule, modified)?, rule))).min_by_key(|(time, _)| *time);
    if let Some((time, rule)) = first {
        let value = format!("expiry-date=\"{}\", rule-id=\"{}\"", time.to_http_date(), shown(rule));
        set(headers, EXPIRATION, &value);
    }
}

/// Says when an upload that is not completed is thrown away, and by which rule.
pub fn show_abort(headers: &mut HeaderMap, bucket: &Bucket, key: &ObjectKey, initiated: Timestamp) {
    let Some(lifecycle) = &bucket.record.lifecycle else { return };
    let rules = lifecycle.rules.iter().filter(|rule| concerns(rule, key));
    let first = rules.filter_map(|rule| Some((rule.abort_upload_days?, rule))).min_by_key(|(days, _)| *days);
    if let Some((days, rule)) = first {
        set(headers, ABORT_DATE, &midnight_after(initiated, days).to_http_date());
        set(headers, ABORT_RULE, &shown(rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::records::{ExpirationRecord, Pair};

    fn rule() -> LifecycleRule {
        let expiration = Some(ExpirationRecord { days: Some(1), ..ExpirationRecord::default() });
        LifecycleRule { id: "r".to_owned(), enabled: true, expiration, ..LifecycleRule::default() }
    }

    #[test]
    fn days_end_at_the_next_midnight() {
        let at = |text: &str| Timestamp::parse_iso8601(text).unwrap();
        let cases = [
            ("2026-03-01T10:30:00Z", 3, "2026-03-05T00:00:00.000Z"),
            ("2026-03-01T00:00:00Z", 1, "2026-03-02T00:00:00.000Z"),
            ("2026-03-01T00:00:00.001Z", 1, "2026-03-03T00:00:00.000Z"),
        ];
        for (from, days, expected) in cases {
            assert_eq!(midnight_after(at(from), days).to_iso8601(), expected, "{from}");
        }
        assert!(midnight_after(at("2026-03-01T00:00:00Z"), u32::MAX) > at("9999-01-01T00:00:00Z"));
    }

    #[test]
    fn a_rule_is_for_objects_that_meet_every_condition() {
        let tag = |value: &str| Pair { name: "k".to_owned(), value: value.to_owned() };
        let record = ObjectRecord { size: 10, tags: vec![tag("v")], ..ObjectRecord::default() };
        let fits = |change: fn(&mut LifecycleRule)| {
            let mut rule = rule();
            change(&mut rule);
            fits(&rule, &record)
        };
        assert!(fits(|_| {}));
        assert!(fits(|rule| rule.tags = vec![Pair { name: "k".to_owned(), value: "v".to_owned() }]));
        assert!(!fits(|rule| rule.tags = vec![Pair { name: "k".to_owned(), value: "w".to_owned() }]));
        assert!(fits(|rule| (rule.size_greater_than, rule.size_less_than) = (Some(9), Some(11))));
        assert!(!fits(|rule| rule.size_greater_than = Some(10)));
        assert!(!fits(|rule| rule.size_less_than = Some(10)));
        let key = ObjectKey::new("a/b").unwrap();
        assert!(concerns(&LifecycleRule { prefix: Some("a/".to_owned()), ..rule() }, &key));
        assert!(!concerns(&LifecycleRule { prefix: Some("b".to_owned()), ..rule() }, &key));
        assert!(!concerns(&LifecycleRule { enabled: false, ..rule() }, &key));
    }
}
