//! A small S3: what the engine must do, without any of how it does it.

use std::collections::BTreeMap;

use crate::{Condition, List, MIN_PART, Op, Outcome, Which, listing::shown};

/// A version, or a delete marker where there are no parts. Numbers count versions and markers as they are made.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) number: usize,
    pub(crate) null: bool,
    pub(crate) parts: Option<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) parts: BTreeMap<u16, Vec<u8>>,
    pub(crate) aborted: bool,
    pub(crate) completed: Option<(List, Outcome)>,
}

/// One bucket. `versioning` is `None` until it is configured, then whether it is enabled.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) versioning: Option<bool>,
    /// The newest version first.
    pub(crate) keys: BTreeMap<String, Vec<Version>>,
    pub(crate) uploads: Vec<Upload>,
    made: usize,
}

impl Upload {
    pub(crate) fn is_open(&self) -> bool {
        !self.aborted && self.completed.is_none()
    }
}

impl Reference {
    pub(crate) fn apply(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Restart | Op::Collect => {}
            Op::Versioning(enabled) => self.versioning = Some(*enabled),
            Op::Create { key } => self.uploads.push(Upload { key: key.clone(), ..Upload::default() }),
            Op::Put { key, body, condition } => return self.publish(key, vec![body.clone()], *condition),
            Op::Get { key, which } => return self.get(key, *which),
            Op::Delete { key, which } => return self.delete(key, *which),
            Op::Part { upload, number, body } => {
                return self.change(*upload, |open| drop(open.parts.insert(*number, body.clone())));
            }
            Op::Abort { upload } => return self.change(*upload, |open| open.aborted = true),
            Op::Complete { upload, list, condition } => return self.complete(*upload, list, *condition),
            Op::List(what) => return Outcome::Listed(shown(self, what)),
        }
        Outcome::Done
    }

    fn change(&mut self, upload: usize, change: impl FnOnce(&mut Upload)) -> Outcome {
        let open = self.uploads.get_mut(upload).filter(|upload| upload.is_open());
        open.map(change).map_or(Outcome::Refused("NoSuchUpload"), |()| Outcome::Done)
    }

    pub(crate) fn current(&self, key: &str) -> Option<&Version> {
        self.keys.get(key)?.first().filter(|version| version.parts.is_some())
    }

    /// Adds a version or marker; a `null` one takes the place of another.
    fn add(&mut self, key: &str, parts: Option<Vec<Vec<u8>>>) -> (usize, bool) {
        let (number, null) = (self.made, self.versioning != Some(true));
        self.made += 1;
        let versions = self.keys.entry(key.to_owned()).or_default();
        versions.retain(|version| !(null && version.null));
        versions.insert(0, Version { number, null, parts });
        (number, null)
    }

    fn publish(&mut self, key: &str, parts: Vec<Vec<u8>>, condition: Condition) -> Outcome {
        match (condition, self.current(key)) {
            (Condition::Absent, Some(_)) => return Outcome::Refused("PreconditionFailed"),
            (Condition::Present, None) => return Outcome::Refused("NoSuchKey"),
            _ => {}
        }
        let (number, null) = self.add(key, Some(parts));
        Outcome::Wrote { number, null }
    }

    fn place(&self, key: &str, which: Which) -> Option<usize> {
        self.keys.get(key)?.iter().position(|version| match which {
            Which::Newest => true,
            Which::Null => version.null,
            Which::Number(number) => !version.null && version.number == number,
        })
    }

    fn get(&self, key: &str, which: Which) -> Outcome {
        let found = self.place(key, which).and_then(|place| self.keys.get(key)?.get(place));
        match (found.map(|version| &version.parts), which) {
            (Some(Some(parts)), _) => Outcome::Body(parts.concat()),
            (Some(None), Which::Newest) => Outcome::Refused("NoSuchKey, but a marker"),
            (None, Which::Newest) => Outcome::Refused("NoSuchKey"),
            (Some(None), _) => Outcome::Refused("IsDeleteMarker"),
            (None, _) => Outcome::Refused("NoSuchVersion"),
        }
    }

    fn delete(&mut self, key: &str, which: Which) -> Outcome {
        let named = match which {
            Which::Newest if self.versioning.is_none() => None,
            Which::Newest => {
                let (number, null) = self.add(key, None);
                let version = if null { Which::Null } else { Which::Number(number) };
                return Outcome::Deleted { marker: true, version: Some(version) };
            }
            Which::Null | Which::Number(_) => Some(which),
        };
        let place = self.place(key, which);
        let gone = place.and_then(|place| Some(self.keys.get_mut(key)?.remove(place)));
        Outcome::Deleted { marker: gone.is_some_and(|gone| gone.parts.is_none()), version: named }
    }

    fn complete(&mut self, upload: usize, list: &[(u16, Vec<u8>)], condition: Condition) -> Outcome {
        let Some(upload) = self.uploads.get(upload).filter(|it| !it.aborted).map(|_| upload) else {
            return Outcome::Refused("NoSuchUpload");
        };
        let Upload { key, parts, completed, .. } = &self.uploads[upload];
        match completed {
            Some((same, outcome)) if same == list => return outcome.clone(),
            Some(_) => return Outcome::Refused("NoSuchUpload"),
            None if list.is_empty() => return Outcome::Refused("NoParts"),
            None => {}
        }
        for (place, (number, body)) in list.iter().enumerate() {
            if parts.get(number) != Some(body) {
                return Outcome::Refused("InvalidPart");
            }
            if body.len() < MIN_PART && place + 1 < list.len() {
                return Outcome::Refused("EntityTooSmall");
            }
        }
        let key = key.clone();
        let outcome = self.publish(&key, list.iter().map(|(_, body)| body.clone()).collect(), condition);
        if matches!(outcome, Outcome::Wrote { .. }) {
            self.uploads[upload].completed = Some((list.to_vec(), outcome.clone()));
        }
        outcome
    }
}
