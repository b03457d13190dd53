//! Server access logs: where they go, and that they come.

use std::time::{Duration, Instant};

use cloudserver::{
    config::AccessLogDelivery,
    storage::records::{AccessLines, LoggingRecord},
    types::BucketName,
};

use crate::support::{
    client::Client,
    sign::Scheme,
    wire::SOON,
    world::{BART, World, refused},
};

fn document(target: &str, more: &str) -> String {
    format!(
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket><TargetPrefix>log/</TargetPrefix>\
         {more}</LoggingEnabled></BucketLoggingStatus>"
    )
}

fn grant(permission: &str) -> String {
    format!(
        "<TargetGrants><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
         <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>{permission}</Permission>\
         </Grant></TargetGrants>"
    )
}

/// A server that delivers at once, and Bart's buckets `source` and `target`.
async fn world() -> (World, Client) {
    let world = World::with(|config| config.access_logs.interval = Duration::from_millis(20)).await;
    let bart = world.bucket("source").await;
    world.bucket("target").await;
    (world, bart)
}

/// Every line delivered into `target` so far, with the keys.
async fn delivered(bart: &Client) -> (Vec<String>, String) {
    let keys = bart.get("/target?list-type=2&prefix=log/").expect(200).await.tags("Key");
    let mut text = String::new();
    for key in &keys {
        text.push_str(&bart.get(&format!("/target/{key}")).expect(200).await.text());
    }
    (keys, text)
}

/// Waits until so many lines are there.
async fn lines(bart: &Client, count: usize) -> (Vec<String>, Vec<String>) {
    let began = Instant::now();
    loop {
        let (keys, text) = delivered(bart).await;
        if text.lines().count() >= count {
            return (keys, text.lines().map(str::to_owned).collect());
        }
        assert!(began.elapsed() < SOON, "{count} lines do not come: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A line's fields; those in brackets and quotes are one each.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (start, end) = match rest.as_bytes()[0] {
            b'[' => (1, ']'),
            b'"' => (1, '"'),
            _ => (0, ' '),
        };
        let stop = rest[start..].find(end).map_or(rest.len(), |at| at + start);
        fields.push(rest[start..stop].to_owned());
        rest = rest[stop..].trim_start_matches(['"', ']']).trim_start_matches(' ');
    }
    fields
}

#[tokio::test]
async fn a_setting_is_put_shown_and_removed() {
    let (world, bart) = world().await;
    let nothing = bart.get("/source?logging").expect(200).await;
    assert!(nothing.elements("LoggingEnabled").is_empty());
    let format = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>\
                  </PartitionedPrefix></TargetObjectKeyFormat>";
    bart.put("/source?logging", document("target", &format!("{}{format}", grant("READ")))).digested().expect(200).await;
    let shown = bart.get("/source?logging").expect(200).await;
    assert_eq!(shown.tag("TargetBucket").as_deref(), Some("target"));
    assert_eq!(shown.tag("PartitionDateSource").as_deref(), Some("EventTime"));
    assert_eq!(shown.tag("Permission").as_deref(), Some("READ"));
    bart.put("/source?logging", "<BucketLoggingStatus/>").digested().expect(200).await;
    assert!(bart.get("/source?logging").expect(200).await.elements("LoggingEnabled").is_empty());
    world.sound().await;
}

#[tokio::test]
async fn a_target_is_a_bucket_of_the_same_owner() {
    let world = World::new().await;
    let bart = world.bucket("source").await;
    world.bucket("target").await;
    world.lisa().put("/lisas", "").expect(200).await;
    let put = |body: String| bart.put("/source?logging", body).digested();
    for target in ["missing", "lisas", "No-Bucket"] {
        refused(&world, put(document(target, "")), 400, "InvalidTargetBucketForLogging").await;
    }
    refused(&world, put(document("target", &grant("READ_ACP"))), 400, "MalformedXML").await;
    refused(&world, put(document("target", "<Other/>")), 400, "MalformedXML").await;
    refused(&world, bart.put("/missing?logging", document("target", "")).digested(), 404, "NoSuchBucket").await;
    for client in [world.lisa(), world.nobody()] {
        let put = client.put("/source?logging", document("lisas", "")).digested();
        refused(&world, put, 403, "AccessDenied").await;
        refused(&world, client.get("/source?logging"), 403, "AccessDenied").await;
    }
}

