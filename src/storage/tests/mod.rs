//! The engine over stores in memory.

mod audit;
mod concurrency;
mod conditions;
mod dropped;
mod encryption;
mod extensions;
mod listing;
mod listing_cost;
mod locations;
mod lock;
mod multipart;
mod probe;
mod readers;
mod restore;
mod search;
mod versioning;
mod world;
