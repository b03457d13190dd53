//! Stores in which others put objects, too.

use std::fmt;

use futures_util::{future::BoxFuture, stream::BoxStream};

use super::{BlobId, DataError};
use crate::types::Timestamp;

/// Something found in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An object's bytes.
    Object {
        /// Its key.
        key: String,
        /// The very bytes that are there now.
        blob: BlobId,
        /// How many they are.
        size: u64,
        /// When they changed last.
        modified: Timestamp,
    },
    /// What can be no object.
    Skipped {
        /// Its name, for people.
        name: String,
        /// Why, and what to do.
        why: &'static str,
    },
}

/// What is known of the store behind a location before it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Nothing was ever there: it may be made now.
    #[default]
    Anything,
    /// Something is there, so it was made; nobody wrote down which it is.
    Something,
    /// It has this identity.
    Identity(String),
}

/// A store whose objects others bring, change and remove.
pub trait Browse: fmt::Debug + Send + Sync {
    /// The identity of the store as it is now, made with it: an empty mount point has another.
    fn identity(&self) -> BoxFuture<'_, Result<String, DataError>>;

    /// Says what the store must be: one that is not is [`DataError::Unavailable`], to reads and writes, until it is back.
    /// What a store has turned out to be is expected from then on.
    fn require(&self, expected: Expected);

    /// Everything that is where objects of a bucket are, in no order. Ends after an error.
    fn walk(&self, bucket: &str) -> BoxStream<'static, Result<Found, DataError>>;

    /// Whether two names mean the same bytes, though one of them was made before the store was restored elsewhere.
    fn is_same(&self, known: &BlobId, found: &BlobId) -> bool;

    /// Whether the very bytes of a blob are at the place of their object: no later ones are.
    fn stands<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>>;

    /// Whether any bytes are at the place of an object, whosever they are.
    fn is_taken<'a>(&'a self, bucket: &'a str, key: &'a str) -> BoxFuture<'a, Result<bool, DataError>>;

    /// Whether the very bytes of a blob are still there, wherever, without reading them.
    fn holds<'a>(&'a self, blob: &'a BlobId) -> BoxFuture<'a, Result<bool, DataError>>;
}
