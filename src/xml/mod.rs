//! The XML of S3: request documents read whole into a bounded tree, answers written straight into one buffer.

pub mod read;
pub mod write;

pub use read::{Element, XmlError};
pub use write::{XmlWriter, url_encode};

/// The namespace of every S3 document. Requests may leave it out; the root `Error` of an answer has none.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
