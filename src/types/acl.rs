//! Access control lists: who may do what with a bucket or an object.

use serde::{Deserialize, Serialize};

use super::account::{ALL_USERS, AUTHENTICATED_USERS, AccountId, LOG_DELIVERY};

/// A permission of a grant (S3 reference, "Access control list overview").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Permission {
    /// All of the others.
    FullControl,
    /// List a bucket, read an object.
    Read,
    /// Write objects of a bucket.
    Write,
    /// Read the list itself.
    ReadAcp,
    /// Write the list itself.
    WriteAcp,
}

/// Who receives a permission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Grantee {
    /// One account, by canonical id.
    Account(AccountId),
    /// Everybody, with or without credentials.
    AllUsers,
    /// Everybody with credentials.
    AuthenticatedUsers,
    /// The log delivery group.
    LogDelivery,
}

/// One permission for one grantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// The list of grants of a bucket or object. The owner's own rights are listed like any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// At most 100 grants.
    pub grants: Vec<Grant>,
}

/// Who owns what is written into a bucket (S3 reference, "Controlling ownership of objects").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectOwnership {
    /// Whoever writes it. Holds where nothing was set.
    #[default]
    ObjectWriter,
    /// The owner of the bucket, where the writer grants it full control by the canned list; else the writer.
    BucketOwnerPreferred,
    /// The owner of the bucket; access control lists mean nothing.
    BucketOwnerEnforced,
}

/// The predefined lists of `x-amz-acl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedAcl {
    /// The owner only.
    Private,
    /// Everybody may read.
    PublicRead,
    /// Everybody may read and write.
    PublicReadWrite,
    /// Everybody with credentials may read.
    AuthenticatedRead,
    /// The owner of the bucket may read the object.
    BucketOwnerRead,
    /// The owner of the bucket has full control of the object.
    BucketOwnerFullControl,
    /// Amazon EC2 may read: of no effect outside AWS.
    AwsExecRead,
    /// The log delivery group may write into the bucket.
    LogDeliveryWrite,
}

impl Permission {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::FullControl, "FULL_CONTROL"),
        (Self::Read, "READ"),
        (Self::Write, "WRITE"),
        (Self::ReadAcp, "READ_ACP"),
        (Self::WriteAcp, "WRITE_ACP"),
    ];

    /// Reads the text of a `Permission` element.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(permission, _)| *permission)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(permission, _)| *permission == self).map_or("", |(_, name)| name)
    }
}

impl Grantee {
    /// The URI of a group.
    pub const fn group_uri(&self) -> Option<&'static str> {
        match self {
            Self::Account(_) => None,
            Self::AllUsers => Some(ALL_USERS),
            Self::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
            Self::LogDelivery => Some(LOG_DELIVERY),
        }
    }

    /// The group of a URI.
    pub fn from_group_uri(uri: &str) -> Option<Self> {
        [Self::AllUsers, Self::AuthenticatedUsers, Self::LogDelivery]
            .into_iter()
            .find(|group| group.group_uri() == Some(uri))
    }

    /// Whether this is everybody, or everybody with credentials (S3 reference, "The meaning of public").
    pub const fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    fn covers(&self, caller: &AccountId) -> bool {
        match self {
            Self::Account(account) => account == caller && !caller.is_anonymous(),
            Self::AllUsers => true,
            Self::AuthenticatedUsers => !caller.is_anonymous(),
            Self::LogDelivery => caller.as_str() == LOG_DELIVERY,
        }
    }
}

impl Grant {
    /// Whether it gives `caller` the permission, itself or within full control.
    pub fn gives(&self, caller: &AccountId, permission: Permission) -> bool {
        (self.permission == permission || self.permission == Permission::FullControl) && self.grantee.covers(caller)
    }
}

impl ObjectOwnership {
    const NAMES: [(Self, &'static str); 3] = [
        (Self::ObjectWriter, "ObjectWriter"),
        (Self::BucketOwnerPreferred, "BucketOwnerPreferred"),
        (Self::BucketOwnerEnforced, "BucketOwnerEnforced"),
    ];

    /// Reads the name on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(ownership, _)| *ownership)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(ownership, _)| *ownership == self).map_or("", |(_, name)| name)
    }
}

impl Acl {
    /// The list of something only its owner may touch.
    ///
    /// It is empty where nobody in particular is the owner: the id of anonymous callers is that of the group of all
    /// users, and a grant to it would be one to everybody.
    pub fn private(owner: &AccountId) -> Self {
        if owner.is_anonymous() {
            return Self::default();
        }
        Self { grants: vec![Grant { grantee: Grantee::Account(owner.clone()), permission: Permission::FullControl }] }
    }

