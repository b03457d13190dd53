//! The document `ReplicationConfiguration`: reading it, with every rule that S3 checks when it is put, and writing it.
//!
//! Rules: S3 reference, "`PutBucketReplication`" and "Replication configuration file elements". The first version of
//! the schema has `Prefix` in the rule, the second `Filter`, `Priority` and `DeleteMarkerReplication`. From the
//! original come the roles (two names of them where both sides are its own) and lists of sites in `StorageClass`.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;

use crate::{
    s3::{
        codes::S3Code,
        error::{S3Error, S3Result},
        ops::rules::{MAX_ID, MAX_RULES, Scope, malformed, name_of, parse_status, status, write_scope},
        xml::{Element, XmlError, XmlWriter},
    },
    storage::records::{LifecycleScope, ReplicationDestination, ReplicationRecord, ReplicationRule},
    types::BucketName,
};

/// The only threshold that S3 has, in minutes.
const MINUTES: u32 = 15;
/// Storage classes of S3 that copies may have.
const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];
/// Marks the site that reads prefer.
const PREFERRED: &str = ":preferred_read";

/// Reads a configuration. `is_site` says whether data can be copied to a place of that name.
///
/// # Errors
/// `MalformedXML` for another shape, `InvalidArgument` and `InvalidRequest` for values that S3 refuses, `InvalidTag`.
pub(in crate::s3) fn parse(root: &Element<'_>, is_site: &dyn Fn(&str) -> bool) -> S3Result<ReplicationRecord> {
    if root.name() != "ReplicationConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Role", "Rule"])?;
    let role = root.required_text("Role")?.trim().to_owned();
    check_role(&role)?;
    let mut rules = root
        .children_named("Rule")
        .map(|rule| parse_rule(rule, is_site))
        .collect::<S3Result<Vec<ReplicationRule>>>()?;
    if !(1..=MAX_RULES).contains(&rules.len()) {
        return Err(S3Code::MalformedXML.into());
    }
    check_together(&rules)?;
    name(&mut rules)?;
    Ok(ReplicationRecord { role, rules })
}

fn argument(message: &'static str, name: &str, value: &str) -> S3Error {
    S3Error::argument(message, name, value)
}

/// One or two names of roles. The account may be anything that the original takes for one.
fn check_role(text: &str) -> S3Result<()> {
    let is_role = |arn: &str| {
        let parts = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(':'));
        parts.is_some_and(|(account, role)| {
            (account == "*" || account.len() > 1) && role.strip_prefix("role").is_some_and(|name| name.len() > 1)
        })
    };
    let mut roles = text.split(',');
    let valid = roles.by_ref().take(2).all(is_role) && roles.next().is_none();
    if valid { Ok(()) } else { Err(argument("Invalid Role specified in replication configuration", "Role", text)) }
}

/// Gives names to rules that have none; the same document always gives the same names.
fn name(rules: &mut [ReplicationRule]) -> S3Result<()> {
    let mut known = HashSet::new();
    for rule in rules.iter().filter(|rule| !rule.id.is_empty()) {
        if !known.insert(rule.id.clone()) {
            return Err(argument("Rule Id must be unique", "ID", &rule.id));
        }
    }
    for rule in rules.iter_mut().filter(|rule| rule.id.is_empty()) {
        let mut content = rule.encode_to_vec();
        loop {
            rule.id = name_of(&content);
            if known.insert(rule.id.clone()) {
                break;
            }
            content.push(0);
        }
    }
    Ok(())
}

/// The rules that several rules take part in.
fn check_together(rules: &[ReplicationRule]) -> S3Result<()> {
    let first = rules.iter().filter(|rule| rule.scope() == LifecycleScope::Prefix).count();
    if first == 0 {
        let mut priorities = HashSet::new();
        for priority in rules.iter().filter_map(|rule| rule.priority) {
            if !priorities.insert(priority) {
                return Err(S3Error::request(format!("Found duplicate priority {priority}")));
            }
        }
        return Ok(());
    }
    if first != rules.len() {
        return Err(S3Error::request(
            "All rules of a replication configuration must use the same version of its schema: Prefix or Filter",
        ));
    }
    let mut prefixes: Vec<&str> = rules.iter().map(|rule| rule.prefix.as_deref().unwrap_or_default()).collect();
    // In byte order a prefix stands right before what begins with it, or before others that also do.
    prefixes.sort_unstable();
    match prefixes.iter().zip(prefixes.iter().skip(1)).find(|(one, next)| next.starts_with(**one)) {
        Some((one, next)) => Err(S3Error::request(format!("Found overlapping prefixes '{one}' and '{next}'"))),
        None => Ok(()),
    }
}

/// The status of an element that has nothing else.
fn only_switch(parent: &Element<'_>, name: &'static str) -> S3Result<Option<bool>> {
    let Some(element) = parent.child(name)? else { return Ok(None) };
    element.only(&["Status"])?;
    parse_status(element).map(Some)
}

