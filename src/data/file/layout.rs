//! The data directory: made once, marked with its format, owned by one process.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use super::{
    super::{DataError, name::BlobName},
    disk::{RootDir, fault, shard_name},
};

/// The newest layout that this release knows.
const VERSION: u32 = 1;
/// The file that says the layout is complete.
const FORMAT: &str = "format";
/// Its name until it is durable.
const FORMAT_DRAFT: &str = "format.new";
/// The file whose lock is the ownership of the directory.
const LOCK: &str = "LOCK";
/// First words of the format file.
const TITLE: &str = "cloudserver data, format ";
/// First word of its second line.
const ID: &str = "id ";

/// A data directory that is ours.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) dir: RootDir,
    /// Ends the ownership when dropped.
    pub(super) lock: File,
    /// Made with the directory, never changed.
    pub(super) id: String,
}

/// Takes ownership of the directory, making it first where it is new.
///
/// # Errors
/// [`DataError::Unavailable`], saying what to do, where another process holds the directory, where it was made by a
/// newer release, or where it holds something else.
pub(super) fn prepare(root: &Path) -> Result<Owned, DataError> {
    DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(|error| unusable(root, &error))?;
    let lock = take_lock(root)?;
    let dir = RootDir::open(root).map_err(|error| unusable(root, &error))?;
    let id = match fs::read_to_string(root.join(FORMAT)) {
        Ok(text) => check_format(root, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse_foreign_contents(root)?;
            make_layout(root, &dir).map_err(fault)?
        }
        Err(error) => return Err(unusable(root, &error)),
    };
    Ok(Owned { dir, lock, id })
}

fn unusable(root: &Path, error: &io::Error) -> DataError {
    DataError::Unavailable(format!("data directory {}: {error}", root.display()))
}

fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn take_lock(root: &Path) -> Result<File, DataError> {
    let fail = |error: io::Error| unusable(root, &error);
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Who holds it is a courtesy: an unreadable note only makes the message vaguer.
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let known = !holder.trim().is_empty();
            let holder = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
            return Err(DataError::Unavailable(format!(
                "data directory {} is in use by {holder}: stop it, or give this server a directory of its own",
                root.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    file.set_len(0).map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

/// Reads the format file; returns the directory's id.
fn check_format(root: &Path, text: &str) -> Result<String, DataError> {
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix(TITLE)?.parse::<u32>().ok());
    let id = lines.next().and_then(|line| line.strip_prefix(ID));
    let complaint = match (version, id) {
        (Some(VERSION), Some(id)) => return Ok(id.to_owned()),
        (Some(newer), _) if newer > VERSION => {
            format!("has format {newer}, this release knows formats up to {VERSION}: start a newer release")
        }
        _ => format!("has an unreadable file \"{FORMAT}\": restore it from a backup"),
    };
    Err(DataError::Unavailable(format!("data directory {} {complaint}", root.display())))
}

/// A directory without a format file must be empty, but for what an interrupted first start or a file system leaves.
fn refuse_foreign_contents(root: &Path) -> Result<(), DataError> {
    for entry in fs::read_dir(root).map_err(|error| unusable(root, &error))? {
        let name = entry.map_err(|error| unusable(root, &error))?.file_name();
        let name = name.to_string_lossy();
        let shard = name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let ours = shard || name == LOCK || name == FORMAT_DRAFT;
        if !ours && name != "lost+found" && !name.starts_with('.') {
            return Err(DataError::Unavailable(format!(
                "data directory {} holds \"{name}\", which is not ours: give the server a new or empty directory",
                root.display()
            )));
        }
    }
    Ok(())
}

/// Syncs every directory above the root that can be opened: this start, or one that was cut short, may have made any
/// of them, and an entry that was not synced takes everything below it along at a power cut.
fn sync_ancestors(root: &Path) -> io::Result<()> {
    for ancestor in root.canonicalize()?.ancestors().skip(1) {
        // A directory that may not be read was not made here.
        if let Ok(dir) = File::open(ancestor) {
            match dir.sync_all() {
                // Not every file system has a notion of it: a read-only image, say.
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Makes the shard directories, durable before the format file says that they are there: no put ever has to sync
/// more than its own shard.
fn make_layout(root: &Path, dir: &RootDir) -> io::Result<String> {
    let id = BlobName::random()?.to_string();
    sync_ancestors(root)?;
    for shard in 0..=u8::MAX {
        make_dir(&root.join(shard_name(shard)))?;
    }
    for shard in 0..=u8::MAX {
        File::open(root.join(shard_name(shard)))?.sync_all()?;
    }
    dir.sync()?;
    let mut format = File::create(root.join(FORMAT_DRAFT))?;
    writeln!(format, "{TITLE}{VERSION}\n{ID}{id}")?;
    format.sync_all()?;
    fs::rename(root.join(FORMAT_DRAFT), root.join(FORMAT))?;
    dir.sync()?;
    Ok(id)
}
