//! `cloudserver.lease`: whether folders may be shared with a stand-by server, and how it takes over.

use std::time::Duration;

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// When a lease is held on the data and metadata folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseMode {
    /// On file systems that other machines can mount: NFS, SMB, Ceph and other cluster file systems.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: a second server on the same folders ends at once.
    Off,
}

impl LeaseMode {
    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Ownership of the folders; key `cloudserver.lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// `enabled`: `auto` (the default), `on` or `off`.
    pub mode: LeaseMode,
    /// `seconds`: how long an owner that is silent keeps the folders, 5 to 3600. Default 15 seconds.
    pub time: Duration,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self { mode: LeaseMode::Auto, time: Duration::from_secs(15) }
    }
}

const ENABLED: Rule = rule("lease.enabled must be one of auto, on, off", "remove it for auto");
const SECONDS: Rule = rule("lease.seconds must be an integer from 5 to 3600", "remove it for 15");

impl LeaseSettings {
    /// The shortest time: renewals need some of it even on a slow file server.
    pub const SHORTEST: u32 = 5;
    /// The longest time.
    pub const LONGEST: u32 = 3600;

    /// Reads the section.
    pub(super) fn read(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let mode = match fields.take::<String>("enabled", ENABLED)?.as_deref() {
            None => default.mode,
            Some("auto") => LeaseMode::Auto,
            Some("on") => LeaseMode::On,
            Some("off") => LeaseMode::Off,
            Some(_) => return Err(fields.refuse("enabled", ENABLED)),
        };
        let seconds: Option<u32> = fields.take("seconds", SECONDS)?;
        if seconds.is_some_and(|seconds| !(Self::SHORTEST..=Self::LONGEST).contains(&seconds)) {
            return Err(fields.refuse("seconds", SECONDS));
        }
        fields.finish(warnings);
        Ok(Self { mode, time: seconds.map_or(default.time, |seconds| Duration::from_secs(u64::from(seconds))) })
    }

    /// With `--take-over-after`, which switches the lease on.
    #[must_use]
    pub(super) fn or_argument(self, take_over_after: Option<u32>) -> Self {
        take_over_after
            .map_or(self, |seconds| Self { mode: LeaseMode::On, time: Duration::from_secs(u64::from(seconds)) })
    }
}
