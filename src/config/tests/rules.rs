//! `config.json`: each setting, each rule.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{Install, addresses, json};
use crate::{
    config::{
        AccessLogDelivery, Compat, Config, HttpAgent, InventoryReports, Limits, LocationKind, LocationWatch, MinRate,
        TrustedProxies,
    },
    types::Dialect,
};

#[test]
fn broken_settings_stop_the_start_in_the_originals_words() {
    let cases = [
        (json!({"port": 0}), "bad config: port must be a positive integer"),
        (json!({"port": "8000"}), "bad config: port must be a positive integer"),
        (json!({"port": 65536}), "bad config: port must be a positive integer"),
        (json!({"metricsPort": -1}), "bad config: metricsPort must be a positive integer"),
        (json!({"listenOn": "127.0.0.1:8000"}), "bad config: listenOn must be a list of strings"),
        (json!({"listenOn": [8000]}), "bad config: listenOn must be a list of strings"),
        (json!({"listenOn": ["127.0.0.1"]}), "bad config: listenOn port must be a positive integer"),
        (json!({"listenOn": ["127.0.0.1:0"]}), "bad config: listenOn port must be a positive integer"),
        (json!({"listenOn": ["[::1]:http"]}), "bad config: listenOn port must be a positive integer"),
        (json!({"listenOn": ["host.test:8000"]}), "bad config: listenOn must name IP addresses"),
        (json!({"metricsListenOn": 1}), "bad config: metricsListenOn must be a list of strings"),
        (json!({"metricsListenOn": ["::1"]}), "bad config: metricsListenOn must name IP addresses"),
        (json!({"metricsListenOn": ["[::1]:x"]}), "bad config: metricsListenOn port must be a positive integer"),
        (json!({"replicationGroupId": 1}), "bad config: replicationGroupId must be a string"),
        (json!({"restEndpoints": null}), "bad config: restEndpoints must be an object of endpoints"),
        (json!({"restEndpoints": []}), "bad config: restEndpoints must be an object of endpoints"),
        (json!({"restEndpoints": {"a": 1}}), "bad config: restEndpoints must be an object of endpoints"),
        (json!({"restEndpoints": {"a": "moon"}}), "bad config: rest endpoint target not in locationConstraints"),
        (json!({"websiteEndpoints": "a"}), "bad config: websiteEndpoints must be a list of strings"),
        (json!({"recordLog": 1}), "bad config: recordLog must be an object"),
        (json!({"log": {"logLevel": "loud"}}), "bad config: log levels must be one of"),
        (json!({"log": {"dumpLevel": 3}}), "bad config: log levels must be one of"),
        (json!({"healthChecks": {"allowFrom": ["home"]}}), "bad config: healthChecks.allowFrom must be a list of CIDR"),
        (json!({"healthChecks": {"allowFrom": "::1"}}), "bad config: healthChecks.allowFrom must be a list of CIDR"),
        (
            json!({"certFilePaths": {"key": "k"}}),
            "bad config: both certFilePaths.key and certFilePaths.cert must be defined",
        ),
        (
            json!({"certFilePaths": {"cert": "c", "ca": "a"}}),
            "bad config: both certFilePaths.key and certFilePaths.cert must be defined",
        ),
        (json!({"certFilePaths": {"key": "no.key", "cert": "no.crt"}}), "bad config: File not found or unreachable: "),
        (json!({"requests": {"viaProxy": true}}), "bad config: requests.trustedProxyCIDRs must be a list"),
        (
            json!({"requests": {"viaProxy": true, "trustedProxyCIDRs": ["::1"]}}),
            "bad config: requests.extractClientIPFromHeader must be a header name",
        ),
        (json!({"requests": {"viaProxy": "yes"}}), "bad config: a switch must be a boolean"),
        (json!({"regions": {}}), "bad config: regions key is deprecated, use restEndpoints and locationConfig"),
        (json!({"usEastBehavior": 1}), "bad config: usEastBehavior key is deprecated, use restEndpoints"),
        (json!({"sproxyd": {}}), "bad config: sproxyd key is deprecated, use restEndpoints and locationConfig"),
        (json!({"globalEncryptionEnabled": "yes"}), "bad config: globalEncryptionEnabled must be a boolean"),
        (json!({"clusters": 0}), "bad config: clusters must be a positive integer"),
        (json!({"clusters": true}), "bad config: clusters must be a positive integer"),
    ];
    for (change, begins) in cases {
        let key = change.as_object().unwrap().keys().next().unwrap().clone();
        let install = Install::new().config(&change);
        install.assert_error(begins, "config.json");
        assert!(install.error().to_string().contains(&format!("key {key}")), "{}", install.error());
    }
}

