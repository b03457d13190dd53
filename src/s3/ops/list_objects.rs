//! `ListObjects`, `ListObjectsV2`, `ListObjectVersions`.

use http::Method;

use crate::{
    auth::Action,
    s3::{
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        read_through,
        reply::Document,
        request_body::RequestBody,
        token,
        xml::write::{XmlWriter, url_encode},
    },
    storage::{
        Bucket,
        listing::{Entry, ListPage, ListQuery, ListStart, Page},
        records::ListRecord,
    },
    types::{BucketName, VersionSelector},
};

/// Most entries of a page.
const MAX_KEYS: u64 = 1000;

/// What all listings ask for.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The bucket.
    pub name: BucketName,
    /// `prefix`.
    pub prefix: String,
    /// `delimiter`; empty for none.
    pub delimiter: String,
    /// Entries of a page, 1,000 at most.
    pub limit: u64,
    /// `encoding-type=url`.
    pub url: bool,
    /// Whether restored copies are shown (`x-amz-optional-object-attributes: RestoreStatus`).
    pub restores: bool,
}

impl Listing {
    /// Reads the common parameters; `limit` names the one that bounds the page.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn read(head: &Head, limit: &'static str) -> S3Result<Self> {
        let url = match head.query("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(other) => {
                return Err(S3Error::argument("Invalid Encoding Method specified in Request", "encoding-type", other));
            }
        };
        Ok(Self {
            name: head.bucket()?,
            prefix: head.query("prefix").unwrap_or_default().to_owned(),
            delimiter: head.query("delimiter").unwrap_or_default().to_owned(),
            limit: head.number(limit)?.unwrap_or(MAX_KEYS).min(MAX_KEYS),
            url,
            restores: optional_attributes(head)?,
        })
    }

    /// The engine's question.
    pub fn query(&self, start: ListStart) -> ListQuery {
        ListQuery {
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            start,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
        }
    }

    /// Writes a key, encoded if that was asked for.
    pub fn text(&self, xml: &mut XmlWriter, name: &'static str, text: &str) {
        if self.url {
            xml.text(name, &url_encode(text));
        } else {
            xml.text(name, text);
        }
    }

    /// Writes the delimiter, where there is one, and the encoding.
    pub fn tail(&self, xml: &mut XmlWriter) {
        if !self.delimiter.is_empty() {
            self.text(xml, "Delimiter", &self.delimiter);
        }
        if self.url {
            xml.text("EncodingType", "url");
        }
    }

    /// Writes the common prefixes.
    pub fn prefixes<T>(&self, xml: &mut XmlWriter, page: &Page<T>) {
        for prefix in page.prefixes() {
            xml.open("CommonPrefixes");
            self.text(xml, "Prefix", prefix);
            xml.close();
        }
    }
}

/// Whether a listing asks for `RestoreStatus`, the one optional attribute there is.
fn optional_attributes(head: &Head) -> S3Result<bool> {
    const NAME: &str = "x-amz-optional-object-attributes";
    let Some(text) = head.header(NAME) else { return Ok(false) };
    let mut names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    if names.clone().any(|name| name != "RestoreStatus") {
        return Err(S3Error::argument("Invalid attribute name specified.", NAME, text));
    }
    Ok(names.next().is_some())
}

/// The text of the last entry, from which the next page goes on.
fn last_text<T>(page: &Page<T>, key: impl Fn(&T) -> &str) -> Option<&str> {
    page.next.as_ref()?;
    page.entries.last().map(|entry| match entry {
        Entry::Item(item) => key(item),
        Entry::Prefix(prefix) => prefix.as_str(),
    })
}

fn owner(xml: &mut XmlWriter, cx: &Context, bucket: &Bucket, record: &ListRecord) {
    let id = if record.owner.is_empty() { bucket.record.owner.as_str() } else { record.owner.as_str() };
    let known = cx.directory.display_name(&crate::types::AccountId::new(id));
    xml.open("Owner")
        .text("ID", id)
        .text("DisplayName", known.as_deref().unwrap_or(&record.owner_display_name))
        .close();
}

/// Writes what a listing shows of an object behind its key.
fn object(xml: &mut XmlWriter, cx: &Context, listing: &Listing, record: &ListRecord) {
    xml.text("LastModified", &crate::types::Timestamp::from_millis(record.modified_ms).to_iso8601());
    xml.quoted("ETag", &record.etag);
    if let Some((checksum, algorithm)) = record.checksum.as_ref().and_then(|sum| Some((sum, sum.algorithm()?))) {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", if checksum.composite { "COMPOSITE" } else { "FULL_OBJECT" });
    }
    xml.value("Size", record.size);
    xml.text("StorageClass", if record.storage_class.is_empty() { "STANDARD" } else { &record.storage_class });
    if let Some(until) = record.restored_until(cx.now).filter(|_| listing.restores) {
        xml.open("RestoreStatus").text("IsRestoreInProgress", "false");
        xml.text("RestoreExpiryDate", &until.to_iso8601()).close();
    }
}

/// Lists objects, version 1.
#[derive(Debug)]
pub struct ListObjects {
    listing: Listing,
    marker: String,
}