#[tokio::test]
async fn every_request_makes_a_line_of_twenty_six_fields() {
    let (world, bart) = world().await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    bart.put("/source/a%20b", "hello").header("user-agent", "agent \"x\"").expect(200).await;
    bart.get("/source/a%20b").header("range", "bytes=1-2").header("referer", "http://here/").expect(206).await;
    world.nobody().get("/source/a%20b").refused(403, "AccessDenied").await;
    bart.get("/source/missing").by(Scheme::QueryV4).refused(404, "NoSuchKey").await;
    bart.get("/source?list-type=2").by(Scheme::HeaderV2).expect(200).await;
    let (keys, found) = lines(&bart, 5).await;
    assert!(keys.iter().all(|key| key.starts_with("log/20") && key.len() == "log/".len() + 19 + 1 + 16), "{keys:?}");
    let found: Vec<Vec<String>> = found.iter().map(|line| fields(line)).collect();
    assert!(found.iter().all(|line| line.len() == 26), "{found:#?}");
    let of = |operation: &str, status: &str| {
        let line = found.iter().find(|line| line[6] == operation && line[9] == status);
        line.unwrap_or_else(|| panic!("no {operation} {status} in {found:#?}")).clone()
    };
    let put = of("REST.PUT.OBJECT", "200");
    assert_eq!(
        (put[0].as_str(), put[1].as_str(), put[3].as_str(), put[4].as_str()),
        (BART, "source", "127.0.0.1", BART)
    );
    assert_eq!((put[7].as_str(), put[8].as_str()), ("a%20b", "PUT /source/a%20b HTTP/1.1"));
    assert_eq!((put[11].as_str(), put[12].as_str(), put[16].as_str()), ("-", "5", "agent %22x%22"));
    let get = of("REST.GET.OBJECT", "206");
    assert_eq!((get[11].as_str(), get[12].as_str(), get[15].as_str()), ("2", "5", "http://here/"));
    assert_eq!((get[19].as_str(), get[21].as_str()), ("SigV4", "AuthHeader"));
    assert_eq!(get[22], world.address.to_string());
    let anonymous = of("REST.GET.OBJECT", "403");
    assert_eq!((anonymous[4].as_str(), anonymous[10].as_str(), anonymous[19].as_str()), ("-", "AccessDenied", "-"));
    let missing = of("REST.GET.OBJECT", "404");
    assert_eq!((missing[10].as_str(), missing[21].as_str()), ("NoSuchKey", "QueryString"));
    assert!(missing[8].contains("X-Amz-Signature=***"), "{}", missing[8]);
    assert_eq!(of("REST.GET.BUCKET", "200")[19], "SigV2");
    world.sound().await;
}

#[tokio::test]
async fn each_key_of_a_request_of_many_deletes_has_a_line_of_its_own() {
    let (_world, bart) = world().await;
    bart.put("/source/one", "1").expect(200).await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    let entries = "<Object><Key>one</Key></Object><Object><Key>two</Key><VersionId>none</VersionId></Object>";
    bart.post("/source?delete", format!("<Delete>{entries}</Delete>")).digested().expect(200).await;
    let (_, lines) = lines(&bart, 3).await;
    let found = |operation: &str| -> Vec<Vec<String>> {
        let all = lines.iter().map(|line| fields(line));
        all.filter(|fields| fields[6] == operation).map(|fields| fields[7..11].to_vec()).collect()
    };
    assert_eq!(found("REST.POST.MULTI_OBJECT_DELETE").len(), 1);
    let request = "POST /source?delete HTTP/1.1";
    assert_eq!(
        found("BATCH.DELETE.OBJECT"),
        [["one", request, "204", "-"], ["two", request, "400", "InvalidArgument"]]
    );
}

