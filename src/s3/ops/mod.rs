//! The operations: each is one type with its request, its rules and its answer.

pub mod abac;
pub mod accelerate;
pub mod acl;
pub mod buckets;
pub mod copy_object;
pub mod cors;
pub mod delete_object;
pub mod delete_objects;
pub mod encryption;
pub mod get_object;
pub mod get_object_attributes;
pub mod identified;
pub mod lifecycle;
pub mod list_objects;
pub mod logging;
pub mod multipart;
pub mod notification;
pub mod object_lock;
pub mod post_object;
pub mod put_object;
pub mod replication;
pub mod tagging;
pub mod versioning;
pub mod website;
