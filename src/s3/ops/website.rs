//! `GetBucketWebsite`, `PutBucketWebsite`, `DeleteBucketWebsite`. The pages are served by [`crate::s3::website`].

use bytes::Bytes;

use super::setting::{DeleteSetting, GetSetting, PutSetting, Removable, Settable, Setting, Verb, absent};
use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        reply::Document,
        request_body::Digest,
        xml::{Element, XmlError, XmlWriter, read},
    },
    storage::{
        Bucket,
        records::{BucketRecord, RedirectRecord, RoutingRuleRecord, WebsiteRecord},
    },
    types::object_key::MAX_KEY_BYTES,
};

/// Most rules (S3 user guide, "Configuring advanced conditional redirects").
const MAX_RULES: usize = 50;
/// Most bytes of a host name with its port; some clients put a path behind it.
const MAX_HOST: usize = 1024;

/// The website configuration of a bucket.
#[derive(Debug)]
pub struct Website;

/// Returns the website configuration of a bucket.
pub type GetBucketWebsite = GetSetting<Website>;
/// Makes a bucket a website.
pub type PutBucketWebsite = PutSetting<Website>;
/// Makes a bucket no website.
pub type DeleteBucketWebsite = DeleteSetting<Website>;

impl Setting for Website {
    const QUERY: &'static [&'static str] = &["website"];
    const GET: Verb = Verb::new("GetBucketWebsite", "bucketGetWebsite", Action::GetBucketWebsite);

    fn show(bucket: &Bucket) -> S3Result<Document> {
        let website = bucket.record.website.as_ref();
        Ok(Document::new(write(website.ok_or_else(|| absent(S3Code::NoSuchWebsiteConfiguration, bucket))?)))
    }
}

impl Settable for Website {
    const PUT: Verb = Verb::new("PutBucketWebsite", "bucketPutWebsite", Action::PutBucketWebsite);
    /// Fifty rules of the longest keys fit.
    const LARGEST: usize = 256 << 10;
    /// The model demands one; s3cmd sends none, and S3 takes that.
    const DIGEST: Digest = Digest::Optional;
    type Value = WebsiteRecord;

    fn read(document: &[u8], _: &Context) -> S3Result<WebsiteRecord> {
        parse(&read::read(document)?)
    }

    fn set(website: &WebsiteRecord, record: &mut BucketRecord) -> S3Result<()> {
        record.website = Some(website.clone());
        Ok(())
    }
}

impl Removable for Website {
    const DELETE: Verb = Verb::new("DeleteBucketWebsite", "bucketDeleteWebsite", Action::DeleteBucketWebsite);

    fn clear(record: &mut BucketRecord) {
        record.website = None;
    }
}

/// Reads a `WebsiteConfiguration`.
///
/// # Errors
/// `MalformedXML` for a document of another shape; `InvalidArgument` and `InvalidRequest` for values that S3 refuses.
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<WebsiteRecord> {
    if root.name() != "WebsiteConfiguration" {
        return Err(S3Code::MalformedXML.into());
    }
    root.only(&["RedirectAllRequestsTo", "IndexDocument", "ErrorDocument", "RoutingRules"])?;
    if let Some(all) = root.child("RedirectAllRequestsTo")? {
        if root.children().len() > 1 {
            let message = "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.";
            return Err(S3Error::request(message));
        }
        return Ok(WebsiteRecord { redirect_all: Some(parse_redirect_all(all)?), ..WebsiteRecord::default() });
    }
    let index = root.child("IndexDocument")?.ok_or_else(|| {
        let message = "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty";
        S3Error::argument(message, "IndexDocument", "null")
    })?;
    Ok(WebsiteRecord {
        redirect_all: None,
        index: parse_index(index)?,
        error_key: root.child("ErrorDocument")?.map(parse_error_key).transpose()?.unwrap_or_default(),
        rules: root.child("RoutingRules")?.map(parse_rules).transpose()?.unwrap_or_default(),
    })
}

