//! Settings and variables of parts that come later: checked by the original's rules, accepted with one warning each.

use serde_json::Value;

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// A setting that has no effect yet.
struct Later {
    key: &'static str,
    part: &'static str,
    check: fn(&Value) -> Result<(), Rule>,
}

const fn later(key: &'static str, part: &'static str, check: fn(&Value) -> Result<(), Rule>) -> Later {
    Later { key, part, check }
}

static LATER: &[Later] = &[
    later("replicationEndpoints", "replication", replication_endpoints),
    later("backbeat", "replication and lifecycle", host_and_port),
    later("workflowEngineOperator", "workflow engine", host_and_port),
    later("cdmi", "CDMI store", host_and_port),
    later("bucketd", "remote metadata", bootstrap),
    later("vaultd", "external accounts", host_and_port),
    later("pfsClient", "passthrough file system", host_and_port),
    later("pfsDaemon", "passthrough file system", address_and_port),
    later("localCache", "statistics in Redis", redis),
    later("redis", "statistics in Redis", redis),
    later("mongodb", "MongoDB metadata", object),
    later("bucketNotificationDestinations", "event notifications", destinations),
    later("utapi", "usage metering", utapi),
    later("scuba", "quota by utilisation service", host_and_port),
    later("quota", "quota by utilisation service", object),
    later("managementAgent", "remote management", object),
    later("maxScannedLifecycleListingEntries", "lifecycle listings", scanned_entries),
    later("lifecycleRoleName", "lifecycle", text),
    later("overlayVersion", "remote management", number),
    later("testingMode", "settable last-modified", flag),
];

/// Refuses the keys that the original refuses.
pub(super) fn refuse_retired(fields: &mut Fields) -> Result<(), ConfigError> {
    const RETIRED: [(&str, Rule); 3] = [
        ("regions", rule("regions key is deprecated, use restEndpoints and locationConfig", "remove it")),
        ("usEastBehavior", rule("usEastBehavior key is deprecated, use restEndpoints and locationConfig", "remove it")),
        ("sproxyd", rule("sproxyd key is deprecated, use restEndpoints and locationConfig", "remove it")),
    ];
    for (key, rule) in RETIRED {
        if fields.raw(key).is_some() {
            return Err(fields.refuse(key, rule));
        }
    }
    Ok(())
}

/// `globalEncryptionEnabled`.
pub(super) fn global_encryption(fields: &mut Fields) -> Result<bool, ConfigError> {
    const SWITCH: Rule = rule("globalEncryptionEnabled must be a boolean", "write false");
    Ok(fields.take("globalEncryptionEnabled", SWITCH)?.unwrap_or(false))
}

/// The original's key managers that this server does not speak to, and the division of keys that it does not need:
/// each object has a key of its own.
fn key_managers(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    type Check = fn(&Value) -> Result<(), Rule>;
    const PER_ACCOUNT: &str = "defaultEncryptionKeyPerAccount";
    const MANAGERS: [(&str, Check); 3] = [("kms", object), ("kmip", kmip), ("kmsAWS", kms_aws)];
    for (key, check) in MANAGERS {
        let Some(value) = fields.raw(key) else { continue };
        check(&value).map_err(|rule| fields.refuse(key, rule))?;
        if asks_for_something(&value) {
            warnings.push(format!(
                "{}: {key} is not served: keys are kept as cloudserver.kms says (a master key file, or Vault)",
                fields.file()
            ));
        }
    }
    fields.raw(PER_ACCOUNT).map_or(Ok(()), |value| flag(&value)).map_err(|rule| fields.refuse(PER_ACCOUNT, rule))
}

/// Takes and checks the settings of later parts.
pub(super) fn check(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    for Later { key, part, check } in LATER {
        let Some(value) = fields.raw(key) else { continue };
        check(&value).map_err(|rule| fields.refuse(key, rule))?;
        if asks_for_something(&value) {
            warnings.push(format!("{}: {key} is accepted without effect: {part} comes later", fields.file()));
        }
    }
    key_managers(fields, warnings)?;
    tuning(fields, warnings)
}

/// An empty list, `false`, `null`, zero and the empty text ask for nothing.
fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(_) => true,
    }
}

