//! What a claim says, and what can be found out about who made it.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

/// Bytes of a claim on disk: written in one piece, padded with blanks, so that no reader sees half of one.
pub(super) const RECORD_BYTES: usize = 1024;

/// The content of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Random name of the claim.
    pub(super) owner: String,
    /// Who made it.
    #[serde(flatten)]
    pub(super) process: ProcessId,
    /// The owner stops well before it was silent for so long.
    pub(super) seconds: u64,
    /// Renewals so far.
    pub(super) beat: u64,
    /// Given back.
    pub(super) released: bool,
}

/// A process, as far as other processes and machines can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    /// The machine's name, for people.
    pub(super) host: String,
    /// The kernel's boot id: equal for two processes under one running kernel.
    pub(super) boot: String,
    /// The name space of `pid`; empty where there is no such thing.
    pub(super) namespace: String,
    /// The process number.
    pub(super) pid: u32,
    /// When it began, in ticks of the kernel: numbers are used again.
    pub(super) started: u64,
}

/// What is known about the maker of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The process is there, on this machine, frozen or not.
    Alive,
    /// The process was on this machine and is not any more.
    Gone,
    /// It is on another machine, or cannot be seen from here.
    Unknown,
}

impl Record {
    /// The claim as it is stored.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        if bytes.len() >= RECORD_BYTES {
            return Err(io::Error::other("the claim is too long"));
        }
        bytes.resize(RECORD_BYTES - 1, b' ');
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a claim; `None` if it is none, or was caught while it was written.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl ProcessId {
    /// This process.
    pub(super) fn own() -> Self {
        let pid = std::process::id();
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot: boot_id(),
            namespace: namespace(),
            pid,
            started: start_of(pid).unwrap_or_default(),
        }
    }

    /// Whether `other` runs, or ran, under the kernel that this process runs under.
    pub(super) fn shares_kernel_with(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot
    }

    /// What this process can tell about `other`.
    pub(super) fn life_of(&self, other: &Self) -> Life {
        let visible = self.shares_kernel_with(other) && !self.namespace.is_empty() && self.namespace == other.namespace;
        if !visible {
            return Life::Unknown;
        }
        match start_of(other.pid) {
            Ok(started) if started == other.started => Life::Alive,
            Ok(_) => Life::Gone,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Life::Gone,
            Err(_) => Life::Unknown,
        }
    }
}

fn boot_id() -> String {
    // Without it (not Linux, or a sandbox) other processes count as being on other machines: the careful side.
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

/// When a process began: field 22 of its `stat`, counted behind the name, which may hold anything.
///
/// One that has ended and is only waited for by its parent is [`io::ErrorKind::NotFound`]: its files are closed.
fn start_of(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    if fields.trim_start().starts_with(['Z', 'X']) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let began = fields.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok());
    began.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// File systems that several machines mount at a time, by their numbers in `statfs(2)`.
///
/// FUSE and 9P are not among them: mostly these are folders of one host shown to its own guests.
const SHARED: [u64; 10] = [
    0x6969,      // NFS
    0x517B,      // SMB
    0xFF53_4D42, // CIFS
    0xFE53_4D42, // SMB2
    0x00C3_6400, // Ceph
    0x0116_1970, // GFS2
    0x7461_636F, // OCFS2
    0x4750_4653, // GPFS
    0x0BD0_0BD0, // Lustre
    0x5346_414F, // AFS
];

/// Whether other machines may have the file system mounted that `path`, or its nearest parent that is there, is on.
///
/// # Errors
/// What the system says.
pub fn is_shared(path: &Path) -> io::Result<bool> {
    let path = std::path::absolute(path)?;
    for ancestor in path.ancestors() {
        match rustix::fs::statfs(ancestor) {
            // The kind is a signed word on some systems, of 32 bits on others: the low 32 bits are the number.
            #[expect(clippy::cast_sign_loss, reason = "the number is a bit pattern")]
            Ok(stat) => return Ok(SHARED.contains(&(stat.f_type as u64 & 0xFFFF_FFFF))),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
