//! What the tests stand on: a server in memory, clients that sign, bytes on the wire.

pub(crate) mod chunked;
pub(crate) mod client;
pub(crate) mod elsewhere;
pub(crate) mod sign;
pub(crate) mod wire;
pub(crate) mod world;
pub(crate) mod xml;
