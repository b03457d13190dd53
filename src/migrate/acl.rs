//! Lists of access, from one store's accounts to another's.

use std::collections::BTreeMap;

use http::{HeaderMap, Method};

use super::headers::set;
use crate::{
    s3client::{Call, S3Client, S3ClientError},
    xml::Element,
};

/// Permissions and the headers that grant them.
const PERMISSIONS: [(&str, &str); 5] = [
    ("FULL_CONTROL", "x-amz-grant-full-control"),
    ("READ", "x-amz-grant-read"),
    ("WRITE", "x-amz-grant-write"),
    ("READ_ACP", "x-amz-grant-read-acp"),
    ("WRITE_ACP", "x-amz-grant-write-acp"),
];

/// A list of access as it is at the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    owner: String,
    /// Permission, and who has it: an id, or the address of a group.
    grants: Vec<(String, Who)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Account(String),
    Group(String),
}

/// Who accounts of the source are at the target.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    /// As the operator says.
    pub(super) mapped: BTreeMap<String, String>,
    /// The account at the target that writes, by canonical id; empty where it is not known.
    pub(super) own: String,
}

/// Reads the list of a bucket, or of a version.
pub(super) async fn read(
    client: &S3Client,
    bucket: &str,
    object: Option<(&str, Option<&str>)>,
) -> Result<List, S3ClientError> {
    let key = object.map(|(key, _)| key);
    let version = object.and_then(|(_, version)| version);
    let call = Call::new(Method::GET, Some(bucket), key).and("acl", "").and_some("versionId", version);
    let answer = client.document(call).await?;
    let root = answer.root()?;
    let owner = root.children_named("Owner").next().and_then(|owner| text(owner, "ID")).unwrap_or_default();
    let lists = root.children_named("AccessControlList").flat_map(Element::children);
    let grant = |grant: &Element<'_>| {
        let grantee = grant.children_named("Grantee").next()?;
        let who = match text(grantee, "URI") {
            Some(group) => Who::Group(group),
            None => Who::Account(text(grantee, "ID")?),
        };
        Some((text(grant, "Permission")?, who))
    };
    Ok(List { owner, grants: lists.filter_map(grant).collect() })
}

fn text(element: &Element<'_>, name: &str) -> Option<String> {
    element.children_named(name).next().map(|child| child.text().to_owned()).filter(|text| !text.is_empty())
}

impl List {
    /// Whether it grants the owner everything and nobody else anything: what every object has by itself.
    fn is_private(&self) -> bool {
        self.grants.iter().all(|(permission, who)| {
            permission == "FULL_CONTROL" && matches!(who, Who::Account(id) if *id == self.owner)
        })
    }

    /// Sets the headers that grant the same at the target; answers with accounts that nobody is there.
    pub(super) fn grant(&self, accounts: &Accounts, headers: &mut HeaderMap) -> Vec<String> {
        if self.is_private() || accounts.own.is_empty() {
            return Vec::new();
        }
        let mut unknown = Vec::new();
        for (permission, header) in PERMISSIONS {
            let mut grantees = Vec::new();
            for (_, who) in self.grants.iter().filter(|(granted, _)| granted == permission) {
                match who {
                    Who::Group(group) => grantees.push(format!("uri=\"{group}\"")),
                    Who::Account(id) if *id == self.owner => grantees.push(format!("id=\"{}\"", accounts.own)),
                    Who::Account(id) => match accounts.mapped.get(id) {
                        Some(known) => grantees.push(format!("id=\"{known}\"")),
                        None => unknown.push(id.clone()),
                    },
                }
            }
            set(headers, header, &grantees.join(", "));
        }
        unknown.dedup();
        unknown
    }
}

/// The canonical id of the account whose keys a client has; empty where the store does not say.
pub(super) async fn own_id(client: &S3Client) -> Result<String, S3ClientError> {
    let answer = client.document(Call::new(Method::GET, None, None)).await?;
    let root = answer.root()?;
    Ok(root.children_named("Owner").next().and_then(|owner| text(owner, "ID")).unwrap_or_default())
}
