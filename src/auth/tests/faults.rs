//! Every fault of `Authorization`, of presigned URLs and of V2 has its own answer.

use std::time::Duration;

use super::{DATE, KEY, NO_BODY, Sent, Signer, day, encoded, v2_header, v2_query};
use crate::{
    auth::{AuthError, AuthSettings},
    types::{Timestamp, sub_resource::SUB_RESOURCES},
};

fn get() -> Sent {
    Sent::new("GET", "/bucket/key")
}

fn signed() -> Sent {
    Signer::now().header(get())
}

fn seconds(from_day: i64) -> Timestamp {
    Timestamp::from_secs(day().as_secs().checked_add_signed(from_day).unwrap())
}

/// The request with one text of its `Authorization` header replaced.
fn header_with(from: &str, to: &str) -> Sent {
    let sent = signed();
    let value = sent.headers.get("authorization").unwrap().to_str().unwrap().to_owned();
    assert!(value.contains(from), "{value}");
    sent.set("authorization", value.replacen(from, to, 1))
}

fn reason_of_header(sent: &Sent) -> String {
    match sent.at(day()) {
        Err(AuthError::MalformedHeader { reason, region: None }) => reason,
        other => panic!("{other:?}"),
    }
}

fn reason_of_query(sent: &Sent) -> String {
    match sent.at(day()) {
        Err(AuthError::QueryParameters { reason, region: None }) => reason,
        Err(AuthError::LifetimeOutOfRange(reason)) => reason.to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scheme_that_is_not_offered_is_unsupported() {
    for (value, expected) in [
        ("Basic dXNlcjpwYXNz", "Basic"),
        ("Bearer abc", "Bearer"),
        ("AWS2-HMAC-SHA1 Credential=x", "AWS2-HMAC-SHA1"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "AWS4-ECDSA-P256-SHA256"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256Credential=x", "AWS4-HMAC-SHA256Credential=x"),
        ("aws4-hmac-sha256 Credential=x", "aws4-hmac-sha256"),
        ("AWS", "AWS"),
        ("nonsense", "nonsense"),
        ("\u{fffd}", ""),
    ] {
        let sent = get().with("authorization", value);
        assert!(
            matches!(sent.at(day()), Err(AuthError::UnsupportedAuthorization { scheme }) if scheme == expected),
            "{value}"
        );
    }
}

#[test]
fn each_missing_or_odd_component_of_the_header_is_named() {
    for (from, to, reason) in [
        ("Credential=", "Credentials=", "an authorization component is malformed."),
        ("Signature=", "Signature:", "an authorization component is malformed."),
        ("Signature=", ",Signature=", "an authorization component is malformed."),
        ("Signature=", "Signature=x,Signature=", "an authorization component is repeated."),
        (
            "Credential=",
            "Credential=x/20130524/us-east-1/s3/aws4_request,Credential=",
            "an authorization component is repeated.",
        ),
        ("SignedHeaders=host;", "SignedHeaders=Host;", "the SignedHeaders are mal-formed."),
        ("SignedHeaders=host;", "SignedHeaders=host;;", "the SignedHeaders are mal-formed."),
        ("SignedHeaders=host;", "SignedHeaders=;", "the SignedHeaders are mal-formed."),
    ] {
        assert_eq!(reason_of_header(&header_with(from, to)), reason, "{to}");
    }
    let value = signed().headers.get("authorization").unwrap().to_str().unwrap().to_owned();
    let parts: Vec<&str> = value.strip_prefix("AWS4-HMAC-SHA256 ").unwrap().split(',').collect();
    for (left_out, reason) in [(0, "missing Credential."), (1, "missing SignedHeaders."), (2, "missing Signature.")] {
        let mut parts = parts.clone();
        parts.remove(left_out);
        let sent = signed().set("authorization", format!("AWS4-HMAC-SHA256 {}", parts.join(",")));
        assert_eq!(reason_of_header(&sent), reason);
    }
    let many = vec!["x"; 200].join(";");
    assert_eq!(
        reason_of_header(&header_with("SignedHeaders=", &format!("SignedHeaders={many};"))),
        "the SignedHeaders are mal-formed."
    );
}

const MALFORMED: &str = "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\".";

/// Scopes and what is wrong with each, for header and query alike.
const SCOPES: [(&str, &str); 9] = [
    ("20130524/us-east-1/s3", MALFORMED),
    ("aws4_request", MALFORMED),
    ("20130524//s3/aws4_request", MALFORMED),
    ("20130524/us-east-1/s3/aws5_request", "incorrect terminal \"aws5_request\". This endpoint uses \"aws4_request\"."),
    ("20130524/us-east-1/ec2/aws4_request", "incorrect service \"ec2\". This endpoint belongs to \"s3\"."),
    ("20130524/us-east-1/S3/aws4_request", "incorrect service \"S3\". This endpoint belongs to \"s3\"."),
    (
        "2013-5-4/us-east-1/s3/aws4_request",
        "incorrect date format \"2013-5-4\". This date in the credential must be in the format \"yyyyMMdd\".",
    ),
    (
        "3223423234/us-east-1/s3/aws4_request",
        "incorrect date format \"3223423234\". This date in the credential must be in the format \"yyyyMMdd\".",
    ),
    (
        "20130523/us-east-1/s3/aws4_request",
        "Invalid credential date \"20130523\". This date is not the same as X-Amz-Date: \"20130524\".",
    ),
];

#[test]
fn each_fault_of_a_scope_is_named_in_the_header() {
    for (scope, reason) in SCOPES {
        let sent = Signer { scope: scope.to_owned(), ..Signer::now() }.header(get());
        assert_eq!(reason_of_header(&sent), reason, "{scope}");
    }
    assert_eq!(reason_of_header(&Signer { access_key: "", ..Signer::now() }.header(get())), MALFORMED);
}

#[test]
fn each_fault_of_a_scope_is_named_in_the_query() {
    for (scope, reason) in SCOPES {
        let sent = Signer { scope: scope.to_owned(), ..Signer::now() }.presign(get());
        let of_date = reason.starts_with("Invalid credential date");
        let expected =
            if of_date { reason.to_owned() } else { format!("Error parsing the X-Amz-Credential parameter; {reason}") };
        assert_eq!(reason_of_query(&sent), expected, "{scope}");
    }
    let newline = Signer { scope: "20130524/a\nb/s3/aws4_request".to_owned(), ..Signer::now() }.presign(get());
    assert!(reason_of_query(&newline).ends_with(MALFORMED));
}

#[test]
fn a_region_is_checked_only_when_one_is_configured_and_the_answer_names_it() {
    let strict = |region: &str| AuthSettings { region: Some(region.to_owned()), ..AuthSettings::default() };
    for sent in [signed(), Signer::now().presign(get())] {
        assert!(sent.at(day()).is_ok());
        assert!(sent.asks(&strict("us-east-1"), day()).is_ok());
        match sent.asks(&strict("eu-west-1"), day()) {
            Err(AuthError::MalformedHeader { reason, region } | AuthError::QueryParameters { reason, region }) => {
                assert_eq!(region.as_deref(), Some("eu-west-1"));
                assert!(reason.ends_with("the region 'us-east-1' is wrong; expecting 'eu-west-1'"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn header_requests_need_one_valid_date() {
    let of = |date: &str| Signer::now().header(get().with("x-amz-date", date));
    for sent in [
        signed().without("x-amz-date"),
        of(""),
        of("03032006"),
        of("Fri, 24 May 2013 00:00:00 GMT"),
        of("2013-05-24T00:00:00Z"),
        of("20130524T240000Z"),
        signed().with("x-amz-date", DATE),
        // A bad x-amz-date is not made good by a Date.
        of("nonsense").with("date", "Fri, 24 May 2013 00:00:00 GMT"),
    ] {
        assert!(matches!(sent.at(day()), Err(AuthError::MissingDate)), "{sent:?}");
    }
    let with_date = Signer::now().header(get().with("date", "Fri, 24 May 2013 00:00:00 GMT"));
    assert!(with_date.at(day()).is_ok());
}

#[test]
fn the_clock_may_be_off_by_fifteen_minutes_either_way() {
    for from_day in [-900, 0, 900] {
        assert!(signed().at(seconds(from_day)).is_ok(), "{from_day}");
    }
    for from_day in [-901, 901, -86_400, 86_400, 900_000_000] {
        let now = seconds(from_day);
        assert!(matches!(
            signed().at(now),
            Err(AuthError::RequestTimeTooSkewed { request_time, server_time }) if request_time == DATE && server_time == now
        ));
    }
}

#[test]
fn header_requests_need_a_known_payload_hash() {
    let of = |hash: &str| Signer::now().header(get().with("x-amz-content-sha256", hash));
    assert!(matches!(signed().without("x-amz-content-sha256").at(day()), Err(AuthError::MissingContentSha256)));
    for hash in ["", "invalid_sha256", "UNSIGNED", "unsigned-payload", "STREAMING", "abcd", "zz"] {
        let sent = of(hash);
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidContentSha256(value)) if value == hash), "{hash}");
    }
    let twice = signed().with("x-amz-content-sha256", NO_BODY);
    assert!(matches!(twice.at(day()), Err(AuthError::InvalidContentSha256(_))));
    for hash in ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"] {
        assert!(matches!(of(hash).at(day()), Err(AuthError::SigV4aNotOffered)));
    }
}

#[test]
fn an_unknown_key_and_a_wrong_secret_are_told_apart_but_nothing_more() {
    let unknown = Signer { access_key: "nobody", ..Signer::now() };
    for sent in [unknown.header(get()), unknown.presign(get())] {
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidAccessKeyId(key)) if key == "nobody"));
    }
    let wrong = Signer { secret: "guess", ..Signer::now() };
    for sent in [wrong.header(get()), wrong.presign(get())] {
        let Err(AuthError::SignatureMismatch(mismatch)) = sent.at(day()) else { panic!() };
        assert_eq!(mismatch.access_key, KEY);
        assert!(mismatch.string_to_sign.starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/"));
        assert!(mismatch.canonical_request.unwrap().starts_with("GET\n/bucket/key\n"));
        assert_eq!(mismatch.signature_provided.len(), 64);
    }
}

#[test]
fn an_account_without_a_secret_lets_nobody_in() {
    let empty = Signer { access_key: "emptysecret", secret: "", ..Signer::now() };
    for sent in [empty.header(get()), empty.presign(get())] {
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidAccessKeyId(_))));
    }
}

