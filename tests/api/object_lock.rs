//! Object lock (s3-wire-2.md §12): configuration, retention, holds, and that nobody gets past them.

use cloudserver::types::Timestamp;

use crate::{
    multipart::Upload,
    support::{
        client::{Call, Client, now},
        wire::Reply,
        world::{World, refused, versioning},
    },
};

const DATE: &str = "2100-01-02T03:04:05.000Z";
const EARLIER: &str = "2099-01-02T03:04:05.000Z";
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");

/// A bucket with object lock.
async fn locked(world: &World, name: &str) -> Client {
    let bart = world.bart();
    bart.put(&format!("/{name}"), "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    bart
}

fn version(reply: &Reply) -> String {
    reply.header("x-amz-version-id").unwrap_or_else(|| panic!("no version id: {reply}")).to_owned()
}

fn configuration(default: &str) -> String {
    let rule = if default.is_empty() {
        String::new()
    } else {
        format!("<Rule><DefaultRetention>{default}</DefaultRetention></Rule>")
    };
    format!("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>")
}

fn configure(client: &Client, bucket: &str, default: &str) -> Call {
    client.put(&format!("/{bucket}?object-lock"), configuration(default)).digested()
}

fn retention(mode: &str, until: &str) -> String {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
}

fn retain(client: &Client, target: &str, document: &str) -> Call {
    client.put(&with(target, "retention"), document).digested()
}

fn hold(client: &Client, target: &str, status: &str) -> Call {
    client.put(&with(target, "legal-hold"), format!("<LegalHold><Status>{status}</Status></LegalHold>")).digested()
}

/// `target` with another parameter.
fn with(target: &str, parameter: &str) -> String {
    format!("{target}{}{parameter}", if target.contains('?') { '&' } else { '?' })
}

fn put_locked(client: &Client, target: &str, body: &str, headers: &[(&str, &str)]) -> Call {
    client.put(target, body).headers(headers).digested()
}

const GOVERNANCE: [(&str, &str); 2] =
    [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", DATE)];
const COMPLIANCE: [(&str, &str); 2] =
    [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", DATE)];
const HELD: [(&str, &str); 1] = [("x-amz-object-lock-legal-hold", "ON")];

#[tokio::test]
async fn a_bucket_begins_with_object_lock_or_gets_it_later_with_versioning() {
    let world = World::new().await;
    let bart = locked(&world, "born").await;
    bart.get("/born?versioning").expect(200).await.with("Status", "Enabled");
    let shown = bart.get("/born?object-lock").expect(200).await.with("ObjectLockEnabled", "Enabled");
    assert_eq!(shown.tag("Rule"), None, "{shown}");

    world.bucket("later").await;
    let missing = bart.get("/later?object-lock").refused(404, "ObjectLockConfigurationNotFoundError").await;
    missing.with("BucketName", "later");
    let default = "<Mode>GOVERNANCE</Mode><Days>1</Days>";
    refused(&world, configure(&bart, "later", default), 409, "InvalidBucketState").await;
    versioning(&bart, "later", "Suspended").await;
    refused(&world, configure(&bart, "later", default), 409, "InvalidBucketState").await;
    versioning(&bart, "later", "Enabled").await;
    configure(&bart, "later", default).expect(200).await;
    let shown = bart.get("/later?object-lock").expect(200).await;
    shown.with("ObjectLockEnabled", "Enabled").with("Mode", "GOVERNANCE").with("Days", "1");

    for bucket in ["born", "later"] {
        let body = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
        refused(&world, bart.put(&format!("/{bucket}?versioning"), body), 409, "InvalidBucketState").await;
        versioning(&bart, bucket, "Enabled").await;
        configure(&bart, bucket, "").expect(200).await;
        bart.get(&format!("/{bucket}?object-lock")).expect(200).await;
        refused(&world, world.lisa().get(&format!("/{bucket}?object-lock")), 403, "AccessDenied").await;
        refused(&world, configure(&world.lisa(), bucket, ""), 403, "AccessDenied").await;
    }
    let named = bart.put("/odd", "").header("x-amz-bucket-object-lock-enabled", "yes");
    refused(&world, named, 400, "InvalidArgument").await;
    bart.put("/plain", "").header("x-amz-bucket-object-lock-enabled", "false").expect(200).await;
    bart.get("/plain?object-lock").refused(404, "ObjectLockConfigurationNotFoundError").await;
    // Not a second time with another answer to the question.
    bart.put("/plain", "").header("x-amz-bucket-object-lock-enabled", "true").expect(409).await;
}

#[tokio::test]
async fn configurations_are_checked_to_the_last_element() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    for (default, code) in [
        ("<Mode>GOVERNANCE</Mode>", "MalformedXML"),
        ("<Mode>governance</Mode><Days>1</Days>", "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>", "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode><Days>0</Days>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Days>36501</Days>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Years>-1</Years>", "InvalidArgument"),
        ("<Mode>GOVERNANCE</Mode><Years>101</Years>", "InvalidArgument"),
        ("<DefaultEventHold><Days>0</Days></DefaultEventHold>", "InvalidArgument"),
        ("<DefaultEventHold/>", "MalformedXML"),
    ] {
        refused(&world, configure(&bart, "lock", default), 400, code).await;
    }
    let disabled = configuration("").replace("Enabled<", "Disabled<");
    refused(&world, bart.put("/lock?object-lock", disabled).digested(), 400, "MalformedXML").await;
    refused(&world, bart.put("/lock?object-lock", "").digested(), 400, "MissingRequestBodyError").await;
    refused(&world, bart.put("/lock?object-lock", configuration("")), 400, "InvalidRequest").await;
    configure(&bart, "lock", "<DefaultEventHold><Years>3</Years></DefaultEventHold>").expect(200).await;
    let shown = bart.get("/lock?object-lock").expect(200).await.with("Years", "3");
    assert_eq!((shown.tag("Mode"), shown.elements("DefaultEventHold").len()), (None, 1), "{shown}");
}

#[tokio::test]
async fn retention_and_holds_are_set_shown_and_obeyed() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    let id = version(&bart.put("/lock/a", "body").expect(200).await);
    let target = format!("/lock/a?versionId={id}");
    for what in ["retention", "legal-hold"] {
        bart.get(&with(&target, what)).refused(404, "NoSuchObjectLockConfiguration").await;
    }
    bart.head("/lock/a").expect(200).await.lacks("x-amz-object-lock-mode").lacks("x-amz-object-lock-legal-hold");

    retain(&bart, &target, &retention("GOVERNANCE", DATE)).expect(200).await;
    bart.get("/lock/a?retention").expect(200).await.with("Mode", "GOVERNANCE").with("RetainUntilDate", DATE);
    hold(&bart, "/lock/a", "ON").expect(200).await;
    bart.get("/lock/a?legal-hold").expect(200).await.with("Status", "ON");
    for shown in [bart.head("/lock/a"), bart.get("/lock/a"), bart.get(&target).header("range", "bytes=0-0")] {
        let shown = shown.send().await.has("x-amz-object-lock-mode", "GOVERNANCE");
        shown.has("x-amz-object-lock-retain-until-date", DATE).has("x-amz-object-lock-legal-hold", "ON");
    }

    // A hold is not passed over; retention is, by who asks and may.
    let delete = || bart.delete(&target);
    refused(&world, delete().headers(&[BYPASS]), 403, "AccessDenied").await;
    hold(&bart, &target, "OFF").expect(200).await;
    bart.head("/lock/a").expect(200).await.has("x-amz-object-lock-legal-hold", "OFF");
    bart.get("/lock/a?legal-hold").expect(200).await.with("Status", "OFF");
    refused(&world, delete(), 403, "AccessDenied").await;
    refused(&world, delete().header(BYPASS.0, "yes"), 403, "AccessDenied").await;
    let marker = version(&bart.delete("/lock/a").expect(204).await.has("x-amz-delete-marker", "true"));
    for what in ["retention", "legal-hold"] {
        bart.get(&format!("/lock/a?{what}")).refused(404, "NoSuchKey").await.has("x-amz-delete-marker", "true");
        let of_marker = format!("/lock/a?versionId={marker}&{what}");
        bart.get(&of_marker).refused(405, "MethodNotAllowed").await;
    }
    let of_marker = format!("/lock/a?versionId={marker}");
    refused(&world, retain(&bart, &of_marker, &retention("GOVERNANCE", DATE)), 405, "MethodNotAllowed").await;
    refused(&world, hold(&bart, &of_marker, "ON"), 405, "MethodNotAllowed").await;
    bart.delete(&of_marker).expect(204).await;
    delete().headers(&[BYPASS]).expect(204).await;
    bart.get(&target).refused(404, "NoSuchVersion").await;
    retain(&bart, "/lock/none", &retention("GOVERNANCE", DATE)).refused(404, "NoSuchKey").await;
}

#[tokio::test]
async fn retention_changes_by_its_rules() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    for (key, headers) in [("governed", GOVERNANCE), ("strict", COMPLIANCE)] {
        put_locked(&bart, &format!("/lock/{key}"), "body", &headers).expect(200).await;
    }
    let governed = |document: &str| retain(&bart, "/lock/governed", document);
    let strict = |document: &str| retain(&bart, "/lock/strict", document);
    for document in [retention("GOVERNANCE", EARLIER), retention("COMPLIANCE", DATE), "<Retention/>".to_owned()] {
        refused(&world, governed(&document), 403, "AccessDenied").await;
    }
    for document in [retention("COMPLIANCE", EARLIER), retention("GOVERNANCE", DATE), "<Retention/>".to_owned()] {
        refused(&world, strict(&document).headers(&[BYPASS]), 403, "AccessDenied").await;
    }
    strict(&retention("COMPLIANCE", "2101-01-01T00:00:00Z")).expect(200).await;
    governed(&retention("GOVERNANCE", DATE)).expect(200).await;
    governed(&retention("GOVERNANCE", EARLIER)).headers(&[BYPASS]).expect(200).await;
    governed("<Retention/>").headers(&[BYPASS]).expect(200).await;
    bart.get("/lock/governed?retention").refused(404, "NoSuchObjectLockConfiguration").await;
    governed(&retention("GOVERNANCE", DATE)).expect(200).await;
    governed(&retention("COMPLIANCE", DATE)).headers(&[BYPASS]).expect(200).await;
    for key in ["governed", "strict"] {
        let id = version(&bart.head(&format!("/lock/{key}")).expect(200).await);
        let call = bart.delete(&format!("/lock/{key}?versionId={id}")).headers(&[BYPASS]);
        let reply = refused(&world, call, 403, "AccessDenied").await;
        assert!(reply.tag("Message").unwrap().contains("object lock"), "{reply}");
    }
}

