//! Walks that leave out what nobody wants to see.

use std::fmt;

use bytes::Bytes;

/// Where a walk goes on.
pub trait Jump: fmt::Debug + Send + Sync {
    /// The least key of interest behind `key`; `None` for the next one, whichever that is. Never goes back.
    fn behind(&self, key: &[u8]) -> Option<Bytes>;

    /// The same in words that another process understands, where it is of that kind. A store elsewhere then walks by
    /// itself; else its keys are fetched page by page.
    fn as_common_prefixes(&self) -> Option<&CommonPrefixes> {
        None
    }
}

/// Visits only the first key of all that begin with `prefix` and are alike up to the next `delimiter`, this included.
/// Keys without it are visited each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonPrefixes {
    /// What keys of interest begin with.
    pub prefix: Bytes,
    /// Where a group's name ends; not empty.
    pub delimiter: Bytes,
}

impl Jump for CommonPrefixes {
    fn behind(&self, key: &[u8]) -> Option<Bytes> {
        let rest = key.strip_prefix(&*self.prefix)?;
        let at = memchr::memmem::find(rest, &self.delimiter)?;
        let group = key.get(..self.prefix.len() + at + self.delimiter.len())?;
        successor(group)
    }

    fn as_common_prefixes(&self) -> Option<&CommonPrefixes> {
        Some(self)
    }
}

/// The least key greater than every key that starts with `group`; `None` where it is all ones.
fn successor(group: &[u8]) -> Option<Bytes> {
    let kept = group.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = group.get(..=kept)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_passed_over_as_a_whole() {
        let jump = CommonPrefixes { prefix: Bytes::from_static(b"a/"), delimiter: Bytes::from_static(b"/") };
        assert_eq!(jump.behind(b"a/b/c").as_deref(), Some(b"a/b0".as_slice()));
        assert_eq!(jump.behind(b"a//").as_deref(), Some(b"a/0".as_slice()));
        assert_eq!(jump.behind(b"a/b"), None, "no group");
        assert_eq!(jump.behind(b"b/c/d"), None, "another prefix");
        assert_eq!(successor(&[1, 255, 255]).as_deref(), Some([2].as_slice()));
        assert_eq!(successor(&[255]), None);
    }
}
