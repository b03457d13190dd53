//! What holds across all forms: secrets stay inside, changed accounts count at once, and no input panics.

use proptest::prelude::*;

use super::{
    Accounts, DATE, KEY, SECRET, Sent, Signer, day, encoded, plain, sign_v2, sign_v2_with, v2_header, v2_query,
};
use crate::auth::{
    AuthError, AuthSettings, Credentials, Payload, Scheme, authenticate,
    query::{Part, canonical, decode},
    query_pairs,
};

fn get() -> Sent {
    Sent::new("GET", "/bucket/key")
}

#[test]
fn a_changed_secret_counts_at_once_though_its_old_key_is_cached() {
    let settings = AuthSettings::default();
    let old = Signer::now().header(get());
    let new = Signer { secret: "changed", ..Signer::now() }.header(get());
    let changed = Accounts("changed".into());
    let ask = |sent: &Sent, accounts: &Accounts| authenticate(&sent.head(), accounts, &settings, day());
    for _ in 0..3 {
        assert!(ask(&old, &Accounts::default()).is_ok());
        assert!(matches!(ask(&new, &Accounts::default()), Err(AuthError::SignatureMismatch(_))));
    }
    for _ in 0..3 {
        assert!(matches!(ask(&old, &changed), Err(AuthError::SignatureMismatch(_))));
        assert!(ask(&new, &changed).is_ok());
    }
}

#[test]
fn secrets_may_have_any_length() {
    const SECRETS: [&str; 5] = [
        "s",
        "exactly sixty bytes, which is with its prefix one block long",
        "sixty-one bytes, which is with its prefix one more than block",
        "exactly sixty-four bytes, which is one block of either hash func",
        "a passphrase far longer than a block of either hash function, as some operators like to have",
    ];
    let date = "Fri, 24 May 2013 00:00:00 GMT";
    for secret in SECRETS {
        let accounts = Accounts(secret.into());
        let v2 = sign_v2_with(secret, &format!("GET\n\n\n{date}\n/bucket/key"));
        let v2 = get().with("date", date).with("authorization", format!("AWS {KEY}:{v2}"));
        for sent in [Signer { secret, ..Signer::now() }.header(get()), v2] {
            let found = authenticate(&sent.head(), &accounts, &AuthSettings::default(), day());
            assert!(found.is_ok(), "{} {found:?}", secret.len());
        }
    }
    assert_eq!(SECRETS.map(str::len), [1, 60, 61, 64, 92]);
}

