//! What damage in the write-ahead log means: an unfinished end, or lost commits.
//!
//! A crash leaves a record cut short; a power cut may persist the pages of unsynced records in any order. Both must be
//! cut off without help. But a log that is damaged before commits that were acknowledged must be left alone for whoever
//! has a backup. None of RocksDB's recovery modes tells them apart: the lenient ones drop what follows a damage, and
//! even the strict one takes a stretch of zeros, or a length that points past the end, for the end of the log. So the
//! logs are read here first, and RocksDB is given sound ones only.
//!
//! Their format is fixed and documented (wiki of RocksDB, "Write Ahead Log File Format"):
//!
//! | what | bytes |
//! |---|---|
//! | block | 32 KiB of fragments; fewer than 7 bytes at its end are padding |
//! | fragment | masked CRC-32C of type and payload (4, little endian) ‖ length (2) ‖ type (1) ‖ payload |
//! | record | one `FULL` fragment, or `FIRST`, any number of `MIDDLE`, `LAST` |
//! | payload | sequence number (8, little endian) ‖ count (4) ‖ [`Mark`], as log data ‖ writes |

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, checksum};
use xxhash_rust::xxh3::xxh3_64;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
// Between them: 3, `MIDDLE`.
const LAST: u8 = 4;
/// The tag of log data, and the length of a mark.
const MARK_TAG: [u8; 2] = [3, 16];
/// The part of a payload that is looked at.
const HEAD: usize = 8 + 4 + MARK_TAG.len() + 16;

/// What each record of ours begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Stands for the database. Nobody outside knows it: an object that looks like a log is not taken for one.
    store: u64,
    /// The last sequence number that was durable when the record was written.
    durable: u64,
}

impl Mark {
    /// A mark of the database with this identity, which RocksDB gives it when it creates it.
    pub(super) fn new(identity: &[u8], durable: u64) -> Self {
        Self { store: xxh3_64(identity), durable }
    }

    /// The same database's mark at a later time.
    pub(super) fn at(self, durable: u64) -> Self {
        Self { durable, ..self }
    }

    /// The log data.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.store) << 64 | u128::from(self.durable)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default();
        Self { store: half(both >> 64), durable: half(both) }
    }
}

/// What is in the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything that was durable, up to these ends.
    Whole(Vec<Extent>),
    /// Commits that were durable are unreadable.
    Lost {
        /// The last sequence number before the gap.
        readable: u64,
        /// The first one after it.
        resumed: u64,
    },
}

/// How much of a log is good, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The end of the last record that counts.
    pub(super) good: u64,
    /// The end of the file.
    pub(super) length: u64,
}

/// Judges the logs of the database with this identity, oldest first.
pub(super) fn judge<R: Read>(identity: &[u8], logs: impl IntoIterator<Item = R>) -> io::Result<Verdict> {
    let store = Mark::new(identity, 0).store;
    let mut readable = None;
    let mut extents = Vec::new();
    for mut log in logs {
        let mut records = Records::default();
        let mut block = Vec::with_capacity(BLOCK);
        let mut good = 0;
        while log.by_ref().take(BLOCK as u64).read_to_end(&mut block)? > 0 {
            for head in records.of_block(&block) {
                match place(&head, store, readable) {
                    Place::Next { last } => (readable, good) = (Some(last), head.end),
                    Place::Stray => {}
                    Place::Beyond { readable } => return Ok(Verdict::Lost { readable, resumed: head.first }),
                }
            }
            block.clear();
        }
        extents.push(Extent { good, length: records.offset });
    }
    Ok(Verdict::Whole(extents))
}

/// Where a record stands.
enum Place {
    /// After the one before, or anywhere if it is the first; `last` is its last sequence number.
    Next { last: u64 },
    /// Behind a gap that was never durable, and so not durable itself.
    Stray,
    /// Behind a gap that was durable.
    Beyond { readable: u64 },
}

fn place(head: &Head, store: u64, readable: Option<u64>) -> Place {
    // A few records are not the committer's: those are written with all before them synced, and never amid others.
    let durable = match head.mark.filter(|mark| mark.store == store) {
        Some(mark) => mark.durable,
        None if head.after_damage => return Place::Stray,
        None => head.first.saturating_sub(1),
    };
    // Sequence numbers are dense, so a gap is what cannot be read. Where the oldest log begins is not known.
    let missing = u64::from(head.after_damage);
    let readable = readable.unwrap_or(head.first.saturating_sub(1 + missing));
    if head.first <= readable + 1 {
        return Place::Next { last: (head.first + head.count).saturating_sub(1).max(readable) };
    }
    if durable > readable { Place::Beyond { readable } } else { Place::Stray }
}

