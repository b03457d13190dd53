//! The command line.

use std::{
    io::{self, Write},
    net::SocketAddr,
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Launch, LeaseSettings, LogFormat, LogLevel, Options, Role};

mod health;
mod job;
mod keys;
mod location;
mod migrate;
mod report;
mod scan;
mod store;
mod table;

pub use health::health;
pub use job::ServerArguments;
pub use keys::{KeysCommand, keys};
pub use location::{LocationCommand, MoveCommand, location};
pub use migrate::{Compare, MigrateCommand, migrate};
pub use report::report;

/// An S3 object store in one binary.
///
/// Speaks the S3 protocol on port 8000 and serves health and metrics on port 8002. Objects live in ./localData,
/// metadata in ./localMetadata; both are made at the first start. Without any configuration file the built-in ones
/// are used: 18 locations, and accounts with publicly known keys, which are served to this machine only unless the
/// server runs in a container.
#[derive(Debug, Parser)]
#[command(name = "cloudserver", version, after_help = SHORT_HELP, after_long_help = LONG_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    common: Common,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until told to stop (the default)
    ///
    /// TERM and INT stop it once running requests are done; a second one stops it at once. HUP reads accounts,
    /// locations, host names and certificates again, without dropping a request.
    #[default]
    Serve,
    /// Read and check the configuration, show what it amounts to, and end
    ///
    /// Ends with 0 if the server would start with it, else with 1 and a line that says what to change where.
    CheckConfig,
    /// Look after the master keys that encrypt objects
    #[command(subcommand)]
    Kms(KeysCommand),
    /// Ask the server that runs here with the same configuration how it is, and end with 0 if it is well
    ///
    /// Without --ready: does the process work? With it: does it serve, with all its parts? For health checks of
    /// containers, which then need no other program.
    Health {
        /// Ask whether it serves, not only whether the process works
        #[arg(long)]
        ready: bool,
    },
    /// Copy buckets with all their versions from another S3 store; the same command goes on where it was interrupted
    ///
    /// Copies settings, versions and delete markers in their order, metadata, tags, lists of access and locks; objects
    /// uploaded in parts keep their parts and with them their entity tags. Ends with 0 if everything is at the target, with
    /// 3 if something is not (the report names it, the same command tries again), with 1 if it could not begin or go on.
    Migrate(Box<MigrateCommand>),
    /// Move objects between the locations of a running server, or take up what others put there
    #[command(subcommand)]
    Location(LocationCommand),
}

#[derive(Args, Debug)]
struct Common {
    /// The main configuration file; its companions are looked for beside it
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Port of the S3 listeners
    #[arg(long, value_name = "PORT", global = true)]
    port: Option<u16>,
    /// Address and port to serve S3 on, such as 0.0.0.0:8000; may come several times
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',', global = true)]
    listen: Vec<SocketAddr>,
    /// Folder for data
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<PathBuf>,
    /// Folder for metadata
    #[arg(long, value_name = "FOLDER", global = true)]
    metadata: Option<PathBuf>,
    /// Least severity to log: trace, debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<LogLevel>,
    /// Form of log lines: auto, json or pretty
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
    /// Refuse to start with the shipped, publicly known credentials
    #[arg(long, global = true)]
    production: bool,
    /// Wait for folders that another server owns, and take them over once it is gone or has been silent so long (5 to 3600)
    #[arg(long, value_name = "SECONDS", global = true, value_parser = clap::value_parser!(u32).range(LEASE_TIMES))]
    take_over_after: Option<u32>,
    /// Parts of the server to be: all, front (S3 only), data or metadata
    #[arg(long, value_name = "ROLE", global = true)]
    role: Option<Role>,
}

/// As `cloudserver.lease.seconds`.
const LEASE_TIMES: RangeInclusive<i64> = LeaseSettings::SHORTEST as i64..=LeaseSettings::LONGEST as i64;

const SHORT_HELP: &str = "`cloudserver --help` shows examples and environment variables.";

