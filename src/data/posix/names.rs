//! Locks by name: whoever publishes or removes at a name waits for whoever does so now.

use std::collections::HashSet;

use parking_lot::{Condvar, Mutex};

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
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.names.held.lock().remove(self.name);
        self.names.freed.notify_all();
    }
}
