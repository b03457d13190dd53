//! Where a write goes: the original's order of decisions, and its sentences where none holds.

use std::sync::Arc;

use thiserror::Error;

use super::{Location, LocationTable};

/// Names that, where they are configured, take what nothing else decides (the original's legacy locations).
const LEGACY: [&str; 2] = ["sproxyd", "legacy"];

/// What a write is decided by, the strongest first. Empty texts decide nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// What the object's metadata says (`x-amz-meta-scal-location-constraint`).
    pub object: Option<&'a str>,
    /// The bucket's location.
    pub bucket: &'a str,
    /// The host that was asked.
    pub host: &'a str,
    /// The location of that host (`restEndpoints`), where it has one.
    pub endpoint: Option<&'a str>,
}

/// Why there is no place for a write, in the original's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LocationFault {
    /// The object names a location that is not there. The spaces are the original's.
    #[error("Object Location Error - Your object location \"{0}\"is not  in your location config - Please update.")]
    Object(String),
    /// The bucket's location is not there (any more).
    #[error("Bucket Location Error - Your bucket location \"{0}\" is not in your location config - Please update.")]
    Bucket(String),
    /// Nothing names a location, and neither does the host.
    #[error(
        "Endpoint Location Error - Your endpoint \"{0}\" is not in restEndpoints in your config OR the default location constraint for request endpoint \"{0}\" does not match any config locationConstraint - Please update."
    )]
    Endpoint(String),
}

/// The location of a write. The first thing that is said decides, even if what it says is wrong.
///
/// # Errors
/// [`LocationFault`], which the client sees as `InvalidArgument`.
pub fn choose(table: &LocationTable, choice: Choice<'_>) -> Result<Arc<Location>, LocationFault> {
    if let Some(name) = choice.object.filter(|name| !name.is_empty()) {
        return table.get(name).cloned().ok_or_else(|| LocationFault::Object(name.to_owned()));
    }
    if !choice.bucket.is_empty() {
        return table.get(choice.bucket).cloned().ok_or_else(|| LocationFault::Bucket(choice.bucket.to_owned()));
    }
    if let Some(legacy) = LEGACY.iter().find_map(|name| table.get(name)) {
        return Ok(Arc::clone(legacy));
    }
    let endpoint = choice.endpoint.and_then(|name| table.get(name));
    endpoint.cloned().ok_or_else(|| LocationFault::Endpoint(choice.host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MemoryBackend;

    fn table(names: &[&str]) -> LocationTable {
        LocationTable::new(names.iter().map(|name| Location::new(name, Arc::new(MemoryBackend::new()))))
    }

    fn chosen(names: &[&str], choice: Choice<'_>) -> Result<String, LocationFault> {
        choose(&table(names), choice).map(|location| location.name.to_string())
    }

    #[test]
    fn the_object_decides_before_the_bucket_before_legacy_names_before_the_host() {
        let all = ["o", "b", "sproxyd", "legacy", "e"];
        let choice = Choice { object: Some("o"), bucket: "b", host: "h", endpoint: Some("e") };
        let chosen = |names: &[&str], choice| chosen(names, choice).unwrap();
        assert_eq!(chosen(&all, choice), "o");
        assert_eq!(chosen(&all, Choice { object: None, ..choice }), "b");
        assert_eq!(chosen(&all, Choice { object: Some(""), ..choice }), "b");
        let nothing = Choice { object: None, bucket: "", ..choice };
        assert_eq!(chosen(&all, nothing), "sproxyd");
        assert_eq!(chosen(&["legacy", "e"], nothing), "legacy");
        assert_eq!(chosen(&["e"], nothing), "e");
    }

    #[test]
    fn what_is_said_first_decides_even_if_it_is_wrong() {
        let choice = Choice { object: Some("o"), bucket: "b", host: "h", endpoint: Some("e") };
        let fault = |names: &[&str], choice| chosen(names, choice).unwrap_err();
        assert_eq!(fault(&["b", "e", "legacy"], choice), LocationFault::Object("o".to_owned()));
        let bucket = Choice { object: None, ..choice };
        assert_eq!(fault(&["e", "legacy"], bucket), LocationFault::Bucket("b".to_owned()));
        let host = Choice { bucket: "", ..bucket };
        assert_eq!(fault(&["b"], host), LocationFault::Endpoint("h".to_owned()));
        assert_eq!(fault(&["b"], Choice { endpoint: None, ..host }), LocationFault::Endpoint("h".to_owned()));
    }
}
