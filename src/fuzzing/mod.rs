//! What a fuzzer may call: one function for each kind of input that strangers write.
//!
//! A target takes any bytes, panics where a rule is broken, and says nothing otherwise. "Does not panic" is the least
//! of the rules: what is read is written and read again, what came in pieces is what came at once, a second, naive
//! reading agrees, and a refusal is one that S3 knows. The targets stand beside what they test; this is their table.
//!
//! The package in `fuzz/` runs them under libFuzzer. The tests run them over the kept corpus, `fuzz/corpus/<name>/`.

use crate::{auth, http, s3, storage};

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Tries an input.
    ///
    /// # Panics
    /// Where a rule is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub static TARGETS: &[Target] = &[
    Target { name: "authorization", run: auth::fuzzing::authorization },
    Target { name: "chunked", run: s3::body::fuzzing::chunked },
    Target { name: "documents", run: s3::fuzzing::documents },
    Target { name: "form", run: s3::fuzzing::form },
    Target { name: "framing", run: http::fuzzing::framing },
    Target { name: "policy", run: auth::policies::policy },
    Target { name: "post_policy", run: auth::fuzzing::post_policy },
    Target { name: "records", run: storage::fuzzing::records },
    Target { name: "search", run: s3::search::fuzzing::search },
    Target { name: "tagging", run: s3::fuzzing::tagging },
    Target { name: "values", run: s3::fuzzing::values },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests;
