//! Assembles the server, starts it, and drains it.
