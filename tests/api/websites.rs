//! Buckets as websites (s3-wire-2.md §14, S3 user guide "Hosting a static website").

use proptest::prelude::{ProptestConfig, any};

use crate::support::{
    client::{Call, Client},
    wire::Reply,
    world::{World, path, refused, versioning},
};

const PUBLIC: (&str, &str) = ("x-amz-acl", "public-read");
const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";
const ERROR: &str = "<ErrorDocument><Key>error.html</Key></ErrorDocument>";

/// A website of Bart's; `inner` stands in its configuration.
struct Site<'w> {
    world: &'w World,
    bart: Client,
    name: &'static str,
}

impl<'w> Site<'w> {
    async fn new(world: &'w World, name: &'static str, inner: &str) -> Self {
        let site = Self { world, bart: world.bucket(name).await, name };
        site.configure(inner).await;
        site
    }

    async fn configure(&self, inner: &str) {
        let document = format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>");
        self.bart.put(&format!("/{}?website", self.name), document).expect(200).await;
    }

    async fn put(&self, key: &str, body: &str, headers: &[(&str, &str)]) {
        let put = self.bart.put(&path(self.name, key), body).header("content-type", "text/html");
        put.headers(headers).expect(200).await;
    }

    /// Lets anybody list the bucket: what is missing may then be told from what is forbidden.
    async fn listed(&self) {
        self.bart.put(&format!("/{}?acl", self.name), "").headers(&[PUBLIC]).expect(200).await;
    }

    fn host(&self) -> String {
        format!("{}.s3-website.localhost", self.name)
    }

    fn call(&self, method: &str, target: &str) -> Call {
        self.world.nobody().call(method, target).host(&self.host())
    }

    fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    async fn moved(&self, target: &str, status: u16, location: &str) {
        for method in ["GET", "HEAD"] {
            let reply = self.call(method, target).expect(status).await.has("location", location);
            assert!(reply.body.is_empty(), "{reply}");
        }
    }
}

/// The answer, if it is the built-in page for this error.
#[track_caller]
fn built_in(reply: Reply, status: u16, code: &str) -> Reply {
    let reply = reply.expect(status).has("x-amz-error-code", code).has("content-type", "text/html; charset=utf-8");
    let id = reply.header("x-amz-request-id").unwrap().to_owned();
    for text in [format!("<li>Code: {code}</li>"), format!("<li>RequestId: {id}</li>"), format!("<h1>{status} ")] {
        assert!(reply.text().contains(&text), "no {text}: {reply}");
    }
    assert!(reply.header("x-amz-error-message").is_some() && !reply.text().contains("<?xml"), "{reply}");
    reply
}

#[tokio::test]
async fn a_configuration_is_kept_and_shown_until_it_is_deleted() {
    let world = World::new().await;
    let bart = world.bucket("conf").await;
    bart.get("/conf?website").refused(404, "NoSuchWebsiteConfiguration").await.with("BucketName", "conf");
    bart.delete("/conf?website").expect(204).await;
    let document = format!("<WebsiteConfiguration>{INDEX}{ERROR}</WebsiteConfiguration>");
    bart.put("/conf?website", &document).expect(200).await;
    let shown = bart.get("/conf?website").expect(200).await;
    let shown = shown.with("Suffix", "index.html").with("Key", "error.html");
    bart.put("/conf?website", &shown.body).expect(200).await;
    assert_eq!(bart.get("/conf?website").expect(200).await.text(), shown.text());
    for stranger in [world.lisa(), world.nobody()] {
        refused(&world, stranger.get("/conf?website"), 403, "AccessDenied").await;
        refused(&world, stranger.put("/conf?website", &document), 403, "AccessDenied").await;
        refused(&world, stranger.delete("/conf?website"), 403, "AccessDenied").await;
    }
    for (body, code) in [
        ("", "MissingRequestBodyError"),
        ("<Website/>", "MalformedXML"),
        ("<WebsiteConfiguration/>", "InvalidArgument"),
        ("<WebsiteConfiguration><IndexDocument/></WebsiteConfiguration>", "MalformedXML"),
    ] {
        refused(&world, bart.put("/conf?website", body), 400, code).await;
    }
    bart.delete("/conf?website").expect(204).await;
    bart.get("/conf?website").refused(404, "NoSuchWebsiteConfiguration").await;
    bart.get("/nobucket?website").refused(404, "NoSuchBucket").await;
}

