//! The directory of a location, held open, and the only ways into it.
//!
//! Paths come from [`super::mapping`], so no part of them is `.` or `..`; and no symbolic link is followed below the root,
//! whoever puts one there and whenever. The kernel checks that in one call (`openat2`); where it cannot, each folder is
//! opened from the one above it.

use std::{collections::HashMap, fs::File, io, path::Path};

use parking_lot::Mutex;
use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, XattrFlags},
    io::Errno,
};

use super::{
    super::{DataError, DiskUsage, Expected, file::disk, name::BlobName},
    identity::{ATTRIBUTE, Identity, WriteId},
    mapping::RESERVED,
};

/// Folders below ours: bodies that come in, parts of uploads, files that lost their place, blobs without a name of their
/// own, and files on their way out.
const FOLDERS: [&str; 5] = ["staged", "uploads", "kept", "blobs", "taken"];

/// The first line of the file `format`; the second is the id, the third the inode of that file (the first release wrote
/// none).
const FORMAT: &str = "cloudserver posix 1";

/// Owner only: nobody else has business in our folder.
const OURS: Mode = Mode::RWXU;

/// Directories remembered as durable. Beyond that all are forgotten, which costs a sync each.
const MOST_DURABLE: usize = 16_384;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// Non-blocking, so that opening a pipe which somebody put there does not wait for its other end.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);
const CREATE: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The open directory.
#[derive(Debug)]
pub(super) struct Root {
    dir: File,
    /// Bodies and uploads that come in.
    pub(super) staged: File,
    /// A folder for each upload in parts.
    pub(super) uploads: File,
    /// Files that lost their place to a later one.
    pub(super) kept: File,
    /// Blobs without a name of their own.
    pub(super) blobs: File,
    taken: File,
    /// Made with the folder: forty hex digits.
    pub(super) id: String,
    /// Whether files may have other inodes than once.
    pub(super) copied: bool,
    /// Whether files can carry a write id.
    pub(super) attributes: bool,
    /// Folders whose entry in the folder above is durable.
    durable: Mutex<HashMap<String, Made>>,
}

/// What tells a folder from a later one of the same path: its inode, which may be used again, and when it was made, in
/// seconds and nanoseconds since 1970 (0 where the file system does not tell).
type Made = (u64, i64, u32);

/// Makes the entries of a folder durable.
pub(super) type Sync<'a> = &'a dyn Fn(&File) -> Result<(), DataError>;

/// Why a folder could not be had.
#[derive(Debug)]
pub(super) enum Blocked {
    /// A file has the name of the folder of so many parts.
    File(usize),
    /// Something else is in the way, or the device failed.
    Fault(DataError),
}

impl From<io::Error> for Blocked {
    fn from(error: io::Error) -> Self {
        Self::Fault(fault(error))
    }
}

