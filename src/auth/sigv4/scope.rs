//! The credential scope: `access key/yyyymmdd/region/s3/aws4_request`.

use crate::auth::AuthError;

/// A scope whose region, service and terminator are right.
#[derive(Debug)]
pub(in crate::auth) struct Scope<'a> {
    pub(in crate::auth) access_key: &'a str,
    /// Eight digits.
    pub(in crate::auth) date: &'a str,
    pub(in crate::auth) region: &'a str,
    /// All but the access key, as the string to sign shows it.
    pub(in crate::auth) text: &'a str,
}

/// What is wrong with a scope.
#[derive(Debug)]
pub(in crate::auth) struct ScopeFault {
    reason: String,
    region: Option<String>,
}

pub(super) const SERVICE: &str = "s3";
pub(super) const TERMINATOR: &str = "aws4_request";

impl<'a> Scope<'a> {
    /// Reads a credential; `region` is the only one accepted, if given.
    pub(in crate::auth) fn parse(credential: &'a str, region: Option<&str>) -> Result<Self, ScopeFault> {
        let mut parts = credential.rsplitn(5, '/');
        let (Some(terminator), Some(service), Some(named), Some(date), Some(access_key)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ScopeFault::malformed());
        };
        let text = credential.get(access_key.len().saturating_add(1)..).unwrap_or_default();
        // Printable ASCII only: the text becomes lines of what is signed.
        if access_key.is_empty() || named.is_empty() || !credential.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScopeFault::malformed());
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ScopeFault::because(format!(
                "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
            )));
        }
        if let Some(expected) = region.filter(|expected| *expected != named) {
            return Err(ScopeFault {
                reason: format!("the region '{named}' is wrong; expecting '{expected}'"),
                region: Some(expected.to_owned()),
            });
        }
        if service != SERVICE {
            return Err(ScopeFault::because(format!(
                "incorrect service \"{service}\". This endpoint belongs to \"{SERVICE}\"."
            )));
        }
        if terminator != TERMINATOR {
            return Err(ScopeFault::because(format!(
                "incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\"."
            )));
        }
        Ok(Self { access_key, date, region: named, text })
    }

    /// The complaint that the scope is of another day than the request, dated `basic`.
    pub(in crate::auth) fn other_day(&self, basic: &str) -> String {
        let day = basic.get(..8).unwrap_or(basic);
        format!("Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{day}\".", self.date)
    }
}

impl ScopeFault {
    fn because(reason: String) -> Self {
        Self { reason, region: None }
    }

    fn malformed() -> Self {
        Self::because(format!(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/{SERVICE}/{TERMINATOR}\"."
        ))
    }
}

impl AuthError {
    /// A wrong scope in the `Authorization` header.
    pub(in crate::auth) fn from_header(fault: ScopeFault) -> Self {
        Self::MalformedHeader { reason: fault.reason, region: fault.region }
    }

    /// A wrong scope in `X-Amz-Credential`.
    pub(in crate::auth) fn from_query(fault: ScopeFault) -> Self {
        let reason = format!("Error parsing the X-Amz-Credential parameter; {}", fault.reason);
        Self::QueryParameters { reason, region: fault.region }
    }
}
