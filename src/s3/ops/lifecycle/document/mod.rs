//! The document `LifecycleConfiguration`: reading it, with every rule that S3 checks when it is put, and writing it.
//!
//! Rules: S3 reference, "`PutBucketLifecycleConfiguration`" and "Lifecycle configuration elements". Left out: S3's
//! comparison of rules with each other (overlapping prefixes), which it no longer makes for filters.

use bytes::Bytes;
use prost::Message;

use crate::{
    s3::{
        codes::S3Code,
        error::{S3Error, S3Result},
        ops::rules::{MAX_ID, MAX_RULES, Scope, malformed, name_of, parse_status, status, write_scope},
        xml::{Element, XmlError, XmlWriter},
    },
    storage::records::{
        ExpirationRecord, LifecycleRule, LifecycleScope, NoncurrentExpirationRecord, NoncurrentTransitionRecord,
        TransitionRecord,
    },
    types::Timestamp,
};

/// Most noncurrent versions that a rule may keep.
const MAX_NEWER_VERSIONS: u32 = 100;
/// Storage classes of S3 that objects may move to; the names of locations are classes, too, as in the original.
const CLASSES: [&str; 6] =
    ["GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"];
/// Classes that objects may move to after this many days only.
const SETTLED_CLASSES: [&str; 2] = ["STANDARD_IA", "ONEZONE_IA"];
const SETTLED_DAYS: u32 = 30;
/// The order in which objects may move from class to class (S3 reference, "Supported transitions").
const WATERFALL: [&str; 6] =
    ["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];
const DAY_MS: u64 = 86_400_000;
/// Conditions of a filter beside prefix and tags.
const SIZES: [&str; 2] = ["ObjectSizeGreaterThan", "ObjectSizeLessThan"];

/// Reads a configuration. `is_location` says whether a location of that name is configured.
///
/// # Errors
/// `MalformedXML` for another shape, `InvalidArgument` and `InvalidRequest` for values that S3 refuses,
/// `InvalidStorageClass`, `InvalidTag`.
pub(in crate::s3) fn parse(root: &Element<'_>, is_location: &dyn Fn(&str) -> bool) -> S3Result<Vec<LifecycleRule>> {
    // The second name is that of the first version of the interface.
    if !matches!(root.name(), "LifecycleConfiguration" | "BucketLifecycleConfiguration") {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["Rule"])?;
    if !(1..=MAX_RULES).contains(&root.children().len()) {
        return Err(S3Code::MalformedXML.into());
    }
    let mut rules = root.children().iter().map(|rule| parse_rule(rule, is_location)).collect::<S3Result<Vec<_>>>()?;
    let mut known = std::collections::HashSet::new();
    if !rules.iter().filter(|rule| !rule.id.is_empty()).all(|rule| known.insert(rule.id.clone())) {
        return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
    }
    for rule in rules.iter_mut().filter(|rule| rule.id.is_empty()) {
        let content = rule.encode_to_vec();
        for attempt in 0_u32.. {
            rule.id = name_of(&[&content, &attempt.to_be_bytes()[..]].concat());
            if known.insert(rule.id.clone()) {
                break;
            }
        }
    }
    Ok(rules)
}

fn argument(message: &'static str) -> S3Error {
    S3Error::new(S3Code::InvalidArgument, message)
}

fn parse_rule(element: &Element<'_>, is_location: &dyn Fn(&str) -> bool) -> S3Result<LifecycleRule> {
    element.only(&[
        "ID",
        "Status",
        "Prefix",
        "Filter",
        "Expiration",
        "NoncurrentVersionExpiration",
        "Transition",
        "NoncurrentVersionTransition",
        "AbortIncompleteMultipartUpload",
    ])?;
    let id = element.optional_text("ID")?.unwrap_or_default().to_owned();
    if id.chars().count() > MAX_ID {
        return Err(argument("ID length should not exceed allowed limit of 255"));
    }
    let mut rule = LifecycleRule { id, enabled: parse_status(element)?, ..LifecycleRule::default() };
    let (Scope { place, prefix, tags }, conditions) = Scope::parse(element, &SIZES)?;
    (rule.scope, rule.prefix, rule.tags) = (place.into(), prefix, tags);
    conditions.map(|conditions| parse_sizes(conditions, &mut rule)).transpose()?;
    rule.expiration = element.child("Expiration")?.map(expiration).transpose()?;
    rule.noncurrent_expiration =
        element.child("NoncurrentVersionExpiration")?.map(noncurrent_expiration).transpose()?;
    for child in element.children_named("Transition") {
        rule.transitions.push(transition(child, is_location)?);
    }
    for child in element.children_named("NoncurrentVersionTransition") {
        rule.noncurrent_transitions.push(noncurrent_transition(child, is_location)?);
    }
    if let Some(abort) = element.child("AbortIncompleteMultipartUpload")? {
        abort.only(&["DaysAfterInitiation"])?;
        let days = days(abort, "DaysAfterInitiation")?.ok_or(XmlError::Missing("DaysAfterInitiation"))?;
        rule.abort_upload_days = Some(positive(
            days,
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        )?);
    }
    check_rule(&rule)?;
    Ok(rule)
}

/// Reads the sizes of the objects that a rule is for.
fn parse_sizes(from: &Element<'_>, rule: &mut LifecycleRule) -> S3Result<()> {
    let [greater, less] = SIZES;
    rule.size_greater_than = from.optional::<u64>(greater)?;
    rule.size_less_than = from.optional::<u64>(less)?;
    if rule.size_less_than == Some(0) {
        return Err(S3Error::request("'ObjectSizeLessThan' should be greater than 0."));
    }
    match (rule.size_greater_than, rule.size_less_than) {
        // An object between the two must be possible.
        (Some(least), Some(most)) if least.saturating_add(1) >= most => {
            Err(S3Error::request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."))
        }
        _ => Ok(()),
    }
}

/// A number of the model's type: 32 bits, perhaps negative; only shape is checked here.
fn days(from: &Element<'_>, name: &'static str) -> S3Result<Option<i32>> {
    Ok(from.optional::<i32>(name)?)
}

fn positive(number: i32, message: &'static str) -> S3Result<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| argument(message))
}

fn not_negative(number: i32, message: &'static str) -> S3Result<u32> {
    u32::try_from(number).map_err(|_| argument(message))
}

/// A midnight UTC. Clients write it with or without milliseconds, or as a bare day.
fn date(from: &Element<'_>) -> S3Result<Option<u64>> {
    let Some(text) = from.optional_text("Date")?.map(str::trim) else { return Ok(None) };
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time = Timestamp::parse_iso8601(&whole).ok_or(XmlError::Invalid("Date"))?;
    if time.as_millis() % DAY_MS != 0 {
        return Err(argument("'Date' must be at midnight GMT"));
    }
    Ok(Some(time.as_millis()))
}

fn expiration(element: &Element<'_>) -> S3Result<ExpirationRecord> {
    element.only(&["Days", "Date", "ExpiredObjectDeleteMarker"])?;
    if element.children().len() != 1 {
        return Err(malformed("Expiration"));
    }
    let days = days(element, "Days")?;
    Ok(ExpirationRecord {
        days: days.map(|days| positive(days, "'Days' for Expiration action must be a positive integer")).transpose()?,
        date_ms: date(element)?,
        expired_object_delete_marker: element.optional::<bool>("ExpiredObjectDeleteMarker")?,
    })
}

fn noncurrent_expiration(element: &Element<'_>) -> S3Result<NoncurrentExpirationRecord> {
    element.only(&["NoncurrentDays", "NewerNoncurrentVersions"])?;
    let days = days(element, "NoncurrentDays")?.ok_or(XmlError::Missing("NoncurrentDays"))?;
    Ok(NoncurrentExpirationRecord {
        days: positive(days, "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")?,
        newer_versions: newer_versions(element)?,
    })
}

fn newer_versions(element: &Element<'_>) -> S3Result<Option<u32>> {
    const MESSAGE: &str = "'NewerNoncurrentVersions' must be a positive integer of at most 100";
    let number = days(element, "NewerNoncurrentVersions")?.map(|number| positive(number, MESSAGE)).transpose()?;
    if number.is_some_and(|number| number > MAX_NEWER_VERSIONS) { Err(argument(MESSAGE)) } else { Ok(number) }
}

fn transition(element: &Element<'_>, is_location: &dyn Fn(&str) -> bool) -> S3Result<TransitionRecord> {
    element.only(&["Days", "Date", "StorageClass"])?;
    let days = days(element, "Days")?;
    let date_ms = date(element)?;
    if days.is_some() == date_ms.is_some() {
        return Err(malformed("Transition"));
    }
    let days = days.map(|days| not_negative(days, "'Days' in Transition action must be nonnegative")).transpose()?;
    let storage_class = storage_class(element, is_location)?;
    if let Some(days) = days {
        settled("Days", "Transition", days, &storage_class)?;
    }
    Ok(TransitionRecord { days, date_ms, storage_class })
}

fn noncurrent_transition(
    element: &Element<'_>,
    is_location: &dyn Fn(&str) -> bool,
) -> S3Result<NoncurrentTransitionRecord> {
    element.only(&["NoncurrentDays", "NewerNoncurrentVersions", "StorageClass"])?;
    let days = days(element, "NoncurrentDays")?.ok_or(XmlError::Missing("NoncurrentDays"))?;
    let days = not_negative(days, "'NoncurrentDays' in NoncurrentVersionTransition action must be nonnegative")?;
    let storage_class = storage_class(element, is_location)?;
    settled("NoncurrentDays", "NoncurrentVersionTransition", days, &storage_class)?;
    Ok(NoncurrentTransitionRecord { days, newer_versions: newer_versions(element)?, storage_class })
}

fn storage_class(element: &Element<'_>, is_location: &dyn Fn(&str) -> bool) -> S3Result<String> {
    let class = element.required_text("StorageClass")?.trim();
    if CLASSES.contains(&class) || is_location(class) { Ok(class.to_owned()) } else { Err(malformed("StorageClass")) }
}

fn settled(what: &str, action: &str, days: u32, class: &str) -> S3Result<()> {
    if days >= SETTLED_DAYS || !SETTLED_CLASSES.contains(&class) {
        return Ok(());
    }
    let message = format!(
        "'{what}' in {action} action must be greater than or equal to {SETTLED_DAYS} for storageClass '{class}'"
    );
    Err(S3Error::new(S3Code::InvalidArgument, message))
}

/// The rules that more than one element of a rule takes part in.
fn check_rule(rule: &LifecycleRule) -> S3Result<()> {
    let has_action = rule.expiration.is_some()
        || rule.noncurrent_expiration.is_some()
        || !rule.transitions.is_empty()
        || !rule.noncurrent_transitions.is_empty()
        || rule.abort_upload_days.is_some();
    if !has_action {
        return Err(S3Error::request("At least one action needs to be specified in a rule."));
    }
    // Delete markers and uploads have neither tags nor sizes.
    let has_marker = rule.expiration.is_some_and(|expiration| expiration.expired_object_delete_marker.is_some());
    let by_size = rule.size_greater_than.is_some() || rule.size_less_than.is_some();
    for (present, name) in [
        (has_marker, "ExpiredObjectDeleteMarker"),
        (rule.abort_upload_days.is_some(), "AbortIncompleteMultipartUpload"),
    ] {
        if present && !rule.tags.is_empty() {
            return Err(S3Error::request(format!("{name} cannot be specified with Tags.")));
        }
        if present && by_size {
            return Err(S3Error::request(format!("{name} cannot be specified with Object Size.")));
        }
    }
    let keeps = rule.noncurrent_expiration.is_some_and(|expiration| expiration.newer_versions.is_some())
        || rule.noncurrent_transitions.iter().any(|transition| transition.newer_versions.is_some());
    if keeps && rule.scope() == LifecycleScope::Prefix {
        return Err(S3Error::request("NewerNoncurrentVersions can be specified in a rule with a Filter only."));
    }
    check_order(rule)
}

/// Objects move to each class once, and before they expire; days and dates do not mix.
fn check_order(rule: &LifecycleRule) -> S3Result<()> {
    let current: Vec<_> = rule.transitions.iter().map(|transition| transition.storage_class.as_str()).collect();
    let noncurrent: Vec<_> = rule.noncurrent_transitions.iter().map(|move_| move_.storage_class.as_str()).collect();
    for (classes, action) in [(current, "Transition"), (noncurrent, "NoncurrentVersionTransition")] {
        let unique: std::collections::HashSet<_> = classes.iter().collect();
        if unique.len() != classes.len() {
            let message = format!("'StorageClass' must be different for '{action}' actions in same 'Rule'");
            return Err(S3Error::request(message));
        }
    }
    check_spacing(rule)?;
    let (days, date) = rule.expiration.map_or((None, None), |expiration| (expiration.days, expiration.date_ms));
    let by_days = days.is_some() || rule.transitions.iter().any(|transition| transition.days.is_some());
    let by_date = date.is_some() || rule.transitions.iter().any(|transition| transition.date_ms.is_some());
    if by_days && by_date {
        return Err(S3Error::request(
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule",
        ));
    }
    if let Some(expires) = days
        && rule.transitions.iter().any(|transition| transition.days.is_some_and(|days| days >= expires))
    {
        return Err(argument("'Days' in the Expiration action must be greater than 'Days' in the Transition action"));
    }
    if let Some(expires) = date
        && rule.transitions.iter().any(|transition| transition.date_ms.is_some_and(|date| date >= expires))
    {
        return Err(argument("'Date' in the Expiration action must be later than 'Date' in the Transition action"));
    }
    match rule.noncurrent_expiration {
        Some(expires) if rule.noncurrent_transitions.iter().any(|transition| transition.days >= expires.days) => {
            Err(argument(
                "'NoncurrentDays' in the NoncurrentVersionExpiration action must be greater than 'NoncurrentDays' in \
                 the NoncurrentVersionTransition action",
            ))
        }
        _ => Ok(()),
    }
}

/// Objects move down only, and stay in a class that is paid for by 30 days as long as that.
fn check_spacing(rule: &LifecycleRule) -> S3Result<()> {
    let day = |date_ms: u64| u32::try_from(date_ms / DAY_MS).unwrap_or(u32::MAX);
    let current = |pick: fn(&TransitionRecord) -> Option<u32>| -> Vec<(u32, &str)> {
        rule.transitions.iter().filter_map(|move_| Some((pick(move_)?, move_.storage_class.as_str()))).collect()
    };
    let by_date = rule.transitions.iter().filter_map(|move_| Some((day(move_.date_ms?), move_.storage_class.as_str())));
    let noncurrent = rule.noncurrent_transitions.iter().map(|move_| (move_.days, move_.storage_class.as_str()));
    for (moves, what) in [
        (current(|move_| move_.days), "'Days' in the 'Transition'"),
        (by_date.collect(), "'Date' in the 'Transition'"),
        (noncurrent.collect(), "'NoncurrentDays' in the 'NoncurrentVersionTransition'"),
    ] {
        let place = |class: &str| WATERFALL.iter().position(|known| *known == class);
        for (early, from) in &moves {
            let least = if SETTLED_CLASSES.contains(from) { SETTLED_DAYS } else { 1 };
            let below = moves.iter().filter(|(_, to)| place(from).is_some() && place(from) < place(to));
            for (late, to) in below {
                if *late < early.saturating_add(least) {
                    return Err(S3Error::new(
                        S3Code::InvalidArgument,
                        format!("{what} action for StorageClass '{to}' must be {least} days more than for '{from}'"),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Writes a configuration as it was put.
pub(in crate::s3) fn write(rules: &[LifecycleRule]) -> Bytes {
    let mut xml = XmlWriter::document("LifecycleConfiguration", 256 + 320 * rules.len());
    for rule in rules {
        xml.open("Rule").text("ID", &rule.id);
        write_scope(&mut xml, rule.scope(), (rule.prefix.as_deref(), &rule.tags), |xml| {
            let [greater, less] = SIZES;
            number(xml, greater, rule.size_greater_than);
            number(xml, less, rule.size_less_than);
        });
        xml.text("Status", status(rule.enabled));
        for transition in &rule.transitions {
            xml.open("Transition");
            write_when(&mut xml, transition.days, transition.date_ms);
            xml.text("StorageClass", &transition.storage_class).close();
        }
        if let Some(expiration) = &rule.expiration {
            xml.open("Expiration");
            write_when(&mut xml, expiration.days, expiration.date_ms);
            number(&mut xml, "ExpiredObjectDeleteMarker", expiration.expired_object_delete_marker);
            xml.close();
        }
        for transition in &rule.noncurrent_transitions {
            xml.open("NoncurrentVersionTransition").value("NoncurrentDays", transition.days);
            number(&mut xml, "NewerNoncurrentVersions", transition.newer_versions);
            xml.text("StorageClass", &transition.storage_class).close();
        }
        if let Some(expiration) = &rule.noncurrent_expiration {
            xml.open("NoncurrentVersionExpiration").value("NoncurrentDays", expiration.days);
            number(&mut xml, "NewerNoncurrentVersions", expiration.newer_versions);
            xml.close();
        }
        if let Some(days) = rule.abort_upload_days {
            xml.open("AbortIncompleteMultipartUpload").value("DaysAfterInitiation", days).close();
        }
        xml.close();
    }
    xml.finish()
}

fn write_when(xml: &mut XmlWriter, days: Option<u32>, date_ms: Option<u64>) {
    number(xml, "Days", days);
    number(xml, "Date", date_ms.map(|millis| Timestamp::from_millis(millis).to_iso8601()));
}

fn number(xml: &mut XmlWriter, name: &'static str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        xml.value(name, value);
    }
}

#[cfg(test)]
mod tests;
