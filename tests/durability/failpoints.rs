//! failpoints