impl From<Errno> for Blocked {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// A fault of the device in the words of the seam.
pub(super) fn fault(error: impl Into<io::Error>) -> DataError {
    let error = error.into();
    match Errno::from_io_error(&error) {
        Some(Errno::STALE | Errno::NOTCONN | Errno::TIMEDOUT | Errno::HOSTDOWN) => {
            DataError::Unavailable(format!("the file system is away: {error}"))
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            DataError::Unavailable(format!("{error}: the server's user must own the location's folder"))
        }
        Some(Errno::XDEV) => DataError::Unavailable(
            "a folder of the location is on another file system: one location, one file system".to_owned(),
        ),
        _ => disk::fault(error),
    }
}

impl Root {
    /// Opens `path`, which must be there, and our folder in it, which is made. Blocks.
    ///
    /// # Errors
    /// [`DataError::Unavailable`], saying what to do.
    pub(super) fn open(path: &Path, expected: &Expected) -> Result<Self, DataError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty());
        let dir = File::from(opened.map_err(|error| {
            DataError::Unavailable(format!("{}: {error}: make the folder, or mount it", path.display()))
        })?);
        check_expected(path, &dir, expected)?;
        let in_ours = |error: io::Error| {
            DataError::Unavailable(format!(
                "{}: {error}: the server keeps its own files there and must be able to write",
                path.join(RESERVED).display()
            ))
        };
        let ours = own_folder(&dir, RESERVED).map_err(in_ours)?;
        let mut folders = Vec::new();
        for name in FOLDERS {
            folders.push(own_folder(&ours, name).map_err(in_ours)?);
        }
        let [staged, uploads, kept, blobs, taken] = <[File; 5]>::try_from(folders)
            .map_err(|_| DataError::Unavailable("a folder of ours is missing".to_owned()))?;
        if *expected == Expected::Anything {
            for folder in [&ours, &staged, &uploads, &kept, &blobs, &taken] {
                check_owner(&staged, folder, path)?;
            }
        }
        let attributes = try_names(&staged).map_err(fault)??;
        let id = read_or_make_id(&ours, &staged).map_err(in_ours)??;
        let copied = was_copied(&ours).map_err(in_ours)?;
        Ok(Self { dir, staged, uploads, kept, blobs, taken, id, copied, attributes, durable: Mutex::default() })
    }

    /// Whether the directory still has the id that it was opened with.
    pub(super) fn has_id(&self) -> Result<bool, DataError> {
        Ok(read_id(&self.dir)?.as_ref() == Some(&self.id))
    }

    /// Whether `path` still leads to this directory.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let (now, then) = (rustix::fs::stat(path)?, rustix::fs::fstat(&self.dir)?);
        Ok((now.st_dev, now.st_ino) == (then.st_dev, then.st_ino))
    }

    pub(super) fn usage(&self) -> io::Result<DiskUsage> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(DiskUsage { available: bytes(stat.f_bavail), free: bytes(stat.f_bfree), total: bytes(stat.f_blocks) })
    }

    /// Writes, syncs and removes a small file.
    pub(super) fn try_write(&self) -> io::Result<()> {
        let name = format!("probe-{}", WriteId::random()?);
        let file = create(&self.staged, &name)?;
        let written = rustix::io::write(&file, b"probe\n").map_err(io::Error::from).and_then(|_| file.sync_data());
        rustix::fs::unlinkat(&self.staged, &name, AtFlags::empty())?;
        written
    }

    /// Opens the file at a path for reading, whatever it is.
    pub(super) fn open_file(&self, names: &[String]) -> io::Result<File> {
        let Some((leaf, parents)) = names.split_last() else { return Err(io::ErrorKind::NotFound.into()) };
        match self.beneath(&names.join("/"), READ) {
            Err(Errno::NOSYS | Errno::PERM) => open_in(&self.walk(parents)?, leaf),
            opened => Ok(opened?),
        }
    }

    /// Opens the folder of so many names; the root for none.
    pub(super) fn open_folder(&self, names: &[String]) -> io::Result<File> {
        if names.is_empty() {
            return self.dir.try_clone();
        }
        match self.beneath(&names.join("/"), DIRECTORY) {
            Err(Errno::NOSYS | Errno::PERM) => self.walk(names),
            opened => Ok(opened?),
        }
    }

    fn beneath(&self, path: &str, flags: OFlags) -> Result<File, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.dir, path, flags, Mode::empty(), resolve) {
                // Somebody renamed a folder meanwhile.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened.map(File::from),
            }
        }
    }

    fn walk(&self, names: &[String]) -> io::Result<File> {
        let mut dir = self.dir.try_clone()?;
        for name in names {
            dir = File::from(rustix::fs::openat(&dir, name, DIRECTORY, Mode::empty())?);
        }
        Ok(dir)
    }

    /// The folder of so many names, made where it is missing; with `sync`, durable with all above it.
    pub(super) fn make_folder(&self, names: &[String], mode: Mode, sync: Option<Sync<'_>>) -> Result<File, Blocked> {
        let path = names.join("/");
        if let Ok(dir) = self.open_folder(names)
            && (sync.is_none() || names.is_empty() || self.is_durable(&path, &dir)?)
        {
            return Ok(dir);
        }
        let mut dir = self.dir.try_clone()?;
        let mut path = String::new();
        for (depth, name) in names.iter().enumerate() {
            if depth > 0 {
                path.push('/');
            }
            path.push_str(name);
            let next = self.enter(&dir, name, depth + 1, mode)?;
            if let Some(sync) = sync
                && !self.is_durable(&path, &next)?
            {
                sync(&dir).map_err(Blocked::Fault)?;
                self.remember(&path, &next)?;
            }
            dir = next;
        }
        Ok(dir)
    }

    fn enter(&self, dir: &File, name: &str, depth: usize, mode: Mode) -> Result<File, Blocked> {
        for _ in 0..8 {
            match rustix::fs::openat(dir, name, DIRECTORY, Mode::empty()) {
                Ok(folder) => return Ok(File::from(folder)),
                Err(Errno::NOENT) => match rustix::fs::mkdirat(dir, name, mode) {
                    Ok(()) => {
                        let folder = File::from(rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?);
                        // The process's mask does not apply: the configuration says who may enter.
                        rustix::fs::fchmod(&folder, mode)?;
                        return Ok(folder);
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                },
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.what_blocks(dir, name, depth)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Blocked::Fault(DataError::Unavailable(format!("the folder {name} comes and goes"))))
    }

    fn what_blocks(&self, dir: &File, name: &str, depth: usize) -> Blocked {
        let is_file = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_regular(&stat));
        if is_file {
            return Blocked::File(depth);
        }
        tracing::warn!(folder = name, root = %self.id, "a link or special file is where a folder must be");
        Blocked::Fault(DataError::Unavailable(format!("a link or special file is where the folder {name} must be")))
    }

    fn is_durable(&self, path: &str, dir: &File) -> io::Result<bool> {
        let made = made(dir)?;
        Ok(self.durable.lock().get(path) == Some(&made))
    }

    fn remember(&self, path: &str, dir: &File) -> io::Result<()> {
        let made = made(dir)?;
        let mut durable = self.durable.lock();
        if durable.len() >= MOST_DURABLE {
            durable.clear();
        }
        durable.insert(path.to_owned(), made);
        Ok(())
    }

    /// A folder that was removed is durable no more: the next one of its name may have its inode.
    pub(super) fn forget(&self, names: &[String]) {
        self.durable.lock().remove(&names.join("/"));
    }

    /// Removes `name` from `dir` if it is still the file of `inode`; what took its place meanwhile goes back. Returns
    /// whether it was removed.
    pub(super) fn take_away(&self, dir: &File, name: &str, inode: u64) -> io::Result<bool> {
        let aside = WriteId::random()?.to_string();
        match rustix::fs::renameat(dir, name, &self.taken, &aside) {
            Err(Errno::NOENT) => return Ok(false),
            renamed => renamed?,
        }
        let taken = rustix::fs::statat(&self.taken, &aside, AtFlags::SYMLINK_NOFOLLOW)?;
        if taken.st_ino == inode {
            rustix::fs::unlinkat(&self.taken, &aside, AtFlags::empty())?;
            return Ok(true);
        }
        let back = rustix::fs::renameat_with(&self.taken, &aside, dir, name, RenameFlags::NOREPLACE);
        if let Err(error) = back {
            // A third file is there by now. This one stays where an operator finds it.
            tracing::error!(file = name, kept = %aside, %error, "a file was replaced from outside while it was removed; \
                what replaced it is in .cloudserver/taken");
        }
        Ok(false)
    }
}

