//! The words of the data protocol: the original's REST protocol, and what this server adds to it (docs/modules.md).

use serde::{Deserialize, Serialize};

/// The service's path.
pub const SERVICE: &str = "/DataFile";
/// Asks for the space of the store.
pub const DISK_USAGE: &str = "diskUsage";
/// Ours: asks what the module can do, and whether it works.
pub const MODULE_INFO: &str = "moduleInfo";
/// Ours: begins a query for names, `list&after=<name>&limit=<n>`.
pub const LIST: &str = "list";
/// Ours: the name that a body shall have, chosen by the front.
pub const BLOB: &str = "x-cloudserver-blob";
/// Most names of one answer.
pub const MOST_NAMES: usize = 1000;
/// Most characters of a name.
pub const LONGEST_NAME: usize = 255;

/// What an error's body says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// A word such as `ObjNotFound`.
    pub error_type: String,
    /// A sentence.
    pub error_message: String,
}

/// Answer to [`DISK_USAGE`], in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Usable by the module.
    pub available: u64,
    /// Free, reserved blocks included.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// Answer to [`MODULE_INFO`]: whoever gives it knows all of our additions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleInfo {
    /// The data directory's identity, where it has one.
    pub directory: Option<String>,
    /// Blobs outlive the module's process.
    pub durable: bool,
    /// Each block is checked when it is read.
    pub verified_reads: bool,
}

/// The name in a path `/DataFile/<name>`; lowercase hexadecimal digits, as the original matched it.
pub fn name_in(path: &str) -> Option<&str> {
    path.strip_prefix(SERVICE)?.strip_prefix('/').filter(|name| is_name(name))
}

/// Whether a text can be the name of a blob in this protocol.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
