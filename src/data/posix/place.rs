//! Files at their places: found, published, removed.
//!
//! A file that another takes the place of is *kept* under our folder until it is deleted as the blob it is: records name
//! it until the commit that follows, and versions name it for good. Nothing here removes bytes that it was not told of:
//! what somebody else put at a place is kept, too.

use std::{fs::File, io};

use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

use super::{
    super::DataError,
    Core,
    identity::{Blob, Handle, Identity, Likeness, Place},
    mapping::{Form, map},
    root::{Blocked, Root, fault, is_regular, open_in},
};

/// How often names may change under our hands before we give up.
const ATTEMPTS: usize = 16;

/// What came of one attempt to publish.
enum Outcome {
    Done,
    /// A file stands where the folder of so many names must be.
    Blocked(usize),
    /// Names changed meanwhile.
    Again,
}

/// What came of putting a file under a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// Nothing had the name.
    Fresh,
    /// What had it is kept.
    Replaced,
    /// Names changed meanwhile.
    Again,
}

/// Opens a file; `None` where there is none, or nothing that has bytes.
fn open_if_there(opened: io::Result<File>) -> Result<Option<(File, Identity)>, DataError> {
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            let nothing = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::XDEV, Errno::NODEV];
            return match Errno::from_io_error(&error) {
                Some(code) if nothing.contains(&code) => Ok(None),
                _ => Err(fault(error)),
            };
        }
    };
    let identity = Identity::of(&file).map_err(fault)?;
    Ok(identity.map(|identity| (file, identity)))
}

impl Core {
    /// Opens the very bytes of a blob. Blocks.
    pub(super) fn open(root: &Root, blob: &Blob) -> Result<File, DataError> {
        let mut changed = false;
        // Twice: it may have moved from a place not yet seen to one already seen.
        for _ in 0..2 {
            for candidate in candidates(root, blob) {
                let Some((file, found)) = open_if_there(candidate())? else { continue };
                match blob.identity.compare(&found) {
                    Likeness::Same => return Ok(file),
                    Likeness::Changed => changed = true,
                    Likeness::Other => {}
                }
            }
        }
        if changed {
            let detail = "the file was changed from outside: cloudserver location scan takes it as it is".to_owned();
            return Err(DataError::Corrupt { blob: blob.id(), detail });
        }
        Err(DataError::NotFound(blob.id()))
    }

    /// Whether the very bytes of a blob are at the place of their object. Blocks.
    pub(super) fn stands(root: &Root, blob: &Blob) -> Result<bool, DataError> {
        let Place::Native(native) = &blob.place else { return Ok(false) };
        for form in [Form::Plain, Form::Aside] {
            if let Some((_, found)) = open_if_there(root.open_file(&map(native, form)))? {
                return Ok(blob.identity.compare(&found) == Likeness::Same);
            }
        }
        Ok(false)
    }

