//! `cloudserver location`: asks a running server to move objects between its locations.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{
    failure,
    migrate::size,
    scan::{ScanCommand, scan},
    store::Named,
    table,
};
use crate::{
    outbound::Payload,
    s3client::{Call, S3Client, S3ClientError},
};

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

/// Which server, and who asks.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ServerArguments {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub(super) server: String,
    /// Access key of the bucket's owner
    #[arg(long, value_name = "KEY", env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: Option<String>,
    /// The secret of that key; better in the variable
    #[arg(long, value_name = "SECRET", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// A section of ~/.aws/credentials instead of a key
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The region that signatures name
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
}

impl ServerArguments {
    pub(super) fn client(&self) -> Result<S3Client, String> {
        let named = Named {
            url: &self.server,
            access_key: self.access_key.as_deref(),
            secret_key: self.secret_key.as_deref(),
            token: None,
            profile: self.profile.as_deref(),
            region: &self.region,
            virtual_hosts: false,
            option: "--server",
        };
        named.client()
    }
}

/// Asks, and tells on `output` how it stands. Ends with 0 where the job is done or under way, with 3 where it ended with
/// something left, with 1 where it was refused.
pub fn location(command: &LocationCommand, output: &mut dyn Write, errors: &mut (dyn Write + Send)) -> ExitCode {
    let wanted = match command {
        LocationCommand::Move(wanted) => wanted,
        LocationCommand::Scan(wanted) => return scan(wanted, output, errors),
    };
    let client = match wanted.server.client() {
        Ok(client) => client,
        Err(problem) => return failure(writeln!(errors, "{problem}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(writeln!(errors, "no thread can be had: {error}")),
    };
    match runtime.block_on(move_it(&client, wanted, errors)) {
        Ok(jobs) => {
            let is_well = jobs.iter().all(|job| at(job, "state") != "failed") || wanted.status;
            match output.write_all(render(&jobs).as_bytes()).and_then(|()| output.flush()) {
                Ok(()) if is_well => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(3),
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => failure(writeln!(errors, "{}: {error}", wanted.server.server)),
    }
}

async fn move_it(
    client: &S3Client,
    wanted: &MoveCommand,
    errors: &mut (dyn Write + Send),
) -> Result<Vec<Value>, S3ClientError> {
    if wanted.status || wanted.cancel {
        let all = ask(client, Call::new(Method::GET, None, Some("_/locations/jobs"))).await?;
        let mut jobs: Vec<Value> = at(&all, "jobs").as_array().cloned().unwrap_or_default();
        jobs.retain(|job| at(job, "bucket") == wanted.bucket.as_str() && at(job, "kind") == "move");
        if wanted.cancel {
            jobs.retain(|job| at(job, "state") == "running");
            for job in &mut jobs {
                *job = ask(client, Call::new(Method::DELETE, None, Some(&path(job)))).await?;
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
    let call = Call::new(Method::POST, None, Some("_/locations/move")).and("bucket", wanted.bucket.as_str()).once();
    let call = call.header("content-type", "application/json").payload(Payload::Held(document.to_string().into()));
    let mut job = ask(client, call).await?;
    while wanted.wait && at(&job, "state") == "running" {
        tokio::time::sleep(LOOK).await;
        job = ask(client, Call::new(Method::GET, None, Some(&path(&job)))).await?;
        let line = format!(
            "{} of about {} versions looked at, {} moved ({}), {}",
            at(&job, "examined"),
            at(&job, "expected"),
            at(&job, "done"),
            size(at(&job, "bytes").as_u64().unwrap_or(0)),
            if at(&job, "phase").as_u64().is_some_and(|phase| phase >= 3) { "comparing" } else { "moving" },
        );
        // Nobody is told of a broken screen: there is nobody to tell.
        writeln!(errors, "{line}").ok();
    }
    Ok(vec![job])
}

/// A member of an answer; what it lacks is null.
fn at<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

pub(super) fn path(job: &Value) -> String {
    format!("_/locations/jobs/{}", at(job, "id").as_str().unwrap_or_default())
}

pub(super) async fn ask(client: &S3Client, call: Call<'_>) -> Result<Value, S3ClientError> {
    let answer = client.document(call).await?;
    serde_json::from_slice(&answer.text).map_err(|error| S3ClientError::Answer(error.to_string()))
}

fn render(jobs: &[Value]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |job: &Value| {
        ["id", "state", "prefix", "from", "to", "done", "bytes", "left", "skipped", "failed"]
            .map(|name| text(at(job, name)))
    };
    let heading = ["job", "state", "prefix", "from", "to", "moved", "bytes", "left", "written since", "failed"];
    let mut told = table::render(heading, &jobs.iter().map(row).collect::<Vec<_>>());
    for job in jobs {
        let notes = at(job, "notes").as_array().into_iter().flatten();
        for note in std::iter::once(at(job, "message")).chain(notes).map(text).filter(|note| !note.is_empty()) {
            told.push_str(&note);
            told.push('\n');
        }
    }
    told
}
