//! `ListBuckets`, `CreateBucket`, `HeadBucket`, `DeleteBucket`, `GetBucketLocation`.

use http::{HeaderName, Method, header};

use crate::{
    auth::Action,
    location::Location,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        grants::{self, Subject},
        head::{Head, parse_number},
        operation::{Need, Operation, Pattern, Scope, Target},
        reply::{Document, Plain},
        request_body::{Digest, RequestBody},
        tags::{self, TagLimit},
        token,
        xml::{read, write::XmlWriter},
    },
    storage::{
        NewBucket, StorageError,
        records::{BucketRecord, ObjectLockRecord, Pair, Versioning},
    },
    types::{Acl, BucketName, Dialect, ObjectOwnership},
};

/// Largest page of buckets.
const MAX_BUCKETS: u64 = 10_000;
/// Largest configuration document of `CreateBucket`.
const DOCUMENT: usize = 64 << 10;
/// The region whose location constraint is spelled as none.
const DEFAULT_REGION: &str = "us-east-1";

/// Lists the caller's buckets.
#[derive(Debug)]
pub struct ListBuckets {
    prefix: String,
    after: String,
    limit: u64,
    region: Option<String>,
    paged: bool,
}

impl Operation for ListBuckets {
    const NAME: &'static str = "ListBuckets";
    const ACTION: &'static str = "serviceGet";
    const PATTERN: Pattern = Pattern::plain(Method::GET, Scope::Service);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let limit = match head.query("max-buckets") {
            None => MAX_BUCKETS,
            Some(text) => Some(parse_number("max-buckets", text)?)
                .filter(|limit| (1..=MAX_BUCKETS).contains(limit))
                .ok_or_else(|| S3Error::argument("max-buckets must be between 1 and 10000", "max-buckets", text))?,
        };
        let paged = ["max-buckets", "prefix", "continuation-token", "bucket-region"];
        Ok(Self {
            prefix: head.query("prefix").unwrap_or_default().to_owned(),
            after: match head.query("continuation-token") {
                None => String::new(),
                Some(text) => token::read(text)?,
            },
            limit,
            region: head.query("bucket-region").map(str::to_owned),
            paged: paged.iter().any(|name| head.has_query(name)),
        })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need { action: Action::ListAllMyBuckets, target: Target::Service }]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let owner = &cx.principal.account;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let other_region = self.region.as_ref().is_some_and(|region| *region != cx.settings.region);
        let page = if other_region {
            crate::storage::BucketPage::default()
        } else {
            cx.storage.list_buckets(owner, &self.prefix, &self.after, limit).await?
        };
        let mut xml = XmlWriter::document("ListAllMyBucketsResult", 256 + 160 * page.buckets.len());
        xml.open("Owner").text("ID", owner.as_str()).text("DisplayName", &cx.principal.display_name).close();
        xml.open("Buckets");
        for bucket in &page.buckets {
            xml.open("Bucket").text("Name", bucket.name.as_str());
            xml.text("CreationDate", &bucket.created().to_iso8601());
            if self.paged {
                xml.text("BucketRegion", &cx.settings.region);
                xml.text("BucketArn", &format!("arn:aws:s3:::{}", bucket.name));
            }
            xml.close();
        }
        xml.close();
        if let Some(last) = page.buckets.last().filter(|_| page.truncated) {
            xml.text("ContinuationToken", &token::write(last.name.as_str()));
        }
        if !self.prefix.is_empty() {
            xml.text("Prefix", &self.prefix);
        }
        Ok(Document::new(xml.finish()))
    }
}

/// Creates a bucket.
#[derive(Debug)]
pub struct CreateBucket {
    name: BucketName,
    ownership: String,
    object_lock: bool,
}

