//! Commits that are never done twice, by one front at a time.
//!
//! Beside the front's own records the store keeps, in its `system` table, the number of the session and the last
//! number of each slot. They are conditions and writes of the same batch: nothing is remembered that was not done,
//! and nothing is done that is not remembered.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;

use crate::{
    metadata::{Batch, Condition, MetadataError, MetadataStore, Namespace, Table, wire::Ticket},
    modules::answer::Fault,
};

const SYSTEM: Namespace = Namespace::global(Table::System);
/// Number of the session, 8 bytes, big endian.
const SESSION: &[u8] = b"module/session";
/// Name of the store.
const UUID: &[u8] = b"module/uuid";
/// Begins the keys of slots; the slot's number follows, 4 bytes, big endian.
const SLOT: &[u8] = b"module/slot/";
/// The highest slot: what is remembered is bounded.
const LAST_SLOT: u32 = 4095;
/// Rounds against other requests of the same front.
const ROUNDS: usize = 16;
/// In place of the number of a condition: the batch was committed.
const DONE: u32 = u32::MAX;

/// The commits of a store.
#[derive(Debug)]
pub(super) struct Commits {
    store: Arc<dyn MetadataStore>,
}

/// The last commit of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    session: u64,
    sequence: u64,
    /// [`DONE`], or the condition that did not hold.
    outcome: u32,
}

impl Last {
    fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(20);
        bytes.put_u64(self.session);
        bytes.put_u64(self.sequence);
        bytes.put_u32(self.outcome);
        bytes.freeze()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (outcome, rest) = rest.split_first_chunk()?;
        rest.is_empty().then_some(Self {
            session: u64::from_be_bytes(*session),
            sequence: u64::from_be_bytes(*sequence),
            outcome: u32::from_be_bytes(*outcome),
        })
    }
}

fn superseded() -> Fault {
    let message = "another front has taken over this metadata module";
    Fault::new(StatusCode::CONFLICT, "Superseded", message)
}

fn conflict(condition: u32) -> Fault {
    MetadataError::Conflict(usize::try_from(condition).unwrap_or(usize::MAX)).into()
}

