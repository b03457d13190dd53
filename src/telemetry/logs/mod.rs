//! The log: one line per event, JSON for collectors or readable on a terminal.
//!
//! Lines of libraries are shown from `warn` up whatever the level is: HTTP libraries log header fields when they are
//! traced, and `Authorization` must never be written down.

use std::{
    fmt,
    io::{IsTerminal, Write},
    sync::Arc,
};

use thiserror::Error;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Registry, filter::Targets, layer::SubscriberExt};

use super::{AccessLog, LineSink};
use crate::types::Timestamp;

mod lines;

use lines::Lines;

/// Where the time of log lines comes from: the server's clock.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    /// Time from `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn get(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// [`LogFormat::Pretty`] on a terminal, else [`LogFormat::Json`].
    #[default]
    Auto,
    /// A JSON object per line.
    Json,
    /// For people: time, level, message, fields.
    Pretty,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Least severe level of our own lines.
    pub level: LevelFilter,
    /// How lines look. Access lines are always JSON.
    pub format: LogFormat,
    /// Whether each request gets a line.
    pub access_log: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, format: LogFormat::Auto, access_log: true }
    }
}

/// The level of a name in `config.json`; `fatal` is the original's word for the worst errors.
pub fn level_from_name(name: &str) -> Option<LevelFilter> {
    match name {
        "off" => Some(LevelFilter::OFF),
        "fatal" | "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The system gave no thread to write with.
    #[error("no thread for the log: {0}")]
    Thread(#[from] std::io::Error),
    /// The process has a log already.
    #[error("the log is set up already")]
    Twice,
}

/// A running log. Keep it to the end: dropping the last handle writes what waits.
#[derive(Clone, Debug)]
pub struct Logs {
    sink: LineSink,
    access: AccessLog,
}

impl Logs {
    /// Logs to standard output, for the whole process.
    ///
    /// # Errors
    /// Where the process has a log already or no thread can be had.
    pub fn install(settings: &LogSettings, now: Now) -> Result<Self, LogError> {
        let terminal = std::io::stdout().is_terminal();
        let format = match settings.format {
            LogFormat::Auto if terminal => LogFormat::Pretty,
            LogFormat::Auto => LogFormat::Json,
            given => given,
        };
        let settings = LogSettings { format, ..settings.clone() };
        let (logs, subscriber) = Self::build(&settings, now, std::io::stdout())?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
        Ok(logs)
    }

    /// A log that writes to `out`, and the subscriber that feeds it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn build(
        settings: &LogSettings,
        now: Now,
        out: impl Write + Send + 'static,
    ) -> Result<(Self, impl Subscriber + Send + Sync + 'static), LogError> {
        let sink = LineSink::new(out)?;
        let lines = Lines::new(sink.clone(), now.clone(), settings.format == LogFormat::Pretty);
        let access = AccessLog::new(sink.clone(), now, settings.access_log);
        Ok((Self { sink, access }, Registry::default().with(targets(settings.level)).with(lines)))
    }

    /// The access log that shares this log's output.
    pub fn access_log(&self) -> AccessLog {
        self.access.clone()
    }

    /// Waits (at most about a second) until everything logged so far is written.
    pub fn flush(&self) {
        self.sink.flush();
    }

    /// Lines lost because the output did not keep up.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }
}

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_target("cloudserver", level).with_default(level.min(LevelFilter::WARN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{RequestId, lines::tests::Memory, request_scope};

    fn lines(settings: &LogSettings, log: impl FnOnce(&Logs)) -> Vec<String> {
        let out = Memory::default();
        let (logs, subscriber) =
            Logs::build(settings, Now::new(|| Timestamp::from_secs(784_111_777)), out.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || log(&logs));
        logs.flush();
        out.text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_json_line_has_time_level_fields_and_the_request() {
        let settings = LogSettings { format: LogFormat::Json, ..LogSettings::default() };
        let lines = lines(&settings, |_| {
            let _entered = request_scope::enter(&RequestId("00ff".into()));
            let error = std::io::Error::other("no \"space\"\nleft");
            tracing::error!(
                bucket = "b",
                attempt = 2,
                ok = false,
                error = &error as &dyn std::error::Error,
                "write {}",
                7
            );
        });
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let expected = serde_json::json!({
            "time": "1994-11-06T08:49:37.000Z", "level": "error", "name": "cloudserver::telemetry::logs::tests",
            "req_id": "00ff", "message": "write 7", "bucket": "b", "attempt": 2, "ok": false,
            "error": "no \"space\"\nleft",
        });
        assert_eq!(line, expected);
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_pretty_line_is_one_line_that_cannot_steer_the_terminal() {
        let settings = LogSettings { format: LogFormat::Pretty, ..LogSettings::default() };
        let lines = lines(&settings, |_| tracing::warn!(key = "a\u{1b}[2J\nb", "odd key"));
        assert_eq!(lines, ["08:49:37.000 \u{1b}[33m WARN\u{1b}[0m odd key key=\"a\\u001b[2J\\nb\""]);
    }

    #[test]
    fn only_lines_of_the_level_are_written_and_libraries_stay_quiet() {
        let at = |level| {
            let settings = LogSettings { format: LogFormat::Json, level, ..LogSettings::default() };
            lines(&settings, |_| {
                tracing::debug!("ours");
                tracing::trace!(target: "h2::codec", "authorization: secret");
                tracing::warn!(target: "h2::codec", "shown, too");
            })
        };
        assert_eq!(at(LevelFilter::OFF).len(), 0);
        assert_eq!(at(LevelFilter::INFO).len(), 1);
        let all = at(LevelFilter::TRACE);
        assert!(all.len() == 2 && all.iter().all(|line| !line.contains("secret")), "{all:?}");
    }

    #[test]
    fn names_of_levels_are_the_originals() {
        assert_eq!(level_from_name("fatal"), Some(LevelFilter::ERROR));
        assert_eq!(level_from_name("trace"), Some(LevelFilter::TRACE));
        assert_eq!(level_from_name("INFO"), None);
    }
}
