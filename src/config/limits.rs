//! What a client may take of the server: counts, sizes and times (reliability.md R20 to R23 and §7).

use std::{num::NonZeroU32, time::Duration};

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// A rate of bytes over a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes a second, on average over the window; 0 asks for none.
    pub bytes_per_second: u64,
    /// The window.
    pub window: Duration,
}

/// Limits of both listeners; key `cloudserver.limits` of config.json, every key optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `connections`: open connections. Default 10000; beyond it 503 `SlowDown` and close.
    pub connections: usize,
    /// `requestsInFlight`: requests being served. Default 4096; beyond it 503 `SlowDown`.
    pub requests_in_flight: usize,
    /// `requestsPerAccessKey`: of these, requests of one access key. Default 2048; beyond it 503 `SlowDown`.
    pub requests_per_access_key: usize,
    /// `retryAfterSeconds`: what `Retry-After` says in a 503. Default 1.
    pub retry_after: Duration,
    /// `headerBytes`: bytes of a request's header block. Default 32768.
    pub header_bytes: usize,
    /// `headers`: header fields of a request. Default 100.
    pub headers: usize,
    /// `targetBytes`: bytes of a request's target. Default 8192.
    pub target_bytes: usize,
    /// `headerSeconds`: from the first byte of a request to the end of its headers. Default 20.
    pub header_timeout: Duration,
    /// `keepAliveIdleSeconds`: silence between requests. Default 60.
    pub keep_alive_idle: Duration,
    /// `bodyIdleSeconds`: silence within a request's body. Default 60.
    pub body_idle: Duration,
    /// `bodyMinBytesPerSecond`, `bodyMinRateWindowSeconds`: the slowest body. Default 1024 over 60.
    pub body_min_rate: MinRate,
    /// `responseIdleSeconds`: a client that does not read its answer. Default 60.
    pub response_idle: Duration,
    /// `tlsHandshakeSeconds`: from accept to the end of the handshake. Default 10.
    pub tls_handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            requests_in_flight: 4096,
            requests_per_access_key: 2048,
            retry_after: Duration::from_secs(1),
            header_bytes: 32 << 10,
            headers: 100,
            target_bytes: 8 << 10,
            header_timeout: Duration::from_secs(20),
            keep_alive_idle: Duration::from_mins(1),
            body_idle: Duration::from_mins(1),
            body_min_rate: MinRate { bytes_per_second: 1024, window: Duration::from_mins(1) },
            response_idle: Duration::from_mins(1),
            tls_handshake: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Reads the section; what is absent keeps its default.
    pub(super) fn read(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let mut limits = Self::default();
        count(&mut fields, "connections", &mut limits.connections)?;
        count(&mut fields, "requestsInFlight", &mut limits.requests_in_flight)?;
        count(&mut fields, "requestsPerAccessKey", &mut limits.requests_per_access_key)?;
        seconds(&mut fields, "retryAfterSeconds", &mut limits.retry_after)?;
        count(&mut fields, "headerBytes", &mut limits.header_bytes)?;
        count(&mut fields, "headers", &mut limits.headers)?;
        count(&mut fields, "targetBytes", &mut limits.target_bytes)?;
        seconds(&mut fields, "headerSeconds", &mut limits.header_timeout)?;
        seconds(&mut fields, "keepAliveIdleSeconds", &mut limits.keep_alive_idle)?;
        seconds(&mut fields, "bodyIdleSeconds", &mut limits.body_idle)?;
        if let Some(rate) = fields.take("bodyMinBytesPerSecond", RATE)? {
            limits.body_min_rate.bytes_per_second = rate;
        }
        seconds(&mut fields, "bodyMinRateWindowSeconds", &mut limits.body_min_rate.window)?;
        seconds(&mut fields, "responseIdleSeconds", &mut limits.response_idle)?;
        seconds(&mut fields, "tlsHandshakeSeconds", &mut limits.tls_handshake)?;
        fields.finish(warnings);
        Ok(limits)
    }
}

const RATE: Rule = rule("a rate must be a whole number of bytes, or 0 for none", "remove the key for the default");

/// Takes a count that is at least 1.
fn count(fields: &mut Fields, key: &str, slot: &mut usize) -> Result<(), ConfigError> {
    const RULE: Rule = rule("a limit must be a positive integer", "remove the key for the default");
    if let Some(value) = fields.take::<NonZeroU32>(key, RULE)? {
        *slot = usize::try_from(value.get()).unwrap_or(usize::MAX);
    }
    Ok(())
}

/// Takes a time of at least 1 second.
fn seconds(fields: &mut Fields, key: &str, slot: &mut Duration) -> Result<(), ConfigError> {
    const RULE: Rule = rule("a time must be a positive integer of seconds", "remove the key for the default");
    if let Some(value) = fields.take::<NonZeroU32>(key, RULE)? {
        *slot = Duration::from_secs(u64::from(value.get()));
    }
    Ok(())
}
