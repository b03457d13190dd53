//! Every form of credentials × every way to spoil them: nothing but the untouched request passes.

use super::{DATE, KEY, NO_BODY, Sent, Signer, day, v2_header, v2_query};
use crate::{
    auth::{AuthError, Authenticated, Payload, Scheme},
    types::Timestamp,
};

const PAYLOADS: [&str; 5] = [
    NO_BODY,
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
];

fn put() -> Sent {
    Sent::new("PUT", "/bucket/key?partNumber=1&uploadId=u")
}

/// Every scheme with every payload it knows, all valid for a minute from the day of the examples.
fn forms() -> Vec<(Scheme, &'static str, Sent)> {
    let mut forms = Vec::new();
    let signer = Signer { expires: "60".to_owned(), ..Signer::now() };
    let resource = "/bucket/key?partNumber=1&uploadId=u";
    for payload in PAYLOADS {
        forms.push((Scheme::HeaderV4, payload, signer.header(put().with("x-amz-content-sha256", payload))));
        let parameter = put().and(&format!("X-Amz-Content-Sha256={payload}"));
        forms.push((Scheme::QueryV4, payload, signer.presign(parameter)));
        if !payload.contains("AWS4") {
            let text = format!("x-amz-content-sha256:{payload}\n{resource}");
            let sent = put().with("x-amz-content-sha256", payload);
            forms.push((Scheme::HeaderV2, payload, v2_header(sent.clone(), &text)));
            forms.push((Scheme::QueryV2, payload, v2_query(sent, day().as_secs() + 60, &text)));
        }
    }
    forms.push((Scheme::QueryV4, "UNSIGNED-PAYLOAD", signer.presign(put())));
    forms.push((Scheme::HeaderV2, "UNSIGNED-PAYLOAD", v2_header(put(), resource)));
    forms.push((Scheme::QueryV2, "UNSIGNED-PAYLOAD", v2_query(put(), day().as_secs() + 60, resource)));
    forms
}

fn promised(payload: &Payload) -> &'static str {
    match payload {
        Payload::Unsigned => "UNSIGNED-PAYLOAD",
        Payload::Sha256(digest) => {
            assert_eq!(hex::encode(digest), NO_BODY);
            NO_BODY
        }
        Payload::StreamingUnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        Payload::StreamingSigned { trailer: false, .. } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        Payload::StreamingSigned { trailer: true, .. } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    }
}

/// Edits the one place that carries the credentials of a scheme.
fn edit(sent: &Sent, scheme: Scheme, change: impl Fn(&str) -> String) -> Sent {
    let mut sent = sent.clone();
    if matches!(scheme, Scheme::HeaderV4 | Scheme::HeaderV2) {
        let value = change(sent.headers.get("authorization").unwrap().to_str().unwrap());
        sent.set("authorization", value)
    } else {
        sent.query = change(&sent.query);
        sent
    }
}

/// The text before the signature, and the signature, which ends the header and the query.
fn split(text: &str, scheme: Scheme) -> (String, String) {
    let mark = if scheme == Scheme::HeaderV2 { ":" } else { "Signature=" };
    let (start, signature) = text.rsplit_once(mark).unwrap();
    (format!("{start}{mark}"), signature.to_owned())
}

fn another(character: char) -> char {
    if character == 'a' { 'b' } else { 'a' }
}

#[test]
fn untouched_requests_pass_and_promise_what_they_declared() {
    for (scheme, payload, sent) in forms() {
        let Authenticated { principal, scheme: found, payload: body } =
            sent.at(day()).unwrap_or_else(|error| panic!("{scheme:?} {payload}: {error:?}"));
        assert_eq!((found, promised(&body)), (scheme, payload));
        assert!(!principal.is_anonymous());
        assert_eq!(principal.access_key.as_deref(), Some(KEY));
    }
}

#[test]
fn forged_signatures_are_refused() {
    for (scheme, payload, sent) in forms() {
        let first = edit(&sent, scheme, |text| {
            let (start, signature) = split(text, scheme);
            let mut characters = signature.chars();
            let character = another(characters.next().unwrap());
            format!("{start}{character}{}", characters.as_str())
        });
        let empty = edit(&sent, scheme, |text| split(text, scheme).0);
        let foreign = edit(&sent, scheme, |text| format!("{}{}", split(text, scheme).0, "0".repeat(64)));
        for forged in [first, empty, foreign] {
            assert!(
                matches!(forged.at(day()), Err(AuthError::SignatureMismatch(_))),
                "{scheme:?} {payload} {forged:?}"
            );
        }
        let unknown = edit(&sent, scheme, |text| text.replace(KEY, "nobody"));
        assert!(matches!(unknown.at(day()), Err(AuthError::InvalidAccessKeyId(_))), "{scheme:?} {payload}");
    }
}

