//! Signature version 4 with an unsigned payload: the cheapest a client can do, so that load costs the server most.

use std::sync::Mutex;

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const QUERY: AsciiSet = PATH.add(b'/');
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Signs for one access key; the signing key of the day is kept.
#[derive(Debug)]
pub(crate) struct Signer {
    access: String,
    secret: String,
    day: Mutex<Option<(String, Vec<u8>)>>,
}

/// A request as it goes over the wire.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Signer {
    pub(crate) fn new(access: &str, secret: &str) -> Self {
        Self { access: access.to_owned(), secret: secret.to_owned(), day: Mutex::new(None) }
    }

    /// Signs; `headers` are small-lettered and are all signed if they begin with `x-amz-`.
    pub(crate) fn sign(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        host: &str,
        headers: &[(String, String)],
    ) -> Signed {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = time[..8].to_owned();
        let path = utf8_percent_encode(path, &PATH).to_string();
        let mut pairs: Vec<_> = query.iter().map(|(name, value)| (escape(name), escape(value))).collect();
        pairs.sort();
        let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");

        let mut all = headers.to_vec();
        all.push(("host".to_owned(), host.to_owned()));
        all.push(("x-amz-date".to_owned(), time.clone()));
        all.push(("x-amz-content-sha256".to_owned(), PAYLOAD.to_owned()));
        let mut signed: Vec<_> = all.iter().filter(|(name, _)| name == "host" || name.starts_with("x-amz-")).collect();
        signed.sort();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines =
            signed.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect::<Vec<_>>().join("\n");
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n\n{names}\n{PAYLOAD}");

        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let signature = hex::encode(keyed(&self.signing_key(&day), text.as_bytes()));
        let credential = format!("{}/{scope}", self.access);
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
        all.push(("authorization".to_owned(), authorization));
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        Signed { target, headers: all }
    }

    fn signing_key(&self, day: &str) -> Vec<u8> {
        let mut kept = self.day.lock().unwrap();
        match &*kept {
            Some((known, key)) if known == day => key.clone(),
            _ => {
                let mut key = keyed(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
                for step in ["us-east-1", "s3", "aws4_request"] {
                    key = keyed(&key, step.as_bytes());
                }
                *kept = Some((day.to_owned(), key.clone()));
                key
            }
        }
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, &QUERY).to_string()
}

fn keyed(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
