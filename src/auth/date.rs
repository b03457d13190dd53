//! When a request says it was made.

use std::borrow::Cow;

use http::HeaderMap;

use super::{AuthError, MAX_SKEW};
use crate::types::Timestamp;

/// The date of a request that is signed in its headers.
#[derive(Debug)]
pub(super) struct RequestDate<'a> {
    /// As sent.
    pub(super) sent: &'a str,
    pub(super) time: Timestamp,
}

impl<'a> RequestDate<'a> {
    /// Reads `x-amz-date`, which wins, or `Date`.
    ///
    /// # Errors
    /// `MissingDate` where neither is there, or the one that counts is no date or comes twice.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let name = if headers.contains_key(X_AMZ_DATE) { X_AMZ_DATE } else { "date" };
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(AuthError::MissingDate) };
        let sent = value.to_str().map_err(|_| AuthError::MissingDate)?.trim();
        let time = parse(sent).ok_or(AuthError::MissingDate)?;
        Ok(Self { sent, time })
    }

    /// The ISO 8601 basic form, which V4 signs.
    pub(super) fn basic(&self) -> Cow<'a, str> {
        if is_basic(self.sent) { Cow::Borrowed(self.sent) } else { Cow::Owned(self.time.to_basic()) }
    }

    /// Refuses dates further than [`MAX_SKEW`] from `now`, on either side.
    pub(super) fn check_skew(&self, now: Timestamp) -> Result<(), AuthError> {
        if now.distance(self.time) <= MAX_SKEW {
            return Ok(());
        }
        Err(AuthError::RequestTimeTooSkewed { request_time: self.sent.to_owned(), server_time: now })
    }
}

pub(super) const X_AMZ_DATE: &str = "x-amz-date";

fn is_basic(text: &str) -> bool {
    text.ends_with('Z') && text.len() == 16
}

/// ISO 8601 basic, the HTTP date forms, or RFC 2822 (`… +0000`, as s3cmd and the V2 documents write it).
///
/// A wrong day of the week is overlooked: it says nothing.
fn parse(text: &str) -> Option<Timestamp> {
    static RFC_2822: jiff::fmt::rfc2822::DateTimeParser =
        jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if is_basic(text) {
        return Timestamp::parse_basic(text);
    }
    Timestamp::parse_http_date(text).or_else(|| {
        let time = RFC_2822.parse_timestamp(text).ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Timestamp::from_millis)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_clients_send_is_the_same_instant() {
        let time = Some(Timestamp::from_secs(1_175_024_202));
        for text in [
            "20070327T193642Z",
            "Tue, 27 Mar 2007 19:36:42 GMT",
            "Tue, 27 Mar 2007 19:36:42 +0000",
            "Mon, 27 Mar 2007 19:36:42 +0000",
            "Tue, 27 Mar 2007 21:36:42 +0200",
            "Tuesday, 27-Mar-07 19:36:42 GMT",
        ] {
            assert_eq!(parse(text), time, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_after_the_epoch_is_refused() {
        for text in
            ["", "Bad Date", "20070327", "2007-03-27T19:36:42Z", "20071327T193642Z", "Tue, 07 Jul 1950 21:53:04 GMT"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