#[test]
fn only_proved_scopes_are_cached_and_the_cache_is_bounded() {
    let settings = AuthSettings::default();
    let used = |settings: &AuthSettings| -> usize {
        let text = format!("{:?}", settings.keys);
        text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    for secret in ["wrong", SECRET] {
        for access_key in ["nobody", KEY] {
            let sent = Signer { access_key, secret, ..Signer::now() }.header(get());
            let known = sent.asks(&settings, day()).is_ok();
            assert_eq!((known, used(&settings)), (secret == SECRET && access_key == KEY, usize::from(known)));
        }
    }
    for region in 0..3000 {
        let sent = Signer { scope: format!("20130524/r{region}/s3/aws4_request"), ..Signer::now() }.presign(get());
        assert!(sent.asks(&settings, day()).is_ok());
    }
    assert!((500..=1024).contains(&used(&settings)), "{}", used(&settings));
}

#[test]
fn nothing_shows_a_secret_or_the_right_signature() {
    let settings = AuthSettings::default();
    let streaming = get().with("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let signed = Signer::now().header(streaming.clone());
    let found = signed.asks(&settings, day()).unwrap();
    let Payload::StreamingSigned { signer, .. } = &found.payload else { panic!() };
    let seed = signer.seed().to_owned();
    let next = signer.chunk(&seed, super::NO_BODY);
    let accounts = Accounts::default();
    let mut shown = vec![
        format!("{found:?} {settings:?} {accounts:?} {:?} {signer:?}", accounts.find(KEY)),
        format!("{:?}", signed.head()),
    ];
    shown[0].retain(|character| character != '\n');
    assert!(!shown[0].contains(&next));

    let key = "c2VjcmV0IGN1c3RvbWVyIGtleQ==";
    let customer = get().with("x-amz-server-side-encryption-customer-key", key);
    let right = [
        Signer::now().header(customer.clone()),
        Signer::now().presign(customer.clone()),
        v2_header(customer.clone(), &format!("x-amz-server-side-encryption-customer-key:{key}\n/bucket/key")),
        v2_query(
            customer,
            day().as_secs() + 60,
            &format!("x-amz-server-side-encryption-customer-key:{key}\n/bucket/key"),
        ),
    ];
    for sent in right {
        assert!(sent.at(day()).is_ok());
        // The same request with a signature that is right for something else.
        let value = |sent: &Sent| sent.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let text = value(&sent).unwrap_or_else(|| sent.query.clone());
        let signature = text.rsplit_once(['=', ':']).unwrap().1.to_owned();
        let signature = if text.starts_with("AWS ") { text.rsplit_once(':').unwrap().1.to_owned() } else { signature };
        let wrong = if text.contains("AWS4") { "0".repeat(64) } else { sign_v2("another") };
        let mut forged = sent.clone();
        if value(&sent).is_some() {
            forged = forged.set("authorization", text.replace(&signature, &wrong));
        } else {
            forged.query = text.replace(&signature, &encoded(wrong.as_bytes()));
        }
        let Err(error) = forged.at(day()) else { panic!("{forged:?}") };
        shown.push(format!("{error} {error:?}"));
        assert!(!shown.last().unwrap().contains(key), "customer keys stay out of logs");
        let AuthError::SignatureMismatch(mismatch) = error else { panic!("{error:?}") };
        let answer =
            format!("{} {} {:?}", mismatch.string_to_sign, mismatch.signature_provided, mismatch.canonical_request);
        assert!(!answer.contains(&signature), "{answer}");
        assert_eq!(mismatch.signature_provided, wrong);
        shown.push(answer);
    }
    for text in shown {
        assert!(!text.contains(SECRET) && !text.contains("AWS4wJalr"), "{text}");
    }
}

#[test]
fn header_values_are_signed_without_needless_spaces_and_in_any_bytes() {
    let sent = get().with("x-amz-meta-a", "  one   two\t three ").with("x-amz-meta-a", "").with("x-amz-meta-a", "ключ");
    let signed = Signer::now().header(sent);
    assert!(signed.at(day()).is_ok());
    let rejoined = signed.clone().set("x-amz-meta-a", "one two\t three,,ключ");
    assert!(rejoined.at(day()).is_ok(), "a proxy may join repeated headers");
    let reordered = signed.set("x-amz-meta-a", ",one two\t three,ключ");
    assert!(matches!(reordered.at(day()), Err(AuthError::SignatureMismatch(_))));
}

#[test]
fn a_date_header_alone_is_signed_in_its_basic_form() {
    let date = "Fri, 24 May 2013 00:00:00 GMT";
    let signed = Signer::now().header(get().with("date", date));
    assert!(!signed.headers.contains_key("x-amz-date"));
    assert_eq!(signed.at(day()).unwrap().scheme, Scheme::HeaderV4);
    let later = signed.set("date", "Fri, 24 May 2013 00:00:01 GMT");
    assert!(matches!(later.at(day()), Err(AuthError::SignatureMismatch(_))));
}

#[test]
fn v2_signs_the_bucket_of_the_host_and_its_own_list_of_parameters() {
    let virtual_host =
        v2_header(Sent::new("GET", "/key?prefix=a&acl&versionId=v").at_bucket("bucket"), "/bucket/key?acl&versionId=v");
    assert_eq!(virtual_host.at(day()).unwrap().scheme, Scheme::HeaderV2);
    // Ordinary parameters are not signed: the weakness is V2's own.
    assert!(virtual_host.clone().and("delimiter=x").at(day()).is_ok());
    assert!(virtual_host.and("uploads").at(day()).is_err());
    let empty_value = v2_header(Sent::new("GET", "/bucket?acl="), "/bucket?acl");
    assert!(empty_value.at(day()).is_ok());
    let decoded = v2_query(
        get().and("response-content-type=text%2Fplain%3B%20charset%3Dutf-8"),
        day().as_secs() + 60,
        "/bucket/key?response-content-type=text/plain; charset=utf-8",
    );
    assert!(decoded.at(day()).is_ok());
}

#[test]
fn v2_with_an_amz_date_leaves_the_date_line_empty() {
    let amz_date = "Fri, 24 May 2013 00:00:00 +0000";
    let signature = sign_v2(&format!("GET\n\n\n\nx-amz-date:{amz_date}\n/bucket/key"));
    let sent = get()
        .with("x-amz-date", amz_date)
        .with("date", "whatever")
        .with("authorization", format!("AWS {KEY}:{signature}"));
    assert!(sent.at(day()).is_ok());
    assert!(matches!(
        sent.set("x-amz-date", "Fri, 24 May 2013 00:00:01 +0000").at(day()),
        Err(AuthError::SignatureMismatch(_))
    ));
}

#[test]
fn v2_signs_content_headers_from_the_query_where_there_are_none() {
    let expires = day().as_secs() + 60;
    let text = format!("PUT\nmd5==\ntext/plain\n{expires}\n/bucket/key");
    let credentials =
        format!("AWSAccessKeyId={KEY}&Expires={expires}&Signature={}", encoded(sign_v2(&text).as_bytes()));
    let put = Sent::new("PUT", "/bucket/key").and(&credentials);
    assert!(put.clone().and("content-type=text%2Fplain&content-md5=md5%3D%3D").at(day()).is_ok());
    assert!(put.clone().with("content-type", "text/plain").with("content-md5", "md5==").at(day()).is_ok());
    assert!(matches!(put.at(day()), Err(AuthError::SignatureMismatch(_))));
}

#[test]
fn query_pairs_are_decoded_once() {
    let pairs: Vec<_> = query_pairs("a=1&b&=x&&c%3D=%2525+%2B=&a=2").map(Result::unwrap).collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, [("a", "1"), ("b", ""), ("", "x"), ("c=", "%25 +="), ("a", "2")]);
    let faults: Vec<bool> = query_pairs("%=1&a=%f&b=%FF&c=%C3%A9").map(|pair| pair.is_err()).collect();
    assert_eq!(faults, [true, true, true, false]);
    assert_eq!(query_pairs("").count(), 0);
}

proptest! {
    #[test]
    fn any_query_can_be_read(raw in "\\PC{0,40}|([a-zA-Z0-9%&=+/-]|%[0-9a-fA-F]{2}){0,30}") {
        for pair in query_pairs(&raw) {
            let _ = pair.map(|(name, value)| (name.len(), value.len()));
        }
        for part in [Part::Path, Part::Query] {
            if let Ok(text) = canonical(&raw, part) {
                prop_assert!(text.is_ascii());
                prop_assert_eq!(canonical(&text, part).unwrap(), text.clone());
                prop_assert_eq!(decode(&text, part).unwrap(), decode(&raw, part).unwrap());
                prop_assert_eq!(&*decode(&raw, part).unwrap(), plain(&raw, part == Part::Query));
            }
        }
    }

    #[test]
    fn any_request_gets_an_answer(
        path in "/[ -~]{0,20}",
        query in "((X-Amz-[A-Z][a-z]{3,12}|x-amz-date|AWSAccessKeyId|Signature|Expires|acl)=[ -~]{0,12}&?){0,6}",
        authorization in proptest::option::of(
            "(AWS|AWS4-HMAC-SHA256) ?((Credential=|SignedHeaders=|Signature=|:|,|/|;)[ -~]{0,8}){0,6}|[ -~]{0,30}"
        ),
        date in "[ -~]{0,20}",
    ) {
        let mut sent = Sent::new("GET", &path.replace('?', "")).and(&query).with("x-amz-date", date);
        if let Some(value) = authorization {
            sent = sent.with("authorization", value);
        }
        if let Ok(found) = sent.at(day()) {
            prop_assert!(found.principal.is_anonymous());
        }
    }

    #[test]
    fn a_spoilt_authorization_header_never_passes(cut in 0_usize..260, put in "[ -~]{0,3}", len in 0_usize..4) {
        let sent = Signer::now().header(get().with("x-amz-meta-date", DATE));
        let value = sent.headers.get("authorization").unwrap().to_str().unwrap().to_owned();
        let mut bytes = value.clone().into_bytes();
        let start = cut.min(bytes.len());
        let end = (start + len).min(bytes.len());
        bytes.splice(start..end, put.bytes());
        let spoilt = String::from_utf8(bytes).unwrap();
        let without_spaces = |text: &str| text.replace(' ', "");
        prop_assume!(without_spaces(&spoilt) != without_spaces(&value));
        prop_assert!(sent.set("authorization", spoilt).at(day()).is_err());
    }
}
