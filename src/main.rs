//! The `cloudserver` binary: arguments, configuration, server.

use std::{
    io::{stderr, stdout},
    process::ExitCode,
};

use clap::Parser;
use cloudserver::{
    cli::{Arguments, Command, check_config, health, keys, location, migrate, serve},
    config::Launch,
    server,
};

/// Streams of many sizes on many threads fragment the system's allocator; this one gives memory back.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.chosen();
    let launch = Launch::of_process(arguments.into_options());
    match command {
        Command::Serve => serve(&launch, server::run, &mut stderr()),
        Command::Kms(what) => keys(&what, &launch, &mut stdout().lock(), &mut stderr()),
        Command::Health { ready } => health(ready, &launch, &mut stdout().lock(), &mut stderr()),
        Command::Migrate(what) => migrate(&what, &mut stdout().lock(), &mut stderr()),
        Command::Location(what) => location(&what, &mut stdout().lock(), &mut stderr()),
        Command::CheckConfig => check_config(&launch, &mut stdout().lock(), &mut stderr()),
    }
}
