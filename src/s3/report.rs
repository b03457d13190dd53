//! `GET /_/report`: what the store holds, for an operator's monitoring (the original's route and fields).

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::{ResponseBody, context::Directory, reply};
use crate::{
    storage::{LocationUsage, Storage, StorageReport, StorageResult, Usage},
    types::AccountId,
};

/// The route.
pub(super) const PATH: &str = "/_/report";
/// The header with the secret.
const TOKEN: &str = "x-scal-report-token";
/// Most buckets that are listed by name; all are counted.
const LISTED: usize = 1000;
/// The version of the original's report whose fields these are.
const MODEL: u32 = 1;

/// Answers reports for those who know the secret; for nobody where there is none.
#[derive(Clone, Debug, Default)]
pub struct ReportRoute {
    /// `reportToken`.
    pub token: Option<SecretString>,
}

impl ReportRoute {
    /// The answer to a request from a peer that may ask or not.
    pub(super) async fn answer(
        &self,
        (storage, directory): (&Storage, &dyn Directory),
        (method, headers): (&Method, &HeaderMap),
        is_allowed: bool,
    ) -> Response<ResponseBody> {
        let refused = || text(StatusCode::FORBIDDEN, &json!({"code": "AccessDenied", "message": "Access Denied"}));
        if !is_allowed || !self.knows(headers) {
            return refused();
        }
        if *method != Method::GET {
            let refusal = json!({"code": "MethodNotAllowed", "message": "The report is read with GET."});
            return text(StatusCode::METHOD_NOT_ALLOWED, &refusal);
        }
        match report(storage, directory).await {
            Ok(report) => text(StatusCode::OK, &report),
            Err(error) => {
                tracing::error!(%error, "the report cannot be made");
                text(StatusCode::INTERNAL_SERVER_ERROR, &json!({"code": "InternalError", "message": "No report."}))
            }
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(TOKEN).map(http::HeaderValue::as_bytes).unwrap_or_default();
        self.token.as_ref().is_some_and(|token| token.expose_secret().as_bytes().ct_eq(given).into())
    }
}

fn text(status: StatusCode, document: &Value) -> Response<ResponseBody> {
    let mut response = Response::new(reply::full(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// The counters of a report. Older versions are those that are not current; parts of open uploads are told apart.
fn counts(usage: Usage) -> serde_json::Map<String, Value> {
    let counts = [
        ("objects", usage.objects),
        ("versions", usage.versions - usage.objects),
        ("bytes", usage.bytes),
        ("uploadBytes", usage.upload_bytes),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

async fn report(storage: &Storage, directory: &dyn Directory) -> StorageResult<Value> {
    let StorageReport { total, accounts, buckets } = storage.report(LISTED).await?;
    let mut items = counts(total.usage);
    items.insert("buckets".to_owned(), total.buckets.into());
    let buckets = buckets.into_iter().map(|bucket| {
        let mut fields = counts(bucket.usage);
        fields.insert("name".to_owned(), bucket.name.into());
        fields.insert("location".to_owned(), bucket.location.into());
        fields.insert("isVersioned".to_owned(), bucket.is_versioned.into());
        fields.insert("ownerCanonicalId".to_owned(), bucket.owner.into());
        Value::Object(fields)
    });
    items.insert("bucketList".to_owned(), buckets.collect());
    let accounts = accounts.into_iter().map(|(owner, holdings)| {
        let mut fields = counts(holdings.usage);
        fields.insert("buckets".to_owned(), holdings.buckets.into());
        let name = directory.display_name(&AccountId::new(owner.as_str()));
        fields.insert("displayName".to_owned(), name.map_or(Value::Null, |name| name.to_string().into()));
        fields.insert("ownerCanonicalId".to_owned(), owner.into());
        Value::Object(fields)
    });
    items.insert("accounts".to_owned(), accounts.collect());
    let held = storage.usage_of_locations().await?.into_iter().map(|(name, usage)| {
        let LocationUsage { versions, bytes, upload_bytes, held_bytes: _ } = usage;
        (name, json!({ "versions": versions, "bytes": bytes, "uploadBytes": upload_bytes }))
    });
    items.insert("locations".to_owned(), Value::Object(held.collect()));
    let stats = storage.metadata().stats();
    let (disks, capabilities) = locations(storage).await?;
    Ok(json!({
        "utcTime": storage.clock().now().to_iso8601(),
        "uuid": storage.instance().await?,
        "reportModelVersion": MODEL,
        "serverVersion": env!("CARGO_PKG_VERSION"),
        "mdDiskUsage": { "used": stats.disk_bytes },
        "dataDiskUsage": disks,
        "systemStats": {},
        "itemCounts": items,
        "crrStats": {},
        "repStatus": {},
        "config": { "overlayVersion": 0 },
        "capabilities": capabilities,
        "ingestStats": {},
        "ingestStatus": {},
        "vaultReport": {},
    }))
}

/// The space behind the locations, and what this release can do.
async fn locations(storage: &Storage) -> StorageResult<(Value, Value)> {
    let mut disks = BTreeMap::new();
    for location in storage.locations().iter() {
        // A location elsewhere has no disks to tell of, and one that is away must not cost the report.
        if location.health.is_some() {
            continue;
        }
        if let Some(disk) = location.backend.disk_usage().await? {
            let usage = json!({ "available": disk.available, "free": disk.free, "total": disk.total });
            disks.insert(location.name.to_string(), usage);
        }
    }
    let capabilities = json!({
        "locationTypeLocal": true,
        "secureChannel": cfg!(feature = "tls"),
        "metadataSearch": true,
        "quota": true,
    });
    Ok((json!(disks), capabilities))
}
