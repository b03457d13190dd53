//! Object lock: the configuration of a bucket, retention and holds of a version.

pub(in crate::s3) mod configuration;
pub(in crate::s3) mod legal_hold;
pub(in crate::s3) mod retention;

pub use configuration::{GetObjectLockConfiguration, PutObjectLockConfiguration};
pub use legal_hold::{GetObjectLegalHold, PutObjectLegalHold};
pub use retention::{GetObjectRetention, PutObjectRetention};

use std::sync::Arc;

use crate::{
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        operation::ObjectRef,
        xml::{Element, XmlError, XmlWriter},
    },
    storage::{
        Bucket,
        lock::{LockError, Period},
    },
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;

/// The bucket of an object whose lock is asked for.
///
/// # Errors
/// `InvalidRequest` where it has no object lock.
async fn bucket_with_lock(cx: &Context, object: &ObjectRef) -> S3Result<Arc<Bucket>> {
    let bucket = cx.bucket(&object.bucket).await?;
    if bucket.record.object_lock.is_some() { Ok(bucket) } else { Err(LockError::NotConfigured.into()) }
}

/// The period that stands in `Days` or `Years` of an element.
///
/// # Errors
/// `MalformedXML` for both, or what is no number; `out_of_bounds` for one that is too short or too long.
fn period(element: &Element<'_>, out_of_bounds: S3Code) -> S3Result<Option<Period>> {
    let number = |name: &'static str, period: fn(u64) -> Option<Period>| -> S3Result<Option<Period>> {
        let Some(number) = element.optional::<i64>(name)? else { return Ok(None) };
        let found = u64::try_from(number).ok().and_then(period);
        let message = if number > 0 {
            "Retention period is too large."
        } else {
            "Default retention period must be a positive integer value."
        };
        found.map(Some).ok_or_else(|| S3Error::argument(message, name, &number.to_string()).under(out_of_bounds))
    };
    match (element.child("Days")?, element.child("Years")?) {
        (Some(_), Some(_)) => Err(S3Code::MalformedXML.into()),
        (Some(_), None) => number("Days", Period::days),
        (None, _) => number("Years", Period::years),
    }
}

/// The period of an element that has nothing else.
fn only_period(element: &Element<'_>) -> S3Result<Period> {
    element.only(&["Days", "Years"])?;
    period(element, S3Code::InvalidArgument)?.ok_or_else(|| XmlError::Missing("Days").into())
}

fn write_period(xml: &mut XmlWriter, period: Period) {
    match period {
        Period::Days(days) => xml.value("Days", days),
        Period::Years(years) => xml.value("Years", years),
    };
}