impl Operation for CreateBucket {
    const NAME: &'static str = "CreateBucket";
    const ACTION: &'static str = "bucketPut";
    const PATTERN: Pattern = Pattern::plain(Method::PUT, Scope::Bucket);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        let ownership = match head.header("x-amz-object-ownership") {
            None => String::new(),
            Some(known) if ObjectOwnership::parse(known).is_some() => known.to_owned(),
            Some(other) => {
                return Err(S3Error::argument(
                    "Invalid x-amz-object-ownership header",
                    "x-amz-object-ownership",
                    other,
                ));
            }
        };
        check_namespace(head)?;
        Ok(Self { name: head.bucket()?, ownership, object_lock: object_lock(head)? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need { action: Action::CreateBucket, target: Target::NewBucket(self.name.clone()) }]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let head = std::sync::Arc::clone(&cx.head);
        let document = body.optional_document(&head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let Configuration { constraint, tags } = configuration(&document, cx.head.dialect)?;
        let location = choose_location(&cx, constraint.as_deref())?;
        cx.storage.check_unclaimed(&self.name, &location).await?;
        let owner = cx.principal.account.clone();
        let mut record = BucketRecord {
            owner: owner.as_str().to_owned(),
            owner_display_name: cx.principal.display_name.to_string(),
            location_constraint: constraint.unwrap_or_default(),
            location: (*location.name).to_owned(),
            ownership: self.ownership,
            tags,
            ..BucketRecord::default()
        };
        if self.object_lock {
            record.set_state(Versioning::Enabled);
            record.object_lock = Some(ObjectLockRecord::default());
        }
        let acl = grants::from_headers(&head, cx.directory.as_ref(), Subject::Bucket { owner: &owner })?;
        if let Some(acl) = &acl {
            let enforced = record.access_limits().ownership == ObjectOwnership::BucketOwnerEnforced;
            if enforced && !acl.is_private(&owner) {
                return Err(S3Code::InvalidBucketAclWithObjectOwnership.into());
            }
            record.set_acl(acl);
        }
        let created = cx.storage.create_bucket(NewBucket { name: self.name.clone(), record }).await;
        let path = format!("/{}", self.name);
        match created {
            Ok(bucket) => cx.storage.claim(&bucket, &location).await?,
            Err(StorageError::BucketAlreadyOwnedByYou) if location.legacy_aws_behavior => {
                let existing = cx.bucket(&self.name).await?;
                let table = cx.storage.locations();
                let legacy = table.get(&existing.record.location).is_some_and(|known| known.legacy_aws_behavior);
                if !legacy {
                    return Err(StorageError::BucketAlreadyOwnedByYou.into());
                }
                // us-east-1 would put the new list in force. A creation that opens or closes a bucket which is in use
                // is hardly ever meant: only one that changes nothing succeeds (s3-tests, bucket_recreate).
                let same_lock = self.object_lock == existing.record.object_lock.is_some();
                if existing.acl != acl.unwrap_or_else(|| Acl::private(&owner)) || !same_lock {
                    return Err(S3Code::BucketAlreadyExists.into());
                }
            }
            Err(e) => return Err(e.into()),
        }
        Ok(Plain::ok().with(header::LOCATION, &path))
    }
}

/// Whether a bucket begins with object lock, and with versioning, which that needs.
fn object_lock(head: &Head) -> S3Result<bool> {
    let name = "x-amz-bucket-object-lock-enabled";
    match head.header(name) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => Err(S3Error::argument(format!("Invalid {name} header"), name, text)),
    }
}

/// Names of the account's own name space end in `-an`, which is reserved; here all accounts share one name space.
fn check_namespace(head: &Head) -> S3Result<()> {
    const HEADER: &str = "x-amz-bucket-namespace";
    match head.header(HEADER) {
        None | Some("global") => Ok(()),
        Some(known @ "account-regional") => {
            Err(S3Error::from(S3Code::NotImplemented).with("Header", HEADER).with("Value", known))
        }
        Some(other) => Err(S3Error::argument("Invalid bucket namespace", HEADER, other)),
    }
}

