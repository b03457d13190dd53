//! Random requests signed by AWS's own signer must pass, and must fail as soon as anything signed is changed.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use proptest::prelude::*;

use super::{KEY, SECRET, Sent, Signer, day, encoded};
use crate::{
    auth::{AuthError, Scheme},
    types::Timestamp,
};

/// What AWS's signer adds to a request.
fn signed_by_aws(sent: &Sent, body: SignableBody<'_>, time: Timestamp, region: &str, presign: bool) -> Sent {
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if presign {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_hours(1));
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let host = sent.headers.get("host").unwrap().to_str().unwrap();
    let target = if sent.query.is_empty() { sent.path.clone() } else { format!("{}?{}", sent.path, sent.query) };
    let headers = sent.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let request = SignableRequest::new(sent.method.as_str(), format!("http://{host}{target}"), headers, body).unwrap();
    let (added, _) = sign(request, &params).unwrap().into_parts();
    let (headers, query) = added.into_parts();
    let mut sent = sent.clone();
    for header in headers {
        sent = sent.with(header.name(), header.value());
    }
    for (name, value) in query {
        sent = sent.and(&format!("{name}={}", encoded(value.as_bytes())));
    }
    sent
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,12}",
        2 => "\\PC{0,8}",
        1 => Just("../x".to_owned()),
        1 => Just("a//b/./c/".to_owned()),
        1 => Just("%2F+%20 ~*'()!".to_owned()),
        1 => Just("日本語/ключ/ñ".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    text().prop_map(|key| format!("/bucket/{}", encoded(key.as_bytes()).replace("%2F", "/")))
}

/// One text in the spellings that clients use: canonical, plus for space, everything escaped in either case.
fn spelled(text: &str, style: u8) -> String {
    match style {
        0 => encoded(text.as_bytes()),
        1 => encoded(text.as_bytes()).replace("%20", "+"),
        2 => text.bytes().fold(String::new(), |spelled, byte| format!("{spelled}%{byte:02X}")),
        _ => text.bytes().fold(String::new(), |spelled, byte| format!("{spelled}%{byte:02x}")),
    }
}

fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("prefix".to_owned()), Just("a".to_owned()), Just("a-b".to_owned()), text()];
    let pair = (name, proptest::option::of(text()), 0..4_u8).prop_map(|(name, value, style)| {
        let name = spelled(&name, style);
        match value {
            Some(value) => format!("{name}={}", spelled(&value, style)),
            None => name,
        }
    });
    proptest::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&"))
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop_oneof![
        Just("x-amz-meta-a"),
        Just("x-amz-meta-a"),
        Just("x-amz-acl"),
        Just("content-type"),
        Just("range"),
        Just("if-match"),
    ];
    proptest::collection::vec((name, "[ -~]{0,16}( {1,3}[!-~]{1,4}){0,3}"), 0..6)
}

prop_compose! {
    fn request()(
        method in prop_oneof![Just("GET"), Just("PUT"), Just("HEAD"), Just("POST"), Just("DELETE")],
        path in path(),
        query in query(),
        headers in headers(),
        host in prop_oneof![Just("localhost:8000"), Just("s3.example.com"), Just("b.s3.example.com:8443")],
    ) -> Sent {
        let mut sent = Sent::new(method, &path).set("host", host).and(&query);
        for (name, value) in headers {
            sent = sent.with(name, value);
        }
        sent
    }
}

fn times() -> impl Strategy<Value = Timestamp> {
    (946_684_800_u64..4_102_444_800).prop_map(Timestamp::from_secs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_aws_signs_in_headers_is_accepted(
        sent in request(), body in "[ -~]{0,20}", time in times(), region in "[a-z]{2}-[a-z]{4}-[1-9]", skew in 0..=900_u64
    ) {
        let signed = signed_by_aws(&sent, SignableBody::Bytes(body.as_bytes()), time, &region, false);
        let found = signed.at(time.plus(Duration::from_secs(skew)));
        prop_assert_eq!(found.unwrap().scheme, Scheme::HeaderV4);
    }

    #[test]
    fn what_aws_presigns_is_accepted(sent in request(), time in times(), late in 0..3600_u64) {
        let signed = signed_by_aws(&sent, SignableBody::UnsignedPayload, time, "us-east-1", true);
        let found = signed.at(time.plus(Duration::from_secs(late)));
        prop_assert_eq!(found.unwrap().scheme, Scheme::QueryV4);
    }

    #[test]
    fn a_path_spelled_another_way_has_the_same_signature(key in text(), style in 0..4_u8) {
        let canonical = Sent::new("GET", &format!("/b/{}", encoded(key.as_bytes())));
        // In a path a plus is a plus.
        let other = if style == 1 { encoded(key.as_bytes()).replace("%2B", "+") } else { spelled(&key, style) };
        let mut sent = Signer::now().header(canonical);
        sent.path = format!("/b/{other}");
        prop_assert!(sent.at(day()).is_ok());
    }

    /// Clients that escape slashes within a key send what they sign.
    #[test]
    fn an_escaped_slash_may_be_signed_as_it_is_sent(
        before in text(), after in text(), escape in prop_oneof![Just("%2F"), Just("%2f")], presign in any::<bool>()
    ) {
        let sent = Sent::new("GET", &format!("/b/{}{escape}{}", encoded(before.as_bytes()), encoded(after.as_bytes())));
        let signed = signed_by_aws(&sent, SignableBody::UnsignedPayload, day(), "us-east-1", presign);
        prop_assert!(signed.at(day()).is_ok());
        let mut forged = signed;
        forged.path.push_str("%2Fx");
        prop_assert!(matches!(forged.at(day()), Err(AuthError::SignatureMismatch(_))));
    }

    #[test]
    fn nothing_that_is_signed_can_be_changed(sent in request(), change in 0..8_u8, presign in any::<bool>()) {
        let signer = Signer::now();
        let signed = if presign { signer.presign(sent) } else { signer.header(sent) };
        prop_assert!(signed.at(day()).is_ok());
        let forged = match change {
            0 => { let mut sent = signed; sent.method = http::Method::PATCH; sent }
            1 => { let mut sent = signed; sent.path.push('x'); sent }
            2 => { let mut sent = signed; sent.path = sent.path.replacen("/bucket", "/Bucket", 1); sent }
            3 => signed.and("versionId=1"),
            4 => signed.set("host", "evil.example.com"),
            5 => signed.with("host", "evil.example.com"),
            6 if presign => { let mut sent = signed; sent.query = sent.query.replace("X-Amz-Expires=86400", "X-Amz-Expires=86401"); sent }
            6 => signed.set("x-amz-date", "20130524T000001Z"),
            _ if presign => { let mut sent = signed; sent.query = sent.query.replace("us-east-1", "us-east-2"); sent }
            _ => signed.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        };
        prop_assert!(matches!(forged.at(day()), Err(AuthError::SignatureMismatch(_))));
    }
}