#[tokio::test]
async fn folders_have_an_index_and_its_address_ends_with_a_slash() {
    let world = World::new().await;
    let site = Site::new(&world, "indexed", INDEX).await;
    site.put("index.html", "home", &[PUBLIC, ("x-amz-meta-a", "b"), ("cache-control", "max-age=5")]).await;
    site.put("docs/index.html", "docs", &[PUBLIC]).await;
    site.put("a b/ü/index.html", "umlaut", &[PUBLIC]).await;
    site.put("page", "page", &[PUBLIC]).await;
    site.put("page/index.html", "folder of a page", &[PUBLIC]).await;
    site.put("/evil.example/index.html", "slashes", &[PUBLIC]).await;
    site.put("secret/index.html", "secret", &[]).await;
    let home = site.get("/").expect(200).await.body_is("home").has("content-type", "text/html");
    home.has("x-amz-meta-a", "b").has("cache-control", "max-age=5");
    site.get("/index.html").expect(200).await.body_is("home");
    site.get("/?any=thing").expect(200).await.body_is("home");
    site.get("/docs/").expect(200).await.body_is("docs");
    site.moved("/docs", 302, "/docs/").await;
    site.moved("/a%20b/%C3%BC", 302, "/a%20b/%C3%BC/").await;
    site.moved("//evil.example", 302, "/.//evil.example/").await;
    site.get("/page").expect(200).await.body_is("page");
    site.get("/page/").expect(200).await.body_is("folder of a page");
    // A folder whose index nobody may see is not there.
    built_in(site.get("/secret").send().await, 403, "AccessDenied");
    built_in(site.get("/secret/").send().await, 403, "AccessDenied");
    let head = site.call("HEAD", "/").expect(200).await.has("content-length", "4");
    assert!(head.body.is_empty());
    assert!(world.nobody().head("/").host("indexed.S3-Website.LOCALHOST:80").send().await.status == 200);
}

#[tokio::test]
async fn what_is_missing_is_forbidden_to_those_who_may_not_list() {
    let world = World::new().await;
    let site = Site::new(&world, "absent", INDEX).await;
    site.put("private", "private", &[]).await;
    for target in ["/", "/none", "/none/", "/private"] {
        built_in(site.get(target).send().await, 403, "AccessDenied");
    }
    site.listed().await;
    let reply = built_in(site.get("/no%3Cb%3Ene").send().await, 404, "NoSuchKey");
    assert!(reply.text().contains("<li>Key: no&lt;b&gt;ne</li>"), "{reply}");
    reply.has("x-amz-error-detail-key", "no<b>ne");
    built_in(site.get("/private").send().await, 403, "AccessDenied");
    let head = site.call("HEAD", "/none").expect(404).await.has("x-amz-error-code", "NoSuchKey");
    assert!(head.body.is_empty());
    // A page that was deleted is missing, whatever its history.
    versioning(&site.bart, "absent", "Enabled").await;
    site.put("gone", "old", &[PUBLIC]).await;
    site.get("/gone").expect(200).await.body_is("old");
    site.bart.delete("/absent/gone").expect(204).await;
    built_in(site.get("/gone").send().await, 404, "NoSuchKey");
}

#[tokio::test]
async fn the_error_document_comes_with_the_status_of_the_error() {
    let world = World::new().await;
    let site = Site::new(&world, "errors", &format!("{INDEX}{ERROR}")).await;
    site.listed().await;
    // Without the document itself, the built-in page says why.
    let reply = built_in(site.get("/none").send().await, 404, "NoSuchKey");
    assert!(reply.text().contains("<li>Key: error.html</li>"), "{reply}");
    site.put("error.html", "custom", &[]).await;
    let reply = built_in(site.get("/none").send().await, 404, "NoSuchKey");
    assert!(reply.text().contains("<li>Code: AccessDenied</li>"), "{reply}");
    site.put("error.html", "custom", &[PUBLIC]).await;
    site.put("private", "private", &[]).await;
    for (target, status, code) in [("/none", 404, "NoSuchKey"), ("/private", 403, "AccessDenied")] {
        let get = site.get(target).headers(&[("range", "bytes=0-1"), ("if-none-match", "*")]);
        let reply = get.expect(status).await.body_is("custom").has("x-amz-error-code", code);
        reply.has("content-type", "text/html").has("content-length", "6");
        let head = site.call("HEAD", target).expect(status).await.has("content-length", "6");
        assert!(head.body.is_empty());
    }
    let out = site.get("/error.html").header("range", "bytes=9-").expect(416).await.body_is("custom");
    out.has("content-range", "bytes */6").has("x-amz-error-code", "InvalidRange");
    // A document that moved sends visitors there.
    site.put("error.html", "", &[PUBLIC, ("x-amz-website-redirect-location", "https://status.example/")]).await;
    site.moved("/none", 301, "https://status.example/").await;
}