fn parse_redirect_all(all: &Element<'_>) -> S3Result<RedirectRecord> {
    all.only(&["HostName", "Protocol"])?;
    let host = host(all)?.ok_or(XmlError::Missing("HostName"))?;
    Ok(RedirectRecord { host: Some(host), protocol: protocol(all)?, ..RedirectRecord::default() })
}

fn parse_index(index: &Element<'_>) -> S3Result<String> {
    index.only(&["Suffix"])?;
    let suffix = index.required_text("Suffix")?.trim();
    if suffix.is_empty() || suffix.contains('/') || suffix.len() > MAX_KEY_BYTES {
        return Err(S3Error::argument("The IndexDocument Suffix is not well formed", "IndexDocument", suffix));
    }
    Ok(suffix.to_owned())
}

fn parse_error_key(document: &Element<'_>) -> S3Result<String> {
    document.only(&["Key"])?;
    let key = document.required_text("Key")?.trim();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(S3Error::argument("The ErrorDocument Key is not well formed", "ErrorDocument", key));
    }
    Ok(key.to_owned())
}

fn parse_rules(rules: &Element<'_>) -> S3Result<Vec<RoutingRuleRecord>> {
    rules.only(&["RoutingRule"])?;
    if rules.children().len() > MAX_RULES {
        let count = rules.children().len();
        let message = format!("{count} routing rules provided, the number of routing rules is limited to {MAX_RULES}.");
        return Err(S3Error::request(message));
    }
    rules.children().iter().map(parse_rule).collect()
}

fn parse_rule(rule: &Element<'_>) -> S3Result<RoutingRuleRecord> {
    rule.only(&["Condition", "Redirect"])?;
    let redirect = parse_redirect(rule.required("Redirect")?)?;
    let Some(condition) = rule.child("Condition")? else {
        return Ok(RoutingRuleRecord { redirect: Some(redirect), ..RoutingRuleRecord::default() });
    };
    condition.only(&["KeyPrefixEquals", "HttpErrorCodeReturnedEquals"])?;
    if condition.children().is_empty() {
        return Err(S3Error::request(
            "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't \
             be present.",
        ));
    }
    Ok(RoutingRuleRecord {
        prefix: key(condition, "KeyPrefixEquals")?,
        error_status: status(
            condition,
            "HttpErrorCodeReturnedEquals",
            |code| (400..600).contains(&code),
            |text| format!("The provided HTTP error code ({text}) is not valid. Valid codes are 4XX or 5XX."),
        )?,
        redirect: Some(redirect),
    })
}