#[test]
fn credentials_without_a_signature_are_no_identity() {
    for (scheme, payload, sent) in forms() {
        let bare = edit(&sent, scheme, |text| {
            let (start, _) = split(text, scheme);
            start.trim_end_matches("Signature=").trim_end_matches("X-Amz-").trim_end_matches(['&', ',', ':']).to_owned()
        });
        assert!(bare.at(day()).is_err(), "{scheme:?} {payload} {bare:?}");
    }
    for credentials in
        ["X-Amz-Credential=a", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "AWSAccessKeyId=a", "x%2Damz-credential=a"]
    {
        for payload in PAYLOADS {
            let sent = put().with("x-amz-content-sha256", payload).with("x-amz-date", DATE).and(credentials);
            assert!(sent.at(day()).is_err(), "{credentials} {payload}");
        }
    }
}

#[test]
fn doubled_credentials_are_refused() {
    let header_forms = [Signer::now().header(put()), v2_header(put(), "/bucket/key?partNumber=1&uploadId=u")];
    for (scheme, payload, sent) in forms() {
        let of_header = matches!(scheme, Scheme::HeaderV4 | Scheme::HeaderV2);
        for other in &header_forms {
            let value = other.headers.get("authorization").unwrap();
            let twice = sent.clone().with("authorization", value);
            assert!(matches!(twice.at(day()), Err(AuthError::SeveralMechanisms)), "{scheme:?} {payload}");
        }
        for query in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=a",
            "x-amz-signature=b",
            "Signature=c",
            "AWSAccessKeyId=d",
        ] {
            let both = sent.clone().and(query);
            let answer = both.at(day());
            if of_header {
                assert!(matches!(answer, Err(AuthError::SeveralMechanisms)), "{scheme:?} {payload} {query}");
            } else {
                assert!(
                    matches!(
                        answer,
                        Err(AuthError::SeveralMechanisms
                            | AuthError::QueryParameters { .. }
                            | AuthError::RepeatedParameter(_))
                    ),
                    "{scheme:?} {payload} {query}: {answer:?}"
                );
            }
        }
        if of_header {
            let empty_too = sent.clone().with("authorization", "");
            assert!(matches!(empty_too.at(day()), Err(AuthError::SeveralMechanisms)));
        }
    }
}

#[test]
fn expired_requests_are_refused() {
    for (scheme, payload, sent) in forms() {
        for late in [901_u64, 86_400, 31_536_000] {
            let answer = sent.at(Timestamp::from_secs(day().as_secs() + late));
            let refused = match scheme {
                Scheme::HeaderV4 | Scheme::HeaderV2 => matches!(answer, Err(AuthError::RequestTimeTooSkewed { .. })),
                Scheme::QueryV4 | Scheme::QueryV2 => matches!(answer, Err(AuthError::Expired { .. })),
                Scheme::Anonymous => false,
            };
            assert!(refused, "{scheme:?} {payload} {late}: {answer:?}");
        }
    }
}

#[test]
fn credentials_of_another_request_are_refused() {
    for (scheme, payload, sent) in forms() {
        let mut other_method = sent.clone();
        other_method.method = http::Method::DELETE;
        let mut other_key = sent.clone();
        other_key.path = "/bucket/other".to_owned();
        let mut other_upload = sent.clone();
        other_upload.query = other_upload.query.replace("uploadId=u", "uploadId=v");
        let mut no_upload = sent.clone();
        no_upload.query = no_upload.query.replace("uploadId=u", "");
        let of_bucket = sent.clone().at_bucket("bucket");
        for other in [other_method, other_key, other_upload, no_upload, of_bucket] {
            assert!(matches!(other.at(day()), Err(AuthError::SignatureMismatch(_))), "{scheme:?} {payload} {other:?}");
        }
    }
}

#[test]
fn no_credentials_are_anonymous() {
    for payload in [NO_BODY, "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let found = put().with("x-amz-content-sha256", payload).at(day()).unwrap();
        assert!(found.principal.is_anonymous());
        assert_eq!((found.scheme, promised(&found.payload)), (Scheme::Anonymous, payload));
    }
    for sent in
        [put(), put().with("authorization", ""), put().with("authorization", " "), put().with("x-amz-date", DATE)]
    {
        let found = sent.at(day()).unwrap();
        assert!(found.principal.is_anonymous() && found.principal.access_key.is_none());
        assert_eq!((found.scheme, promised(&found.payload)), (Scheme::Anonymous, "UNSIGNED-PAYLOAD"));
    }
}