/// What the document of a creation says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::s3) struct Configuration {
    constraint: Option<String>,
    tags: Vec<Pair>,
}

pub(in crate::s3) fn configuration(document: &[u8], dialect: Dialect) -> S3Result<Configuration> {
    if document.is_empty() {
        return Ok(Configuration::default());
    }
    let root = read::read(document)?;
    if root.name() != "CreateBucketConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    for later in ["Location", "Bucket"] {
        if root.child(later)?.is_some() {
            return Err(S3Error::from(S3Code::NotImplemented).with("Element", later));
        }
    }
    let tags = match root.child("Tags")? {
        None => Vec::new(),
        Some(list) => tags::parse_list(list, TagLimit::bucket(dialect), "Bucket")?,
    };
    let constraint = root.optional_text("LocationConstraint")?.map(str::trim).filter(|text| !text.is_empty());
    Ok(Configuration { constraint: constraint.map(str::to_owned), tags })
}

/// The location of a new bucket: the one it names, else the endpoint's, else the default.
fn choose_location(cx: &Context, constraint: Option<&str>) -> S3Result<std::sync::Arc<Location>> {
    let table = cx.storage.locations();
    let endpoint = cx.settings.endpoints.get(&cx.head.host).map(String::as_str);
    let said = constraint.or(endpoint).unwrap_or(DEFAULT_REGION);
    // `name:ingest` is how the original is told to take over what is at the location already.
    let (name, ingests) = said.split_once(':').map_or((said, false), |(name, rest)| (name, !rest.is_empty()));
    let location = table.get(name).cloned().ok_or_else(|| {
        S3Error::new(
            S3Code::InvalidLocationConstraint,
            format!(
                "value of the location you are attempting to set - {name} - is not listed in the locationConstraint config"
            ),
        )
    })?;
    if location.is_cold {
        return Err(S3Code::InvalidLocationConstraint.into());
    }
    if ingests {
        let text = "Buckets that ingest what is at their location are not implemented.";
        return Err(S3Error::new(S3Code::NotImplemented, text));
    }
    Ok(location)
}

/// Says whether a bucket is there and may be used.
#[derive(Debug)]
pub struct HeadBucket {
    name: BucketName,
}

impl Operation for HeadBucket {
    const NAME: &'static str = "HeadBucket";
    const ACTION: &'static str = "bucketHead";
    const PATTERN: Pattern = Pattern::plain(Method::HEAD, Scope::Bucket);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::ListBucket)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        cx.bucket(&self.name).await?;
        Ok(Plain::ok().with(HeaderName::from_static("x-amz-access-point-alias"), "false"))
    }
}

/// Deletes an empty bucket.
#[derive(Debug)]
pub struct DeleteBucket {
    name: BucketName,
}

impl Operation for DeleteBucket {
    const NAME: &'static str = "DeleteBucket";
    const ACTION: &'static str = "bucketDelete";
    const PATTERN: Pattern = Pattern::plain(Method::DELETE, Scope::Bucket);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        // What cannot exist is not there, as in the original.
        let name =
            head.bucket().map_err(|_| S3Error::from(S3Code::NoSuchBucket).with("BucketName", head.bucket.as_str()))?;
        Ok(Self { name })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::DeleteBucket)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        cx.storage.delete_bucket(&self.name).await?;
        Ok(Plain::no_content())
    }
}

/// Tells where a bucket's objects go.
#[derive(Debug)]
pub struct GetBucketLocation {
    name: BucketName,
}

impl Operation for GetBucketLocation {
    const NAME: &'static str = "GetBucketLocation";
    const ACTION: &'static str = "bucketGetLocation";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["location"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, Action::GetBucketLocation)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let constraint = Some(bucket.record.location_constraint.as_str()).filter(|text| *text != DEFAULT_REGION);
        let mut xml = XmlWriter::document("LocationConstraint", 256);
        xml.content(constraint.unwrap_or_default());
        Ok(Document::new(xml.finish()))
    }
}
