//! The document `NotificationConfiguration`: reading it, with every rule that S3 checks when it is put, and writing it.
//!
//! Rules: S3 reference, "`PutBucketNotificationConfiguration`" and "Configuring event notifications using object key
//! name filtering". Targets have names of the original's form, `arn:scality:bucketnotif:::name`, whose last part
//! `bucketNotificationDestinations` knows; it does not matter in which of S3's three elements one stands.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;

use crate::{
    s3::{
        codes::S3Code,
        error::{S3Error, S3Result},
        xml::{Element, XmlWriter},
    },
    storage::records::{NotificationFilter, NotificationKind, NotificationRecord, NotificationTarget},
    types::digest::{Digest, Sha256},
};

/// Most targets (S3 reference).
const MAX_TARGETS: usize = 100;
/// Most characters of a target's name.
const MAX_ID: usize = 255;
/// Most bytes of a filter's value.
const MAX_VALUE: usize = 1024;
/// How a target's resource name begins.
const TARGET: &str = "arn:scality:bucketnotif:::";
/// A kind, its element, and the element of its resource name.
const KINDS: [(NotificationKind, &str, &str); 3] = [
    (NotificationKind::Topic, "TopicConfiguration", "Topic"),
    (NotificationKind::Queue, "QueueConfiguration", "Queue"),
    (NotificationKind::Function, "CloudFunctionConfiguration", "CloudFunction"),
];

/// Events of the 2026 model.
const EVENTS: [&str; 31] = [
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectAcl:Put",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
    "s3:ObjectAnnotation:*",
    "s3:ObjectAnnotation:Put",
    "s3:ObjectAnnotation:Delete",
    "s3:ObjectRetention:Put",
];

/// Reads a configuration. `is_target` says whether a target of that name is configured.
///
/// # Errors
/// `MalformedXML` for another shape; `InvalidArgument` for events, filters, names and targets that are none, and for
/// targets that would be told of the same event of the same key twice.
pub(in crate::s3) fn parse(root: &Element<'_>, is_target: &dyn Fn(&str) -> bool) -> S3Result<NotificationRecord> {
    if root.name() != "NotificationConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["TopicConfiguration", "QueueConfiguration", "CloudFunctionConfiguration", "EventBridgeConfiguration"])?;
    let mut targets = Vec::new();
    for (kind, element, arn) in KINDS {
        for child in root.children_named(element) {
            targets.push(parse_target(child, kind, arn)?);
        }
    }
    if targets.len() > MAX_TARGETS {
        return Err(S3Error::new(S3Code::InvalidArgument, "A bucket may have at most 100 notification configurations"));
    }
    name(&mut targets)?;
    check_overlaps(&targets)?;
    check_targets(&targets, is_target)?;
    let event_bridge = root.child("EventBridgeConfiguration")?;
    if let Some(bridge) = event_bridge {
        bridge.only(&[])?;
    }
    Ok(NotificationRecord { targets, event_bridge: event_bridge.is_some() })
}

fn parse_target(element: &Element<'_>, kind: NotificationKind, arn: &'static str) -> S3Result<NotificationTarget> {
    element.only(&["Id", arn, "Event", "Filter"])?;
    let id = element.optional_text("Id")?.unwrap_or_default().to_owned();
    if id.chars().count() > MAX_ID {
        return Err(S3Error::argument("The Id must be at most 255 characters", "Id", &id));
    }
    let mut target = NotificationTarget {
        kind: kind.into(),
        id,
        arn: element.required_text(arn)?.trim().to_owned(),
        ..NotificationTarget::default()
    };
    for event in element.children_named("Event") {
        let name = event.text().trim();
        if !EVENTS.contains(&name) {
            return Err(S3Error::argument("A specified event is not supported for notifications", "Event", name));
        }
        if !target.events.iter().any(|known| known == name) {
            target.events.push(name.to_owned());
        }
    }
    if target.events.is_empty() {
        return Err(S3Code::MalformedXML.into());
    }
    target.filter = element.child("Filter")?.map(parse_filter).transpose()?;
    Ok(target)
}