#[test]
fn signatures_of_another_shape_do_not_match() {
    let value = signed().headers.get("authorization").unwrap().to_str().unwrap().to_owned();
    let (start, signature) = value.split_once("Signature=").unwrap();
    for other in [signature.to_uppercase(), String::new(), format!("{signature}0")] {
        let sent = signed().set("authorization", format!("{start}Signature={other}"));
        assert!(matches!(sent.at(day()), Err(AuthError::SignatureMismatch(_))), "{other}");
    }
}

#[test]
fn host_and_every_amz_header_must_be_signed() {
    let unsigned = |names: &'static [&'static str]| Signer { unsigned: names, ..Signer::now() };
    let sent = get().with("x-amz-tagging", "a=b").with("x-amz-copy-source", "/b/k").with("content-type", "text/plain");
    let names: &[&str] = &["x-amz-tagging", "x-amz-copy-source"];
    for signed in [unsigned(names).header(sent.clone()), unsigned(names).presign(sent.clone())] {
        assert!(matches!(
            signed.at(day()),
            Err(AuthError::HeadersNotSigned(names)) if names == ["x-amz-copy-source", "x-amz-tagging"]
        ));
    }
    for signed in [unsigned(&["host"]).header(sent.clone()), unsigned(&["host", "content-type"]).header(sent.clone())] {
        assert!(matches!(signed.at(day()), Err(AuthError::HeadersNotSigned(names)) if names == ["host"]));
    }
    let date = unsigned(&["x-amz-date"]).header(sent.clone());
    assert!(matches!(date.at(day()), Err(AuthError::HeadersNotSigned(names)) if names == ["x-amz-date"]));
    assert!(unsigned(&["content-type"]).header(sent.clone()).at(day()).is_ok());
    assert!(unsigned(&["content-type"]).presign(sent).at(day()).is_ok());
    // Added on the way.
    for signed in [signed(), Signer::now().presign(get())] {
        let sent = signed.with("x-amz-acl", "public-read");
        assert!(matches!(sent.at(day()), Err(AuthError::HeadersNotSigned(names)) if names == ["x-amz-acl"]));
    }
}