impl Operation for ListObjects {
    const NAME: &'static str = "ListObjects";
    const ACTION: &'static str = "bucketGet";
    const PATTERN: Pattern = Pattern::plain(Method::GET, Scope::Bucket);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self {
            listing: Listing::read(head, "max-keys")?,
            marker: head.query("marker").unwrap_or_default().to_owned(),
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.listing.name, Action::ListBucket)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.listing.name).await?;
        let page = read_through::listing::list(&cx, &bucket, &self.query()).await?;
        Ok(self.render(&cx, &bucket, &page))
    }
}

impl ListObjects {
    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.listing.name
    }

    /// The engine's question.
    pub fn query(&self) -> ListQuery {
        self.listing.query(match self.marker.as_str() {
            "" => ListStart::Beginning,
            marker => ListStart::AfterKey(marker.to_owned()),
        })
    }

    /// The answer.
    pub fn render(&self, cx: &Context, bucket: &Bucket, page: &ListPage) -> Document {
        let listing = &self.listing;
        let mut xml = XmlWriter::document("ListBucketResult", 512 + 480 * page.entries.len());
        xml.text("Name", listing.name.as_str());
        // botocore decodes everything here but the prefix: it is encoded only where it would not read back as it is,
        // or where no parser would read it at all. A tab or an end of line is read where a reference stands for it.
        let is_encoded =
            |char: char| matches!(char, '%' | '+') || char.is_control() && !matches!(char, '\t' | '\n' | '\r');
        if listing.prefix.contains(is_encoded) {
            listing.text(&mut xml, "Prefix", &listing.prefix);
        } else {
            xml.text("Prefix", &listing.prefix);
        }
        listing.text(&mut xml, "Marker", &self.marker);
        if let Some(next) = self.next_marker(page) {
            listing.text(&mut xml, "NextMarker", next);
        }
        xml.value("MaxKeys", listing.limit);
        xml.text("IsTruncated", if page.is_truncated() { "true" } else { "false" });
        listing.tail(&mut xml);
        for entry in page.items() {
            xml.open("Contents");
            listing.text(&mut xml, "Key", &entry.key);
            object(&mut xml, cx, listing, &entry.record);
            owner(&mut xml, cx, bucket, &entry.record);
            xml.close();
        }
        listing.prefixes(&mut xml, page);
        Document::new(xml.finish())
    }

    /// Where the next page starts, where the last entry does not say it: with a delimiter, and in a search whose page
    /// ends behind objects that nobody asked for.
    fn next_marker<'a>(&self, page: &'a ListPage) -> Option<&'a str> {
        let next = match page.next.as_ref()? {
            ListStart::Beginning => return None,
            ListStart::AfterKey(text)
            | ListStart::AfterPrefix(text)
            | ListStart::AfterVersion(text, _)
            | ListStart::AfterUpload(text, _) => text.as_str(),
        };
        let shown = last_text(page, |entry| &entry.key) == Some(next);
        (!self.listing.delimiter.is_empty() || !shown).then_some(next)
    }
}

/// Lists objects, version 2.
#[derive(Debug)]
pub struct ListObjectsV2 {
    listing: Listing,
    token: Option<String>,
    start_after: Option<String>,
    fetch_owner: bool,
}

/// What a token begins with: whether it goes on behind a key or behind a whole prefix.
const AFTER_KEY: &str = "k";
const AFTER_PREFIX: &str = "p";

impl Operation for ListObjectsV2 {
    const NAME: &'static str = "ListObjectsV2";
    const ACTION: &'static str = "bucketGetV2";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["list-type=2"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self {
            listing: Listing::read(head, "max-keys")?,
            token: head.query("continuation-token").map(str::to_owned),
            start_after: head.query("start-after").map(str::to_owned),
            fetch_owner: head.query("fetch-owner").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.listing.name, Action::ListBucket)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.listing.name).await?;
        let page = read_through::listing::list(&cx, &bucket, &self.query()?).await?;
        Ok(self.render(&cx, &bucket, &page))
    }
}

impl ListObjectsV2 {
    /// The bucket.
    pub fn bucket(&self) -> &BucketName {
        &self.listing.name
    }

    /// The engine's question.
    ///
    /// # Errors
    /// `InvalidArgument` for a token that is none.
    pub fn query(&self) -> S3Result<ListQuery> {
        Ok(self.listing.query(self.start()?))
    }

    /// The answer.
    pub fn render(&self, cx: &Context, bucket: &Bucket, page: &ListPage) -> Document {
        let listing = &self.listing;
        let mut xml = XmlWriter::document("ListBucketResult", 512 + 320 * page.entries.len());
        xml.text("Name", listing.name.as_str());
        listing.text(&mut xml, "Prefix", &listing.prefix);
        xml.optional("ContinuationToken", self.token.as_deref());
        if let Some(next) = page.next.as_ref().and_then(next_token) {
            xml.text("NextContinuationToken", &next);
        }
        if let Some(after) = &self.start_after {
            listing.text(&mut xml, "StartAfter", after);
        }
        xml.value("KeyCount", page.entries.len());
        xml.value("MaxKeys", listing.limit);
        xml.text("IsTruncated", if page.is_truncated() { "true" } else { "false" });
        listing.tail(&mut xml);
        for entry in page.items() {
            xml.open("Contents");
            listing.text(&mut xml, "Key", &entry.key);
            object(&mut xml, cx, listing, &entry.record);
            if self.fetch_owner {
                owner(&mut xml, cx, bucket, &entry.record);
            }
            xml.close();
        }
        listing.prefixes(&mut xml, page);
        Document::new(xml.finish())
    }

