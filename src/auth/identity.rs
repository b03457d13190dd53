//! Callers and their keys.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use secrecy::SecretString;

use crate::types::{AccountId, account::LOG_DELIVERY};

/// Who sent a request, as far as its credentials prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account, by canonical id; the group of all users where there are no credentials.
    pub account: AccountId,
    /// The account's name, for `DisplayName`.
    pub display_name: Arc<str>,
    /// The Amazon resource name of the account or user; empty for anonymous callers.
    pub arn: Arc<str>,
    /// The user inside the account; `None` for the account itself.
    pub user: Option<Arc<str>>,
    /// The session of temporary credentials.
    pub session: Option<Arc<str>>,
    /// The access key that was verified.
    pub access_key: Option<Arc<str>>,
}

/// What this server writes into buckets by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryService {
    /// Access logs.
    Logs,
    /// Inventory reports.
    Inventory,
}

/// The numbers that policies know accounts by.
pub trait AccountNumbers: fmt::Debug + Send + Sync {
    /// The twelve digits of an account; `None` for an unknown one.
    fn number_of(&self, account: &AccountId) -> Option<Arc<str>>;
}

impl DeliveryService {
    const ALL: [Self; 2] = [Self::Logs, Self::Inventory];

    /// What policies call it (S3 user guide, "Enabling Amazon S3 server access logging", "Creating a destination
    /// bucket policy").
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logging.s3.amazonaws.com",
            Self::Inventory => "s3.amazonaws.com",
        }
    }

    /// What lists call it.
    const fn group(self) -> &'static str {
        match self {
            Self::Logs => LOG_DELIVERY,
            // No list can name it: grantees are accounts that are there, and groups.
            Self::Inventory => "s3.amazonaws.com",
        }
    }
}

static ANONYMOUS: LazyLock<Principal> = LazyLock::new(|| Principal {
    account: AccountId::anonymous(),
    display_name: Arc::from(""),
    arn: Arc::from(""),
    user: None,
    session: None,
    access_key: None,
});

impl Principal {
    /// The caller without credentials.
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// Whether the request carried no credentials.
    pub fn is_anonymous(&self) -> bool {
        self.account.is_anonymous()
    }

    /// The twelve digits of the account; `None` for anonymous callers.
    pub fn account_number(&self) -> Option<&str> {
        self.arn.split(':').nth(4).filter(|number| !number.is_empty() && !self.is_anonymous())
    }

    /// Whether this is one of the original's service accounts, which bypass bucket ownership.
    pub fn is_service(&self) -> bool {
        self.account.is_service()
    }

    /// A service of this server that writes into buckets by itself, under the name that AWS gives it.
    pub fn delivery(service: DeliveryService) -> Self {
        let name = service.name();
        Self { account: AccountId::new(service.group()), arn: Arc::from(name), ..Self::anonymous() }
    }

    /// The name in policies, where this is a service that delivers. No caller has such an account.
    pub(super) fn delivers_as(&self) -> Option<&str> {
        DeliveryService::ALL
            .into_iter()
            .find(|service| self.account.as_str() == service.group() && *self.arn == *service.name())
            .map(DeliveryService::name)
    }

    /// The principal of verified long-lived credentials.
    pub(super) fn verified(access_key: &str, credential: &Credential) -> Self {
        Self {
            account: credential.account.clone(),
            display_name: Arc::clone(&credential.display_name),
            arn: Arc::clone(&credential.arn),
            user: credential.user.clone(),
            session: None,
            access_key: Some(Arc::from(access_key)),
        }
    }
}

/// What an access key stands for.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account that owns the key.
    pub account: AccountId,
    /// The account's name.
    pub display_name: Arc<str>,
    /// The Amazon resource name of the account or user.
    pub arn: Arc<str>,
    /// The user inside the account; `None` for the account's own key.
    pub user: Option<Arc<str>>,
    /// The secret access key. `Debug` does not show it.
    pub secret: Arc<SecretString>,
}

/// Where access keys are looked up.
pub trait Credentials: fmt::Debug + Send + Sync {
    /// What `access_key` stands for, if it is known and active.
    fn find(&self, access_key: &str) -> Option<Credential>;
}