fn parse_rule(element: &Element<'_>, is_site: &dyn Fn(&str) -> bool) -> S3Result<ReplicationRule> {
    element.only(&[
        "ID",
        "Priority",
        "Prefix",
        "Filter",
        "Status",
        "SourceSelectionCriteria",
        "ExistingObjectReplication",
        "Destination",
        "DeleteMarkerReplication",
    ])?;
    let id = element.optional_text("ID")?.unwrap_or_default().to_owned();
    if id.chars().count() > MAX_ID {
        return Err(argument("Rule Id must be at most 255 characters", "ID", &id));
    }
    let mut rule = ReplicationRule { id, enabled: parse_status(element)?, ..ReplicationRule::default() };
    rule.priority = match element.optional::<i32>("Priority")? {
        None => None,
        Some(number) => {
            let checked = u32::try_from(number).ok();
            Some(checked.ok_or_else(|| argument("Priority must not be negative", "Priority", &number.to_string()))?)
        }
    };
    let (Scope { place, prefix, tags }, _) = Scope::parse(element, &[])?;
    (rule.scope, rule.prefix, rule.tags) = (place.into(), prefix, tags);
    rule.delete_markers = only_switch(element, "DeleteMarkerReplication")?;
    rule.existing_objects = only_switch(element, "ExistingObjectReplication")?;
    if let Some(criteria) = element.child("SourceSelectionCriteria")? {
        criteria.only(&["SseKmsEncryptedObjects", "ReplicaModifications"])?;
        rule.kms_objects = only_switch(criteria, "SseKmsEncryptedObjects")?;
        rule.replica_modifications = only_switch(criteria, "ReplicaModifications")?;
    }
    rule.destination = Some(parse_destination(element.required("Destination")?, is_site)?);
    check_rule(&rule)?;
    Ok(rule)
}

fn parse_destination(element: &Element<'_>, is_site: &dyn Fn(&str) -> bool) -> S3Result<ReplicationDestination> {
    element.only(&[
        "Bucket",
        "Account",
        "StorageClass",
        "AccessControlTranslation",
        "EncryptionConfiguration",
        "ReplicationTime",
        "Metrics",
    ])?;
    let bucket = element.required_text("Bucket")?.trim().to_owned();
    let named = bucket.strip_prefix("arn:aws:s3:::").map(BucketName::new);
    if !matches!(named, Some(Ok(_))) {
        return Err(argument("Invalid bucket ARN", "Bucket", &bucket));
    }
    let storage_class = element.optional_text("StorageClass")?.unwrap_or_default().trim().to_owned();
    check_class(&storage_class, element.child("StorageClass")?.is_some(), is_site)?;
    let mut destination = ReplicationDestination { bucket, storage_class, ..ReplicationDestination::default() };
    if let Some(account) = element.optional_text("Account")? {
        account.trim().clone_into(&mut destination.account);
        if destination.account.is_empty() {
            return Err(malformed("Account"));
        }
    }
    if let Some(translation) = element.child("AccessControlTranslation")? {
        translation.only(&["Owner"])?;
        if translation.required_text("Owner")?.trim() != "Destination" {
            return Err(malformed("Owner"));
        }
        if destination.account.is_empty() {
            return Err(S3Error::request("Account must be specified with AccessControlTranslation."));
        }
        destination.owner_override = true;
    }
    if let Some(encryption) = element.child("EncryptionConfiguration")? {
        encryption.only(&["ReplicaKmsKeyID"])?;
        encryption.required_text("ReplicaKmsKeyID")?.trim().clone_into(&mut destination.kms_key);
        if destination.kms_key.is_empty() {
            return Err(malformed("ReplicaKmsKeyID"));
        }
    }
    parse_time(element, &mut destination)?;
    Ok(destination)
}

/// A class of S3, or the original's list of sites, of which one may be preferred for reading.
fn check_class(text: &str, present: bool, is_site: &dyn Fn(&str) -> bool) -> S3Result<()> {
    if !present || CLASSES.contains(&text) {
        return Ok(());
    }
    let (mut preferred, mut known) = (0, HashSet::new());
    for site in text.split(',') {
        let name = site.strip_suffix(PREFERRED);
        preferred += usize::from(name.is_some());
        let name = name.unwrap_or(site);
        let valid = CLASSES.contains(&name) || is_site(name);
        if !valid || !known.insert(name) {
            return Err(malformed("StorageClass"));
        }
    }
    if preferred > 1 { Err(malformed("StorageClass")) } else { Ok(()) }
}

/// Whether every rule that names sites says which of them objects are read from: a bucket whose own copy is removed
/// after replication needs that.
pub(super) fn has_preferred_read(record: &ReplicationRecord) -> bool {
    record.rules.iter().all(|rule| {
        let classes = rule.destination.as_ref().map_or("", |destination| destination.storage_class.as_str());
        classes.is_empty() || classes.split(',').any(|site| site.ends_with(PREFERRED))
    })
}

