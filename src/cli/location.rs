//! `cloudserver location`: asks a running server to move objects between its locations.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    job::{Job, ServerArguments, follow},
    migrate::size,
    scan::{ScanCommand, scan},
    table,
};
use crate::s3client::{S3Client, S3ClientError};

/// Between looks at a job.
const LOOK: Duration = Duration::from_secs(1);

/// What to do with locations.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LocationCommand {
    /// Move the objects of a bucket from one location to another, while they are served
    ///
    /// The server does it by itself, also after a restart; this command asks for it, and shows how far it is. Versions
    /// keep their ids, tags, dates, parts and locks. Objects written meanwhile stay where they are written;
    /// --and-new-writes sends them to the new location, too.
    Move(MoveCommand),
    /// Take up what others put into the folder of a posix location, changed there or removed
    ///
    /// Files that are new or changed become objects, without a byte being copied; objects whose files are gone are
    /// deleted. The server does it by itself; this command asks for it, shows how far it is, and tells what was done.
    /// What was done is not done twice.
    Scan(ScanCommand),
}

/// Which objects, from where to where.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub struct MoveCommand {
    #[command(flatten)]
    server: ServerArguments,
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// Keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// The location to leave
    #[arg(long, value_name = "NAME", required_unless_present_any = ["status", "cancel"])]
    from: Option<String>,
    /// The location to go to
    #[arg(long, value_name = "NAME", required_unless_present_any = ["status", "cancel"])]
    to: Option<String>,
    /// Count only
    #[arg(long)]
    dry_run: bool,
    /// Send new objects of the bucket to the new location, too
    #[arg(long)]
    and_new_writes: bool,
    /// Wait until it is done
    #[arg(long)]
    wait: bool,
    /// Show the bucket's moves instead
    #[arg(long, conflicts_with_all = ["from", "to", "cancel"])]
    status: bool,
    /// End the bucket's move that is under way instead
    #[arg(long, conflicts_with_all = ["from", "to"])]
    cancel: bool,
}

/// Asks, and tells on `output` how it stands. Ends with 0 where the job is done or under way, with 3 where it ended with
/// something left, with 1 where it was refused.
pub fn location(command: &LocationCommand, output: &mut dyn Write, errors: &mut (dyn Write + Send)) -> ExitCode {
    let wanted = match command {
        LocationCommand::Move(wanted) => wanted,
        LocationCommand::Scan(wanted) => return scan(wanted, output, errors),
    };
    let told = |jobs: &[Job]| {
        let is_well = wanted.status || jobs.iter().all(|job| job.word("state") != "failed");
        (render(jobs), is_well)
    };
    follow(&wanted.server, (output, errors), async |client, errors| move_it(client, wanted, errors).await, told)
}

async fn move_it(
    client: &S3Client,
    wanted: &MoveCommand,
    errors: &mut (dyn Write + Send),
) -> Result<Vec<Job>, S3ClientError> {
    if wanted.status || wanted.cancel {
        let mut jobs = Job::all(client).await?;
        jobs.retain(|job| job.word("bucket") == wanted.bucket && job.word("kind") == "move");
        if wanted.cancel {
            jobs.retain(Job::is_running);
            for job in &mut jobs {
                *job = job.cancel(client).await?;
            }
        }
        return Ok(jobs);
    }
    let document = json!({
        "prefix": wanted.prefix,
        "from": wanted.from,
        "to": wanted.to,
        "dryRun": wanted.dry_run,
        "andNewWrites": wanted.and_new_writes,
    });
    let mut job = Job::begin(client, "_/locations/move", &wanted.bucket, &document).await?;
    while wanted.wait && job.is_running() {
        job = job.after(LOOK, client).await?;
        let line = format!(
            "{} of about {} versions looked at, {} moved ({}), {}",
            job.number("examined"),
            job.number("expected"),
            job.number("done"),
            size(job.number("bytes")),
            if job.number("phase") >= 3 { "comparing" } else { "moving" },
        );
        // Nobody is told of a broken screen: there is nobody to tell.
        writeln!(errors, "{line}").ok();
    }
    Ok(vec![job])
}

fn render(jobs: &[Job]) -> String {
    let row = |job: &Job| {
        ["id", "state", "prefix", "from", "to", "done", "bytes", "left", "skipped", "failed"].map(|name| job.cell(name))
    };
    let heading = ["job", "state", "prefix", "from", "to", "moved", "bytes", "left", "written since", "failed"];
    let table = table::render(heading, &jobs.iter().map(row).collect::<Vec<_>>());
    jobs.iter().fold(table, |told, job| told + &job.remarks())
}
