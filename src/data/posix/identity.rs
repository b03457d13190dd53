//! The words of this backend for bytes: which file, and how to know it again.

use std::{fmt, fs::File, io};

use rustix::{fs::XattrFlags, io::Errno};

use super::super::{BlobId, DataError, name::BlobName};
use crate::types::digest::{Digest, Sha256};

/// The extended attribute that holds the write id of a file.
pub(super) const ATTRIBUTE: &str = "user.cloudserver.write";

/// The extended attribute of a file that was put together from parts: time of change and size as they were then.
pub(super) const SEALED: &str = "user.cloudserver.sealed";

/// Bytes of a write id.
const WRITE_BYTES: usize = 16;

/// A write of ours: random, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WriteId([u8; WRITE_BYTES]);

impl WriteId {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; WRITE_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// Takes exactly 32 lowercase hex digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut bytes = [0; WRITE_BYTES];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What a file is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The write that made it, where it is ours and the file system has attributes.
    pub(super) write: Option<WriteId>,
    /// Its number in the file system.
    pub(super) inode: u64,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub(super) modified: i128,
    /// Its bytes.
    pub(super) size: u64,
}

/// How a file compares to the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is the one.
    Same,
    /// It is the one, and somebody changed its bytes since.
    Changed,
    /// It is another.
    Other,
}

impl Identity {
    /// Of an open file; `None` for what is no regular file.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
        let stat = rustix::fs::fstat(file)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Ok(None);
        }
        let mut value = [0_u8; 2 * WRITE_BYTES + 1];
        let write = match rustix::fs::fgetxattr(file, ATTRIBUTE, &mut value[..]) {
            Ok(length) => value.get(..length).and_then(WriteId::parse),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::PERM | Errno::ACCESS | Errno::NOSYS) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self { write, ..Self::of_stat(&stat) }))
    }

    /// Writes down on the file itself what it is known by, where it can carry that.
    pub(super) fn seal_in(&self, file: &File) -> io::Result<()> {
        let value = format!("{}.{}", self.modified, self.size);
        rustix::fs::fsetxattr(file, SEALED, value.as_bytes(), XattrFlags::empty())?;
        Ok(())
    }

    /// What this file was known by when [`Identity::seal_in`] wrote it down; `None` where it did not.
    pub(super) fn sealed_in(&self, file: &File) -> Option<Self> {
        let mut value = [0_u8; 64];
        let length = rustix::fs::fgetxattr(file, SEALED, &mut value[..]).ok()?;
        let (modified, size) = std::str::from_utf8(value.get(..length)?).ok()?.split_once('.')?;
        Some(Self { modified: modified.parse().ok()?, size: size.parse().ok()?, ..*self })
    }

    /// What a look from outside tells.
    pub(super) fn of_stat(stat: &rustix::fs::Stat) -> Self {
        let nanoseconds = i128::from(stat.st_mtime_nsec);
        Self {
            write: None,
            inode: stat.st_ino,
            modified: i128::from(stat.st_mtime) * 1_000_000_000 + nanoseconds,
            size: u64::try_from(stat.st_size).unwrap_or(0),
        }
    }

    /// Compares a file that was found. A copy of the whole tree with its attributes and times keeps write ids and gets
    /// new inodes; an edited file keeps both and gets another time.
    pub(super) fn compare(&self, found: &Self) -> Likeness {
        let same_write = self.write.is_some() && self.write == found.write;
        let other_write = matches!((self.write, found.write), (Some(one), Some(other)) if one != other);
        let known = same_write || (self.inode == found.inode && !other_write);
        match (known, self.size == found.size && self.modified == found.modified) {
            (true, true) => Likeness::Same,
            (true, false) if same_write => Likeness::Changed,
            _ => Likeness::Other,
        }
    }

    /// The names for it among the files that lost their place and may be asked for still, the best first. They tell the
    /// very bytes and whose they were: a copy, an edited file and a renamed one have the write id of the first, too.
    /// `native` is `None` where nobody knows any more.
    pub(super) fn names_to_keep(&self, native: Option<&str>) -> Vec<String> {
        let Self { write, modified, size, .. } = *self;
        let Some(native) = native else { return vec![self.to_string()] };
        let whose = whose(native);
        let by_inode = format!("{self}{whose}");
        match write {
            // Without the inode: a tree that was restored has others.
            Some(write) => vec![format!("{write}.{modified}.{size}{whose}"), by_inode],
            None => vec![by_inode],
        }
    }

    /// The names under which it may be kept, the likeliest first.
    pub(super) fn kept_names(&self, native: &str) -> Vec<String> {
        let mut names = self.names_to_keep(Some(native));
        // Its own inode tells more than the write id, of which there may be copies.
        names.reverse();
        if self.write.is_some() {
            // Its attribute was removed.
            names.extend(Self { write: None, ..*self }.names_to_keep(Some(native)));
        }
        names.extend(self.names_to_keep(None));
        names.push(self.first_kept_name());
        names
    }

    /// As the first release named it.
    fn first_kept_name(&self) -> String {
        self.write
            .map_or_else(|| format!("{:x}-{}-{}", self.inode, self.modified, self.size), |write| write.to_string())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('.');
        let write = match fields.next()? {
            "-" => None,
            digits => Some(WriteId::parse(digits.as_bytes())?),
        };
        let inode = u64::from_str_radix(fields.next()?, 16).ok()?;
        let modified = fields.next()?.parse().ok()?;
        let size = fields.next()?.parse().ok()?;
        let identity = Self { write, inode, modified, size };
        // One spelling only.
        (fields.next().is_none() && identity.to_string() == text).then_some(identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.write {
            Some(write) => write.fmt(f)?,
            None => f.write_str("-")?,
        }
        write!(f, ".{:x}.{}.{}", self.inode, self.modified, self.size)
    }
}

