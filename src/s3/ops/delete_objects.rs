//! `DeleteObjects`: up to a thousand deletes in one request, each judged by itself.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use http::{Method, Response};

use crate::{
    s3::{
        ResponseBody,
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::{self, Head},
        lock_headers::bypass,
        operation::{Need, ObjectRef, Operation, Pattern, Reply, Scope},
        ops::delete_object::{action, expected_tag, looks, parse_time, read_action, version_text},
        read_through,
        reply::Document,
        request_body::{Digest, RequestBody},
        server_log::{BatchDelete, BatchDeletes},
        xml::{read, read::Element, write::XmlWriter},
    },
    storage::{Bucket, DeleteCondition, Deleted},
    types::BucketName,
};

/// Most entries.
const MAX_ENTRIES: usize = 1000;
/// Largest document: a thousand keys of 1,024 bytes, escaped.
const DOCUMENT: usize = 2 << 20;

/// Deletes many objects.
#[derive(Debug)]
pub struct DeleteObjects {
    name: BucketName,
}

/// An entry of the document. A key or version id that is none fails by itself.
#[derive(Debug)]
pub(in crate::s3) struct Entry {
    pub(in crate::s3) key: String,
    pub(in crate::s3) version: Option<String>,
    condition: DeleteCondition,
}

impl Operation for DeleteObjects {
    const NAME: &'static str = "DeleteObjects";
    const ACTION: &'static str = "multiObjectDelete";
    const PATTERN: Pattern = Pattern::new(Method::POST, Scope::Bucket, &["delete"]);
    type Reply = DeleteResult;

    fn parse(head: &Head) -> S3Result<Self> {
        // Tags are compared entry by entry. A header that nobody obeys would only meet a policy's `s3:if-match`.
        for name in ["if-match", "if-none-match"] {
            if head.headers.contains_key(name) {
                return Err(S3Error::from(S3Code::NotImplemented).with("Header", name));
            }
        }
        Ok(Self { name: head.bucket()? })
    }

    /// None for the bucket: each key is authorised by itself, in `run`.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<DeleteResult> {
        let bucket = cx.bucket(&self.name).await?;
        cx.check_expected_owner(&bucket, "x-amz-expected-bucket-owner")?;
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Required).await?;
        let (entries, quiet) = parse(&document)?;
        let at_a_time = cx.settings.delete_concurrency.max(1);
        let runs = chains(entries).into_iter().map(|chain| delete_chain(cx.clone(), Arc::clone(&bucket), chain));
        let mut results: Vec<_> = stream::iter(runs).buffer_unordered(at_a_time).concat().await;
        results.sort_by_key(|(index, ..)| *index);

        let mut xml = XmlWriter::document("DeleteResult", 256 + 128 * results.len());
        for (_, entry, result) in &results {
            match result {
                Ok(_) if quiet => {}
                Ok(deleted) => show_deleted(&mut xml, &cx, &bucket, (entry, deleted)),
                Err(error) => show_error(&mut xml, entry, error),
            }
        }
        let log = results.iter().map(|(_, entry, result)| log_entry(&cx, entry, result)).collect();
        Ok(DeleteResult { document: Document::new(xml.finish()), log: BatchDeletes(log) })
    }
}

/// What became of the entries: for the client, and for the bucket's access log.
#[derive(Debug)]
pub struct DeleteResult {
    document: Document,
    log: BatchDeletes,
}

impl Reply for DeleteResult {
    fn render(self) -> S3Result<Response<ResponseBody>> {
        let mut response = self.document.render()?;
        response.extensions_mut().insert(self.log);
        Ok(response)
    }
}

fn log_entry(cx: &Context, entry: &Entry, result: &S3Result<Deleted>) -> BatchDelete {
    let made = || result.as_ref().ok().and_then(|deleted| version_text(cx, deleted));
    BatchDelete {
        key: entry.key.clone(),
        version: entry.version.clone().or_else(made).unwrap_or_default(),
        status: result.as_ref().map_or_else(|error| error.code.status().as_u16(), |_| 204),
        error: result.as_ref().map_or_else(|error| error.code.name(), |_| ""),
    }
}

