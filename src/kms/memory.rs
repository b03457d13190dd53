//! Keys in memory: for tests, and beside data that need not outlive the process.

use bytes::Bytes;
use futures_util::{FutureExt, future, future::BoxFuture};
use parking_lot::Mutex;

use super::{Generated, Keyring, Kms, KmsError, SecretKey};

/// Keys that are made when they are first named, and lost with the process.
#[derive(Debug, Default)]
pub struct MemoryKms(Mutex<Keyring>);

impl MemoryKms {
    /// Adds a version to a key.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn rotate(&self, key: &str) -> Result<u32, KmsError> {
        self.0.lock().add_version(key)
    }
}

impl Kms for MemoryKms {
    fn default_key(&self) -> &'static str {
        "cloudserver"
    }

    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        let mut ring = self.0.lock();
        let made = if ring.has(key) { Ok(()) } else { ring.add_version(key).map(drop) };
        future::ready(made.and_then(|()| ring.generate(key))).boxed()
    }

    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        future::ready(self.0.lock().unwrap(key, wrapped)).boxed()
    }

    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        future::ready(self.0.lock().rewrap(key, wrapped)).boxed()
    }
}
