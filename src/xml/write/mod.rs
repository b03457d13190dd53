//! Writing answers: straight into one buffer, well-formed by construction.

use std::fmt::Write as _;

use bytes::Bytes;

use super::NAMESPACE;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a document: opened elements are closed in order, text is escaped.
#[derive(Clone, Debug)]
pub struct XmlWriter {
    buffer: String,
    open: Vec<&'static str>,
}

impl XmlWriter {
    /// A document whose root stands in S3's namespace; `capacity` bytes are set aside.
    pub fn document(root: &'static str, capacity: usize) -> Self {
        let mut writer = Self::bare(root, &[("xmlns", NAMESPACE)], capacity);
        writer.open.reserve(8);
        writer
    }

    /// A document whose root has these attributes only: the root `Error` has none.
    pub fn bare(root: &'static str, attributes: &[(&'static str, &str)], capacity: usize) -> Self {
        let mut buffer = String::with_capacity(capacity.max(256));
        buffer.push_str(DECLARATION);
        let mut writer = Self { buffer, open: Vec::new() };
        writer.open_with(root, attributes);
        writer
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        self.open_with(name, &[])
    }

    /// Writes text into the element opened last.
    pub fn content(&mut self, text: &str) -> &mut Self {
        escape_into(&mut self.buffer, text);
        self
    }

    /// Opens an element with attributes.
    pub fn open_with(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.buffer.push('<');
        self.buffer.push_str(name);
        for (key, value) in attributes {
            self.buffer.push(' ');
            self.buffer.push_str(key);
            self.buffer.push_str("=\"");
            escape_into(&mut self.buffer, value);
            self.buffer.push('"');
        }
        self.buffer.push('>');
        self.open.push(name);
        self
    }

    /// Closes the element opened last.
    pub fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.end(name);
        }
        self
    }

    /// An element with text, escaped.
    pub fn text(&mut self, name: &'static str, text: &str) -> &mut Self {
        self.start(name);
        escape_into(&mut self.buffer, text);
        self.end(name);
        self
    }

    /// An element with text, if there is any.
    pub fn optional(&mut self, name: &'static str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    /// An element with a value whose spelling has nothing to escape: a number, a boolean, a name of ours.
    pub fn value(&mut self, name: &'static str, value: impl std::fmt::Display) -> &mut Self {
        self.start(name);
        let from = self.buffer.len();
        // Writing into a string cannot fail.
        let _ = write!(self.buffer, "{value}");
        if self.buffer.as_bytes().get(from..).is_some_and(|written| written.iter().any(|byte| is_special(*byte))) {
            let written = self.buffer.split_off(from);
            escape_into(&mut self.buffer, &written);
        }
        self.end(name);
        self
    }

    /// An element with an entity tag, in the quotes that S3 shows it in.
    pub fn quoted(&mut self, name: &'static str, tag: &str) -> &mut Self {
        self.start(name);
        self.buffer.push_str("&quot;");
        escape_into(&mut self.buffer, tag);
        self.buffer.push_str("&quot;");
        self.end(name);
        self
    }

    /// An element without content.
    pub fn empty(&mut self, name: &'static str) -> &mut Self {
        self.buffer.push('<');
        self.buffer.push_str(name);
        self.buffer.push_str("/>");
        self
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Never: a document begins with its declaration.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Closes what is open and gives the document.
    pub fn finish(mut self) -> Bytes {
        while let Some(name) = self.open.pop() {
            self.end(name);
        }
        Bytes::from(self.buffer)
    }

    fn start(&mut self, name: &str) {
        self.buffer.push('<');
        self.buffer.push_str(name);
        self.buffer.push('>');
    }

    fn end(&mut self, name: &str) {
        self.buffer.push_str("</");
        self.buffer.push_str(name);
        self.buffer.push('>');
    }
}

/// Whether a byte needs a second look: markup, control characters, and the first byte of U+FFFE and U+FFFF.
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'&' | b'<' | b'>' | b'"' | 0xef)
}

/// Appends `text`, escaped for text and for attributes in double quotes.
///
/// Characters illegal in XML 1.0, and white space that parsers change or drop, become numeric references: there is
/// no other way to name such a key, and `encoding-type=url` is there for parsers that refuse them.
fn escape_into(buffer: &mut String, text: &str) {
    // Nearly all text is clean; a test of all bytes without an early end is done many bytes at a time.
    if !text.bytes().fold(false, |special, byte| special | is_special(byte)) {
        buffer.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '&' => buffer.push_str("&amp;"),
            '<' => buffer.push_str("&lt;"),
            '>' => buffer.push_str("&gt;"),
            '"' => buffer.push_str("&quot;"),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(buffer, "&#x{:x};", u32::from(character));
            }
            other => buffer.push(other),
        }
    }
}

/// Encodes a key, prefix, delimiter or marker for `encoding-type=url`.
///
/// Unreserved characters and `/` stay. A space becomes `%20`, which every decoder understands, while `+` is a space
/// to some and a plus to others.
pub fn url_encode(text: &str) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or('0');
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.extend(['%', digit(byte >> 4), digit(byte)]),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
