//! Assembles the server, starts it, and drains it.

mod accounts;
mod assemble;
mod error;
mod external;
mod health;
mod keys;
mod outbound;
mod process;
mod reload;
mod stores;

pub use assemble::Server;
pub use error::StartError;
pub use process::run;