    /// Whether any file is at the place of an object. Blocks.
    pub(super) fn is_taken(root: &Root, native: &str) -> Result<bool, DataError> {
        for form in [Form::Plain, Form::Aside] {
            if open_if_there(root.open_file(&map(native, form)))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the very bytes of a blob, and the folders that this leaves empty. Blocks.
    pub(super) fn remove(&self, root: &Root, blob: &Blob) -> Result<(), DataError> {
        let native = match &blob.place {
            Place::Native(native) => native,
            Place::Blob(name) => {
                return match rustix::fs::unlinkat(&root.blobs, name.to_string(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(error) => Err(fault(error)),
                };
            }
        };
        let _name = self.names.lock(native);
        let _shape = self.shape.read();
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((leaf, parents)) = names.split_last() else { continue };
            let Ok(dir) = root.open_folder(parents) else { continue };
            let Some((_, found)) = open_if_there(open_in(&dir, leaf))? else { continue };
            if blob.identity.compare(&found) == Likeness::Same
                && root.take_away(&dir, leaf, found.inode).map_err(fault)?
            {
                if self.options.is_strict() {
                    // A file that came back with the power would look like one that somebody dropped in.
                    self.sync(&dir)?;
                }
                self.prune(root, parents);
            }
        }
        let kept = blob.identity.kept_name();
        let Some((_, found)) = open_if_there(open_in(&root.kept, &kept))? else { return Ok(()) };
        if blob.identity.compare(&found) != Likeness::Other {
            rustix::fs::unlinkat(&root.kept, &kept, AtFlags::empty()).map_err(fault)?;
        }
        Ok(())
    }

    /// Removes empty folders, innermost first, up to the bucket's.
    fn prune(&self, root: &Root, parents: &[String]) {
        let least = usize::from(!self.options.bucket_match);
        let mut rest = parents;
        while let Some((name, above)) = rest.split_last().filter(|(_, above)| above.len() >= least) {
            let Ok(dir) = root.open_folder(above) else { return };
            if rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            rest = above;
        }
    }

    /// The file that was published with a handle, and is still there. Blocks.
    pub(super) fn published(root: &Root, handle: &Handle) -> Result<Option<Blob>, DataError> {
        let place = Place::Native(handle.native.clone());
        let at = |form| root.open_file(&map(&handle.native, form));
        for opened in [at(Form::Plain), at(Form::Aside), open_in(&root.kept, &handle.write.to_string())] {
            let Some((_, identity)) = open_if_there(opened)? else { continue };
            if handle.is(&identity) {
                return Ok(Some(Blob { identity, place, marker: false }));
            }
        }
        Ok(None)
    }

    /// Moves a file from our folder to its place, durably; what was there is kept. Blocks.
    pub(super) fn install(&self, root: &Root, from: (&File, &str), native: &str) -> Result<(), DataError> {
        for _ in 0..ATTEMPTS {
            let shape = self.shape.read();
            let outcome = self.try_install(root, from, native)?;
            drop(shape);
            match outcome {
                Outcome::Done => return Ok(()),
                Outcome::Again => {}
                Outcome::Blocked(depth) => {
                    let _shape = self.shape.write();
                    self.step_aside(root, native, depth)?;
                }
            }
        }
        Err(DataError::Unavailable("the names in the folder change all the time".to_owned()))
    }

    fn try_install(&self, root: &Root, from: (&File, &str), native: &str) -> Result<Outcome, DataError> {
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((leaf, parents)) = names.split_last() else { continue };
            let dir = match root.make_folder(parents, self.options.directory_mode(), self.options.is_strict()) {
                Ok(dir) => dir,
                Err(Blocked::File(depth)) => return Ok(Outcome::Blocked(depth)),
                Err(Blocked::Fault(error)) => return Err(error),
            };
            match Self::replace(root, from, &dir, leaf) {
                Ok(Put::Again) => return Ok(Outcome::Again),
                Ok(put) => {
                    let moved = form == Form::Plain && Self::keep_other(root, native)?;
                    if self.options.is_strict() {
                        if moved || put == Put::Replaced {
                            self.sync(&root.kept)?;
                        }
                        self.sync(&dir)?;
                    }
                    return Ok(Outcome::Done);
                }
                // The folder was pruned, or what we saw there is gone.
                Err(Errno::NOENT) if rustix::fs::statat(from.0, from.1, AtFlags::SYMLINK_NOFOLLOW).is_ok() => {
                    return Ok(Outcome::Again);
                }
                // A folder has the name.
                Err(Errno::ISDIR | Errno::NOTEMPTY) if form == Form::Plain => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(Outcome::Again)
    }

    /// Puts a file under a name.
    fn replace(root: &Root, from: (&File, &str), dir: &File, leaf: &str) -> Result<Put, Errno> {
        match rustix::fs::renameat_with(from.0, from.1, dir, leaf, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Put::Fresh),
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
        let old = match rustix::fs::statat(dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            // This file system cannot be asked not to replace.
            Err(Errno::NOENT) => return rustix::fs::renameat(from.0, from.1, dir, leaf).map(|()| Put::Fresh),
            stat => stat?,
        };
        if rustix::fs::FileType::from_raw_mode(old.st_mode).is_dir() {
            return Err(Errno::ISDIR);
        }
        if is_regular(&old) {
            // Linked before it loses its name: whatever happens in between, it has one.
            let name = kept_name(dir, leaf, &old);
            match rustix::fs::linkat(dir, leaf, &root.kept, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(Put::Again),
                // No links here, or not of other people's files.
                Err(_) => rustix::fs::renameat(dir, leaf, &root.kept, &name)?,
            }
        }
        match rustix::fs::renameat_with(from.0, from.1, dir, leaf, RenameFlags::EXCHANGE) {
            Ok(()) => {
                Self::sort_out(root, from, old.st_ino)?;
                Ok(Put::Replaced)
            }
            Err(Errno::NOENT) => Ok(Put::Again),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::renameat(from.0, from.1, dir, leaf).map(|()| Put::Replaced)
            }
            Err(error) => Err(error),
        }
    }

    /// Deals with what an exchange brought back: the file that was linked before, or one that came in between.
    fn sort_out(root: &Root, from: (&File, &str), linked: u64) -> Result<(), Errno> {
        let back = rustix::fs::statat(from.0, from.1, AtFlags::SYMLINK_NOFOLLOW)?;
        if rustix::fs::FileType::from_raw_mode(back.st_mode).is_dir() {
            // Somebody swapped in a folder in the last moment: it goes where an operator finds it.
            let name = format!("folder-{:x}", back.st_ino);
            tracing::warn!(kept = %name, "a folder that came in the way of a publication is in .cloudserver/kept");
            return rustix::fs::renameat(from.0, from.1, &root.kept, name);
        }
        if back.st_ino == linked {
            return rustix::fs::unlinkat(from.0, from.1, AtFlags::empty());
        }
        rustix::fs::renameat(from.0, from.1, &root.kept, kept_name(from.0, from.1, &back))
    }

    /// Keeps a file that stands aside although the folder that it made room for is gone.
    fn keep_other(root: &Root, native: &str) -> Result<bool, DataError> {
        let names = map(native, Form::Aside);
        let Some((leaf, parents)) = names.split_last() else { return Ok(false) };
        let Ok(dir) = root.open_folder(parents) else { return Ok(false) };
        let Ok(stat) = rustix::fs::statat(&dir, leaf, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(false) };
        match rustix::fs::renameat(&dir, leaf, &root.kept, kept_name(&dir, leaf, &stat)) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(fault(error)),
        }
    }

    /// Makes room for the folder of `depth` names: the file that has its name goes aside.
    fn step_aside(&self, root: &Root, native: &str, depth: usize) -> Result<(), DataError> {
        let names = map(native, Form::Plain);
        let file: Vec<&str> = names.iter().take(depth).map(String::as_str).collect();
        let Some((other, Form::Plain)) = super::mapping::unmap(&file) else {
            let path = file.join("/");
            return Err(DataError::Unavailable(format!("the file {path} is where a folder must be: rename it")));
        };
        let to = map(&other, Form::Aside);
        let (Some((leaf, parents)), Some((new_leaf, new_parents))) =
            (names.get(..depth).and_then(<[String]>::split_last), to.split_last())
        else {
            return Ok(());
        };
        let dir = root.open_folder(parents).map_err(fault)?;
        let new_dir = match root.make_folder(new_parents, self.options.directory_mode(), self.options.is_strict()) {
            Ok(dir) => dir,
            Err(Blocked::Fault(error)) => return Err(error),
            Err(Blocked::File(_)) => return Ok(()),
        };
        match Self::replace(root, (&dir, leaf), &new_dir, new_leaf) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(fault(error)),
        }
        if self.options.is_strict() {
            self.sync(&new_dir)?;
        }
        Ok(())
    }