#[tokio::test]
async fn deliveries_make_no_lines_and_ended_logs_neither() {
    let (world, bart) = world().await;
    // A bucket may log into itself: only requests make lines, deliveries do not.
    bart.put("/target?logging", document("target", "")).digested().expect(200).await;
    bart.head("/target").expect(200).await;
    let (_, first) = lines(&bart, 1).await;
    assert!(first.iter().all(|line| !line.contains("REST.PUT.OBJECT")), "{first:?}");
    bart.put("/target?logging", "<BucketLoggingStatus/>").digested().expect(200).await;
    let mut before = delivered(&bart).await;
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = delivered(&bart).await;
        if now == before {
            break;
        }
        before = now;
    }
    bart.head("/target").expect(200).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(before, delivered(&bart).await);
    world.sound().await;
}

#[tokio::test]
async fn log_objects_are_read_by_whom_the_target_grants_name_in_folders_by_day() {
    let (world, bart) = world().await;
    let format = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>\
                  </PartitionedPrefix></TargetObjectKeyFormat>";
    bart.put("/source?logging", document("target", &format!("{}{format}", grant("READ")))).digested().expect(200).await;
    bart.head("/source").expect(200).await;
    let (keys, _) = lines(&bart, 1).await;
    assert!(keys[0].starts_with(&format!("log/{BART}/us-east-1/source/20")), "{keys:?}");
    assert!(keys[0].contains("-00-00-00-"), "{keys:?}");
    let reply = world.nobody().get(&format!("/target/{}", keys[0])).expect(200).await;
    reply.has("content-type", "text/plain");
}