    pub(in crate::s3) fn start(&self) -> S3Result<ListStart> {
        if let Some(text) = self.token.as_ref().filter(|text| !text.is_empty()) {
            let place = token::read(text)?;
            if let Some(prefix) = place.strip_prefix(AFTER_PREFIX) {
                return Ok(ListStart::AfterPrefix(prefix.to_owned()));
            }
            let key = place.strip_prefix(AFTER_KEY).ok_or_else(|| {
                S3Error::argument("The continuation token provided is incorrect", "continuation-token", text)
            })?;
            return Ok(ListStart::AfterKey(key.to_owned()));
        }
        Ok(match self.start_after.as_deref() {
            None | Some("") => ListStart::Beginning,
            Some(key) => ListStart::AfterKey(key.to_owned()),
        })
    }
}

pub(in crate::s3) fn next_token(next: &ListStart) -> Option<String> {
    match next {
        ListStart::Beginning => None,
        ListStart::AfterPrefix(prefix) => Some(token::write(&format!("{AFTER_PREFIX}{prefix}"))),
        ListStart::AfterKey(key) | ListStart::AfterVersion(key, _) | ListStart::AfterUpload(key, _) => {
            Some(token::write(&format!("{AFTER_KEY}{key}")))
        }
    }
}

/// Lists versions and delete markers.
#[derive(Debug)]
pub struct ListObjectVersions {
    listing: Listing,
    key_marker: String,
    version_marker: Option<VersionSelector>,
}

impl Operation for ListObjectVersions {
    const NAME: &'static str = "ListObjectVersions";
    const ACTION: &'static str = "bucketGetVersions";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["versions"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let key_marker = head.query("key-marker").unwrap_or_default().to_owned();
        let version_marker = match head.query("version-id-marker") {
            None | Some("") => None,
            Some(text) if key_marker.is_empty() => {
                return Err(S3Error::argument(
                    "A version-id marker cannot be specified without a key marker.",
                    "version-id-marker",
                    text,
                ));
            }
            Some(text) => Some(
                VersionSelector::parse(text)
                    .ok_or_else(|| S3Error::argument("Invalid version id specified", "version-id-marker", text))?,
            ),
        };
        Ok(Self { listing: Listing::read(head, "max-keys")?, key_marker, version_marker })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.listing.name, Action::ListBucketVersions)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.listing.name).await?;
        let start = match (self.key_marker.as_str(), self.version_marker) {
            ("", _) => ListStart::Beginning,
            (key, None) => ListStart::AfterKey(key.to_owned()),
            (key, Some(version)) => ListStart::AfterVersion(key.to_owned(), version),
        };
        let page = cx.storage.list_versions(&bucket, &self.listing.query(start)).await?;
        let listing = &self.listing;
        let encoding = cx.settings.version_ids;
        let spell = |record: &ListRecord| {
            if record.is_null { "null".to_owned() } else { record.version_id().encode(encoding) }
        };
        let mut xml = XmlWriter::document("ListVersionsResult", 512 + 480 * page.entries.len());
        xml.text("Name", listing.name.as_str());
        listing.text(&mut xml, "Prefix", &listing.prefix);
        listing.text(&mut xml, "KeyMarker", &self.key_marker);
        xml.text("VersionIdMarker", cx.head.query("version-id-marker").unwrap_or_default());
        if let Some(next) = last_text(&page, |entry| &entry.key) {
            listing.text(&mut xml, "NextKeyMarker", next);
            if let Some(Entry::Item(last)) = page.entries.last() {
                xml.text("NextVersionIdMarker", &spell(&last.record));
            }
        }
        xml.value("MaxKeys", listing.limit);
        xml.text("IsTruncated", if page.is_truncated() { "true" } else { "false" });
        listing.tail(&mut xml);
        for entry in page.items() {
            xml.open(if entry.record.delete_marker { "DeleteMarker" } else { "Version" });
            listing.text(&mut xml, "Key", &entry.key);
            xml.text("VersionId", &spell(&entry.record));
            xml.text("IsLatest", if entry.is_latest { "true" } else { "false" });
            if entry.record.delete_marker {
                let modified = crate::types::Timestamp::from_millis(entry.record.modified_ms);
                xml.text("LastModified", &modified.to_iso8601());
            } else {
                object(&mut xml, &cx, listing, &entry.record);
            }
            owner(&mut xml, &cx, &bucket, &entry.record);
            xml.close();
        }
        listing.prefixes(&mut xml, &page);
        Ok(Document::new(xml.finish()))
    }
}