    /// Takes the object of a name out of sight. Blocks.
    pub(super) fn hide(&self, root: &Root, native: &str) -> Result<Option<Blob>, DataError> {
        let _name = self.names.lock(native);
        let _shape = self.shape.read();
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((leaf, parents)) = names.split_last() else { continue };
            let Ok(dir) = root.open_folder(parents) else { continue };
            let Some((_, identity)) = open_if_there(open_in(&dir, leaf))? else { continue };
            match rustix::fs::renameat(&dir, leaf, &root.kept, identity.kept_name()) {
                Err(Errno::NOENT) => continue,
                renamed => renamed.map_err(fault)?,
            }
            if self.options.is_strict() {
                self.sync(&root.kept)?;
                self.sync(&dir)?;
            }
            self.prune(root, parents);
            return Ok(Some(Blob { identity, place: Place::Native(native.to_owned()), marker: true }));
        }
        Ok(None)
    }

    /// Brings a hidden object back, unless its place is taken. Blocks.
    pub(super) fn unhide(&self, root: &Root, blob: &Blob) -> Result<(), DataError> {
        let Place::Native(native) = &blob.place else { return Ok(()) };
        let _name = self.names.lock(native);
        let kept = blob.identity.kept_name();
        if open_if_there(open_in(&root.kept, &kept))?.is_none() {
            return Ok(());
        }
        for form in [Form::Plain, Form::Aside] {
            if open_if_there(root.open_file(&map(native, form)))?.is_some() {
                return Ok(());
            }
        }
        self.install(root, (&root.kept, &kept), native)
    }
}

/// The name under which a file is kept.
fn kept_name(dir: &File, leaf: &str, stat: &rustix::fs::Stat) -> String {
    let seen = Identity::of_stat(stat);
    let opened = open_in(dir, leaf).ok().and_then(|file| Identity::of(&file).ok().flatten());
    opened.filter(|opened| opened.inode == seen.inode).unwrap_or(seen).kept_name()
}

type Opening<'a> = Box<dyn Fn() -> io::Result<File> + 'a>;

/// Where the bytes of a blob can be, in the order of likelihood.
fn candidates<'a>(root: &'a Root, blob: &'a Blob) -> Vec<Opening<'a>> {
    match &blob.place {
        Place::Blob(name) => vec![Box::new(move || open_in(&root.blobs, &name.to_string()))],
        Place::Native(native) => vec![
            Box::new(move || root.open_file(&map(native, Form::Plain))),
            Box::new(move || root.open_file(&map(native, Form::Aside))),
            Box::new(move || open_in(&root.kept, &blob.identity.kept_name())),
        ],
    }
}
