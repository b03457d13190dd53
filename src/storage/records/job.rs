//! Long jobs that a client asked for: moves between locations and the like.

use bytes::Bytes;

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum JobState {
    /// Under way, or waiting for its turn.
    Running = 0,
    /// Done; what could not be done is in the counts and notes.
    Done = 1,
    /// Given up, for the reason in the message.
    Failed = 2,
    /// Ended by request.
    Cancelled = 3,
}

/// A job and how far it has come: all that is left of it after a crash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobRecord {
    /// Its id among those of its kind.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What is done: `move`, `scan`.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// How it stands.
    #[prost(enumeration = "JobState", tag = "3")]
    pub state: i32,
    /// Canonical id of the account that asked.
    #[prost(string, tag = "4")]
    pub account: String,
    /// Name of the bucket.
    #[prost(string, tag = "5")]
    pub bucket: String,
    /// The bucket's identifier: another bucket of the same name is not meant.
    #[prost(fixed64, tag = "6")]
    pub bucket_id: u64,
    /// Keys that are meant begin with this.
    #[prost(string, tag = "7")]
    pub prefix: String,
    /// The location that is read.
    #[prost(string, tag = "8")]
    pub from: String,
    /// The location that is written.
    #[prost(string, tag = "9")]
    pub to: String,
    /// Whether only counting is wanted.
    #[prost(bool, tag = "10")]
    pub dry_run: bool,
    /// Whether new objects of the bucket go to `to`, too.
    #[prost(bool, tag = "11")]
    pub and_new_writes: bool,
    /// Which pass over the bucket this is; the kind gives the numbers their meaning.
    #[prost(uint32, tag = "12")]
    pub phase: u32,
    /// Passes that were begun anew.
    #[prost(uint32, tag = "13")]
    pub round: u32,
    /// Where the pass goes on; empty for its start.
    #[prost(bytes = "bytes", tag = "14")]
    pub position: Bytes,
    /// Items that there were to look at when the job began; an estimate.
    #[prost(uint64, tag = "15")]
    pub expected: u64,
    /// Items looked at.
    #[prost(uint64, tag = "16")]
    pub examined: u64,
    /// Items done (in a dry run: that would be).
    #[prost(uint64, tag = "17")]
    pub done: u64,
    /// Bytes of them.
    #[prost(uint64, tag = "18")]
    pub bytes: u64,
    /// Items that somebody changed or removed meanwhile.
    #[prost(uint64, tag = "19")]
    pub skipped: u64,
    /// Items that could not be done in this round.
    #[prost(uint64, tag = "20")]
    pub failed: u64,
    /// Items that verification still found undone.
    #[prost(uint64, tag = "21")]
    pub left: u64,
    /// What was left or failed, in words; the first of them only.
    #[prost(string, repeated, tag = "22")]
    pub notes: Vec<String>,
    /// Why it waits or was given up.
    #[prost(string, tag = "23")]
    pub message: String,
    /// When it was asked for, in milliseconds since the epoch.
    #[prost(uint64, tag = "24")]
    pub created_ms: u64,
    /// When it last went on, in milliseconds since the epoch.
    #[prost(uint64, tag = "25")]
    pub updated_ms: u64,
    /// Of a scan: objects that were not there before.
    #[prost(uint64, tag = "30")]
    pub added: u64,
    /// Of a scan: objects that had other bytes before.
    #[prost(uint64, tag = "31")]
    pub updated: u64,
    /// Of a scan: objects whose bytes are gone.
    #[prost(uint64, tag = "32")]
    pub removed: u64,
}

/// Most notes of a job.
const NOTES: usize = 100;

impl JobRecord {
    /// Adds a note, unless there are many already.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