impl Commits {
    pub(super) fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// The session in force; 0 before the first.
    pub(super) async fn session(&self) -> Result<u64, MetadataError> {
        let stored = self.store.get(SYSTEM, SESSION).await?;
        Ok(stored.as_deref().and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?))).unwrap_or_default())
    }

    /// Begins a session.
    pub(super) async fn begin(&self) -> Result<u64, Fault> {
        for _ in 0..ROUNDS {
            let known = self.store.get(SYSTEM, SESSION).await?;
            let next = self.session().await? + 1;
            let mut batch = Batch::new();
            batch.unchanged(SYSTEM, SESSION, known.as_ref()).put(SYSTEM, SESSION, next.to_be_bytes().to_vec());
            match self.store.commit(batch).await {
                Ok(()) => {
                    tracing::info!(session = next, "a front begins its session");
                    return Ok(next);
                }
                Err(MetadataError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MetadataError::Busy.into())
    }

    /// The store's name: made when it is first asked for.
    pub(super) async fn uuid(&self) -> Result<String, Fault> {
        for _ in 0..ROUNDS {
            if let Some(known) = self.store.get(SYSTEM, UUID).await? {
                return Ok(String::from_utf8_lossy(&known).into_owned());
            }
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|error| MetadataError::Io(error.to_string()))?;
            let mut batch = Batch::new();
            batch.require(SYSTEM, UUID, Condition::Absent).put(SYSTEM, UUID, hex::encode(random));
            match self.store.commit(batch).await {
                Ok(()) | Err(MetadataError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MetadataError::Busy.into())
    }

    /// Commits a batch, unless that is done already; then the answer is the same as the first time.
    pub(super) async fn commit(&self, ticket: Ticket, batch: Batch) -> Result<(), Fault> {
        if ticket.slot > LAST_SLOT || ticket.session == 0 {
            return Err(Fault::new(StatusCode::BAD_REQUEST, "InvalidInput", "no such slot or session"));
        }
        let key = [SLOT, &ticket.slot.to_be_bytes()].concat();
        for _ in 0..ROUNDS {
            let stored = self.store.get(SYSTEM, &key).await?;
            let last = stored.as_deref().and_then(Last::decode);
            if let Some(outcome) = known(last, ticket)? {
                return if outcome == DONE { Ok(()) } else { Err(conflict(outcome)) };
            }
            let memory = Memory { key: &key, stored: stored.as_ref(), ticket };
            match self.store.commit(memory.beside(batch.clone(), DONE)).await {
                Ok(()) => return Ok(()),
                Err(MetadataError::Conflict(index)) if index < batch.conditions.len() => {
                    let condition = u32::try_from(index).unwrap_or(DONE - 1);
                    if !ticket.again {
                        return Err(conflict(condition));
                    }
                    // An earlier attempt that is still on its way must not succeed after this answer.
                    match self.store.commit(memory.beside(Batch::new(), condition)).await {
                        Ok(()) => return Err(conflict(condition)),
                        Err(MetadataError::Conflict(0)) => return Err(superseded()),
                        Err(MetadataError::Conflict(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(MetadataError::Conflict(index)) if index == batch.conditions.len() => return Err(superseded()),
                // The slot has moved: another attempt of the same batch was faster.
                Err(MetadataError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MetadataError::Busy.into())
    }
}

/// What is remembered of a ticket.
#[derive(Clone, Copy)]
struct Memory<'a> {
    key: &'a [u8],
    stored: Option<&'a Bytes>,
    ticket: Ticket,
}

impl Memory<'_> {
    /// The batch with what is remembered of it. Its own conditions come first, so that their numbers stay.
    fn beside(self, mut batch: Batch, outcome: u32) -> Batch {
        let Ticket { session, sequence, .. } = self.ticket;
        let key = Bytes::copy_from_slice(self.key);
        let in_force = Bytes::copy_from_slice(&session.to_be_bytes());
        batch.require(SYSTEM, SESSION, Condition::Equals(in_force)).unchanged(SYSTEM, key.clone(), self.stored);
        batch.put(SYSTEM, key, Last { session, sequence, outcome }.encode());
        batch
    }
}

/// The outcome of a ticket that was seen before.
fn known(last: Option<Last>, ticket: Ticket) -> Result<Option<u32>, Fault> {
    let Some(last) = last else { return Ok(None) };
    match (last.session, last.sequence).cmp(&(ticket.session, ticket.sequence)) {
        std::cmp::Ordering::Less => Ok(None),
        std::cmp::Ordering::Equal => Ok(Some(last.outcome)),
        std::cmp::Ordering::Greater if last.session > ticket.session => Err(superseded()),
        // Its front has given it up, and gone on.
        std::cmp::Ordering::Greater => {
            Err(Fault::new(StatusCode::CONFLICT, "Stale", "a later batch of the same slot was committed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MemoryStore;

    const NS: Namespace = Namespace::global(Table::Owners);

    fn ticket(session: u64, sequence: u64, again: bool) -> Ticket {
        Ticket { session, slot: 7, sequence, again }
    }

    fn create(key: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.require(NS, key, Condition::Absent).put(NS, key, "value").append(Namespace::global(Table::Journal), key);
        batch
    }

    fn kind(outcome: Result<(), Fault>) -> &'static str {
        outcome.map_or_else(|fault| fault.kind, |()| "done")
    }

    #[tokio::test]
    async fn a_batch_that_comes_again_is_answered_and_not_done_again() {
        let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new());
        let commits = Commits::new(Arc::clone(&store));
        let session = commits.begin().await.unwrap();
        assert_eq!(kind(commits.commit(ticket(session, 1, false), create("a")).await), "done");
        assert_eq!(kind(commits.commit(ticket(session, 1, true), create("a")).await), "done", "not a conflict");
        assert_eq!(store.get(Namespace::global(Table::Journal), &2_u64.to_be_bytes()).await.unwrap(), None);
        assert_eq!(kind(commits.commit(ticket(session, 2, false), create("a")).await), "Conflict");
        assert_eq!(kind(commits.commit(ticket(session, 3, false), create("b")).await), "done");
        assert_eq!(kind(commits.commit(ticket(session, 2, false), create("c")).await), "Stale", "late, and given up");
        assert_eq!(store.get(NS, b"c").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_refusal_that_was_told_stays_one_though_an_earlier_attempt_comes_late() {
        let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new());
        let commits = Commits::new(Arc::clone(&store));
        let session = commits.begin().await.unwrap();
        assert_eq!(kind(commits.commit(ticket(session, 1, false), create("a")).await), "done");
        let refused = commits.commit(ticket(session, 2, true), create("a")).await.unwrap_err();
        assert_eq!((refused.kind, refused.condition), ("Conflict", Some(0)));
        let mut delete = Batch::new();
        delete.delete(NS, "a");
        let other = Ticket { slot: 8, ..ticket(session, 1, false) };
        assert_eq!(kind(commits.commit(other, delete).await), "done");
        assert_eq!(kind(commits.commit(ticket(session, 2, false), create("a")).await), "Conflict", "it came late");
        assert_eq!(store.get(NS, b"a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_new_session_ends_the_one_before() {
        let commits = Commits::new(Arc::new(MemoryStore::new()));
        let first = commits.begin().await.unwrap();
        assert_eq!(kind(commits.commit(ticket(first, 1, false), create("a")).await), "done");
        let second = commits.begin().await.unwrap();
        assert!(second > first);
        assert_eq!(kind(commits.commit(ticket(first, 2, false), create("b")).await), "Superseded");
        assert_eq!(kind(commits.commit(ticket(second, 1, false), create("b")).await), "done");
        assert_eq!(kind(commits.commit(ticket(first, 3, true), create("c")).await), "Superseded");
        assert_eq!(commits.session().await.unwrap(), second);
    }
}