fn parse_filter(element: &Element<'_>) -> S3Result<NotificationFilter> {
    element.only(&["S3Key"])?;
    let mut filter = NotificationFilter::default();
    let Some(key) = element.child("S3Key")? else { return Ok(filter) };
    key.only(&["FilterRule"])?;
    for rule in key.children() {
        rule.only(&["Name", "Value"])?;
        let name = rule.required_text("Name")?.trim();
        let value = rule.required_text("Value")?;
        if value.len() > MAX_VALUE {
            let message = "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation";
            return Err(S3Error::argument(message, "Value", value));
        }
        let (place, twice) = if name.eq_ignore_ascii_case("prefix") {
            (&mut filter.prefix, "Cannot specify more than one prefix rule in a filter.")
        } else if name.eq_ignore_ascii_case("suffix") {
            (&mut filter.suffix, "Cannot specify more than one suffix rule in a filter.")
        } else {
            return Err(S3Error::argument("filter rule name must be either prefix or suffix", "FilterRule.Name", name));
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(S3Error::argument(twice, "FilterRule.Name", name));
        }
    }
    Ok(filter)
}

/// Gives names to targets that have none; the same document always gives the same names.
fn name(targets: &mut [NotificationTarget]) -> S3Result<()> {
    let mut known = HashSet::new();
    for target in targets.iter().filter(|target| !target.id.is_empty()) {
        if !known.insert(target.id.clone()) {
            let message = "Same ID used for multiple configurations. IDs must be unique";
            return Err(S3Error::argument(message, "Id", &target.id));
        }
    }
    for target in targets.iter_mut().filter(|target| target.id.is_empty()) {
        let mut content = target.encode_to_vec();
        loop {
            let digest: [u8; 32] = Sha256::digest(&content).into();
            let (short, _) = digest.split_at(24);
            target.id = hex::encode(short);
            if known.insert(target.id.clone()) {
                break;
            }
            content.push(0);
        }
    }
    Ok(())
}

/// Whether two names of events have an event in common.
fn share_event(one: &str, other: &str) -> bool {
    let covers = |wide: &str, narrow: &str| wide.strip_suffix('*').is_some_and(|stem| narrow.starts_with(stem));
    one == other || covers(one, other) || covers(other, one)
}

/// No event of any key may have two targets: S3 would not know whom to tell.
fn check_overlaps(targets: &[NotificationTarget]) -> S3Result<()> {
    let of = |target: &NotificationTarget| target.filter.clone().unwrap_or_default();
    for (index, target) in targets.iter().enumerate() {
        let filter = of(target);
        let (prefix, suffix) = (filter.prefix.unwrap_or_default(), filter.suffix.unwrap_or_default());
        for other in targets.iter().skip(index + 1) {
            let shared = target.events.iter().any(|one| other.events.iter().any(|two| share_event(one, two)));
            let filter = of(other);
            let (begins, ends) = (filter.prefix.unwrap_or_default(), filter.suffix.unwrap_or_default());
            let prefixes = prefix.starts_with(&begins) || begins.starts_with(&prefix);
            let suffixes = suffix.ends_with(&ends) || ends.ends_with(&suffix);
            if shared && prefixes && suffixes {
                return Err(S3Error::new(
                    S3Code::InvalidArgument,
                    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the \
                     prefixes are overlapping for the same event type.",
                )
                .with("ArgumentName1", target.id.as_str())
                .with("ArgumentName2", other.id.as_str()));
            }
        }
    }
    Ok(())
}

fn check_targets(targets: &[NotificationTarget], is_target: &dyn Fn(&str) -> bool) -> S3Result<()> {
    let known = |arn: &str| arn.strip_prefix(TARGET).is_some_and(|name| !name.is_empty() && is_target(name));
    let unknown = targets.iter().find(|target| !known(&target.arn));
    unknown.map_or(Ok(()), |target| {
        Err(S3Error::argument(
            "Unable to validate the following destination configurations",
            &target.arn,
            "The destination queue does not exist",
        ))
    })
}

