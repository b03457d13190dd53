//! The operations: each is one type with its request, its rules and its answer.

pub mod get_object;
pub mod put_object;
