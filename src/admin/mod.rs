//! Port 8002: health and metrics.
