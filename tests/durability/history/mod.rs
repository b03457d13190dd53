//! The history checker: what one key may hold, given what its only writer was told.
//!
//! The allowed states of a key begin as "nothing there". An acknowledged change replaces each allowed state by its
//! successor, a change of unknown outcome adds the successors, and what is seen after a restart becomes the only
//! allowed state: nothing may change its mind later. A checker that cannot fail proves nothing: see `tests`.

pub(crate) mod payload;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use payload::Tag;

/// Whether old versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Versioned,
}

/// What a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An object of these payloads, one after the other.
    Object(Vec<Tag>),
    /// A delete marker.
    Marker,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Its id, where it has one and the writer knows it.
    pub(crate) id: Option<String>,
    pub(crate) what: What,
    /// The value of its only tag (as in `PutObjectTagging`).
    pub(crate) label: Option<u32>,
}

/// Everything a key holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Newest first.
    pub(crate) versions: Vec<Version>,
    /// Open uploads and their parts. An upload whose id the writer was never told has a name that begins with `?`.
    pub(crate) uploads: BTreeMap<String, BTreeMap<u32, Tag>>,
}

/// What a writer asks for.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A new object, by PUT or copy.
    Put(Vec<Tag>),
    Delete,
    DeleteVersion(String),
    /// Sets the tag of the newest version.
    Label(u32),
    Begin,
    Part {
        upload: String,
        number: u32,
        tag: Tag,
    },
    Complete {
        upload: String,
        tags: Vec<Tag>,
    },
    Abort(String),
}

/// What the writer was told.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Done, with the id of the version or upload made.
    Done(Option<String>),
    /// No answer, or one that says nothing (5xx).
    Unknown,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation(pub(crate) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The history of one key.
#[derive(Clone, Debug)]
pub(crate) struct History {
    mode: Mode,
    allowed: Vec<State>,
}

impl History {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, allowed: vec![State::default()] }
    }

    /// Notes a change and what came of it.
    pub(crate) fn note(&mut self, change: &Change, outcome: &Outcome) {
        match outcome {
            Outcome::Done(id) => {
                for state in &mut self.allowed {
                    *state = state.after(change, self.mode, id.as_deref());
                }
            }
            Outcome::Unknown => {
                let added: Vec<_> = self.allowed.iter().map(|state| state.after(change, self.mode, None)).collect();
                self.allowed.extend(added);
            }
        }
    }

    /// The state, as long as no outcome is unknown.
    pub(crate) fn state(&self) -> Option<&State> {
        match self.allowed.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// What was seen becomes what is there.
    pub(crate) fn observe(&mut self, seen: &State) -> Result<(), Violation> {
        let ids: Vec<_> = seen.versions.iter().filter_map(|version| version.id.as_ref()).collect();
        if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
            return Err(Violation(format!("a version id came twice: {seen:?}")));
        }
        if !self.allowed.iter().any(|state| state.may_look_like(seen)) {
            return Err(Violation(format!("allowed: {:?}\nseen: {seen:?}", self.allowed)));
        }
        self.allowed = vec![seen.clone()];
        Ok(())
    }

    /// What a GET may return: the payloads of the newest version, or that there is none.
    pub(crate) fn check_read(&self, seen: Option<&[Tag]>) -> Result<(), Violation> {
        if self.allowed.iter().any(|state| state.current() == seen) {
            return Ok(());
        }
        Err(Violation(format!("allowed: {:?}\nread: {seen:?}", self.allowed)))
    }
}

impl State {
    /// The payloads of the newest version, unless it is a delete marker.
    pub(crate) fn current(&self) -> Option<&[Tag]> {
        match &self.versions.first()?.what {
            What::Object(tags) => Some(tags),
            What::Marker => None,
        }
    }

    fn after(&self, change: &Change, mode: Mode, id: Option<&str>) -> Self {
        let mut state = self.clone();
        match change {
            Change::Put(tags) => state.add(What::Object(tags.clone()), mode, id),
            Change::Delete if mode == Mode::Versioned => state.add(What::Marker, mode, id),
            Change::Delete => state.versions.clear(),
            Change::DeleteVersion(gone) => state.versions.retain(|version| version.id.as_ref() != Some(gone)),
            Change::Label(label) => {
                if let Some(newest) = state.versions.first_mut() {
                    newest.label = Some(*label);
                }
            }
            Change::Begin => {
                let name = id.map_or_else(|| format!("?{}", state.uploads.len()), str::to_owned);
                state.uploads.insert(name, BTreeMap::new());
            }
            Change::Part { upload, number, tag } => {
                if let Some(parts) = state.uploads.get_mut(upload) {
                    parts.insert(*number, *tag);
                }
            }
            Change::Complete { upload, tags } => {
                // A second completion of the same upload answers as the first did and changes nothing.
                if state.uploads.remove(upload).is_some() {
                    state.add(What::Object(tags.clone()), mode, id);
                }
            }
            Change::Abort(upload) => {
                state.uploads.remove(upload);
            }
        }
        state
    }

    fn add(&mut self, what: What, mode: Mode, id: Option<&str>) {
        if mode == Mode::Plain {
            self.versions.clear();
        }
        self.versions.insert(0, Version { id: id.map(str::to_owned), what, label: None });
    }

    /// Whether `seen` is this state, as far as the writer knows it.
    fn may_look_like(&self, seen: &Self) -> bool {
        let same_version = |(own, seen): (&Version, &Version)| {
            own.what == seen.what && own.label == seen.label && (own.id.is_none() || own.id == seen.id)
        };
        let (unknown, known): (Vec<_>, Vec<_>) = self.uploads.iter().partition(|(id, _)| id.starts_with('?'));
        let mut others = seen.uploads.clone();
        let known_are_there = known.iter().all(|(id, parts)| others.remove(*id).as_ref() == Some(*parts));
        self.versions.len() == seen.versions.len()
            && self.versions.iter().zip(&seen.versions).all(same_version)
            && known_are_there
            && others.len() == unknown.len()
            && others.values().all(BTreeMap::is_empty)
    }
}
