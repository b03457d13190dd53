//! Access control lists as requests spell them: `x-amz-acl`, `x-amz-grant-*`, and the document `AccessControlPolicy`.
//!
//! A request uses one of the three ways (S3 reference, "Access control list overview"). Whoever receives a
//! permission is looked up when the list is set: only accounts that exist and groups of S3 get into a list, and none
//! by mail address. So a list that is stored never changes its meaning.

mod document;
mod header;
#[cfg(test)]
mod tests;

pub use document::{read, read_grants, write, write_grants};

use super::{
    codes::S3Code,
    context::Directory,
    error::{S3Error, S3Result},
    head::Head,
};
use crate::{
    storage::Bucket,
    types::{AccountId, Acl, CannedAcl, Grant, Grantee, ObjectOwnership, Permission},
};

/// Most grants of a list (S3 reference).
pub const MAX_GRANTS: usize = 100;

/// The headers that grant, in the order in which their grants are listed.
const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// All headers that set a list.
pub const HEADERS: [&str; 6] = [
    "x-amz-acl",
    "x-amz-grant-read",
    "x-amz-grant-write",
    "x-amz-grant-read-acp",
    "x-amz-grant-write-acp",
    "x-amz-grant-full-control",
];

/// What a list is for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A bucket.
    Bucket {
        /// Who owns it.
        owner: &'a AccountId,
    },
    /// An object.
    Object {
        /// Who wrote it.
        owner: &'a AccountId,
        /// Who owns its bucket.
        bucket_owner: &'a AccountId,
    },
}

/// How a request names a grantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Id,
    Uri,
    Email,
}

impl Subject<'_> {
    fn owner(&self) -> &AccountId {
        match self {
            Self::Bucket { owner } | Self::Object { owner, .. } => owner,
        }
    }
}

/// The list that an `x-amz-acl` header, or the field `acl` of a form, names.
///
/// # Errors
/// `InvalidArgument` for an unknown name, and for the list of log buckets where the subject is an object.
pub fn canned(text: &str, subject: Subject<'_>) -> S3Result<Acl> {
    let invalid = || S3Error::argument("Invalid Argument", "x-amz-acl", text);
    let named = CannedAcl::parse(text).ok_or_else(invalid)?;
    match subject {
        Subject::Object { .. } if named == CannedAcl::LogDeliveryWrite => Err(invalid()),
        // The lists that speak of the bucket's owner mean nothing for a bucket: S3 takes them for private.
        Subject::Bucket { owner } => Ok(Acl::from_canned(named, owner, owner)),
        Subject::Object { owner, bucket_owner } => Ok(Acl::from_canned(named, owner, bucket_owner)),
    }
}

/// The list that the headers ask for, if they do. Presigned URLs may carry them as parameters.
///
/// # Errors
/// `InvalidRequest` for a canned list besides grants; `InvalidArgument` for an unknown canned list, a header that
/// cannot be read, an unknown account or group, more than [`MAX_GRANTS`] grants; `UnresolvableGrantByEmailAddress`.
pub fn from_headers(head: &Head, directory: &dyn Directory, subject: Subject<'_>) -> S3Result<Option<Acl>> {
    let named = value(head, "x-amz-acl");
    let mut granted = false;
    let mut grants = Vec::new();
    for (name, permission) in GRANT_HEADERS {
        let Some(text) = value(head, name) else { continue };
        granted = true;
        for (naming, value) in header::parse(&text).ok_or_else(|| unreadable(name, &text))? {
            if grants.len() == MAX_GRANTS {
                return Err(S3Error::argument(too_many(), name, &text));
            }
            grants.push(Grant { grantee: resolve(naming, value, name, directory)?, permission });
        }
    }
    match (named, granted) {
        (None, false) => Ok(None),
        (None, true) => Ok(Some(Acl { grants })),
        (Some(name), false) => canned(&name, subject).map(Some),
        (Some(_), true) => Err(S3Error::request("Specifying both Canned ACLs and Header Grants is not allowed")),
    }
}

/// The list that a request for nothing else sets: by headers or by `document`, its body.
///
/// # Errors
/// Those of [`from_headers`] and [`read`]; `InvalidRequest` for headers besides a document;
/// `MissingSecurityHeader` for neither.
pub fn from_request(head: &Head, document: &[u8], directory: &dyn Directory, subject: Subject<'_>) -> S3Result<Acl> {
    match (from_headers(head, directory, subject)?, document.is_empty()) {
        (Some(acl), true) => Ok(acl),
        (None, false) => read(document, subject.owner(), directory),
        (Some(_), false) => {
            Err(S3Error::request("Specifying both ACL headers and an AccessControlPolicy in the body is not allowed"))
        }
        (None, true) => Err(S3Error::from(S3Code::MissingSecurityHeader).with("MissingHeaderName", "x-amz-acl")),
    }
}

/// # Errors
/// `AccessDenied` where the list grants to everybody and the bucket blocks such lists (`BlockPublicAcls`).
pub fn check_public(acl: &Acl, bucket: &Bucket) -> S3Result<()> {
    let block = bucket.record.public_access_block.unwrap_or_default();
    if block.block_public_acls && acl.is_public() {
        return Err(S3Error::new(
            S3Code::AccessDenied,
            "Public access control lists are prevented by the BlockPublicAcls setting of S3 Block Public Access.",
        ));
    }
    Ok(())
}

/// # Errors
/// `AccessControlListNotSupported` where the bucket's owner owns everything in it, so that lists mean nothing.
pub fn check_used(bucket: &Bucket) -> S3Result<()> {
    match bucket.limits.ownership {
        ObjectOwnership::BucketOwnerEnforced => Err(S3Code::AccessControlListNotSupported.into()),
        ObjectOwnership::ObjectWriter | ObjectOwnership::BucketOwnerPreferred => Ok(()),
    }
}

/// A header with all its lines, else the parameter of that name. One without content asks for nothing. Bytes beyond
/// ASCII stay, garbled: a header that cannot be read must be refused, not overlooked.
pub fn value(head: &Head, name: &str) -> Option<String> {
    let text = head.raw_header(name).or_else(|| head.header(name).map(str::to_owned))?;
    Some(text).filter(|text| !text.trim().is_empty())
}

fn unreadable(name: &str, text: &str) -> S3Error {
    S3Error::argument("Argument format not recognized", name, text)
}

fn too_many() -> String {
    format!("An access control list may have up to {MAX_GRANTS} grants")
}

/// The grantee of that name. `argument` is what an error calls the place where it stood.
fn resolve(naming: Naming, value: &str, argument: &str, directory: &dyn Directory) -> S3Result<Grantee> {
    match naming {
        Naming::Id => {
            let account = AccountId::new(value);
            // The stored form tells groups from accounts by their text, so no account may look like a group.
            let known = directory.display_name(&account).is_some() && Grantee::from_group_uri(value).is_none();
            if known { Ok(Grantee::Account(account)) } else { Err(S3Error::argument("Invalid id", argument, value)) }
        }
        Naming::Uri => {
            Grantee::from_group_uri(value).ok_or_else(|| S3Error::argument("Invalid group uri", argument, value))
        }
        Naming::Email => directory
            .by_email(value)
            .map(Grantee::Account)
            .ok_or_else(|| S3Error::from(S3Code::UnresolvableGrantByEmailAddress).with("EmailAddress", value)),
    }
}
