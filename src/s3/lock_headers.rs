//! The headers of object lock: asked for by writes, shown by reads, and the one that passes over GOVERNANCE.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    context::Context,
    error::{S3Error, S3Result},
    head::{Head, parse_number},
    operation::{Need, ObjectRef},
    reply::set,
    request_body::Declared,
};
use crate::{
    auth::Action,
    storage::{
        Bucket,
        lock::{Bypass, Hold, Lock, Mode, Period},
        records::ObjectRecord,
    },
    types::Timestamp,
};

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";
const EVENT_HOLD: &str = "x-amz-object-lock-event-hold";
const DAYS: &str = "x-amz-object-lock-event-hold-duration-days";
const YEARS: &str = "x-amz-object-lock-event-hold-duration-years";
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// The lock that a write asks for.
///
/// # Errors
/// `InvalidArgument` for unknown values, a mode without a date or a date without a mode, an event hold without a
/// duration or a duration without a hold. Whether the bucket has object lock, and whether the date is in the future,
/// the engine says.
pub fn read(head: &Head) -> S3Result<Lock> {
    let lock = Lock {
        mode: value(head, MODE, "Unknown wormMode directive.", Mode::parse)?,
        until: value(
            head,
            UNTIL,
            "The retain until date must be provided in ISO 8601 format",
            Timestamp::parse_iso8601,
        )?,
        legal_hold: value(head, LEGAL_HOLD, "Legal Hold must be either of 'ON' or 'OFF'", hold)?.unwrap_or_default(),
        event_hold: value(head, EVENT_HOLD, "Event Hold must be either of 'ON' or 'OFF'", hold)?.unwrap_or_default(),
        duration: duration(head)?,
    };
    let is_on = lock.event_hold == Hold::On;
    if lock.until.is_some() && lock.mode.is_none() || lock.mode.is_some() && lock.until.is_none() && !is_on {
        let name = if lock.mode.is_some() { MODE } else { UNTIL };
        let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
        return Err(S3Error::argument(message, name, head.header(name).unwrap_or_default()));
    }
    if lock.duration.is_some() != is_on {
        let message = "x-amz-object-lock-event-hold: ON and a duration in days or years must both be supplied";
        return Err(S3Error::argument(message, EVENT_HOLD, head.header(EVENT_HOLD).unwrap_or_default()));
    }
    Ok(lock)
}

/// What a write with these headers needs besides the permission to write.
///
/// # Errors
/// As [`read`].
pub fn needs(head: &Head, object: &ObjectRef) -> S3Result<Vec<Need>> {
    let lock = read(head)?;
    let mut needs = Vec::new();
    if lock.has_retention() {
        needs.push(object.need(Action::PutObjectRetention));
    }
    if lock.legal_hold != Hold::Never {
        needs.push(object.need(Action::PutObjectLegalHold));
    }
    Ok(needs)
}

/// As [`needs`], for `PutObject`, whose body must carry a digest if a lock is asked for.
///
/// # Errors
/// As [`read`]; `InvalidRequest` without a digest.
pub fn needs_of_put(head: &Head, object: &ObjectRef) -> S3Result<Vec<Need>> {
    let needs = needs(head, object)?;
    let digested =
        || Ok::<_, S3Error>(head.headers.contains_key("content-md5") || Declared::read(head)?.algorithm.is_some());
    if !needs.is_empty() && !digested()? {
        return Err(S3Error::request(
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters",
        ));
    }
    Ok(needs)
}

fn value<T>(head: &Head, name: &str, message: &'static str, parse: impl Fn(&str) -> Option<T>) -> S3Result<Option<T>> {
    match head.header(name) {
        Some(text) => parse(text).map(Some).ok_or_else(|| S3Error::argument(message, name, text)),
        // A value that is no text must not pass for none: the object would lie there unprotected.
        None if head.headers.contains_key(name) => Err(S3Error::argument(message, name, "")),
        None => Ok(None),
    }
}

fn hold(text: &str) -> Option<Hold> {
    match text {
        "ON" => Some(Hold::On),
        "OFF" => Some(Hold::Off),
        _ => None,
    }
}

fn duration(head: &Head) -> S3Result<Option<Period>> {
    let number = |name, period: fn(u64) -> Option<Period>| {
        let message = "The event hold duration must be 1 to 36500 days or 1 to 100 years.";
        value(head, name, message, |text| period(parse_number(name, text).ok()?))
    };
    match (number(DAYS, Period::days)?, number(YEARS, Period::years)?) {
        (Some(_), Some(_)) => {
            let message = "You cannot specify an event hold duration in both days and years.";
            Err(S3Error::argument(message, YEARS, head.header(YEARS).unwrap_or_default()))
        }
        (days, years) => Ok(days.or(years)),
    }
}

