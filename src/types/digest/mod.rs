//! Hash functions by name, so that the crates behind them stand in one place.

mod lanes;

pub use lanes::{Md5Stream, lanes, update_together};
pub use sha2::Digest;

/// MD5, for entity tags and `Content-MD5` only.
pub type Md5 = md5::Md5;
/// SHA-1, only where S3 offers it as a checksum.
pub type Sha1 = sha1::Sha1;
/// SHA-256.
pub type Sha256 = sha2::Sha256;
/// SHA-512.
pub type Sha512 = sha2::Sha512;

/// A fresh MD5 state.
pub fn md5() -> Md5 {
    Md5::new()
}

/// A fresh SHA-256 state.
pub fn sha256() -> Sha256 {
    Sha256::new()
}

/// The SHA-256 of `bytes` in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
