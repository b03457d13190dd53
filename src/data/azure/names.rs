//! The words of this backend: names of blobs at Azure, what is staged, and what was published.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::{BlobId, DataError, NativeObject};

/// The metadata of a blob that tells which write made it. Names there are identifiers of C#.
pub(super) const WRITE: &str = "cloudserver_write";

/// Where blobs are that no object's name stands for.
pub(super) const MADE_UP: &str = ".cloudserver-blobs/";

/// Where the marks of open uploads are.
const UPLOADS: &str = ".cloudserver-uploads/";

/// The longest handle, in bytes: what is longer loses metadata that only others would read there.
const LONGEST_HANDLE: usize = 4000;

/// Sixteen random bytes in hex.
pub(super) fn random() -> Result<String, DataError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// The name of the blob for an object's name.
///
/// It stays as it is, but for what Azure or a proxy before it would take for something else: parts `.` and `..`, control
/// characters, and what would look like these escapes.
pub(super) fn blob_name(native: &str) -> String {
    let mut name = String::with_capacity(native.len());
    for (index, part) in native.split('/').enumerate() {
        if index > 0 {
            name.push('/');
        }
        for (at, character) in part.char_indices() {
            match character {
                '.' if at == 0 && matches!(part, "." | "..") => name.push_str("%2E"),
                '%' if part.get(at + 1..).is_some_and(is_escape) => name.push_str("%25"),
                '\0'..='\x1f' | '\x7f' => {
                    name.extend(['%', digit(u32::from(character) >> 4), digit(u32::from(character))]);
                }
                _ => name.push(character),
            }
        }
    }
    name
}

fn is_escape(rest: &str) -> bool {
    let Some(digits) = rest.get(..2) else { return false };
    let upper = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    upper && u8::from_str_radix(digits, 16).is_ok_and(|code| matches!(code, 0..=0x1f | 0x25 | 0x2e | 0x7f))
}

/// A blob as it was published: `<write id>.<bytes>.<entity tag>/<name at Azure>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) write: String,
    pub(super) size: u64,
    /// With its quotes. It changes with the metadata, too: the write id has the last word.
    pub(super) etag: String,
    pub(super) name: String,
}

impl Published {
    pub(super) fn id(&self) -> BlobId {
        BlobId::new(format!("{}.{}.{}/{}", self.write, self.size, self.etag, self.name))
    }

    /// Takes a name that metadata kept.
    ///
    /// # Errors
    /// [`DataError::Corrupt`] where it is none of ours.
    pub(super) fn parse(blob: &BlobId) -> Result<Self, DataError> {
        let read = || {
            let (head, name) = blob.as_str().split_once('/')?;
            let (write, rest) = head.split_once('.')?;
            let (size, etag) = rest.split_once('.')?;
            let published = Self {
                write: write.to_owned(),
                size: size.parse().ok()?,
                etag: etag.to_owned(),
                name: name.to_owned(),
            };
            let well = write.len() == 32 && write.bytes().all(|byte| byte.is_ascii_hexdigit()) && !name.is_empty();
            (well && published.id() == *blob).then_some(published)
        };
        read().ok_or_else(|| DataError::Corrupt {
            blob: blob.clone(),
            detail: "no name that this backend makes".to_owned(),
        })
    }
}

/// What is staged, or begun: everything that publishing must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// The write id.
    #[serde(rename = "w")]
    pub(super) write: String,
    /// Name at Azure.
    #[serde(rename = "n")]
    pub(super) name: String,
    /// Headers of the blob to be, names complete.
    #[serde(rename = "h", default)]
    pub(super) headers: Vec<(String, String)>,
    /// Blocks, where there are any.
    #[serde(rename = "b", default)]
    pub(super) blocks: u32,
    /// Whether it is an upload in parts, which has a mark of its own.
    #[serde(rename = "u", default)]
    pub(super) upload: bool,
}

impl Handle {
    pub(super) fn new(name: String, object: &NativeObject) -> Result<Self, DataError> {
        let mut handle = Self { write: random()?, name, headers: headers(object), blocks: 0, upload: false };
        // Tags come last, before them users' metadata: ours keeps them all.
        while handle.to_string().len() > LONGEST_HANDLE && handle.headers.pop().is_some() {}
        Ok(handle)
    }

    /// The blob that is there as long as an upload is open: Azure knows no uploads.
    pub(super) fn mark(&self) -> Option<String> {
        self.upload.then(|| format!("{UPLOADS}{}", self.write))
    }

