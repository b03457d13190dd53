//! The server as a process: runtime, log, signals, exit code.

use std::{
    io::{IsTerminal, Write, stderr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ModuleServer, Server, StartError, notify::Notify, ownership};
use crate::{
    clock::{Clock, SystemClock},
    config::{self, Config, LogFormat, Role},
    lease::Lease,
    telemetry::{
        AccessLog,
        logs::{self, LogSettings, Logs, Now, level_from_name},
    },
};

/// Most threads that wait for disks; each costs memory only while it works.
const BLOCKING_THREADS: usize = 160;

/// Runs the server until it is told to stop.
pub fn run(config: Config) -> ExitCode {
    // Tests of crashes name in `FAILPOINTS` where this process shall end.
    #[cfg(feature = "failpoints")]
    let _points = fail::FailScenario::setup();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cloudserver")
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&StartError::Io(error)),
    };
    match runtime.block_on(serve(config)) {
        Ok(code) => code,
        Err(error) => refuse(&error),
    }
}

/// Errors at start go to standard error in words, not into the log.
fn refuse(error: &StartError) -> ExitCode {
    // There is nobody left to tell if standard error is closed.
    drop(writeln!(stderr(), "cloudserver: {error}"));
    ExitCode::FAILURE
}

async fn serve(config: Config) -> Result<ExitCode, StartError> {
    let logs = Logs::install(&log_settings(&config), Now::new(|| SystemClock.now()))?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let banner = config::banner(&config);
    let warnings = config::all_warnings(&config);
    let facts = config::facts(&config);
    let grace = config.shutdown_grace;
    let notify = Notify::to(config.launch.environment.get("NOTIFY_SOCKET"));
    let lease = tokio::select! {
        lease = ownership::own(&config, &notify) => lease?,
        () = signals.stop() => {
            tracing::info!("stopped while waiting for the folders");
            logs.flush();
            return Ok(ExitCode::SUCCESS);
        }
    };
    let server = Running::start(config, lease.clone(), Some(logs.access_log())).await?;
    if std::io::stdout().is_terminal() {
        drop(writeln!(stderr(), "{banner}"));
    } else {
        for (name, value) in facts {
            tracing::info!(fact = name, "{value}");
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
    server.tell();
    notify.ready();
    signals.wait(&server).await;
    tracing::info!("stopping: requests under way are finished");
    notify.stopping();
    let cut = tokio::select! {
        cut = server.stop(grace) => cut,
        () = signals.stop() => {
            tracing::warn!("told again: stopping at once");
            logs.flush();
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(lease) = lease {
        ownership::release(lease).await;
    }
    tracing::info!(cut, "stopped");
    logs.flush();
    Ok(ExitCode::SUCCESS)
}

/// What this process is.
enum Running {
    Front(Box<Server>),
    Module(Box<ModuleServer>),
}

impl Running {
    async fn start(
        config: Config,
        lease: Option<Arc<Lease>>,
        access_log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        match config.modules.role {
            Role::All | Role::Front => Ok(Self::Front(Box::new(Server::start_owner(config, lease, access_log).await?))),
            Role::Data | Role::Metadata => {
                Ok(Self::Module(Box::new(ModuleServer::start_owner(&config, lease.as_ref(), access_log)?)))
            }
        }
    }

    fn tell(&self) {
        match self {
            Self::Front(server) => {
                tracing::info!(s3 = ?server.s3_addresses(), admin = ?server.admin_addresses(), "serving");
            }
            Self::Module(module) => {
                tracing::info!(module = ?module.addresses(), admin = ?module.admin_addresses(), "serving");
            }
        }
    }

    async fn reload(&self) {
        match self {
            Self::Front(server) => server.reload().await,
            Self::Module(_) => tracing::info!("a module has nothing to read again"),
        }
    }

    async fn stop(self, grace: Duration) -> usize {
        match self {
            Self::Front(server) => server.stop(grace).await,
            Self::Module(module) => module.stop(grace).await,
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads at each hangup; returns at the first signal that means "stop".
    async fn wait(&mut self, server: &Running) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => server.reload().await,
                () = Self::any(&mut self.terminate, &mut self.interrupt, &mut self.quit) => return,
            }
        }
    }

    /// Returns at the next signal that means "stop".
    async fn stop(&mut self) {
        Self::any(&mut self.terminate, &mut self.interrupt, &mut self.quit).await;
    }

    async fn any(terminate: &mut Signal, interrupt: &mut Signal, quit: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

fn log_settings(config: &Config) -> LogSettings {
    let format = match config.log.format {
        LogFormat::Auto => logs::LogFormat::Auto,
        LogFormat::Json => logs::LogFormat::Json,
        LogFormat::Pretty => logs::LogFormat::Pretty,
    };
    let level = level_from_name(config.log.level.as_str()).unwrap_or(LogSettings::default().level);
    LogSettings { level, format, ..LogSettings::default() }
}

/// Allows as many open files as the system lets this process have: each connection is one, and each blob read.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
