//! `cloudserver migrate`: copies buckets from one store to another, and shows how far it is.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};

use super::{failure, store::Named, table};
use crate::migrate::{MigrateError, Options, Pairing, Progress, Report, Snapshot, Verify, run};

/// Ends with this where all was seen to, and something is not as at the source.
const INCOMPLETE: u8 = 3;
/// Problems shown in full.
const SHOWN: usize = 20;

/// What is compared after copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compare {
    /// Keys, versions, sizes and entity tags
    Listing,
    /// Every byte, besides
    Bytes,
}

/// Which stores, which buckets, how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct MigrateCommand {
    /// The store to copy from, such as `http://old:9000`
    #[arg(long, value_name = "URL")]
    from: String,
    /// Its access key
    #[arg(long, value_name = "KEY", env = "MIGRATE_FROM_ACCESS_KEY", hide_env_values = true)]
    from_access_key: Option<String>,
    /// The secret of that key; better in the variable, where other users of the machine do not see it
    #[arg(long, value_name = "SECRET", env = "MIGRATE_FROM_SECRET_KEY", hide_env_values = true)]
    from_secret_key: Option<String>,
    /// The token of a temporary key
    #[arg(long, value_name = "TOKEN", env = "MIGRATE_FROM_SESSION_TOKEN", hide_env_values = true)]
    from_session_token: Option<String>,
    /// A section of ~/.aws/credentials instead of a key
    #[arg(long, value_name = "NAME", conflicts_with = "from_access_key")]
    from_profile: Option<String>,
    /// The region that signatures name
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    from_region: String,
    /// Buckets are named in the host, as AWS wants it, not in the path
    #[arg(long)]
    from_virtual_hosts: bool,
    /// The store to copy to, such as `http://127.0.0.1:8000`
    #[arg(long, value_name = "URL")]
    to: String,
    /// Its access key
    #[arg(long, value_name = "KEY", env = "MIGRATE_TO_ACCESS_KEY", hide_env_values = true)]
    to_access_key: Option<String>,
    /// The secret of that key
    #[arg(long, value_name = "SECRET", env = "MIGRATE_TO_SECRET_KEY", hide_env_values = true)]
    to_secret_key: Option<String>,
    /// The token of a temporary key
    #[arg(long, value_name = "TOKEN", env = "MIGRATE_TO_SESSION_TOKEN", hide_env_values = true)]
    to_session_token: Option<String>,
    /// A section of ~/.aws/credentials instead of a key
    #[arg(long, value_name = "NAME", conflicts_with = "to_access_key")]
    to_profile: Option<String>,
    /// The region that signatures name
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    to_region: String,
    /// Buckets are named in the host, not in the path
    #[arg(long)]
    to_virtual_hosts: bool,
    /// A bucket to copy, or BUCKET=NAME to call it otherwise at the target; may come several times. Default: all
    #[arg(long, value_name = "BUCKET[=NAME]")]
    bucket: Vec<String>,
    /// Copy keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Keys copied at a time
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Where the progress is kept: the same command goes on there after an interruption
    #[arg(long, value_name = "FILE", default_value = "cloudserver-migrate.state")]
    state: PathBuf,
    /// Compare afterwards: listing (the default) or bytes
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "listing", require_equals = true)]
    verify: Option<Compare>,
    /// Compare only, copy nothing
    #[arg(long)]
    verify_only: bool,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Canonical id of an account at the source, and who it is at the target, for lists of access; may come several times
    #[arg(long, value_name = "SOURCE=TARGET")]
    map_account: Vec<String>,
    /// Copy no lists of access: spares a request for each version
    #[arg(long)]
    no_acls: bool,
    /// Keep the dates of objects; the target must allow it (cloudserver.migration.keepDates)
    #[arg(long)]
    keep_dates: bool,
    /// The location constraint of buckets that are made at the target
    #[arg(long, value_name = "NAME")]
    location: Option<String>,
}

