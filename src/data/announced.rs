//! Holds a body to its announced size, so that a put that ends early or late never looks like a success.

use crate::types::BodyError;

/// The size that a caller announced, if any, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced(pub(super) Option<u64>);

impl Announced {
    /// Refuses a body that has already brought too much.
    pub(super) fn allows(self, got: u64) -> Result<(), BodyError> {
        match self.0 {
            Some(limit) if got > limit => Err(BodyError::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// Refuses an ended body of another size.
    pub(super) fn is_met_by(self, got: u64) -> Result<(), BodyError> {
        self.allows(got)?;
        match self.0 {
            Some(expected) if got < expected => Err(BodyError::Incomplete { expected, got }),
            _ => Ok(()),
        }
    }
}
