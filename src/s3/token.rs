//! Continuation tokens: opaque to clients, checked when they come back.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::error::{S3Error, S3Result};

/// The longest token taken.
const MAX_TOKEN: usize = 2048;

/// A token that stands for `text`.
pub fn write(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// What a token stands for.
///
/// # Errors
/// `InvalidArgument` for anything that [`write`] does not make.
pub fn read(token: &str) -> S3Result<String> {
    let invalid = || S3Error::argument("The continuation token provided is incorrect", "continuation-token", token);
    if token.is_empty() || token.len() > MAX_TOKEN {
        return Err(invalid());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    String::from_utf8(bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_others_are_refused() {
        for text in ["a", "key with spaces/ü\u{0}", &"x".repeat(1024)] {
            assert_eq!(read(&write(text)).unwrap(), text);
        }
        let long = "a".repeat(3000);
        for bad in ["", "*", "a b", "_____w", &long] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