#[test]
fn session_tokens_are_invalid() {
    for token in ["", "abc/+=", "not a token!"] {
        let header = Signer::now().header(get().with("x-amz-security-token", token));
        let query = Signer::now().presign(get().and(&format!("X-Amz-Security-Token={}", encoded(token.as_bytes()))));
        let mixed = Signer::now().presign(get().with("x-amz-security-token", token));
        let v2 = v2_header(get().with("x-amz-security-token", token), "/bucket/key");
        let v2_query = v2_query(get().and("x-amz-security-token=abc"), day().as_secs() + 60, "/bucket/key");
        for sent in [header, query, mixed, v2, v2_query] {
            assert!(matches!(sent.at(day()), Err(AuthError::InvalidToken)), "{sent:?}");
        }
    }
}

#[test]
fn every_parameter_of_a_presigned_url_is_required_once() {
    let full = Signer::now().presign(get());
    let pairs: Vec<&str> = full.query.split('&').collect();
    assert_eq!(pairs.len(), 6);
    for left_out in &pairs {
        let mut sent = full.clone();
        sent.query = pairs.iter().filter(|pair| *pair != left_out).copied().collect::<Vec<_>>().join("&");
        assert!(reason_of_query(&sent).starts_with("Query-string authentication version 4 requires"), "{left_out}");
    }
    for twice in &pairs {
        let name = twice.split_once('=').unwrap().0;
        for name in [name.to_owned(), name.to_lowercase(), name.replace('-', "%2D"), name.to_uppercase()] {
            let sent = full.clone().and(&format!("{name}=x"));
            assert!(reason_of_query(&sent).ends_with("was specified more than once"), "{name}");
        }
    }
    for other in ["x-amz-acl=private&x-amz-acl=public-read", "x-amz-acl=private&X-Amz-Acl=public-read"] {
        let sent = Signer::now().presign(get().and(other));
        assert_eq!(reason_of_query(&sent), "x-amz-acl was specified more than once");
    }
}

