//! Metadata search: the clause of `?search=`, read and judged. Pure: no I/O, no clock.
//!
//! Grammar (the original's "metadata search", an SQL `WHERE` clause):
//!
//! ```text
//! either := all (OR all)*
//! all    := term (AND term)*
//! term   := '(' either ')' | field operator value | field LIKE value
//! field, value := a word, or text in one of " ' `
//! operator := = <> != < > <= >=
//! ```

mod evaluate;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod parse;

pub use evaluate::Subject;
pub use parse::{BadClause, Clause};

use std::cmp::Ordering;

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Literal {
    text: String,
    /// Whether it stood in quotes: then it is no number.
    quoted: bool,
}

/// What is known of an object by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// An attribute of the original's object model.
    Attribute(String),
    /// `tags.<key>`
    Tag(String),
    /// `x-amz-meta-<name>`, in lower case.
    Metadata(String),
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::Greater => order.is_gt(),
            Self::AtMost => order.is_le(),
            Self::AtLeast => order.is_ge(),
        }
    }
}