type Outcome = (usize, Entry, S3Result<Deleted>);

/// Entries of one key go one after the other, in the client's order; different keys do not wait for each other.
fn chains(entries: Vec<Entry>) -> Vec<Vec<(usize, Entry)>> {
    let mut chains: Vec<Vec<(usize, Entry)>> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let place = *known.entry(entry.key.clone()).or_insert_with(|| {
            chains.push(Vec::new());
            chains.len() - 1
        });
        if let Some(chain) = chains.get_mut(place) {
            chain.push((index, entry));
        }
    }
    chains
}

async fn delete_chain(cx: Context, bucket: Arc<Bucket>, chain: Vec<(usize, Entry)>) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(chain.len());
    for (index, entry) in chain {
        let result = delete(&cx, &bucket, &entry).await;
        outcomes.push((index, entry, result));
    }
    outcomes
}

async fn delete(cx: &Context, bucket: &Arc<Bucket>, entry: &Entry) -> S3Result<Deleted> {
    let object = ObjectRef {
        bucket: bucket.name.clone(),
        key: head::key(&entry.key)?,
        version: entry.version.as_deref().map(head::version).transpose()?,
    };
    let mut cx = cx.clone();
    cx.authorize_object(bucket, &object, action(&object)).await?;
    if looks(&entry.condition) {
        cx.authorize_object(bucket, &object, read_action(&object)).await?;
    }
    let bypass = bypass(&mut cx, bucket, &object).await;
    let condition = DeleteCondition { bypass, ..entry.condition.clone() };
    let condition = read_through::delete_condition(&cx, bucket, &object, condition).await?;
    Ok(cx.storage.delete_object(bucket, &object.key, object.version, &condition).await?)
}

pub(in crate::s3) fn parse(document: &[u8]) -> S3Result<(Vec<Entry>, bool)> {
    let root = read::read(document)?;
    if root.name() != "Delete" {
        return Err(S3Code::MalformedXML.into());
    }
    let entries = root.children_named("Object").map(parse_entry).collect::<S3Result<Vec<_>>>()?;
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(S3Code::MalformedXML.into());
    }
    let quiet = root.optional_text("Quiet")?.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    Ok((entries, quiet))
}

fn parse_entry(object: &Element<'_>) -> S3Result<Entry> {
    let size = object.optional::<u64>("Size")?;
    let modified = object.optional_text("LastModifiedTime")?.map(str::trim).map(parse_time).transpose()?;
    let etag = object.optional_text("ETag")?.map(expected_tag);
    let condition = DeleteCondition { etag, size, modified, ..DeleteCondition::default() };
    let version = object.optional_text("VersionId")?.map(str::trim).filter(|text| !text.is_empty());
    Ok(Entry { key: object.required_text("Key")?.to_owned(), version: version.map(str::to_owned), condition })
}

fn show_deleted(xml: &mut XmlWriter, cx: &Context, bucket: &Bucket, (entry, deleted): (&Entry, &Deleted)) {
    xml.open("Deleted").text("Key", &entry.key);
    xml.optional("VersionId", entry.version.as_deref());
    if deleted.delete_marker {
        xml.text("DeleteMarker", "true");
        if bucket.is_versioned() {
            xml.optional("DeleteMarkerVersionId", version_text(cx, deleted).as_deref());
        }
    }
    xml.close();
}

fn show_error(xml: &mut XmlWriter, entry: &Entry, error: &S3Error) {
    error.log();
    xml.open("Error").text("Key", &entry.key);
    xml.optional("VersionId", entry.version.as_deref());
    xml.text("Code", error.code.name()).text("Message", error.message()).close();
}
