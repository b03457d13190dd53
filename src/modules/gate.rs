//! What both modules ask of a request before they look at it, and how they read its body.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::answer::Fault;
use crate::types::{BodyError, ByteStream};

/// Who may ask, and how slowly.
#[derive(Clone)]
pub struct Gate {
    /// The secret that fronts show as `Authorization: Bearer`; anybody may ask without one.
    pub token: Option<SecretString>,
    /// The longest silence within a body.
    pub idle: Duration,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("guarded", &self.token.is_some()).field("idle", &self.idle).finish()
    }
}

impl Gate {
    /// Lets a request in, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let Some(token) = &self.token else { return Ok(()) };
        let shown = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        if bool::from(shown.ct_eq(token.expose_secret().as_bytes())) { Ok(()) } else { Err(Fault::access_denied()) }
    }

    /// A request's body as a stream. A connection that breaks, or says nothing for too long, ends it in an error.
    pub(super) fn body(&self, body: Incoming) -> ByteStream {
        let idle = self.idle;
        stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            loop {
                let frame = match tokio::time::timeout(idle, body.frame()).await {
                    Err(_) => return Some((Err(BodyError::TimedOut), None)),
                    Ok(None) => return None,
                    Ok(Some(Err(_))) => return Some((Err(BodyError::Disconnected), None)),
                    Ok(Some(Ok(frame))) => frame,
                };
                match frame.into_data() {
                    Ok(slice) if !slice.is_empty() => return Some((Ok::<Bytes, _>(slice), Some(body))),
                    // Trailers say nothing here.
                    Ok(_) | Err(_) => {}
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_very_secret_opens() {
        let gate = |token: Option<&str>| Gate { token: token.map(SecretString::from), idle: Duration::from_secs(1) };
        let shows = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            headers
        };
        assert!(gate(None).admit(&HeaderMap::new()).is_ok());
        let guarded = gate(Some("secret"));
        assert!(guarded.admit(&shows("Bearer secret")).is_ok());
        for wrong in ["", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"] {
            assert_eq!(guarded.admit(&shows(wrong)).unwrap_err().status.as_u16(), 403, "{wrong:?}");
        }
        assert!(guarded.admit(&HeaderMap::new()).is_err());
    }
}
