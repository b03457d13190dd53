//! Jobs of a running server: who asks for them, how they are followed, and what is told of them.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Args;
use http::Method;
use serde_json::Value;
use tokio::runtime::Builder;

use super::{failure, store::Named};
use crate::{
    outbound::Payload,
    s3client::{Call, S3Client, S3ClientError},
};

/// Which server, and who asks.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ServerArguments {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    server: String,
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
    fn client(&self) -> Result<S3Client, String> {
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

/// A job, as the server tells of it.
#[derive(Clone, Debug)]
pub(super) struct Job(pub(super) Value);

impl Job {
    /// Has the server begin what a document says, with a bucket.
    pub(super) async fn begin(
        client: &S3Client,
        path: &str,
        bucket: &str,
        document: &Value,
    ) -> Result<Self, S3ClientError> {
        let call = Call::new(Method::POST, None, Some(path)).and("bucket", bucket).once();
        let call = call.header("content-type", "application/json").payload(Payload::Held(document.to_string().into()));
        ask(client, call).await.map(Self)
    }

    /// The caller's jobs.
    pub(super) async fn all(client: &S3Client) -> Result<Vec<Self>, S3ClientError> {
        let mut all = ask(client, Call::new(Method::GET, None, Some("_/locations/jobs"))).await?;
        let jobs = all.get_mut("jobs").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        Ok(jobs.into_iter().map(Self).collect())
    }

    /// The job as it stands a while later.
    pub(super) async fn after(&self, pause: Duration, client: &S3Client) -> Result<Self, S3ClientError> {
        tokio::time::sleep(pause).await;
        ask(client, Call::new(Method::GET, None, Some(&self.path()))).await.map(Self)
    }

    /// Ends the job.
    pub(super) async fn cancel(&self, client: &S3Client) -> Result<Self, S3ClientError> {
        ask(client, Call::new(Method::DELETE, None, Some(&self.path()))).await.map(Self)
    }

    fn path(&self) -> String {
        format!("_/locations/jobs/{}", self.word("id"))
    }

    /// A number of its; 0 where it has none of that name.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A word of its; empty where it has none of that name.
    pub(super) fn word(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A cell of a table: a word or a number.
    pub(super) fn cell(&self, name: &str) -> String {
        let value = self.0.get(name).unwrap_or(&Value::Null);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    pub(super) fn is_running(&self) -> bool {
        self.word("state") == "running"
    }

    /// What it has to say, a line each.
    pub(super) fn remarks(&self) -> String {
        let notes = self.0.get("notes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let remarks = std::iter::once(self.word("message")).chain(notes).filter(|remark| !remark.is_empty());
        remarks.fold(String::new(), |all, remark| all + remark + "\n")
    }
}

async fn ask(client: &S3Client, call: Call<'_>) -> Result<Value, S3ClientError> {
    let answer = client.document(call).await?;
    serde_json::from_slice(&answer.text).map_err(|error| S3ClientError::Answer(error.to_string()))
}

/// Has `work` done by a server, and tells on `output` what `told` says of its jobs, and whether all is well. Ends with 0
/// where it is, with 3 where it is not, with 1 where the server refused.
pub(super) fn follow(
    server: &ServerArguments,
    (output, errors): (&mut dyn Write, &mut (dyn Write + Send)),
    work: impl AsyncFnOnce(&S3Client, &mut (dyn Write + Send)) -> Result<Vec<Job>, S3ClientError>,
    told: impl FnOnce(&[Job]) -> (String, bool),
) -> ExitCode {
    let client = match server.client() {
        Ok(client) => client,
        Err(problem) => return failure(writeln!(errors, "{problem}")),
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(writeln!(errors, "no thread can be had: {error}")),
    };
    let jobs = match runtime.block_on(work(&client, errors)) {
        Ok(jobs) => jobs,
        Err(error) => return failure(writeln!(errors, "{}: {error}", server.server)),
    };
    let (text, is_well) = told(&jobs);
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) if is_well => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(3),
        Err(_) => ExitCode::FAILURE,
    }
}
