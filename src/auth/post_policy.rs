//! Who sent a browser's form, and whether the policy in it allows what it asks.
//!
//! A form carries its credentials in its fields: a policy, which is a JSON document in base64, and a signature of
//! that very text (S3 reference, "Browser-based uploads using POST"). Whoever signed the policy is the one who acts;
//! a form without any of these fields is anonymous. A policy only narrows: what its signer may do is asked as for any
//! request.
//!
//! Fields are `(name, value)`, names in lower case, no name twice.

use std::{ops::RangeInclusive, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::{AuthError, AuthSettings, Credential, Credentials, Mismatch, Principal, find_credential, sigv2, sigv4};
use crate::types::Timestamp;

/// Why a form is refused; the text of each is the `Message` of the answer.
#[derive(Debug, Error)]
pub enum FormError {
    /// 400 `InvalidArgument`, `ArgumentName` the name.
    #[error("Bucket POST must contain a field named '{0}'.  If it is specified, please check the order of the fields.")]
    MissingField(&'static str),
    /// 400 `InvalidPolicyDocument`.
    #[error("Invalid Policy: {0}")]
    Malformed(&'static str),
    /// 403 `AccessDenied`.
    #[error("Invalid according to Policy: Policy expired.")]
    Expired,
    /// 403 `AccessDenied`.
    #[error("Invalid according to Policy: Policy Condition failed: {0}")]
    ConditionFailed(String),
    /// 403 `AccessDenied`: a field that no condition is about.
    #[error("Invalid according to Policy: Extra input fields: {0}")]
    ExtraField(String),
    /// As the refusal says.
    #[error(transparent)]
    Credentials(#[from] AuthError),
}

/// What forms are judged by.
#[derive(Clone, Debug)]
pub struct FormGate {
    /// Access keys.
    pub credentials: Arc<dyn Credentials>,
    /// The operator's settings.
    pub settings: Arc<AuthSettings>,
}

/// What a form may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormGrant {
    /// Who acts.
    pub principal: Principal,
    /// How many bytes the file may have.
    pub sizes: RangeInclusive<u64>,
}

/// The value of a field.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

const V4_FIELDS: [&str; 3] = ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"];
const V2_FIELDS: [&str; 2] = ["awsaccesskeyid", "signature"];
/// Fields that no condition need be about. A checksum can only make the server refuse a file (s3-tests).
const FREE_FIELDS: [&str; 6] =
    ["policy", "x-amz-signature", "awsaccesskeyid", "signature", "file", "x-amz-sdk-checksum-algorithm"];
const FREE_PREFIXES: [&str; 2] = ["x-ignore-", "x-amz-checksum-"];

impl FormGate {
    /// Decides about a form whose file goes into `bucket`.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn judge(&self, fields: &[(String, String)], bucket: &str, now: Timestamp) -> Result<FormGrant, FormError> {
        let has = |names: &[&str]| names.iter().any(|name| field(fields, name).is_some());
        let principal = match (has(&V4_FIELDS), has(&V2_FIELDS)) {
            (true, true) => return Err(AuthError::SeveralMechanisms.into()),
            (false, false) if field(fields, "policy").is_none() => {
                return Ok(FormGrant { principal: Principal::anonymous(), sizes: 0..=u64::MAX });
            }
            (true, false) => self.signer_v4(fields)?,
            (false, _) => self.signer_v2(fields)?,
        };
        let policy = Policy::parse(required(fields, "policy", "policy")?)?;
        let sizes = policy.check(fields, bucket, now)?;
        Ok(FormGrant { principal, sizes })
    }

    fn credential(&self, access_key: &str) -> Option<Credential> {
        find_credential(self.credentials.as_ref(), access_key)
    }

    fn signer_v4(&self, fields: &[(String, String)]) -> Result<Principal, FormError> {
        let policy = required(fields, "policy", "policy")?;
        if required(fields, "x-amz-algorithm", "X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(AuthError::query("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"").into());
        }
        let named = required(fields, "x-amz-credential", "X-Amz-Credential")?;
        let date = required(fields, "x-amz-date", "X-Amz-Date")?;
        let signature = required(fields, "x-amz-signature", "X-Amz-Signature")?;
        if field(fields, "x-amz-security-token").is_some() {
            return Err(AuthError::InvalidToken.into());
        }
        let scope = sigv4::Scope::parse(named, self.settings.region.as_deref()).map_err(AuthError::from_query)?;
        if Timestamp::parse_basic(date).is_none() {
            return Err(
                AuthError::query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"").into()
            );
        }
        if !date.starts_with(scope.date) {
            return Err(AuthError::query(scope.other_day(date)).into());
        }
        let credential = self.credential(scope.access_key);
        let (principal, _) = sigv4::prove(credential, &self.settings.keys, &scope, signature, &[policy.as_bytes()])?;
        Ok(principal)
    }

    fn signer_v2(&self, fields: &[(String, String)]) -> Result<Principal, FormError> {
        if !self.settings.sigv2 {
            return Err(AuthError::SigV2NotOffered.into());
        }
        let policy = required(fields, "policy", "policy")?;
        let access_key = required(fields, "awsaccesskeyid", "AWSAccessKeyId")?;
        let signature = required(fields, "signature", "signature")?;
        if field(fields, "x-amz-security-token").is_some() {
            return Err(AuthError::InvalidToken.into());
        }
        let credential = self.credential(access_key);
        let secret = credential.as_ref().map(|credential| &*credential.secret);
        let matches: bool = sigv2::sign(secret, policy.as_bytes()).as_bytes().ct_eq(signature.as_bytes()).into();
        match credential {
            None => Err(AuthError::InvalidAccessKeyId(access_key.to_owned()).into()),
            Some(credential) if matches => Ok(Principal::verified(access_key, &credential)),
            Some(_) => Err(AuthError::SignatureMismatch(Box::new(Mismatch {
                access_key: access_key.to_owned(),
                string_to_sign: policy.to_owned(),
                signature_provided: signature.to_owned(),
                canonical_request: None,
            }))
            .into()),
        }
    }
}

