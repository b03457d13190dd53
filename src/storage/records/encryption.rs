//! Records of encryption: what a bucket asks for, and what opens an object.

use bytes::Bytes;

/// How an object is encrypted (S3 reference, "Protecting data with server-side encryption").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EncryptionMode {
    /// Not at all.
    None = 0,
    /// SSE-S3, `AES256`: by the server's default key.
    Managed = 1,
    /// SSE-KMS, `aws:kms`: by a named key.
    Kms = 2,
    /// DSSE-KMS, `aws:kms:dsse`: by a named key.
    DualLayer = 3,
    /// SSE-C: by a key that the client brings with each request.
    Customer = 4,
}

impl EncryptionMode {
    /// The value of `x-amz-server-side-encryption`; `None` for modes that the header does not name.
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Customer => None,
            Self::Managed => Some("AES256"),
            Self::Kms => Some("aws:kms"),
            Self::DualLayer => Some("aws:kms:dsse"),
        }
    }

    /// Whether a named key of the key manager is meant.
    pub const fn names_key(self) -> bool {
        matches!(self, Self::Kms | Self::DualLayer)
    }

    /// Whether entity tags are opaque: an MD5 would tell something of the text (S3 reference, "`ETag`").
    pub const fn has_opaque_tags(self) -> bool {
        matches!(self, Self::Kms | Self::DualLayer | Self::Customer)
    }
}

/// How an object or upload is encrypted. The object's key seals its segments, each under a key derived from it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EncryptionRecord {
    /// By whose key.
    #[prost(enumeration = "EncryptionMode", tag = "1")]
    pub mode: i32,
    /// The key of the key manager, as the client spelled it; empty with a client's key.
    #[prost(string, tag = "2")]
    pub key_id: String,
    /// The sealing key, wrapped by the key manager; empty where the client's key is the sealing key.
    #[prost(bytes = "bytes", tag = "3")]
    pub wrapped: Bytes,
    /// The object's key, sealed with the sealing key; bucket, mode, key and context are bound to it.
    #[prost(bytes = "bytes", tag = "4")]
    pub sealed_key: Bytes,
    /// `x-amz-server-side-encryption-context` as given: base64; empty for none.
    #[prost(string, tag = "5")]
    pub context: String,
    /// `x-amz-server-side-encryption-bucket-key-enabled`.
    #[prost(bool, tag = "6")]
    pub bucket_key: bool,
}

/// What a bucket asks for (S3 reference, "`ServerSideEncryptionRule`").
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BucketEncryption {
    /// How new objects are encrypted where their writer does not say.
    #[prost(enumeration = "EncryptionMode", tag = "1")]
    pub mode: i32,
    /// The key of the key manager; empty for the default one.
    #[prost(string, tag = "2")]
    pub key_id: String,
    /// `BucketKeyEnabled`.
    #[prost(bool, optional, tag = "3")]
    pub bucket_key: Option<bool>,
    /// Whether clients' keys are refused (`BlockedEncryptionTypes`).
    #[prost(bool, tag = "4")]
    pub blocks_customer_keys: bool,
}

impl BucketEncryption {
    /// SSE-S3 for every new object.
    pub fn managed() -> Self {
        Self { mode: EncryptionMode::Managed.into(), ..Self::default() }
    }
}