/// The lock of a version, as far as the caller may see it.
///
/// A lock that cannot be read shows nothing; it still locks.
pub async fn show(cx: &mut Context, bucket: &Arc<Bucket>, object: &ObjectRef, record: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let lock = Lock::read(record).unwrap_or_default();
    if lock.has_retention() && cx.authorize_object(bucket, object, Action::GetObjectRetention).await.is_ok() {
        if let Some(mode) = lock.mode {
            headers.insert(MODE, HeaderValue::from_static(mode.name()));
        }
        if let Some(until) = lock.until {
            set(&mut headers, HeaderName::from_static(UNTIL), &until.to_iso8601());
        }
        if let Some(hold) = lock.event_hold.name() {
            headers.insert(EVENT_HOLD, HeaderValue::from_static(hold));
        }
        match lock.duration {
            Some(Period::Days(days)) => drop(headers.insert(DAYS, HeaderValue::from(days))),
            Some(Period::Years(years)) => drop(headers.insert(YEARS, HeaderValue::from(years))),
            None => {}
        }
    }
    if let Some(hold) = lock.legal_hold.name()
        && cx.authorize_object(bucket, object, Action::GetObjectLegalHold).await.is_ok()
    {
        headers.insert(LEGAL_HOLD, HeaderValue::from_static(hold));
    }
    headers
}

/// Whether the caller asks to pass over GOVERNANCE, and may. Who asks and may not is judged as if he had not asked.
pub async fn bypass(cx: &mut Context, bucket: &Arc<Bucket>, object: &ObjectRef) -> Bypass {
    let asked = cx.head.header(BYPASS).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if asked && cx.authorize_object(bucket, object, Action::BypassGovernanceRetention).await.is_ok() {
        Bypass::Governance
    } else {
        Bypass::No
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::s3::codes::S3Code;

    const DATE: &str = "2030-01-02T03:04:05.000Z";

    fn parsed(headers: &[(&'static str, &str)]) -> Result<Lock, S3Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        read(&Head::new(Method::PUT, map, "").unwrap()).map_err(|e| e.code)
    }

    #[test]
    fn every_header_is_read() {
        assert_eq!(parsed(&[]), Ok(Lock::default()));
        let until = Timestamp::parse_iso8601(DATE);
        let retained = Lock { mode: Some(Mode::Compliance), until, ..Lock::default() };
        assert_eq!(parsed(&[(MODE, "COMPLIANCE"), (UNTIL, DATE)]), Ok(retained));
        assert_eq!(parsed(&[(LEGAL_HOLD, "OFF")]), Ok(Lock { legal_hold: Hold::Off, ..Lock::default() }));
        let held = Lock { event_hold: Hold::On, duration: Some(Period::Days(36_500)), ..Lock::default() };
        assert_eq!(parsed(&[(EVENT_HOLD, "ON"), (DAYS, "36500")]), Ok(held));
        let governed = Lock { mode: Some(Mode::Governance), duration: Some(Period::Years(100)), ..held };
        assert_eq!(parsed(&[(MODE, "GOVERNANCE"), (EVENT_HOLD, "ON"), (YEARS, "100")]), Ok(governed));
        assert_eq!(parsed(&[(EVENT_HOLD, "OFF")]), Ok(Lock { event_hold: Hold::Off, ..Lock::default() }));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_taken_for_none() {
        for bad in [
            &[(MODE, "COMPLIANCE")][..],
            &[(UNTIL, DATE)],
            &[(MODE, "governance"), (UNTIL, DATE)],
            &[(MODE, "GOVERN\u{e4}NCE"), (UNTIL, DATE)],
            &[(MODE, ""), (UNTIL, DATE)],
            &[(MODE, "GOVERNANCE"), (UNTIL, "tomorrow")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "20300102T030405Z")],
            &[(LEGAL_HOLD, "on")],
            &[(LEGAL_HOLD, "")],
            &[(EVENT_HOLD, "ON")],
            &[(EVENT_HOLD, "OFF"), (DAYS, "1")],
            &[(DAYS, "1")],
            &[(EVENT_HOLD, "ON"), (DAYS, "1"), (YEARS, "1")],
            &[(EVENT_HOLD, "ON"), (DAYS, "0")],
            &[(EVENT_HOLD, "ON"), (DAYS, "36501")],
            &[(EVENT_HOLD, "ON"), (YEARS, "101")],
            &[(EVENT_HOLD, "ON"), (DAYS, "-1")],
        ] {
            assert_eq!(parsed(bad), Err(S3Code::InvalidArgument), "{bad:?}");
        }
    }
}
