//! What a bucket's policy may ask of a request: the one place that gives condition keys their values.
//!
//! Each value is the server's own knowledge (the socket, the clock, the verified caller, what is stored), or the very
//! header or parameter that the operation reads, as it reads it.

use std::time::Duration;

use http::Method;

use super::{
    conditional::found,
    context::Context,
    grants,
    operation::{Deed, ObjectRef},
    ops::copy_object::CopySource,
    tags,
};
use crate::{
    auth::{Action, ConditionKey, Facts, Scheme},
    storage::{
        Bucket, Found,
        lock::Lock,
        records::{ObjectRecord, Pair},
    },
    types::{Timestamp, VersionSelector},
};

/// Most bytes of a header that only describes the client.
const MAX_DESCRIPTION: usize = 2048;
const RETAIN_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const DAY: Duration = Duration::from_hours(24);

/// An action of a request, and what it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) action: Action,
    /// The object, for actions on objects.
    pub(super) object: Option<&'a ObjectRef>,
    /// The object that is there.
    pub(super) record: Option<&'a ObjectRecord>,
    /// What is listed, where the request is no listing: the key that is missing.
    pub(super) prefix: Option<&'a str>,
    /// Whether the request adds to an upload that the caller began.
    pub(super) continues_upload: bool,
}

impl<'a> Asked<'a> {
    /// An action on a bucket.
    pub(super) const fn of_bucket(action: Action) -> Self {
        Self { action, object: None, record: None, prefix: None, continues_upload: false }
    }

    /// An action on an object.
    pub(super) const fn of_object(action: Action, object: &'a ObjectRef) -> Self {
        Self { object: Some(object), ..Self::of_bucket(action) }
    }
}

/// The facts of one question.
#[derive(Debug)]
pub(super) struct RequestFacts<'a> {
    pub(super) cx: &'a Context,
    pub(super) bucket: &'a Bucket,
    pub(super) asked: Asked<'a>,
}

impl Facts for RequestFacts<'_> {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        match key {
            ConditionKey::RequestObjectTagKeys => self.request_tags().into_iter().map(|tag| tag.name).collect(),
            _ => self.caller(key).or_else(|| self.request(key)).or_else(|| self.object(key)).into_iter().collect(),
        }
    }

    fn settled(&self, key: &ConditionKey) -> bool {
        self.asked.continues_upload && key.is_said_at_initiation()
    }
}

