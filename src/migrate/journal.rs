//! The state of a migration: a file of lines, each with its checksum, that only grows.
//!
//! | line | what |
//! |---|---|
//! | `h` | which migration it is of |
//! | `b` | a bucket is begun, and whether the target's was empty then |
//! | `a` | keys up to this one may have been touched |
//! | `d` | a key is done: a hash of it and of its versions |
//! | `c` | all keys up to this one are done; and the sums so far |
//! | `f` | a key that could not be copied; without a problem: that could, later |
//! | `u` | an upload in parts of this key is about to be begun at the target |
//! | `i` | it was begun, under this id |
//! | `w` | the upload with this id is over; without one: none was begun |
//! | `e` | a bucket is done |
//! | `z` | all buckets are done |
//!
//! A kill may tear the last line: it is cut off. Any other line that is not whole means that the file is damaged.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Problem, report::Sums};

/// Longest line read, in bytes.
const LONGEST: usize = 64 << 10;

/// Why the journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the state file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line in the middle is not whole.
    #[error("the state file {path} is damaged in line {line}: delete it to compare and copy everything anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// It is of another migration.
    #[error("the state file {path} is of another migration ({of}): name another one with --state, or delete it")]
    Other {
        /// The file.
        path: PathBuf,
        /// Which.
        of: String,
    },
    /// Another process uses it.
    #[error("the state file {path} is in use by another process: wait for it, or stop it")]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// How far a bucket has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketState {
    /// Whether the target's bucket was empty at first.
    pub fresh: bool,
    /// All keys up to this one are done.
    pub after: Option<String>,
    /// Keys up to this one may have been touched.
    pub touched: Option<String>,
    /// Keys done beyond `after`.
    pub done: HashSet<u64>,
    /// What has been copied.
    pub sums: Sums,
    /// Keys that could not be copied, by key.
    pub failed: BTreeMap<String, Problem>,
    /// Uploads that are open at the target, or were: their keys, by id.
    pub uploads: BTreeMap<String, String>,
    /// Whether it is done.
    pub ended: bool,
}

#[derive(Serialize, Deserialize)]
struct Begun {
    bucket: String,
    fresh: bool,
}

#[derive(Serialize, Deserialize)]
struct At {
    bucket: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Upload {
    bucket: String,
    key: String,
    id: String,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    bucket: String,
    problem: Problem,
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    /// Of each bucket, by this run and those before it.
    unanswered: Mutex<BTreeMap<String, Unanswered>>,
}

/// Keys of uploads of which nobody knows whether they were begun, and how many of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unanswered(BTreeMap<String, u32>);

impl Unanswered {
    fn add(&mut self, key: &str) {
        *self.0.entry(key.to_owned()).or_default() += 1;
    }

    fn remove(&mut self, key: &str) {
        if let Some(left) = self.0.get_mut(key) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.0.remove(key);
            }
        }
    }
}

/// What the journal of an earlier run says.
pub type Past = BTreeMap<String, BucketState>;