/// How the name of a kept file ends that was the object of this native name.
fn whose(native: &str) -> String {
    let digest = Sha256::digest(native.as_bytes());
    format!(".{}", hex::encode(digest.get(..8).unwrap_or_default()))
}

/// Where a blob is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// At the path of a native name.
    Native(String),
    /// Among the blobs without a name of their own.
    Blob(BlobName),
}

/// A blob's name: `<letter><identity>/<place>`, where the letter is `k` for a native name, `b` for a made-up one, and `m`
/// for an object that was hidden from its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) identity: Identity,
    pub(super) place: Place,
    /// It names the hiding, not the bytes.
    pub(super) marker: bool,
}

impl Blob {
    pub(super) fn id(&self) -> BlobId {
        BlobId::new(match &self.place {
            Place::Native(native) if self.marker => format!("m{}/{native}", self.identity),
            Place::Native(native) => format!("k{}/{native}", self.identity),
            Place::Blob(name) => format!("b{}/{name}", self.identity),
        })
    }

    /// Takes a name that metadata kept.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] where it is none of ours.
    pub(super) fn parse(blob: &BlobId) -> Result<Self, DataError> {
        Self::read(blob.as_str()).ok_or_else(|| DataError::Corrupt {
            blob: blob.clone(),
            detail: "no name that this backend makes".to_owned(),
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (identity, place) = text.split_once('/')?;
        let mut letters = identity.chars();
        let letter = letters.next()?;
        let identity = Identity::parse(letters.as_str())?;
        let place = match letter {
            'k' | 'm' if !place.is_empty() => Place::Native(place.to_owned()),
            'b' => Place::Blob(BlobName::parse(place.as_bytes())?),
            _ => return None,
        };
        Some(Self { identity, place, marker: letter == 'm' })
    }
}

/// What is being staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A body in one piece.
    Whole,
    /// An upload in parts.
    Parts,
}

/// The words for what is staged: `<s or u>.<write id>.<inode>/<native name>`; before the slash `.<time of change>.<size>`
/// where all its bytes had come (the first release left these out).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) kind: Kind,
    pub(super) write: WriteId,
    pub(super) inode: u64,
    /// Time of the last change in nanoseconds since 1970, and size, where they are final.
    pub(super) sealed: Option<(i128, u64)>,
    pub(super) native: String,
}

impl Handle {
    /// Takes what [`fmt::Display`] made.
    ///
    /// # Errors
    /// [`DataError::NotFound`]: nothing is staged under any other text.
    pub(super) fn parse(text: &str) -> Result<Self, DataError> {
        Self::read(text).ok_or_else(|| DataError::NotFound(BlobId::new(text)))
    }

    fn read(text: &str) -> Option<Self> {
        let (head, native) = text.split_once('/')?;
        let mut fields = head.split('.');
        let kind = match fields.next()? {
            "s" => Kind::Whole,
            "u" => Kind::Parts,
            _ => return None,
        };
        let write = WriteId::parse(fields.next()?.as_bytes())?;
        let inode = u64::from_str_radix(fields.next()?, 16).ok()?;
        let sealed = match fields.next() {
            None => None,
            Some(modified) => Some((modified.parse().ok()?, fields.next()?.parse().ok()?)),
        };
        let well = fields.next().is_none() && !native.is_empty();
        well.then(|| Self { kind, write, inode, sealed, native: native.to_owned() })
    }

    /// A body in one piece, which has come.
    pub(super) fn whole(write: WriteId, identity: &Identity, native: String) -> Self {
        let sealed = Some((identity.modified, identity.size));
        Self { kind: Kind::Whole, write, inode: identity.inode, sealed, native }
    }