/// Settings about how the original was run: this server needs none of it.
fn tuning(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    const CLUSTERS: Rule = rule("clusters must be a positive integer or false", "remove it");
    const BATCH: Rule = rule("multiObjectDeleteEnableOptimizations must be a boolean", "remove it");
    match fields.raw("clusters") {
        None | Some(Value::Bool(false)) => {}
        Some(value) => match value.as_u64() {
            None | Some(0) => return Err(fields.refuse("clusters", CLUSTERS)),
            Some(1) => {}
            Some(_) => {
                warnings.push(format!("{}: clusters is without effect: one process uses every core", fields.file()));
            }
        },
    }
    fields.take::<bool>("multiObjectDeleteEnableOptimizations", BATCH).map(drop)
}

/// Whether `utapi.metrics` includes `location`, which limits on the size of locations need.
pub(super) fn has_location_metrics(fields: &Fields) -> bool {
    let metrics = fields.peek("utapi").and_then(|utapi| utapi.get("metrics"));
    metrics.and_then(Value::as_array).is_some_and(|metrics| metrics.iter().any(|metric| metric == "location"))
}

/// The values of `field` in a list of objects that is accepted without effect: other settings may name them.
pub(super) fn names(fields: &Fields, key: &str, field: &str) -> Vec<String> {
    let list = fields.peek(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.get(field)?.as_str().map(str::to_owned)).collect()
}

fn object(value: &Value) -> Result<(), Rule> {
    if value.is_object() { Ok(()) } else { Err(rule("the setting must be an object", "write {…}, or remove it")) }
}

fn flag(value: &Value) -> Result<(), Rule> {
    if value.is_boolean() { Ok(()) } else { Err(rule("the setting must be a boolean", "write true or false")) }
}

fn text(value: &Value) -> Result<(), Rule> {
    if value.is_string() { Ok(()) } else { Err(rule("the setting must be a string", "write it in quotes")) }
}

fn number(value: &Value) -> Result<(), Rule> {
    if value.is_number() { Ok(()) } else { Err(rule("the setting must be a number", "write it without quotes")) }
}

fn is_text(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| !text.is_empty())
}

/// A port, in quotes or not.
fn is_port(value: Option<&Value>) -> bool {
    let number = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    number.is_some_and(|port| (1..=65_535).contains(&port))
}

fn is_list_of_texts(value: Option<&Value>) -> bool {
    value.and_then(Value::as_array).is_some_and(|list| list.iter().all(Value::is_string))
}

pub(super) fn host_and_port(value: &Value) -> Result<(), Rule> {
    if is_text(value.get("host")) && is_port(value.get("port")) {
        return Ok(());
    }
    Err(rule("host and port are mandatory", "write {\"host\": \"localhost\", \"port\": …}, or remove it"))
}

pub(super) fn address_and_port(value: &Value) -> Result<(), Rule> {
    if is_text(value.get("bindAddress")) && is_port(value.get("port")) {
        return Ok(());
    }
    Err(rule("bindAddress and port are mandatory", "write {\"bindAddress\": \"localhost\", \"port\": …}, or remove it"))
}

fn bootstrap(value: &Value) -> Result<(), Rule> {
    if is_list_of_texts(value.get("bootstrap")) {
        return Ok(());
    }
    Err(rule("bucketd.bootstrap must be a list of strings", "write [\"host:port\"], or remove it"))
}

fn redis(value: &Value) -> Result<(), Rule> {
    let (host, sentinels) = (value.get("host"), value.get("sentinels"));
    match (host, sentinels) {
        (Some(_), Some(_)) => Err(rule("a Redis has a host or sentinels, not both", "remove one of them")),
        (None, Some(Value::String(_) | Value::Array(_))) if is_text(value.get("name")) => Ok(()),
        (None, Some(_)) => {
            Err(rule("Redis sentinels need a name and a list", "write name and sentinels [{host, port}]"))
        }
        (_, None) => host_and_port(value),
    }
}

fn replication_endpoints(value: &Value) -> Result<(), Rule> {
    let list =
        value.as_array().ok_or(rule("replicationEndpoints must be an array of objects", "write [], or remove it"))?;
    list.iter().try_for_each(replication_endpoint)
}

/// One destination: servers of our kind, or a type of external store.
pub(super) fn replication_endpoint(value: &Value) -> Result<(), Rule> {
    const TYPES: [&str; 4] = ["aws_s3", "azure", "gcp", "pfs"];
    if !is_text(value.get("site")) {
        return Err(rule("a replication endpoint's site must be a non-empty string", "write \"site\": \"…\""));
    }
    match value.get("type").map(Value::as_str) {
        Some(Some(kind)) if TYPES.contains(&kind) => {}
        Some(_) => {
            return Err(rule(
                "a replication endpoint's type must be an external type",
                "write aws_s3, azure, gcp or pfs",
            ));
        }
        None if is_list_of_texts(value.get("servers")) => {}
        None => {
            return Err(rule(
                "a replication endpoint without type must have servers",
                "write \"servers\": [\"host:port\"]",
            ));
        }
    }
    match value.get("default") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(_) => Err(rule("a replication endpoint's default must be a boolean", "write true or false")),
    }
}

