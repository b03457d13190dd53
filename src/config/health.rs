//! `cloudserver.health`: how locations elsewhere are watched.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// When a location elsewhere is taken for sick, and what that costs; key `cloudserver.health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocationWatch {
    /// `failures`: failed calls in a row after which calls are refused at once. Default 5.
    pub failures: u32,
    /// `longestPauseSeconds`: the longest time until a sick location is tried again. Default 60 seconds.
    pub longest_pause: Duration,
    /// `probeSeconds`: time between probes of a location that works. Default 60 seconds.
    pub probe: Duration,
    /// `answerSeconds`: the longest silence of a location within a call. Default 30 seconds.
    pub answer: Duration,
    /// `callsPerLocation`: most calls of one location under way. Default 1024.
    pub calls: usize,
}

impl Default for LocationWatch {
    fn default() -> Self {
        Self {
            failures: 5,
            longest_pause: Duration::from_mins(1),
            probe: Duration::from_mins(1),
            answer: Duration::from_secs(30),
            calls: 1024,
        }
    }
}

impl LocationWatch {
    /// Reads the section.
    pub(super) fn read(mut fields: Fields, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        const FAILURES: Rule = rule("failures must be a positive integer", "remove it for 5");
        const PAUSE: Rule = rule("longestPauseSeconds must be a positive integer", "remove it for 60");
        const PROBE: Rule = rule("probeSeconds must be a positive integer", "remove it for 60");
        const ANSWER: Rule = rule("answerSeconds must be a positive integer", "remove it for 30");
        const CALLS: Rule = rule("callsPerLocation must be a positive integer", "remove it for 1024");
        let default = Self::default();
        let time = |seconds: NonZeroU32| Duration::from_secs(u64::from(seconds.get()));
        let watch = Self {
            failures: fields.take::<NonZeroU32>("failures", FAILURES)?.map_or(default.failures, NonZeroU32::get),
            longest_pause: fields.take("longestPauseSeconds", PAUSE)?.map_or(default.longest_pause, time),
            probe: fields.take("probeSeconds", PROBE)?.map_or(default.probe, time),
            answer: fields.take("answerSeconds", ANSWER)?.map_or(default.answer, time),
            calls: fields.take::<NonZeroUsize>("callsPerLocation", CALLS)?.map_or(default.calls, NonZeroUsize::get),
        };
        fields.finish(warnings);
        Ok(watch)
    }
}
