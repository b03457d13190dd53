//! Names for requests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderName};

use crate::telemetry::RequestId;

/// The header in which a peer passes on the ids of the request that caused this one.
const CHAIN: HeaderName = HeaderName::from_static("x-scal-request-uids");
/// Longest chain taken over (the original's limit).
const MOST_CHAIN: usize = 128;
/// Bits that change from request to request; 16 more tell one process from the next.
const COUNTED: u64 = (1 << 48) - 1;

/// Makes request ids: 20 hexadecimal digits, no two alike in one process, hardly two alike in two.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u32,
    /// An odd number, so that multiplying by it permutes the counter: ids of consecutive requests look unrelated.
    stride: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        let mut seed = [0; 12];
        // Without randomness ids are still unique in this process.
        let _ = getrandom::fill(&mut seed);
        let (process, rest) = seed.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let mut stride = [0; 8];
        stride.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { process: u32::from_be_bytes(*process), stride: u64::from_be_bytes(stride) | 1, next: AtomicU64::new(0) }
    }
}

impl RequestIds {
    /// The id of a request with these headers: ours, behind what the peer sent.
    pub(super) fn next(&self, headers: &HeaderMap) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let spread = count.wrapping_mul(self.stride) & COUNTED;
        let own = format!("{:08x}{spread:012x}", self.process);
        let chain = headers.get(CHAIN).and_then(|value| value.to_str().ok()).filter(|chain| is_chain(chain));
        RequestId(match chain {
            Some(chain) => Arc::from(format!("{chain}:{own}")),
            None => Arc::from(own),
        })
    }
}

/// Ids go into headers, documents and logs: letters, digits and what joins them only.
fn is_chain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.len() < MOST_CHAIN && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::collections::HashSet;

    #[test]
    fn ids_are_twenty_hexadecimal_digits_and_unique() {
        let ids = RequestIds::default();
        let made: HashSet<String> = (0..10_000).map(|_| ids.next(&HeaderMap::new()).to_string()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| id.len() == 20 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }

    #[test]
    fn a_peers_chain_comes_first_unless_it_is_long_or_odd() {
        let ids = RequestIds::default();
        let with = |chain: &str| {
            let headers = HeaderMap::from_iter([(CHAIN, HeaderValue::from_str(chain).unwrap())]);
            ids.next(&headers).to_string()
        };
        let id = with("abc:def");
        assert!(id.starts_with("abc:def:") && id.len() == 28, "{id}");
        for odd in ["", "a b", "<x>", "\"", &"a".repeat(128)] {
            assert_eq!(with(odd).len(), 20, "{odd}");
        }
    }
}
