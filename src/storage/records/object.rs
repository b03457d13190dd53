//! The record of one version of an object.

use bytes::Bytes;

use super::{encryption::EncryptionRecord, lock::PeriodRecord};
use crate::types::{
    AccountId, Acl, Checksum, ChecksumAlgorithm, ChecksumType, ETag, Grant, Grantee, Permission, Timestamp, VersionId,
};

/// A name and a value.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pair {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The stored `Content-*` headers of an object, verbatim; `None` where the client sent none.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContentHeaders {
    /// `Content-Type`.
    #[prost(string, optional, tag = "1")]
    pub content_type: Option<String>,
    /// `Cache-Control`.
    #[prost(string, optional, tag = "2")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    #[prost(string, optional, tag = "3")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[prost(string, optional, tag = "4")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[prost(string, optional, tag = "5")]
    pub content_language: Option<String>,
    /// `Expires`, even if it is no date.
    #[prost(string, optional, tag = "6")]
    pub expires: Option<String>,
}

/// A grant.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GrantRecord {
    /// Canonical id, or the URI of a group.
    #[prost(string, tag = "1")]
    pub grantee: String,
    /// Place in the order of [`Permission`].
    #[prost(uint32, tag = "2")]
    pub permission: u32,
}

/// An access control list.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AclRecord {
    /// Grants beyond the owner's full control are listed as given.
    #[prost(message, repeated, tag = "1")]
    pub grants: Vec<GrantRecord>,
}

/// The additional checksum of an object.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChecksumRecord {
    /// Place in the order of [`ChecksumAlgorithm`].
    #[prost(uint32, tag = "1")]
    pub algorithm: u32,
    /// Whether the value is composite.
    #[prost(bool, tag = "2")]
    pub composite: bool,
    /// Raw digest.
    #[prost(bytes = "bytes", tag = "3")]
    pub value: Bytes,
    /// Parts behind a composite value.
    #[prost(uint32, tag = "4")]
    pub parts: u32,
}

/// A run of an object's bytes: one blob or one body kept in metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Segment {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Blob name within `location`; empty where `body` is set.
    #[prost(string, tag = "2")]
    pub blob: String,
    /// Key in the table of bodies; empty where `blob` is set.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
    /// Location of the blob.
    #[prost(string, tag = "4")]
    pub location: String,
    /// Part number; 0 for an object written in one piece.
    #[prost(uint32, tag = "5")]
    pub part_number: u32,
    /// MD5 of a part.
    #[prost(bytes = "bytes", tag = "6")]
    pub md5: Bytes,
    /// Checksum of a part.
    #[prost(message, optional, tag = "7")]
    pub checksum: Option<ChecksumRecord>,
    /// Where the bytes are encrypted: tells this segment's key from those of others (16 random bytes).
    #[prost(bytes = "bytes", tag = "10")]
    pub seal: Bytes,
    /// Where the stored bytes begin within the blob.
    #[prost(uint64, tag = "11")]
    pub offset: u64,
    /// Whether the bytes are in the blob of the record's first segment: then `blob` and `location` are empty here. Where
    /// an object with layout rows is all in one blob, that segment does nothing but name it.
    #[prost(bool, tag = "12")]
    pub shared: bool,
    /// Of a part of an open upload only: the word that a store which puts the parts together itself has for it.
    #[prost(string, tag = "13")]
    pub token: String,
}

/// Where the segments of an object of many parts are: in rows of their own, so that listings stay light.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Layout {
    /// First bytes of each row, ascending from 0.
    #[prost(uint64, repeated, tag = "1")]
    pub row_starts: Vec<u64>,
    /// Segments in all.
    #[prost(uint32, tag = "2")]
    pub count: u32,
}

/// A row of segments: `keys::LAYOUT_ROW` of them, fewer in the last.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LayoutRow {
    /// The segments.
    #[prost(message, repeated, tag = "1")]
    pub segments: Vec<Segment>,
}