#[tokio::test]
async fn malformed_locks_are_refused_by_name() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    bart.put("/lock/a", "body").expect(200).await;
    let past = Timestamp::from_secs(now().as_secs() - 1).to_iso8601();
    for (document, code) in [
        (retention("governance", DATE), "MalformedXML"),
        (retention("GOVERNANCE", "tomorrow"), "MalformedXML"),
        (retention("GOVERNANCE", &past), "InvalidArgument"),
        ("<Retention><Mode>GOVERNANCE</Mode></Retention>".to_owned(), "MalformedXML"),
        ("<Retention><EventHold>ON</EventHold></Retention>".to_owned(), "InvalidArgument"),
        ("<LegalHold/>".to_owned(), "MalformedXML"),
        (String::new(), "MissingRequestBodyError"),
    ] {
        refused(&world, retain(&bart, "/lock/a", &document), 400, code).await;
    }
    refused(&world, hold(&bart, "/lock/a", "abc"), 400, "MalformedXML").await;
    // The model demands a digest of these documents.
    refused(&world, bart.put("/lock/a?retention", retention("GOVERNANCE", DATE)), 400, "InvalidRequest").await;
    refused(&world, bart.put("/lock/a?legal-hold", "<LegalHold/>"), 400, "InvalidRequest").await;

    let bad: [&[(&str, &str)]; 7] = [
        &[("x-amz-object-lock-mode", "GOVERNANCE")],
        &[("x-amz-object-lock-retain-until-date", DATE)],
        &[("x-amz-object-lock-mode", "abc"), ("x-amz-object-lock-retain-until-date", DATE)],
        &[("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", &past)],
        &[("x-amz-object-lock-legal-hold", "on")],
        &[("x-amz-object-lock-event-hold", "ON")],
        &[("x-amz-object-lock-event-hold-duration-days", "1")],
    ];
    for headers in bad {
        refused(&world, put_locked(&bart, "/lock/b", "body", headers), 400, "InvalidArgument").await;
        refused(&world, bart.post("/lock/b?uploads", "").headers(headers), 400, "InvalidArgument").await;
        let copy = bart.put("/lock/b", "").headers(headers).header("x-amz-copy-source", "/lock/a");
        refused(&world, copy, 400, "InvalidArgument").await;
    }
    refused(&world, bart.put("/lock/b", "body").headers(&HELD), 400, "InvalidRequest").await;
}