fn parse_time(element: &Element<'_>, destination: &mut ReplicationDestination) -> S3Result<()> {
    if let Some(metrics) = element.child("Metrics")? {
        metrics.only(&["Status", "EventThreshold"])?;
        destination.metrics = Some(parse_status(metrics)?);
        if let Some(threshold) = metrics.child("EventThreshold")? {
            check_minutes(threshold)?;
            destination.metrics_threshold = true;
        }
    }
    let Some(time) = element.child("ReplicationTime")? else { return Ok(()) };
    time.only(&["Status", "Time"])?;
    let enabled = parse_status(time)?;
    check_minutes(time.required("Time")?)?;
    if enabled && destination.metrics != Some(true) {
        return Err(S3Error::request("ReplicationTime requires Metrics to be enabled."));
    }
    destination.time_control = Some(enabled);
    Ok(())
}

fn check_minutes(element: &Element<'_>) -> S3Result<()> {
    element.only(&["Minutes"])?;
    let minutes = element.optional::<u32>("Minutes")?.ok_or(XmlError::Missing("Minutes"))?;
    if minutes == MINUTES {
        return Ok(());
    }
    Err(argument("Minutes must be 15", "Minutes", &minutes.to_string()))
}

/// The rules that more than one element of a rule takes part in.
fn check_rule(rule: &ReplicationRule) -> S3Result<()> {
    let needs_second = |name: &str| {
        S3Error::request(format!("{name} cannot be used with Prefix: this version of the schema needs Filter."))
    };
    if rule.scope() == LifecycleScope::Prefix {
        for (present, name) in [
            (rule.priority.is_some(), "Priority"),
            (rule.delete_markers.is_some(), "DeleteMarkerReplication"),
            (rule.existing_objects.is_some(), "ExistingObjectReplication"),
            (rule.replica_modifications.is_some(), "ReplicaModifications"),
        ] {
            if present {
                return Err(needs_second(name));
            }
        }
    } else {
        for (present, name) in
            [(rule.priority.is_some(), "Priority"), (rule.delete_markers.is_some(), "DeleteMarkerReplication")]
        {
            if !present {
                return Err(S3Error::request(format!(
                    "{name} must be specified for this version of Cross Region Replication configuration schema."
                )));
            }
        }
        if rule.delete_markers == Some(true) && !rule.tags.is_empty() {
            return Err(S3Error::request("Delete marker replication is not supported if any Tag filter is specified."));
        }
    }
    let has_key = rule.destination.as_ref().is_some_and(|destination| !destination.kms_key.is_empty());
    match (rule.kms_objects, has_key) {
        (Some(true), false) => {
            Err(S3Error::request("EncryptionConfiguration must be specified if SseKmsEncryptedObjects is enabled."))
        }
        (None, true) => {
            Err(S3Error::request("SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present."))
        }
        _ => Ok(()),
    }
}

/// Writes a configuration as it was put.
pub(in crate::s3) fn write(record: &ReplicationRecord) -> Bytes {
    let mut xml = XmlWriter::document("ReplicationConfiguration", 256 + 512 * record.rules.len());
    xml.text("Role", &record.role);
    for rule in &record.rules {
        xml.open("Rule").text("ID", &rule.id);
        if let Some(priority) = rule.priority {
            xml.value("Priority", priority);
        }
        write_scope(&mut xml, rule.scope(), (rule.prefix.as_deref(), &rule.tags), |_| {});
        xml.text("Status", status(rule.enabled));
        if rule.kms_objects.is_some() || rule.replica_modifications.is_some() {
            xml.open("SourceSelectionCriteria");
            write_switch(&mut xml, "SseKmsEncryptedObjects", rule.kms_objects);
            write_switch(&mut xml, "ReplicaModifications", rule.replica_modifications);
            xml.close();
        }
        write_switch(&mut xml, "ExistingObjectReplication", rule.existing_objects);
        if let Some(destination) = &rule.destination {
            write_destination(&mut xml, destination);
        }
        write_switch(&mut xml, "DeleteMarkerReplication", rule.delete_markers);
        xml.close();
    }
    xml.finish()
}

fn write_switch(xml: &mut XmlWriter, name: &'static str, value: Option<bool>) {
    if let Some(enabled) = value {
        xml.open(name).text("Status", status(enabled)).close();
    }
}

fn write_destination(xml: &mut XmlWriter, destination: &ReplicationDestination) {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    xml.open("Destination").text("Bucket", &destination.bucket);
    xml.optional("Account", some(&destination.account).as_deref());
    xml.optional("StorageClass", some(&destination.storage_class).as_deref());
    if destination.owner_override {
        xml.open("AccessControlTranslation").text("Owner", "Destination").close();
    }
    if !destination.kms_key.is_empty() {
        xml.open("EncryptionConfiguration").text("ReplicaKmsKeyID", &destination.kms_key).close();
    }
    if let Some(enabled) = destination.time_control {
        xml.open("ReplicationTime").text("Status", status(enabled));
        xml.open("Time").value("Minutes", MINUTES).close().close();
    }
    if let Some(enabled) = destination.metrics {
        xml.open("Metrics").text("Status", status(enabled));
        if destination.metrics_threshold {
            xml.open("EventThreshold").value("Minutes", MINUTES).close();
        }
        xml.close();
    }
    xml.close();
}
