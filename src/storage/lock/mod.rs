//! Object lock: when a version may be removed, and how its protection may change. The rules are pure; [`apply`] puts
//! them into batches, [`clock`] says what time it is for them.
//!
//! | protection | the version is removed or replaced | it is weakened |
//! |---|---|---|
//! | legal hold on | never | by putting the hold off, by whoever may put holds |
//! | event hold on | never | by releasing it, which begins the retention of its duration |
//! | GOVERNANCE, not over | with bypass | with bypass |
//! | COMPLIANCE, not over | never | never |
//! | anything that cannot be read | never | never |
//!
//! To weaken is to end earlier, to take the mode away or change it, to shorten the duration of an event hold.
//! GOVERNANCE becomes COMPLIANCE with bypass only (s3-tests; no document says so). A released event hold without a mode
//! is retained as GOVERNANCE: nobody gets a lock for which nobody asked and which nobody can lift.
//!
//! Whoever frees a version's data must show a [`Removable`], which only [`Leave::remove`] makes: of the very record
//! that the batch requires unchanged. So no race and no forgotten check lets a locked version go.

use thiserror::Error;

use super::{
    StorageError, StorageResult,
    records::{BucketRecord, ObjectLockRecord, ObjectRecord, PeriodRecord, Versioning},
};
use crate::types::Timestamp;

mod apply;
mod clock;
#[cfg(test)]
mod tests;

pub(super) use clock::LockClock;

/// Most days of a period (S3 reference, "`DefaultRetention`").
pub const MAX_DAYS: u32 = 36_500;
/// Most years of a period.
pub const MAX_YEARS: u32 = 100;

/// How strictly a version is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Who has the permission may pass over it.
    Governance,
    /// Nobody may.
    Compliance,
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// Days of 24 hours.
    Days(u32),
    /// Calendar years.
    Years(u32),
}

/// A hold: on until somebody puts it off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Never put on or off.
    #[default]
    Never,
    /// On.
    On,
    /// Put off.
    Off,
}

/// Whether GOVERNANCE is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// It is obeyed.
    #[default]
    No,
    /// The caller asks to pass over it, and has the permission `s3:BypassGovernanceRetention`.
    Governance,
}

/// Why object lock forbids it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LockError {
    /// The version is protected.
    #[error("the version is protected by object lock")]
    Protected,
    /// The bucket has no object lock.
    #[error("the bucket has no object lock")]
    NotConfigured,
    /// The date until which a version shall be retained is not in the future.
    #[error("the retain-until date is not in the future")]
    PastDate,
    /// A mode without an end, an end without a mode, an event hold without a duration, or a duration without a hold.
    #[error("mode and date, event hold and duration go together")]
    Incomplete,
    /// Object lock needs versioning, from its beginning on and for good.
    #[error("object lock and the state of versioning do not fit")]
    BucketState,
}

/// The protection of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Mode of retention.
    pub mode: Option<Mode>,
    /// End of retention. Absent with a mode only as long as an event hold is on.
    pub until: Option<Timestamp>,
    /// Legal hold.
    pub legal_hold: Hold,
    /// Event hold.
    pub event_hold: Hold,
    /// How long the version is retained once its event hold is released. There while that is on.
    pub duration: Option<Period>,
}

/// A change of retention, as `PutObjectRetention` asks for it. What is absent stays, but if all is, retention ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionChange {
    /// The mode.
    pub mode: Option<Mode>,
    /// The end.
    pub until: Option<Timestamp>,
    /// Whether the event hold is put on, or released.
    pub event_hold: Option<bool>,
    /// The duration of the event hold.
    pub duration: Option<Period>,
}

/// The times of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The clock: what ends, ends by it.
    pub now: Timestamp,
    /// The latest time the clock ever showed: what begins, begins there ([`clock`]).
    pub start: Timestamp,
}

/// How much a version is protected at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    None,
    /// From those who may not bypass.
    Governance,
    /// From everybody.
    Absolute,
}

/// What a change that removes versions may remove.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// The clock.
    pub(super) now: Timestamp,
    /// Whether GOVERNANCE is passed over.
    pub(super) bypass: Bypass,
}

/// A version or marker that may be removed: nothing protects it.
#[derive(Debug)]
pub(super) struct Removable<'a>(&'a ObjectRecord);

impl Mode {
    /// The mode of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// Its number in records.
    pub const fn number(self) -> u32 {
        match self {
            Self::Governance => 1,
            Self::Compliance => 2,
        }
    }

    fn read(number: u32) -> StorageResult<Option<Self>> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Governance)),
            2 => Ok(Some(Self::Compliance)),
            _ => Err(unreadable()),
        }
    }
}

impl Period {
    /// So many days; `None` for none, or too many.
    pub fn days(days: u64) -> Option<Self> {
        u32::try_from(days).ok().filter(|days| (1..=MAX_DAYS).contains(days)).map(Self::Days)
    }

