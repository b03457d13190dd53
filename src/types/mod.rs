//! The vocabulary of S3: names, identifiers, digests and byte streams.
//!
//! Everything here is a plain value with a checked syntax. Nothing here does I/O or knows of HTTP.

pub mod account;
pub mod acl;
pub mod body;
pub mod bucket_name;
pub mod checksum;
pub mod dialect;
pub mod digest;
pub mod etag;
pub mod object_key;
pub mod range;
pub mod sub_resource;
pub mod time;
pub mod upload_id;
pub mod version_id;

pub use account::AccountId;
pub use acl::{Acl, CannedAcl, Grant, Grantee, ObjectOwnership, Permission};
pub use body::{BodyDigests, BodyError, ByteStream, DigestSlot, IncomingBody};
pub use bucket_name::{BucketId, BucketName};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumType};
pub use dialect::Dialect;
pub use etag::ETag;
pub use object_key::ObjectKey;
pub use range::{ByteRange, RangeError};
pub use time::Timestamp;
pub use upload_id::UploadId;
pub use version_id::{VersionId, VersionSelector};
