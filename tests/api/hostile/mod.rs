//! Input that means harm: whatever comes, the answer is an S3 error, nothing changes, and the server lives
//! (reliability.md §5, §7, §8).

mod documents;
mod framing;
mod headers;
mod paths;
mod random;
mod rows;