fn destinations(value: &Value) -> Result<(), Rule> {
    let complete = |target: &Value| ["resource", "type", "host"].iter().all(|key| is_text(target.get(key)));
    if value.as_array().is_some_and(|list| list.iter().all(complete)) {
        return Ok(());
    }
    Err(rule(
        "bucketNotificationDestinations must be an array of objects with resource, type and host",
        "write [], or remove it",
    ))
}

fn kmip(value: &Value) -> Result<(), Rule> {
    object(value)?;
    let tls = value.get("transport").and_then(|transport| transport.get("tls"));
    let has = |key| tls.is_some_and(|tls| is_text(tls.get(key)));
    if has("key") == has("cert") {
        return Ok(());
    }
    Err(rule("kmip.transport.tls key and cert must come together", "add the missing one, or remove the other"))
}

fn kms_aws(value: &Value) -> Result<(), Rule> {
    if ["endpoint", "ak", "sk"].iter().all(|key| is_text(value.get(key))) {
        return Ok(());
    }
    Err(rule("kmsAWS endpoint, ak and sk must be defined", "write all three, or remove kmsAWS"))
}

fn utapi(value: &Value) -> Result<(), Rule> {
    object(value)?;
    if value.get("enabledOperationCounters").is_some() && value.get("disableOperationCounters").is_some() {
        return Err(rule(
            "utapi may have enabledOperationCounters or disableOperationCounters, not both",
            "remove one of them",
        ));
    }
    let field = |list, key| value.get("filter").and_then(|filter| filter.get(list)?.get(key));
    for key in ["operationId", "location", "account", "user", "bucket"] {
        if field("allow", key).is_some() && field("deny", key).is_some() {
            return Err(rule("a utapi filter field may have allow or deny, not both", "remove one of them"));
        }
    }
    Ok(())
}

fn scanned_entries(value: &Value) -> Result<(), Rule> {
    if value.as_u64().is_some_and(|count| count > 2) {
        return Ok(());
    }
    Err(rule("maxScannedLifecycleListingEntries must be greater than 2", "remove it for 10000"))
}

/// Variables of later parts; a name that ends in `*` stands for all that begin so.
static VARIABLES: &[(&str, &str)] = &[
    ("ALLOW_INVALID_META_HEADERS", "header mapping"),
    ("BUCKET_DENY_FILTER", "usage metering"),
    ("CRR_METRICS_*", "replication"),
    ("DEFAULT_BUCKET_KEY_FORMAT", "MongoDB metadata"),
    ("ENABLE_LOCAL_CACHE", "statistics in Redis"),
    ("EXPIRE_ONE_DAY_EARLIER", "lifecycle"),
    ("METADATA_MAX_CACHED_BUCKETS", "remote metadata"),
    ("MONGODB_*", "MongoDB metadata"),
    ("PFSD_*", "passthrough file system"),
    ("QUOTA_ENABLE_INFLIGHTS", "quota by utilisation service"),
    ("QUOTA_MAX_STALENESS_MS", "quota by utilisation service"),
    ("REDIS_*", "statistics in Redis"),
    ("S3KMIP_*", "a KMIP client"),
    ("SCUBA_*", "quota by utilisation service"),
    ("TESTING_MODE", "settable last-modified"),
    ("TIME_PROGRESSION_FACTOR", "lifecycle"),
    ("TRANSITION_ONE_DAY_EARLIER", "lifecycle"),
    ("VAULTD_HOST", "external accounts"),
    ("WE_OPERATOR_*", "workflow engine"),
];

/// Warns once for each variable of a later part.
pub(super) fn warn_of_variables(environment: &Environment, warnings: &mut Vec<String>) {
    for name in environment.names() {
        let known = VARIABLES.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
        if let Some((_, part)) = known {
            warnings.push(format!("environment: {name} is accepted without effect: {part} comes later"));
        }
    }
    let modes = [
        ("S3QUOTA", ["none"].as_slice(), "quota by utilisation service"),
        ("S3VAULT", &["mem", "file", "cdmi"], "external accounts"),
    ];
    for (name, plain, part) in modes {
        if let Some(value) = environment.get(name).filter(|value| !plain.contains(value)) {
            warnings.push(format!("environment: {name}={value} is accepted without effect: {part} comes later"));
        }
    }
}
