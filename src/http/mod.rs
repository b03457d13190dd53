//! Listeners, connections, TLS and limits.