#[tokio::test]
async fn a_bucket_without_object_lock_takes_none() {
    let world = World::new().await;
    let bart = world.versioned("plain").await;
    bart.put("/plain/a", "body").expect(200).await;
    for headers in [&GOVERNANCE[..], &HELD] {
        refused(&world, put_locked(&bart, "/plain/a", "body", headers), 400, "InvalidRequest").await;
        refused(&world, bart.post("/plain/a?uploads", "").headers(headers), 400, "InvalidRequest").await;
        let copy = bart.put("/plain/b", "").headers(headers).header("x-amz-copy-source", "/plain/a");
        refused(&world, copy, 400, "InvalidRequest").await;
    }
    for what in ["retention", "legal-hold"] {
        bart.get(&format!("/plain/a?{what}")).refused(400, "InvalidRequest").await;
    }
    refused(&world, retain(&bart, "/plain/a", &retention("GOVERNANCE", DATE)), 400, "InvalidRequest").await;
    refused(&world, hold(&bart, "/plain/a", "ON"), 400, "InvalidRequest").await;
}

#[tokio::test]
async fn every_kind_of_write_locks_what_it_writes() {
    let world = World::small_parts().await;
    let bart = locked(&world, "lock").await;
    put_locked(&bart, "/lock/put", "body", &[&GOVERNANCE[..], &HELD].concat()).expect(200).await;
    let copy = bart.put("/lock/copy", "").headers(&COMPLIANCE).header("x-amz-copy-source", "/lock/put");
    copy.expect(200).await;
    let upload = Upload::begin_with(&bart, "/lock/parts", &HELD).await;
    let etag = upload.part(1, "part").await;
    upload.complete(&[(1, &etag)]).expect(200).await;
    let form = "--line\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nform\r\n\
        --line\r\ncontent-disposition: form-data; name=\"x-amz-object-lock-legal-hold\"\r\n\r\nON\r\n\
        --line\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nbody\r\n--line--\r\n";
    bart.put("/lock?acl", "").header("x-amz-acl", "public-read-write").expect(200).await;
    let post =
        |form: &str| world.nobody().post("/lock", form).header("content-type", "multipart/form-data; boundary=line");
    refused(&world, post(form), 403, "AccessDenied").await;
    post(&form.replace("ON", "on")).refused(400, "InvalidArgument").await;

    for (key, shown) in [("put", &[&GOVERNANCE[..], &HELD].concat()[..]), ("copy", &COMPLIANCE), ("parts", &HELD)] {
        let mut head = bart.head(&format!("/lock/{key}")).expect(200).await;
        for (name, value) in shown {
            head = head.has(name, value);
        }
        if key == "copy" {
            head = head.lacks("x-amz-object-lock-legal-hold");
        }
        let id = version(&head);
        refused(&world, bart.delete(&format!("/lock/{key}?versionId={id}")), 403, "AccessDenied").await;
    }

    configure(&bart, "lock", "<Mode>COMPLIANCE</Mode><Days>10</Days>").expect(200).await;
    bart.put("/lock/default", "body").expect(200).await;
    bart.put("/lock/default-copy", "").header("x-amz-copy-source", "/lock/default").expect(200).await;
    let upload = Upload::begin(&bart, "/lock/default-parts").await;
    let etag = upload.part(1, "part").await;
    upload.complete(&[(1, &etag)]).expect(200).await;
    let hold = "--line\r\ncontent-disposition: form-data; name=\"x-amz-object-lock-legal-hold\"\r\n\r\nON\r\n";
    post(&form.replace(hold, "")).expect(204).await;
    for key in ["default", "default-copy", "default-parts", "form"] {
        let head = bart.head(&format!("/lock/{key}")).expect(200).await.has("x-amz-object-lock-mode", "COMPLIANCE");
        let until = head.header("x-amz-object-lock-retain-until-date").and_then(Timestamp::parse_iso8601).unwrap();
        let days = (until.as_secs() - now().as_secs() + 60) / 86_400;
        assert_eq!(days, 10, "{head}");
    }
    put_locked(&bart, "/lock/own", "body", &GOVERNANCE).expect(200).await;
    bart.head("/lock/own").expect(200).await.has("x-amz-object-lock-mode", "GOVERNANCE");
}

