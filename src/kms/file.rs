//! The built-in key manager: a file of master keys.
//!
//! The file is JSON: an id of its own, and for each key its versions in base64. It is made once, readable by its owner
//! only, and replaced whole: written aside, synced, renamed, the folder synced. A lock file keeps two writers apart.
//! **Whoever loses it loses every object encrypted under it**; metadata remembers its id, so that a server does not
//! start with another file in its place.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, future, future::BoxFuture};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{Generated, KeyInfo, Keyring, Kms, KmsError, SecretKey};

/// The format this release reads and writes.
const FORMAT: u32 = 1;
/// Largest file read: some hundred thousand keys.
const LARGEST: u64 = 64 << 20;

/// Why the master key file cannot be used. Never holds a byte of it.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("{0} is not there")]
    Missing(PathBuf),
    /// Others than its owner may read it.
    #[error("{path} may be read by others than its owner (mode {mode:o}): run chmod 600 on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no master key file of this release.
    #[error("{path} is no master key file of this release: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A key cannot be added.
    #[error("{0}")]
    Key(#[from] KmsError),
    /// The system refused something.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    id: String,
    keys: BTreeMap<String, BTreeMap<u32, String>>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.keys.values_mut().flat_map(BTreeMap::values_mut).for_each(Zeroize::zeroize);
    }
}

