//! Signature version 4 in the `Authorization` header, and the comparison that presigned URLs share.
//!
//! Rules: S3 reference, "Authenticating Requests (AWS Signature Version 4)".

mod canonical;
mod chunks;
mod key;
mod scope;

pub use chunks::ChunkSigner;
pub use key::SigningKeys;

pub(super) use canonical::SignedHeaders;
pub(super) use scope::Scope;

use canonical::PathSpelling;
use key::SigningKey;

use super::{
    AuthError, Authenticated, Credential, Gate, Mismatch, Principal, Scheme,
    date::{RequestDate, X_AMZ_DATE},
    payload::{self, Declared},
};
use crate::types::digest::{Digest, Sha256};

/// Decides about a request whose `Authorization` header is `AWS4-HMAC-SHA256 {text}`.
pub(super) fn authenticate(gate: &Gate<'_>, text: &str) -> Result<Authenticated, AuthError> {
    let headers = gate.head.headers;
    let parts = Components::parse(text)?;
    let scope = Scope::parse(parts.credential, gate.settings.region.as_deref()).map_err(AuthError::from_header)?;
    let signed = SignedHeaders::parse(parts.signed_headers)
        .ok_or_else(|| AuthError::header("the SignedHeaders are mal-formed."))?;
    let date = RequestDate::read(headers)?;
    let basic = date.basic();
    if &*basic != date.sent && headers.contains_key(X_AMZ_DATE) {
        return Err(AuthError::MissingDate);
    }
    if !basic.starts_with(scope.date) {
        return Err(AuthError::header(scope.other_day(&basic)));
    }
    date.check_skew(gate.now)?;
    let hash = payload::header(headers)?.ok_or(AuthError::MissingContentSha256)?;
    let declared = Declared::parse(hash)?;
    if headers.contains_key("x-amz-security-token") {
        return Err(AuthError::InvalidToken);
    }
    let claim = Claim { scope, signed, signature: parts.signature, date: &basic, payload: hash, presigned: false };
    let (principal, key) = claim.verify(gate)?;
    let payload = declared.into_payload(|| claim.chunk_signer(key))?;
    Ok(Authenticated { principal, scheme: Scheme::HeaderV4, payload })
}

/// The three components of the header.
struct Components<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Components<'a> {
    fn parse(text: &'a str) -> Result<Self, AuthError> {
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for component in text.split(',').map(str::trim) {
            let slot = match component.split_once('=') {
                Some(("Credential", value)) => credential.replace(value),
                Some(("SignedHeaders", value)) => signed_headers.replace(value),
                Some(("Signature", value)) => signature.replace(value),
                _ => return Err(AuthError::header("an authorization component is malformed.")),
            };
            if slot.is_some() {
                return Err(AuthError::header("an authorization component is repeated."));
            }
        }
        let missing = |name| move || AuthError::header(format!("missing {name}."));
        Ok(Self {
            credential: credential.ok_or_else(missing("Credential"))?,
            signed_headers: signed_headers.ok_or_else(missing("SignedHeaders"))?,
            signature: signature.ok_or_else(missing("Signature"))?,
        })
    }
}

/// What a request says about its signature.
pub(super) struct Claim<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) signed: SignedHeaders<'a>,
    /// 64 lower-case hexadecimal digits, if it is to match.
    pub(super) signature: &'a str,
    /// ISO 8601 basic.
    pub(super) date: &'a str,
    /// The last line of the canonical request.
    pub(super) payload: &'a str,
    /// Whether the signature is a parameter of the query, which then is not part of itself.
    pub(super) presigned: bool,
}

impl Claim<'_> {
    /// Finds out whether the holder of the access key's secret signed this request.
    ///
    /// Unknown keys cost the same as wrong signatures: a key is derived and compared in both cases.
    pub(super) fn verify(&self, gate: &Gate<'_>) -> Result<(Principal, SigningKey), AuthError> {
        let unsigned = self.signed.left_out(gate.head.headers);
        if !unsigned.is_empty() {
            return Err(AuthError::HeadersNotSigned(unsigned));
        }
        match self.verify_spelled(gate, PathSpelling::Normal) {
            Err(mismatch @ AuthError::SignatureMismatch(_)) if canonical::has_escaped_slash(gate.head.path) => {
                self.verify_spelled(gate, PathSpelling::AsSent).map_err(|_| mismatch)
            }
            done => done,
        }
    }

    fn verify_spelled(&self, gate: &Gate<'_>, spelling: PathSpelling) -> Result<(Principal, SigningKey), AuthError> {
        let canonical = canonical::request(gate.head, self, spelling)?;
        let digest = key::lower_hex(&Sha256::digest(&canonical).into());
        let signed_text = [ALGORITHM, self.date.as_bytes(), b"\n", self.scope.text.as_bytes(), b"\n", &digest];

        let credential = gate.credential(self.scope.access_key);
        prove(credential, &gate.settings.keys, &self.scope, self.signature, &signed_text).map_err(|mut e| {
            if let AuthError::SignatureMismatch(mismatch) = &mut e {
                mismatch.canonical_request = Some(lossy(&canonical));
            }
            e
        })
    }

    /// What signs the chunks of the body that follows.
    pub(super) fn chunk_signer(&self, key: SigningKey) -> ChunkSigner {
        ChunkSigner::new(key, self.date, self.scope.text, self.signature)
    }
}

/// Finds out whether the holder of the scope's access key signed the concatenated `text`; unknown keys cost the same.
pub(super) fn prove(
    credential: Option<Credential>,
    keys: &SigningKeys,
    scope: &Scope<'_>,
    signature: &str,
    text: &[&[u8]],
) -> Result<(Principal, SigningKey), AuthError> {
    let access_key = scope.access_key;
    if let Some(credential) = &credential
        && let Some(key) = keys.get(access_key, scope.text, &credential.secret)
        && key.verifies(text, signature)
    {
        return Ok((Principal::verified(access_key, credential), key));
    }
    let secret = credential.as_ref().map(|credential| &*credential.secret);
    let key = SigningKey::derive(secret, scope);
    let matches = key.verifies(text, signature);
    match credential {
        None => Err(AuthError::InvalidAccessKeyId(access_key.to_owned())),
        Some(credential) if matches => {
            // Only what was proved enters the cache, so strangers cannot fill it.
            keys.put(access_key, scope.text, &credential.secret, &key);
            Ok((Principal::verified(access_key, &credential), key))
        }
        Some(_) => Err(AuthError::SignatureMismatch(Box::new(Mismatch {
            access_key: access_key.to_owned(),
            string_to_sign: lossy(&text.concat()),
            signature_provided: signature.to_owned(),
            canonical_request: None,
        }))),
    }
}

const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256\n";

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
