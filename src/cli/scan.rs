//! `cloudserver location scan`: asks a running server to take up what others put into a location.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{
    failure,
    location::{ServerArguments, ask, path},
    migrate::size,
    table,
};
use crate::{
    outbound::Payload,
    s3client::{Call, S3Client, S3ClientError},
};

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
pub(super) fn scan(wanted: &ScanCommand, output: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    let client = match wanted.server.client() {
        Ok(client) => client,
        Err(problem) => return failure(writeln!(errors, "{problem}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(writeln!(errors, "no thread can be had: {error}")),
    };
    match runtime.block_on(scan_all(&client, wanted, errors)) {
        Ok(jobs) => {
            let is_well = jobs.iter().all(|job| job["state"] == "done" && job["failed"] == 0);
            match output.write_all(render(&jobs, wanted.dry_run).as_bytes()).and_then(|()| output.flush()) {
                Ok(()) if is_well => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(3),
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => failure(writeln!(errors, "{}: {error}", wanted.server.server)),
    }
}

async fn scan_all(
    client: &S3Client,
    wanted: &ScanCommand,
    errors: &mut dyn Write,
) -> Result<Vec<Value>, S3ClientError> {
    let buckets = match &wanted.bucket {
        Some(bucket) => vec![bucket.clone()],
        None => buckets_of(client, &wanted.location).await?,
    };
    let mut jobs = Vec::new();
    for bucket in buckets {
        jobs.push(scan_one(client, wanted, &bucket, errors).await?);
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

async fn scan_one(
    client: &S3Client,
    wanted: &ScanCommand,
    bucket: &str,
    errors: &mut dyn Write,
) -> Result<Value, S3ClientError> {
    let document = json!({"from": wanted.location, "prefix": wanted.prefix, "dryRun": wanted.dry_run});
    let call = Call::new(Method::POST, None, Some("_/locations/scan")).and("bucket", bucket).once();
    let call = call.header("content-type", "application/json").payload(Payload::Held(document.to_string().into()));
    let mut job = ask(client, call).await?;
    while job["state"] == "running" {
        tokio::time::sleep(LOOK).await;
        job = ask(client, Call::new(Method::GET, None, Some(&path(&job)))).await?;
        show(&job, errors);
    }
    if io::stderr().is_terminal() {
        writeln!(errors).ok();
    }
    Ok(job)
}

/// How far a scan is. Nobody is told of a broken screen: there is nobody to tell.
fn show(job: &Value, errors: &mut dyn Write) {
    let number = |name: &str| job[name].as_u64().unwrap_or(0);
    let (seen, expected) = (number("examined"), number("expected").max(number("examined")).max(1));
    let filled = if job["phase"] == 0 { seen * BAR / expected } else { BAR };
    let bar: String = (0..BAR).map(|at| if at < filled { '#' } else { '-' }).collect();
    let doing = if job["phase"] == 0 { "files" } else { "files; looking for what is gone" };
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let line = format!(
        "{} [{bar}] {seen} {doing}, {} added, {} updated, {} removed ({}) {}",
        text("bucket"),
        number("addedObjects"),
        number("updatedObjects"),
        number("removedObjects"),
        size(number("bytes")),
        text("message"),
    );
    if io::stderr().is_terminal() {
        write!(errors, "\r\x1b[K{line}").and_then(|()| errors.flush()).ok();
    } else {
        writeln!(errors, "{line}").ok();
    }
}

fn render(jobs: &[Value], dry_run: bool) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |job: &Value| {
        let names = ["bucket", "state", "examined", "addedObjects", "updatedObjects", "removedObjects"];
        let counts = names.into_iter().chain(["skipped", "left", "failed"]).map(|name| text(&job[name]));
        counts.chain([size(job["bytes"].as_u64().unwrap_or(0))]).collect::<Vec<_>>()
    };
    let rows: Vec<[String; 10]> = jobs.iter().filter_map(|job| <[String; 10]>::try_from(row(job)).ok()).collect();
    let heading =
        ["bucket", "state", "files", "added", "updated", "removed", "skipped", "changing", "failed", "taken up"];
    let mut told = table::render(heading, &rows);
    if dry_run {
        told.push_str("Nothing was done: this is what would be.\n");
    }
    for job in jobs {
        let notes = job["notes"].as_array().into_iter().flatten();
        for note in std::iter::once(&job["message"]).chain(notes).map(text).filter(|note| !note.is_empty()) {
            told.push_str(&note);
            told.push('\n');
        }
    }
    told
}