#[tokio::test]
async fn an_event_hold_keeps_a_version_until_it_is_released_and_for_its_duration() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    let headers = [("x-amz-object-lock-event-hold", "ON"), ("x-amz-object-lock-event-hold-duration-days", "30")];
    let id = version(&put_locked(&bart, "/lock/a", "body", &headers).expect(200).await);
    let target = format!("/lock/a?versionId={id}");
    bart.head("/lock/a")
        .expect(200)
        .await
        .has(headers[0].0, "ON")
        .has(headers[1].0, "30")
        .lacks("x-amz-object-lock-mode");
    let shown = bart.get("/lock/a?retention").expect(200).await.with("EventHold", "ON").with("Days", "30");
    assert_eq!(shown.tag("Mode"), None);
    let delete = || bart.delete(&target).headers(&[BYPASS]);
    refused(&world, delete(), 403, "AccessDenied").await;
    let shorter = "<Retention><EventHoldDuration><Days>1</Days></EventHoldDuration></Retention>";
    refused(&world, retain(&bart, "/lock/a", shorter), 403, "AccessDenied").await;
    let longer = "<Retention><EventHoldDuration><Years>1</Years></EventHoldDuration></Retention>";
    retain(&bart, "/lock/a", longer).expect(200).await;
    bart.head("/lock/a").expect(200).await.has("x-amz-object-lock-event-hold-duration-years", "1").lacks(headers[1].0);
    let release = "<Retention><EventHold>OFF</EventHold><Mode>COMPLIANCE</Mode></Retention>";
    refused(&world, retain(&world.lisa(), "/lock/a", release), 403, "AccessDenied").await;
    retain(&bart, "/lock/a", release).expect(200).await;
    let head =
        bart.head("/lock/a").expect(200).await.has(headers[0].0, "OFF").has("x-amz-object-lock-mode", "COMPLIANCE");
    let until = head.header("x-amz-object-lock-retain-until-date").and_then(Timestamp::parse_iso8601).unwrap();
    assert!((364..=366).contains(&((until.as_secs() - now().as_secs()) / 86_400)), "{head}");
    refused(&world, delete(), 403, "AccessDenied").await;

    let default = "<Mode>GOVERNANCE</Mode><Days>1</Days><DefaultEventHold><Days>5</Days></DefaultEventHold>";
    configure(&bart, "lock", default).expect(200).await;
    bart.put("/lock/b", "body").expect(200).await;
    let head = bart.head("/lock/b").expect(200).await.has(headers[0].0, "ON").has(headers[1].0, "5");
    head.has("x-amz-object-lock-mode", "GOVERNANCE");
}