    /// So many years; `None` for none, or too many.
    pub fn years(years: u64) -> Option<Self> {
        u32::try_from(years).ok().filter(|years| (1..=MAX_YEARS).contains(years)).map(Self::Years)
    }

    /// Its end, if it begins at `start`.
    pub fn after(self, start: Timestamp) -> Timestamp {
        match self {
            Self::Days(days) => start.plus_days(days),
            Self::Years(years) => start.plus_years(years),
        }
    }

    /// As stored.
    pub fn record(self) -> PeriodRecord {
        match self {
            Self::Days(days) => PeriodRecord { days: Some(days), years: None },
            Self::Years(years) => PeriodRecord { days: None, years: Some(years) },
        }
    }

    /// As it was stored.
    ///
    /// # Errors
    /// [`StorageError::Broken`] for what no period is.
    pub fn read(record: &PeriodRecord) -> StorageResult<Self> {
        let period = match (record.days, record.years) {
            (Some(days), None) => Self::days(days.into()),
            (None, Some(years)) => Self::years(years.into()),
            _ => None,
        };
        period.ok_or_else(unreadable)
    }
}

impl Hold {
    const fn number(self) -> u32 {
        match self {
            Self::Never => 0,
            Self::On => 1,
            Self::Off => 2,
        }
    }

    fn read(number: u32) -> StorageResult<Self> {
        match number {
            0 => Ok(Self::Never),
            1 => Ok(Self::On),
            2 => Ok(Self::Off),
            _ => Err(unreadable()),
        }
    }

    /// On or off.
    pub const fn put(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }

    /// `ON` or `OFF`; `None` where it was never put.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Never => None,
            Self::On => Some("ON"),
            Self::Off => Some("OFF"),
        }
    }
}

fn unreadable() -> StorageError {
    StorageError::Broken("the lock of a version or bucket can be read")
}

impl Lock {
    /// The lock of a version.
    ///
    /// # Errors
    /// [`StorageError::Broken`] for a lock that this release cannot read: it counts as locked for good.
    pub fn read(record: &ObjectRecord) -> StorageResult<Self> {
        let lock = Self {
            mode: Mode::read(record.retention_mode)?,
            until: (record.retain_until_ms != 0).then(|| Timestamp::from_millis(record.retain_until_ms)),
            legal_hold: Hold::read(record.legal_hold)?,
            event_hold: Hold::read(record.event_hold)?,
            duration: record.event_hold_duration.as_ref().map(Period::read).transpose()?,
        };
        if lock.is_complete() { Ok(lock) } else { Err(unreadable()) }
    }

    fn is_complete(&self) -> bool {
        let held = self.event_hold == Hold::On;
        let dated = match (self.mode, self.until) {
            (Some(_), Some(_)) | (None, None) => true,
            (Some(_), None) => held,
            (None, Some(_)) => false,
        };
        dated && self.duration.is_some() == held
    }

    /// Puts the lock into a record.
    pub fn write(&self, record: &mut ObjectRecord) {
        record.retention_mode = self.mode.map_or(0, Mode::number);
        record.retain_until_ms = self.until.map_or(0, Timestamp::as_millis);
        record.legal_hold = self.legal_hold.number();
        record.event_hold = self.event_hold.number();
        record.event_hold_duration = self.duration.map(Period::record);
    }

    /// The lock's share of a record, readable or not.
    pub(super) fn fields(record: &ObjectRecord) -> (u32, u64, u32, u32, Option<PeriodRecord>) {
        let held = (record.legal_hold, record.event_hold, record.event_hold_duration);
        (record.retention_mode, record.retain_until_ms, held.0, held.1, held.2)
    }

    /// Whether nothing was ever said about protection.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether retention or an event hold was ever set, and not taken away.
    pub fn has_retention(&self) -> bool {
        self.mode.is_some() || self.event_hold != Hold::Never
    }

