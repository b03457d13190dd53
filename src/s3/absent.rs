//! Operations of the S3 reference that this server does not have, so that asking for one is answered by its name.

use http::Method;

use super::{
    codes::S3Code,
    error::S3Error,
    head::Head,
    operation::{Pattern, Scope},
};

/// An operation that is not here, and why.
struct Absent {
    name: &'static str,
    pattern: Pattern,
    why: &'static str,
}

const TABLES: &str = "metadata tables need an external table store";
const DIRECTORY: &str = "directory buckets belong to another storage class of AWS";

const fn absent(
    name: &'static str,
    method: Method,
    scope: Scope,
    query: &'static [&'static str],
    why: &'static str,
) -> Absent {
    Absent { name, pattern: Pattern::new(method, scope, query), why }
}

static ABSENT: &[Absent] = &[
    absent("CreateBucketMetadataConfiguration", Method::POST, Scope::Bucket, &["metadataConfiguration"], TABLES),
    absent("CreateBucketMetadataTableConfiguration", Method::POST, Scope::Bucket, &["metadataTable"], TABLES),
    absent("CreateSession", Method::GET, Scope::Bucket, &["session"], DIRECTORY),
    absent("DeleteBucketMetadataConfiguration", Method::DELETE, Scope::Bucket, &["metadataConfiguration"], TABLES),
    absent("DeleteBucketMetadataTableConfiguration", Method::DELETE, Scope::Bucket, &["metadataTable"], TABLES),
    absent("GetBucketMetadataConfiguration", Method::GET, Scope::Bucket, &["metadataConfiguration"], TABLES),
    absent("GetBucketMetadataTableConfiguration", Method::GET, Scope::Bucket, &["metadataTable"], TABLES),
    absent("GetObjectTorrent", Method::GET, Scope::Object, &["torrent"], "AWS retired it"),
    absent("ListDirectoryBuckets", Method::GET, Scope::Service, &["x-id=ListDirectoryBuckets"], DIRECTORY),
    absent("SelectObjectContent", Method::POST, Scope::Object, &["select"], "AWS closed it to new customers"),
    absent(
        "UpdateBucketMetadataAnnotationTableConfiguration",
        Method::PUT,
        Scope::Bucket,
        &["metadataAnnotationTable"],
        TABLES,
    ),
    absent(
        "UpdateBucketMetadataInventoryTableConfiguration",
        Method::PUT,
        Scope::Bucket,
        &["metadataInventoryTable"],
        TABLES,
    ),
    absent(
        "UpdateBucketMetadataJournalTableConfiguration",
        Method::PUT,
        Scope::Bucket,
        &["metadataJournalTable"],
        TABLES,
    ),
    Absent {
        name: "WriteGetObjectResponse",
        pattern: Pattern::with_header(Method::POST, Scope::Bucket, &[], "x-amz-request-route"),
        why: "AWS closed Object Lambda to new customers",
    },
];

/// The answer to a request for an operation that is not here: 501, or what the dialect has for it.
pub(super) fn refusal(head: &Head, scope: Scope) -> Option<S3Error> {
    let meant = ABSENT.iter().find(|absent| absent.pattern.matches(head, scope))?;
    // Ceph offers torrents; where none are configured there is none of the object.
    if head.dialect.is_ceph() && meant.name == "GetObjectTorrent" {
        return Some(S3Code::NoSuchKey.into());
    }
    let message = format!("{} is not implemented: {}.", meant.name, meant.why);
    Some(S3Error::new(S3Code::NotImplemented, message).with("Operation", meant.name))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::s3::table::OPERATIONS;

    #[test]
    fn what_is_absent_is_in_no_other_table() {
        for absent in ABSENT {
            let same = OPERATIONS.iter().find(|route| route.name == absent.name || route.pattern == absent.pattern);
            assert!(same.is_none(), "{}", absent.name);
        }
    }

    #[test]
    fn an_absent_operation_is_named() {
        let head = |method, query| Head::new(method, HeaderMap::new(), query).unwrap();
        let named = |method, scope, query| refusal(&head(method, query), scope).map(|error| error.message().to_owned());
        let select = named(Method::POST, Scope::Object, "select&select-type=2").unwrap();
        assert!(select.starts_with("SelectObjectContent is not implemented"), "{select}");
        assert!(named(Method::GET, Scope::Service, "x-id=ListDirectoryBuckets").is_some());
        assert_eq!(named(Method::GET, Scope::Service, "x-id=ListBuckets"), None);
        assert_eq!(named(Method::GET, Scope::Object, "select"), None);
    }
}
