//! Files that lost their place, and may be asked for still.
//!
//! Nothing here takes the place of a kept file: one whose name is taken gets another, and nothing is removed that is not
//! the very file that was meant.

use std::{fs::File, io};

use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

use super::{
    identity::{Handle, Identity, WriteId},
    root::{Root, open_in},
};

impl Root {
    /// Gives a file a name among the kept, besides its own; `false` where it is not there any more. `native` is whose it
    /// was, where that is known.
    ///
    /// # Errors
    /// Where the file system has no links, or not of other people's files.
    pub(super) fn link_kept(
        &self,
        (dir, leaf): (&File, &str),
        seen: &Identity,
        native: Option<&str>,
    ) -> Result<bool, Errno> {
        for name in names(seen, native)? {
            let linked = rustix::fs::linkat(dir, leaf, &self.kept, &name, AtFlags::empty());
            match linked {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            }
            if inode_of(&self.kept, &name)? == Some(seen.inode) {
                return Ok(true);
            }
            if linked.is_ok() {
                // Another file came in its place just now.
                rustix::fs::unlinkat(&self.kept, &name, AtFlags::empty())?;
                return Ok(false);
            }
        }
        Err(Errno::EXIST)
    }

    /// Moves a file among the kept; `false` where it is not there any more.
    pub(super) fn move_kept(&self, from: (&File, &str), seen: &Identity, native: Option<&str>) -> io::Result<bool> {
        match self.link_kept(from, seen, native) {
            Ok(true) => self.take_away(from.0, from.1, seen.inode),
            Ok(false) => Ok(false),
            Err(_) => Ok(self.rename_kept(from, seen, native)?),
        }
    }

    /// As [`Root::move_kept`], without links.
    pub(super) fn rename_kept(
        &self,
        (dir, leaf): (&File, &str),
        seen: &Identity,
        native: Option<&str>,
    ) -> Result<bool, Errno> {
        for name in names(seen, native)? {
            match rename_to_new((dir, leaf), (&self.kept, &name)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            }
            if inode_of(&self.kept, &name)? == Some(seen.inode) {
                return Ok(true);
            }
            // Another file came in its place just now: back with it.
            match rename_to_new((&self.kept, &name), (dir, leaf)) {
                Ok(true) => {}
                back => {
                    tracing::error!(file = leaf, kept = %name, ?back, "a file was replaced from outside while it was put \
                        aside; what replaced it is in .cloudserver/kept");
                }
            }
            return Ok(false);
        }
        Err(Errno::EXIST)
    }

    /// The names of kept files that may be what was put together for an upload: when it was changed last is not known.
    pub(super) fn kept_for(&self, handle: &Handle) -> io::Result<Vec<String>> {
        let (write, inode) = (handle.write, handle.inode);
        // Those with a write id, without one, and as the first release named the latter.
        let beginnings = [write.to_string(), format!("-.{inode:x}."), format!("{inode:x}-")];
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.kept)? {
            let name = entry?.file_name().to_str().map(str::to_owned);
            names.extend(name.ok().filter(|name| beginnings.iter().any(|beginning| name.starts_with(beginning))));
        }
        Ok(names)
    }
}

/// Renames a file to what nothing may be named yet; `false` where something is.
pub(super) fn rename_to_new(from: (&File, &str), to: (&File, &str)) -> Result<bool, Errno> {
    match rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            // This file system cannot be asked not to replace.
            let is_free = inode_of(to.0, to.1)?.is_none();
            if is_free {
                rustix::fs::renameat(from.0, from.1, to.0, to.1)?;
            }
            Ok(is_free)
        }
        Err(error) => Err(error),
    }
}

/// What a look at a name tells.
pub(super) fn seen_at(dir: &File, leaf: &str, stat: &rustix::fs::Stat) -> Identity {
    let seen = Identity::of_stat(stat);
    let opened = open_in(dir, leaf).ok().and_then(|file| Identity::of(&file).ok().flatten());
    opened.filter(|opened| opened.inode == seen.inode).unwrap_or(seen)
}

fn inode_of(dir: &File, leaf: &str) -> Result<Option<u64>, Errno> {
    match rustix::fs::statat(dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names to try; the last is free.
fn names(seen: &Identity, native: Option<&str>) -> Result<Vec<String>, Errno> {
    let mut names = seen.names_to_keep(native);
    let random = WriteId::random().map_err(|_| Errno::IO)?;
    names.push(format!("{seen}.{random}"));
    Ok(names)
}