#[tokio::test]
async fn rules_send_visitors_elsewhere_before_and_after_the_page_is_looked_up() {
    let world = World::new().await;
    let rules = "<RoutingRules>\
        <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
        <Redirect><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
        <RoutingRule><Condition><KeyPrefixEquals>img/</KeyPrefixEquals>\
        <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
        <Redirect><Protocol>https</Protocol><HostName>resize.example</HostName><HttpRedirectCode>307</HttpRedirectCode>\
        <ReplaceKeyPrefixWith>make?key=</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
        <RoutingRule><Condition><HttpErrorCodeReturnedEquals>403</HttpErrorCodeReturnedEquals></Condition>\
        <Redirect><ReplaceKeyWith>login.html</ReplaceKeyWith></Redirect></RoutingRule>\
        </RoutingRules>";
    let site = Site::new(&world, "ruled", &format!("{INDEX}{ERROR}{rules}")).await;
    site.listed().await;
    site.put("error.html", "custom", &[PUBLIC]).await;
    site.put("old/page", "never seen", &[PUBLIC]).await;
    site.put("img/here", "image", &[PUBLIC]).await;
    site.put("private", "private", &[]).await;
    site.put("img/folder/index.html", "folder", &[PUBLIC]).await;
    let home = format!("http://{}", site.host());
    site.moved("/old/page?x=1", 301, &format!("{home}/new/page")).await;
    site.get("/img/here").expect(200).await.body_is("image");
    site.moved("/img/a%20b", 307, "https://resize.example/make?key=a%20b").await;
    site.moved("/private", 301, &format!("{home}/login.html")).await;
    site.moved("/img/folder", 302, "/img/folder/").await;
    site.get("/none").expect(404).await.body_is("custom");
    // The host that the visitor wrote, with its port.
    let host = format!("{}:8000", site.host());
    let reply = site.get("/old/").host(&host).expect(301).await;
    reply.has("location", &format!("http://{host}/new/"));
}

#[tokio::test]
async fn a_site_may_send_everybody_elsewhere() {
    let world = World::new().await;
    let all = "<RedirectAllRequestsTo><HostName>www.example.org</HostName></RedirectAllRequestsTo>";
    let site = Site::new(&world, "moved", all).await;
    site.put("page", "never seen", &[PUBLIC]).await;
    site.moved("/", 301, "http://www.example.org/").await;
    site.moved("/page", 301, "http://www.example.org/page").await;
    site.moved("/a/%C3%BC%0D%0A", 301, "http://www.example.org/a/%C3%BC%0D%0A").await;
    site.configure(&all.replace("</HostName>", "</HostName><Protocol>https</Protocol>")).await;
    site.moved("/x", 301, "https://www.example.org/x").await;
    world.bart().get("/moved/page").expect(200).await.body_is("never seen");
}

#[tokio::test]
async fn an_object_may_send_its_visitors_elsewhere() {
    let world = World::new().await;
    let site = Site::new(&world, "pointers", INDEX).await;
    let to = |location: &'static str| [PUBLIC, ("x-amz-website-redirect-location", location)];
    site.put("inside", "body", &to("/other%20page")).await;
    site.put("outside", "body", &to("https://example.org/?q#f")).await;
    site.put("index.html", "body", &to("/home.html")).await;
    site.put("private", "body", &[("x-amz-website-redirect-location", "/x")]).await;
    site.moved("/inside", 301, "/other%20page").await;
    site.moved("/outside", 301, "https://example.org/?q#f").await;
    site.moved("/", 301, "/home.html").await;
    built_in(site.get("/private").send().await, 403, "AccessDenied");
    // The API shows the object.
    world.nobody().get("/pointers/inside").expect(200).await.body_is("body");
}

#[tokio::test]
async fn pages_have_ranges_and_validators_but_no_parameters_of_the_api() {
    let world = World::new().await;
    let site = Site::new(&world, "parts", INDEX).await;
    versioning(&site.bart, "parts", "Enabled").await;
    site.put("page", "0123456789", &[PUBLIC]).await;
    let page = site.get("/page").expect(200).await.has("accept-ranges", "bytes");
    let range = site.get("/page").header("range", "bytes=2-4").expect(206).await;
    range.body_is("234").has("content-range", "bytes 2-4/10");
    let out = site.get("/page").header("range", "bytes=20-").send().await;
    built_in(out, 416, "InvalidRange").has("content-range", "bytes */10");
    let same = site.get("/page").header("if-none-match", page.etag()).expect(304).await;
    assert!(same.body.is_empty() && same.etag() == page.etag(), "{same}");
    built_in(site.get("/page").header("if-match", "\"x\"").send().await, 412, "PreconditionFailed");
    for query in [
        "response-content-type=text/plain",
        "versionId=nonsense",
        "partNumber=7",
        "acl",
        "tagging",
        "uploads",
        "X-Amz-Signature=x&X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "AWSAccessKeyId=x&Signature=y&Expires=0",
    ] {
        let reply = site.get(&format!("/page?{query}")).expect(200).await.body_is("0123456789");
        reply.has("content-type", "text/html");
    }
    for (name, value) in [
        ("authorization", "AWS4-HMAC-SHA256 nonsense"),
        ("x-amz-expected-bucket-owner", "somebody"),
        ("x-amz-checksum-mode", "ENABLED"),
    ] {
        site.get("/page").header(name, value).expect(200).await.lacks("x-amz-checksum-crc64nvme");
    }
    // Its owner is a visitor like any other.
    site.put("private", "private", &[]).await;
    built_in(site.bart.get("/private").host(&site.host()).send().await, 403, "AccessDenied");
}

