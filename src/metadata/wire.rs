//! What a front and a metadata module say to each other: Protocol Buffers messages, as docs/modules.md has them.
//!
//! The field numbers are the protocol, version 1. They are never reused; unknown fields are skipped.

use std::{fmt, ops::Range};

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

use super::{Batch, CommonPrefixes, Condition, Direction, Durability, Growth, Namespace, Table, Write};
use crate::types::BucketId;

/// Where one key is read; answered with its value.
pub const GET: &str = "/v1/get";
/// Where pairs are read; answered with [`Row`]s, each behind its length.
pub const SCAN: &str = "/v1/scan";
/// Where a batch is committed.
pub const BATCH: &str = "/v1/batch";
/// Where a front begins a session, which ends those before it.
pub const SESSION: &str = "/v1/session";
/// Where a consistent view is opened; `DELETE` of this and its name closes it.
pub const VIEW: &str = "/v1/view";
/// The name of the store.
pub const UUID: &str = "/v1/uuid";
/// Figures of the store.
pub const USAGE: &str = "/v1/usage";
/// Whether the module works.
pub const HEALTH: &str = "/healthz";

/// Header of a request with names of views that nobody needs any more, separated by commas.
pub const DROP_VIEWS: &str = "x-cloudserver-drop-views";
/// Header of an answer: the store takes no writes.
pub const READ_ONLY: &str = "x-cloudserver-read-only";

/// Most bytes of a row, or of a batch.
pub const MOST_BYTES: usize = 64 << 20;
/// Most pairs of a walk that leaves out.
pub const MOST_JUMPS: u64 = 10_000;

/// What came is no message of this protocol.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no message of the metadata protocol: {0}")]
pub struct WireError(String);

impl WireError {
    fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// A name space.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Space {
    /// Place of its table in [`Table::ALL`].
    #[prost(uint32, tag = "1")]
    pub table: u32,
    /// The bucket, where the table is divided.
    #[prost(uint64, optional, tag = "2")]
    pub bucket: Option<u64>,
}

impl From<Namespace> for Space {
    fn from(ns: Namespace) -> Self {
        Self { table: ns.table as u32, bucket: ns.bucket.map(BucketId::get) }
    }
}

fn namespace(space: Option<Space>) -> Result<Namespace, WireError> {
    let space = space.ok_or_else(|| WireError::of("no name space"))?;
    let table = usize::try_from(space.table).ok().and_then(|place| Table::ALL.get(place).copied());
    let table = table.ok_or_else(|| WireError::of("no such table"))?;
    Ok(Namespace { table, bucket: space.bucket.map(BucketId::new) })
}

/// A key to read.
#[derive(Clone, PartialEq, Message)]
pub struct Get {
    /// Where.
    #[prost(message, optional, tag = "1")]
    pub space: Option<Space>,
    /// Which.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}

impl Get {
    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn read(bytes: Bytes) -> Result<(Namespace, Bytes), WireError> {
        let get = Self::decode(bytes).map_err(WireError::of)?;
        Ok((namespace(get.space)?, get.key))
    }
}

/// Pairs to read.
#[derive(Clone, PartialEq, Message)]
pub struct Scan {
    /// Where.
    #[prost(message, optional, tag = "1")]
    pub space: Option<Space>,
    /// The first key.
    #[prost(bytes = "bytes", tag = "2")]
    pub start: Bytes,
    /// The key behind the last.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
    /// From the end.
    #[prost(bool, tag = "4")]
    pub reverse: bool,
    /// Most pairs.
    #[prost(uint64, tag = "5")]
    pub limit: u64,
    /// In an open view rather than in what is there now.
    #[prost(string, tag = "6")]
    pub view: String,
    /// Leave out all but the first of keys with a common prefix.
    #[prost(message, optional, tag = "7")]
    pub jump: Option<Groups>,
}

/// How keys are grouped.
#[derive(Clone, PartialEq, Message)]
pub struct Groups {
    /// Begins the keys of interest.
    #[prost(bytes = "bytes", tag = "1")]
    pub prefix: Bytes,
    /// Ends a group's name; not empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub delimiter: Bytes,
}

/// A scan that was understood.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where.
    pub ns: Namespace,
    /// Which keys.
    pub range: Range<Bytes>,
    /// Which way.
    pub direction: Direction,
    /// Most pairs.
    pub limit: u64,
    /// An open view; empty for none.
    pub view: String,
    /// What to leave out.
    pub jump: Option<CommonPrefixes>,
}

