//! Configurations with ids, of which a bucket may have a thousand each: analytics, intelligent tiering, inventory,
//! metrics. Four kinds, and for each of them get, put, list and delete.
//!
//! They are checked and kept. This release writes no reports and moves nothing by them.

mod kinds;

use std::marker::PhantomData;

use http::Method;

use crate::s3::{
    codes::S3Code,
    context::Context,
    error::{S3Error, S3Result},
    head::Head,
    operation::{Need, Operation, Pattern, Scope},
    reply::{Document, Plain},
    request_body::{Digest, RequestBody},
    shape::{self, Shape},
    token,
    xml::{XmlWriter, read},
};
use crate::{
    auth::Action,
    storage::{
        SettingKind,
        records::{SettingNode, SettingRecord},
    },
    types::BucketName,
};

pub use kinds::{Analytics, Inventory, Metrics, Tiering};

/// Largest document: tags and prefixes.
const DOCUMENT: usize = 64 << 10;
/// Most configurations of a kind in a bucket (S3 reference).
const MOST: u32 = 1000;
/// Configurations of a page (S3 reference).
const PAGE: usize = 100;
/// Most characters of an id.
const MAX_ID: usize = 64;

/// A kind of configuration.
pub trait Kind: Sized + Send + Sync + 'static {
    /// The names of its four operations: get, put, list, delete.
    const NAMES: [&'static str; 4];
    /// Their names in metrics.
    const ACTIONS: [&'static str; 4];
    /// Query parameters that address one, and all.
    const QUERY: (&'static [&'static str], &'static [&'static str]);
    /// Permissions to read and to change.
    const NEEDS: (Action, Action);
    /// Where they are kept.
    const STORED: SettingKind;
    /// The root element of one, and of a list.
    const ROOTS: (&'static str, &'static str);

    /// What stands in one.
    const SHAPES: &'static [Shape];

    /// The rules beyond the shape.
    fn check(document: &[SettingNode]) -> S3Result<()>;
}

fn id(head: &Head) -> S3Result<String> {
    let id = head.query("id").unwrap_or_default();
    if is_id(id) { Ok(id.to_owned()) } else { Err(S3Error::argument("The configuration id is invalid", "id", id)) }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn missing(id: &str) -> S3Error {
    S3Error::from(S3Code::NoSuchConfiguration).with("ConfigurationId", id)
}

/// Reads a document: its shape, its rules, and that it has the id of the request.
pub(in crate::s3) fn parse<K: Kind>(document: &[u8], id: &str) -> S3Result<SettingRecord> {
    let root = read::read(document)?;
    if root.name() != K::ROOTS.0 {
        return Err(S3Code::MalformedXML.into());
    }
    let content = shape::read(&root, K::SHAPES)?;
    let written = shape::child(&content, "Id").map(|node| node.text.as_str()).unwrap_or_default();
    if !is_id(written) {
        return Err(S3Error::argument("The configuration id is invalid", "Id", written));
    }
    if written != id {
        return Err(S3Error::argument("The id of the request and of the document differ", "Id", written));
    }
    K::check(&content)?;
    Ok(SettingRecord { content })
}

/// Returns one configuration.
#[derive(Debug)]
pub struct GetConfiguration<K> {
    name: BucketName,
    id: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Operation for GetConfiguration<K> {
    const NAME: &'static str = {
        let [name, _, _, _] = K::NAMES;
        name
    };
    const ACTION: &'static str = {
        let [action, _, _, _] = K::ACTIONS;
        action
    };
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, K::QUERY.0);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, id: id(head)?, kind: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, K::NEEDS.0)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let record = cx.storage.setting(&bucket, K::STORED, &self.id).await?.ok_or_else(|| missing(&self.id))?;
        let mut xml = XmlWriter::document(K::ROOTS.0, 1024);
        shape::write(&mut xml, &record.content, K::SHAPES);
        Ok(Document::new(xml.finish()))
    }
}

/// Sets or replaces one configuration.
#[derive(Debug)]
pub struct PutConfiguration<K> {
    name: BucketName,
    id: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Operation for PutConfiguration<K> {
    const NAME: &'static str = {
        let [_, name, _, _] = K::NAMES;
        name
    };
    const ACTION: &'static str = {
        let [_, action, _, _] = K::ACTIONS;
        action
    };
    const PATTERN: Pattern = Pattern::new(Method::PUT, Scope::Bucket, K::QUERY.1);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, id: id(head)?, kind: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, K::NEEDS.1)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let record = parse::<K>(&document, &self.id)?;
        let bucket = cx.bucket(&self.name).await?;
        cx.storage.put_setting(&bucket, (K::STORED, &self.id), &record, MOST).await?;
        Ok(Plain::ok())
    }
}

/// Lists configurations by id.
#[derive(Debug)]
pub struct ListConfigurations<K> {
    name: BucketName,
    after: Option<String>,
    kind: PhantomData<K>,
}

impl<K: Kind> Operation for ListConfigurations<K> {
    const NAME: &'static str = {
        let [_, _, name, _] = K::NAMES;
        name
    };
    const ACTION: &'static str = {
        let [_, _, action, _] = K::ACTIONS;
        action
    };
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, K::QUERY.1);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        let after = head.query("continuation-token").map(token::read).transpose()?;
        Ok(Self { name: head.bucket()?, after, kind: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, K::NEEDS.0)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let bucket = cx.bucket(&self.name).await?;
        let page = cx.storage.settings(&bucket, K::STORED, self.after.as_deref(), PAGE).await?;
        let mut xml = XmlWriter::document(K::ROOTS.1, 512 + 512 * page.settings.len());
        xml.optional("ContinuationToken", cx.head.query("continuation-token"));
        for (_, record) in &page.settings {
            xml.open(K::ROOTS.0);
            shape::write(&mut xml, &record.content, K::SHAPES);
            xml.close();
        }
        xml.text("IsTruncated", if page.truncated { "true" } else { "false" });
        if let Some((id, _)) = page.settings.last().filter(|_| page.truncated) {
            xml.text("NextContinuationToken", &token::write(id));
        }
        Ok(Document::new(xml.finish()))
    }
}

/// Removes one configuration.
#[derive(Debug)]
pub struct DeleteConfiguration<K> {
    name: BucketName,
    id: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Operation for DeleteConfiguration<K> {
    const NAME: &'static str = {
        let [_, _, _, name] = K::NAMES;
        name
    };
    const ACTION: &'static str = {
        let [_, _, _, action] = K::ACTIONS;
        action
    };
    const PATTERN: Pattern = Pattern::new(Method::DELETE, Scope::Bucket, K::QUERY.1);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { name: head.bucket()?, id: id(head)?, kind: PhantomData })
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::bucket(&self.name, K::NEEDS.1)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Plain> {
        let bucket = cx.bucket(&self.name).await?;
        // Unlike settings that a bucket has one of, S3 tells that there was none (SDKs of infrastructure tools
        // expect `NoSuchConfiguration` here).
        let existed = cx.storage.delete_setting(&bucket, K::STORED, &self.id).await?;
        if existed { Ok(Plain::no_content()) } else { Err(missing(&self.id)) }
    }
}
