//! A writer: the only one of its keys, doing one random thing after the other until it does not get an answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::observe::{Known, md5};
use crate::{
    history::{
        Change, History, Mode, Outcome, State, Violation,
        payload::{self, LINE, Tag},
    },
    support::{
        client::{Answer, Client, Request},
        random::Random,
    },
};

/// The largest body that lives in the metadata store.
pub(crate) const INLINE: u32 = 64 << 10;
/// Versions of a key beyond which the writer removes some.
const MANY: usize = 6;

/// What all writers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) known: Mutex<Known>,
}

/// A key and its history.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) bucket: &'static str,
    pub(crate) name: String,
    pub(crate) history: History,
    mode: Mode,
}

#[derive(Debug)]
pub(crate) struct Writer {
    number: u16,
    payloads: u32,
    random: Random,
    pub(crate) keys: Vec<Key>,
    shared: Arc<Shared>,
}

impl Writer {
    pub(crate) fn new(number: u16, seed: u64, buckets: [(&'static str, Mode); 2], shared: Arc<Shared>) -> Self {
        let key = |index: u32| {
            let (bucket, mode) = buckets[usize::from(index % 2 == 1)];
            Key { bucket, name: format!("w{number:02}/k{index}"), history: History::new(mode), mode }
        };
        let random = Random::new(seed ^ u64::from(number) << 40);
        Self { number, payloads: 0, random, keys: (0..6).map(key).collect(), shared }
    }

    /// Works until an outcome is unknown.
    pub(crate) async fn work(&mut self, client: &Client) -> Result<(), Violation> {
        loop {
            let index = usize::try_from(self.random.within(0..self.keys.len() as u64)).unwrap();
            if self.random.chance(12) {
                if !self.read(client, index).await? {
                    return Ok(());
                }
                continue;
            }
            let Some((change, request)) = self.choose(index) else { continue };
            let outcome = outcome(&change, client.send(request).await)?;
            self.keys[index].history.note(&change, &outcome);
            if matches!(outcome, Outcome::Unknown) {
                self.shared.unknown.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads a key; `false` if there was no answer.
    async fn read(&mut self, client: &Client, index: usize) -> Result<bool, Violation> {
        let key = &self.keys[index];
        let Ok(answer) = client.get(&key.path()).await else { return Ok(false) };
        if answer.status.is_server_error() {
            return Ok(false);
        }
        let seen = (answer.status != 404).then(|| payload::read(&answer.body)).transpose()?;
        key.history.check_read(seen.as_deref())?;
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// A change that makes sense in the key's state, and its request. `None`: choose again.
    fn choose(&mut self, index: usize) -> Option<(Change, Request)> {
        let state = self.keys[index].history.state()?.clone();
        let object = |key: &Key, method| Request::new(method, key.path());
        if self.keys[index].mode == Mode::Versioned && state.versions.len() > MANY && self.random.chance(70) {
            let id = self.random.pick(&state.versions).id.clone()?;
            let request = object(&self.keys[index], "DELETE").query("versionId", &id);
            return Some((Change::DeleteVersion(id), request));
        }
        Some(match self.random.within(0..100) {
            0..45 => {
                let tag = self.payload();
                let request = object(&self.keys[index], "PUT").header("x-amz-meta-name", tag.number);
                (Change::Put(vec![tag]), request.body(tag.bytes()))
            }
            45..55 => (Change::Delete, object(&self.keys[index], "DELETE")),
            55..61 => {
                state.current()?;
                let label = self.payload().number;
                let set = format!("<Tagging><TagSet><Tag><Key>l</Key><Value>{label}</Value></Tag></TagSet></Tagging>");
                (Change::Label(label), object(&self.keys[index], "PUT").query("tagging", "").body(set))
            }
            61..68 => self.copy(index)?,
            _ => self.multipart(index, &state),
        })
    }

    /// Copies from another of the writer's keys: a small object, which has no file of its own.
    fn copy(&mut self, index: usize) -> Option<(Change, Request)> {
        let from = self.random.pick(&self.keys);
        let tags = from.history.state()?.current()?.to_vec();
        if tags.iter().map(|tag| tag.length).sum::<u32>() > INLINE || from.name == self.keys[index].name {
            return None;
        }
        let request = Request::new("PUT", self.keys[index].path()).header("x-amz-copy-source", from.path());
        Some((Change::Put(tags), request.header("x-amz-tagging-directive", "REPLACE")))
    }

    fn multipart(&mut self, index: usize, state: &State) -> (Change, Request) {
        let path = self.keys[index].path();
        let Some((upload, parts)) = state.uploads.iter().next() else {
            return (Change::Begin, Request::new("POST", path).query("uploads", ""));
        };
        let upload = upload.clone();
        let request = |method| Request::new(method, path.clone()).query("uploadId", &upload);
        match self.random.within(0..100) {
            0..12 => (Change::Abort(upload.clone()), request("DELETE")),
            12..35 if !parts.is_empty() => {
                let tags = parts.values().copied().collect();
                (Change::Complete { upload: upload.clone(), tags }, request("POST").body(completion(parts)))
            }
            _ => {
                let number = u32::try_from(self.random.within(1..5)).unwrap();
                let tag = self.payload();
                let bytes = tag.bytes();
                self.shared.known.lock().unwrap().insert(md5(&bytes), tag);
                let request = request("PUT").query("partNumber", number).body(bytes);
                (Change::Part { upload: upload.clone(), number, tag }, request)
            }
        }
    }

    /// A new payload: most are small, some become files.
    fn payload(&mut self) -> Tag {
        self.payloads += 1;
        let length = match self.random.within(0..100) {
            0..60 => self.random.within(LINE as u64..20_000),
            60..65 => u64::from(INLINE) + self.random.within(0..2),
            _ => self.random.within(u64::from(INLINE) + 1..300_000),
        };
        Tag { writer: self.number, number: self.payloads, length: u32::try_from(length).unwrap() }
    }
}

impl Key {
    pub(crate) fn path(&self) -> String {
        format!("/{}/{}", self.bucket, self.name)
    }
}

fn completion(parts: &BTreeMap<u32, Tag>) -> String {
    let part = |(number, tag): (&u32, &Tag)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag></Part>", md5(&tag.bytes()))
    };
    let parts: String = parts.iter().map(part).collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// What an answer says about a change.
fn outcome(change: &Change, answer: std::io::Result<Answer>) -> Result<Outcome, Violation> {
    let Ok(answer) = answer else { return Ok(Outcome::Unknown) };
    if answer.status.is_server_error() {
        return Ok(Outcome::Unknown);
    }
    if !answer.status.is_success() {
        return Err(Violation(format!("{change:?} is answered with {} {}", answer.status, answer.text())));
    }
    // Completion and copy answer 200 before they are done: the body has the last word.
    if answer.text().contains("<Error>") {
        return Ok(Outcome::Unknown);
    }
    if matches!(change, Change::Begin) {
        return Ok(Outcome::Done(crate::support::xml::first(answer.text(), "UploadId").map(str::to_owned)));
    }
    let id = answer.header("x-amz-version-id");
    Ok(Outcome::Done((!id.is_empty() && id != "null").then(|| id.to_owned())))
}