    /// Whether a file is the one that this handle stands for. Without attributes the inode must do.
    pub(super) fn is(&self, found: &Identity) -> bool {
        found.write.map_or(self.inode == found.inode, |write| write == self.write)
    }

    /// What the file that was staged is known by, where that is known.
    pub(super) fn identity(&self) -> Option<Identity> {
        let (modified, size) = self.sealed?;
        Some(Identity { write: Some(self.write), inode: self.inode, modified, size })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            Kind::Whole => 's',
            Kind::Parts => 'u',
        };
        write!(f, "{letter}.{}.{:x}", self.write, self.inode)?;
        if let Some((modified, size)) = self.sealed {
            write!(f, ".{modified}.{size}")?;
        }
        write!(f, "/{}", self.native)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { write: Some(WriteId([7; 16])), inode: 0xab12, modified: -5, size: 9 }
    }

    #[test]
    fn names_have_one_spelling_and_come_back() {
        for write in [Some(WriteId([0xfe; 16])), None] {
            for (place, marker) in [
                (Place::Native("b/a/../%00/\0/ä.x.y".to_owned()), false),
                (Place::Native("b/k".to_owned()), true),
                (Place::Blob(BlobName::random().unwrap()), false),
            ] {
                let blob = Blob { identity: Identity { write, ..identity() }, place, marker };
                assert_eq!(Blob::parse(&blob.id()).unwrap(), blob);
            }
        }
        for wrong in ["", "k", "k/", "k-.0.0.0/", "k-.00.0.0/a", "k-.0.+0.0/a", "x-.0.0.0/a", "b-.0.0.0/../x", "a/b"] {
            assert!(Blob::parse(&BlobId::new(wrong)).is_err(), "{wrong}");
        }
        let (write, native) = (WriteId([1; 16]), "b/k.a/".to_owned());
        let parts = Handle { kind: Kind::Parts, write, inode: 77, sealed: None, native: native.clone() };
        for handle in [parts, Handle::whole(write, &identity(), native)] {
            assert_eq!(Handle::parse(&handle.to_string()).unwrap(), handle);
        }
        let of_the_first_release = format!("s.{write}.4d/b/k");
        assert_eq!(Handle::parse(&of_the_first_release).unwrap().sealed, None);
    }

    #[test]
    fn names_of_kept_files_tell_the_very_bytes_and_whose_they_were() {
        let ours = identity();
        let keep = |identity: &Identity, native| identity.names_to_keep(Some(native));
        let names = keep(&ours, "b/k");
        assert!(names.iter().all(|name| name.len() < 200 && !name.contains('/')), "{names:?}");
        for other in [
            keep(&ours, "b/other"),
            keep(&Identity { modified: 1, ..ours }, "b/k"),
            keep(&Identity { size: 1, ..ours }, "b/k"),
            keep(&Identity { write: Some(WriteId([8; 16])), ..ours }, "b/k"),
        ] {
            assert!(other.iter().all(|name| !names.contains(name)), "{other:?}");
        }
        for found in [ours, Identity { inode: 1, ..ours }, Identity { write: None, ..ours }] {
            let known = ours.kept_names("b/k");
            assert!(known.contains(&keep(&found, "b/k")[0]), "what is the same is found: {found:?}");
        }
        assert!(ours.kept_names("b/k").contains(&"07".repeat(16)), "as the first release named it");
        assert!(Identity { write: None, ..ours }.kept_names("b/k").contains(&"ab12--5-9".to_owned()));
    }

    #[test]
    fn an_edited_file_is_known_and_a_replaced_one_is_another() {
        let ours = identity();
        assert_eq!(ours.compare(&ours), Likeness::Same);
        assert_eq!(ours.compare(&Identity { inode: 1, ..ours }), Likeness::Same, "a restored tree");
        assert_eq!(ours.compare(&Identity { modified: 0, ..ours }), Likeness::Changed, "edited");
        assert_eq!(ours.compare(&Identity { size: 0, ..ours }), Likeness::Changed, "cut");
        assert_eq!(ours.compare(&Identity { write: None, inode: 1, ..ours }), Likeness::Other, "replaced");
        assert_eq!(ours.compare(&Identity { write: None, ..ours }), Likeness::Same, "its attribute was removed");
        let next = Some(WriteId([8; 16]));
        assert_eq!(ours.compare(&Identity { write: next, ..ours }), Likeness::Other, "a later write");
        let found = Identity { write: None, ..ours };
        assert_eq!(found.compare(&Identity { inode: 1, ..found }), Likeness::Other, "without attributes");
        assert_eq!(found.compare(&Identity { modified: 1, ..found }), Likeness::Other, "without attributes");
    }
}
