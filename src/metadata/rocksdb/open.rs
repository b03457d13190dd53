//! Opening: the folder, the end of the write-ahead log, the lock and the format.

use std::{
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
};

use rocksdb::{ColumnFamily, DB, Error, FlushOptions, WriteOptions};

use super::{
    RocksOptions,
    error::fault,
    keys::{SEQUENCES, column},
    log::{self, Verdict},
    options::{columns, database},
};
use crate::metadata::{MetadataError, Table};

/// The key of [`Table::System`] that holds the version of the stored format, in decimal.
const FORMAT_KEY: &[u8] = b"format";
/// The format this code reads and writes.
const FORMAT: u32 = 1;

/// The file whose lock says that the directory is in use.
///
/// RocksDB has a lock of its own, but it comes too late: the log must not be cut while another process writes it.
const LOCK: &str = "cloudserver.lock";

/// An open database, which is ours alone.
pub(super) struct Database {
    // Before the lock: closed first.
    db: DB,
    _lock: fs::File,
}

impl Deref for Database {
    type Target = DB;

    fn deref(&self) -> &DB {
        &self.db
    }
}

impl Database {
    /// Every column family.
    fn tables(&self) -> Vec<&ColumnFamily> {
        let names = Table::ALL.iter().map(|table| table.name()).chain([SEQUENCES]);
        names.filter_map(|name| self.db.cf_handle(name)).collect()
    }

    /// Bytes in memory and in the log that are in no table yet.
    pub(super) fn buffered_bytes(&self) -> u64 {
        self.sum("rocksdb.cur-size-all-mem-tables")
    }

    /// The sum of a property over all tables.
    pub(super) fn sum(&self, property: &str) -> u64 {
        let value = |table| self.db.property_int_value_cf(table, property).ok().flatten();
        self.tables().into_iter().filter_map(value).sum()
    }

    /// Writes what is buffered to tables.
    pub(super) fn flush_tables(&self, options: &FlushOptions) -> Result<(), Error> {
        self.db.flush_cfs_opt(&self.tables(), options)
    }
}

/// Opens or creates the database in `path`.
pub(super) fn open(path: &Path, options: &RocksOptions) -> Result<Database, MetadataError> {
    create_durably(path)
        .map_err(|error| MetadataError::Unavailable(format!("cannot create {}: {error}", path.display())))?;
    let lock = lock(path)?;
    cut_unfinished(path)?;
    let db = DB::open_cf_descriptors(&database(options), path, columns(options));
    let db = db.map_err(|error| refusal(path, &error))?;
    check_format(&db, path)?;
    Ok(Database { db, _lock: lock })
}

fn lock(path: &Path) -> Result<fs::File, MetadataError> {
    let file = fs::File::options().create(true).append(true).open(path.join(LOCK));
    let file = file.map_err(|error| MetadataError::Unavailable(format!("cannot lock {}: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(MetadataError::Unavailable(format!("{} is in use by another process", path.display())))
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(MetadataError::Unavailable(format!("cannot lock {}: {error}", path.display())))
        }
    }
}

/// Cuts the unfinished end off the write-ahead log, if there is one.
///
/// # Errors
/// [`MetadataError::Corrupt`] if the log is damaged before its end. Then nothing is changed.
fn cut_unfinished(path: &Path) -> Result<(), MetadataError> {
    let unusable = |error: io::Error| MetadataError::Unavailable(format!("cannot read {}: {error}", path.display()));
    let paths = logs(path).map_err(unusable)?;
    if paths.is_empty() {
        return Ok(());
    }
    let identity = fs::read(path.join("IDENTITY")).map_err(unusable)?;
    let files: Vec<_> = paths.iter().map(fs::File::open).collect::<io::Result<_>>().map_err(unusable)?;
    let extents = match log::judge(identity.trim_ascii(), files).map_err(unusable)? {
        Verdict::Whole(extents) => extents,
        Verdict::Lost { readable, resumed } => {
            return Err(MetadataError::Corrupt(format!(
                "the write-ahead log in {} is damaged between sequence numbers {readable} and {resumed}, so \
                 acknowledged commits are lost; nothing was changed: restore a backup",
                path.display()
            )));
        }
    };
    for (log, extent) in paths.iter().zip(extents).filter(|(_, extent)| extent.good < extent.length) {
        let dropped = extent.length - extent.good;
        tracing::warn!(log = %log.display(), bytes = dropped, "cut the unfinished end off the write-ahead log");
        cut(log, extent.good).map_err(unusable)?;
    }
    Ok(())
}

fn cut(log: &Path, length: u64) -> io::Result<()> {
    let file = fs::File::options().write(true).open(log)?;
    file.set_len(length)?;
    file.sync_all()
}

/// The write-ahead logs, oldest first.
fn logs(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let number = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), Some("log")) = (number, file.extension().and_then(|extension| extension.to_str())) {
            logs.push((number, file));
        }
    }
    logs.sort_unstable();
    Ok(logs.into_iter().map(|(_, file)| file).collect())
}

/// Creates a folder so that a power cut does not take it back: each new name is synced in its parent.
fn create_durably(path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    let missing: Vec<_> = absolute.ancestors().take_while(|folder| !folder.is_dir()).collect();
    fs::create_dir_all(&absolute)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// What keeps the database from being opened, in words that say what to do.
fn refusal(path: &Path, error: &Error) -> MetadataError {
    let message = error.as_ref();
    let path = path.display();
    if message.contains("lock hold by current process") || message.contains("While lock file") {
        return MetadataError::Unavailable(format!("{path} is in use by another process: {message}"));
    }
    if message.contains("Column families not opened") {
        return MetadataError::Unavailable(format!("{path} was written by a newer version: {message}"));
    }
    match fault(error) {
        MetadataError::Io(message) => MetadataError::Unavailable(format!("cannot open {path}: {message}")),
        other => other,
    }
}

fn check_format(db: &DB, path: &Path) -> Result<(), MetadataError> {
    let system = column(db, Table::System.name())?;
    let Some(stored) = db.get_cf(system, FORMAT_KEY).map_err(|error| fault(&error))? else {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        return db.put_cf_opt(system, FORMAT_KEY, FORMAT.to_string(), &options).map_err(|error| fault(&error));
    };
    let found = String::from_utf8_lossy(&stored);
    match found.parse::<u32>() {
        Ok(version) if version <= FORMAT => Ok(()),
        Ok(version) => Err(MetadataError::Unavailable(format!(
            "{} has format {version}, this version reads up to {FORMAT}: use a newer one",
            path.display()
        ))),
        Err(_) => Err(MetadataError::Corrupt(format!("{} has the unknown format {found:?}", path.display()))),
    }
}