#[test]
fn broken_settings_of_later_parts_stop_the_start() {
    let cases = [
        (json!({"replicationEndpoints": {}}), "replicationEndpoints must be an array"),
        (json!({"replicationEndpoints": [{"servers": []}]}), "a replication endpoint's site must be"),
        (json!({"replicationEndpoints": [{"site": "", "servers": []}]}), "a replication endpoint's site must be"),
        (json!({"replicationEndpoints": [{"site": "a"}]}), "a replication endpoint without type must have servers"),
        (json!({"replicationEndpoints": [{"site": "a", "type": "file"}]}), "a replication endpoint's type must be"),
        (
            json!({"replicationEndpoints": [{"site": "a", "type": "gcp", "default": 1}]}),
            "a replication endpoint's default must be",
        ),
        (json!({"backbeat": {"host": "h"}}), "host and port are mandatory"),
        (json!({"workflowEngineOperator": {"port": 1}}), "host and port are mandatory"),
        (json!({"dataClient": {"host": "h"}}), "host and port are mandatory"),
        (json!({"metadataClient": {"port": 1}}), "host and port are mandatory"),
        (json!({"pfsClient": 1}), "host and port are mandatory"),
        (json!({"dataDaemon": {"port": 1}}), "bindAddress and port are mandatory"),
        (json!({"bucketd": {"bootstrap": "h:1"}}), "bucketd.bootstrap must be a list of strings"),
        (
            json!({"redis": {"host": "h", "port": 1, "sentinels": "h:1", "name": "n"}}),
            "a Redis has a host or sentinels",
        ),
        (json!({"localCache": {"sentinels": "h:1"}}), "Redis sentinels need a name"),
        (json!({"externalBackends": {"ftp": {}}}), "externalBackends has an unknown type"),
        (
            json!({"externalBackends": {"aws_s3": {"httpAgent": {"keepAlive": 1}}}}),
            "httpAgent.keepAlive must be a boolean",
        ),
        (
            json!({"externalBackends": {"gcp": {"httpAgent": {"keepAliveMsecs": 0}}}}),
            "httpAgent.keepAliveMsecs must be a number > 0",
        ),
        (
            json!({"externalBackends": {"gcp": {"httpAgent": {"maxFreeSockets": -1}}}}),
            "httpAgent.maxFreeSockets must be a number >= 0",
        ),
        (
            json!({"externalBackends": {"gcp": {"httpAgent": {"maxSockets": "9"}}}}),
            "httpAgent.maxSockets must be a number >= 0 or null",
        ),
        (json!({"bucketNotificationDestinations": [{"resource": "a"}]}), "bucketNotificationDestinations must be"),
        (json!({"kmip": {"transport": {"tls": {"key": "k"}}}}), "kmip.transport.tls key and cert must come together"),
        (json!({"kmsAWS": {"endpoint": "e", "ak": "a"}}), "kmsAWS endpoint, ak and sk must be defined"),
        (
            json!({"utapi": {"enabledOperationCounters": [], "disableOperationCounters": []}}),
            "utapi may have enabledOperationCounters or disableOperationCounters",
        ),
        (
            json!({"utapi": {"filter": {"allow": {"bucket": []}, "deny": {"bucket": []}}}}),
            "a utapi filter field may have allow or deny, not both",
        ),
        (json!({"scuba": {}}), "host and port are mandatory"),
        (json!({"maxScannedLifecycleListingEntries": 2}), "maxScannedLifecycleListingEntries must be greater than 2"),
        (json!({"testingMode": "yes"}), "the setting must be a boolean"),
    ];
    for (change, begins) in cases {
        Install::new().config(&change).assert_error(&format!("bad config: {begins}"), "config.json");
    }
}

#[test]
fn broken_outbound_proxies_stop_the_start() {
    let cases = [
        (json!({}), "url must begin with http:// or https://"),
        (json!({"url": "socks5://h"}), "url must begin with http:// or https://"),
        (json!({"url": "http://user@h:1"}), "auth must be user:password"),
        (json!({"url": "https://h", "key": "k"}), "key and cert must come together"),
    ];
    for (proxy, problem) in cases {
        let install = Install::new().config(&json!({ "outboundProxy": proxy }));
        install.assert_error(&format!("bad proxy config: {problem}"), "config.json, key outboundProxy");
    }
}