/// Copies, shows how far it is on `errors`, and tells on `output` what was done.
///
/// Ends with 0 where everything asked for is at the target, with 3 where something is not and the report names it, with 1
/// where it could not begin or go on.
pub fn migrate(command: &MigrateCommand, output: &mut dyn Write, errors: &mut (dyn Write + Send)) -> ExitCode {
    let options = match options(command) {
        Ok(options) => options,
        Err(problem) => return failure(writeln!(errors, "{problem}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(writeln!(errors, "no threads can be had: {error}")),
    };
    let report = match runtime.block_on(watched(options, errors)) {
        Ok(report) => report,
        Err(error) => {
            let state = command.state.display();
            return failure(writeln!(errors, "{error}.\nWhat was copied is noted in {state}: nothing is lost."));
        }
    };
    let told = tell(&report, command, output);
    if let Err(problem) = told {
        return failure(writeln!(errors, "{problem}"));
    }
    if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

fn options(command: &MigrateCommand) -> Result<Options, String> {
    let from = Named {
        url: &command.from,
        access_key: command.from_access_key.as_deref(),
        secret_key: command.from_secret_key.as_deref(),
        token: command.from_session_token.as_deref(),
        profile: command.from_profile.as_deref(),
        region: &command.from_region,
        virtual_hosts: command.from_virtual_hosts,
        option: "--from",
    };
    let to = Named {
        url: &command.to,
        access_key: command.to_access_key.as_deref(),
        secret_key: command.to_secret_key.as_deref(),
        token: command.to_session_token.as_deref(),
        profile: command.to_profile.as_deref(),
        region: &command.to_region,
        virtual_hosts: command.to_virtual_hosts,
        option: "--to",
    };
    let pairing = |text: &String| {
        let (from, to) = text.split_once('=').unwrap_or((text, text));
        Pairing { from: from.to_owned(), to: to.to_owned() }
    };
    let verify = match (command.verify, command.verify_only) {
        (Some(Compare::Bytes), _) => Verify::Bytes,
        (Some(Compare::Listing), _) | (None, true) => Verify::Listing,
        (None, false) => Verify::No,
    };
    Ok(Options {
        from: from.client()?,
        to: to.client()?,
        buckets: command.bucket.iter().map(pairing).collect(),
        prefix: command.prefix.clone(),
        workers: usize::from(command.workers),
        state: command.state.clone(),
        verify,
        verify_only: command.verify_only,
        accounts: accounts(&command.map_account)?,
        acls: !command.no_acls,
        keep_dates: command.keep_dates,
        location: command.location.clone(),
    })
}

fn accounts(given: &[String]) -> Result<BTreeMap<String, String>, String> {
    let pair = |text: &String| {
        let (from, to) = text.split_once('=').ok_or_else(|| format!("--map-account {text}: write SOURCE=TARGET"))?;
        Ok((from.to_owned(), to.to_owned()))
    };
    given.iter().map(pair).collect()
}

/// Runs, and shows how far it is.
async fn watched(options: Options, errors: &mut (dyn Write + Send)) -> Result<Report, MigrateError> {
    let progress = Arc::new(Progress::default());
    let mut screen = Screen::new(io::stderr().is_terminal());
    let run = run(options, Arc::clone(&progress));
    tokio::pin!(run);
    loop {
        tokio::select! {
            report = &mut run => {
                screen.clear(errors);
                return report;
            }
            () = tokio::time::sleep(screen.pause) => screen.show(&progress.snapshot(), errors),
        }
    }
}

/// Where progress is shown: a line that is drawn anew on a terminal, else a line from time to time.
struct Screen {
    is_terminal: bool,
    pause: Duration,
    began: Instant,
    last: (Instant, u64),
}

impl Screen {
    fn new(is_terminal: bool) -> Self {
        let pause = if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        let now = Instant::now();
        Self { is_terminal, pause, began: now, last: (now, 0) }
    }

    fn show(&mut self, now: &Snapshot, errors: &mut (dyn Write + Send)) {
        let since = self.last.0.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate that is shown")]
        let rate = now.bytes.saturating_sub(self.last.1) as f64 / since;
        if since >= 1.0 {
            self.last = (Instant::now(), now.bytes);
        }
        let line = line(now, rate, self.began.elapsed());
        // Nobody is told of a broken screen: there is nobody to tell.
        let (before, behind) = if self.is_terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
        write!(errors, "{before}{line}{behind}").and_then(|()| errors.flush()).ok();
    }

    fn clear(&self, errors: &mut (dyn Write + Send)) {
        if self.is_terminal {
            write!(errors, "\r\x1b[2K").and_then(|()| errors.flush()).ok();
        }
    }
}

fn line(now: &Snapshot, rate: f64, since: Duration) -> String {
    let mut line = bar(now);
    let more = if now.is_counted { "" } else { " or more" };
    let _infallible = write!(
        line,
        " {} of {}{more} versions, {}, {}/s, {} s, {}",
        now.entries,
        now.expected.max(now.entries),
        size(now.bytes),
        size(whole(rate)),
        since.as_secs(),
        now.bucket
    );
    if now.problems > 0 {
        let _infallible = write!(line, ", {} problems", now.problems);
    }
    line
}

fn whole(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate that is shown")]
    let number = number.max(0.0) as u64;
    number
}

fn bar(now: &Snapshot) -> String {
    const WIDTH: u64 = 20;
    let share = (now.entries * WIDTH).checked_div(now.expected).unwrap_or(0).min(WIDTH);
    let filled = usize::try_from(share).unwrap_or_default();
    let rest = usize::try_from(WIDTH - share).unwrap_or_default();
    format!("[{}{}]", "#".repeat(filled), ".".repeat(rest))
}

/// Bytes in words.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

fn tell(report: &Report, command: &MigrateCommand, output: &mut dyn Write) -> Result<(), String> {
    if let Some(file) = &command.report {
        let written = fs::write(file, report.to_json());
        written.map_err(|error| format!("the report cannot be written to {}: {error}", file.display()))?;
    }
    output.write_all(text(report, command).as_bytes()).and_then(|()| output.flush()).map_err(|error| error.to_string())
}

fn text(report: &Report, command: &MigrateCommand) -> String {
    let rows = report.buckets.iter().map(|bucket| {
        let name =
            if bucket.from == bucket.to { bucket.from.clone() } else { format!("{} as {}", bucket.from, bucket.to) };
        let compared =
            bucket.differences.map_or_else(|| "-".to_owned(), |found| format!("{found} of {}", bucket.verified));
        [
            name,
            bucket.sums.versions.to_string(),
            bucket.sums.markers.to_string(),
            size(bucket.sums.bytes),
            bucket.sums.present.to_string(),
            bucket.failed.to_string(),
            bucket.noted.to_string(),
            compared,
        ]
    });
    let heading = ["bucket", "versions", "markers", "bytes", "there before", "failed", "notes", "differ"];
    let mut text = table::render(heading, &rows.collect::<Vec<_>>());
    let told = |text: &mut String, title: &str, all: Vec<(&str, &crate::migrate::Problem)>| {
        if all.is_empty() {
            return;
        }
        let _infallible = writeln!(text, "\n{title}");
        for (bucket, problem) in all.iter().take(SHOWN) {
            let version = if problem.version.is_empty() { String::new() } else { format!(" ({})", problem.version) };
            let _infallible = writeln!(text, "  {bucket}/{}{version}: {}", problem.key, problem.problem);
        }
        if all.len() > SHOWN {
            let _infallible = writeln!(text, "  … and {} more: --report FILE names them", all.len() - SHOWN);
        }
    };
    let of = |list: fn(&crate::migrate::BucketReport) -> &Vec<crate::migrate::Problem>| {
        report.buckets.iter().flat_map(move |bucket| list(bucket).iter().map(|it| (bucket.from.as_str(), it))).collect()
    };
    told(&mut text, "Not copied; the same command tries again:", of(|bucket| &bucket.failures));
    told(&mut text, "Copied or compared, but not the same in all:", of(|bucket| &bucket.notes));
    if report.is_complete() {
        let _infallible = writeln!(text, "\nAll of it is at {}.", command.to);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_words() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10 << 30, "10.0 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let now = Snapshot {
            expected: 200,
            is_counted: true,
            entries: 50,
            bytes: 2048,
            problems: 1,
            bucket: "photos".to_owned(),
        };
        let text = line(&now, 1024.0, Duration::from_secs(9));
        assert_eq!(text, "[#####...............] 50 of 200 versions, 2.0 KiB, 1.0 KiB/s, 9 s, photos, 1 problems");
    }
}
