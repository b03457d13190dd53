//! `GetBucketVersioning`, `PutBucketVersioning`.

use super::setting::{GetSetting, PutSetting, Settable, Setting, Verb};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::{read, write::XmlWriter},
    },
    storage::{
        Bucket, StorageError,
        records::{BucketRecord, Versioning as State},
    },
};

/// A bucket's state of versioning.
#[derive(Debug)]
pub struct Versioning;

/// Returns a bucket's state of versioning.
pub type GetBucketVersioning = GetSetting<Versioning>;
/// Enables or suspends versioning.
pub type PutBucketVersioning = PutSetting<Versioning>;

impl Setting for Versioning {
    const QUERY: &'static [&'static str] = &["versioning"];
    const GET: Verb = Verb::new("GetBucketVersioning", "bucketGetVersioning", Action::GetBucketVersioning);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let mut xml = XmlWriter::document("VersioningConfiguration", 256);
        match bucket.versioning() {
            State::Unversioned => {}
            State::Enabled => {
                xml.text("Status", "Enabled");
            }
            State::Suspended => {
                xml.text("Status", "Suspended");
            }
        }
        Ok(Document::new(xml.finish()))
    }
}

impl Settable for Versioning {
    const PUT: Verb = Verb::new("PutBucketVersioning", "bucketPutVersioning", Action::PutBucketVersioning);
    /// The model demands one, and botocore sends it; the original never asked for one, and its clients need none.
    const DIGEST: Digest = Digest::Optional;
    type Value = State;

    fn read(document: &[u8], _: &Context) -> S3Result<State> {
        parse_state(document)
    }

    fn set(state: &State, record: &mut BucketRecord) -> S3Result<()> {
        if *state == State::Suspended && record.replication.is_some() {
            return Err(StorageError::VersioningNeeded.into());
        }
        record.set_state(*state);
        Ok(())
    }
}

pub(in crate::s3) fn parse_state(document: &[u8]) -> S3Result<State> {
    let root = read::read(document)?;
    if root.name() != "VersioningConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    // Some servers exclude prefixes from versioning; whoever asks for that must not get a bucket that keeps all.
    root.only(&["Status", "MfaDelete"])?;
    if root.optional_text("MfaDelete")?.is_some_and(|text| text.trim() == "Enabled") {
        return Err(S3Error::from(S3Code::NotImplemented).with("Element", "MfaDelete"));
    }
    match root.optional_text("Status")?.map(str::trim) {
        Some("Enabled") => Ok(State::Enabled),
        Some("Suspended") => Ok(State::Suspended),
        Some(_) => Err(S3Code::MalformedXML.into()),
        None => Err(S3Code::IllegalVersioningConfigurationException.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_asks_for_more_than_a_state_is_refused() {
        let parsed = |inner: &str| {
            let document = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            parse_state(document.as_bytes()).map_err(|e| e.code)
        };
        assert_eq!(parsed("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>"), Ok(State::Enabled));
        assert_eq!(parsed("<Status>Suspended</Status>"), Ok(State::Suspended));
        assert_eq!(parsed(""), Err(S3Code::IllegalVersioningConfigurationException));
        assert_eq!(parsed("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"), Err(S3Code::NotImplemented));
        for more in [
            "<ExcludeFolders>true</ExcludeFolders>",
            "<ExcludeFolders>false</ExcludeFolders>",
            "<ExcludedPrefixes><Prefix>tmp/</Prefix></ExcludedPrefixes>",
            "<Status>Suspended</Status>",
            "<Other/>",
        ] {
            assert_eq!(parsed(&format!("<Status>Enabled</Status>{more}")), Err(S3Code::MalformedXML), "{more}");
        }
    }
}
