//! The checker fails where it must: each fault of a small simulated store is caught, and the store without one passes.

use std::collections::BTreeMap;

use super::{
    Change, History, Mode, Outcome, State, Version, Violation, What,
    payload::{self, Tag},
};
use crate::support::random::Random;

fn tag(number: u32) -> Tag {
    Tag { writer: 3, number, length: 200 }
}

fn object(tag: Tag) -> State {
    State { versions: vec![Version { id: None, what: What::Object(vec![tag]), label: None }], ..State::default() }
}

fn done() -> Outcome {
    Outcome::Done(None)
}

#[test]
fn a_payload_names_itself_whole_and_joined() {
    let mut bytes = tag(1).bytes();
    bytes.extend(tag(2).bytes());
    assert_eq!(payload::read(&bytes).unwrap(), [tag(1), tag(2)]);
    assert_eq!(payload::read(&[]).unwrap(), []);
}

#[test]
fn torn_bytes_are_caught() {
    let (old, new) = (tag(1).bytes(), tag(2).bytes());
    payload::read(&old[..199]).unwrap_err();
    payload::read(&old[1..]).unwrap_err();
    payload::read(&[&new[..100], &old[100..]].concat()).unwrap_err();
    let mut flipped = old.clone();
    flipped[150] ^= 1;
    payload::read(&flipped).unwrap_err();
    payload::read(&[0; 200]).unwrap_err();
}

#[test]
fn a_lost_acknowledged_write_is_caught() {
    let mut history = History::new(Mode::Plain);
    history.note(&Change::Put(vec![tag(1)]), &done());
    history.note(&Change::Put(vec![tag(2)]), &done());
    history.clone().observe(&object(tag(1))).unwrap_err();
    history.clone().observe(&State::default()).unwrap_err();
    history.observe(&object(tag(2))).unwrap();
}

#[test]
fn a_resurrected_object_is_caught() {
    let mut history = History::new(Mode::Plain);
    history.note(&Change::Put(vec![tag(1)]), &done());
    history.note(&Change::Delete, &done());
    history.observe(&object(tag(1))).unwrap_err();
}

#[test]
fn an_unknown_outcome_may_be_either_but_not_change_its_mind() {
    let mut history = History::new(Mode::Plain);
    history.note(&Change::Put(vec![tag(1)]), &done());
    history.note(&Change::Put(vec![tag(2)]), &Outcome::Unknown);
    history.clone().observe(&object(tag(2))).unwrap();
    history.clone().observe(&object(tag(3))).unwrap_err();
    history.observe(&object(tag(1))).unwrap();
    history.observe(&object(tag(1))).unwrap();
    history.observe(&object(tag(2))).unwrap_err();
}

#[test]
fn a_read_between_two_writes_is_checked() {
    let mut history = History::new(Mode::Plain);
    history.check_read(None).unwrap();
    history.note(&Change::Put(vec![tag(1)]), &done());
    history.check_read(Some(&[tag(1)])).unwrap();
    history.check_read(None).unwrap_err();
    history.check_read(Some(&[tag(1), tag(1)])).unwrap_err();
}

#[test]
fn dropped_swapped_and_renamed_versions_are_caught() {
    let mut history = History::new(Mode::Versioned);
    history.note(&Change::Put(vec![tag(1)]), &Outcome::Done(Some("a".to_owned())));
    history.note(&Change::Delete, &Outcome::Done(Some("b".to_owned())));
    let version = |id: &str, what| Version { id: Some(id.to_owned()), what, label: None };
    let state = |versions| State { versions, ..State::default() };
    let (one, two) = (version("a", What::Object(vec![tag(1)])), version("b", What::Marker));
    for wrong in [
        vec![two.clone()],
        vec![one.clone()],
        vec![one.clone(), two.clone()],
        vec![version("c", What::Marker), one.clone()],
        vec![two.clone(), one.clone(), one.clone()],
        vec![two.clone(), Version { label: Some(1), ..one.clone() }],
    ] {
        history.clone().observe(&state(wrong)).unwrap_err();
    }
    history.observe(&state(vec![two, one])).unwrap();
}

#[test]
fn lost_parts_and_uploads_are_caught() {
    let mut history = History::new(Mode::Plain);
    let upload = || "u".to_owned();
    history.note(&Change::Begin, &Outcome::Done(Some(upload())));
    history.note(&Change::Part { upload: upload(), number: 1, tag: tag(1) }, &done());
    let state = |uploads| State { uploads, ..State::default() };
    let whole = BTreeMap::from([(upload(), BTreeMap::from([(1, tag(1))]))]);
    history.clone().observe(&State::default()).unwrap_err();
    history.clone().observe(&state(BTreeMap::from([(upload(), BTreeMap::new())]))).unwrap_err();
    history.clone().observe(&state(whole.clone())).unwrap();
    history.note(&Change::Complete { upload: upload(), tags: vec![tag(1)] }, &Outcome::Unknown);
    history.clone().observe(&state(whole.clone())).unwrap();
    history.clone().observe(&object(tag(1))).unwrap();
    // Neither both nor neither.
    history.clone().observe(&State { uploads: whole, ..object(tag(1)) }).unwrap_err();
    history.observe(&State::default()).unwrap_err();

    let mut history = History::new(Mode::Plain);
    history.note(&Change::Begin, &Outcome::Unknown);
    history.clone().observe(&state(BTreeMap::from([("nobody told".to_owned(), BTreeMap::new())]))).unwrap();
    history.observe(&State::default()).unwrap();
}

