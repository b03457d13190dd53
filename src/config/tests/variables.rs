//! Environment variables: each effect, each rule.

use std::time::Duration;

use super::{Install, addresses, json};
use crate::{
    config::{DataKind, LogLevel, MetadataKind, SslGenerate},
    types::version_id::VersionIdEncoding,
};

#[test]
fn broken_variables_stop_the_start() {
    let cases = [
        (("S3BACKEND", "disk"), "S3BACKEND environment variable should be one of mem/file/scality/cdmi"),
        (("S3BACKEND", "scality"), "bad environment variable: S3BACKEND=scality names a backend"),
        (("S3DATA", "disk"), "bad environment variable: S3DATA environment variable should be one of"),
        (("S3METADATA", "mongodb"), "bad environment variable: S3METADATA=mongodb names a backend"),
        (("S3VAULT", "scality"), "bad environment variable: S3VAULT=scality names a backend"),
        (("S3_VERSION_ID_ENCODING_TYPE", "base64"), "bad environment variable: S3_VERSION_ID_ENCODING_TYPE must be"),
        (("PRE_SIGN_URL_EXPIRY", "0"), "bad environment variable: PRE_SIGN_URL_EXPIRY must be a positive number"),
        (("PRE_SIGN_URL_EXPIRY", "1d"), "bad environment variable: PRE_SIGN_URL_EXPIRY must be a positive number"),
        (("SSL", "TRUE"), "bad environment variable: SSL needs ENDPOINT"),
        (("LISTEN_ADDR", "eth0"), "bad environment variable: LISTEN_ADDR must be an IP address"),
        (("LISTEN_ADDR", "127.0.0.1:8000"), "bad environment variable: LISTEN_ADDR must be an IP address"),
        (("HEALTHCHECKS_ALLOWFROM", "home"), "bad environment variable: HEALTHCHECKS_ALLOWFROM must be a CIDR"),
        (("TIME_PROGRESSION_FACTOR", "x"), "bad environment variable: TIME_PROGRESSION_FACTOR must be"),
    ];
    for ((name, value), begins) in cases {
        Install::new().env(&[(name, value)]).assert_error(begins, name);
    }
    for other in ["EXPIRE_ONE_DAY_EARLIER", "TRANSITION_ONE_DAY_EARLIER"] {
        let install = Install::new().env(&[("TIME_PROGRESSION_FACTOR", "2"), (other, "true")]);
        install.assert_error("bad environment variable: TIME_PROGRESSION_FACTOR and", other);
    }
}

#[test]
fn backends_are_chosen_together_or_one_by_one() {
    use DataKind::{File, Memory, Multiple};
    let check = |pairs: &[(&str, &str)], data, metadata| {
        let config = Install::new().env(pairs).load();
        assert_eq!((config.data, config.metadata), (data, metadata), "{pairs:?}");
        assert_eq!(config.warnings, Vec::<String>::new());
    };
    check(&[], Multiple, MetadataKind::RocksDb);
    check(&[("S3BACKEND", "mem")], Memory, MetadataKind::Memory);
    check(&[("S3BACKEND", "file")], File, MetadataKind::RocksDb);
    check(&[("S3DATA", "mem")], Memory, MetadataKind::RocksDb);
    check(&[("S3DATA", "scality")], Multiple, MetadataKind::RocksDb);
    check(&[("S3BACKEND", "mem"), ("S3DATA", "multiple")], Multiple, MetadataKind::Memory);
    check(&[("S3BACKEND", "mem"), ("S3METADATA", "file")], Memory, MetadataKind::RocksDb);
    check(&[("S3BACKEND", "file"), ("S3METADATA", "mem")], File, MetadataKind::Memory);
}

