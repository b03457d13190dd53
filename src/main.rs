//! The `cloudserver` binary.

fn main() {}