#[tokio::test]
async fn visitors_look_and_do_nothing_else() {
    let world = World::new().await;
    let site = Site::new(&world, "looking", INDEX).await;
    site.bart.put("/looking?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    site.put("page", "page", &[PUBLIC]).await;
    let before = world.stored().await;
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        for target in ["/", "/page", "/page?acl", "/?delete"] {
            let reply = built_in(site.call(method, target).body("x").send().await, 405, "MethodNotAllowed");
            reply.has("allow", "GET, HEAD, OPTIONS");
            let signed = site.bart.call(method, target).host(&site.host()).body("x").send().await;
            built_in(signed, 405, "MethodNotAllowed");
        }
    }
    before.assert_same(&world.stored().await, "a visitor");
    world.sound().await;
}

#[tokio::test]
async fn hosts_without_a_site_answer_with_a_page() {
    let world = World::with(|config| config.website_endpoints.push("www.shop.example".into())).await;
    let bart = world.bucket("plain").await;
    let get = |host: &str, target: &str| world.nobody().get(target).host(host);
    let reply = get("plain.s3-website.localhost", "/").send().await;
    built_in(reply, 404, "NoSuchWebsiteConfiguration");
    built_in(get("none.s3-website.localhost", "/").send().await, 404, "NoSuchBucket");
    built_in(get("No_Bucket.s3-website.localhost", "/").send().await, 400, "InvalidBucketName");
    let broken = get("plain.s3-website.localhost", "/").spoiled(|request| request.target = "/%zz".to_owned()).await;
    built_in(broken, 400, "InvalidURI");
    // An endpoint may be a site's own domain.
    bart.put("/www.shop.example", "").expect(200).await;
    let document = format!("<WebsiteConfiguration>{INDEX}</WebsiteConfiguration>");
    bart.put("/www.shop.example?website", document).expect(200).await;
    bart.put("/www.shop.example/index.html", "shop").headers(&[PUBLIC]).expect(200).await;
    get("www.shop.example", "/").expect(200).await.body_is("shop");
    // Whoever has a bucket of some other host's name serves nothing there.
    bart.put("/other.example", "").headers(&[PUBLIC]).expect(200).await;
    bart.get("/other.example").host("other.example").expect(200).await.with("Name", "other.example");
}

#[tokio::test]
async fn scripts_of_other_origins_are_allowed_what_the_bucket_says() {
    let world = World::new().await;
    let site = Site::new(&world, "crossed", INDEX).await;
    site.put("font", "font", &[PUBLIC]).await;
    let rules = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>\
        <AllowedOrigin>https://a.example</AllowedOrigin></CORSRule></CORSConfiguration>";
    site.bart.put("/crossed?cors", rules).expect(200).await;
    let origin = [("origin", "https://a.example")];
    for (target, status) in [("/font", 200), ("/none", 403)] {
        let reply = site.get(target).headers(&origin).expect(status).await;
        reply.has("access-control-allow-origin", "https://a.example");
        site.get(target)
            .header("origin", "https://b.example")
            .expect(status)
            .await
            .lacks("access-control-allow-origin");
    }
    let asks = [("access-control-request-method", "GET")];
    let preflight = site.call("OPTIONS", "/font").headers(&origin).headers(&asks).expect(200).await;
    preflight.has("access-control-allow-methods", "GET");
    let other = site.call("OPTIONS", "/font").header("origin", "https://b.example").headers(&asks);
    built_in(other.send().await, 403, "AccessForbidden");
    built_in(site.call("OPTIONS", "/font").send().await, 400, "BadRequest");
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is asked, the answer is a page, a redirection within the rules, or an error page without foreign markup.
    #[test]
    fn no_path_breaks_a_page(keys in proptest::collection::vec(any::<String>(), 1..6)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let site = Site::new(&world, "any", &format!("{INDEX}{ERROR}")).await;
            site.listed().await;
            for key in keys.iter().map(String::as_str).chain(["<script>", "a\"'&"]) {
                let target = path("any", key);
                let reply = site.get(target.strip_prefix("/any").unwrap()).send().await;
                assert!(matches!(reply.status, 400 | 403 | 404), "{key:?}: {reply}");
                assert!(!reply.text().contains("<script>"), "{reply}");
            }
            world.sound().await;
        });
    }
}
