//! Every operation × every way to prove who asks × every way to get it wrong.
//!
//! The worst holes of other servers were a way of authentication that one handler forgot (reliability.md §8). The rows
//! come from the server's own table, so an operation that is new is tested before anybody thinks of it.

use cloudserver::{
    s3::{
        operation::{Route, Scope},
        table::OPERATIONS,
    },
    types::sub_resource::SUB_RESOURCES,
};

use crate::{
    multipart::{Upload, document},
    support::{
        chunked::Wrap,
        client::{Call, Client, content_md5},
        sign::{Key, SIGNED_V2, Scheme},
        wire::{Reply, Request},
        world::World,
    },
};

/// The operations whose requests prove who asks. A form does so in its body, by its policy: `s3::ops::post_object` and
/// `auth::post_policy` have the tests of that.
fn operations() -> impl Iterator<Item = &'static Route> {
    OPERATIONS.iter().filter(|route| route.name != "PostObject")
}

/// The ways to prove who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    HeaderV4,
    QueryV4,
    HeaderV2,
    QueryV2,
    SignedChunks,
    SignedTrailer,
    UnsignedTrailer,
}

const FORMS: [Form; 7] = [
    Form::HeaderV4,
    Form::QueryV4,
    Form::HeaderV2,
    Form::QueryV2,
    Form::SignedChunks,
    Form::SignedTrailer,
    Form::UnsignedTrailer,
];

/// The ways to get it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A digit of the signature is another.
    Forged,
    /// The signature is left out, the name stays.
    Missing,
    /// The key is nobody's.
    UnknownKey,
    /// The key is Bart's, the secret is not.
    OtherSecret,
    /// A second set of credentials beside the first.
    Doubled,
    /// Too old.
    Past,
    /// Not yet valid.
    Future,
    /// A header that changes the operation, put in behind the signer's back.
    Smuggled,
}

const FAULTS: [Fault; 8] = [
    Fault::Forged,
    Fault::Missing,
    Fault::UnknownKey,
    Fault::OtherSecret,
    Fault::Doubled,
    Fault::Past,
    Fault::Future,
    Fault::Smuggled,
];

impl Form {
    fn of(self, call: &Call, body: &str) -> Call {
        let wrapped = |wrap: Wrap| call.clone().wrapped(wrap);
        let crc = cloudserver::types::ChecksumAlgorithm::Crc32;
        match self {
            Self::HeaderV4 => call.clone(),
            Self::QueryV4 => call.clone().by(Scheme::QueryV4),
            Self::HeaderV2 => call.clone().by(Scheme::HeaderV2),
            Self::QueryV2 => call.clone().by(Scheme::QueryV2),
            Self::SignedChunks => wrapped(Wrap::signed()),
            Self::SignedTrailer => wrapped(Wrap::signed().trailing(crc, body.as_bytes())),
            Self::UnsignedTrailer => wrapped(Wrap::unsigned().trailing(crc, body.as_bytes())),
        }
    }

    fn is_query(self) -> bool {
        matches!(self, Self::QueryV4 | Self::QueryV2)
    }

    fn is_v2(self) -> bool {
        matches!(self, Self::HeaderV2 | Self::QueryV2)
    }

    fn is_chunked(self) -> bool {
        matches!(self, Self::SignedChunks | Self::SignedTrailer | Self::UnsignedTrailer)
    }
}

impl Fault {
    /// The request with this fault, and how it must be refused; `None` where the form has no such fault.
    fn of(self, form: Form, call: Call) -> Option<(Request, u16, &'static str)> {
        let spoiled = |change: fn(&mut Request, Form)| {
            let mut request = call.signed();
            change(&mut request, form);
            request
        };
        let skew = if form.is_query() { "AccessDenied" } else { "RequestTimeTooSkewed" };
        Some(match self {
            Self::Forged => (spoiled(forge), 403, "SignatureDoesNotMatch"),
            Self::Missing => {
                let (status, code) = match form {
                    Form::QueryV4 => (400, "AuthorizationQueryParametersError"),
                    Form::HeaderV2 => (400, "InvalidArgument"),
                    Form::QueryV2 => (403, "AccessDenied"),
                    _ => (400, "AuthorizationHeaderMalformed"),
                };
                (spoiled(leave_out), status, code)
            }
            Self::UnknownKey => {
                (call.keyed(Key::new("nobodysKey", "verySecretKey1")).signed(), 403, "InvalidAccessKeyId")
            }
            Self::OtherSecret => {
                (call.keyed(Key::new("accessKey1", "verySecretKey2")).signed(), 403, "SignatureDoesNotMatch")
            }
            Self::Doubled => (spoiled(double), 400, "InvalidArgument"),
            Self::Past => (call.shifted(-1000).signed(), 403, skew),
            // A V2 query says only when it ends.
            Self::Future if form == Form::QueryV2 => return None,
            Self::Future => (call.shifted(1000).signed(), 403, skew),
            Self::Smuggled => {
                let code = if form.is_v2() { "SignatureDoesNotMatch" } else { "AccessDenied" };
                (spoiled(|request, _| request.set("x-amz-acl", "public-read-write")), 403, code)
            }
        })
    }
}

fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'1' { b'0' } else { b'1' };
    String::from_utf8(bytes).unwrap()
}

fn forge(request: &mut Request, form: Form) {
    if form.is_query() {
        let at = request.target.rfind("Signature=").unwrap() + "Signature=".len();
        request.target = flipped(&request.target, at);
    } else {
        let text = request.header("authorization").unwrap().to_owned();
        let at = text.rfind(['=', ':']).unwrap_or_default();
        // A V2 signature may end in `=`; its second digit is surely one.
        let at = if form.is_v2() { text.find(':').unwrap() + 2 } else { at + 1 };
        request.set("authorization", &flipped(&text, at));
    }
}

fn leave_out(request: &mut Request, form: Form) {
    if form.is_query() {
        let (path, query) = request.target.split_once('?').unwrap();
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.contains("Signature=")).collect();
        request.target = format!("{path}?{}", kept.join("&"));
    } else {
        let text = request.header("authorization").unwrap().to_owned();
        let end = text.rfind(", Signature=").or_else(|| text.rfind(':')).unwrap();
        request.set("authorization", &text[..end]);
    }
}

fn double(request: &mut Request, form: Form) {
    if form.is_query() {
        request.set("authorization", "AWS accessKey1:c2lnbmF0dXJl");
    } else {
        request.and("AWSAccessKeyId=accessKey1&Expires=4102444800&Signature=c2lnbmF0dXJl");
    }
}

/// A world with something for every operation to find.
struct Scene {
    world: World,
    bart: Client,
    upload: Upload,
    etag: String,
}

