//! Storage as processes of its own: what a data module and a metadata module answer (docs/modules.md).
//!
//! Both are handlers behind the same listeners as S3: their limits, access lines, metrics and graceful stop are those
//! of every other port. Neither knows a bucket's name or an object's key from another: they keep bytes under names,
//! and pairs in order. There is no authentication but an optional shared secret, so they belong on a network of their
//! own.

mod answer;
mod data;
mod gate;
mod metadata;

pub use data::DataModule;
pub use gate::Gate;
pub use metadata::MetadataModule;