/// One version of an object, or a delete marker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObjectRecord {
    /// Version stamp; every version has one, `null` versions, too.
    #[prost(fixed64, tag = "1")]
    pub stamp: u64,
    /// Replication group of the version id, seven bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub group: Bytes,
    /// Whether clients see this version as `null`.
    #[prost(bool, tag = "3")]
    pub is_null: bool,
    /// Whether this is a delete marker.
    #[prost(bool, tag = "4")]
    pub delete_marker: bool,
    /// Last modification, in milliseconds since the epoch.
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// Bytes.
    #[prost(uint64, tag = "6")]
    pub size: u64,
    /// Entity tag without quotes.
    #[prost(string, tag = "7")]
    pub etag: String,
    /// Canonical id of the owner.
    #[prost(string, tag = "8")]
    pub owner: String,
    /// Storage class; empty means `STANDARD`.
    #[prost(string, tag = "9")]
    pub storage_class: String,
    /// Additional checksum.
    #[prost(message, optional, tag = "10")]
    pub checksum: Option<ChecksumRecord>,
    /// Stored headers.
    #[prost(message, optional, tag = "11")]
    pub content: Option<ContentHeaders>,
    /// User metadata, names in lower case without `x-amz-meta-`.
    #[prost(message, repeated, tag = "12")]
    pub metadata: Vec<Pair>,
    /// Tags.
    #[prost(message, repeated, tag = "13")]
    pub tags: Vec<Pair>,
    /// Access control list; absent means the owner's full control only.
    #[prost(message, optional, tag = "14")]
    pub acl: Option<AclRecord>,
    /// The bytes, where `layout` is absent.
    #[prost(message, repeated, tag = "15")]
    pub segments: Vec<Segment>,
    /// The bytes of an object of many parts: rows under `upload_id`.
    #[prost(message, optional, tag = "16")]
    pub layout: Option<Layout>,
    /// On the newest version only: stamp of the `null` version among the older ones; 0 where there is none.
    #[prost(fixed64, tag = "17")]
    pub null_stamp: u64,
    /// Replication group of that `null` version.
    #[prost(bytes = "bytes", tag = "18")]
    pub null_group: Bytes,
    /// The upload that made this object; empty for other objects.
    #[prost(bytes = "bytes", tag = "19")]
    pub upload_id: Bytes,
    /// Location chosen for the object, shown as `dataStoreName`.
    #[prost(string, tag = "20")]
    pub location: String,
    /// `x-amz-website-redirect-location`.
    #[prost(string, tag = "21")]
    pub redirect: String,
    /// Display name of the owner when the object was written.
    #[prost(string, tag = "22")]
    pub owner_display_name: String,
    /// How the bytes are encrypted; absent where they are not.
    #[prost(message, optional, tag = "36")]
    pub encryption: Option<EncryptionRecord>,
    /// Mode of retention: 0 for none; see [`crate::storage::lock`], which alone reads and writes these five fields.
    #[prost(uint32, tag = "30")]
    pub retention_mode: u32,
    /// End of retention, in milliseconds since the epoch; 0 for none.
    #[prost(uint64, tag = "31")]
    pub retain_until_ms: u64,
    /// Legal hold: 0 never set, 1 on, 2 off.
    #[prost(uint32, tag = "32")]
    pub legal_hold: u32,
    /// Event hold: 0 never set, 1 on, 2 off.
    #[prost(uint32, tag = "33")]
    pub event_hold: u32,
    /// How long the version is retained once its event hold is released.
    #[prost(message, optional, tag = "34")]
    pub event_hold_duration: Option<PeriodRecord>,
    /// Until when an archived version can be read, in milliseconds since the epoch; 0 where it was never restored.
    #[prost(uint64, tag = "40")]
    pub restored_until_ms: u64,
    /// Stands for the version's annotations in keys, 16 bytes; empty as long as it never had one.
    #[prost(bytes = "bytes", tag = "43")]
    pub annotation_id: Bytes,
    /// Annotations of the version.
    #[prost(uint32, tag = "44")]
    pub annotation_count: u32,
    /// Bytes of those annotations.
    #[prost(uint64, tag = "45")]
    pub annotation_bytes: u64,
    /// Changes of the annotations: a copy knows by it that they stayed the same.
    #[prost(uint64, tag = "46")]
    pub annotation_changes: u64,
}