#[test]
fn odd_presigned_parameters_are_named() {
    let of = |from: &str, to: &str| {
        let mut sent = Signer::now().presign(get());
        assert!(sent.query.contains(from), "{from}");
        sent.query = sent.query.replacen(from, to, 1);
        reason_of_query(&sent)
    };
    let algorithm = "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"";
    assert_eq!(of("Algorithm=AWS4-HMAC-SHA256", "Algorithm=AWS4-ECDSA-P256-SHA256"), algorithm);
    assert_eq!(of("Algorithm=AWS4-HMAC-SHA256", "Algorithm="), algorithm);
    assert!(
        of("Date=20130524T000000Z", "Date=2013-05-24").starts_with("X-Amz-Date must be in the ISO8601 Long Format")
    );
    assert_eq!(of("SignedHeaders=host", "SignedHeaders="), "X-Amz-SignedHeaders is mal-formed.");
    assert_eq!(of("SignedHeaders=host", "SignedHeaders=host%0A"), "X-Amz-SignedHeaders is mal-formed.");
    for (expires, reason) in [
        ("", "X-Amz-Expires should be a number"),
        ("-", "X-Amz-Expires should be a number"),
        ("ten", "X-Amz-Expires should be a number"),
        ("1.5", "X-Amz-Expires should be a number"),
        ("%2B5", "X-Amz-Expires should be a number"),
        ("-7", "X-Amz-Expires must be non-negative"),
    ] {
        assert_eq!(of("Expires=86400", &format!("Expires={expires}")), reason);
    }
    for expires in ["604801", "99999999999999999999999"] {
        assert!(
            of("Expires=86400", &format!("Expires={expires}")).starts_with("X-Amz-Expires must be less than a week")
        );
    }
}

