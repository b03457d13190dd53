//! The table of operations: dispatch, metrics, access log and the compatibility page come from it.

use super::{
    operation::{Route, route},
    ops::{
        buckets::{CreateBucket, DeleteBucket, GetBucketLocation, HeadBucket, ListBuckets},
        copy_object::CopyObject,
        delete_object::DeleteObject,
        delete_objects::DeleteObjects,
        get_object::{GetObject, HeadObject},
        get_object_attributes::GetObjectAttributes,
        list_objects::{ListObjectVersions, ListObjects, ListObjectsV2},
        multipart::{
            AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, ListMultipartUploads, ListParts,
            UploadPart, UploadPartCopy,
        },
        put_object::PutObject,
        tagging::{
            DeleteBucketTagging, DeleteObjectTagging, GetBucketTagging, GetObjectTagging, PutBucketTagging,
            PutObjectTagging,
        },
        versioning::{GetBucketVersioning, PutBucketVersioning},
    },
};

/// Every operation, in the order of the S3 reference.
pub static OPERATIONS: &[Route] = &[
    route::<AbortMultipartUpload>(),
    route::<CompleteMultipartUpload>(),
    route::<CopyObject>(),
    route::<CreateBucket>(),
    route::<CreateMultipartUpload>(),
    route::<DeleteBucket>(),
    route::<DeleteBucketTagging>(),
    route::<DeleteObject>(),
    route::<DeleteObjectTagging>(),
    route::<DeleteObjects>(),
    route::<GetBucketLocation>(),
    route::<GetBucketTagging>(),
    route::<GetBucketVersioning>(),
    route::<GetObject>(),
    route::<GetObjectAttributes>(),
    route::<GetObjectTagging>(),
    route::<HeadBucket>(),
    route::<HeadObject>(),
    route::<ListBuckets>(),
    route::<ListMultipartUploads>(),
    route::<ListObjects>(),
    route::<ListObjectsV2>(),
    route::<ListObjectVersions>(),
    route::<ListParts>(),
    route::<PutBucketTagging>(),
    route::<PutBucketVersioning>(),
    route::<PutObject>(),
    route::<PutObjectTagging>(),
    route::<UploadPart>(),
    route::<UploadPartCopy>(),
];
