//! Bytes that say who wrote them: whatever part of them comes back tells what it is.

use super::Violation;

/// Names one payload: every byte of it follows from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag {
    pub(crate) writer: u16,
    /// Counts the writer's payloads.
    pub(crate) number: u32,
    /// Bytes; at least [`LINE`].
    pub(crate) length: u32,
}

/// Bytes of a line: tag, offset, line feed.
pub(crate) const LINE: usize = 32;

impl Tag {
    /// The payload: lines of writer, number, length and offset, the last one perhaps cut.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let length = usize::try_from(self.length).unwrap();
        assert!(length >= LINE, "a payload must hold its name");
        let mut bytes = Vec::with_capacity(length + LINE);
        while bytes.len() < length {
            let line = format!("{:04x} {:08x} {:08x} {:08x}\n", self.writer, self.number, self.length, bytes.len());
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn of_line(bytes: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(bytes.get(..LINE)?).ok()?;
        let mut fields = line.split(' ');
        let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
        let writer = u16::try_from(number()?).ok()?;
        Some(Self { writer, number: number()?, length: number()? })
    }
}

/// Which payloads `body` consists of.
///
/// # Errors
/// [`Violation`] where it is not a sequence of whole payloads.
pub(crate) fn read(mut body: &[u8]) -> Result<Vec<Tag>, Violation> {
    let mut tags = Vec::new();
    let whole = body.len();
    while !body.is_empty() {
        let torn = |why| Violation(format!("torn at byte {} of {whole}: {why}", whole - body.len()));
        let tag = Tag::of_line(body).ok_or_else(|| torn("no name of a payload"))?;
        if usize::try_from(tag.length).unwrap() < LINE {
            return Err(torn("a name that no writer gave"));
        }
        let expected = tag.bytes();
        body = body.strip_prefix(expected.as_slice()).ok_or_else(|| torn("the payload is not the one it names"))?;
        tags.push(tag);
    }
    Ok(tags)
}
