//! Callers and their keys.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use secrecy::SecretString;

use crate::types::AccountId;

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
