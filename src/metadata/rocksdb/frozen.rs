//! A snapshot that keeps its database open.
//!
//! RocksDB's snapshot borrows the database, but a view must live on its own. The alternatives were unsafe code of
//! our own, or a thread that holds the borrow and answers for every view.

#![allow(clippy::mem_forget, reason = "in the macro's expansion, where it hands over what it forgets")]

use std::sync::Arc;

use rocksdb::Snapshot;
use self_cell::self_cell;

use super::open::Database;

self_cell! {
    /// A snapshot with the database it is of.
    pub(super) struct Frozen {
        owner: Arc<Database>,
        #[covariant]
        dependent: Snapshot,
    }
}

impl Frozen {
    /// The present state of the database.
    pub(super) fn now(db: &Arc<Database>) -> Self {
        Self::new(Arc::clone(db), |db| db.snapshot())
    }
}
