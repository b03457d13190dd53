//! Where claims are: a folder, or memory in tests.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, StatxFlags};

use super::record::Record;

/// The newest claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) epoch: u64,
    /// As stored: any change of it is a sign of life.
    pub(super) content: Vec<u8>,
    /// `None` where the content cannot be understood.
    pub(super) record: Option<Record>,
}

/// Keeps claims. Every call may block.
pub(super) trait Board: fmt::Debug + Send + Sync {
    /// The newest claim.
    fn newest(&self) -> io::Result<Option<Claim>>;
    /// Makes the claim of `epoch`; `false` if somebody else did.
    fn claim(&self, epoch: u64, record: &Record) -> io::Result<bool>;
    /// Writes over the claim that was made by this object.
    fn write(&self, record: &Record) -> io::Result<()>;
    /// Whether a later claim than that of `epoch` was made.
    fn is_superseded(&self, epoch: u64) -> io::Result<bool>;
    /// Removes the claims before `epoch`, oldest first.
    fn tidy(&self, epoch: u64) -> io::Result<()>;
}

/// Claims as files.
#[derive(Debug)]
pub(super) struct FileBoard {
    folder: PathBuf,
    /// The folder itself, and the file of the own claim.
    dir: File,
    own: Mutex<Option<File>>,
    /// Whether others see what is written only once it is on the file server.
    shared: bool,
}

/// Digits of an epoch in a file's name.
const DIGITS: usize = 20;
/// A claim may be removed between being listed and being read.
const READ_TRIES: usize = 5;

impl FileBoard {
    /// The board in a folder, which is made if it is not there; `shared` if it is on a file server.
    ///
    /// On a file system of this machine others see at once what is written, and nobody is left after a power cut for
    /// whom it would have to be on the device: a busy one must not cost the lease.
    pub(super) fn open(folder: &Path, shared: bool) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned(), dir: File::open(folder)?, own: Mutex::default(), shared })
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("{epoch:0DIGITS$}"))
    }

    /// Has a network file system forget what it remembers of the folder: the next look asks the file server.
    fn refresh(&self) -> io::Result<()> {
        look(&self.dir, "").map(drop)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.shared { file.sync_all() } else { Ok(()) }
    }

    fn epochs(&self) -> io::Result<Vec<u64>> {
        let mut epochs = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_str().filter(|name| name.len() == DIGITS);
            epochs.extend(name.and_then(|name| name.parse::<u64>().ok()));
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn is_there(&self, epoch: u64) -> io::Result<bool> {
        match look(&self.dir, &format!("{epoch:0DIGITS$}")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Asks for a file's attributes, past every cache where the system knows how.
fn look(dir: &File, name: &str) -> io::Result<()> {
    let empty = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    #[cfg(target_os = "linux")]
    rustix::fs::statx(dir, name, empty | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::statat(dir, name, empty)?;
    Ok(())
}

impl Board for FileBoard {
    fn newest(&self) -> io::Result<Option<Claim>> {
        for _ in 0..READ_TRIES {
            self.refresh()?;
            let Some(mut epoch) = self.epochs()?.pop() else { return Ok(None) };
            // The list may be an old one.
            while self.is_there(epoch + 1)? {
                epoch += 1;
            }
            match fs::read(self.path(epoch)) {
                Ok(content) => return Ok(Some(Claim { epoch, record: Record::parse(&content), content })),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("claims come and go too fast to be read"))
    }

    fn claim(&self, epoch: u64, record: &Record) -> io::Result<bool> {
        let draft = self.folder.join(format!("new-{}", record.owner));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all_at(&record.to_bytes()?, 0)?;
        self.sync(&file)?;
        let name = self.path(epoch);
        let linked = fs::hard_link(&draft, &name);
        let won = match linked {
            Ok(()) => true,
            // The answer to a link that succeeded may have been lost, and the second try sees its own work.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Record::parse(&fs::read(&name)?).is_some_and(|found| found.owner == record.owner)
            }
            Err(error) => return Err(error),
        };
        fs::remove_file(&draft)?;
        self.sync(&self.dir)?;
        if won {
            *self.own.lock() = Some(file);
        }
        Ok(won)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let own = self.own.lock();
        let file = own.as_ref().ok_or(ErrorKind::NotFound)?;
        file.write_all_at(&record.to_bytes()?, 0)?;
        self.sync(file)
    }

    fn is_superseded(&self, epoch: u64) -> io::Result<bool> {
        self.refresh()?;
        // In this order: of two claims the older is removed first.
        Ok(self.is_there(epoch + 1)? || !self.is_there(epoch)?)
    }

    fn tidy(&self, epoch: u64) -> io::Result<()> {
        for old in self.epochs()?.into_iter().filter(|old| *old < epoch) {
            match fs::remove_file(self.path(old)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
