//! How much a client may take.

use std::time::Duration;

use super::framing::HeadLimits;

/// Limits on connections and requests. The defaults suit a server whose memory budget is 256 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, all listeners of one [`super::serve`] together; beyond: 503 `SlowDown`, closed.
    pub connections: usize,
    /// Requests being served, from their heads to the ends of their answers; beyond: 503 `SlowDown`.
    pub requests: usize,
    /// Concurrent requests of one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of the header fields of a request.
    pub header_bytes: usize,
    /// Number of header fields of a request.
    pub headers: usize,
    /// From the opening of a connection, or the first byte of a head, to the head's end.
    pub header_timeout: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub keep_alive: Duration,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// For which a client may leave written bytes unread.
    pub write_timeout: Duration,
    /// For which the rest of an unwanted body is discarded after an early answer, so that the client gets to read it.
    pub linger_time: Duration,
    /// Bytes discarded at most in that time.
    pub linger_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 2048,
            streams: 128,
            target_bytes: 8 << 10,
            header_bytes: 32 << 10,
            headers: 100,
            header_timeout: Duration::from_secs(20),
            keep_alive: Duration::from_mins(1),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_mins(1),
            linger_time: Duration::from_secs(2),
            linger_bytes: 16 << 20,
        }
    }
}

impl Limits {
    /// Connections beyond the limit that are still told so at a time; further ones are closed without a word.
    pub(super) fn told_to_slow_down(&self) -> usize {
        (self.connections / 16).clamp(16, 256)
    }

    /// The limits of a connection beyond the limit: it is there to be refused, quickly.
    pub(super) fn for_refusing(&self) -> Self {
        let brief = Duration::from_secs(2);
        Self {
            header_timeout: self.header_timeout.min(brief),
            write_timeout: self.write_timeout.min(brief),
            linger_time: self.linger_time.min(Duration::from_millis(500)),
            ..self.clone()
        }
    }

    pub(super) fn head(&self) -> HeadLimits {
        HeadLimits { target: self.target_bytes, header_bytes: self.header_bytes, headers: self.headers }
    }

    /// How often a connection's activity is looked at.
    pub(super) fn look_every(&self) -> Duration {
        let limits = [self.header_timeout, self.keep_alive, self.write_timeout, self.linger_time];
        let shortest = limits.into_iter().min().unwrap_or(self.keep_alive);
        (shortest / 4).max(Duration::from_millis(10))
    }

    /// Bytes that hyper may buffer per direction of a connection when so many are open.
    ///
    /// Few connections get large buffers, so that a large upload arrives in few large pieces; many get what a
    /// thousand uploads may hold and stay under 256 MiB. Never less than the largest head.
    pub(super) fn buffer_bytes(&self, open: usize) -> usize {
        let size = match open {
            0..32 => 512 << 10,
            32..128 => 128 << 10,
            _ => 64 << 10,
        };
        size.max(self.target_bytes + self.header_bytes + 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_connections_buffer_less_than_half_of_the_budget() {
        let limits = Limits::default();
        let total: usize = (0..1000).map(|open| limits.buffer_bytes(open)).sum();
        assert!(total < 128 << 20, "{total}");
    }

    #[test]
    fn a_head_of_legal_size_always_fits_the_buffer() {
        let limits = Limits { header_bytes: 1 << 20, ..Limits::default() };
        assert!(limits.buffer_bytes(5000) > limits.header_bytes + limits.target_bytes);
    }
}
