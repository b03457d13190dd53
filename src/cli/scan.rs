//! `cloudserver location scan`: asks a running server to take up what others put into a location.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

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
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(writeln!(errors, "no thread can be had: {error}")),
    };
    match scan_all(&runtime, &client, wanted, errors) {
        Ok(jobs) => {
            let is_well = jobs.iter().all(|job| word(job, "state") == "done" && number(job, "failed") == 0);
            match output.write_all(render(&jobs, wanted.dry_run).as_bytes()).and_then(|()| output.flush()) {
                Ok(()) if is_well => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(3),
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => failure(writeln!(errors, "{}: {error}", wanted.server.server)),
    }
}

fn scan_all(
    runtime: &Runtime,
    client: &S3Client,
    wanted: &ScanCommand,
    errors: &mut dyn Write,
) -> Result<Vec<Value>, S3ClientError> {
    let buckets = match &wanted.bucket {
        Some(bucket) => vec![bucket.clone()],
        None => runtime.block_on(buckets_of(client, &wanted.location))?,
    };
    let mut jobs = Vec::new();
    for bucket in buckets {
        let mut job = runtime.block_on(begin(client, wanted, &bucket))?;
        while word(&job, "state") == "running" {
            job = runtime.block_on(look_again(client, &job))?;
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

async fn begin(client: &S3Client, wanted: &ScanCommand, bucket: &str) -> Result<Value, S3ClientError> {
    let document = json!({"from": wanted.location, "prefix": wanted.prefix, "dryRun": wanted.dry_run});
    let call = Call::new(Method::POST, None, Some("_/locations/scan")).and("bucket", bucket).once();
    let call = call.header("content-type", "application/json").payload(Payload::Held(document.to_string().into()));
    ask(client, call).await
}

async fn look_again(client: &S3Client, job: &Value) -> Result<Value, S3ClientError> {
    tokio::time::sleep(LOOK).await;
    ask(client, Call::new(Method::GET, None, Some(&path(job)))).await
}

fn number(job: &Value, name: &str) -> u64 {
    job.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn word<'a>(job: &'a Value, name: &str) -> &'a str {
    job.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// How far a scan is. Nobody is told of a broken screen: there is nobody to tell.
fn show(job: &Value, errors: &mut dyn Write) {
    let number = |name| number(job, name);
    let (seen, expected) = (number("examined"), number("expected").max(number("examined")).max(1));
    let walks = number("phase") == 0;
    let filled = if walks { seen * BAR / expected } else { BAR };
    let bar: String = (0..BAR).map(|at| if at < filled { '#' } else { '-' }).collect();
    let doing = if walks { "files" } else { "files; looking for what is gone" };
    let line = format!(
        "{} [{bar}] {seen} {doing}, {} added, {} updated, {} removed ({}) {}",
        word(job, "bucket"),
        number("addedObjects"),
        number("updatedObjects"),
        number("removedObjects"),
        size(number("bytes")),
        word(job, "message"),
    );
    if io::stderr().is_terminal() {
        write!(errors, "\r\x1b[K{line}").and_then(|()| errors.flush()).ok();
    } else {
        writeln!(errors, "{line}").ok();
    }
}

fn render(jobs: &[Value], dry_run: bool) -> String {
    let row = |job: &Value| {
        let count = |name| number(job, name).to_string();
        [
            word(job, "bucket").to_owned(),
            word(job, "state").to_owned(),
            count("examined"),
            count("addedObjects"),
            count("updatedObjects"),
            count("removedObjects"),
            count("skipped"),
            count("left"),
            count("failed"),
            size(number(job, "bytes")),
        ]
    };
    let heading =
        ["bucket", "state", "files", "added", "updated", "removed", "skipped", "changing", "failed", "taken up"];
    let mut told = table::render(heading, &jobs.iter().map(row).collect::<Vec<_>>());
    if dry_run {
        told.push_str("Nothing was done: this is what would be.\n");
    }
    for job in jobs {
        let notes = job.get("notes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for note in std::iter::once(word(job, "message")).chain(notes).filter(|note| !note.is_empty()) {
            told.push_str(note);
            told.push('\n');
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_a_row_and_what_was_left_a_line() {
        let job = json!({
            "bucket": "files", "state": "done", "examined": 7, "addedObjects": 2, "updatedObjects": 1, "phase": 1,
            "removedObjects": 3, "skipped": 1, "left": 0, "failed": 0, "bytes": 14, "notes": ["files/link: a link"],
            "message": "", "expected": 4,
        });
        let told = render(std::slice::from_ref(&job), true);
        assert!(told.contains("files   done"), "{told}");
        assert!(told.ends_with("this is what would be.\nfiles/link: a link\n"), "{told}");
        let mut shown = Vec::new();
        show(&job, &mut shown);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("] 7 files; looking for what is gone, 2 added, 1 updated, 3 removed"), "{shown}");
    }
}