/// Writes a configuration as it was put.
pub(in crate::s3) fn write(record: &NotificationRecord) -> Bytes {
    let mut xml = XmlWriter::document("NotificationConfiguration", 256 + 512 * record.targets.len());
    for target in &record.targets {
        let known = KINDS.iter().find(|(kind, _, _)| *kind == target.kind());
        let Some((_, element, arn)) = known else { continue };
        xml.open(element).text("Id", &target.id).text(arn, &target.arn);
        for event in &target.events {
            xml.text("Event", event);
        }
        if let Some(filter) = &target.filter {
            xml.open("Filter").open("S3Key");
            for (name, value) in [("Prefix", &filter.prefix), ("Suffix", &filter.suffix)] {
                if let Some(value) = value {
                    xml.open("FilterRule").text("Name", name).text("Value", value).close();
                }
            }
            xml.close().close();
        }
        xml.close();
    }
    if record.event_bridge {
        xml.empty("EventBridgeConfiguration");
    }
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::read;

    fn parsed(inner: &str) -> Result<NotificationRecord, S3Code> {
        let document = format!("<NotificationConfiguration>{inner}</NotificationConfiguration>");
        parse(&read::read(document.as_bytes()).unwrap(), &|name| name == "target1").map_err(|e| e.code)
    }

    fn queue(events: &[&str], rules: &[(&str, &str)]) -> String {
        let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect::<Vec<_>>().concat();
        let rules = rules
            .iter()
            .map(|(name, value)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"))
            .collect::<Vec<_>>()
            .concat();
        format!(
            "<QueueConfiguration><Queue>arn:scality:bucketnotif:::target1</Queue>{events}\
             <Filter><S3Key>{rules}</S3Key></Filter></QueueConfiguration>"
        )
    }

    const PUT: &str = "s3:ObjectCreated:Put";

    #[test]
    fn what_is_written_reads_back_the_same() {
        let topic = "<TopicConfiguration><Id>t</Id><Topic>arn:scality:bucketnotif:::target1</Topic>\
             <Event>s3:ObjectAnnotation:*</Event><Event>s3:ObjectRetention:Put</Event></TopicConfiguration>";
        let function = topic.replace("Topic", "CloudFunction").replace(">t<", ">f<");
        let function =
            function.replace("s3:ObjectAnnotation:*", PUT).replace("s3:ObjectRetention:Put", "s3:LifecycleTransition");
        let rules = [("prefix", "a&amp;"), ("Suffix", ".jpg")];
        let all = format!("{function}{topic}{}<EventBridgeConfiguration/>", queue(&["s3:ObjectRemoved:*"], &rules));
        for document in [all.as_str(), "", &queue(&[PUT], &[])] {
            let record = parsed(document).unwrap();
            let again = parse(&read::read(&write(&record)).unwrap(), &|_| true).unwrap();
            assert_eq!(again, record, "{document}");
        }
    }

    #[test]
    fn events_filters_names_and_targets_are_those_of_s3() {
        for bad in [
            queue(&["s3:ObjectCreated"], &[]),
            queue(&[PUT], &[("middle", "a")]),
            queue(&[PUT], &[("prefix", "a"), ("Prefix", "b")]),
            queue(&[PUT], &[("suffix", "a"), ("suffix", "b")]),
            queue(&[PUT], &[("prefix", &"a".repeat(1025))]),
            queue(&[PUT], &[]).replace("target1", "target2"),
            queue(&[PUT], &[]).replace("arn:scality:bucketnotif:::target1", "arn:aws:sqs:us-east-1:1:queue"),
            queue(&[PUT], &[]).replace("<Queue>", &format!("<Id>{}</Id><Queue>", "a".repeat(256))),
            queue(&[PUT], &[]).replace("<Queue>", "<Id>a</Id><Queue>")
                + &queue(&["s3:ObjectRemoved:*"], &[]).replace("<Queue>", "<Id>a</Id><Queue>"),
        ] {
            assert_eq!(parsed(&bad).err(), Some(S3Code::InvalidArgument), "{bad}");
        }
        for bad in [queue(&[], &[]), queue(&[PUT], &[]).replace("Queue>", "Topic>"), "<Other/>".to_owned()] {
            assert_eq!(parsed(&bad).err(), Some(S3Code::MalformedXML), "{bad}");
        }
    }

    #[test]
    fn no_event_of_a_key_has_two_targets() {
        let pair = |one: &str, first: &[(&str, &str)], two: &str, second: &[(&str, &str)]| {
            parsed(&(queue(&[one], first) + &queue(&[two], second))).err()
        };
        let clash = Some(S3Code::InvalidArgument);
        assert_eq!(pair(PUT, &[], PUT, &[("prefix", "a")]), clash);
        assert_eq!(pair(PUT, &[], "s3:ObjectCreated:*", &[]), clash);
        assert_eq!(pair(PUT, &[("prefix", "a")], PUT, &[("prefix", "ab")]), clash);
        assert_eq!(pair(PUT, &[("prefix", "a"), ("suffix", "x")], PUT, &[("suffix", "yx")]), clash);
        assert_eq!(pair(PUT, &[("prefix", "a")], PUT, &[("suffix", "x")]), clash);
        assert_eq!(pair(PUT, &[("prefix", "a")], PUT, &[("prefix", "b")]), None);
        assert_eq!(pair(PUT, &[("prefix", "a"), ("suffix", "x")], PUT, &[("prefix", "a"), ("suffix", "y")]), None);
        assert_eq!(pair(PUT, &[], "s3:ObjectCreated:Copy", &[]), None);
    }
}