#[tokio::test]
async fn a_target_that_is_gone_costs_lines_and_nothing_else() {
    let (world, bart) = world().await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    bart.delete("/target").expect(204).await;
    for _ in 0..5 {
        bart.put("/source/a", "x").expect(200).await;
    }
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    while world.storage().queued_access_entries().await.unwrap() > 0 {
        assert!(began.elapsed() < SOON, "the queue is not worked off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.sound().await;
}

#[tokio::test]
async fn what_waits_is_delivered_when_the_server_stops() {
    let world = World::with(|config| config.access_logs.interval = Duration::from_hours(1)).await;
    let bart = world.bucket("source").await;
    world.bucket("target").await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    for number in 0..20 {
        bart.put(&format!("/source/{number}"), "x").expect(200).await;
    }
    assert!(delivered(&bart).await.0.is_empty());
    let storage = world.storage().clone();
    let target = storage.bucket(&BucketName::new("target").unwrap()).await.unwrap();
    assert_eq!(world.server.stop(SOON).await, 0);
    assert_eq!(storage.queued_access_entries().await.unwrap(), 0);
    let usage = storage.usage(&target).await.unwrap();
    assert_eq!(usage.objects, 1);
    assert!(usage.bytes > 20 * 300, "{} bytes", usage.bytes);
}

#[tokio::test]
async fn lines_of_an_earlier_process_are_delivered_in_objects_of_bounded_size() {
    let world = World::with(|config| {
        config.access_logs = AccessLogDelivery { interval: Duration::from_millis(500), lines: 4 };
    })
    .await;
    let bart = world.bucket("source").await;
    world.bucket("target").await;
    let logging = LoggingRecord {
        target_bucket: "target".to_owned(),
        target_prefix: "log/".to_owned(),
        ..LoggingRecord::default()
    };
    let entry = |lines: &'static str, owner: &str| AccessLines {
        source: "source".to_owned(),
        source_owner: owner.to_owned(),
        logging: Some(logging.clone()),
        first_ms: 0,
        lines: lines.into(),
    };
    // Lines of a bucket whose owner was another than the target's: the target was made anew since.
    let left = [entry("1\n2\n3\n", BART), entry("x\n", "somebody"), entry("4\n", BART), entry("5\n6\n7\n8\n9\n", BART)];
    world.storage().queue_access_lines(&left).await.unwrap();
    let (keys, mut found) = lines(&bart, 9).await;
    found.sort();
    assert_eq!(found, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(world.storage().queued_access_entries().await.unwrap(), 0);
}

fn for_logs(effect: &str, more: &str) -> String {
    format!(
        "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"{effect}\",\
         \"Principal\":{{\"Service\":\"logging.s3.amazonaws.com\"}},\"Action\":\"s3:PutObject\",\
         \"Resource\":\"arn:aws:s3:::target/*\"{more}}}]}}"
    )
}

#[tokio::test]
async fn a_policy_that_forbids_the_delivery_ends_it_and_the_lines_are_counted() {
    let (world, bart) = world().await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    let of_another = for_logs("Deny", ",\"Condition\":{\"ArnNotLike\":{\"aws:SourceArn\":\"arn:aws:s3:::source\"}}");
    bart.put("/target?policy", of_another).digested().expect(204).await;
    bart.head("/source").expect(200).await;
    lines(&bart, 1).await;
    let of_this = for_logs("Deny", ",\"Condition\":{\"ArnLike\":{\"aws:SourceArn\":\"arn:aws:s3:::source\"}}");
    bart.put("/target?policy", of_this).digested().expect(204).await;
    let before = delivered(&bart).await;
    bart.head("/source").expect(200).await;
    let began = Instant::now();
    while world.metric("cloudserver_access_log_lines_dropped_total").await == 0 {
        assert!(began.elapsed() < SOON, "no line is dropped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(delivered(&bart).await.0.len(), before.0.len());
    let put = bart.put("/source?logging", document("target", "")).digested();
    refused(&world, put, 400, "InvalidTargetBucketForLogging").await;
    bart.delete("/target?policy").expect(204).await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    world.sound().await;
}

#[tokio::test]
async fn the_target_of_another_account_is_open_by_policy_or_by_its_list() {
    let by_policy = ",\"Condition\":{\"ArnLike\":{\"aws:SourceArn\":\"arn:aws:s3:::sou*\"},\
                     \"StringEquals\":{\"aws:SourceAccount\":\"123456789012\"}}";
    let policy = for_logs("Allow", by_policy);
    let wrong = for_logs("Allow", &by_policy.replace("123456789012", "123456789013"));
    for (acl, policy, comes) in [
        ("private", "", false),
        ("private", policy.as_str(), true),
        ("private", wrong.as_str(), false),
        ("log-delivery-write", "", true),
    ] {
        let world = World::with(|config| config.access_logs.interval = Duration::from_millis(20)).await;
        let lisa = world.lisa();
        lisa.put("/target", "").header("x-amz-acl", acl).expect(200).await;
        if !policy.is_empty() {
            lisa.put("/target?policy", policy).digested().expect(204).await;
        }
        let logging = LoggingRecord {
            target_bucket: "target".to_owned(),
            target_prefix: "log/".to_owned(),
            ..LoggingRecord::default()
        };
        let entry = AccessLines {
            source: "source".to_owned(),
            source_owner: BART.to_owned(),
            logging: Some(logging),
            first_ms: 0,
            lines: "1\n2\n".into(),
        };
        world.storage().queue_access_lines(&[entry]).await.unwrap();
        if comes {
            lines(&lisa, 2).await;
        } else {
            let began = Instant::now();
            while world.metric("cloudserver_access_log_lines_dropped_total").await < 2 {
                assert!(began.elapsed() < SOON, "{acl} {policy}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(delivered(&lisa).await.0.is_empty());
        }
        world.sound().await;
    }
}

#[tokio::test]
async fn log_objects_are_encrypted_and_retained_as_their_bucket_says() {
    let world = World::with(|config| config.access_logs.interval = Duration::from_millis(20)).await;
    let bart = world.bucket("source").await;
    bart.put("/target", "").header("x-amz-bucket-object-lock-enabled", "true").expect(200).await;
    let encryption = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                      <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
                      </ServerSideEncryptionConfiguration>";
    bart.put("/target?encryption", encryption).digested().expect(200).await;
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    bart.put("/target?object-lock", lock).digested().expect(200).await;
    bart.put("/source?logging", document("target", "")).digested().expect(200).await;
    bart.head("/source").expect(200).await;
    let (keys, _) = lines(&bart, 1).await;
    let reply = bart.head(&format!("/target/{}", keys[0])).expect(200).await;
    reply.has("x-amz-server-side-encryption", "AES256").has("x-amz-object-lock-mode", "GOVERNANCE");
    let payer = "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>";
    bart.put("/target?requestPayment", payer).digested().expect(200).await;
    let put = bart.put("/source?logging", document("target", "")).digested();
    put.refused(400, "InvalidTargetBucketForLogging").await;
}