impl Journal {
    /// Opens the journal of the migration that `identity` describes, and reads what is in it. One in which every bucket
    /// is done begins anew, but for what may be open at the target.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path, identity: &str) -> Result<(Self, Past), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        if rustix::fs::flock(&opened, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(JournalError::InUse { path: path.to_owned() });
        }
        let mut reading = Reading::default();
        let end = reading.lines(path, &opened)?;
        opened.set_len(end).map_err(io)?;
        if let Some(of) = reading.identity.as_ref().filter(|of| *of != identity) {
            return Err(JournalError::Other { path: path.to_owned(), of: of.clone() });
        }
        if reading.is_over {
            opened.set_len(0).map_err(io)?;
            // The run that was over may not have lived to report them.
            reading = Reading { unanswered: reading.unanswered, ..Reading::default() };
        }
        let (file, unanswered) = (Mutex::new(opened), Mutex::new(reading.unanswered.clone()));
        let journal = Self { path: path.to_owned(), file, unanswered };
        if reading.identity.is_none() {
            journal.line('h', identity)?;
            for (bucket, keys) in reading.unanswered {
                for (key, count) in keys.0 {
                    (0..count).try_for_each(|_| journal.json('u', &At { bucket: bucket.clone(), key: key.clone() }))?;
                }
            }
        }
        Ok((journal, reading.past))
    }

    /// Nothing is left to do: the next run begins anew.
    pub(super) fn finished(&self) -> Result<(), JournalError> {
        self.line('z', "")
    }

    fn line(&self, kind: char, text: &str) -> Result<(), JournalError> {
        let body = format!("{kind} {text}");
        let line = format!("{:08x} {body}\n", checksum(body.as_bytes()));
        let written = self.file.lock().write_all(line.as_bytes());
        written.map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }

    fn json(&self, kind: char, value: &impl Serialize) -> Result<(), JournalError> {
        let text = serde_json::to_string(value).map_err(std::io::Error::from);
        let text = text.map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
        self.line(kind, &text)
    }

    pub(super) fn begun(&self, bucket: &str, fresh: bool) -> Result<(), JournalError> {
        self.json('b', &Begun { bucket: bucket.to_owned(), fresh })
    }

    pub(super) fn touched(&self, bucket: &str, key: &str) -> Result<(), JournalError> {
        self.json('a', &At { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// A key of the bucket begun last is done. This is the one line that every key has: it is short.
    pub(super) fn done(&self, hash: u64, sums: Sums) -> Result<(), JournalError> {
        let Sums { versions, markers, bytes, present, .. } = sums;
        self.line('d', &format!("{hash:016x} {versions} {markers} {bytes} {present}"))
    }

    pub(super) fn checkpoint(&self, bucket: &str, key: &str) -> Result<(), JournalError> {
        self.json('c', &At { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    pub(super) fn failed(&self, bucket: &str, problem: &Problem) -> Result<(), JournalError> {
        self.json('f', &Failed { bucket: bucket.to_owned(), problem: problem.clone() })
    }

    /// Keys of uploads of which nobody knows whether they were begun.
    pub(super) fn unanswered(&self, bucket: &str) -> Vec<String> {
        self.unanswered.lock().get(bucket).map(|keys| keys.0.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn upload_begins(&self, bucket: &str, key: &str) -> Result<(), JournalError> {
        self.unanswered.lock().entry(bucket.to_owned()).or_default().add(key);
        self.json('u', &At { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Notes the id of an upload. It outlives a power cut: whoever finds it may give the upload up.
    pub(super) fn upload_is(&self, bucket: &str, key: &str, id: &str) -> Result<(), JournalError> {
        self.answered(bucket, key);
        self.json('i', &Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() })?;
        let synced = self.file.lock().sync_data();
        synced.map_err(|source| JournalError::Io { path: self.path.clone(), source })
    }

    pub(super) fn upload_is_over(&self, bucket: &str, key: &str, id: &str) -> Result<(), JournalError> {
        if id.is_empty() {
            self.answered(bucket, key);
        }
        self.json('w', &Upload { bucket: bucket.to_owned(), key: key.to_owned(), id: id.to_owned() })
    }

    fn answered(&self, bucket: &str, key: &str) {
        if let Some(keys) = self.unanswered.lock().get_mut(bucket) {
            keys.remove(key);
        }
    }

    pub(super) fn ended(&self, bucket: &str) -> Result<(), JournalError> {
        self.json('e', &Begun { bucket: bucket.to_owned(), fresh: false })
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or_default()
}

/// What a line about a key says.
fn done(text: &str) -> Option<(u64, Sums)> {
    let (hash, rest) = text.split_once(' ')?;
    let numbers: Vec<u64> = rest.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let [versions, markers, bytes, present] = numbers.try_into().ok()?;
    Some((u64::from_str_radix(hash, 16).ok()?, Sums { keys: 1, versions, markers, bytes, present }))
}

#[derive(Default)]
struct Reading {
    past: Past,
    identity: Option<String>,
    /// The bucket begun last.
    last: Option<String>,
    unanswered: BTreeMap<String, Unanswered>,
    is_over: bool,
}

impl Reading {
    /// Reads all lines; answers with where the last whole one ends.
    fn lines(&mut self, path: &Path, file: &File) -> Result<u64, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0)).map_err(io)?;
        let (mut end, mut number) = (0, 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(io)?;
            if length == 0 {
                return Ok(end);
            }
            number += 1;
            if self.line(&line).is_some() {
                end += length as u64;
                continue;
            }
            let is_last = reader.fill_buf().map_err(io)?.is_empty();
            let is_torn = !line.ends_with(b"\n") || length > LONGEST;
            return if is_last && is_torn {
                Ok(end)
            } else {
                Err(JournalError::Damaged { path: path.to_owned(), line: number })
            };
        }
    }

    /// Reads a line; `None` where it is not whole.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (sum, body) = text.split_once(' ')?;
        (u32::from_str_radix(sum, 16).ok()? == checksum(body.as_bytes())).then_some(())?;
        let (kind, rest) = body.split_once(' ')?;
        match kind {
            "h" => self.identity = Some(rest.to_owned()),
            "b" => {
                let begun: Begun = serde_json::from_str(rest).ok()?;
                self.last = Some(begun.bucket.clone());
                self.past.entry(begun.bucket).or_default().fresh = begun.fresh;
            }
            "a" => {
                let at: At = serde_json::from_str(rest).ok()?;
                self.past.entry(at.bucket).or_default().touched = Some(at.key);
            }
            "d" => {
                let (hash, sums) = done(rest)?;
                let bucket = self.past.get_mut(self.last.as_ref()?)?;
                bucket.done.insert(hash);
                bucket.sums.add(&sums);
            }
            "c" => {
                let at: At = serde_json::from_str(rest).ok()?;
                let bucket = self.past.entry(at.bucket).or_default();
                bucket.after = Some(at.key);
                // Those of them that lie beyond it are looked up at the target, should it come to that.
                bucket.done.clear();
            }
            "f" => {
                let failed: Failed = serde_json::from_str(rest).ok()?;
                let bucket = self.past.entry(failed.bucket).or_default();
                if failed.problem.problem.is_empty() {
                    bucket.failed.remove(&failed.problem.key);
                } else {
                    bucket.failed.insert(failed.problem.key.clone(), failed.problem);
                }
            }
            "u" => {
                let at: At = serde_json::from_str(rest).ok()?;
                self.unanswered.entry(at.bucket).or_default().add(&at.key);
            }
            "i" | "w" => {
                let Upload { bucket, key, id } = serde_json::from_str(rest).ok()?;
                if kind == "i" || id.is_empty() {
                    self.unanswered.entry(bucket.clone()).or_default().remove(&key);
                }
                let uploads = &mut self.past.entry(bucket).or_default().uploads;
                if kind == "i" {
                    uploads.insert(id, key);
                } else {
                    uploads.remove(&id);
                }
            }
            "z" => self.is_over = true,
            "e" => {
                let ended: Begun = serde_json::from_str(rest).ok()?;
                self.past.entry(ended.bucket).or_default().ended = true;
            }
            // A later release may know more; what it says is not needed to be right.
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(versions: u64) -> Sums {
        Sums { keys: 1, versions, bytes: 10 * versions, ..Sums::default() }
    }

    fn written(path: &Path) {
        let (journal, past) = Journal::open(path, "one").unwrap();
        assert!(past.is_empty());
        journal.begun("b", true).unwrap();
        journal.touched("b", "m").unwrap();
        journal.done(7, sums(1)).unwrap();
        journal.checkpoint("b", "c\n\"ä").unwrap();
        for (key, id) in [("k", "1"), ("l", "2")] {
            journal.upload_begins("b", key).unwrap();
            journal.upload_is("b", key, id).unwrap();
        }
        journal.upload_is_over("b", "l", "2").unwrap();
        journal.upload_begins("b", "refused").unwrap();
        journal.upload_is_over("b", "refused", "").unwrap();
        journal.upload_begins("b", "lost").unwrap();
        journal.done(8, sums(2)).unwrap();
        let problem = Problem { key: "x".to_owned(), problem: "gone".to_owned(), ..Problem::default() };
        journal.failed("b", &problem).unwrap();
    }

    #[test]
    fn the_next_run_knows_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        written(&path);
        let (journal, past) = Journal::open(&path, "one").unwrap();
        let bucket = &past["b"];
        assert!(bucket.fresh && !bucket.ended);
        assert_eq!((bucket.after.as_deref(), bucket.touched.as_deref()), (Some("c\n\"ä"), Some("m")));
        assert_eq!(bucket.done, HashSet::from([8]), "what lies behind a checkpoint need not be known");
        assert_eq!((bucket.sums.keys, bucket.sums.versions, bucket.sums.bytes), (2, 3, 30));
        assert_eq!(bucket.failed["x"].problem, "gone");
        assert_eq!(bucket.uploads, BTreeMap::from([("1".to_owned(), "k".to_owned())]), "what is over is forgotten");
        assert_eq!(journal.unanswered("b"), ["lost"]);
        journal.upload_begins("b", "lost").unwrap();
        journal.upload_is("b", "lost", "3").unwrap();
        assert_eq!(journal.unanswered("b"), ["lost"], "the answer to a later call is none to the first");
    }

    #[test]
    fn a_torn_end_is_cut_off_and_anything_else_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        written(&path);
        let whole = std::fs::read(&path).unwrap();
        let lines = String::from_utf8(whole.clone()).unwrap().lines().count();
        for cut in 1..20 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (journal, _) = Journal::open(&path, "one").unwrap();
            journal.done(9, sums(1)).unwrap();
            drop(journal);
            let (_journal, past) = Journal::open(&path, "one").unwrap();
            assert!(past["b"].done.contains(&9) && past["b"].failed.is_empty(), "{cut}");
        }
        assert!(lines > 7);
        let mut damaged = whole.clone();
        damaged[60] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(matches!(Journal::open(&path, "one"), Err(JournalError::Damaged { .. })));
    }

    #[test]
    fn a_journal_is_of_one_migration_and_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (journal, _) = Journal::open(&path, "one").unwrap();
        assert!(matches!(Journal::open(&path, "one"), Err(JournalError::InUse { .. })));
        drop(journal);
        assert!(matches!(Journal::open(&path, "other"), Err(JournalError::Other { .. })));
        let (journal, _) = Journal::open(&path, "one").unwrap();
        journal.begun("b", true).unwrap();
        journal.ended("b").unwrap();
        drop(journal);
        let (journal, past) = Journal::open(&path, "one").unwrap();
        assert!(past["b"].ended);
        for _ in 0..2 {
            journal.upload_begins("b", "lost").unwrap();
        }
        journal.finished().unwrap();
        drop(journal);
        let (journal, past) = Journal::open(&path, "one").unwrap();
        assert!(past.is_empty(), "what is done is begun anew");
        journal.upload_begins("b", "lost").unwrap();
        journal.upload_is("b", "lost", "1").unwrap();
        drop(journal);
        for _ in 0..2 {
            let (journal, _) = Journal::open(&path, "one").unwrap();
            assert_eq!(journal.unanswered("b"), ["lost"], "whoever was to report it may have been killed");
            journal.finished().unwrap();
        }
    }
}
