//! Stores that keep each object under a name of its own.
