//! Multipart uploads (s3-wire.md §7).

use crate::support::{
    client::{Call, Client},
    wire::Reply,
};

mod checksums;
mod complete;
mod lists;
mod parts;
mod races;

/// An upload under way.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) client: Client,
    pub(crate) path: String,
    pub(crate) id: String,
}

impl Upload {
    /// Begins one.
    pub(crate) async fn begin(client: &Client, path: &str) -> Self {
        Self::begin_with(client, path, &[]).await
    }

    /// Begins one with these headers.
    pub(crate) async fn begin_with(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let reply = client.post(&format!("{path}?uploads"), "").headers(headers).expect(200).await;
        let id = reply.tag("UploadId").unwrap();
        Self { client: client.clone(), path: path.to_owned(), id }
    }

    pub(crate) fn put(&self, number: u32, body: impl AsRef<[u8]>) -> Call {
        self.client.put(&format!("{}?partNumber={number}&uploadId={}", self.path, self.id), body)
    }

    /// Puts a part; gives its tag.
    pub(crate) async fn part(&self, number: u32, body: impl AsRef<[u8]>) -> String {
        self.put(number, body).expect(200).await.etag()
    }

    /// A completion with this document.
    pub(crate) fn completion(&self, document: &str) -> Call {
        self.client.post(&format!("{}?uploadId={}", self.path, self.id), document)
    }

    /// A completion that lists these parts.
    pub(crate) fn complete(&self, parts: &[(u32, &str)]) -> Call {
        self.completion(&document(parts))
    }

    pub(crate) fn abort(&self) -> Call {
        self.client.delete(&format!("{}?uploadId={}", self.path, self.id))
    }

    pub(crate) fn list(&self, query: &str) -> Call {
        self.client.get(&format!("{}?uploadId={}{query}", self.path, self.id))
    }

    /// The numbers of the parts that are there.
    pub(crate) async fn numbers(&self) -> Vec<String> {
        self.list("").expect(200).await.tags("PartNumber")
    }
}

/// The document of a completion.
pub(crate) fn document(parts: &[(u32, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// The open uploads of a bucket.
pub(crate) async fn open_uploads(client: &Client, bucket: &str) -> Reply {
    client.get(&format!("/{bucket}?uploads")).expect(200).await
}