    /// The list of `canned` for something owned by `owner` in a bucket of `bucket_owner`.
    pub fn from_canned(canned: CannedAcl, owner: &AccountId, bucket_owner: &AccountId) -> Self {
        let Self { mut grants } = Self::private(owner);
        let mut add = |grantee, permission| grants.push(Grant { grantee, permission });
        match canned {
            CannedAcl::PublicRead => add(Grantee::AllUsers, Permission::Read),
            CannedAcl::PublicReadWrite => {
                add(Grantee::AllUsers, Permission::Read);
                add(Grantee::AllUsers, Permission::Write);
            }
            CannedAcl::AuthenticatedRead => add(Grantee::AuthenticatedUsers, Permission::Read),
            CannedAcl::BucketOwnerRead if owner != bucket_owner => {
                add(Grantee::Account(bucket_owner.clone()), Permission::Read);
            }
            CannedAcl::BucketOwnerFullControl if owner != bucket_owner => {
                add(Grantee::Account(bucket_owner.clone()), Permission::FullControl);
            }
            CannedAcl::Private
            | CannedAcl::AwsExecRead
            | CannedAcl::BucketOwnerRead
            | CannedAcl::BucketOwnerFullControl => {}
            CannedAcl::LogDeliveryWrite => {
                add(Grantee::LogDelivery, Permission::Write);
                add(Grantee::LogDelivery, Permission::ReadAcp);
            }
        }
        Self { grants }
    }

    /// Whether some grant gives `caller` the permission, itself or within full control.
    pub fn allows(&self, caller: &AccountId, permission: Permission) -> bool {
        self.grants.iter().any(|grant| grant.gives(caller, permission))
    }

    /// Whether it grants anything to everybody.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Whether it grants nothing to anybody but `owner`.
    pub fn is_private(&self, owner: &AccountId) -> bool {
        self.grants.iter().all(|grant| matches!(&grant.grantee, Grantee::Account(account) if account == owner))
    }
}

impl CannedAcl {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Private, "private"),
        (Self::PublicRead, "public-read"),
        (Self::PublicReadWrite, "public-read-write"),
        (Self::AuthenticatedRead, "authenticated-read"),
        (Self::BucketOwnerRead, "bucket-owner-read"),
        (Self::BucketOwnerFullControl, "bucket-owner-full-control"),
        (Self::AwsExecRead, "aws-exec-read"),
        (Self::LogDeliveryWrite, "log-delivery-write"),
    ];

    /// Reads an `x-amz-acl` value.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(acl, _)| *acl)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(acl, _)| *acl == self).map_or("private", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_lists_grant_what_their_names_say() {
        let (owner, other, nobody) = (AccountId::new("a"), AccountId::new("b"), AccountId::anonymous());
        let acl = |canned| Acl::from_canned(canned, &owner, &other);
        assert!(acl(CannedAcl::Private).allows(&owner, Permission::WriteAcp));
        assert!(!acl(CannedAcl::Private).allows(&other, Permission::Read));
        assert!(acl(CannedAcl::PublicRead).allows(&nobody, Permission::Read));
        assert!(!acl(CannedAcl::PublicRead).allows(&nobody, Permission::Write));
        assert!(acl(CannedAcl::PublicReadWrite).allows(&nobody, Permission::Write));
        assert!(!acl(CannedAcl::AuthenticatedRead).allows(&nobody, Permission::Read));
        assert!(acl(CannedAcl::AuthenticatedRead).allows(&AccountId::new("c"), Permission::Read));
        assert!(acl(CannedAcl::BucketOwnerRead).allows(&other, Permission::Read));
        assert!(acl(CannedAcl::BucketOwnerFullControl).allows(&other, Permission::WriteAcp));
    }

    #[test]
    fn no_canned_list_gives_everybody_what_an_anonymous_owner_has() {
        let (nobody, owner) = (AccountId::anonymous(), AccountId::new("b"));
        for (canned, _) in CannedAcl::NAMES {
            let acl = Acl::from_canned(canned, &nobody, &owner);
            let full = |grant: &Grant| grant.permission == Permission::FullControl;
            let other = acl.grants.iter().find(|grant| full(grant) && grant.grantee != Grantee::Account(owner.clone()));
            assert_eq!(other, None, "{canned:?}");
            assert!(!acl.allows(&nobody, Permission::WriteAcp), "{canned:?}");
        }
        assert_eq!(Acl::private(&nobody), Acl::default());
    }

    #[test]
    fn permissions_read_back_from_their_names() {
        for (permission, name) in Permission::NAMES {
            assert_eq!((Permission::parse(name), permission.as_str()), (Some(permission), name));
        }
        assert_eq!(Permission::parse("read"), None);
    }
}
