//! Wall-clock time as S3 shows it.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A time from milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// A time from whole seconds since the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as HTTP dates and conditional requests see them.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time moved by `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This time moved by days of 24 hours into the future.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        self.plus(Duration::from_hours(24 * u64::from(days)))
    }

    /// The midnight UTC that this time is, or that comes next.
    #[must_use]
    pub fn next_midnight(self) -> Self {
        const DAY_MS: u64 = 86_400_000;
        Self(self.0.div_ceil(DAY_MS).saturating_mul(DAY_MS))
    }

    /// This time moved by calendar years into the future: the same day and hour, 28 February for a 29th that is not
    /// there. Beyond the year 9999 a year has 366 days.
    #[must_use]
    pub fn plus_years(self, years: u32) -> Self {
        let moved = || {
            let time = jiff::Timestamp::from_millisecond(i64::try_from(self.0).ok()?).ok()?;
            let years = jiff::Span::new().try_years(years).ok()?;
            let moved = time.to_zoned(jiff::tz::TimeZone::UTC).checked_add(years).ok()?;
            u64::try_from(moved.timestamp().as_millisecond()).ok().map(Self)
        };
        moved().unwrap_or_else(|| self.plus_days(years.saturating_mul(366)))
    }

    /// The distance to `other`, whichever is the later.
    #[must_use]
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// RFC 9110 IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn to_http_date(self) -> String {
        // httpdate panics past the year 9999: clamp to its last second.
        let secs = self.as_secs().min(253_402_300_799);
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs))
    }

    /// ISO 8601 with milliseconds, the form of S3's XML: `2026-01-02T03:04:05.000Z`.
    pub fn to_iso8601(self) -> String {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis)
            .unwrap_or(jiff::Timestamp::MAX)
            .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
            .to_string()
    }

    /// Any of the three HTTP date forms; `None` where the text is none of them.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let time = httpdate::parse_http_date(text).ok()?;
        Some(Self::from_secs(time.duration_since(UNIX_EPOCH).ok()?.as_secs()))
    }

    /// RFC 3339 / ISO 8601 extended form with a zone: `2026-01-02T03:04:05Z`.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        // The library reads the basic form, too; S3 does not.
        if text.as_bytes().get(4) != Some(&b'-') {
            return None;
        }
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Self)
    }

    /// ISO 8601 basic form, as signatures carry it: `20260102T030405Z`.
    pub fn parse_basic(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.is_ascii() || !text.ends_with('Z') || text.as_bytes().get(8) != Some(&b'T') {
            return None;
        }
        let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
        let stamp = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        u64::try_from(stamp.as_millisecond()).ok().map(Self)
    }

    /// ISO 8601 basic form: `20260102T030405Z`.
    pub fn to_basic(self) -> String {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).strftime("%Y%m%dT%H%M%SZ").to_string()
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso8601())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_calendar_years() {
        let at = |text: &str| Timestamp::parse_iso8601(text).unwrap();
        for (start, years, end) in [
            ("2026-03-01T01:02:03Z", 1, "2027-03-01T01:02:03Z"),
            ("2028-02-29T00:00:00Z", 1, "2029-02-28T00:00:00Z"),
            ("2028-02-29T00:00:00Z", 4, "2032-02-29T00:00:00Z"),
            ("2026-01-01T00:00:00Z", 100, "2126-01-01T00:00:00Z"),
        ] {
            assert_eq!(at(start).plus_years(years), at(end), "{start} and {years} years");
        }
        assert!(at("9999-01-01T00:00:00Z").plus_years(2) > at("9999-12-30T00:00:00Z"));
        assert_eq!(at("2026-01-31T00:00:00Z").plus_days(1), at("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn every_form_of_one_instant_agrees() {
        let time = Timestamp::from_secs(784_111_777);
        assert_eq!(time.to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(time.to_iso8601(), "1994-11-06T08:49:37.000Z");
        assert_eq!(time.to_basic(), "19941106T084937Z");
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(Timestamp::parse_http_date(text), Some(time), "{text}");
        }
        assert_eq!(Timestamp::parse_iso8601("1994-11-06T08:49:37Z"), Some(time));
        assert_eq!(Timestamp::parse_basic("19941106T084937Z"), Some(time));
        assert_eq!(Timestamp::parse_basic("19941306T084937Z"), None);
        assert_eq!(Timestamp::parse_basic("1994-11-06T0849Z"), None);
    }
}
