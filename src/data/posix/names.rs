//! Locks by name: whoever publishes or removes at a name, or looks what became of that, waits for whoever does so now.

use std::{collections::HashSet, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::{super::DataError, wanted::Wanted};

/// Between looks whether anybody still waits.
const LOOK: Duration = Duration::from_millis(200);

/// The names in use.
#[derive(Debug, Default)]
pub(super) struct Names {
    held: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// Holds a name until dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    names: &'a Names,
    name: &'a str,
}

impl Names {
    /// Waits for `name` and takes it. Blocks.
    pub(super) fn lock<'a>(&'a self, name: &'a str) -> Held<'a> {
        let mut held = self.held.lock();
        while held.contains(name) {
            self.freed.wait(&mut held);
        }
        held.insert(name.to_owned());
        Held { names: self, name }
    }

    /// As [`Names::lock`], as long as somebody waits for what is to be done: a device that hangs must not hold a thread
    /// for each who gave up.
    pub(super) fn lock_while<'a>(&'a self, wanted: &Wanted, name: &'a str) -> Result<Held<'a>, DataError> {
        let mut held = self.held.lock();
        loop {
            wanted.check()?;
            if !held.contains(name) {
                break;
            }
            self.freed.wait_for(&mut held, LOOK);
        }
        held.insert(name.to_owned());
        Ok(Held { names: self, name })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.names.held.lock().remove(self.name);
        self.names.freed.notify_all();
    }
}
