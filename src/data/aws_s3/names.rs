//! Names of far objects, and the words for what is staged.
//!
//! ```text
//! blob     s3:<version>:<write>:<entity tag>:<key>      escaped, but for the key; a marker has its version only
//! handle   JSON of `Handle`
//! ```

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{
    data::{BlobId, DataError},
    s3client::ObjectEntry,
};

/// Where blobs are that have no name of a user's.
pub(super) const OWN_PREFIX: &str = ".cloudserver-blobs/";
/// Bytes of the id of a write.
const WRITE_BYTES: usize = 20;
/// Longest handle, in bytes.
pub(super) const LONGEST_HANDLE: usize = 4096;

const FIELD: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A far object, or a marker of its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FarBlob {
    pub(super) key: String,
    /// Where the store keeps versions (or generations).
    pub(super) version: Option<String>,
    /// The id of the write it came from; empty for a marker.
    pub(super) write: String,
    /// Without quotes; empty for a marker.
    pub(super) etag: String,
}

impl FarBlob {
    pub(super) fn id(&self) -> BlobId {
        let field = |text: &str| utf8_percent_encode(text, &FIELD).to_string();
        let version = field(self.version.as_deref().unwrap_or_default());
        BlobId::new(format!("s3:{version}:{}:{}:{}", field(&self.write), field(&self.etag), self.key))
    }

    /// # Errors
    /// [`DataError::Corrupt`] where the name is none of ours.
    pub(super) fn parse(blob: &BlobId) -> Result<Self, DataError> {
        Self::read(blob.as_str()).ok_or_else(|| DataError::Corrupt {
            blob: blob.clone(),
            detail: "no name that this backend makes".to_owned(),
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("s3:")?.splitn(4, ':');
        let mut field = || percent_decode_str(fields.next()?).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let (version, write, etag) = (field()?, field()?, field()?);
        let key = fields.next().filter(|key| !key.is_empty())?.to_owned();
        let version = Some(version).filter(|version| !version.is_empty());
        // Something must tell it from what may take its place.
        (version.is_some() || !write.is_empty()).then_some(Self { key, version, write, etag })
    }

    /// The blob of an entry below [`OWN_PREFIX`]: its name there is the id of its write.
    pub(super) fn own(entry: &ObjectEntry, version: Option<&str>) -> Option<Self> {
        let write = entry.key.strip_prefix(OWN_PREFIX).filter(|name| is_write(name))?;
        Some(Self {
            key: entry.key.clone(),
            version: version.filter(|version| !version.is_empty() && *version != "null").map(str::to_owned),
            write: write.to_owned(),
            etag: entry.etag.clone(),
        })
    }
}

fn is_write(name: &str) -> bool {
    name.len() == 2 * WRITE_BYTES && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A fresh id of a write.
pub(super) fn new_write() -> Result<String, DataError> {
    let mut bytes = [0; WRITE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}

/// How something is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Way {
    /// It is a version there already.
    Written,
    /// The caller holds the bytes.
    Held,
    /// Parts of an upload.
    Upload,
}

/// What is left of something staged after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) way: Way,
    pub(super) key: String,
    pub(super) write: String,
    /// Of what is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// Of what is written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) etag: String,
    /// Of parts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) upload: String,
    /// Of what is held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
}

impl Handle {
    pub(super) fn new(way: Way, key: &str, write: &str) -> Self {
        Self {
            way,
            key: key.to_owned(),
            write: write.to_owned(),
            version: None,
            etag: String::new(),
            upload: String::new(),
            headers: Vec::new(),
        }
    }

    /// Its words; none if they are too long.
    pub(super) fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= LONGEST_HANDLE)
    }

    /// # Errors
    /// [`DataError::Corrupt`] where the words are none of ours.
    pub(super) fn parse(text: &str) -> Result<Self, DataError> {
        serde_json::from_str(text).map_err(|_| DataError::Corrupt {
            blob: BlobId::new(text.chars().take(64).collect::<String>()),
            detail: "no handle that this backend makes".to_owned(),
        })
    }

    pub(super) fn blob(&self, version: Option<String>, etag: String) -> BlobId {
        FarBlob { key: self.key.clone(), version, write: self.write.clone(), etag }.id()
    }

    pub(super) fn keep_headers(&mut self, headers: &HeaderMap) {
        let texts = headers.iter().filter_map(|(name, value)| {
            let value = String::from_utf8(value.as_bytes().to_vec()).ok()?;
            Some((name.as_str().to_owned(), value))
        });
        self.headers = texts.collect();
    }

    pub(super) fn kept_headers(&self) -> HeaderMap {
        let pairs = self.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
        });
        pairs.collect()
    }
}
