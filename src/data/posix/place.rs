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
    kept::{rename_to_new, seen_at},
    mapping::{Form, map},
    root::{Blocked, Root, fault, is_regular, open_in},
    wanted::Wanted,
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
        // Of copies that differ in nothing but the inode the very one goes. Where none has it, somebody has restored the
        // one at the place; kept files nobody restores but with the tree, and another inode is another version's.
        let inode = blob.identity.inode;
        let is_same = |found: &Identity| blob.identity.compare(found) == Likeness::Same;
        let is_it = |found: &Identity| found.inode == inode && is_same(found);
        if !self.remove_where(root, (blob, native), (&is_it, &is_it))? {
            let is_kept = |found: &Identity| root.copied && is_same(found);
            self.remove_where(root, (blob, native), (&is_same, &is_kept))?;
        }
        Ok(())
    }

    /// Removes the file that is meant, under all its names: in a crash it may have got two. Whether there was one.
    fn remove_where(
        &self,
        root: &Root,
        (blob, native): (&Blob, &str),
        (is_meant, is_kept): (IsMeant<'_>, IsMeant<'_>),
    ) -> Result<bool, DataError> {
        let mut removed: Option<u64> = None;
        let is_first = |found: &Identity, removed: Option<u64>| removed.is_none_or(|inode| inode == found.inode);
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((leaf, parents)) = names.split_last() else { continue };
            let Ok(dir) = root.open_folder(parents) else { continue };
            let Some((file, found)) = open_if_there(open_in(&dir, leaf))? else { continue };
            if !is_meant(&found) || !is_first(&found, removed) {
                continue;
            }
            let links = rustix::fs::fstat(&file).map_err(fault)?.st_nlink;
            if !root.take_away(&dir, leaf, found.inode).map_err(fault)? {
                continue;
            }
            removed = Some(found.inode);
            if self.options.is_strict() {
                // A file that came back with the power would look like one that somebody dropped in.
                self.sync(&dir)?;
            }
            self.prune(root, parents);
            if links == 1 {
                return Ok(true);
            }
        }
        for name in blob.identity.kept_names(native) {
            let Some((_, found)) = open_if_there(open_in(&root.kept, &name))? else { continue };
            let is_it = is_kept(&found) || (removed == Some(found.inode) && is_meant(&found));
            if is_it && is_first(&found, removed) {
                rustix::fs::unlinkat(&root.kept, &name, AtFlags::empty()).map_err(fault)?;
                removed = Some(found.inode);
            }
        }
        Ok(removed.is_some())
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
            root.forget(rest);
            rest = above;
        }
    }

    /// The file that was published with a handle, and is still there as it was published: durable by now, so that it may
    /// be called an object. For whoever holds its name. Blocks.
    pub(super) fn published(&self, root: &Root, handle: &Handle) -> Result<Option<Blob>, DataError> {
        // Of what a failed sync lost the next one does not tell.
        self.refuse_if_broken()?;
        let _shape = self.shape.read();
        let native = handle.native.as_str();
        let blob = |identity| Some(Blob { identity, place: Place::Native(native.to_owned()), marker: false });
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((file, found)) = open_if_there(root.open_file(&names))? else { continue };
            if !was_published(handle, &file, &found) {
                continue;
            }
            if let Some((_, parents)) = names.split_last().filter(|_| self.options.is_strict()) {
                let dir = self.make_folder(root, parents).map_err(|blocked| match blocked {
                    Blocked::Fault(error) => error,
                    Blocked::File(_) => DataError::Unavailable("a folder became a file just now".to_owned()),
                })?;
                self.sync(&dir)?;
                self.sync(&root.kept)?;
            }
            return Ok(blob(found));
        }
        let names = match handle.identity() {
            Some(identity) => identity.kept_names(native),
            None => root.kept_for(handle).map_err(fault)?,
        };
        for name in names {
            let Some((file, found)) = open_if_there(open_in(&root.kept, &name))? else { continue };
            if was_published(handle, &file, &found) {
                if self.options.is_strict() {
                    self.sync(&root.kept)?;
                }
                return Ok(blob(found));
            }
        }
        Ok(None)
    }

    /// The folder of so many names, made where it is missing, and durable.
    fn make_folder(&self, root: &Root, names: &[String]) -> Result<File, Blocked> {
        let sync = |dir: &File| self.sync(dir);
        root.make_folder(names, self.options.directory_mode(), self.options.is_strict().then_some(&sync))
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
            let dir = match self.make_folder(root, parents) {
                Ok(dir) => dir,
                Err(Blocked::File(depth)) => return Ok(Outcome::Blocked(depth)),
                Err(Blocked::Fault(error)) => return Err(error),
            };
            match Self::replace(root, from, (&dir, leaf), native) {
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

    /// Puts a file under a name, which is one of the object's of `native`.
    fn replace(root: &Root, from: (&File, &str), (dir, leaf): (&File, &str), native: &str) -> Result<Put, Errno> {
        if rename_to_new(from, (dir, leaf))? {
            return Ok(Put::Fresh);
        }
        let old = match rustix::fs::statat(dir, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Put::Again),
            stat => stat?,
        };
        if rustix::fs::FileType::from_raw_mode(old.st_mode).is_dir() {
            return Err(Errno::ISDIR);
        }
        if is_regular(&old) {
            // Linked before it loses its name: whatever happens in between, it has one.
            let seen = seen_at(dir, leaf, &old);
            match root.link_kept((dir, leaf), &seen, Some(native)) {
                Ok(true) => {}
                Ok(false) => return Ok(Put::Again),
                Err(_) => {
                    let kept = root.rename_kept((dir, leaf), &seen, Some(native))?;
                    let put = kept && rename_to_new(from, (dir, leaf))?;
                    return Ok(if put { Put::Replaced } else { Put::Again });
                }
            }
        }
        match rustix::fs::renameat_with(from.0, from.1, dir, leaf, RenameFlags::EXCHANGE) {
            Ok(()) => {
                Self::sort_out(root, from, old.st_ino, native)?;
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
    fn sort_out(root: &Root, from: (&File, &str), linked: u64, native: &str) -> Result<(), Errno> {
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
        let seen = seen_at(from.0, from.1, &back);
        root.move_kept(from, &seen, Some(native)).map(drop).map_err(|error| errno(&error))
    }

    /// Keeps a file that stands aside although the folder that it made room for is gone.
    fn keep_other(root: &Root, native: &str) -> Result<bool, DataError> {
        let names = map(native, Form::Aside);
        let Some((leaf, parents)) = names.split_last() else { return Ok(false) };
        let Ok(dir) = root.open_folder(parents) else { return Ok(false) };
        let Ok(stat) = rustix::fs::statat(&dir, leaf, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(false) };
        root.move_kept((&dir, leaf), &seen_at(&dir, leaf, &stat), Some(native)).map_err(fault)
    }

    /// Makes room for the folder of `depth` names: the file that has its name goes aside. For whoever has the shape alone.
    pub(super) fn step_aside(&self, root: &Root, native: &str, depth: usize) -> Result<(), DataError> {
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
        // Since it was seen another may have made room already: what has the name now is the folder of his object.
        if !rustix::fs::statat(&dir, leaf.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| is_regular(&stat)) {
            return Ok(());
        }
        let new_dir = match self.make_folder(root, new_parents) {
            Ok(dir) => dir,
            Err(Blocked::Fault(error)) => return Err(error),
            Err(Blocked::File(_)) => return Ok(()),
        };
        match Self::replace(root, (&dir, leaf), (&new_dir, new_leaf), &other) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(fault(error)),
        }
        if self.options.is_strict() {
            self.sync(&new_dir)?;
        }
        Ok(())
    }

    /// Takes the object of a name out of sight, where it is these very bytes: whatever else is there is somebody's who put
    /// it there since. Blocks.
    pub(super) fn hide(&self, root: &Root, standing: &Blob, wanted: &Wanted) -> Result<Option<Blob>, DataError> {
        let Place::Native(native) = &standing.place else { return Ok(None) };
        let _name = self.names.lock_while(wanted, native)?;
        let _shape = self.shape.read();
        for form in [Form::Plain, Form::Aside] {
            let names = map(native, form);
            let Some((leaf, parents)) = names.split_last() else { continue };
            let Ok(dir) = root.open_folder(parents) else { continue };
            let Some((_, identity)) = open_if_there(open_in(&dir, leaf))? else { continue };
            let is_meant = standing.identity.compare(&identity) == Likeness::Same;
            if !is_meant || !root.move_kept((&dir, leaf), &identity, Some(native)).map_err(fault)? {
                continue;
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
    pub(super) fn unhide(&self, root: &Root, blob: &Blob, wanted: &Wanted) -> Result<(), DataError> {
        let Place::Native(native) = &blob.place else { return Ok(()) };
        let _name = self.names.lock_while(wanted, native)?;
        for form in [Form::Plain, Form::Aside] {
            if open_if_there(root.open_file(&map(native, form)))?.is_some() {
                return Ok(());
            }
        }
        for kept in blob.identity.kept_names(native) {
            let Some((_, found)) = open_if_there(open_in(&root.kept, &kept))? else { continue };
            if blob.identity.compare(&found) == Likeness::Same {
                return self.install(root, (&root.kept, &kept), native);
            }
        }
        Ok(())
    }
}

/// Whether a file is what was published with a handle, and nobody changed it since.
fn was_published(handle: &Handle, file: &File, found: &Identity) -> bool {
    if !handle.is(found) {
        return false;
    }
    let published = handle.identity().or_else(|| found.sealed_in(file));
    let is_whole = published.is_none_or(|published| published.compare(found) == Likeness::Same);
    if !is_whole {
        let name = &handle.native;
        tracing::warn!(name, "a file was changed from outside before it was known to be an object: a scan takes it up");
    }
    is_whole
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Whether a file is the one.
type IsMeant<'a> = &'a dyn Fn(&Identity) -> bool;

type Opening<'a> = Box<dyn Fn() -> io::Result<File> + 'a>;

/// Where the bytes of a blob can be, in the order of likelihood.
fn candidates<'a>(root: &'a Root, blob: &'a Blob) -> Vec<Opening<'a>> {
    match &blob.place {
        Place::Blob(name) => vec![Box::new(move || open_in(&root.blobs, &name.to_string()))],
        Place::Native(native) => {
            let at = |form| -> Opening<'a> { Box::new(move || root.open_file(&map(native, form))) };
            let kept = |name: String| -> Opening<'a> { Box::new(move || open_in(&root.kept, &name)) };
            let kept = blob.identity.kept_names(native).into_iter().map(kept);
            [at(Form::Plain), at(Form::Aside)].into_iter().chain(kept).collect()
        }
    }
}