#[tokio::test]
async fn only_the_owner_locks_unlocks_and_sees_locks() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    let lisa = world.lisa();
    let all = format!("id={}", crate::support::world::LISA);
    bart.put("/lock?acl", "").header("x-amz-grant-full-control", &all).expect(200).await;
    let governed = [&GOVERNANCE[..], &HELD].concat();
    refused(&world, put_locked(&lisa, "/lock/hers", "body", &GOVERNANCE), 403, "AccessDenied").await;
    refused(&world, put_locked(&lisa, "/lock/hers", "body", &HELD), 403, "AccessDenied").await;
    refused(&world, lisa.post("/lock/hers?uploads", "").headers(&HELD), 403, "AccessDenied").await;
    let call = put_locked(&bart, "/lock/his", "body", &governed).header("x-amz-grant-full-control", &all);
    let id = version(&call.expect(200).await);
    let target = format!("/lock/his?versionId={id}");
    for client in [&lisa, &world.nobody()] {
        for call in [
            client.get(&with(&target, "retention")),
            client.get(&with(&target, "legal-hold")),
            hold(client, &target, "OFF"),
            retain(client, &target, "<Retention/>").headers(&[BYPASS]),
            client.delete(&target).headers(&[BYPASS]),
        ] {
            refused(&world, call, 403, "AccessDenied").await;
        }
    }
    let seen = lisa.get(&target).expect(200).await.body_is("body").lacks("x-amz-object-lock-mode");
    seen.lacks("x-amz-object-lock-retain-until-date").lacks("x-amz-object-lock-legal-hold");
}

#[tokio::test]
async fn a_delete_of_many_leaves_the_locked_ones() {
    let world = World::new().await;
    let bart = locked(&world, "lock").await;
    let free = version(&bart.put("/lock/free", "body").expect(200).await);
    let governed = version(&put_locked(&bart, "/lock/governed", "body", &GOVERNANCE).expect(200).await);
    let strict = version(&put_locked(&bart, "/lock/strict", "body", &COMPLIANCE).expect(200).await);
    let entry = |key: &str, id: &str| format!("<Object><Key>{key}</Key><VersionId>{id}</VersionId></Object>");
    let all = [entry("free", &free), entry("governed", &governed), entry("strict", &strict)].concat();
    let document = format!("<Delete>{all}</Delete>");
    let plain = bart.post("/lock?delete", &document).digested().expect(200).await;
    assert_eq!((plain.tags("Code").len(), plain.elements("Deleted").len()), (2, 1), "{plain}");
    let bypassed = bart.post("/lock?delete", &document).digested().headers(&[BYPASS]).expect(200).await;
    assert_eq!((bypassed.tags("Code"), bypassed.elements("Deleted").len()), (vec!["AccessDenied".to_owned()], 2));
    bart.get(&format!("/lock/strict?versionId={strict}")).expect(200).await.body_is("body");
    bart.get(&format!("/lock/governed?versionId={governed}")).refused(404, "NoSuchVersion").await;
}
