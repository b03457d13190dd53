//! `cloudserver location scan`: asks a running server to take up what others put into a location.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use http::Method;
use serde_json::json;

use super::{
    job::{Job, ServerArguments, follow},
    migrate::size,
    table,
};
use crate::s3client::{Call, S3Client, S3ClientError};

/// Between looks at a job.
const LOOK: Duration = Duration::from_millis(500);
/// Characters of a progress bar.
const BAR: u64 = 30;

/// What is to be scanned.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ScanCommand {
    #[command(flatten)]
    server: ServerArguments,
    /// The location, of type posix
    #[arg(long, value_name = "NAME")]
    location: String,
    /// This bucket; without it all buckets of the key's owner that were made in the location
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Keys that begin with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Tell what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Asks, and tells on `output` what was done. Ends with 0 where all was, with 3 where something was not, with 1 where it
/// was refused.
pub(super) fn scan(wanted: &ScanCommand, output: &mut dyn Write, errors: &mut (dyn Write + Send)) -> ExitCode {
    let told = |jobs: &[Job]| {
        let is_well = jobs.iter().all(|job| job.word("state") == "done" && job.number("failed") == 0);
        (render(jobs, wanted.dry_run), is_well)
    };
    follow(&wanted.server, (output, errors), async |client, errors| scan_all(client, wanted, errors).await, told)
}

async fn scan_all(
    client: &S3Client,
    wanted: &ScanCommand,
    errors: &mut (dyn Write + Send),
) -> Result<Vec<Job>, S3ClientError> {
    let buckets = match &wanted.bucket {
        Some(bucket) => vec![bucket.clone()],
        None => buckets_of(client, &wanted.location).await?,
    };
    let document = json!({"from": wanted.location, "prefix": wanted.prefix, "dryRun": wanted.dry_run});
    let mut jobs = Vec::new();
    for bucket in buckets {
        let mut job = Job::begin(client, "_/locations/scan", &bucket, &document).await?;
        while job.is_running() {
            job = job.after(LOOK, client).await?;
            show(&job, errors);
        }
        if io::stderr().is_terminal() {
            writeln!(errors).ok();
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// The caller's buckets that were made in a location.
async fn buckets_of(client: &S3Client, location: &str) -> Result<Vec<String>, S3ClientError> {
    let mut buckets = Vec::new();
    for bucket in client.list_buckets().await? {
        let call = Call::new(Method::GET, Some(&bucket.name), None).and("location", "");
        let document = client.document(call).await?;
        let place = document.root()?.text().trim().to_owned();
        // The first region has no name there.
        if place == location || (place.is_empty() && location == "us-east-1") {
            buckets.push(bucket.name);
        }
    }
    Ok(buckets)
}

/// How far a scan is. Nobody is told of a broken screen: there is nobody to tell.
fn show(job: &Job, errors: &mut dyn Write) {
    let number = |name| job.number(name);
    let (seen, expected) = (number("examined"), number("expected").max(number("examined")).max(1));
    let walks = number("phase") == 0;
    let filled = if walks { seen * BAR / expected } else { BAR };
    let bar: String = (0..BAR).map(|at| if at < filled { '#' } else { '-' }).collect();
    let doing = if walks { "files" } else { "files; looking for what is gone" };
    let line = format!(
        "{} [{bar}] {seen} {doing}, {} added, {} updated, {} removed ({}) {}",
        job.word("bucket"),
        number("addedObjects"),
        number("updatedObjects"),
        number("removedObjects"),
        size(number("bytes")),
        job.word("message"),
    );
    if io::stderr().is_terminal() {
        write!(errors, "\r\x1b[K{line}").and_then(|()| errors.flush()).ok();
    } else {
        writeln!(errors, "{line}").ok();
    }
}

fn render(jobs: &[Job], dry_run: bool) -> String {
    let row = |job: &Job| {
        let numbers = ["examined", "addedObjects", "updatedObjects", "removedObjects", "skipped", "left", "failed"];
        let [files, added, updated, removed, skipped, changing, failed] =
            numbers.map(|name| job.number(name).to_string());
        let [bucket, state] = ["bucket", "state"].map(|name| job.word(name).to_owned());
        let bytes = size(job.number("bytes"));
        [bucket, state, files, added, updated, removed, skipped, changing, failed, bytes]
    };
    let heading =
        ["bucket", "state", "files", "added", "updated", "removed", "skipped", "changing", "failed", "taken up"];
    let mut told = table::render(heading, &jobs.iter().map(row).collect::<Vec<_>>());
    if dry_run {
        told.push_str("Nothing was done: this is what would be.\n");
    }
    jobs.iter().fold(told, |told, job| told + &job.remarks())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_a_row_and_what_was_left_a_line() {
        let job = Job(json!({
            "bucket": "files", "state": "done", "examined": 7, "addedObjects": 2, "updatedObjects": 1, "phase": 1,
            "removedObjects": 3, "skipped": 1, "left": 0, "failed": 0, "bytes": 14, "notes": ["files/link: a link"],
            "message": "", "expected": 4,
        }));
        let told = render(std::slice::from_ref(&job), true);
        assert!(told.contains("files   done"), "{told}");
        assert!(told.ends_with("this is what would be.\nfiles/link: a link\n"), "{told}");
        let mut shown = Vec::new();
        show(&job, &mut shown);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("] 7 files; looking for what is gone, 2 added, 1 updated, 3 removed"), "{shown}");
    }
}