impl RequestFacts<'_> {
    /// Who asks, from where and when.
    fn caller(&self, key: &ConditionKey) -> Option<String> {
        let (principal, transport) = (&self.cx.principal, &self.cx.transport);
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match key {
            ConditionKey::SourceIp => Some(transport.source_ip.to_string()),
            ConditionKey::SecureTransport => Some(transport.secure.to_string()),
            ConditionKey::TlsVersion => transport.tls_version.map(str::to_owned),
            ConditionKey::PrincipalArn => named(&principal.arn),
            ConditionKey::PrincipalAccount => named(principal.account_number()?),
            ConditionKey::PrincipalType if principal.is_anonymous() => named("Anonymous"),
            ConditionKey::PrincipalType => named(if principal.user.is_some() { "User" } else { "Account" }),
            ConditionKey::UserId if principal.is_anonymous() => named("anonymous"),
            ConditionKey::UserId => principal.user.as_deref().or_else(|| principal.account_number()).and_then(named),
            ConditionKey::Username => principal.user.as_deref().and_then(named),
            ConditionKey::CurrentTime => Some(self.cx.now.to_iso8601()),
            ConditionKey::EpochTime => Some(self.cx.now.as_secs().to_string()),
            ConditionKey::RequestedRegion => named(&self.cx.settings.region),
            ConditionKey::ByService(_) => named("false"),
            ConditionKey::SignatureVersion => match transport.scheme {
                Scheme::Anonymous => None,
                Scheme::HeaderV4 | Scheme::QueryV4 => named("AWS4-HMAC-SHA256"),
                Scheme::HeaderV2 | Scheme::QueryV2 => named("AWS"),
            },
            ConditionKey::AuthType => match transport.scheme {
                Scheme::Anonymous => None,
                _ if transport.form => named("POST"),
                Scheme::HeaderV4 | Scheme::HeaderV2 => named("REST-HEADER"),
                Scheme::QueryV4 | Scheme::QueryV2 => named("REST-QUERY-STRING"),
            },
            ConditionKey::SignatureAge => self.signature_age(),
            _ => None,
        }
    }

    /// What the request says.
    fn request(&self, key: &ConditionKey) -> Option<String> {
        let head = &self.cx.head;
        match key {
            ConditionKey::UserAgent => self.description("user-agent"),
            ConditionKey::Referer => self.description("referer"),
            ConditionKey::Prefix if self.asked.prefix.is_some() => self.asked.prefix.map(str::to_owned),
            ConditionKey::Prefix => head.query("prefix").filter(|_| self.is_listing()).map(str::to_owned),
            ConditionKey::Delimiter => head.query("delimiter").filter(|_| self.is_listing()).map(str::to_owned),
            ConditionKey::MaxKeys => head.query("max-keys").filter(|_| self.is_listing()).map(str::to_owned),
            ConditionKey::CopySource => self.copy_source(),
            ConditionKey::RequestObjectTag(name) => {
                self.request_tags().into_iter().find(|tag| tag.name == *name).map(|tag| tag.value)
            }
            ConditionKey::RemainingRetentionDays => {
                let until = match self.lock_in_body() {
                    Some(lock) => lock.until?,
                    None => Timestamp::parse_iso8601(head.header(RETAIN_UNTIL)?)?,
                };
                let left = until.as_millis().saturating_sub(self.cx.now.as_millis());
                Some(u128::from(left).div_ceil(DAY.as_millis()).to_string())
            }
            ConditionKey::ObjectCreationOperation if self.asked.action == Action::PutObject => {
                Some((self.cx.deed != Deed::Prepares).to_string())
            }
            ConditionKey::Header(name @ "x-amz-content-sha256") => {
                // A presigned URL without it leaves the payload unsigned.
                let unsigned = || (self.cx.transport.scheme == Scheme::QueryV4).then(|| "UNSIGNED-PAYLOAD".to_owned());
                head.header(name).map(str::to_owned).or_else(unsigned)
            }
            ConditionKey::Header(name) if name.starts_with("x-amz-grant-") || *name == "x-amz-acl" => {
                grants::value(head, name)
            }
            // Here a header of that name would say nothing of what the request does.
            ConditionKey::Header(name) if key.is_of_lock() && self.lock_in_body().is_some() => {
                let lock = self.lock_in_body()?;
                match *name {
                    "x-amz-object-lock-mode" => lock.mode.map(|mode| mode.name().to_owned()),
                    RETAIN_UNTIL => lock.until.map(Timestamp::to_iso8601),
                    "x-amz-object-lock-legal-hold" => lock.legal_hold.name().map(str::to_owned),
                    _ => None,
                }
            }
            ConditionKey::Header(name @ ("if-match" | "if-none-match")) => {
                head.raw_header(name).filter(|text| self.keeps(name, text))
            }
            ConditionKey::Header(name) => head.header(name).map(str::to_owned),
            _ => None,
        }
    }

    /// Whether a write keeps the condition as the policies mean it that ask for one. An `If-None-Match` must say that
    /// nothing is overwritten, which tags do not; and a migration's own condition goes before both.
    fn keeps(&self, name: &str, text: &str) -> bool {
        let head = &self.cx.head;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let other = matches!(found(head), Ok(Some(Found::Newest(_))) | Err(_));
        reads || (!other && (name == "if-match" || text == "*"))
    }

    /// What is stored.
    fn object(&self, key: &ConditionKey) -> Option<String> {
        let of = |tags: &[Pair], name: &str| tags.iter().find(|tag| tag.name == name).map(|tag| tag.value.clone());
        match key {
            ConditionKey::ExistingObjectTag(name) => of(&self.asked.record?.tags, name),
            ConditionKey::BucketTag(name) => of(&self.bucket.record.tags, name),
            ConditionKey::ResourceAccount => {
                self.cx.account_number(&self.bucket.owner).map(|number| number.to_string())
            }
            ConditionKey::VersionId => match self.asked.object?.version? {
                VersionSelector::Null => Some("null".to_owned()),
                VersionSelector::Id(id) => Some(id.encode(self.cx.settings.version_ids)),
            },
            _ => None,
        }
    }

    fn is_listing(&self) -> bool {
        matches!(
            self.asked.action,
            Action::ListBucket
                | Action::ListBucketVersions
                | Action::ListBucketMultipartUploads
                | Action::MetadataSearch
        )
    }

    /// A header that describes the client; all of it that any sane one has.
    fn description(&self, name: &str) -> Option<String> {
        let text = self.cx.head.raw_header(name)?;
        let end = text.floor_char_boundary(MAX_DESCRIPTION);
        text.get(..end).map(str::to_owned)
    }

    /// The lock that the request's body sets, for operations whose body does that: empty before it was read.
    fn lock_in_body(&self) -> Option<Lock> {
        let is_there = self.cx.deed == Deed::SetsLock;
        is_there.then(|| self.cx.request_lock.unwrap_or_default())
    }

    /// `bucket/key`, however the header spells it.
    fn copy_source(&self) -> Option<String> {
        // Elsewhere nobody reads it.
        self.cx.head.header("x-amz-copy-source").filter(|_| self.cx.head.method == Method::PUT)?;
        let source = CopySource::read(&self.cx.head).ok()?;
        Some(format!("{}/{}", source.object.bucket, source.object.key))
    }

    /// Milliseconds since the request was signed; only version 4 says.
    fn signature_age(&self) -> Option<String> {
        if !matches!(self.cx.transport.scheme, Scheme::HeaderV4 | Scheme::QueryV4) {
            return None;
        }
        let head = &self.cx.head;
        let basic = head.header("x-amz-date").and_then(Timestamp::parse_basic);
        let signed = basic.or_else(|| head.header("date").and_then(Timestamp::parse_http_date))?;
        Some(self.cx.now.as_millis().saturating_sub(signed.as_millis()).to_string())
    }

    /// Tags that the request sets.
    fn request_tags(&self) -> Vec<Pair> {
        let sets_tags =
            matches!(self.asked.action, Action::PutObject | Action::PutObjectTagging | Action::PutObjectVersionTagging);
        match &self.cx.request_tags {
            _ if !sets_tags => Vec::new(),
            Some(tags) => tags.to_vec(),
            None if self.cx.copies_tags() => Vec::new(),
            None => {
                let text = self.cx.head.header("x-amz-tagging").unwrap_or_default();
                tags::parse_header(text, self.cx.object_tags()).unwrap_or_default()
            }
        }
    }
}