/// The fields a listing shows; decoding skips the others.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListRecord {
    /// As [`ObjectRecord::stamp`].
    #[prost(fixed64, tag = "1")]
    pub stamp: u64,
    /// As [`ObjectRecord::group`].
    #[prost(bytes = "bytes", tag = "2")]
    pub group: Bytes,
    /// As [`ObjectRecord::is_null`].
    #[prost(bool, tag = "3")]
    pub is_null: bool,
    /// As [`ObjectRecord::delete_marker`].
    #[prost(bool, tag = "4")]
    pub delete_marker: bool,
    /// As [`ObjectRecord::modified_ms`].
    #[prost(uint64, tag = "5")]
    pub modified_ms: u64,
    /// As [`ObjectRecord::size`].
    #[prost(uint64, tag = "6")]
    pub size: u64,
    /// As [`ObjectRecord::etag`].
    #[prost(string, tag = "7")]
    pub etag: String,
    /// As [`ObjectRecord::owner`].
    #[prost(string, tag = "8")]
    pub owner: String,
    /// As [`ObjectRecord::storage_class`].
    #[prost(string, tag = "9")]
    pub storage_class: String,
    /// As [`ObjectRecord::checksum`].
    #[prost(message, optional, tag = "10")]
    pub checksum: Option<ChecksumRecord>,
    /// As [`ObjectRecord::owner_display_name`].
    #[prost(string, tag = "22")]
    pub owner_display_name: String,
    /// As [`ObjectRecord::restored_until_ms`].
    #[prost(uint64, tag = "40")]
    pub restored_until_ms: u64,
}

fn group_of(bytes: &Bytes) -> [u8; 7] {
    bytes.as_ref().try_into().unwrap_or(*b"       ")
}

impl Segment {
    /// The segment with the blob that it shares with `first` named.
    #[must_use]
    pub fn named_by(self, first: Option<&Self>) -> Self {
        match first {
            Some(first) if self.shared => {
                Self { blob: first.blob.clone(), location: first.location.clone(), shared: false, ..self }
            }
            _ => self,
        }
    }

    /// Whether a blob or body is this segment's own: a part may have none, and segments may share one.
    pub fn is_stored(&self) -> bool {
        !self.body.is_empty() || !self.blob.is_empty()
    }
}

impl ListRecord {
    /// The version id.
    pub fn version_id(&self) -> VersionId {
        VersionId::new(self.stamp, group_of(&self.group))
    }

    /// As [`ObjectRecord::restored_until`].
    pub fn restored_until(&self, now: Timestamp) -> Option<Timestamp> {
        restored_until(self.restored_until_ms, now)
    }
}

/// When a copy ends that was restored; `None` where it has ended, or never was.
fn restored_until(millis: u64, now: Timestamp) -> Option<Timestamp> {
    Some(Timestamp::from_millis(millis)).filter(|until| *until > now)
}

impl ObjectRecord {
    /// When the copy ends that a restore has made readable; `None` where there is none now.
    pub fn restored_until(&self, now: Timestamp) -> Option<Timestamp> {
        restored_until(self.restored_until_ms, now)
    }

    /// The segment that names the one blob of all bytes, where there is such a blob and it has several segments.
    pub fn shared_blob(&self) -> Option<&Segment> {
        let (first, others) = self.segments.split_first()?;
        let is_whole = self.layout.is_some() || (!others.is_empty() && others.iter().all(|segment| segment.shared));
        Some(first).filter(|first| is_whole && !first.blob.is_empty())
    }

    /// The version id; clients see `null` instead where `is_null`.
    pub fn version_id(&self) -> VersionId {
        VersionId::new(self.stamp, group_of(&self.group))
    }

    /// Sets the version id.
    pub fn set_version_id(&mut self, id: VersionId) {
        self.stamp = id.stamp();
        self.group = Bytes::copy_from_slice(&id.group());
    }

    /// The id of the `null` version among the older ones, if there is one.
    pub fn null_version(&self) -> Option<VersionId> {
        (self.null_stamp != 0).then(|| VersionId::new(self.null_stamp, group_of(&self.null_group)))
    }

