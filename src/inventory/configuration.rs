//! What an inventory's document asks for (S3 reference, "`InventoryConfiguration`").

use crate::{
    storage::{
        EncryptionRequest, KmsRequest,
        listing::Which,
        records::{SettingNode, SettingRecord},
    },
    types::{BucketName, Timestamp},
};

use super::row::{self, Column};

const DAY_MS: u64 = 86_400_000;
/// Days from a Sunday to 1 January 1970, which was a Thursday.
const SUNDAY: u64 = 4;

/// How often reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
}

/// An inventory.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) enabled: bool,
    pub(super) frequency: Frequency,
    /// Keys begin with it.
    pub(super) prefix: String,
    pub(super) which: Which,
    /// Optional columns.
    pub(super) columns: Vec<&'static Column>,
    pub(super) destination: Destination,
}

/// Where reports go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) bucket: BucketName,
    /// Empty, or with a slash at its end.
    pub(super) prefix: String,
    /// The account that has to own the bucket, where the document names one.
    pub(super) account: Option<String>,
    pub(super) encryption: EncryptionRequest,
}

impl Frequency {
    /// Whether a report is due, if the newest began at `last`: at the first look of each day, or from Sunday on of each
    /// week, by the calendar of UTC (S3 user guide, "Cataloging and analyzing your data with S3 Inventory").
    pub(super) fn is_due(self, last: Timestamp, now: Timestamp) -> bool {
        let day = |time: Timestamp| time.as_millis() / DAY_MS;
        match self {
            Self::Daily => day(now) > day(last),
            Self::Weekly => (day(now) + SUNDAY) / 7 > (day(last) + SUNDAY) / 7,
        }
    }
}

impl Configuration {
    /// Reads a document that was checked when it was put. `None` for one that asks for what this release cannot do.
    pub(super) fn read(record: &SettingRecord) -> Option<Self> {
        let document = &record.content;
        let text = |path: &[&str]| find(document, path).map(|node| node.text.as_str());
        let within = |name| ["Destination", "S3BucketDestination", name];
        if text(&within("Format")) != Some("CSV") {
            return None;
        }
        let mut prefix = text(&within("Prefix")).unwrap_or_default().to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        let encryption = find(document, &within("Encryption")).and_then(|node| node.children.first());
        let bucket = text(&within("Bucket"))?.strip_prefix("arn:aws:s3:::")?;
        let wanted = find(document, &["OptionalFields"]).map(|fields| fields.children.as_slice()).unwrap_or_default();
        Some(Self {
            enabled: text(&["IsEnabled"]) == Some("true"),
            frequency: match text(&["Schedule", "Frequency"])? {
                "Weekly" => Frequency::Weekly,
                _ => Frequency::Daily,
            },
            prefix: text(&["Filter", "Prefix"]).unwrap_or_default().to_owned(),
            which: if text(&["IncludedObjectVersions"]) == Some("All") { Which::All } else { Which::Current },
            columns: row::COLUMNS.iter().filter(|column| wanted.iter().any(|node| node.text == column.name)).collect(),
            destination: Destination {
                bucket: BucketName::new(bucket).ok()?,
                prefix,
                account: text(&within("AccountId")).filter(|account| !account.is_empty()).map(str::to_owned),
                encryption: encryption.map_or(EncryptionRequest::BucketDefault, encryption_of),
            },
        })
    }

    /// `fileSchema`: the names of all columns.
    pub(super) fn schema(&self) -> String {
        let mut names = vec!["Bucket", "Key"];
        if self.which == Which::All {
            names.extend(["VersionId", "IsLatest", "IsDeleteMarker"]);
        }
        names.extend(self.columns.iter().map(|column| column.name));
        names.join(", ")
    }
}

fn encryption_of(node: &SettingNode) -> EncryptionRequest {
    match node.name.as_str() {
        "SSE-KMS" => {
            let key_id = find(&node.children, &["KeyId"]).map(|key| key.text.clone()).filter(|key| !key.is_empty());
            EncryptionRequest::Kms(KmsRequest { key_id, ..KmsRequest::default() })
        }
        _ => EncryptionRequest::Managed,
    }
}

/// The node at the end of a path.
fn find<'a>(nodes: &'a [SettingNode], path: &[&str]) -> Option<&'a SettingNode> {
    let (first, rest) = path.split_first()?;
    let node = nodes.iter().find(|node| node.name == *first)?;
    if rest.is_empty() { Some(node) } else { find(&node.children, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_due_by_day_or_from_sunday_on() {
        let at = |text: &str| Timestamp::parse_iso8601(text).unwrap();
        // 4 January 2026 is a Sunday.
        for (frequency, last, now, due) in [
            (Frequency::Daily, "2026-01-01T00:00:00Z", "2026-01-01T23:59:59Z", false),
            (Frequency::Daily, "2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z", true),
            (Frequency::Daily, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", false),
            (Frequency::Weekly, "2026-01-01T00:00:00Z", "2026-01-03T23:59:59Z", false),
            (Frequency::Weekly, "2026-01-03T23:59:59Z", "2026-01-04T00:00:00Z", true),
            (Frequency::Weekly, "2026-01-04T00:00:00Z", "2026-01-10T23:59:59Z", false),
            (Frequency::Weekly, "2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z", true),
        ] {
            assert_eq!(frequency.is_due(at(last), at(now)), due, "{frequency:?} {last} {now}");
        }
    }
}