#[test]
fn a_presigned_url_is_valid_from_its_date_for_its_lifetime() {
    let of = |expires: &str| Signer { expires: expires.to_owned(), ..Signer::now() }.presign(get());
    assert!(of("604800").at(seconds(604_799)).is_ok());
    assert!(matches!(
        of("604800").at(seconds(604_800)),
        Err(AuthError::Expired { lifetime_seconds: Some(604_800), .. })
    ));
    assert!(matches!(of("0").at(day()), Err(AuthError::Expired { lifetime_seconds: Some(0), .. })));
    assert!(of("60").at(seconds(-900)).is_ok());
    assert!(matches!(
        of("60").at(seconds(-901)),
        Err(AuthError::NotYetValid { request_time, server_time }) if request_time == day() && server_time == seconds(-901)
    ));
}

#[test]
fn a_presigned_payload_hash_has_one_value() {
    let both =
        Signer::now().presign(get().with("x-amz-content-sha256", NO_BODY).and("X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"));
    assert_eq!(reason_of_query(&both), "X-Amz-Content-Sha256 and the header of that name differ.");
    let odd = Signer::now().presign(get().and("X-Amz-Content-Sha256=odd"));
    assert!(matches!(odd.at(day()), Err(AuthError::InvalidContentSha256(value)) if value == "odd"));
}

#[test]
fn bad_escapes_make_a_bad_uri() {
    for target in ["/b/%", "/b/%2", "/b/%zz", "/b/k?a=%", "/b/k?%=a", "/b/k?a=%g0"] {
        let sent = Sent::new("GET", target);
        let signed = sent
            .clone()
            .with("x-amz-date", DATE)
            .with("x-amz-content-sha256", NO_BODY)
            .with("authorization", format!("AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=0"));
        assert!(matches!(signed.at(day()), Err(AuthError::InvalidUri(_))), "{target}");
    }
    let presigned = Signer::now().presign(get());
    for extra in ["X-Amz-Acl=%", "x%zz=1"] {
        assert!(matches!(presigned.clone().and(extra).at(day()), Err(AuthError::InvalidUri(_))), "{extra}");
    }
}

#[test]
fn v2_is_refused_where_it_is_not_offered() {
    let off = AuthSettings { sigv2: false, ..AuthSettings::default() };
    for sent in [
        v2_header(get(), "/bucket/key"),
        v2_query(get(), day().as_secs() + 60, "/bucket/key"),
        get().with("authorization", "AWS nonsense"),
    ] {
        assert!(matches!(sent.asks(&off, day()), Err(AuthError::SigV2NotOffered)));
    }
}

#[test]
fn odd_v2_headers_are_refused_by_kind() {
    let good = v2_header(get(), "/bucket/key");
    assert!(good.at(day()).is_ok());
    for value in ["AWS HAHAHA", "AWS :abc"] {
        let sent = good.clone().set("authorization", value);
        assert!(matches!(sent.at(day()), Err(AuthError::MalformedV2Header)), "{value}");
    }
    let unknown = good.clone().set("authorization", "AWS nobody:FWeDfwojDSdS2Ztmpfeubhd9isU=");
    assert!(matches!(unknown.at(day()), Err(AuthError::InvalidAccessKeyId(key)) if key == "nobody"));
    let wrong = good.clone().set("authorization", format!("AWS {KEY}:FWeDfwojDSdS2Ztmpfeubhd9isU="));
    assert!(matches!(
        wrong.at(day()),
        Err(AuthError::SignatureMismatch(mismatch)) if mismatch.canonical_request.is_none()
            && mismatch.string_to_sign == "GET\n\n\nFri, 24 May 2013 00:00:00 GMT\n/bucket/key"
    ));
    for sent in
        [good.clone().without("date"), good.clone().set("x-amz-date", "Bad Date"), good.clone().set("x-amz-date", "")]
    {
        assert!(matches!(sent.at(day()), Err(AuthError::MissingDate)));
    }
    for (from_day, skewed) in [(-901, true), (-900, false), (900, false), (901, true)] {
        let answer = good.at(seconds(from_day));
        assert_eq!(matches!(answer, Err(AuthError::RequestTimeTooSkewed { .. })), skewed, "{from_day}");
        assert_eq!(answer.is_ok(), !skewed);
    }
    let before_epoch = good.clone().set("x-amz-date", "Tue, 07 Jul 1950 21:53:04 GMT");
    assert!(matches!(before_epoch.at(day()), Err(AuthError::MissingDate)));
    let far = good.set("x-amz-date", "Tue, 07 Jul 9999 21:53:04 GMT");
    assert!(matches!(far.at(day()), Err(AuthError::RequestTimeTooSkewed { .. })));
}