fn made(dir: &File) -> io::Result<Made> {
    let mask = StatxFlags::INO | StatxFlags::BTIME;
    match rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, mask) {
        Ok(stat) if stat.stx_mask & StatxFlags::BTIME.bits() != 0 => {
            Ok((stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
        }
        _ => Ok((rustix::fs::fstat(dir)?.st_ino, 0, 0)),
    }
}

/// Opens a file in an open folder, whatever it is.
pub(super) fn open_in(dir: &File, name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::openat(dir, name, READ, Mode::empty())?))
}

/// Makes a file that must not be there yet.
pub(super) fn create(dir: &File, name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::openat(dir, name, CREATE, Mode::RUSR | Mode::WUSR)?))
}

/// Opens a file for writing that [`create`] made.
pub(super) fn open_to_write(dir: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}

/// A folder of ours, made where it is missing.
pub(super) fn own_folder(dir: &File, name: &str) -> io::Result<File> {
    match rustix::fs::mkdirat(dir, name, OURS) {
        Ok(()) => dir.sync_all()?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(File::from(rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?))
}

/// Whether it is a file with bytes.
pub(super) fn is_regular(stat: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
}

/// Refuses a folder of ours that somebody else has put there before the first start: its owner could take files out and
/// put others in. Who we are there is what the file system makes of us.
fn check_owner(staged: &File, folder: &File, path: &Path) -> Result<(), DataError> {
    let name = format!("owner-{}", WriteId::random()?);
    let file = create(staged, &name).map_err(fault)?;
    rustix::fs::unlinkat(staged, &name, AtFlags::empty()).map_err(fault)?;
    let (us, owner) =
        (rustix::fs::fstat(&file).map_err(fault)?.st_uid, rustix::fs::fstat(folder).map_err(fault)?.st_uid);
    if us == owner {
        return Ok(());
    }
    let ours = path.join(RESERVED);
    Err(DataError::Unavailable(format!(
        "{} is of user {owner}, and this server's files are of user {us} there: remove it, or give it to that user if it \
         is from an earlier use",
        ours.display()
    )))
}

/// Names that must be two files: in another case, and composed in another way.
const TWINS: [(&str, &str); 2] = [("case", "CASE"), ("\u{e9}", "e\u{301}")];

/// Whether files here can carry attributes.
///
/// # Errors
/// [`DataError::Unavailable`] where the file system takes different names for the same.
fn try_names(dir: &File) -> io::Result<Result<bool, DataError>> {
    let mut attributes = false;
    for (name, twin) in TWINS {
        let random = WriteId::random()?;
        let (name, twin) = (format!("{random}-{name}"), format!("{random}-{twin}"));
        let file = create(dir, &name)?;
        attributes = rustix::fs::fsetxattr(&file, ATTRIBUTE, b"probe", XattrFlags::empty()).is_ok();
        let found = rustix::fs::statat(dir, &twin, AtFlags::SYMLINK_NOFOLLOW);
        rustix::fs::unlinkat(dir, &name, AtFlags::empty())?;
        if found.is_ok() {
            let why = "the file system takes different names for the same (in another case, or composed differently): \
                       keys would collide; choose one that tells them apart";
            return Ok(Err(DataError::Unavailable(why.to_owned())));
        }
    }
    Ok(Ok(attributes))
}

/// Whether a directory is the one that it must be. Nothing is made in one that is not: an empty mount point stays empty.
fn check_expected(path: &Path, dir: &File, expected: &Expected) -> Result<(), DataError> {
    if *expected == Expected::Anything {
        return Ok(());
    }
    let format = path.join(RESERVED).join("format");
    let Some(found) = read_id(dir)? else {
        let id = match expected {
            Expected::Identity(id) => id.clone(),
            Expected::Anything | Expected::Something => BlobName::random()?.to_string(),
        };
        return Err(DataError::Unavailable(format!(
            "{} is missing, and the location was used before: is its file system mounted? If the folder is right and \
             only this file was lost, make it again with two lines, \"{FORMAT}\" and \"{id}\"",
            format.display()
        )));
    };
    match expected {
        Expected::Identity(id) if *id != found => Err(DataError::Unavailable(format!(
            "{} is another folder than before: mount the one that {} has the line \"{id}\" in; if this one takes its \
             place on purpose, write that line into it instead of \"{found}\"",
            path.display(),
            format.display()
        ))),
        _ => Ok(()),
    }
}

/// The id that is written in a directory; `None` where none is.
fn read_id(dir: &File) -> Result<Option<String>, DataError> {
    let opened = rustix::fs::openat(dir, RESERVED, DIRECTORY, Mode::empty()).map(File::from).map_err(io::Error::from);
    match opened.and_then(|ours| open_in(&ours, "format")).and_then(io::read_to_string) {
        Ok(text) => parse_id(&text).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

fn read_or_make_id(ours: &File, staged: &File) -> io::Result<Result<String, DataError>> {
    for _ in 0..2 {
        match open_in(ours, "format") {
            Ok(file) => return io::read_to_string(file).map(|text| parse_id(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let name = WriteId::random()?.to_string();
        let file = create(staged, &name)?;
        let text = format!("{FORMAT}\n{}\n{:x}\n", BlobName::random()?, rustix::fs::fstat(&file)?.st_ino);
        io::Write::write_all(&mut &file, text.as_bytes())?;
        file.sync_all()?;
        // Two servers that begin at once agree on the first.
        match rustix::fs::linkat(staged, &name, ours, "format", AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => rustix::fs::unlinkat(staged, &name, AtFlags::empty())?,
            Err(_) => rustix::fs::renameat(staged, &name, ours, "format")?,
        }
        ours.sync_all()?;
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether the files here may have other inodes than once: those of a tree that was copied have. The file `format` tells
/// its own; where it does not, nobody knows.
fn was_copied(ours: &File) -> io::Result<bool> {
    let file = open_in(ours, "format")?;
    let inode = rustix::fs::fstat(&file)?.st_ino;
    let text = io::read_to_string(file)?;
    let told = text.lines().nth(2).and_then(|line| u64::from_str_radix(line, 16).ok());
    Ok(told != Some(inode))
}

fn parse_id(text: &str) -> Result<String, DataError> {
    let mut lines = text.lines();
    let known = lines.next() == Some(FORMAT);
    let id = lines.next().and_then(|line| BlobName::parse(line.as_bytes()));
    id.filter(|_| known).map(|id| id.to_string()).ok_or_else(|| {
        DataError::Unavailable(format!("{RESERVED}/format is not of this release: use the release that made it"))
    })
}

impl Root {
    /// Gives a new file of ours its mode and its write id.
    pub(super) fn mark(&self, file: &File, mode: Mode, write: WriteId) -> io::Result<()> {
        rustix::fs::fchmod(file, mode)?;
        if self.attributes {
            rustix::fs::fsetxattr(file, ATTRIBUTE, write.to_string().as_bytes(), XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Removes what is left of bodies that came in before `before` (nanoseconds since 1970): nobody waits for them any
    /// more. What is not of its own name lost its place in a crash, and is kept.
    pub(super) fn sweep(&self, before: i128) -> io::Result<usize> {
        let mut removed = 0;
        for entry in rustix::fs::Dir::read_from(&self.staged)? {
            let Ok(name) = entry?.file_name().to_str().map(str::to_owned) else { continue };
            let Ok(file) = open_in(&self.staged, &name) else { continue };
            let Some(identity) = Identity::of(&file)?.filter(|identity| identity.modified < before) else { continue };
            // Our own have their names for write ids; what has none where files have them came in an exchange, too.
            let exchanged = match identity.write {
                Some(write) => write.to_string() != name,
                None => self.attributes && WriteId::parse(name.as_bytes()).is_some(),
            };
            if exchanged {
                self.move_kept((&self.staged, &name), &identity, None)?;
            } else {
                rustix::fs::unlinkat(&self.staged, &name, AtFlags::empty())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use super::*;

    #[tokio::test]
    async fn a_folder_that_was_removed_is_made_durable_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), &Expected::Anything).unwrap();
        let syncs = Cell::new(0);
        let make = || {
            let sync = |_: &File| {
                syncs.set(syncs.get() + 1);
                Ok(())
            };
            root.make_folder(&["d".to_owned(), "e".to_owned()], OURS, Some(&sync)).unwrap();
            syncs.take()
        };
        assert_eq!((make(), make()), (2, 0));
        root.forget(&["d".to_owned(), "e".to_owned()]);
        assert_eq!((make(), make()), (1, 0));
        for _ in 0..3 {
            // Its inode is used again. The clock of a file system ticks in milliseconds.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            fs::remove_dir(dir.path().join("d/e")).unwrap();
            fs::create_dir(dir.path().join("d/e")).unwrap();
            assert_eq!((make(), make()), (1, 0));
        }
        let failing = |_: &File| Err(DataError::NoSpace);
        let blocked = root.make_folder(&["f".to_owned()], OURS, Some(&failing));
        assert!(matches!(blocked, Err(Blocked::Fault(DataError::NoSpace))), "{blocked:?}");
    }
}
