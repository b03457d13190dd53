//! How this start came about: arguments, variables, folders. Everything the process is asked is asked here.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    env::Environment,
    modules::Role,
    settings::{LogFormat, LogLevel},
};

/// What the command line says; it wins over variables, which win over files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--config`: the main file, relative to the current folder.
    pub config: Option<PathBuf>,
    /// `--port`: the S3 port, on every address that is listened on.
    pub port: Option<u16>,
    /// `--listen`: the S3 listeners, in place of `listenOn` and `port`.
    pub listen: Vec<SocketAddr>,
    /// `--data`: the data folder.
    pub data: Option<PathBuf>,
    /// `--metadata`: the metadata folder.
    pub metadata: Option<PathBuf>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--production`.
    pub production: bool,
    /// `--take-over-after`, in seconds.
    pub take_over_after: Option<u32>,
    /// `--role`.
    pub role: Option<Role>,
}

/// All that a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The arguments.
    pub options: Options,
    /// The variables.
    pub environment: Environment,
    /// Where an install root may be, best first: the current folder, then that of the executable.
    pub roots: Vec<PathBuf>,
    /// Whether the process runs in a container, whose ports are published on purpose.
    pub container: bool,
}

/// Where container platforms put the secret of that name.
const SECRETS: &str = "/run/secrets/s3-credentials";

impl Launch {
    /// This process's arguments (as `options`), environment and folders.
    pub fn of_process(options: Options) -> Self {
        let mut environment: Environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Ok(text) = std::fs::read_to_string(SECRETS) {
            environment = environment.with_shell_file(&text);
        }
        let executable = std::env::current_exe().ok();
        let beside = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
        let roots = [std::env::current_dir().ok(), beside].into_iter().flatten().collect();
        let container = environment.switch("CLOUDSERVER_CONTAINER").unwrap_or_else(in_docker);
        Self { options, environment, roots, container }
    }
}

fn in_docker() -> bool {
    Path::new("/.dockerenv").try_exists().unwrap_or(false)
}

/// Reads a file; `None` if there is none.
pub(super) fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
