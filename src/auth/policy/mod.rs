//! Bucket policies: the place where they are evaluated, before access control lists.

/// A parsed bucket policy.
///
/// No value of this type can exist until policies are parsed and evaluated, so the slot in
/// [`BucketFacts`](super::BucketFacts) can only be empty; the evaluator already has its place for it.
#[derive(Debug)]
pub enum Policy {}
