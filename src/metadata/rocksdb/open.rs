//! Opening: the folder, the format, and what a damaged write-ahead log means.

use std::{fs, io, path::Path};

use rocksdb::{DB, DBRecoveryMode, Error, ErrorKind, WriteOptions};

use super::{
    RocksOptions,
    error::fault,
    keys::column,
    options::{columns, database},
};
use crate::metadata::{MetadataError, Table};

/// The key of [`Table::System`] that holds the version of the stored format, in decimal.
const FORMAT_KEY: &[u8] = b"format";
/// The format this code reads and writes.
const FORMAT: u32 = 1;

/// Opens or creates the database in `path`.
pub(super) fn open(path: &Path, options: &RocksOptions) -> Result<DB, MetadataError> {
    create_durably(path)
        .map_err(|error| MetadataError::Unavailable(format!("cannot create {}: {error}", path.display())))?;
    // A record cut short at the end of the log is what a crash leaves: it was not acknowledged. Anything else that
    // is wrong stops this first attempt, which leaves the log as it is.
    let strict = DBRecoveryMode::TolerateCorruptedTailRecords;
    let db = match DB::open_cf_descriptors(&database(options, strict), path, columns(options)) {
        Err(error) if error.kind() == ErrorKind::Corruption => open_damaged(path, options, &error),
        done => done.map_err(|error| refusal(path, &error)),
    }?;
    check_format(&db, path)?;
    Ok(db)
}

/// Opens a database whose log does not read to its end.
///
/// A power cut may persist the pages of the last record in any order, so that the record is garbage and not merely
/// short. Only a log that goes on after the damage has lost acknowledged commits: then it is left alone and refused.
fn open_damaged(path: &Path, options: &RocksOptions, error: &Error) -> Result<DB, MetadataError> {
    let before = last_readable(path, options, DBRecoveryMode::PointInTime);
    let beyond = last_readable(path, options, DBRecoveryMode::SkipAnyCorruptedRecord);
    match (before, beyond) {
        (Ok(before), Ok(beyond)) if before == beyond => {
            tracing::warn!(%error, "dropped the unfinished record at the end of the write-ahead log");
            let lenient = database(options, DBRecoveryMode::PointInTime);
            DB::open_cf_descriptors(&lenient, path, columns(options)).map_err(|error| refusal(path, &error))
        }
        _ => Err(MetadataError::Corrupt(format!("{} is damaged; restore it from a backup: {error}", path.display()))),
    }
}

/// The last sequence number that a replay in `mode` reaches. Changes nothing on disk.
fn last_readable(path: &Path, options: &RocksOptions, mode: DBRecoveryMode) -> Result<u64, Error> {
    let db = DB::open_cf_descriptors_read_only(&database(options, mode), path, columns(options), false)?;
    Ok(db.latest_sequence_number())
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
