//! Listings as keys, each with all its versions.

use std::time::Duration;

use tokio::time::Instant;

use crate::s3client::{ObjectEntry, S3Client, S3ClientError, VersionEntry};

/// Entries asked for at a time.
const PAGE: usize = 1000;
/// Entries asked for at first where one key is meant: those behind it would come along in vain.
const FEW: usize = 10;
/// Pauses before a page is asked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A key and its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) key: String,
    /// Oldest first. In a bucket without versions the one there is, whose version is empty.
    pub(super) versions: Vec<VersionEntry>,
}

/// Walks a bucket, key by key.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    client: &'a S3Client,
    bucket: &'a str,
    prefix: &'a str,
    is_versioned: bool,
    after: Option<String>,
    /// Where the next page of versions begins; of objects the token.
    version: Option<String>,
    /// Entries of the next page.
    limit: usize,
    /// How long a store that is away is waited for, besides what its client does.
    patience: Duration,
    /// Entries of the page, in reverse.
    page: Vec<VersionEntry>,
    is_last: bool,
}

impl<'a> Walk<'a> {
    /// All keys with a prefix behind a key.
    pub(super) fn new(
        client: &'a S3Client,
        (bucket, prefix): (&'a str, &'a str),
        is_versioned: bool,
        after: Option<String>,
    ) -> Self {
        let page = Vec::new();
        let patience = Duration::ZERO;
        Self { client, bucket, prefix, is_versioned, after, version: None, limit: PAGE, patience, page, is_last: false }
    }

    /// Asks so long for a page that does not come.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next key; `None` behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Group>, S3ClientError> {
        let mut group: Option<Group> = None;
        loop {
            while let Some(entry) = self.page.pop() {
                match &mut group {
                    None => group = Some(Group { key: entry.object.key.clone(), versions: vec![entry] }),
                    Some(group) if group.key == entry.object.key => group.versions.push(entry),
                    Some(_) => {
                        self.page.push(entry);
                        return Ok(group.map(oldest_first));
                    }
                }
            }
            if self.is_last {
                return Ok(group.map(oldest_first));
            }
            self.fill().await?;
        }
    }

    /// Keys of the page at hand that are still to come; an upper bound of those touched next.
    pub(super) fn last_of_page(&self) -> Option<&str> {
        self.page.first().map(|entry| entry.object.key.as_str())
    }

    async fn fill(&mut self) -> Result<(), S3ClientError> {
        let end = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ask().await {
                Err(error) if error.may_pass() && Instant::now() + pause < end => tokio::time::sleep(pause).await,
                other => return other,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask(&mut self) -> Result<(), S3ClientError> {
        if self.is_versioned {
            let start = (self.after.as_deref(), self.version.as_deref().filter(|id| !id.is_empty()));
            let page = self.client.list_versions(self.bucket, self.prefix, start, self.limit).await?;
            self.page = page.versions;
            self.is_last = page.next.is_none();
            if let Some((key, version)) = page.next {
                (self.after, self.version) = (Some(key), Some(version));
            }
        } else {
            let start = match &self.version {
                Some(token) => (None, Some(token.as_str())),
                None => (self.after.as_deref(), None),
            };
            let page = self.client.list_objects(self.bucket, self.prefix, start, self.limit).await?;
            self.page = page.objects.into_iter().map(only).collect();
            self.is_last = page.next.is_none();
            self.version = page.next;
        }
        self.page.reverse();
        self.limit = (self.limit * FEW).min(PAGE);
        Ok(())
    }
}

fn only(object: ObjectEntry) -> VersionEntry {
    VersionEntry { object, latest: true, ..VersionEntry::default() }
}

fn oldest_first(mut group: Group) -> Group {
    group.versions.reverse();
    group
}

/// What a store has of one key.
pub(super) async fn of_key(
    client: &S3Client,
    bucket: &str,
    key: &str,
    is_versioned: bool,
) -> Result<Group, S3ClientError> {
    let none = Group { key: key.to_owned(), versions: Vec::new() };
    let mut walk = Walk { limit: FEW, ..Walk::new(client, (bucket, key), is_versioned, None) };
    // The key itself sorts before all that begin with it; a store that sorts otherwise is given some more looks.
    for _ in 0..PAGE {
        match walk.next().await? {
            Some(group) if group.key == key => return Ok(group),
            Some(_) => {}
            None => return Ok(none),
        }
    }
    Ok(none)
}
