//! Metadata search: a listing of the objects that a clause picks (the original's extension, `GET /bucket?search=`).

use http::Method;

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, Operation, Pattern, Scope},
        ops::list_objects::{ListObjects, ListObjectsV2},
        reply::Document,
        request_body::RequestBody,
        search::{Clause, Subject},
    },
    storage::{listing::SearchLimit, records::ObjectRecord},
};

/// Lists the objects that a clause picks.
///
/// A page looks at 20,000 objects at most, for two seconds at most: one that is truncated may have few entries or none.
/// In version 1 its `NextMarker` says where the next one goes on.
#[derive(Debug)]
pub struct MetadataSearch {
    clause: Clause,
    form: Form,
}

/// The listing whose form the answer has.
#[derive(Debug)]
enum Form {
    One(ListObjects),
    Two(ListObjectsV2),
}

impl Operation for MetadataSearch {
    const NAME: &'static str = "MetadataSearch";
    const ACTION: &'static str = "metadataSearch";
    const PATTERN: Pattern = Pattern::new(Method::GET, Scope::Bucket, &["search"]);
    type Reply = Document;

    fn parse(head: &Head) -> S3Result<Self> {
        if head.has_query("versions") {
            return Err(S3Error::from(S3Code::NotImplemented).with("Header", "versions"));
        }
        let text = head.query("search").unwrap_or_default();
        let clause = Clause::parse(text).map_err(|e| {
            S3Error::argument("Invalid sql where clause sent as search query", "search", text).because(e)
        })?;
        let form = if head.query("list-type") == Some("2") {
            Form::Two(ListObjectsV2::parse(head)?)
        } else {
            Form::One(ListObjects::parse(head)?)
        };
        Ok(Self { clause, form })
    }

    /// What is found is shown as a listing shows it: who may not list must not search either.
    fn needs(&self) -> Vec<Need> {
        let name = match &self.form {
            Form::One(listing) => listing.bucket(),
            Form::Two(listing) => listing.bucket(),
        };
        vec![Need::bucket(name, Action::ListBucket), Need::bucket(name, Action::MetadataSearch)]
    }

    async fn run(self, cx: Context, _: RequestBody) -> S3Result<Document> {
        let version_ids = cx.settings.version_ids;
        let pick = |key: &str, record: &ObjectRecord| self.clause.picks(Subject { key, record, version_ids });
        match &self.form {
            Form::One(listing) => {
                let bucket = cx.bucket(listing.bucket()).await?;
                let query = listing.query();
                let page = cx.storage.search_objects(&bucket, &query, &pick, SearchLimit::default()).await?;
                Ok(listing.render(&cx, &bucket, &page))
            }
            Form::Two(listing) => {
                let bucket = cx.bucket(listing.bucket()).await?;
                let query = listing.query()?;
                let page = cx.storage.search_objects(&bucket, &query, &pick, SearchLimit::default()).await?;
                Ok(listing.render(&cx, &bucket, &page))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::s3::resolve;

    #[test]
    fn a_search_is_a_search_whatever_listing_it_asks_for() {
        for query in ["search=a%3D1", "search=a%3D1&list-type=2", "search=a%3D1&versions", "search"] {
            let head = Head::new(Method::GET, HeaderMap::new(), query).unwrap();
            assert_eq!(resolve::route(&head, Scope::Bucket).unwrap().name, "MetadataSearch", "{query}");
        }
    }
}