/// A field that must be there, under the name that S3 calls it.
fn required<'a>(fields: &'a [(String, String)], name: &str, shown: &'static str) -> Result<&'a str, FormError> {
    field(fields, name).ok_or(FormError::MissingField(shown))
}

/// What a policy says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
}

/// One condition; names are in lower case.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equals { name: String, value: String },
    StartsWith { name: String, value: String },
    Length(RangeInclusive<u64>),
}

impl Policy {
    pub(super) fn parse(base64: &str) -> Result<Self, FormError> {
        let malformed = FormError::Malformed;
        let text = BASE64_STANDARD.decode(base64).map_err(|_| malformed("not base64."))?;
        let document: Value = serde_json::from_slice(&text).map_err(|_| malformed("Invalid JSON."))?;
        let expiration = document.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or(malformed("Policy missing expiration."))?;
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or(malformed("Policy missing conditions."))?;
        let time = Some(expiration).filter(|text| text.contains('T')).and_then(Timestamp::parse_iso8601);
        Ok(Self {
            expiration: time.ok_or(malformed("Invalid 'expiration' value."))?,
            conditions: conditions.iter().map(Condition::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Holds a form against the policy; returns how many bytes the file may have.
    pub(super) fn check(
        &self,
        fields: &[(String, String)],
        bucket: &str,
        now: Timestamp,
    ) -> Result<RangeInclusive<u64>, FormError> {
        if now >= self.expiration {
            return Err(FormError::Expired);
        }
        let mut sizes = 0..=u64::MAX;
        for condition in &self.conditions {
            let value = |name: &str| if name == "bucket" { bucket } else { field(fields, name).unwrap_or_default() };
            let holds = match condition {
                Condition::Length(range) => {
                    sizes = *sizes.start().max(range.start())..=*sizes.end().min(range.end());
                    true
                }
                Condition::Equals { name, value: expected } => value(name) == expected,
                // A list of types is judged item by item.
                Condition::StartsWith { name, value: start } if name == "content-type" => {
                    value(name).split(',').all(|item| item.trim_start().starts_with(start))
                }
                Condition::StartsWith { name, value: start } => value(name).starts_with(start),
            };
            if !holds {
                return Err(FormError::ConditionFailed(condition.shown()));
            }
        }
        let covered = |name: &str| self.conditions.iter().any(|condition| condition.name() == Some(name));
        let names = fields.iter().map(|(name, _)| name.as_str()).filter(|name| !is_free(name));
        match names.chain(["bucket"]).find(|name| !covered(name)) {
            Some(name) => Err(FormError::ExtraField(name.to_owned())),
            None => Ok(sizes),
        }
    }
}

fn is_free(name: &str) -> bool {
    FREE_FIELDS.contains(&name) || FREE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl Condition {
    fn parse(value: &Value) -> Result<Self, FormError> {
        match value {
            Value::Object(pairs) => {
                let mut pairs = pairs.iter();
                let (Some((name, Value::String(value))), None) = (pairs.next(), pairs.next()) else {
                    return Err(FormError::Malformed(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                    ));
                };
                Ok(Self::Equals { name: name.to_ascii_lowercase(), value: value.clone() })
            }
            Value::Array(items) => Self::from_items(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(FormError::Malformed("Invalid Condition: expected an object or a list."))
            }
        }
    }

    fn from_items(items: &[Value]) -> Result<Self, FormError> {
        let malformed = FormError::Malformed("Invalid Condition: unknown operation or wrong number of arguments.");
        let [Value::String(operator), first, second] = items else { return Err(malformed) };
        let operator = operator.to_ascii_lowercase();
        if operator == "content-length-range" {
            let invalid = FormError::Malformed("Invalid content-length-range: expected two numbers in order.");
            return match (number(first), number(second)) {
                (Some(least), Some(most)) if least <= most => Ok(Self::Length(least..=most)),
                _ => Err(invalid),
            };
        }
        let (Value::String(name), Value::String(value)) = (first, second) else { return Err(malformed) };
        let name = name.strip_prefix('$').filter(|name| !name.is_empty());
        let name = name.ok_or(FormError::Malformed("Invalid Condition: field names begin with '$'."))?;
        let (name, value) = (name.to_ascii_lowercase(), value.clone());
        match operator.as_str() {
            "eq" => Ok(Self::Equals { name, value }),
            "starts-with" => Ok(Self::StartsWith { name, value }),
            _ => Err(malformed),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Equals { name, .. } | Self::StartsWith { name, .. } => Some(name),
            Self::Length(_) => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Equals { name, value } => format!("[\"eq\", \"${name}\", \"{value}\"]"),
            Self::StartsWith { name, value } => format!("[\"starts-with\", \"${name}\", \"{value}\"]"),
            Self::Length(range) => format!("[\"content-length-range\", {}, {}]", range.start(), range.end()),
        }
    }
}

/// Some clients write sizes as strings.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok())
}