    fn is_retained(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// How much it protects.
    pub fn protection(&self, now: Timestamp) -> Protection {
        if self.legal_hold == Hold::On || self.event_hold == Hold::On {
            return Protection::Absolute;
        }
        match self.mode {
            Some(Mode::Compliance) if self.is_retained(now) => Protection::Absolute,
            Some(Mode::Governance) if self.is_retained(now) => Protection::Governance,
            _ => Protection::None,
        }
    }

    /// Whether a client may ask for this lock of a new version.
    ///
    /// # Errors
    /// [`LockError::PastDate`], [`LockError::Incomplete`].
    pub fn check_new(&self, start: Timestamp) -> Result<(), LockError> {
        if self.until.is_some_and(|until| until <= start) {
            return Err(LockError::PastDate);
        }
        if self.is_complete() { Ok(()) } else { Err(LockError::Incomplete) }
    }

    /// The lock of a new version: what the client asked for, and the bucket's default where it said nothing.
    ///
    /// Retention of its own replaces both defaults, an event hold of its own that of event holds. Doing it twice
    /// changes nothing.
    ///
    /// # Errors
    /// [`StorageError::Broken`] for a default that cannot be read: better no version than one without protection.
    pub fn with_default(self, default: &ObjectLockRecord, start: Timestamp) -> StorageResult<Self> {
        let mut lock = self;
        let mode = Mode::read(default.mode)?;
        let period = default.period.as_ref().map(Period::read).transpose()?;
        let hold = default.event_hold.as_ref().map(Period::read).transpose()?;
        if mode.is_some() != period.is_some() {
            return Err(unreadable());
        }
        if self.mode.is_none() {
            lock.mode = mode;
            lock.until = period.map(|period| period.after(start));
            if self.event_hold == Hold::Never && hold.is_some() {
                lock.event_hold = Hold::On;
                lock.duration = hold;
            }
        }
        Ok(lock)
    }

    /// The lock after a change of retention.
    ///
    /// # Errors
    /// [`LockError::PastDate`], [`LockError::Incomplete`]; [`LockError::Protected`] where it would be weaker and the
    /// caller may not weaken it.
    pub fn change(self, asked: &RetentionChange, times: Times, bypass: Bypass) -> Result<Self, LockError> {
        if asked.until.is_some_and(|until| until <= times.start) {
            return Err(LockError::PastDate);
        }
        let held = self.event_hold == Hold::On;
        let mut next = self;
        if asked.is_removal() || asked.until.is_some() {
            (next.mode, next.until) = (asked.mode, asked.until);
        } else if asked.mode.is_some() {
            next.mode = asked.mode;
        }
        match asked.event_hold {
            Some(true) => {
                next.event_hold = Hold::On;
                next.duration = Some(asked.duration.or(self.duration).ok_or(LockError::Incomplete)?);
            }
            None if held => next.duration = asked.duration.or(self.duration),
            None if asked.duration.is_some() => return Err(LockError::Incomplete),
            None => {}
            Some(false) => {
                next.event_hold = Hold::Off;
                next.duration = None;
                if let Some(duration) = asked.duration.or(self.duration).filter(|_| held) {
                    next.mode = Some(next.mode.unwrap_or(Mode::Governance));
                    next.until = next.until.max(Some(duration.after(times.start)));
                }
            }
        }
        if !next.is_complete() {
            return Err(LockError::Incomplete);
        }
        if self.is_weakened_by(asked, &next, times) {
            match (self.mode, bypass) {
                (Some(Mode::Compliance), _) | (_, Bypass::No) => return Err(LockError::Protected),
                (_, Bypass::Governance) => {}
            }
        }
        Ok(next)
    }

    fn is_weakened_by(&self, asked: &RetentionChange, next: &Self, times: Times) -> bool {
        let held = self.event_hold == Hold::On;
        let retained = self.is_retained(times.now);
        let mode_changes = self.mode.is_some() && next.mode != self.mode;
        let duration =
            |asked: Period| self.duration.is_some_and(|was| asked.after(times.start) < was.after(times.start));
        ((held || retained) && mode_changes)
            || (retained && next.until < self.until)
            || (held && asked.duration.is_some_and(duration))
    }
}

impl RetentionChange {
    /// Whether it takes retention away: it says nothing at all.
    pub fn is_removal(&self) -> bool {
        *self == Self::default()
    }
}

impl Leave {
    /// # Errors
    /// [`LockError::Protected`], also for a lock that cannot be read.
    pub(super) fn remove(self, record: &ObjectRecord) -> Result<Removable<'_>, LockError> {
        let protection = match Lock::read(record) {
            Ok(lock) => lock.protection(self.now),
            Err(_) => Protection::Absolute,
        };
        match (protection, self.bypass) {
            (Protection::None, _) | (Protection::Governance, Bypass::Governance) => Ok(Removable(record)),
            (Protection::Governance | Protection::Absolute, _) => Err(LockError::Protected),
        }
    }
}

impl<'a> Removable<'a> {
    /// The record.
    pub(super) fn record(&self) -> &'a ObjectRecord {
        self.0
    }
}

/// Whether a bucket's settings may be these: object lock needs versioning, and stays.
///
/// # Errors
/// [`LockError::BucketState`].
pub(super) fn check_bucket(before: Option<&BucketRecord>, after: &BucketRecord) -> Result<(), LockError> {
    let had = before.is_some_and(|before| before.object_lock.is_some());
    let fits = match &after.object_lock {
        None => !had,
        Some(_) => after.versioning() == Versioning::Enabled,
    };
    if fits { Ok(()) } else { Err(LockError::BucketState) }
}