/// A master key file as it was read.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    id: String,
    keys: Keyring,
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`] and the others.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing(path.to_owned()),
            _ => KeyFileError::Io { path: path.to_owned(), source },
        };
        let malformed = |problem: &str| KeyFileError::Malformed { path: path.to_owned(), problem: problem.to_owned() };
        let metadata = fs::metadata(path).map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
        }
        if metadata.len() > LARGEST {
            return Err(malformed("it is too large"));
        }
        let text = Zeroizing::new(fs::read(path).map_err(failed)?);
        // The parser's own message could quote a key.
        let stored: Stored = serde_json::from_slice(&text).map_err(|_| malformed("it is not of the expected form"))?;
        if stored.format != FORMAT {
            return Err(malformed("its format is of another release"));
        }
        let mut keys = Keyring::default();
        for (name, versions) in &stored.keys {
            for (number, text) in versions {
                let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).unwrap_or_default());
                let key = SecretKey::from_slice(&bytes).ok_or_else(|| malformed("a key is not 32 bytes in base64"))?;
                keys.insert(name, *number, key);
            }
        }
        Ok(Self { path: path.to_owned(), id: stored.id.clone(), keys })
    }

    /// Makes a file with these keys, unless there is one. Of two that try, one wins, and both read the winner's.
    ///
    /// # Errors
    /// As [`KeyFile::read`].
    pub fn create(path: &Path, names: &[&str]) -> Result<Self, KeyFileError> {
        let _lock = lock(path)?;
        match Self::read(path) {
            Err(KeyFileError::Missing(_)) => {}
            other => return other,
        }
        let id = hex::encode(SecretKey::random()?.expose());
        let mut file = Self { path: path.to_owned(), id, keys: Keyring::default() };
        for name in names {
            file.keys.add_version(name)?;
        }
        file.save()?;
        Ok(file)
    }

    /// Changes the file: read anew under the lock, changed, replaced.
    ///
    /// # Errors
    /// As [`KeyFile::read`], and what `edit` says. Nothing is changed then.
    pub fn change<T>(
        path: &Path,
        edit: impl FnOnce(&mut Keyring) -> Result<T, KmsError>,
    ) -> Result<(Self, T), KeyFileError> {
        let _lock = lock(path)?;
        let mut file = Self::read(path)?;
        let told = edit(&mut file.keys)?;
        file.save()?;
        Ok((file, told))
    }

    /// What tells this file from others.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its keys, without secrets.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.keys.list()
    }

    /// Writes the file aside, syncs it, puts it in place, and syncs the folder.
    fn save(&self) -> Result<(), KeyFileError> {
        let failed = |source| KeyFileError::Io { path: self.path.clone(), source };
        let mut stored = Stored { format: FORMAT, id: self.id.clone(), keys: BTreeMap::new() };
        for (name, number, key) in self.keys.entries() {
            stored.keys.entry(name.to_owned()).or_default().insert(number, BASE64_STANDARD.encode(key.expose()));
        }
        let text = Zeroizing::new(serde_json::to_vec_pretty(&stored).map_err(io::Error::from).map_err(failed)?);
        let aside = self.path.with_extension("new");
        remove_stale(&aside).map_err(failed)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&aside, &self.path).map_err(failed)?;
        folder(&self.path).and_then(|folder| File::open(folder)?.sync_all()).map_err(failed)
    }
}

/// What a crash in the middle of a change left behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    absolute.parent().map(Path::to_owned).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Waits until nobody else changes the file. The lock goes with the handle.
fn lock(path: &Path) -> Result<File, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    fs::create_dir_all(folder(path).map_err(failed)?).map_err(failed)?;
    let lock = OpenOptions::new().append(true).create(true).mode(0o600).open(path.with_extension("lock"));
    let lock = lock.map_err(failed)?;
    lock.lock().map_err(failed)?;
    Ok(lock)
}

/// Keys in a file.
#[derive(Debug)]
pub struct FileKms {
    file: ArcSwap<KeyFile>,
    default_key: String,
}

impl FileKms {
    /// A manager of the keys of a file.
    pub fn new(file: KeyFile, default_key: String) -> Self {
        Self { file: ArcSwap::from_pointee(file), default_key }
    }

    /// Does `work` with the keys at hand; where one is missing, with the file read again: it may have been rotated.
    fn with_keys<T>(&self, work: impl Fn(&Keyring) -> Result<T, KmsError>) -> Result<T, KmsError> {
        match work(&self.file.load().keys) {
            Err(KmsError::NoSuchKey(_)) => {
                self.reload()?;
                work(&self.file.load().keys)
            }
            other => other,
        }
    }
}

impl Kms for FileKms {
    fn default_key(&self) -> &str {
        &self.default_key
    }

    fn generate<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Generated, KmsError>> {
        future::ready(self.with_keys(|keys| keys.generate(key))).boxed()
    }

    fn unwrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<SecretKey, KmsError>> {
        future::ready(self.with_keys(|keys| keys.unwrap(key, wrapped))).boxed()
    }

    fn rewrap<'a>(&'a self, key: &'a str, wrapped: &'a Bytes) -> BoxFuture<'a, Result<Bytes, KmsError>> {
        future::ready(self.with_keys(|keys| keys.rewrap(key, wrapped))).boxed()
    }

    fn reload(&self) -> Result<(), KmsError> {
        let current = self.file.load_full();
        let read = KeyFile::read(&current.path).map_err(|e| KmsError::Unavailable(e.to_string()))?;
        if read.id != current.id {
            return Err(KmsError::Unavailable("the master key file is another one now".to_owned()));
        }
        self.file.store(read.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kms").join("master-keys.json");
        (folder, path)
    }

    #[tokio::test]
    async fn the_file_is_made_once_for_its_owner_only_and_read_back() {
        let (_folder, path) = place();
        let made = KeyFile::create(&path, &["a", "b"]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = KeyFile::create(&path, &["c"]).unwrap();
        assert_eq!((made.id(), made.list()), (again.id(), again.list()));
        let (first, second) = (FileKms::new(made, "a".into()), FileKms::new(again, "a".into()));
        let generated = first.generate("a").await.unwrap();
        assert_eq!(second.unwrap("a", &generated.wrapped).await, Ok(generated.key));
    }

    #[tokio::test]
    async fn a_running_manager_finds_keys_and_versions_that_came_since() {
        let (_folder, path) = place();
        let kms = FileKms::new(KeyFile::create(&path, &["a"]).unwrap(), "a".into());
        let old = kms.generate("a").await.unwrap();
        KeyFile::change(&path, |keys| keys.add_version("a")).unwrap();
        KeyFile::change(&path, |keys| keys.add_version("late")).unwrap();
        assert!(kms.generate("late").await.is_ok());
        let new = kms.generate("a").await.unwrap();
        assert_eq!(new.wrapped[4], 2);
        assert_eq!(kms.unwrap("a", &old.wrapped).await, Ok(old.key));
        assert_eq!(kms.generate("never").await.unwrap_err(), KmsError::NoSuchKey("never".into()));
    }

    #[test]
    fn many_makers_end_up_with_one_file() {
        let (_folder, path) = place();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| KeyFile::create(&path, &["a"]).unwrap().id().to_owned())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_is_refused() {
        let (_folder, path) = place();
        KeyFile::create(&path, &["a"]).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(KeyFile::read(&path), Err(KeyFileError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(KeyFile::read(&path), Err(KeyFileError::Malformed { .. })), "{cut}");
        }
        assert!(matches!(KeyFile::read(&path.with_extension("no")), Err(KeyFileError::Missing(_))));
    }

    #[test]
    fn an_edit_that_fails_changes_nothing() {
        let (_folder, path) = place();
        KeyFile::create(&path, &["a"]).unwrap();
        let before = fs::read(&path).unwrap();
        let failed = KeyFile::change(&path, |keys| {
            keys.add_version("b")?;
            Err::<(), _>(KmsError::Refused("no".into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
