//! Account identifiers.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Canonical id of the group of all users, which stands for a caller without credentials.
pub const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
/// Canonical id of the group of all callers with valid credentials.
pub const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
/// The group that delivers server access logs.
pub const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// Prefix of the canonical ids of service accounts.
pub const SERVICE_PREFIX: &str = "http://acs.zenko.io/accounts/service/";
/// The service accounts that bypass bucket ownership. Others under the prefix (`clueso`) are accounts like any other.
const SERVICES: [&str; 4] = ["replication", "lifecycle", "gc", "md-ingestion"];

/// The canonical id of an account: 64 hexadecimal digits for users, a URL for groups and services.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Takes `id` as it stands: canonical ids come from the accounts file and are opaque.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The caller without credentials.
    pub fn anonymous() -> Self {
        Self::new(ALL_USERS)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the caller without credentials.
    pub fn is_anonymous(&self) -> bool {
        &*self.0 == ALL_USERS
    }

    /// Whether this is one of the original's service accounts, which bypass bucket ownership.
    pub fn is_service(&self) -> bool {
        self.0.strip_prefix(SERVICE_PREFIX).is_some_and(|name| SERVICES.contains(&name))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({})", self.0)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