fn parse_redirect(redirect: &Element<'_>) -> S3Result<RedirectRecord> {
    redirect.only(&["HostName", "HttpRedirectCode", "Protocol", "ReplaceKeyPrefixWith", "ReplaceKeyWith"])?;
    if redirect.children().is_empty() {
        return Err(XmlError::Missing("HostName").into());
    }
    let record = RedirectRecord {
        host: host(redirect)?,
        protocol: protocol(redirect)?,
        key: key(redirect, "ReplaceKeyWith")?,
        key_prefix: key(redirect, "ReplaceKeyPrefixWith")?,
        status: status(
            redirect,
            "HttpRedirectCode",
            |code| (301..400).contains(&code),
            |text| format!("The provided HTTP redirect code ({text}) is not valid. Valid codes are 3XX except 300."),
        )?,
    };
    if record.key.is_some() && record.key_prefix.is_some() {
        return Err(S3Error::request("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    Ok(record)
}

/// A host name becomes part of a header: whatever cannot stand there is refused here.
fn host(parent: &Element<'_>) -> S3Result<Option<String>> {
    let Some(text) = parent.optional_text("HostName")?.map(str::trim) else { return Ok(None) };
    if text.is_empty() || text.len() > MAX_HOST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(S3Error::argument("The HostName is not well formed", "HostName", text));
    }
    Ok(Some(text.to_owned()))
}

fn protocol(parent: &Element<'_>) -> S3Result<Option<String>> {
    match parent.optional_text("Protocol")?.map(str::trim) {
        None => Ok(None),
        Some(text @ ("http" | "https")) => Ok(Some(text.to_owned())),
        Some(_) => Err(S3Error::request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected \
             automatically.",
        )),
    }
}

/// A key, or the beginning of one. It may be empty.
fn key(parent: &Element<'_>, name: &'static str) -> S3Result<Option<String>> {
    let Some(text) = parent.optional_text(name)? else { return Ok(None) };
    if text.len() > MAX_KEY_BYTES {
        return Err(S3Error::argument(format!("The {name} is too long"), name, ""));
    }
    Ok(Some(text.to_owned()))
}

fn status(
    parent: &Element<'_>,
    name: &'static str,
    fits: impl Fn(u32) -> bool,
    message: impl Fn(&str) -> String,
) -> S3Result<Option<u32>> {
    let Some(text) = parent.optional_text(name)?.map(str::trim) else { return Ok(None) };
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = digits.then(|| text.parse().ok()).flatten().filter(|code| fits(*code));
    code.map(Some).ok_or_else(|| S3Error::request(message(text)))
}

pub(in crate::s3) fn write(website: &WebsiteRecord) -> Bytes {
    let mut xml = XmlWriter::document("WebsiteConfiguration", 256 + 512 * website.rules.len());
    if let Some(all) = &website.redirect_all {
        xml.open("RedirectAllRequestsTo");
        xml.optional("HostName", all.host.as_deref()).optional("Protocol", all.protocol.as_deref()).close();
        return xml.finish();
    }
    xml.open("IndexDocument").text("Suffix", &website.index).close();
    if !website.error_key.is_empty() {
        xml.open("ErrorDocument").text("Key", &website.error_key).close();
    }
    if !website.rules.is_empty() {
        xml.open("RoutingRules");
        for rule in &website.rules {
            write_rule(&mut xml, rule);
        }
        xml.close();
    }
    xml.finish()
}

fn write_rule(xml: &mut XmlWriter, rule: &RoutingRuleRecord) {
    xml.open("RoutingRule");
    if rule.prefix.is_some() || rule.error_status.is_some() {
        xml.open("Condition");
        if let Some(status) = rule.error_status {
            xml.value("HttpErrorCodeReturnedEquals", status);
        }
        xml.optional("KeyPrefixEquals", rule.prefix.as_deref()).close();
    }
    let redirect = rule.redirect.as_ref();
    let shown = |pick: fn(&RedirectRecord) -> Option<&str>| redirect.and_then(pick);
    xml.open("Redirect").optional("HostName", shown(|redirect| redirect.host.as_deref()));
    if let Some(status) = redirect.and_then(|redirect| redirect.status) {
        xml.value("HttpRedirectCode", status);
    }
    xml.optional("Protocol", shown(|redirect| redirect.protocol.as_deref()))
        .optional("ReplaceKeyPrefixWith", shown(|redirect| redirect.key_prefix.as_deref()))
        .optional("ReplaceKeyWith", shown(|redirect| redirect.key.as_deref()))
        .close();
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(inner: &str) -> Result<WebsiteRecord, S3Code> {
        let document = format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>");
        let root = read::read(document.as_bytes()).map_err(|_| S3Code::MalformedXML)?;
        parse(&root).map_err(|error| error.code)
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    fn ruled(rule: &str) -> Result<WebsiteRecord, S3Code> {
        parsed(&format!("{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>"))
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let all = RedirectRecord {
            host: Some("example.com:81".into()),
            protocol: Some("https".into()),
            key: None,
            key_prefix: Some("new & old/".into()),
            status: Some(307),
        };
        let rules = vec![
            RoutingRuleRecord { prefix: Some("a<b".into()), error_status: Some(404), redirect: Some(all) },
            RoutingRuleRecord {
                redirect: Some(RedirectRecord { key: Some(String::new()), ..RedirectRecord::default() }),
                ..RoutingRuleRecord::default()
            },
        ];
        let host = RedirectRecord { host: Some("a.org".into()), ..RedirectRecord::default() };
        for website in [
            WebsiteRecord {
                index: "index.html".into(),
                error_key: "errors/404.html".into(),
                rules,
                redirect_all: None,
            },
            WebsiteRecord { index: "i".into(), ..WebsiteRecord::default() },
            WebsiteRecord { redirect_all: Some(host), ..WebsiteRecord::default() },
        ] {
            assert_eq!(parse(&read::read(&write(&website)).unwrap()).unwrap(), website);
        }
    }

    #[test]
    fn a_website_has_an_index_or_sends_everybody_elsewhere() {
        assert_eq!(parsed(""), Err(S3Code::InvalidArgument));
        assert_eq!(parsed("<ErrorDocument><Key>e</Key></ErrorDocument>"), Err(S3Code::InvalidArgument));
        let all = "<RedirectAllRequestsTo><HostName>a.org</HostName></RedirectAllRequestsTo>";
        assert!(parsed(all).is_ok());
        assert_eq!(parsed(&format!("{all}{INDEX}")), Err(S3Code::InvalidRequest));
        for inner in ["", "<Protocol>http</Protocol>"] {
            let document = format!("<RedirectAllRequestsTo>{inner}</RedirectAllRequestsTo>");
            assert_eq!(parsed(&document), Err(S3Code::MalformedXML), "{inner}");
        }
    }

    #[test]
    fn the_suffix_is_a_name_without_a_slash_and_the_error_key_is_one() {
        for suffix in ["", "/", "a/b", " "] {
            let document = format!("<IndexDocument><Suffix>{suffix}</Suffix></IndexDocument>");
            assert_eq!(parsed(&document), Err(S3Code::InvalidArgument), "{suffix}");
        }
        assert_eq!(parsed("<IndexDocument/>"), Err(S3Code::MalformedXML));
        assert_eq!(parsed(&format!("{INDEX}<ErrorDocument><Key/></ErrorDocument>")), Err(S3Code::InvalidArgument));
        assert_eq!(parsed(&format!("{INDEX}<ErrorDocument/>")), Err(S3Code::MalformedXML));
    }

    #[test]
    fn fifty_rules_are_the_most() {
        let rules = |count| {
            let rule = "<RoutingRule><Redirect><HostName>a.org</HostName></Redirect></RoutingRule>".repeat(count);
            parsed(&format!("{INDEX}<RoutingRules>{rule}</RoutingRules>")).map(|website| website.rules.len())
        };
        assert_eq!(rules(0), Ok(0));
        assert_eq!(rules(50), Ok(50));
        assert_eq!(rules(51), Err(S3Code::InvalidRequest));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let redirect = "<Redirect><HostName>a.org</HostName></Redirect>";
        for (rule, code) in [
            ("", S3Code::MalformedXML),
            ("<Redirect/>", S3Code::MalformedXML),
            ("<Redirect><Host>a</Host></Redirect>", S3Code::MalformedXML),
            (&format!("{redirect}<Condition/>"), S3Code::InvalidRequest),
            (
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
                S3Code::InvalidRequest,
            ),
            ("<Redirect><Protocol>ftp</Protocol></Redirect>", S3Code::InvalidRequest),
            ("<Redirect><Protocol>HTTP</Protocol></Redirect>", S3Code::InvalidRequest),
            ("<Redirect><HostName></HostName></Redirect>", S3Code::InvalidArgument),
            ("<Redirect><HostName>a&#13;&#10;b</HostName></Redirect>", S3Code::InvalidArgument),
        ] {
            assert_eq!(ruled(rule).err(), Some(code), "{rule}");
        }
        for status in ["300", "400", "200", "3o1", "0301", "", "-301"] {
            let rule = format!("<Redirect><HttpRedirectCode>{status}</HttpRedirectCode></Redirect>");
            assert_eq!(ruled(&rule), Err(S3Code::InvalidRequest), "{status}");
        }
        for status in ["399", "600", "", "4040"] {
            let condition = format!("<HttpErrorCodeReturnedEquals>{status}</HttpErrorCodeReturnedEquals>");
            let rule = format!("<Condition>{condition}</Condition>{redirect}");
            assert_eq!(ruled(&rule), Err(S3Code::InvalidRequest), "{status}");
        }
        assert!(ruled(redirect).is_ok());
    }
}
