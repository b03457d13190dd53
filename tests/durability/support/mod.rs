//! A server as a process, and a small S3 client to load it with.

pub(crate) mod client;
pub(crate) mod machine;
pub(crate) mod random;
pub(crate) mod server;
pub(crate) mod sign;
pub(crate) mod xml;

/// Runs a test's future on a runtime with two threads.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test)
}