    /// Takes what [`fmt::Display`] made.
    ///
    /// # Errors
    /// [`DataError::NotFound`]: nothing is staged under any other text.
    pub(super) fn parse(text: &str) -> Result<Self, DataError> {
        serde_json::from_str(text).map_err(|_| DataError::NotFound(BlobId::new(text)))
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// What Azure is told of an object. Tags are metadata there, as in the original.
fn headers(object: &NativeObject) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in &object.headers {
        // Azure has no such thing.
        if *name != "expires" {
            headers.push((format!("x-ms-blob-{name}"), text(value)));
        }
    }
    headers
        .extend(object.metadata.iter().map(|(name, value)| (format!("x-ms-meta-{}", identifier(name)), text(value))));
    // Azure has no empty values.
    headers.retain(|(_, value)| !value.is_empty());
    headers.extend(tags(&object.tags).map(|tags| ("x-ms-meta-tags".to_owned(), tags)));
    headers
}

/// Tags in the original's form: a JSON object in the metadata `tags`.
pub(super) fn tags(tags: &[(String, String)]) -> Option<String> {
    let map: serde_json::Map<_, _> =
        tags.iter().map(|(name, value)| (name.clone(), serde_json::Value::String(value.clone()))).collect();
    (!map.is_empty()).then(|| text(&serde_json::Value::Object(map).to_string()))
}

/// A name that Azure allows for metadata.
fn identifier(name: &str) -> String {
    let mut id: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if id.starts_with(|first: char| first.is_ascii_digit()) {
        id.insert(0, '_');
    }
    // Nobody speaks for us.
    if id == WRITE { format!("_{id}") } else { id }
}

/// A value that headers can have: other characters are escaped as in JSON.
fn text(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.trim().chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let unit = u32::from(*unit);
                let digits = [12, 8, 4, 0].map(|shift| digit(unit >> shift).to_ascii_lowercase());
                text.push_str("\\u");
                text.extend(digits);
            }
        }
    }
    text
}

/// The last hex digit of a number, in upper case.
fn digit(number: u32) -> char {
    char::from_digit(number & 15, 16).unwrap_or('0').to_ascii_uppercase()
}

/// The name of a block: all of a blob have the same length.
pub(super) fn block_id(part: u32, random: &str, index: u32) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(format!("{part:05}{random:.16}{index:06}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_but_for_what_would_be_taken_for_something_else() {
        for (native, name) in [
            ("b/photos/a b.jpg", "b/photos/a b.jpg"),
            ("b/../x/./y", "b/%2E./x/%2E/y"),
            ("b/%2E/100%/a%20b", "b/%252E/100%/a%20b"),
            ("b/a\0\n/", "b/a%00%0A/"),
            ("b/...//ä", "b/...//ä"),
        ] {
            assert_eq!(blob_name(native), name);
        }
    }

    #[test]
    fn words_come_back_and_others_are_refused() {
        let published =
            Published { write: "ab".repeat(16), size: 7, etag: "\"0x8D.1\"".to_owned(), name: "b/a.b/c".to_owned() };
        assert_eq!(Published::parse(&published.id()).unwrap(), published);
        for wrong in ["", "a/b", "ab.1.x/", &format!("{}.01.x/a", "ab".repeat(16))] {
            assert!(Published::parse(&BlobId::new(wrong)).is_err(), "{wrong}");
        }
        let object = NativeObject {
            headers: vec![("content-type", "text/plain".to_owned()), ("expires", "x".to_owned())],
            metadata: vec![("my-key".to_owned(), "grün".to_owned()), ("1".to_owned(), "x".repeat(3000))],
            tags: vec![("t".to_owned(), "v".repeat(2000))],
            ..NativeObject::default()
        };
        let handle = Handle::new("b/k".to_owned(), &object).unwrap();
        assert!(handle.to_string().len() <= LONGEST_HANDLE);
        assert_eq!(handle.headers[0], ("x-ms-blob-content-type".to_owned(), "text/plain".to_owned()));
        assert_eq!(handle.headers[1], ("x-ms-meta-my_key".to_owned(), "gr\\u00fcn".to_owned()));
        assert_eq!(handle.headers.len(), 3, "the tags did not fit");
        assert_eq!(Handle::parse(&handle.to_string()).unwrap(), handle);
        assert_eq!(block_id(1, &handle.write, 0).len(), block_id(10_000, &handle.write, 49_999).len());
    }
}
