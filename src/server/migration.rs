//! Opens the way to the old server of a migration.

use std::{collections::BTreeSet, sync::Arc};

use secrecy::ExposeSecret;

use super::{StartError, outbound::client_options};
use crate::{
    clock::SystemClock,
    config::{Account, Accounts, Config, LocationKind, OldCredentials},
    outbound::HttpClient,
    s3::read_through::ReadThrough,
    s3client::{Credentials, Endpoint, Flavor, S3Client},
    storage::Tombstones,
    types::AccountId,
};

/// The old server, if there is one. Nothing is asked of it yet.
pub(super) fn read_through(config: &Config, accounts: &Accounts) -> Result<Option<Arc<ReadThrough>>, StartError> {
    let Some(old) = &config.migration.source else { return Ok(None) };
    let credentials = match &old.credentials {
        OldCredentials::Keys(key, secret) => Credentials::new(key, secret.expose_secret()),
        OldCredentials::Profile(file, profile) => Credentials::of_profile(&config.root.join(file), profile)
            .map_err(|error| StartError::Migration(error.to_string()))?,
    };
    let endpoint = Endpoint {
        https: old.https,
        authority: old.authority.clone(),
        path_style: old.path_style,
        region: old.region.clone(),
        flavor: Flavor::Aws,
    };
    let owner = owner_of(accounts, &old.owner).ok_or_else(|| {
        let (wanted, source) = (&old.owner, accounts.source());
        StartError::Migration(format!("cloudserver.migration.owner names {wanted:?}, which is no account in {source}"))
    })?;
    let http = HttpClient::new(client_options(config, LocationKind::AwsS3)?);
    let client = S3Client::new(http, endpoint, credentials, Arc::new(SystemClock));
    let buckets = old.buckets.as_ref().map(|names| names.iter().cloned().collect::<BTreeSet<_>>());
    Ok(Some(Arc::new(ReadThrough { client, owner, buckets, lists: old.lists })))
}

fn owner_of(accounts: &Accounts, wanted: &str) -> Option<AccountId> {
    let is_meant = |account: &&Arc<Account>| {
        [account.name.as_str(), &account.email, account.canonical_id.as_str()].contains(&wanted)
    };
    accounts.iter().find(is_meant).map(|account| account.canonical_id.clone())
}

/// In which buckets deletes must be remembered: what was deleted here must not come back from there.
pub(super) fn tombstones(config: &Config) -> Tombstones {
    match &config.migration.source {
        None => Tombstones::Nowhere,
        Some(old) => match &old.buckets {
            None => Tombstones::Everywhere,
            Some(names) => Tombstones::In(names.iter().cloned().collect()),
        },
    }
}
