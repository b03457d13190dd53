//! Whether anybody still waits for work on the blocking pool: that goes on though its future was dropped.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::super::DataError;

/// Held by the future of a piece of work. Dropped, nobody waits any more.
#[derive(Debug)]
pub(super) struct Waiting(Arc<AtomicBool>);

/// What the work itself knows of that.
#[derive(Clone, Debug)]
pub(super) struct Wanted(Arc<AtomicBool>);

pub(super) fn waiting() -> (Waiting, Wanted) {
    let over = Arc::new(AtomicBool::new(false));
    (Waiting(Arc::clone(&over)), Wanted(over))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Wanted {
    /// # Errors
    /// Where nobody waits any more: nothing may be changed then, as somebody else may have been told that nothing was.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(DataError::Unavailable("nobody waits for it any more".to_owned()));
        }
        Ok(())
    }
}