    /// Notes the `null` version among the older ones.
    pub fn set_null_version(&mut self, id: Option<VersionId>) {
        self.null_stamp = id.map_or(0, VersionId::stamp);
        self.null_group = id.map(|id| Bytes::copy_from_slice(&id.group())).unwrap_or_default();
    }

    /// The entity tag.
    pub fn etag(&self) -> ETag {
        ETag::new(&self.etag)
    }

    /// Last modification.
    pub fn modified(&self) -> Timestamp {
        Timestamp::from_millis(self.modified_ms)
    }

    /// Bytes that the version takes, with its annotations.
    pub fn stored_bytes(&self) -> u64 {
        self.size.saturating_add(self.annotation_bytes)
    }

    /// The owner.
    pub fn owner(&self) -> AccountId {
        AccountId::new(self.owner.as_str())
    }

    /// The access control list, the owner's full control where none was stored.
    pub fn acl(&self) -> Acl {
        self.acl.as_ref().map_or_else(|| Acl::private(&self.owner()), Acl::from)
    }

    /// Parts of a multipart object; `None` for an object written in one piece.
    pub fn part_count(&self) -> Option<u32> {
        if let Some(layout) = &self.layout {
            return Some(layout.count);
        }
        let multipart = self.segments.first().is_some_and(|segment| segment.part_number > 0);
        multipart.then(|| u32::try_from(self.segments.len()).unwrap_or(u32::MAX))
    }
}

impl ChecksumRecord {
    /// Stores a checksum. `parts` is the number of parts behind a composite value.
    pub fn new(checksum: &Checksum, kind: ChecksumType, parts: u32) -> Self {
        let algorithm = ChecksumAlgorithm::ALL.iter().position(|known| *known == checksum.algorithm);
        Self {
            algorithm: algorithm.and_then(|index| u32::try_from(index).ok()).unwrap_or_default(),
            composite: kind == ChecksumType::Composite,
            value: Bytes::copy_from_slice(&checksum.value),
            parts,
        }
    }

    /// The algorithm; `None` where a newer release stored one unknown here.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        ChecksumAlgorithm::ALL.get(usize::try_from(self.algorithm).ok()?).copied()
    }

    /// How the value was made.
    pub fn kind(&self) -> ChecksumType {
        if self.composite { ChecksumType::Composite } else { ChecksumType::FullObject }
    }

    /// The value.
    pub fn checksum(&self) -> Option<Checksum> {
        Some(Checksum { algorithm: self.algorithm()?, value: self.value.to_vec() })
    }

    /// Base64, with `-N` behind a composite value: the form of headers and XML.
    pub fn to_text(&self) -> Option<String> {
        let value = self.checksum()?.to_base64();
        Some(if self.composite { format!("{value}-{}", self.parts) } else { value })
    }
}

const PERMISSIONS: [Permission; 5] =
    [Permission::FullControl, Permission::Read, Permission::Write, Permission::ReadAcp, Permission::WriteAcp];

impl From<&Acl> for AclRecord {
    fn from(acl: &Acl) -> Self {
        let record = |grant: &Grant| GrantRecord {
            grantee: match &grant.grantee {
                Grantee::Account(account) => account.as_str().to_owned(),
                group => group.group_uri().unwrap_or_default().to_owned(),
            },
            permission: PERMISSIONS
                .iter()
                .position(|known| *known == grant.permission)
                .and_then(|index| u32::try_from(index).ok())
                .unwrap_or_default(),
        };
        Self { grants: acl.grants.iter().map(record).collect() }
    }
}

impl From<&AclRecord> for Acl {
    /// A permission that a newer release stored and this one does not know grants nothing.
    fn from(record: &AclRecord) -> Self {
        let grant = |record: &GrantRecord| {
            let grantee = Grantee::from_group_uri(&record.grantee)
                .unwrap_or_else(|| Grantee::Account(AccountId::new(record.grantee.as_str())));
            let permission = *PERMISSIONS.get(usize::try_from(record.permission).ok()?)?;
            Some(Grant { grantee, permission })
        };
        Self { grants: record.grants.iter().filter_map(grant).collect() }
    }
}