#[test]
fn proxies_and_connections_to_others_come_from_the_file_and_the_variables_win() {
    let settings = json!({
        "outboundProxy": {"url": "http://user:password@proxy:3128", "caBundle": "/ca.pem"},
        "externalBackends": {"aws_s3": {"httpAgent": {"keepAlive": false, "keepAliveMsecs": 500, "maxSockets": 7}}},
    });
    let text = |proxy: &Option<SecretString>| proxy.as_ref().map(|url| url.expose_secret().to_owned());
    let config = Install::new().config(&settings).load();
    assert_eq!(config.warnings, Vec::<String>::new());
    let outbound = &config.outbound;
    assert_eq!(text(&outbound.http_proxy).as_deref(), Some("http://user:password@proxy:3128"));
    assert_eq!(text(&outbound.https_proxy), text(&outbound.http_proxy));
    assert_eq!(outbound.ca_bundle.as_deref(), Some(std::path::Path::new("/ca.pem")));
    let agent = outbound.agent(LocationKind::AwsS3);
    assert!(!agent.keep_alive);
    assert_eq!(agent.max_sockets, Some(7));
    assert_eq!(agent.keep_alive_probe, std::time::Duration::from_millis(500));
    assert_eq!(outbound.agent(LocationKind::Gcp), HttpAgent::default());
    assert!(!format!("{config:?}").contains("password@"), "a password is not shown");
    let variables = [
        ("https_proxy", "http://other:1"),
        ("NO_PROXY", "a,.b"),
        ("HTTPS_PROXY_CERTIFICATE", "/c.pem"),
        ("AWS_S3_HTTPAGENT_KEEPALIVE", "true"),
        ("GCP_HTTPAGENT_KEEPALIVE_MAX_FREE_SOCKETS", "3"),
    ];
    let outbound = Install::new().config(&settings).env(&variables).load().outbound;
    assert_eq!(text(&outbound.http_proxy).as_deref(), Some("http://user:password@proxy:3128"));
    assert_eq!(text(&outbound.https_proxy).as_deref(), Some("http://other:1"));
    assert_eq!(outbound.no_proxy, "a,.b");
    assert!(outbound.agent(LocationKind::AwsS3).keep_alive);
    assert_eq!(outbound.agent(LocationKind::AwsS3).max_sockets, Some(7));
    assert_eq!(outbound.agent(LocationKind::Gcp).max_free_sockets, 3);
}

