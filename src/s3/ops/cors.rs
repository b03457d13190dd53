//! `GetBucketCors`, `PutBucketCors`, `DeleteBucketCors`. What the rules do is in [`crate::s3::cors`].

use bytes::Bytes;

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        cors::METHODS,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::{Element, XmlError, XmlWriter, read},
    },
    storage::{
        Bucket,
        records::{BucketRecord, CorsRule},
    },
};

/// Most rules.
const MAX_RULES: usize = 100;
/// Most characters of a rule's name.
const MAX_ID: usize = 255;

/// The CORS rules of a bucket.
#[derive(Debug)]
pub struct Cors;

/// Returns the rules of a bucket.
pub type GetBucketCors = GetSetting<Cors>;
/// Replaces the rules of a bucket.
pub type PutBucketCors = PutSetting<Cors>;
/// Removes the rules of a bucket.
pub type DeleteBucketCors = DeleteSetting<Cors>;

impl Setting for Cors {
    const QUERY: &'static [&'static str] = &["cors"];
    const GET: Verb = Verb::new("GetBucketCors", "bucketGetCors", Action::GetBucketCORS);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        if bucket.record.cors.is_empty() {
            return Err(absent(S3Code::NoSuchCORSConfiguration, bucket));
        }
        Ok(Document::new(write(&bucket.record.cors)))
    }
}

impl Settable for Cors {
    const PUT: Verb = Verb::new("PutBucketCors", "bucketPutCors", Action::PutBucketCORS);
    /// S3 reference, "`PutBucketCors`".
    const LARGEST: usize = 64 << 10;
    /// The model demands one; rules without were always taken here, and go on being taken.
    const DIGEST: Digest = Digest::Optional;
    type Value = Vec<CorsRule>;

    fn read(document: &[u8], _: &Context) -> S3Result<Vec<CorsRule>> {
        parse(&read::read(document)?)
    }

    fn set(rules: &Vec<CorsRule>, record: &mut BucketRecord) -> S3Result<()> {
        record.cors.clone_from(rules);
        Ok(())
    }
}

impl Removable for Cors {
    const DELETE: Verb = Verb::new("DeleteBucketCors", "bucketDeleteCors", Action::PutBucketCORS);

    fn clear(record: &mut BucketRecord) {
        record.cors.clear();
    }
}

/// Reads a `CORSConfiguration`.
///
/// # Errors
/// `MalformedXML` for a document of another shape; `InvalidRequest` for too many rules and values that S3 refuses.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<Vec<CorsRule>> {
    if root.name() != "CORSConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["CORSRule"])?;
    match root.children().len() {
        0 => Err(S3Code::MalformedXML.into()),
        1..=MAX_RULES => root.children().iter().map(parse_rule).collect(),
        _ => Err(S3Error::request("The number of CORS rules should not exceed allowed limit of 100 rules.")),
    }
}

fn parse_rule(rule: &Element<'_>) -> S3Result<CorsRule> {
    rule.only(&["ID", "AllowedMethod", "AllowedOrigin", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"])?;
    let id = rule.optional_text("ID")?.unwrap_or_default().to_owned();
    if id.chars().count() > MAX_ID {
        return Err(S3Error::request("The ID of a CORS rule should not exceed allowed limit of 255 characters."));
    }
    let parsed = CorsRule {
        id,
        methods: texts(rule, "AllowedMethod", check_method)?,
        origins: texts(rule, "AllowedOrigin", |text| check_pattern("AllowedOrigin", text))?,
        headers: texts(rule, "AllowedHeader", |text| check_pattern("AllowedHeader", text))?,
        expose: texts(rule, "ExposeHeader", check_exposed)?,
        max_age_secs: max_age(rule)?,
    };
    if parsed.methods.is_empty() || parsed.origins.is_empty() {
        return Err(S3Error::new(
            S3Code::MalformedXML,
            "Each CORSRule must identify at least one origin and one method.",
        ));
    }
    Ok(parsed)
}

/// The texts of all elements of a name, each checked. Line ends around a value are the document's layout.
fn texts(rule: &Element<'_>, name: &'static str, check: impl Fn(&str) -> S3Result<()>) -> S3Result<Vec<String>> {
    let one = |element: &Element<'_>| {
        if !element.children().is_empty() {
            return Err(XmlError::Invalid(name).into());
        }
        let text = element.text().trim();
        check(text)?;
        Ok(text.to_owned())
    };
    rule.children_named(name).map(one).collect()
}

fn check_method(text: &str) -> S3Result<()> {
    if METHODS.contains(&text) {
        return Ok(());
    }
    Err(S3Error::request(format!("Found unsupported HTTP method in CORS config. Unsupported method is {text}")))
}

/// Patterns become header values of answers: whatever cannot stand there is refused here.
fn check_pattern(name: &str, text: &str) -> S3Result<()> {
    if text.matches('*').count() > 1 {
        return Err(S3Error::request(format!("{name} \"{text}\" can not have more than one wildcard.")));
    }
    if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(S3Error::request(format!("{name} \"{text}\" contains invalid character.")));
    }
    Ok(())
}

