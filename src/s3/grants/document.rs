//! The document `AccessControlPolicy`.

use bytes::Bytes;

use super::{MAX_GRANTS, Naming, resolve, too_many};
use crate::{
    s3::{
        codes::S3Code,
        context::Directory,
        error::{S3Error, S3Result},
        xml::{Element, XmlError, XmlWriter, read as xml},
    },
    types::{AccountId, Acl, Grant, Grantee, Permission},
};

/// The namespace of `xsi:type`.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const CANONICAL_USER: &str = "CanonicalUser";
const GROUP: &str = "Group";

/// Reads a list for something that `owner` owns.
///
/// # Errors
/// `MalformedACLError`, also for more than [`MAX_GRANTS`] grants; `AccessDenied` where the document names another
/// owner, for lists do not give things away; `InvalidArgument` for an unknown account or group;
/// `UnresolvableGrantByEmailAddress`.
pub fn read(document: &[u8], owner: &AccountId, directory: &dyn Directory) -> S3Result<Acl> {
    let root = xml::read(document).map_err(malformed)?;
    let (named_owner, written) = policy(&root).map_err(malformed)?;
    if written.len() > MAX_GRANTS {
        return Err(S3Error::new(S3Code::MalformedACLError, too_many()));
    }
    if named_owner != owner.as_str() {
        return Err(S3Code::AccessDenied.into());
    }
    let resolved = written.iter().map(|grant| {
        let argument = match grant.naming {
            Naming::Id => "CanonicalUser/ID",
            Naming::Uri => "Group/URI",
            Naming::Email => "AmazonCustomerByEmail/EmailAddress",
        };
        let grantee = resolve(grant.naming, grant.grantee, argument, directory)?;
        Ok(Grant { grantee, permission: grant.permission })
    });
    Ok(Acl { grants: resolved.collect::<S3Result<_>>()? })
}

/// Reads a list of `Grant` elements that is no access control list of its own.
///
/// # Errors
/// `MalformedXML`, also for more than [`MAX_GRANTS`] grants; `InvalidArgument` for an unknown account or group;
/// `UnresolvableGrantByEmailAddress`.
pub fn read_grants(list: &Element<'_>, directory: &dyn Directory) -> S3Result<Acl> {
    list.only(&["Grant"])?;
    if list.children().len() > MAX_GRANTS {
        return Err(S3Error::new(S3Code::MalformedXML, too_many()));
    }
    let mut grants = Vec::with_capacity(list.children().len());
    for element in list.children() {
        let written = grant(element)?;
        let grantee = resolve(written.naming, written.grantee, "Grantee", directory)?;
        grants.push(Grant { grantee, permission: written.permission });
    }
    Ok(Acl { grants })
}

fn malformed(e: XmlError) -> S3Error {
    S3Error::from(S3Code::MalformedACLError).because(e)
}

/// A grant as written, its grantee not yet looked up.
struct Written<'a> {
    naming: Naming,
    grantee: &'a str,
    permission: Permission,
}

/// The owner's id and the grants.
fn policy<'a>(root: &'a Element<'_>) -> Result<(&'a str, Vec<Written<'a>>), XmlError> {
    if root.name() != "AccessControlPolicy" {
        return Err(XmlError::Unexpected(root.name().to_owned()));
    }
    root.only(&["Owner", "AccessControlList"])?;
    let owner = text(root.required("Owner")?, "ID")?;
    let list = root.required("AccessControlList")?;
    list.only(&["Grant"])?;
    let grants: Result<_, _> = list.children().iter().map(grant).collect();
    Ok((owner, grants?))
}

fn grant<'a>(grant: &'a Element<'_>) -> Result<Written<'a>, XmlError> {
    grant.only(&["Grantee", "Permission"])?;
    let permission = Permission::parse(text(grant, "Permission")?).ok_or(XmlError::Invalid("Permission"))?;
    let grantee = grant.required("Grantee")?;
    grantee.only(&["ID", "DisplayName", "EmailAddress", "URI"])?;
    // Only the element that the type calls for counts. Clients send back the display name that they were shown.
    let (naming, element) = match grantee.attribute("type") {
        Some(CANONICAL_USER) => (Naming::Id, "ID"),
        Some(GROUP) => (Naming::Uri, "URI"),
        Some("AmazonCustomerByEmail") => (Naming::Email, "EmailAddress"),
        _ => return Err(XmlError::Invalid("Grantee")),
    };
    Ok(Written { naming, grantee: text(grantee, element)?, permission })
}

/// The text of an element that must have some.
fn text<'a>(parent: &'a Element<'_>, name: &'static str) -> Result<&'a str, XmlError> {
    let text = parent.required_text(name)?.trim();
    if text.is_empty() { Err(XmlError::Invalid(name)) } else { Ok(text) }
}

/// Writes the `Grant` elements of a list.
pub fn write_grants(xml: &mut XmlWriter, acl: &Acl, directory: &dyn Directory) {
    let (groups, accounts): (Vec<_>, Vec<_>) = acl.grants.iter().partition(|grant| grant.grantee.group_uri().is_some());
    for grant in groups.into_iter().chain(accounts) {
        xml.open("Grant");
        let kind = if grant.grantee.group_uri().is_some() { GROUP } else { CANONICAL_USER };
        xml.open_with("Grantee", &[("xmlns:xsi", SCHEMA_INSTANCE), ("xsi:type", kind)]);
        if let Grantee::Account(account) = &grant.grantee {
            xml.text("ID", account.as_str()).optional("DisplayName", directory.display_name(account).as_deref());
        }
        xml.optional("URI", grant.grantee.group_uri());
        xml.close().text("Permission", grant.permission.as_str()).close();
    }
}

/// Writes the list of something that `owner` owns; `name` is shown for an owner that the directory does not know.
///
/// Groups come first, accounts after them, each in the order in which they were granted (s3-tests).
pub fn write(owner: &AccountId, name: &str, acl: &Acl, directory: &dyn Directory) -> Bytes {
    let mut xml = XmlWriter::document("AccessControlPolicy", 512 + 320 * acl.grants.len());
    let known = directory.display_name(owner);
    xml.open("Owner").text("ID", owner.as_str()).text("DisplayName", known.as_deref().unwrap_or(name)).close();
    xml.open("AccessControlList");
    write_grants(&mut xml, acl, directory);
    xml.finish()
}
