//! Configuration: files, environment, accounts and locations, checked once at start.