/// What matters of a record.
#[derive(Clone, Copy, Debug)]
struct Head {
    first: u64,
    /// Zero in the record by which RocksDB says where a recovery ended.
    count: u64,
    mark: Option<Mark>,
    /// Whether something unreadable lies between it and the record before it.
    after_damage: bool,
    /// Where the record ends in its log.
    end: u64,
}

impl Head {
    fn parse(payload: &[u8], after_damage: bool, end: u64) -> Option<Self> {
        let (first, rest) = payload.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let mark = rest.strip_prefix(&MARK_TAG).and_then(|rest| rest.first_chunk()).copied().map(Mark::from_bytes);
        let count = u32::from_le_bytes(*count).into();
        Some(Self { first: u64::from_le_bytes(*first), count, mark, after_damage, end })
    }
}

/// Finds the complete records of a log, block by block, those after a damage too.
#[derive(Default)]
struct Records {
    /// Where the next block begins.
    offset: u64,
    damaged: bool,
    /// The beginning of the record that is being put together.
    head: Option<Vec<u8>>,
}

impl Records {
    /// The records that end in the next block.
    fn of_block(&mut self, block: &[u8]) -> Vec<Head> {
        let mut found = Vec::new();
        let mut rest = block;
        while rest.len() >= HEADER {
            if let Some((kind, payload)) = fragment(rest) {
                rest = rest.get(HEADER + payload.len()..).unwrap_or_default();
                let end = self.offset + (block.len() - rest.len()) as u64;
                found.extend(self.assemble(kind, payload, end));
            } else {
                // The length cannot be trusted either: look for the next fragment at every byte.
                (self.damaged, self.head) = (true, None);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        self.offset += block.len() as u64;
        found
    }

    /// Takes in a fragment; returns the head of the record that it completes.
    fn assemble(&mut self, kind: u8, payload: &[u8], end: u64) -> Option<Head> {
        if kind == FULL || kind == FIRST {
            // A record that was begun and not ended is as bad as one that cannot be read.
            self.damaged |= self.head.is_some();
            self.head = Some(payload.iter().take(HEAD).copied().collect());
        } else if let Some(head) = &mut self.head {
            head.extend(payload.iter().take(HEAD.saturating_sub(head.len())));
        } else {
            self.damaged = true;
        }
        if kind != FULL && kind != LAST {
            return None;
        }
        let head = Head::parse(&self.head.take()?, self.damaged, end)?;
        self.damaged = false;
        Some(head)
    }
}

/// The type and payload of the fragment at the beginning of `bytes`, if one is there.
fn fragment(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (stored, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let body = rest.get(..=usize::from(u16::from_le_bytes(*length)))?;
    let (kind, payload) = body.split_first()?;
    let sound = (FULL..=LAST).contains(kind) && u32::from_le_bytes(*stored) == masked(body);
    sound.then_some((*kind, payload))
}

/// CRC-32C as RocksDB stores it: turned and shifted, so that a checksum of checksums stays meaningful.
fn masked(bytes: &[u8]) -> u32 {
    let crc = u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or_default();
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDENTITY: &[u8] = b"a database";
    const MIDDLE: u8 = 3;

    /// A log of records with the given sequence numbers, marks and lengths, as RocksDB writes it.
    fn log(records: &[(u64, u64, usize)]) -> (Vec<u8>, Vec<usize>) {
        let (mut log, mut ends) = (Vec::new(), Vec::new());
        for (first, durable, length) in records {
            let mut payload = [&first.to_le_bytes()[..], &1_u32.to_le_bytes(), &MARK_TAG].concat();
            payload.extend(Mark::new(IDENTITY, *durable).to_bytes());
            payload.extend((0..=250_u8).cycle().take(*length));
            append(&mut log, &payload);
            ends.push(log.len());
        }
        (log, ends)
    }

    fn append(log: &mut Vec<u8>, mut payload: &[u8]) {
        let mut begun = false;
        loop {
            let left = BLOCK - log.len() % BLOCK;
            if left < HEADER {
                log.resize(log.len() + left, 0);
                continue;
            }
            let (now, later) = payload.split_at(payload.len().min(left - HEADER));
            let kind = match (begun, later.is_empty()) {
                (false, true) => FULL,
                (false, false) => FIRST,
                (true, false) => MIDDLE,
                (true, true) => LAST,
            };
            let body = [&[kind], now].concat();
            log.extend(masked(&body).to_le_bytes());
            log.extend(u16::try_from(now.len()).unwrap().to_le_bytes());
            log.extend(body);
            (payload, begun) = (later, true);
            if payload.is_empty() {
                return;
            }
        }
    }

    /// The good part of a log, or that commits are lost.
    fn verdict(log: &[u8]) -> Result<usize, (u64, u64)> {
        verdicts(&[log]).map(|good| good[0])
    }

    fn verdicts(logs: &[&[u8]]) -> Result<Vec<usize>, (u64, u64)> {
        match judge(IDENTITY, logs.iter().copied()).unwrap() {
            Verdict::Whole(extents) => {
                assert!(extents.iter().zip(logs).all(|(extent, log)| extent.length == log.len() as u64));
                Ok(extents.iter().map(|extent| usize::try_from(extent.good).unwrap()).collect())
            }
            Verdict::Lost { readable, resumed } => Err((readable, resumed)),
        }
    }

    #[test]
    fn the_checksum_is_that_of_rocksdb() {
        // From the tests of RocksDB's predecessor: CRC-32C of 32 zeros, masked.
        assert_eq!(masked(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn synced_records_that_are_followed_by_others_are_missed() {
        let (good, ends) = log(&[(1, 0, 30), (2, 1, 40), (3, 2, 50)]);
        assert_eq!(verdict(&good), Ok(ends[2]));
        for at in 0..ends[1] {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let gap = if at < ends[0] { (0, 2) } else { (1, 3) };
                assert_eq!(verdict(&bad), Err(gap), "bit {bit} of byte {at}");
            }
        }
        for at in ends[1]..ends[2] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(verdict(&bad), Ok(ends[1]), "byte {at}");
            assert_eq!(verdict(&good[..at]), Ok(ends[1]), "cut at {at}");
        }
    }

    #[test]
    fn unsynced_records_may_be_missing_in_the_middle() {
        let (mut log, ends) = log(&[(1, 0, 30), (2, 1, 40), (3, 1, 50), (4, 1, 60)]);
        log[ends[0]..ends[2]].fill(0);
        assert_eq!(verdict(&log), Ok(ends[0]));
    }

    #[test]
    fn a_sync_after_a_damaged_record_proves_the_loss() {
        let (mut log, ends) = log(&[(1, 0, 30), (2, 1, 40), (3, 1, 50), (4, 3, 60)]);
        log[ends[0] + 20] ^= 1;
        assert_eq!(verdict(&log), Err((1, 4)));
    }

    #[test]
    fn a_log_that_resumes_where_an_earlier_recovery_cut_off_has_lost_nothing() {
        let (mut old, ends) = log(&[(1, 0, 30), (2, 1, 40), (3, 1, 50)]);
        old[ends[0] + 20] ^= 1;
        let (new, new_ends) = log(&[(2, 1, 10), (3, 2, 10)]);
        assert_eq!(verdicts(&[&old, &new]), Ok(vec![ends[0], new_ends[1]]));
        let (beyond, _) = log(&[(4, 3, 10)]);
        assert_eq!(verdicts(&[&old, &beyond]), Err((1, 4)));
    }

    #[test]
    fn an_object_that_looks_like_a_log_is_not_taken_for_one() {
        let (mut own, ends) = log(&[(1, 0, 30)]);
        own.extend([0xee; 11]);
        own.extend(log(&[(9, 8, 10)]).0);
        assert_eq!(verdict(&own), Err((1, 9)));
        let (mut own, _) = log(&[(1, 0, 30)]);
        own.extend([0xee; 11]);
        let mut payload = [&9_u64.to_le_bytes()[..], &1_u32.to_le_bytes(), &MARK_TAG].concat();
        payload.extend(Mark::new(b"another database", 8).to_bytes());
        append(&mut own, &payload);
        assert_eq!(verdict(&own), Ok(ends[0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn records_of_any_length_are_found_before_and_after_a_damage(
            lengths in prop::collection::vec(0_usize..90_000, 3..8),
            place in any::<prop::sample::Index>(),
        ) {
            let records: Vec<_> = lengths.iter().zip(1_u64..).map(|(length, n)| (n, n - 1, *length)).collect();
            let (mut log, ends) = log(&records);
            prop_assert_eq!(verdict(&log), Ok(log.len()));
            let at = place.index(ends[ends.len() - 2]);
            // Padding between blocks carries nothing; a damage there must not matter.
            let is_padding = log[at] == 0 && BLOCK - at % BLOCK < HEADER;
            log[at] ^= 0x10;
            prop_assert!(verdict(&log).is_err() || is_padding && verdict(&log) == Ok(log.len()), "byte {}", at);
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
            prop_assert_eq!(verdict(&bytes), Ok(0));
        }
    }
}