/// Ways in which stores have lost data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    AcknowledgesBeforeItSyncs,
    WritesMetadataFirst,
    OverwritesInPlace,
    DeletesLate,
    DropsVersions,
}

/// One key of a store: what is durable and what only memory holds.
#[derive(Debug)]
struct Store {
    fault: Fault,
    mode: Mode,
    disk: Vec<(What, Vec<u8>)>,
    memory: Vec<(What, Vec<u8>)>,
}

impl Store {
    fn apply(&mut self, change: &Change, random: &mut Random) {
        let mut next = self.memory.clone();
        if self.mode == Mode::Plain {
            next.clear();
        }
        match change {
            Change::Put(tags) => next.insert(0, (What::Object(tags.clone()), tags[0].bytes())),
            _ if self.mode == Mode::Versioned => next.insert(0, (What::Marker, Vec::new())),
            _ => {}
        }
        if self.fault == Fault::DropsVersions && random.chance(20) {
            next.truncate(1);
        }
        self.memory = next;
        let late = match change {
            Change::Put(_) => self.fault == Fault::AcknowledgesBeforeItSyncs,
            _ => self.fault == Fault::DeletesLate,
        };
        if !(late && random.chance(50)) {
            self.disk.clone_from(&self.memory);
        }
    }

    /// A write under way at the crash; the writer never hears of it.
    fn crash_within(&mut self, tag: Tag, random: &mut Random) {
        let mut new = tag.bytes();
        match self.fault {
            Fault::WritesMetadataFirst => new.truncate(100),
            Fault::OverwritesInPlace => {
                if let Some((_, old)) = self.disk.first_mut().filter(|(_, old)| !old.is_empty()) {
                    old[..100].copy_from_slice(&new[..100]);
                }
                return self.restart();
            }
            _ => {}
        }
        if self.mode == Mode::Plain {
            self.disk.clear();
        }
        if random.chance(50) {
            self.disk.insert(0, (What::Object(vec![tag]), new));
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.memory.clone_from(&self.disk);
    }

    fn look(&self) -> Result<State, Violation> {
        let version = |(what, bytes): &(What, Vec<u8>)| {
            let what = match what {
                What::Marker => What::Marker,
                What::Object(_) => What::Object(payload::read(bytes)?),
            };
            Ok(Version { id: None, what, label: None })
        };
        Ok(State { versions: self.memory.iter().map(version).collect::<Result<_, _>>()?, ..State::default() })
    }
}

/// Runs a store with `fault` through random changes and crashes.
fn survives(fault: Fault, mode: Mode, seed: u64) -> Result<(), Violation> {
    let mut random = Random::new(seed);
    let mut store = Store { fault, mode, disk: Vec::new(), memory: Vec::new() };
    let mut history = History::new(mode);
    for number in 0..60 {
        let change = if random.chance(70) { Change::Put(vec![tag(number)]) } else { Change::Delete };
        store.apply(&change, &mut random);
        history.note(&change, &done());
        if random.chance(15) {
            let lost = tag(1000 + number);
            // In a plain store the old object stays unless the new one takes its place.
            let before = store.disk.clone();
            store.crash_within(lost, &mut random);
            if mode == Mode::Plain && store.disk.is_empty() {
                store.disk = before;
                store.restart();
            }
            history.note(&Change::Put(vec![lost]), &Outcome::Unknown);
            history.observe(&store.look()?)?;
        }
    }
    Ok(())
}

#[test]
fn every_faulty_store_is_caught_and_the_good_one_passes() {
    for mode in [Mode::Plain, Mode::Versioned] {
        for seed in 0..200 {
            survives(Fault::None, mode, seed).unwrap();
        }
        for fault in [
            Fault::AcknowledgesBeforeItSyncs,
            Fault::WritesMetadataFirst,
            Fault::OverwritesInPlace,
            Fault::DeletesLate,
            Fault::DropsVersions,
        ] {
            if mode == Mode::Plain && fault == Fault::DropsVersions {
                continue;
            }
            let caught = (0..200).filter(|seed| survives(fault, mode, *seed).is_err()).count();
            assert!(caught > 50, "{fault:?} is caught in {caught} of 200 histories only");
        }
    }
}