#[test]
fn odd_v2_queries_are_refused_by_kind() {
    let expires = day().as_secs() + 60;
    let full = v2_query(get(), expires, "/bucket/key");
    assert!(full.at(day()).is_ok());
    let pairs: Vec<&str> = full.query.split('&').collect();
    for left_out in &pairs {
        let mut sent = full.clone();
        sent.query = pairs.iter().filter(|pair| *pair != left_out).copied().collect::<Vec<_>>().join("&");
        assert!(matches!(sent.at(day()), Err(AuthError::MissingV2Parameters)), "{left_out}");
    }
    for name in ["AWSAccessKeyId", "Expires", "Signature"] {
        let sent = full.clone().and(&format!("{name}=1"));
        assert!(matches!(sent.at(day()), Err(AuthError::RepeatedParameter(repeated)) if repeated == name));
    }
    for text in ["", "soon", "-5", "%2B5", "1e9", "2013-05-24", "99999999999999999999999"] {
        let mut sent = full.clone();
        sent.query = sent.query.replace(&format!("Expires={expires}"), &format!("Expires={text}"));
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidV2Expires(_))), "{text}");
    }
    let settings = AuthSettings { presign_v2_max: Duration::from_mins(1), ..AuthSettings::default() };
    assert!(full.asks(&settings, day()).is_ok());
    let longer = v2_query(get(), expires + 1, "/bucket/key");
    assert!(matches!(longer.asks(&settings, day()), Err(AuthError::LifetimeTooLong)));
    let week = v2_query(get(), day().as_secs() + 604_801, "/bucket/key");
    assert!(matches!(week.at(day()), Err(AuthError::LifetimeTooLong)));
    let mut unknown = full.clone();
    unknown.query = unknown.query.replace(KEY, "nobody");
    assert!(matches!(unknown.at(day()), Err(AuthError::InvalidAccessKeyId(_))));
    let mut later = full;
    later.query = later.query.replace(&expires.to_string(), &(expires + 1).to_string());
    assert!(matches!(later.at(day()), Err(AuthError::SignatureMismatch(_))));
}

#[test]
fn a_v2_value_that_reads_like_more_parameters_is_refused() {
    let text = "/bucket/key?partNumber=1&uploadId=u";
    let expires = day().as_secs() + 60;
    assert!(v2_query(get().and("partNumber=1&uploadId=u"), expires, text).at(day()).is_ok());
    let merged = v2_query(get().and("partNumber=1%26uploadId%3Du"), expires, text);
    assert!(matches!(merged.at(day()), Err(AuthError::RepeatedParameter(_))));
    let name = "attachment; filename=a&b.txt";
    let disposition = get().and("response-content-disposition=attachment%3B%20filename%3Da%26b.txt");
    let honest = v2_query(disposition, expires, &format!("/bucket/key?response-content-disposition={name}"));
    assert!(honest.at(day()).is_ok());
}

#[test]
fn a_v2_amz_parameter_is_signed_and_may_not_contradict_its_header() {
    let expires = day().as_secs() + 60;
    let text = "x-amz-acl:private\n/bucket/key";
    let by_query = v2_query(get().and("x-amz-acl=private"), expires, text);
    assert!(by_query.at(day()).is_ok());
    assert!(by_query.clone().with("x-amz-acl", "private").at(day()).is_ok());
    assert!(matches!(
        by_query.clone().with("x-amz-acl", "public-read").at(day()),
        Err(AuthError::RepeatedParameter(_))
    ));
    assert!(matches!(by_query.and("x-amz-meta-a=1").at(day()), Err(AuthError::SignatureMismatch(_))));
}

