//! Assembles the server, starts it, and drains it.

mod accounts;
mod assemble;
mod error;
mod external;
mod far_s3;
mod health;
mod keys;
mod locations;
mod migration;
mod modules;
mod notify;
mod outbound;
mod ownership;
mod process;
mod reload;
mod standby;
mod stores;
#[cfg(test)]
mod tests;
mod trees;

pub use assemble::Server;
pub use error::StartError;
pub use modules::ModuleServer;
pub use process::run;
