//! Facts of one question, each found out once, however many conditions ask for it.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use super::keys::{ConditionKey, Facts};

/// What is known of a request.
#[derive(Debug)]
pub(super) struct Known<'a> {
    facts: &'a dyn Facts,
    values: RefCell<HashMap<ConditionKey, Rc<[String]>>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(facts: &'a dyn Facts) -> Self {
        Self { facts, values: RefCell::default() }
    }

    /// The values of a key; empty where the request has none.
    pub(super) fn values(&self, key: &ConditionKey) -> Rc<[String]> {
        if let Some(values) = self.values.borrow().get(key) {
            return Rc::clone(values);
        }
        let values: Rc<[String]> = self.facts.values(key).into();
        self.values.borrow_mut().insert(key.clone(), Rc::clone(&values));
        values
    }

    /// As [`Facts::settled`].
    pub(super) fn settled(&self, key: &ConditionKey) -> bool {
        self.facts.settled(key)
    }
}
