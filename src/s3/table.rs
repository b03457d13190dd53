//! The table of operations: dispatch, metrics, access log and the compatibility page come from it.

use super::{
    operation::{Route, route},
    ops::{
        get_object::{GetObject, HeadObject},
        put_object::PutObject,
    },
};

/// Every operation, in the order of the S3 reference.
pub static OPERATIONS: &[Route] = &[route::<GetObject>(), route::<HeadObject>(), route::<PutObject>()];
