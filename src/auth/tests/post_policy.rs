//! Browsers' forms: who signed the policy, and what it lets through.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{Accounts, KEY, day, sign_v2};
use crate::{
    auth::{AuthError, AuthSettings, FormError, FormGate, FormGrant, Principal},
    types::Timestamp,
};

/// The policy and signature of AWS's example ("Browser-based upload using HTTP POST").
const EXAMPLE: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
const EXAMPLE_SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";

type Fields = Vec<(String, String)>;

fn gate(settings: AuthSettings) -> FormGate {
    FormGate { credentials: Arc::new(Accounts::default()), settings: Arc::new(settings) }
}

fn judge(fields: &Fields) -> Result<FormGrant, FormError> {
    gate(AuthSettings::default()).judge(fields, "photos", day())
}

fn own(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A form with a policy of these conditions, signed with V2, and these fields.
fn form(conditions: &str, fields: &[(&str, &str)]) -> Fields {
    signed(&format!("{{\"expiration\": \"2013-05-25T00:00:00Z\", \"conditions\": [{conditions}]}}"), fields)
}

fn signed(policy: &str, fields: &[(&str, &str)]) -> Fields {
    let policy = BASE64_STANDARD.encode(policy);
    let signature = sign_v2(&policy);
    let mut all = own(&[("policy", &policy), ("awsaccesskeyid", KEY), ("signature", &signature)]);
    all.extend(own(fields));
    all
}

fn change(mut fields: Fields, name: &str, value: &str) -> Fields {
    fields.iter_mut().filter(|(known, _)| known == name).for_each(|field| value.clone_into(&mut field.1));
    fields
}

fn without(mut fields: Fields, name: &str) -> Fields {
    fields.retain(|(known, _)| known != name);
    fields
}

/// AWS's example.
fn example() -> Fields {
    own(&[
        ("key", "user/user1/${filename}"),
        ("acl", "public-read"),
        ("success_action_redirect", "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"),
        ("content-type", "image/jpeg"),
        ("x-amz-meta-uuid", "14365123651274"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-date", "20151229T000000Z"),
        ("x-amz-meta-tag", ""),
        ("policy", EXAMPLE),
        ("x-amz-signature", EXAMPLE_SIGNATURE),
    ])
}

const BUCKET: &str = "{\"bucket\": \"photos\"}";

#[test]
fn the_example_of_the_reference_is_accepted_until_it_expires() {
    let at = |seconds, fields: &Fields| {
        gate(AuthSettings::default()).judge(fields, "sigv4examplebucket", Timestamp::from_secs(seconds))
    };
    let expires = 1_451_476_800;
    let grant = at(expires - 1, &example()).unwrap();
    assert_eq!(grant.principal.access_key.as_deref(), Some(KEY));
    assert!(matches!(at(expires, &example()), Err(FormError::Expired)));
    for (name, value) in [
        ("x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699f"),
        ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-west-1/s3/aws4_request"),
    ] {
        let spoiled = at(0, &change(example(), name, value));
        assert!(matches!(spoiled, Err(FormError::Credentials(AuthError::SignatureMismatch(_)))), "{name} {spoiled:?}");
    }
    let other_day = at(0, &change(example(), "x-amz-date", "20151230T000000Z"));
    assert!(matches!(other_day, Err(FormError::Credentials(AuthError::QueryParameters { .. }))), "{other_day:?}");
}

#[test]
fn a_form_without_credentials_is_anonymous_and_one_with_some_of_them_is_refused() {
    let grant = judge(&own(&[("key", "a"), ("acl", "private")])).unwrap();
    assert_eq!(grant, FormGrant { principal: Principal::anonymous(), sizes: 0..=u64::MAX });
    for name in ["policy", "awsaccesskeyid", "signature"] {
        let result = judge(&without(form(BUCKET, &[]), name));
        assert!(matches!(result, Err(FormError::MissingField(_))), "{name} {result:?}");
        let alone = judge(&form(BUCKET, &[]).into_iter().filter(|(known, _)| known == name).collect());
        assert!(matches!(alone, Err(FormError::MissingField(_))), "{name} {alone:?}");
    }
    for name in ["policy", "x-amz-credential", "x-amz-algorithm", "x-amz-date", "x-amz-signature"] {
        let result = judge(&without(example(), name));
        assert!(matches!(result, Err(FormError::MissingField(_))), "{name} {result:?}");
    }
    let mut both = form(BUCKET, &[]);
    both.extend(own(&[("x-amz-signature", "0")]));
    assert!(matches!(judge(&both), Err(FormError::Credentials(AuthError::SeveralMechanisms))));
}

#[test]
fn a_policy_signed_by_nobody_known_is_refused() {
    assert!(judge(&form(BUCKET, &[])).is_ok());
    let unknown = judge(&change(form(BUCKET, &[]), "awsaccesskeyid", "nobody"));
    assert!(matches!(unknown, Err(FormError::Credentials(AuthError::InvalidAccessKeyId(_)))));
    let wrong = judge(&change(form(BUCKET, &[]), "signature", "AAAA"));
    assert!(matches!(wrong, Err(FormError::Credentials(AuthError::SignatureMismatch(_)))));
    let empty = judge(&change(form(BUCKET, &[]), "awsaccesskeyid", "emptysecret"));
    assert!(matches!(empty, Err(FormError::Credentials(AuthError::InvalidAccessKeyId(_)))));
    let off = gate(AuthSettings { sigv2: false, ..AuthSettings::default() });
    let refused = off.judge(&form(BUCKET, &[]), "photos", day());
    assert!(matches!(refused, Err(FormError::Credentials(AuthError::SigV2NotOffered))));
}

#[test]
fn conditions_compare_values_exactly_and_names_in_any_case() {
    let holds = |condition: &str, key: &str| match judge(&form(&format!("{BUCKET}, {condition}"), &[("key", key)])) {
        Ok(_) => true,
        Err(FormError::ConditionFailed(_)) => false,
        Err(e) => panic!("{condition}: {e:?}"),
    };
    assert!(holds("{\"KEY\": \"a\"}", "a"));
    assert!(!holds("{\"key\": \"a\"}", "A"));
    assert!(holds("[\"eq\", \"$Key\", \"a\"]", "a"));
    assert!(!holds("[\"EQ\", \"$key\", \"\"]", "a"));
    assert!(holds("[\"Starts-With\", \"$key\", \"\"]", "a"));
    assert!(holds("[\"starts-with\", \"$key\", \"user/\"]", "user/1"));
    assert!(!holds("[\"starts-with\", \"$key\", \"user/\"]", "users"));
    assert!(!holds("[\"starts-with\", \"$key\", \"\"], [\"starts-with\", \"$tagging\", \"<\"]", "a"));
}

#[test]
fn every_type_of_a_list_begins_as_the_condition_says() {
    let condition = format!("{BUCKET}, [\"starts-with\", \"$Content-Type\", \"image/\"]");
    let judged = |value: &str| judge(&form(&condition, &[("content-type", value)])).is_ok();
    assert!(judged("image/png") && judged("image/png, image/jpeg"));
    assert!(!judged("image/png,text/html"));
}

#[test]
fn the_bucket_of_the_policy_is_the_one_of_the_request() {
    let elsewhere = judge(&form("{\"bucket\": \"other\"}", &[]));
    assert!(matches!(elsewhere, Err(FormError::ConditionFailed(_))));
    // A field of that name decides nothing.
    let field = judge(&form("{\"bucket\": \"other\"}", &[("bucket", "other")]));
    assert!(matches!(field, Err(FormError::ConditionFailed(_))));
    let silent = judge(&form("", &[]));
    assert!(matches!(silent, Err(FormError::ExtraField(name)) if name == "bucket"));
}

#[test]
fn every_field_needs_a_condition_but_for_those_that_cannot_harm() {
    for free in ["x-ignore-a", "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"] {
        assert!(judge(&form(BUCKET, &[(free, "x")])).is_ok(), "{free}");
    }
    for name in ["key", "acl", "x-amz-meta-a", "x-amz-date", "success_action_status", "submit"] {
        let extra = judge(&form(BUCKET, &[(name, "x")]));
        assert!(matches!(&extra, Err(FormError::ExtraField(found)) if found == name), "{name} {extra:?}");
    }
}

#[test]
fn size_ranges_narrow_each_other() {
    let ranged = |ranges: &str| judge(&form(&format!("{BUCKET}{ranges}"), &[])).map(|grant| grant.sizes);
    assert_eq!(ranged("").unwrap(), 0..=u64::MAX);
    assert_eq!(ranged(", [\"content-length-range\", 1, \"9\"]").unwrap(), 1..=9);
    let twice = ", [\"content-length-range\", 1, 9], [\"Content-Length-Range\", 0, 5]";
    assert_eq!(ranged(twice).unwrap(), 1..=5);
}

#[test]
fn a_policy_of_another_shape_is_malformed() {
    let expiration = "\"expiration\": \"2013-05-25T00:00:00Z\"";
    for policy in [
        "{}".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        format!("{{{expiration}}}"),
        format!("{{{expiration}, \"CONDITIONS\": []}}"),
        "{\"EXPIRATION\": \"2013-05-25T00:00:00Z\", \"conditions\": []}".to_owned(),
        "{\"expiration\": \"2013-05-25 00:00:00+00:00\", \"conditions\": []}".to_owned(),
        "{\"expiration\": 5, \"conditions\": []}".to_owned(),
    ] {
        let result = judge(&signed(&policy, &[]));
        assert!(matches!(result, Err(FormError::Malformed(_))), "{policy} {result:?}");
    }
    for condition in [
        "{}",
        "{\"a\": 1}",
        "{\"a\": \"1\", \"b\": \"2\"}",
        "\"a\"",
        "[]",
        "[\"eq\", \"$a\"]",
        "[\"eq\", \"a\", \"b\"]",
        "[\"eq\", \"$\", \"b\"]",
        "[\"ends-with\", \"$a\", \"b\"]",
        "[\"content-length-range\", 0]",
        "[\"content-length-range\", -1, 0]",
        "[\"content-length-range\", 2, 1]",
        "[\"content-length-range\", \"\", 1]",
    ] {
        let result = judge(&form(condition, &[]));
        assert!(matches!(result, Err(FormError::Malformed(_))), "{condition} {result:?}");
    }
    let raw = judge(&change(signed("{}", &[]), "policy", "%%%"));
    assert!(matches!(raw, Err(FormError::Credentials(AuthError::SignatureMismatch(_)))), "the signature comes first");
}