#[test]
fn a_v2_signature_covers_all_that_a_request_does() {
    let expires = day().as_secs() + 60;
    let uncovered = |sent: &Sent| matches!(sent.at(day()), Err(AuthError::NotCoveredByV2(_)));
    for name in SUB_RESOURCES {
        let query = v2_query(get(), expires, "/bucket/key").and(name);
        let header = v2_header(get(), "/bucket/key").and(name);
        for sent in [query, header] {
            // Signed by clients, and not by this one; or never signed.
            let refused = uncovered(&sent) || matches!(sent.at(day()), Err(AuthError::SignatureMismatch(_)));
            assert!(refused, "{name}");
        }
    }
    for name in ["x-amz-acl=public-read", "X-Amz-Copy-Source=a", "%78-amz-acl=private", "x-amz-meta-a"] {
        assert!(uncovered(&v2_header(get(), "/bucket/key").and(name)), "{name}");
    }
    assert!(v2_header(get().and("prefix=retention&x-id=GetObject"), "/bucket/key").at(day()).is_ok());
}

/// What is signed is lines: none of them may be moved into another.
#[test]
fn a_v2_value_holds_no_lines() {
    let expires = day().as_secs() + 60;
    let two = "x-amz-meta-a:1\nx-amz-tagging:b\n/bucket/key";
    assert!(v2_query(get().and("x-amz-meta-a=1&x-amz-tagging=b"), expires, two).at(day()).is_ok());
    for merged in [
        "x-amz-meta-a=1%0Ax-amz-tagging:b",
        "x-amz-meta-a:1%0Ax-amz-tagging=b",
        "x-amz-meta-a=1%0ax-amz-tagging%3Ab",
        "x-amz-meta-a%3A1%0Ax-amz-tagging=b",
    ] {
        let sent = v2_query(get().and(merged), expires, two);
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidUri(_))), "{merged}");
    }
    // A name that holds a colon would take a piece of the value along.
    let named = "x-amz-meta-a:b:c\n/bucket/key";
    assert!(v2_query(get().and("x-amz-meta-a=b%3Ac"), expires, named).at(day()).is_ok());
    assert!(matches!(
        v2_query(get().and("x-amz-meta-a%3Ab=c"), expires, named).at(day()),
        Err(AuthError::InvalidUri(_))
    ));
    for value in ["versionId=a%0Ab", "content-type=a%0Ab", "content-md5=%0D", "response-expires=%7F"] {
        let sent = v2_query(get().and(value), expires, "/bucket/key");
        assert!(matches!(sent.at(day()), Err(AuthError::InvalidUri(_))), "{value}");
    }
}

#[test]
fn chunk_signatures_need_a_v4_signature() {
    for hash in [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    ] {
        let anonymous = get().with("x-amz-content-sha256", hash);
        let text = format!("x-amz-content-sha256:{hash}\n/bucket/key");
        let v2 = v2_header(anonymous.clone(), &text);
        for sent in [anonymous, v2] {
            assert!(matches!(sent.at(day()), Err(AuthError::SignedPayloadWithoutKey)), "{sent:?}");
        }
    }
    let odd = get().with("x-amz-content-sha256", "odd");
    assert!(matches!(odd.at(day()), Err(AuthError::InvalidContentSha256(_))));
}

#[test]
fn anonymous_requests_may_not_change_response_headers() {
    for query in ["response-content-type=text%2Fhtml", "a=b&response%2Dexpires=x", "response-cache-control"] {
        for (method, refused) in [("GET", true), ("HEAD", true), ("PUT", false)] {
            let answer = Sent::new(method, "/bucket/key").and(query).at(day());
            assert_eq!(matches!(answer, Err(AuthError::AnonymousOverride)), refused, "{method} {query}");
        }
        assert!(Signer::now().header(get().and(query)).at(day()).is_ok());
        assert!(Signer::now().presign(get().and(query)).at(day()).is_ok());
    }
}