#[test]
fn settings_of_later_parts_warn_once_each() {
    let settings = json!({
        "replicationEndpoints": [{"site": "zenko", "servers": ["127.0.0.1:8000"], "default": true}, {"site": "s", "type": "aws_s3"}],
        "backbeat": {"host": "localhost", "port": 8900},
        "workflowEngineOperator": {"host": "localhost", "port": 3001},
        "cdmi": {"host": "localhost", "port": 81, "path": "/dewpoint", "readonly": true},
        "bucketd": {"bootstrap": ["localhost:9000"]},
        "vaultd": {"host": "localhost", "port": 8500},
        "pfsClient": {"host": "localhost", "port": 9992},
        "pfsDaemon": {"bindAddress": "localhost", "port": 9992},
        "localCache": {"name": "n", "sentinels": "a:1,b:2"},
        "redis": {"host": "localhost", "port": 6379},
        "mongodb": {"replicaSetHosts": "localhost:27017"},
        "bucketNotificationDestinations": [{"resource": "target1", "type": "dummy", "host": "localhost:6000"}],
        "kms": {"userName": "u", "password": "p"},
        "kmip": {"transport": {"tls": {"host": "h", "key": "k", "cert": "c"}}},
        "kmsAWS": {"endpoint": "e", "ak": "a", "sk": "s"},
        "utapi": {"metrics": ["bucket", "location"], "filter": {"deny": {"bucket": ["b"]}}},
        "scuba": {"host": "localhost", "port": 8100},
        "quota": {"maxStatenessMS": 86_400_000},
        "managementAgent": {"host": "localhost", "port": 8010},
        "maxScannedLifecycleListingEntries": 10000,
        "lifecycleRoleName": "role",
        "overlayVersion": 4,
        "testingMode": true,
        "clusters": 4,
    });
    let warnings = Install::new().config(&settings).load().warnings;
    for key in settings.as_object().unwrap().keys() {
        let about = warnings.iter().filter(|text| text.contains(&format!(": {key} is "))).count();
        assert_eq!(about, 1, "{key}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), settings.as_object().unwrap().len());
}

#[test]
fn settings_that_ask_for_nothing_do_not_warn() {
    let settings = json!({
        "replicationEndpoints": [], "bucketNotificationDestinations": [], "testingMode": false, "clusters": 1,
        "overlayVersion": 0, "defaultEncryptionKeyPerAccount": true, "globalEncryptionEnabled": true,
        "multiObjectDeleteEnableOptimizations": true,
    });
    assert_eq!(Install::new().config(&settings).load().warnings, Vec::<String>::new());
}

#[test]
fn unknown_settings_warn_once_with_their_path() {
    let warnings = Install::new()
        .config(&json!({"prot": 1, "log": {"level": "info"}, "cloudserver": {"limits": {"conections": 1}, "x": {}}}))
        .load()
        .warnings;
    let paths: Vec<_> = warnings.iter().map(|text| text.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(paths, ["log.level", "cloudserver.limits.conections", "cloudserver.x", "prot"]);
}

#[test]
fn absent_settings_have_the_originals_defaults() {
    let install = Install::new();
    install.write("config.json", r#"{"restEndpoints": {"Host.Test": "us-east-1"}}"#);
    let config = install.load();
    assert_eq!(config.rest_endpoints.keys().collect::<Vec<_>>(), ["host.test"]);
    assert_eq!(config.replication_group, "RG001");
    assert_eq!(config.website_endpoints, Vec::<String>::new());
    assert_eq!((config.log.level.as_str(), config.log.dump_level.as_str()), ("debug", "error"));
    assert_eq!(config.multi_object_delete_concurrency, 50);
    assert_eq!(config.presign_v2_max, Duration::from_hours(7 * 24));
    assert!(!config.record_log.enabled);
    assert!(config.tls.is_none() && config.trusted_proxies.is_none() && config.region.is_none());
    assert_eq!(
        config.health_allow_from.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1/8", "::1/128"]
    );
    assert_eq!((config.inline_threshold, config.journal_max_entries), (65_536, 1_000_000));
    assert_eq!(config.shutdown_grace, Duration::from_secs(30));
    assert!(config.sigv2 && !config.production);
    assert_eq!((config.compat, config.limits), (Compat::default(), Limits::default()));
}

#[test]
fn delete_concurrency_out_of_range_is_the_default() {
    for (asked, got) in [(json!(1), 1), (json!(999), 999), (json!(0), 50), (json!(1000), 50), (json!("7"), 50)] {
        let install = Install::new().config(&json!({ "multiObjectDeleteConcurrency": asked }));
        assert_eq!(install.load().multi_object_delete_concurrency, got);
    }
}

#[test]
fn configured_values_arrive() {
    let install = Install::new().config(&json!({
        "port": 8080, "metricsPort": 8082,
        "healthChecks": {"allowFrom": ["10.0.0.0/8", "127.0.0.1/8", "192.0.2.7"]},
        "requests": {"viaProxy": true, "trustedProxyCIDRs": ["10.1.0.0/16"], "extractClientIPFromHeader": "X-Forwarded-For"},
        "cloudserver": {
            "region": "eu-west-1", "signatureV2": false, "shutdownGraceSeconds": 5, "inlineThresholdBytes": 0,
            "journalMaxEntries": 7, "logFormat": "pretty", 
            "compat": {"maxObjectTags": 50, "exposeProcessing": true, "dialect": "ceph"},
            "accessLogs": {"deliverySeconds": 9, "linesPerObject": 5},
            "inventory": {"lookSeconds": 2, "periodSeconds": 3600, "rowsPerFile": 7},
            "health": {"failures": 3, "longestPauseSeconds": 4, "probeSeconds": 5, "answerSeconds": 6, "callsPerLocation": 7},
            "limits": {"connections": 9, "bodyMinBytesPerSecond": 0, "bodyMinRateWindowSeconds": 3, "tlsHandshakeSeconds": 4},
        },
    }));
    let config = install.load();
    assert_eq!(config.listen, addresses(&["127.0.0.1:8080", "[::1]:8080"]));
    assert_eq!(config.admin_listen, addresses(&["127.0.0.1:8082", "[::1]:8082"]));
    let allowed: Vec<_> = config.health_allow_from.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.0.0.0/8", "127.0.0.1/8", "192.0.2.7/32", "::1/128"]);
    let header = "x-forwarded-for".to_owned();
    let networks = vec!["10.1.0.0/16".parse().unwrap()];
    assert_eq!(config.trusted_proxies, Some(TrustedProxies { networks, header }));
    assert_eq!((config.region.as_deref(), config.sigv2), (Some("eu-west-1"), false));
    assert_eq!(config.shutdown_grace, Duration::from_secs(5));
    assert_eq!((config.inline_threshold, config.journal_max_entries), (0, 7));
    assert_eq!(config.log.format.as_str(), "pretty");
    assert_eq!(config.compat, Compat { max_object_tags: 50, expose_processing: true, dialect: Dialect::Ceph });
    assert_eq!(config.access_logs, AccessLogDelivery { interval: Duration::from_secs(9), lines: 5 });
    let period = Some(Duration::from_hours(1));
    assert_eq!(config.inventory, InventoryReports { look: Duration::from_secs(2), period, rows: 7 });
    let seconds = Duration::from_secs;
    let watch =
        LocationWatch { failures: 3, longest_pause: seconds(4), probe: seconds(5), answer: seconds(6), calls: 7 };
    assert_eq!(config.health, watch);
    let body_min_rate = MinRate { bytes_per_second: 0, window: Duration::from_secs(3) };
    let tls_handshake = Duration::from_secs(4);
    assert_eq!(config.limits, Limits { connections: 9, body_min_rate, tls_handshake, ..Limits::default() });
}

#[test]
fn own_settings_have_rules_too() {
    for own in [
        json!({"inlineThresholdBytes": 1_048_577}),
        json!({"journalMaxEntries": 0}),
        json!({"logFormat": "xml"}),
        json!({"shutdownGraceSeconds": -1}),
        json!({"compat": {"maxObjectTags": 20}}),
        json!({"compat": {"dialect": "Ceph"}}),
        json!({"compat": {"dialect": true}}),
        json!({"accessLogs": {"deliverySeconds": 0}}),
        json!({"inventory": {"lookSeconds": 0}}),
        json!({"inventory": {"periodSeconds": 0}}),
        json!({"inventory": {"rowsPerFile": 0}}),
        json!({"accessLogs": {"linesPerObject": 100_001}}),
        json!({"limits": {"connections": 0}}),
        json!({"health": {"failures": 0}}),
        json!({"health": {"answerSeconds": 0}}),
        json!({"health": {"callsPerLocation": "many"}}),
        json!({"limits": {"bodyIdleSeconds": 0}}),
        json!({"limits": {"bodyMinBytesPerSecond": "fast"}}),
        json!({"region": 1}),
        json!({"signatureV2": "no"}),
        json!({"limits": []}),
    ] {
        let install = Install::new().config(&json!({ "cloudserver": own }));
        install.assert_error("bad config: ", "config.json, key cloudserver.");
    }
}

#[test]
fn listeners_may_be_named_localhost() {
    let config = Install::new().config(&json!({"listenOn": ["localhost:81", "[fe80::1]:82"]})).load();
    assert_eq!(config.listen, addresses(&["127.0.0.1:81", "[::1]:81", "[fe80::1]:82"]));
}

#[test]
fn certificates_count_from_the_install_root() {
    let install =
        Install::new().config(&json!({"certFilePaths": {"key": "./test.key", "cert": "./test.crt", "ca": "ca.crt"}}));
    for name in ["test.key", "test.crt"] {
        install.write(name, "");
    }
    install.assert_error("bad config: File not found or unreachable: ", "ca.crt");
    install.write("ca.crt", "");
    let tls = install.load().tls.unwrap();
    assert_eq!(tls.key, install.path("./test.key"));
    assert_eq!(tls.ca, Some(install.path("ca.crt")));
}

/// The page shows every setting of ours with its default: what it shows has to be what an empty file gives.
#[test]
fn documented_own_settings_are_the_defaults() {
    let page = include_str!("../../../docs/configuration.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let documented = Install::new().config(&serde_json::from_str(block).unwrap()).load();
    assert_eq!(documented.warnings, Vec::<String>::new());
    let plain = Install::new().load();
    let facts = |config: &Config| {
        let Config { region, sigv2, production, shutdown_grace, compat, inline_threshold, journal_max_entries, .. } =
            config.clone();
        let own = (region, sigv2, production, shutdown_grace, compat, inline_threshold, journal_max_entries);
        (own, config.limits.clone(), config.log)
    };
    assert_eq!(facts(&documented), facts(&plain));
}
