//! What can change while the server runs: accounts, locations and endpoints.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    authdata::Accounts,
    error::ConfigError,
    load,
    locations::Locations,
    settings::{Config, ListenOrigin},
};

/// One consistent set of what can change; a request holds on to the one it began with.
#[derive(Clone, Debug)]
pub struct Reloadable {
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// The locations.
    pub locations: Arc<Locations>,
    /// Host name in small letters → location name.
    pub rest_endpoints: Arc<BTreeMap<String, String>>,
}

/// The outcome of a reload.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The new set.
    pub snapshot: Reloadable,
    /// Locations of the old set that the new one lacks. Data may still be there: that is for the caller to judge.
    pub removed_locations: Vec<String>,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
}

impl Config {
    /// The set that the server starts with.
    pub fn reloadable(&self) -> Reloadable {
        Reloadable {
            accounts: Arc::clone(&self.accounts),
            locations: Arc::clone(&self.locations),
            rest_endpoints: Arc::new(self.rest_endpoints.clone()),
        }
    }

    /// Reads the files again, as on SIGHUP. Settings outside [`Reloadable`] keep their values until a restart.
    ///
    /// # Errors
    /// Whatever would stop a start; also accounts that would open the shipped credentials to the network. The old set
    /// then stays in force: nothing is changed here.
    pub fn reload(&self, current: &Reloadable) -> Result<Reloaded, ConfigError> {
        let fresh = Self::load(&self.launch)?;
        load::refuse_shared_credentials(self.production, &fresh.accounts)?;
        let exposed = !self.launch.container && self.listen_origin == ListenOrigin::Everywhere;
        if exposed && fresh.accounts.uses_well_known_credentials() {
            return Err(ConfigError::ExposedByReload {
                file: fresh.accounts.source().to_owned(),
                keys: fresh.accounts.well_known_access_keys().join(", "),
            });
        }
        Ok(Reloaded {
            removed_locations: current.locations.missing_from(&fresh.locations),
            snapshot: fresh.reloadable(),
            warnings: fresh.warnings,
        })
    }
}