const LONG_HELP: &str = "\
Examples:
  cloudserver
      serve this machine from ./localData and ./localMetadata
  SCALITY_ACCESS_KEY_ID=mine SCALITY_SECRET_ACCESS_KEY=secret cloudserver --production
      serve every interface, with one account and no shipped keys
  cloudserver --config /etc/cloudserver/config.json --data /srv/data --metadata /srv/metadata
      serve by configuration files of your own
  cloudserver --listen 0.0.0.0:9000 --listen '[::1]:9000'
      serve two addresses
  cloudserver check-config --config new/config.json
      see what a configuration amounts to before it is used
  cloudserver health --ready
      end with 0 if the server that runs here serves, else with 1
  cloudserver --take-over-after 15
      on folders that two machines see: wait for the other, take over when it fails
  cloudserver serve --role data
      keep data for the front on another machine; with --role metadata, metadata
  DATA_HOST=store1 METADATA_HOST=store2 cloudserver
      serve S3 from these two
  cloudserver kms rotate
      encrypt new objects under a new version of the master key
  cloudserver migrate --from http://old:9000 --to http://127.0.0.1:8000 --verify
      copy all buckets from another store, keys in MIGRATE_FROM_ACCESS_KEY and so on
  cloudserver location move --bucket photos --from us-east-1 --to archive --wait
      move the bytes of a bucket to another location while it is served
  cloudserver location scan --location files --dry-run
      see what others put into a folder of files since

Files, looked for in conf/ under the current folder, then in the current folder:
  config.json          listeners, host names, logs, TLS, limits    S3_CONFIG_FILE names another
  locationConfig.json  places where data can be                    S3_LOCATION_FILE names another
  authdata.json        accounts and their keys                     S3AUTH_CONFIG names another

Environment variables (arguments win over them, they win over files):
  SCALITY_ACCESS_KEY_ID, SCALITY_SECRET_ACCESS_KEY
                          one account in place of authdata.json
  S3DATAPATH, S3METADATAPATH
                          folders for data and metadata
  S3BACKEND               mem (everything in memory) or file; S3DATA, S3METADATA say it for one part
  S3KMS                   file (a master key file), vault or mem: who keeps the keys of encrypted objects
  VAULT_TOKEN             token for the vault in cloudserver.kms
  ENDPOINT                host names to be served under, comma-separated
  SSL                     with ENDPOINT: serve TLS with a certificate made for the first of them
  LISTEN_ADDR             IP address to serve on, port 8000
  CLOUDSERVER_ROLE        all, front, data or metadata: as --role
  DATA_HOST, METADATA_HOST
                          data and metadata modules to use, as host or host:port (9991 and 9990)
  CLOUDSERVER_MODULE_TOKEN
                          a secret that modules and their front share
  LOG_LEVEL               info, debug or trace
  HEALTHCHECKS_ALLOWFROM  network that may ask for health, such as 10.0.0.0/8
  REPLICATION_GROUP_ID    tail of version ids
  S3_VERSION_ID_ENCODING_TYPE
                          hex or base62
  MPU_TESTING             yes: multipart parts below 5 MiB are allowed
  ALLOW_PUBLIC_READ_BUCKETS
                          buckets that anybody may read, comma-separated
  PRODUCTION              true: as --production
  CLOUDSERVER_CONTAINER   1: a container's ports are published on purpose, shared keys or not
A file /run/secrets/s3-credentials with such assignments is read first.
";

impl Arguments {
    /// What to do; without a word: serve.
    pub fn chosen(&self) -> Command {
        self.command.clone().unwrap_or_default()
    }

    /// What the arguments say about the configuration.
    pub fn into_options(self) -> Options {
        let Common { config, port, listen, data, metadata, log_level, log_format, production, take_over_after, role } =
            self.common;
        Options { config, port, listen, data, metadata, log_level, log_format, production, take_over_after, role }
    }
}

/// Reads the configuration and serves by `run`; a configuration error is explained on `errors`.
pub fn serve(launch: &Launch, run: impl FnOnce(Config) -> ExitCode, errors: &mut dyn Write) -> ExitCode {
    match Config::load(launch) {
        Ok(config) => run(config),
        Err(error) => {
            let told = writeln!(errors, "{error}\nThe server did not start. `cloudserver check-config` checks again.");
            failure(told)
        }
    }
}

/// Shows what the configuration amounts to on `output`, or what is wrong with it on `errors`.
pub fn check_config(launch: &Launch, output: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    match Config::load(launch) {
        Ok(config) => match output.write_all(report(&config).as_bytes()).and_then(|()| output.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let told = writeln!(errors, "{error}\nCorrect this, then run `cloudserver check-config` again.");
            failure(told)
        }
    }
}

/// Where even the error stream is gone there is nobody left to tell.
fn failure(_told: io::Result<()>) -> ExitCode {
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests;