impl Scene {
    async fn set() -> Self {
        let world = World::small_parts().await;
        let bart = world.bart();
        bart.put("/box", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
        // The key of a locked object is not changed: this one is older than the default.
        bart.put("/box/sealed", "body").header("x-amz-server-side-encryption", "AES256").expect(200).await;
        bart.put("/box?object-lock", LOCK).digested().expect(200).await;
        bart.put("/empty", "").expect(200).await;
        bart.put("/box/object", "body").header("x-amz-tagging", "a=1").expect(200).await;
        bart.put("/box/archived", "body").header("x-amz-storage-class", "GLACIER").expect(200).await;
        bart.put("/box?tagging", TAGS).expect(200).await;
        let upload = Upload::begin(&bart, "/box/upload").await;
        let etag = upload.part(1, "part").await;
        Self { world, bart, upload, etag }
    }

    /// A request for a row of the table, and its body.
    fn request(&self, route: &Route) -> (Call, String) {
        let pattern = &route.pattern;
        let of_upload = pattern.query.contains(&"uploadId");
        let path = match (route.name, pattern.scope) {
            ("CreateBucket", _) => "/fresh",
            ("DeleteBucket", _) => "/empty",
            (_, Scope::Service) => "/",
            (_, Scope::Bucket) => "/box",
            // Only what is encrypted can be put under another key.
            ("UpdateObjectEncryption", _) => "/box/sealed",
            (_, Scope::Object) if of_upload => "/box/upload",
            ("RenameObject", _) => "/box/renamed",
            ("RestoreObject", _) => "/box/archived",
            (_, Scope::Object) => "/box/object",
        };
        let mut query: Vec<String> = pattern
            .query
            .iter()
            .map(|name| match *name {
                "uploadId" => format!("uploadId={}", self.upload.id),
                "partNumber" => "partNumber=2".to_owned(),
                "id" => "id=x".to_owned(),
                "annotationName" => "annotationName=note".to_owned(),
                "search" => "search=tags.a%3D1".to_owned(),
                other => other.to_owned(),
            })
            .collect();
        // Whoever lists these needs no id; whoever sets or deletes one does, though it does not tell them apart.
        if pattern.method != "GET" && pattern.query.first().is_some_and(|name| WITH_ID.contains(name)) {
            query.push("id=x".to_owned());
        }
        if matches!(route.name, "PutObjectAnnotation" | "DeleteObjectAnnotation") {
            query.push("annotationName=note".to_owned());
        }
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        let body = self.body(route);
        let mut call = self.bart.call(pattern.method.as_str(), &target).body(&body);
        if !pattern.header.is_empty() {
            call = call.header(pattern.header, "/box/object");
        }
        call = match route.name {
            "CopyObject" => call.header("x-amz-metadata-directive", "REPLACE"),
            "PostObject" => call.header("content-type", "multipart/form-data; boundary=line"),
            "RenameObject" => call.header("x-amz-rename-source", "object"),
            "DeleteObjectAnnotation" => call.header("x-amz-bypass-governance-retention", "true"),
            "GetObjectAttributes" => call.header("x-amz-object-attributes", "ETag"),
            "DeleteObjects" | "PutObjectLegalHold" | "PutObjectLockConfiguration" | "PutObjectRetention" => {
                call.header("content-md5", content_md5(body.as_bytes()))
            }
            "PutBucketAcl" | "PutObjectAcl" => {
                call.header("x-amz-grant-read", format!("id={}", crate::support::world::BART))
            }
            _ => call,
        };
        (call, body)
    }

    /// Whether the request is known to be one that succeeds.
    fn knows(&self, route: &Route) -> bool {
        // Nobody ever put the hold of the object on or off, or annotated it, and a bucket with versions renames nothing.
        let lacking = ["GetObjectLegalHold", "GetObjectAnnotation", "RenameObject"];
        !lacking.contains(&route.name) && self.knows_document(route)
    }

    fn knows_document(&self, route: &Route) -> bool {
        let of_bucket = route.name.contains("Bucket") || route.name.contains("PublicAccessBlock");
        !self.body(route).is_empty() || !of_bucket || PLAIN.contains(&route.name)
    }

    fn body(&self, route: &Route) -> String {
        match route.name {
            "CompleteMultipartUpload" => document(&[(1, &self.etag)]),
            "DeleteObjects" => "<Delete><Object><Key>object</Key></Object></Delete>".to_owned(),
            "PutBucketTagging" | "PutObjectTagging" => TAGS.replace(">a<", ">b<"),
            "PutBucketVersioning" => {
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_owned()
            }
            "PutObjectLegalHold" => "<LegalHold><Status>OFF</Status></LegalHold>".to_owned(),
            "PutObjectLockConfiguration" => LOCK.replace("<Days>1<", "<Days>2<"),
            "PutObjectRetention" => RETENTION.to_owned(),
            "PostObject" => FORM.to_owned(),
            "PutObject" | "PutObjectAnnotation" | "UploadPart" => "new".to_owned(),
            "RestoreObject" => "<RestoreRequest><Days>1</Days></RestoreRequest>".to_owned(),
            "UpdateBucketQuota" => "<quota>1000000</quota>".to_owned(),
            "UpdateObjectEncryption" => {
                "<ObjectEncryption><SSE-KMS><KMSKeyArn>k</KMSKeyArn></SSE-KMS></ObjectEncryption>".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// Sub-resources of which a bucket has many.
const WITH_ID: [&str; 4] = ["analytics", "intelligent-tiering", "inventory", "metrics"];

/// Operations on buckets that need no document.
const PLAIN: [&str; 10] = [
    "CreateBucket",
    "DeleteBucket",
    "DeleteBucketTagging",
    "GetBucketAcl",
    "GetBucketLocation",
    "GetBucketTagging",
    "GetBucketVersioning",
    "HeadBucket",
    "ListBuckets",
    "PutBucketAcl",
];

/// A form without a policy: whoever sends it is nobody.
const FORM: &str = "--line\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nobject\r\n\
    --line\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nnew\r\n--line--\r\n";

const LOCK: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
    <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";

const RETENTION: &str =
    "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>";

const TAGS: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";

#[track_caller]
fn assert_refused(reply: &Reply, method: &str, status: u16, code: &str, what: &str) {
    let got = reply.tag("Code").unwrap_or_default();
    let code = if method == "HEAD" { "" } else { code };
    assert_eq!((reply.status, got.as_str()), (status, code), "{what}: {reply}");
}

/// Whether clients of version 2 sign the sub-resources of an operation. What they do not sign anybody could add to a
/// request of theirs, so there it is refused.
fn signed_in_v2(route: &Route) -> bool {
    let is_other = |name: &&str| SUB_RESOURCES.contains(name) && !SIGNED_V2.contains(name);
    !route.pattern.query.iter().any(is_other)
}

/// A signature of version 2 is good for one operation: whatever is added to its query either changes nothing or is
/// refused.
#[tokio::test]
async fn a_signature_of_version_2_makes_no_other_operation() {
    let scene = Scene::set().await;
    let before = scene.world.stored().await;
    for (scheme, method, path) in [
        (Scheme::HeaderV2, "PUT", "/box/object"),
        (Scheme::QueryV2, "PUT", "/box/object"),
        (Scheme::HeaderV2, "DELETE", "/empty"),
        (Scheme::QueryV2, "DELETE", "/empty"),
        (Scheme::HeaderV2, "GET", "/box/object"),
        (Scheme::QueryV2, "POST", "/box/object"),
    ] {
        for name in SUB_RESOURCES {
            let signed = scene.bart.call(method, path).by(scheme);
            let reply = signed.spoiled(|request| request.and(&format!("{name}=1&id=x&annotationName=n"))).await;
            assert!(matches!(reply.status, 400 | 403), "{scheme:?} {method} {path} {name}: {reply}");
        }
    }
    // What stands for a header is a header's part of the signature, or none.
    let put = scene.bart.put("/box/object", "other").by(Scheme::HeaderV2);
    for parameter in [
        "x-amz-acl=public-read",
        "X-Amz-Copy-Source=/box/archived",
        "x-amz-tagging=a%3D2",
        "x-amz-meta-a=b",
        "x-amz-object-lock-legal-hold=ON",
    ] {
        let reply = put.spoiled(|request| request.and(parameter)).await.refused(400, "InvalidRequest");
        assert!(reply.text().contains("Signature version 2 does not cover"), "{reply}");
    }
    let query = scene.bart.put("/box/object", "other").by(Scheme::QueryV2);
    query.spoiled(|request| request.and("x-amz-acl=public-read")).await.refused(403, "SignatureDoesNotMatch");
    before.assert_same(&scene.world.stored().await, "version 2");
    scene.world.sound().await;
}

#[tokio::test]
async fn no_operation_is_done_for_wrong_credentials() {
    let scene = Scene::set().await;
    let before = scene.world.stored().await;
    let mut tried = 0;
    for route in operations() {
        let (call, body) = scene.request(route);
        for form in FORMS {
            for fault in FAULTS {
                let Some((request, status, code)) = fault.of(form, form.of(&call, &body)) else { continue };
                let reply = scene.bart.send(&request).await;
                assert_refused(&reply, &request.method, status, code, &format!("{} {form:?} {fault:?}", route.name));
                assert!(!reply.text().contains("verySecret"), "{reply}");
                tried += 1;
            }
        }
        before.assert_same(&scene.world.stored().await, route.name);
    }
    assert_eq!(tried, operations().count() * (FORMS.len() * FAULTS.len() - 1));
    scene.world.sound().await;
}

/// Credentials that are no proof: names, halves and wholes of credentials without any signature.
const HALVES: [&str; 8] = [
    "X-Amz-Credential=accessKey1%2F20261122%2Fus-east-1%2Fs3%2Faws4_request",
    "X-Amz-Algorithm=AWS4-HMAC-SHA256",
    "X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000",
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=accessKey1%2F20261122%2Fus-east-1%2Fs3%2Faws4_request\
     &X-Amz-Date=20261122T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host",
    "x-amz-credential=accessKey1%2F20261122%2Fus-east-1%2Fs3%2Faws4_request",
    "AWSAccessKeyId=accessKey1",
    "Signature=c2lnbmF0dXJl",
    "AWSAccessKeyId=accessKey1&Expires=4102444800",
];

#[tokio::test]
async fn no_operation_is_done_for_nobody() {
    let scene = Scene::set().await;
    let before = scene.world.stored().await;
    for route in operations() {
        let (call, body) = scene.request(route);
        for chunked in [false, true] {
            let call = call.clone().by(Scheme::Anonymous);
            let call = if chunked { call.wrapped(Wrap::unsigned()) } else { call };
            let reply = scene.bart.send(&call.signed()).await;
            let method = route.pattern.method.as_str();
            if chunked && !route.streams {
                assert_refused(&reply, method, 400, "InvalidRequest", route.name);
            } else if route.name == "DeleteObjects" && reply.status == 200 {
                assert_eq!(
                    (reply.tags("Code"), reply.tags("Deleted").len()),
                    (vec!["AccessDenied".to_owned()], 0),
                    "{reply}"
                );
            } else {
                assert_refused(&reply, method, 403, "AccessDenied", route.name);
            }
            for half in HALVES {
                for words in [None, Some("UNSIGNED-PAYLOAD"), Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER")] {
                    let mut request = call.signed();
                    request.and(half);
                    if let Some(words) = words {
                        request.set("x-amz-content-sha256", words);
                    }
                    let reply = scene.bart.send(&request).await;
                    assert!(matches!(reply.status, 400 | 403), "{} {half}: {reply}", route.name);
                    assert!(reply.elements("Deleted").is_empty(), "{} {half}: {reply}", route.name);
                }
            }
        }
        drop(body);
        before.assert_same(&scene.world.stored().await, route.name);
    }
    scene.world.sound().await;
}

#[tokio::test]
async fn no_operation_is_done_for_a_stranger() {
    let scene = Scene::set().await;
    let before = scene.world.stored().await;
    let lisa = scene.world.lisa();
    for route in operations() {
        // What is one's own by its nature.
        if matches!(route.name, "CreateBucket" | "ListBuckets") {
            continue;
        }
        let (call, body) = scene.request(route);
        for form in FORMS {
            let request = form.of(&call, &body).keyed(lisa.key.clone()).signed();
            let reply = lisa.send(&request).await;
            let what = format!("{} {form:?}", route.name);
            let takes_no_such_body = form.is_chunked() && !route.streams;
            if takes_no_such_body || (form.is_v2() && !signed_in_v2(route)) {
                assert_refused(&reply, &request.method, 400, "InvalidRequest", &what);
            } else if route.name == "PostObject" {
                // The credentials of a form are in the form; others beside them are one set too many.
                assert_refused(&reply, &request.method, 400, "InvalidArgument", &what);
            } else if route.name == "DeleteObjects" && reply.status == 200 {
                assert_eq!(
                    (reply.tags("Code"), reply.tags("Deleted").len()),
                    (vec!["AccessDenied".to_owned()], 0),
                    "{reply}"
                );
            } else {
                assert_refused(&reply, &request.method, 403, "AccessDenied", &what);
            }
        }
        before.assert_same(&scene.world.stored().await, route.name);
    }
    scene.world.sound().await;
}

/// The same requests with the right credentials are done: what the tests above see refused is refused for its fault.
#[tokio::test]
async fn every_operation_is_done_for_its_owner_in_every_form() {
    for form in FORMS {
        // Deletions last, so that each operation finds what it needs.
        let mut rows: Vec<&Route> = operations().collect();
        let order = |route: &&Route| match route.name {
            "CompleteMultipartUpload" => 1,
            "DeleteObjects" | "DeleteObject" => 3,
            name if name.starts_with("Delete") => 2,
            _ => 0,
        };
        rows.sort_by_key(order);
        let scene = Scene::set().await;
        for route in rows.into_iter().filter(|route| route.name != "AbortMultipartUpload") {
            let (call, body) = scene.request(route);
            let reply = scene.bart.send(&form.of(&call, &body).signed()).await;
            let what = format!("{} {form:?}: {reply}", route.name);
            if form.is_chunked() && !route.streams {
                assert_refused(&reply, route.pattern.method.as_str(), 400, "InvalidRequest", &what);
            } else if route.name == "PostObject" {
                assert_refused(&reply, "POST", 400, "InvalidArgument", &what);
            } else if form.is_v2() && !signed_in_v2(route) {
                assert_refused(&reply, route.pattern.method.as_str(), 400, "InvalidRequest", &what);
            } else {
                // An operation that this test does not know by name may miss its document, or its configuration.
                let code = reply.tag("Code").unwrap_or_default();
                let lacks = code.starts_with("NoSuch") && reply.status == 404 || code.ends_with("NotFoundError");
                let known = scene.knows(route);
                assert!(reply.status < 300 || (!known && (lacks || reply.status == 400)), "{what}");
            }
        }
        scene.world.sound().await;
        let scene = Scene::set().await;
        if !form.is_chunked() {
            let abort = OPERATIONS.iter().find(|route| route.name == "AbortMultipartUpload").unwrap();
            let (call, body) = scene.request(abort);
            scene.bart.send(&form.of(&call, &body).signed()).await.expect(204);
        }
    }
}
