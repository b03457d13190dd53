//! `RestoreObject`: makes an archived version readable for some days.

use http::{Method, StatusCode};

use crate::{
    auth::Action,
    s3::{
        codes::S3Code,
        context::Context,
        error::{S3Error, S3Result},
        head::Head,
        operation::{Need, ObjectRef, Operation, Pattern, Scope},
        ops::get_object::missing,
        reply::Plain,
        request_body::{Digest, RequestBody},
        xml::{Element, read},
    },
    storage::{Restore, Restored, RetrievalTier},
    types::Timestamp,
};

/// Largest document.
const DOCUMENT: usize = 64 << 10;
/// Dates have years of four digits: what ends later cannot be shown.
const LAST: Timestamp = Timestamp::from_secs(253_402_300_799);
/// Most days that a document may have: clients and AWS keep them in 32 bits.
const MAX_DAYS: u32 = i32::MAX.unsigned_abs();
/// What makes a restore a query over the archive.
const SELECT: [&str; 3] = ["Type", "SelectParameters", "OutputLocation"];

/// Restores a version.
#[derive(Debug)]
pub struct RestoreObject {
    object: ObjectRef,
}

impl Operation for RestoreObject {
    const NAME: &'static str = "RestoreObject";
    const ACTION: &'static str = "objectRestore";
    const PATTERN: Pattern = Pattern::new(Method::POST, Scope::Object, &["restore"]);
    type Reply = Plain;

    fn parse(head: &Head) -> S3Result<Self> {
        Ok(Self { object: head.object()? })
    }

    fn needs(&self) -> Vec<Need> {
        vec![self.object.need(Action::RestoreObject)]
    }

    async fn run(self, cx: Context, body: RequestBody) -> S3Result<Plain> {
        let document = body.document(&cx.head, &cx.intake, DOCUMENT, Digest::Optional).await?;
        let asked = parse(&read::read(&document)?)?;
        if asked.end(cx.now) > LAST {
            let days = asked.days.to_string();
            return Err(S3Error::argument("The restored copy would outlive the year 9999.", "Days", &days));
        }
        let bucket = cx.bucket(&self.object.bucket).await?;
        let ObjectRef { key, version, .. } = &self.object;
        let restored = cx.storage.restore_version(&bucket, key, *version, asked).await.map_err(|e| missing(&cx, e))?;
        let status = match restored {
            Restored::Now => StatusCode::ACCEPTED,
            Restored::Already => StatusCode::OK,
        };
        Ok(Plain { status, ..Plain::ok() })
    }
}

/// Reads a `RestoreRequest`.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument` for no days at all; `NotImplemented` for a query over the archive (S3 Select).
pub(in crate::s3) fn parse(root: &Element<'_>) -> S3Result<Restore> {
    let malformed = || S3Error::from(S3Code::MalformedXML);
    if root.name() != "RestoreRequest" {
        return Err(malformed());
    }
    root.only(&["Days", "GlacierJobParameters", "Type", "Tier", "Description", "SelectParameters", "OutputLocation"])?;
    if root.optional_text("Type")?.is_some_and(|text| text.trim() != "SELECT") {
        return Err(malformed());
    }
    let of_select = |element: &&Element<'_>| SELECT.contains(&element.name());
    if let Some(element) = root.children().iter().find(of_select) {
        return Err(S3Error::from(S3Code::NotImplemented).with("Element", element.name()));
    }
    let job = match root.child("GlacierJobParameters")? {
        Some(parameters) => {
            parameters.only(&["Tier"])?;
            Some(parameters.required_text("Tier")?)
        }
        None => root.optional_text("Tier")?,
    };
    let tier = match job.map(str::trim) {
        None | Some("Standard") => RetrievalTier::Standard,
        Some("Bulk") => RetrievalTier::Bulk,
        Some("Expedited") => RetrievalTier::Expedited,
        Some(_) => return Err(malformed()),
    };
    let text = root.required_text("Days")?.trim();
    match text.parse::<i64>().ok().and_then(|days| u32::try_from(days.max(0)).ok()) {
        Some(0) => Err(S3Error::argument("restoration days should be at least 1", "Days", text)),
        Some(days) if days <= MAX_DAYS => Ok(Restore { days, tier }),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(inner: &str) -> Result<Restore, S3Code> {
        let document = format!("<RestoreRequest>{inner}</RestoreRequest>");
        parse(&read::read(document.as_bytes()).unwrap()).map_err(|e| e.code)
    }

    #[test]
    fn days_and_tier_are_read() {
        let plain = Restore { days: 3, tier: RetrievalTier::Standard };
        assert_eq!(parsed("<Days> 3 </Days>"), Ok(plain));
        for (name, tier) in [
            ("Standard", RetrievalTier::Standard),
            ("Bulk", RetrievalTier::Bulk),
            ("Expedited", RetrievalTier::Expedited),
        ] {
            let job = format!("<GlacierJobParameters><Tier>{name}</Tier></GlacierJobParameters>");
            assert_eq!(
                parsed(&format!("<Days>3</Days>{job}<Description>x</Description>")),
                Ok(Restore { tier, ..plain })
            );
            assert_eq!(parsed(&format!("<Days>3</Days><Tier>{name}</Tier>")), Ok(Restore { tier, ..plain }));
        }
        assert_eq!(parsed("<Days>2147483647</Days>").map(|asked| asked.days), Ok(MAX_DAYS));
    }

    #[test]
    fn what_is_no_restore_is_refused() {
        let days = "<Days>1</Days>";
        for bad in [
            "",
            "<Days/>",
            "<Days>x</Days>",
            "<Days>1.5</Days>",
            "<Days>2147483648</Days>",
            "<Days>1</Days><Days>2</Days>",
            &format!("{days}<Tier>Fast</Tier>"),
            &format!("{days}<GlacierJobParameters/>"),
            &format!("{days}<GlacierJobParameters><Tier/></GlacierJobParameters>"),
            &format!("{days}<Type>COPY</Type>"),
            &format!("{days}<Other/>"),
        ] {
            assert_eq!(parsed(bad), Err(S3Code::MalformedXML), "{bad}");
        }
        for days in ["0", "-1"] {
            assert_eq!(parsed(&format!("<Days>{days}</Days>")), Err(S3Code::InvalidArgument));
        }
        for select in ["<Type>SELECT</Type>", "<SelectParameters/>", "<OutputLocation/>"] {
            assert_eq!(parsed(select), Err(S3Code::NotImplemented), "{select}");
        }
    }
}
