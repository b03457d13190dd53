//! `/_/locations`: long jobs over a bucket's locations, for its owner. Requests are signed as any other of the API;
//! documents are JSON.
//!
//! | request | what |
//! |---|---|
//! | `POST /_/locations/{kind}?bucket=B` | begin a job: `move`, `scan`; the body says of what |
//! | `GET /_/locations/jobs` | the caller's jobs |
//! | `GET /_/locations/jobs/{id}` | one of them |
//! | `DELETE /_/locations/jobs/{id}` | end it |

use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{
    ResponseBody,
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    head::Head,
    reply,
    request_body::{Digest, RequestBody},
};
use crate::{
    jobs::{JobError, JobRequest, Jobs},
    storage::records::{JobRecord, JobState},
    types::{AccountId, BucketName, Timestamp},
};

/// Where the routes begin.
pub(super) const PATH: &str = "/_/locations/";
/// Longest document.
const LIMIT: usize = 16 << 10;

/// The answer to a request whose signature is good. `path` is what follows [`PATH`].
pub(super) async fn answer(
    jobs: Option<&Jobs>,
    path: &str,
    cx: &Context,
    body: RequestBody,
) -> S3Result<Response<ResponseBody>> {
    if cx.principal.is_anonymous() {
        return Err(S3Code::AccessDenied.into());
    }
    let jobs = jobs.ok_or_else(|| S3Error::from(S3Code::NotImplemented))?;
    let method = &cx.head.method;
    match path.split_once('/') {
        None if path == "jobs" && *method == Method::GET => {
            let all = jobs.list().await?;
            let mut own = Vec::new();
            for job in all {
                if may_see(cx, &job) {
                    own.push(document(&job));
                }
            }
            Ok(text(StatusCode::OK, &json!({ "jobs": own })))
        }
        Some(("jobs", id)) => one(jobs, id, cx).await,
        None if *method == Method::POST => begin(jobs, path, cx, body).await,
        _ => Err(S3Code::MethodNotAllowed.into()),
    }
}

/// One job: what there is to see, or its end.
async fn one(jobs: &Jobs, id: &str, cx: &Context) -> S3Result<Response<ResponseBody>> {
    let missing = || S3Error::new(S3Code::NoSuchKey, "There is no such job.");
    let job = jobs.find(id).await?.filter(|job| may_see(cx, job)).ok_or_else(missing)?;
    let job = match cx.head.method {
        Method::GET => job,
        Method::DELETE => jobs.cancel(job).await?,
        _ => return Err(S3Code::MethodNotAllowed.into()),
    };
    Ok(text(StatusCode::OK, &document(&job)))
}

async fn begin(jobs: &Jobs, kind: &str, cx: &Context, body: RequestBody) -> S3Result<Response<ResponseBody>> {
    let bytes = body.document(&cx.head, &cx.intake, LIMIT, Digest::Optional).await?;
    let name = bucket_name(&cx.head)?;
    let bucket = cx.bucket(&name).await?;
    if !owns(cx, &bucket.owner) {
        return Err(S3Code::AccessDenied.into());
    }
    let request: JobRequest = serde_json::from_slice(&bytes).map_err(|e| S3Error::request(format!("{e}.")))?;
    if kind == "scan" && !may_scan(cx, &request.from) {
        let (account, location) = (&cx.principal.display_name, &request.from);
        let text =
            format!("Account {account} may not scan location {location}: name it in the location's details.scanBy.");
        return Err(S3Error::new(S3Code::AccessDenied, text));
    }
    let job = jobs.submit((kind, &cx.principal.account), &bucket, request).await.map_err(refusal)?;
    Ok(text(StatusCode::ACCEPTED, &document(&job)))
}

fn bucket_name(head: &Head) -> S3Result<BucketName> {
    let name = head.query("bucket").unwrap_or_default();
    BucketName::new(name)
        .map_err(|e| S3Error::from(S3Code::InvalidBucketName).with("BucketName", name.to_owned()).because(e))
}

fn refusal(error: JobError) -> S3Error {
    match error {
        JobError::Storage(error) => error.into(),
        JobError::UnknownKind => S3Code::NotImplemented.into(),
        JobError::UnderWay(_) => S3Error::new(S3Code::OperationAborted, error.to_string()),
        JobError::Refused(_) => S3Error::new(S3Code::InvalidArgument, error.to_string()),
    }
}

/// The account itself, and the original's service accounts. Users inside an account have no permission for this: there is
/// no action of S3 that would grant it.
fn owns(cx: &Context, owner: &AccountId) -> bool {
    (cx.principal.account == *owner && cx.principal.user.is_none()) || cx.principal.is_service()
}

/// What others put into a folder is nobody's by a bucket's name alone: the operator says who may take it up. Where
/// there is nothing to scan the job says so.
fn may_scan(cx: &Context, location: &str) -> bool {
    let table = cx.storage.locations();
    let Some(location) = table.get(location).filter(|location| location.backend.browse().is_some()) else {
        return true;
    };
    let account = &cx.principal.account;
    let is_meant = |named: &String| {
        named == account.as_str()
            || cx.directory.display_name(account).is_some_and(|name| *name == **named)
            || cx.directory.by_email(named).is_some_and(|known| known == *account)
    };
    cx.principal.is_service() || location.scan_by.iter().any(is_meant)
}

fn may_see(cx: &Context, job: &JobRecord) -> bool {
    owns(cx, &AccountId::new(job.account.as_str()))
}

/// A job as clients see it.
fn document(job: &JobRecord) -> Value {
    let time = |millis: u64| Timestamp::from_millis(millis).to_iso8601();
    json!({
        "id": job.id,
        "kind": job.kind,
        "state": state(job.state()),
        "bucket": job.bucket,
        "prefix": job.prefix,
        "from": job.from,
        "to": job.to,
        "dryRun": job.dry_run,
        "andNewWrites": job.and_new_writes,
        "phase": job.phase,
        "round": job.round + 1,
        "expected": job.expected,
        "examined": job.examined,
        "done": job.done,
        "bytes": job.bytes,
        "skipped": job.skipped,
        "failed": job.failed,
        "left": job.left,
        "addedObjects": job.added,
        "updatedObjects": job.updated,
        "removedObjects": job.removed,
        "notes": job.notes,
        "message": job.message,
        "created": time(job.created_ms),
        "updated": time(job.updated_ms),
    })
}

fn state(state: JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

fn text(status: StatusCode, document: &Value) -> Response<ResponseBody> {
    let mut response = Response::new(reply::full(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