impl Query {
    /// As a message.
    pub fn write(self) -> Bytes {
        let jump = self.jump.map(|CommonPrefixes { prefix, delimiter }| Groups { prefix, delimiter });
        let message = Scan {
            space: Some(self.ns.into()),
            start: self.range.start,
            end: self.range.end,
            reverse: self.direction == Direction::Reverse,
            limit: self.limit,
            view: self.view,
            jump,
        };
        message.encode_to_vec().into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn read(bytes: Bytes) -> Result<Self, WireError> {
        let scan = Scan::decode(bytes).map_err(WireError::of)?;
        let jump = scan.jump.map(|Groups { prefix, delimiter }| CommonPrefixes { prefix, delimiter });
        if let Some(jump) = &jump
            && (jump.delimiter.is_empty() || scan.reverse || !scan.view.is_empty() || scan.limit > MOST_JUMPS)
        {
            return Err(WireError::of("no such walk over groups"));
        }
        Ok(Self {
            ns: namespace(scan.space)?,
            range: scan.start..scan.end,
            direction: if scan.reverse { Direction::Reverse } else { Direction::Forward },
            limit: scan.limit,
            view: scan.view,
            jump,
        })
    }
}

/// A pair of a scan, or its end: without it the answer broke off.
#[derive(Clone, PartialEq, Message)]
pub struct Row {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// There are no more rows; key and value are empty.
    #[prost(bool, tag = "3")]
    pub end: bool,
}

/// Puts rows behind each other.
pub fn write_rows(rows: impl IntoIterator<Item = Row>) -> Bytes {
    let mut all = BytesMut::new();
    for row in rows {
        // A `BytesMut` grows as it must.
        let _ = row.encode_length_delimited(&mut all);
    }
    all.freeze()
}

/// Takes the next row off `buffer`; `None` until all of it is there.
///
/// # Errors
/// [`WireError`].
pub fn take_row(buffer: &mut BytesMut) -> Result<Option<Row>, WireError> {
    let mut ahead = &buffer[..];
    let length = match prost::encoding::decode_varint(&mut ahead) {
        Ok(length) => usize::try_from(length).map_err(WireError::of)?,
        Err(_) if buffer.len() < 10 => return Ok(None),
        Err(error) => return Err(WireError::of(error)),
    };
    if length > MOST_BYTES {
        return Err(WireError::of("a row is too long"));
    }
    let head = buffer.len() - ahead.len();
    if ahead.len() < length {
        return Ok(None);
    }
    buffer.advance(head);
    Row::decode(buffer.split_to(length).freeze()).map(Some).map_err(WireError::of)
}

/// What tells a commit from every other, so that it is never done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The session of the front.
    pub session: u64,
    /// Commits with the same slot come one after the other.
    pub slot: u32,
    /// Grows with each commit of the slot and session.
    pub sequence: u64,
    /// An earlier attempt may still be on its way: a refusal must be remembered, too.
    pub again: bool,
}

