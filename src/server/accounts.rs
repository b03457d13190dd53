//! The accounts file as the protocol sees it.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    auth::{AccountNumbers, Credential, Credentials},
    config::Accounts,
    s3::context::Directory,
    types::AccountId,
};

/// Accounts, ready to be looked up at each request.
pub(super) struct AccountBook {
    credentials: HashMap<String, Credential>,
    accounts: Arc<Accounts>,
}

impl fmt::Debug for AccountBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountBook").field("keys", &self.credentials.len()).finish_non_exhaustive()
    }
}

impl AccountBook {
    /// Credentials are prepared once: a request then costs one look-up and some reference counts.
    pub(super) fn new(accounts: Arc<Accounts>) -> Self {
        let mut credentials = HashMap::new();
        for account in accounts.iter() {
            for key in accounts.access_keys_of(account) {
                let Some((account, secret)) = accounts.by_access_key(key) else { continue };
                let credential = Credential {
                    account: account.canonical_id.clone(),
                    display_name: account.name.as_str().into(),
                    arn: account.arn.as_str().into(),
                    user: None,
                    secret: Arc::new(SecretString::from(secret.expose_secret().to_owned())),
                };
                credentials.insert(key.to_owned(), credential);
            }
        }
        Self { credentials, accounts }
    }
}

impl Credentials for AccountBook {
    fn find(&self, access_key: &str) -> Option<Credential> {
        self.credentials.get(access_key).cloned()
    }
}

impl Directory for AccountBook {
    fn display_name(&self, account: &AccountId) -> Option<Arc<str>> {
        self.accounts.by_canonical_id(account).map(|account| account.name.as_str().into())
    }

    fn account_number(&self, account: &AccountId) -> Option<Arc<str>> {
        number(&self.accounts, account)
    }

    fn by_email(&self, email: &str) -> Option<AccountId> {
        self.accounts.by_email(email).map(|account| account.canonical_id.clone())
    }
}

/// The numbers of accounts, for work without a request; a reload replaces them.
#[derive(Debug)]
pub(super) struct Numbers(ArcSwap<Accounts>);

impl Numbers {
    pub(super) fn new(accounts: Arc<Accounts>) -> Self {
        Self(ArcSwap::new(accounts))
    }

    pub(super) fn replace(&self, accounts: Arc<Accounts>) {
        self.0.store(accounts);
    }
}

impl AccountNumbers for Numbers {
    fn number_of(&self, account: &AccountId) -> Option<Arc<str>> {
        number(&self.0.load(), account)
    }
}

fn number(accounts: &Accounts, account: &AccountId) -> Option<Arc<str>> {
    let account = accounts.by_canonical_id(account)?;
    account.arn.split(':').nth(4).filter(|number| !number.is_empty()).map(Arc::from)
}