#[test]
fn variables_of_the_original_take_effect() {
    let config = Install::new()
        .env(&[
            ("S3DATAPATH", "/d"),
            ("S3METADATAPATH", "/m"),
            ("S3DATA_NOCACHE", "true"),
            ("S3_VERSION_ID_ENCODING_TYPE", "base62"),
            ("MPU_TESTING", "yes"),
            ("ALLOW_PUBLIC_READ_BUCKETS", "a, b,"),
            ("PRE_SIGN_URL_EXPIRY", "1500"),
            ("REPLICATION_GROUP_ID", "RG002"),
            ("HEALTHCHECKS_ALLOWFROM", "0.0.0.0/0"),
            ("RECORDLOG_ENABLED", "true"),
            ("LOG_LEVEL", "trace"),
        ])
        .load();
    assert_eq!((config.data_path.to_str().unwrap(), config.metadata_path.to_str().unwrap()), ("/d", "/m"));
    assert!(config.data_no_cache && config.mpu_testing && config.record_log.enabled);
    assert_eq!(config.version_id_encoding, VersionIdEncoding::Base62);
    assert_eq!(config.allow_public_read_buckets, ["a", "b"]);
    assert_eq!(config.presign_v2_max, Duration::from_millis(1500));
    assert_eq!(config.replication_group, "RG002");
    assert_eq!(config.log.level, LogLevel::Trace);
    let allowed: Vec<_> = config.health_allow_from.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["0.0.0.0/0", "127.0.0.1/8", "::1/128"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn endpoints_are_added_for_the_default_location() {
    let config = Install::new().env(&[("ENDPOINT", "S3.one.test, two.test")]).load();
    assert_eq!(config.rest_endpoints["s3.one.test"], "us-east-1");
    assert_eq!(config.rest_endpoints["two.test"], "us-east-1");
    assert_eq!(config.rest_endpoints.len(), 10);
}

#[test]
fn ssl_makes_certificates_for_the_first_endpoint_in_place_of_files() {
    let install = Install::new()
        .config(&json!({"certFilePaths": {"key": "none", "cert": "none"}}))
        .env(&[("SSL", "TRUE"), ("ENDPOINT", "one.test,two.test")]);
    let config = install.load();
    let folder = install.folder.path().into();
    assert_eq!(config.ssl_generate, Some(SslGenerate { host: "one.test".to_owned(), folder }));
    assert_eq!(config.tls, None);
    assert_eq!(Install::new().env(&[("SSL", "false"), ("ENDPOINT", "a.test")]).load().ssl_generate, None);
}

#[test]
fn listen_addr_is_an_address_of_either_family() {
    for (text, address) in [("10.0.0.1", "10.0.0.1:8000"), ("::", "[::]:8000"), ("[::1]", "[::1]:8000")] {
        let install = Install::new().config(&json!({"port": 9000})).env(&[("LISTEN_ADDR", text)]);
        assert_eq!(install.load().listen, addresses(&[address]));
    }
}

#[test]
fn empty_variables_are_unset() {
    let names = [
        "S3BACKEND",
        "S3DATA",
        "S3METADATA",
        "S3VAULT",
        "SSL",
        "LISTEN_ADDR",
        "LOG_LEVEL",
        "S3_CONFIG_FILE",
        "REDIS_HOST",
    ];
    let pairs: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(Install::new().env(&pairs).load().warnings, Vec::<String>::new());
}

#[test]
fn variables_of_later_parts_warn_once_each() {
    let pairs = [
        ("REDIS_HOST", "h"),
        ("BUCKET_DENY_FILTER", "b"),
        ("MONGODB_RS", "rs0"),
        ("S3QUOTA", "scuba"),
        ("S3VAULT", "multiple"),
        ("TIME_PROGRESSION_FACTOR", "1"),
    ];
    let warnings = Install::new().env(&pairs).load().warnings;
    assert_eq!(warnings.len(), pairs.len(), "{warnings:#?}");
    for (name, _) in pairs {
        assert_eq!(warnings.iter().filter(|text| text.contains(name)).count(), 1, "{name}");
    }
}

#[test]
fn variables_of_cloud_management_are_ignored_in_silence() {
    let pairs = [
        ("REMOTE_MANAGEMENT_DISABLE", "1"),
        ("MANAGEMENT_ENDPOINT", "x"),
        ("PUSH_ENDPOINT", "x"),
        ("S3KMS", "file"),
        ("S3QUOTA", "none"),
        ("S3VAULT", "mem"),
    ];
    assert_eq!(Install::new().env(&pairs).load().warnings, Vec::<String>::new());
}

#[test]
fn unknown_log_level_is_ignored_with_a_warning() {
    let config = Install::new().env(&[("LOG_LEVEL", "loud")]).load();
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn extra_replication_endpoints_are_checked_and_warn_once() {
    let install = Install::new();
    let name = install.path("more.json").display().to_string();
    let install = install.env(&[("S3_REPLICATION_FILE", &name)]);
    install.write("more.json", r#"[{"site": "far", "servers": ["h:1"]}]"#);
    assert_eq!(install.load().warnings.len(), 1);
    install.write("more.json", "{}");
    install.assert_error("bad config: ", "must hold an array of replication endpoints");
    install.write("more.json", r#"[{"site": "far"}]"#);
    install.assert_error("bad config: ", "a replication endpoint without type must have servers");
}