#[derive(Clone, PartialEq, Message)]
struct BatchMessage {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<ConditionMessage>,
    #[prost(message, repeated, tag = "2")]
    writes: Vec<WriteMessage>,
    #[prost(bool, tag = "3")]
    buffered: bool,
    #[prost(uint64, tag = "4")]
    session: u64,
    #[prost(uint32, tag = "5")]
    slot: u32,
    #[prost(uint64, tag = "6")]
    sequence: u64,
    #[prost(bool, tag = "7")]
    again: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ConditionMessage {
    #[prost(message, optional, tag = "1")]
    space: Option<Space>,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
    /// 1 absent, 2 present, 3 equals, 4 empty range, 5 room.
    #[prost(uint32, tag = "3")]
    kind: u32,
    /// The value to be equal to, or the end of the range.
    #[prost(bytes = "bytes", tag = "4")]
    value: Bytes,
    #[prost(message, repeated, tag = "5")]
    growth: Vec<GrowthMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct GrowthMessage {
    #[prost(uint32, repeated, tag = "1")]
    places: Vec<u32>,
    #[prost(uint32, tag = "2")]
    bound: u32,
    #[prost(sint64, tag = "3")]
    by: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WriteMessage {
    /// 1 put, 2 delete, 3 delete range, 4 add, 5 append.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    space: Option<Space>,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    /// The value, or the end of the range.
    #[prost(bytes = "bytes", tag = "4")]
    value: Bytes,
    #[prost(sint64, repeated, tag = "5")]
    deltas: Vec<i64>,
}

/// A batch and its ticket as a message.
pub fn write_batch(batch: &Batch, ticket: Ticket) -> Bytes {
    let message = BatchMessage {
        conditions: batch.conditions.iter().map(condition_message).collect(),
        writes: batch.writes.iter().map(write_message).collect(),
        buffered: batch.durability == Durability::Buffered,
        session: ticket.session,
        slot: ticket.slot,
        sequence: ticket.sequence,
        again: ticket.again,
    };
    message.encode_to_vec().into()
}

/// Reads a batch and its ticket.
///
/// # Errors
/// [`WireError`].
pub fn read_batch(bytes: Bytes) -> Result<(Batch, Ticket), WireError> {
    let message = BatchMessage::decode(bytes).map_err(WireError::of)?;
    let BatchMessage { conditions, writes, buffered, session, slot, sequence, again } = message;
    let batch = Batch {
        conditions: conditions.into_iter().map(condition).collect::<Result<_, _>>()?,
        writes: writes.into_iter().map(write).collect::<Result<_, _>>()?,
        durability: if buffered { Durability::Buffered } else { Durability::Synced },
    };
    Ok((batch, Ticket { session, slot, sequence, again }))
}

fn condition_message((ns, key, condition): &(Namespace, Bytes, Condition)) -> ConditionMessage {
    let (kind, value, growth) = match condition {
        Condition::Absent => (1, Bytes::new(), Vec::new()),
        Condition::Present => (2, Bytes::new(), Vec::new()),
        Condition::Equals(value) => (3, value.clone(), Vec::new()),
        Condition::EmptyRange(end) => (4, end.clone(), Vec::new()),
        Condition::Room(growth) => (5, Bytes::new(), growth.iter().map(growth_message).collect()),
    };
    ConditionMessage { space: Some((*ns).into()), key: key.clone(), kind, value, growth }
}

fn condition(message: ConditionMessage) -> Result<(Namespace, Bytes, Condition), WireError> {
    let ConditionMessage { space, key, kind, value, growth } = message;
    let condition = match kind {
        1 => Condition::Absent,
        2 => Condition::Present,
        3 => Condition::Equals(value),
        4 => Condition::EmptyRange(value),
        5 => Condition::Room(growth.into_iter().map(grown).collect()),
        other => return Err(WireError::of(format!("no such condition: {other}"))),
    };
    Ok((namespace(space)?, key, condition))
}

/// Places of counters are small numbers; one that is not names no counter, here as there.
fn growth_message(growth: &Growth) -> GrowthMessage {
    let place = |place: &usize| u32::try_from(*place).unwrap_or(u32::MAX);
    GrowthMessage { places: growth.places.iter().map(place).collect(), bound: place(&growth.bound), by: growth.by }
}

fn grown(message: GrowthMessage) -> Growth {
    let place = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
    let places: Vec<usize> = message.places.into_iter().map(place).collect();
    Growth { places: places.into(), bound: place(message.bound), by: message.by }
}

fn write_message(write: &Write) -> WriteMessage {
    let of = |kind: u32, ns: &Namespace, key: &Bytes, value: &Bytes| WriteMessage {
        kind,
        space: Some((*ns).into()),
        key: key.clone(),
        value: value.clone(),
        deltas: Vec::new(),
    };
    let none = Bytes::new();
    match write {
        Write::Put(ns, key, value) => of(1, ns, key, value),
        Write::Delete(ns, key) => of(2, ns, key, &none),
        Write::DeleteRange(ns, range) => of(3, ns, &range.start, &range.end),
        Write::Add(ns, key, deltas) => WriteMessage { deltas: deltas.clone(), ..of(4, ns, key, &none) },
        Write::Append(ns, value) => of(5, ns, &none, value),
    }
}

fn write(message: WriteMessage) -> Result<Write, WireError> {
    let WriteMessage { kind, space, key, value, deltas } = message;
    let ns = namespace(space)?;
    match kind {
        1 => Ok(Write::Put(ns, key, value)),
        2 => Ok(Write::Delete(ns, key)),
        3 => Ok(Write::DeleteRange(ns, key..value)),
        4 => Ok(Write::Add(ns, key, deltas)),
        5 => Ok(Write::Append(ns, value)),
        other => Err(WireError::of(format!("no such write: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_arrive_as_they_were_sent() {
        let ns = Namespace::of(Table::Current, BucketId::new(7));
        let all = Namespace::global(Table::AccessLines);
        let mut batch = Batch { durability: Durability::Buffered, ..Batch::default() };
        batch.require(ns, "a", Condition::Absent).require(ns, "b", Condition::Present);
        batch.require(ns, "c", Condition::Equals(Bytes::new()));
        batch.require(all, Bytes::new(), Condition::EmptyRange(Bytes::from_static(&[0xff, 0])));
        let growth = vec![Growth { places: vec![0, 5].into(), bound: 3, by: -9 }];
        batch.require(all, "d", Condition::Room(growth));
        batch.put(ns, "k", "v").delete(ns, "k").delete_range(all, Bytes::new()..Bytes::from_static(b"z"));
        batch.add(all, "n", vec![1, i64::MIN, i64::MAX]).append(all, "line");
        let ticket = Ticket { session: 3, slot: 5, sequence: u64::MAX, again: true };
        let (read, again) = read_batch(write_batch(&batch, ticket)).unwrap();
        assert_eq!((read.conditions, read.writes), (batch.conditions, batch.writes));
        assert_eq!((read.durability, again), (batch.durability, ticket));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(read_batch(Bytes::from_static(b"\xff\xff")).is_err());
        let mut message = BatchMessage::default();
        message.writes.push(WriteMessage { kind: 9, space: Some(Space::default()), ..WriteMessage::default() });
        assert!(read_batch(message.encode_to_vec().into()).is_err(), "an unknown write must not be left out");
        let far = Get { space: Some(Space { table: 99, bucket: None }), key: Bytes::new() };
        assert!(Get::read(far.encode_to_vec().into()).is_err());
    }

    #[test]
    fn rows_come_out_of_any_slices() {
        let row = |key: &'static str, end| Row { key: key.into(), value: vec![7; 300].into(), end };
        let rows = [row("a", false), Row::default(), row("b", false), Row { end: true, ..Row::default() }];
        let all = write_rows(rows.clone());
        for step in [1, 2, 299, 1000] {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for slice in all.chunks(step) {
                buffer.extend_from_slice(slice);
                while let Some(row) = take_row(&mut buffer).unwrap() {
                    found.push(row);
                }
            }
            assert_eq!(found, rows, "slices of {step} bytes");
        }
        let mut endless = BytesMut::from(&[0xff; 12][..]);
        assert!(take_row(&mut endless).is_err());
    }
}