fn check_exposed(text: &str) -> S3Result<()> {
    if text.contains('*') {
        let message = "contains wildcard. We currently do not support wildcard for ExposeHeader.";
        return Err(S3Error::request(format!("ExposeHeader \"{text}\" {message}")));
    }
    if http::HeaderName::from_bytes(text.as_bytes()).is_err() {
        return Err(S3Error::request(format!("ExposeHeader \"{text}\" contains invalid character.")));
    }
    Ok(())
}

/// Seconds that fit the 32 bits of the model. An empty element is none, as in the original.
fn max_age(rule: &Element<'_>) -> S3Result<Option<u32>> {
    match rule.optional_text("MaxAgeSeconds")?.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => {
            let seconds = text.parse::<i32>().ok().and_then(|seconds| u32::try_from(seconds).ok());
            seconds.map(Some).ok_or_else(|| XmlError::Invalid("MaxAgeSeconds").into())
        }
    }
}

pub(in crate::s3) fn write(rules: &[CorsRule]) -> Bytes {
    let mut xml = XmlWriter::document("CORSConfiguration", 256 + 256 * rules.len());
    for rule in rules {
        xml.open("CORSRule").optional("ID", Some(rule.id.as_str()).filter(|id| !id.is_empty()));
        let lists = [
            ("AllowedHeader", &rule.headers),
            ("AllowedMethod", &rule.methods),
            ("AllowedOrigin", &rule.origins),
            ("ExposeHeader", &rule.expose),
        ];
        for (name, values) in lists {
            for value in values {
                xml.text(name, value);
            }
        }
        if let Some(seconds) = rule.max_age_secs {
            xml.value("MaxAgeSeconds", seconds);
        }
        xml.close();
    }
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rules: &str) -> Result<Vec<CorsRule>, S3Code> {
        let document = format!("<CORSConfiguration>{rules}</CORSConfiguration>");
        parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
    }

    fn rule_with(more: &str) -> String {
        format!("<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>{more}</CORSRule>")
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let rules = vec![
            CorsRule {
                id: "a&b".into(),
                methods: vec!["GET".into(), "PUT".into()],
                origins: vec!["https://*.a".into(), "b".into()],
                headers: vec!["x-*".into()],
                expose: vec!["ETag".into()],
                max_age_secs: Some(0),
            },
            CorsRule { methods: vec!["HEAD".into()], origins: vec!["*".into()], ..CorsRule::default() },
        ];
        assert_eq!(parse(&read::read(&write(&rules)).unwrap()).unwrap(), rules);
    }

    #[test]
    fn a_rule_has_an_origin_and_a_method() {
        assert_eq!(parsed(""), Err(S3Code::MalformedXML));
        assert_eq!(parsed("<CORSRule/>"), Err(S3Code::MalformedXML));
        assert_eq!(parsed("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>"), Err(S3Code::MalformedXML));
        assert_eq!(parsed("<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>"), Err(S3Code::MalformedXML));
        assert!(parsed(&rule_with("")).is_ok());
    }

    #[test]
    fn a_hundred_rules_are_the_most() {
        assert_eq!(parsed(&rule_with("").repeat(100)).map(|rules| rules.len()), Ok(100));
        assert_eq!(parsed(&rule_with("").repeat(101)), Err(S3Code::InvalidRequest));
    }

    #[test]
    fn values_that_no_browser_could_mean_are_refused() {
        for more in [
            "<AllowedMethod>PATCH</AllowedMethod>",
            "<AllowedMethod>get</AllowedMethod>",
            "<AllowedOrigin>http://*.*.a</AllowedOrigin>",
            "<AllowedOrigin></AllowedOrigin>",
            "<AllowedOrigin>a&#10;b</AllowedOrigin>",
            "<AllowedHeader>*-*</AllowedHeader>",
            "<ExposeHeader>x-*</ExposeHeader>",
            "<ExposeHeader>x y</ExposeHeader>",
        ] {
            assert_eq!(parsed(&rule_with(more)), Err(S3Code::InvalidRequest), "{more}");
        }
        let long = rule_with(&format!("<ID>{}</ID>", "a".repeat(256)));
        assert_eq!(parsed(&long), Err(S3Code::InvalidRequest));
    }

    #[test]
    fn other_shapes_are_malformed() {
        for more in [
            "<MaxAgeSeconds>-1</MaxAgeSeconds>",
            "<MaxAgeSeconds>soon</MaxAgeSeconds>",
            "<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>1</MaxAgeSeconds>",
            "<ID>a</ID><ID>b</ID>",
            "<AllowedHeader><b/></AllowedHeader>",
            "<Allowed>x</Allowed>",
        ] {
            assert_eq!(parsed(&rule_with(more)), Err(S3Code::MalformedXML), "{more}");
        }
    }
}
