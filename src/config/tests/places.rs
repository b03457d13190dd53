//! `locationConfig.json`: each rule.

use super::{Install, Value, json};
use crate::config::{Durability, LocationKind};

fn entry(kind: &str, details: &Value) -> Value {
    json!({"type": kind, "objectId": "x", "legacyAwsBehavior": false, "details": details})
}

fn azure(more: &Value) -> Value {
    let mut details = json!({"azureStorageEndpoint": "https://x.test", "azureContainerName": "container"});
    super::merge(&mut details, more);
    details
}

#[test]
fn broken_entries_stop_the_start() {
    let cases = [
        (json!(1), "must be an object"),
        (json!({}), "type is mandatory"),
        (json!({"type": 1}), "type must be a string"),
        (json!({"type": "ftp"}), "type \"ftp\" is unknown"),
        (json!({"type": "file"}), "objectId is mandatory and must be a unique string across locations"),
        (json!({"type": "file", "objectId": 1}), "objectId is mandatory and must be a unique string"),
        (json!({"type": "file", "objectId": "EU"}), "legacyAwsBehavior is mandatory and must be a boolean"),
        (
            json!({"type": "file", "objectId": "x", "legacyAwsBehavior": "no"}),
            "legacyAwsBehavior is mandatory and must be a boolean",
        ),
        (json!({"type": "file", "objectId": "x", "legacyAwsBehavior": true}), "details is mandatory"),
        (entry("file", &json!([])), "details is mandatory and must be an object"),
    ];
    for (entry, problem) in cases {
        let install = Install::new().location("new", &entry);
        install.assert_error(&format!("bad location constraint: \"new\" {problem}"), "locationConfig.json");
    }
}

#[test]
fn broken_optional_keys_stop_the_start() {
    let cases = [
        (json!({"isTransient": 1}), "isTransient must be a boolean"),
        (json!({"isCold": "no"}), "isCold must be a boolean"),
        (json!({"sizeLimitGB": "10"}), "sizeLimitGB must be a number"),
        (json!({"sizeLimitGB": 0}), "sizeLimitGB must be a number"),
        (json!({"sizeLimitGB": 10}), "sizeLimitGB needs utapi.metrics to include \"location\""),
        (json!({"durability": "fast"}), "durability must be \"strict\" or \"relaxed\""),
        (json!({"durability": true}), "durability must be \"strict\" or \"relaxed\""),
        (json!({"objectId": "EU"}), "objectId \"EU\" is not unique: location \"EU\" has it too"),
    ];
    for (change, problem) in cases {
        let install = Install::new().location("new", &entry("file", &json!({}))).location("new", &change);
        install.assert_error(&format!("bad location constraint: \"new\" {problem}"), "locationConfig.json");
    }
}

#[test]
fn broken_details_stop_the_start() {
    let keys = json!({"azureStorageAccountName": "account1", "azureStorageAccessKey": "a2V5"});
    let both = json!({"azureStorageAccountName": "account1", "azureStorageAccessKey": "a2V5", "sasToken": "t"});
    let cases = [
        ("aws_s3", json!({"awsEndpoint": 1}), "awsEndpoint must be a string"),
        ("aws_s3", json!({"awsEndpoint": "https://s3.test"}), "awsEndpoint must be host[:port] without a scheme"),
        ("aws_s3", json!({"bucketName": []}), "bucketName must be a string"),
        ("aws_s3", json!({"region": 1}), "region must be a string"),
        ("aws_s3", json!({"credentialsProfile": 1}), "credentialsProfile must be a string"),
        ("aws_s3", json!({"credentials": {"accessKey": "a"}}), "credentials must have accessKey and secretKey"),
        ("aws_s3", json!({"bucketMatch": "yes"}), "bucketMatch must be a boolean"),
        ("aws_s3", json!({"https": 1}), "https must be a boolean"),
        ("aws_s3", json!({"pathStyle": 1}), "pathStyle must be a boolean"),
        ("aws_s3", json!({"supportsVersioning": 1}), "supportsVersioning must be a boolean"),
        ("aws_s3", json!({"serverSideEncryption": 1}), "serverSideEncryption must be a boolean"),
        ("gcp", json!({"gcpEndpoint": "http://gcs.test"}), "gcpEndpoint must be host[:port] without a scheme"),
        ("gcp", json!({"mpuBucketName": 1}), "mpuBucketName must be a string"),
        ("azure", json!({}), "azureStorageEndpoint is mandatory"),
        ("azure", json!({"azureStorageEndpoint": "e"}), "azureContainerName is mandatory"),
        ("azure", azure(&json!({"azureContainerName": "No!"})), "azureContainerName \"No!\" is not a valid container"),
        ("azure", azure(&json!({})), "azureStorageAccountName is mandatory"),
        ("azure", azure(&json!({"azureStorageAccountName": "A!"})), "azureStorageAccountName \"A!\" is not a valid"),
        (
            "azure",
            azure(&json!({"azureStorageAccountName": "abc", "azureStorageAccessKey": "%"})),
            "azureStorageAccessKey is not valid base64",
        ),
        ("azure", azure(&json!({"authMethod": "magic"})), "authMethod \"magic\" is unknown"),
        ("azure", azure(&json!({"authMethod": "shared-access-signature"})), "sasToken is mandatory"),
        (
            "azure",
            azure(&json!({"authMethod": "client-secret", "tenantId": "t", "clientId": "c"})),
            "clientKey is mandatory",
        ),
        ("azure_archive", json!({"azureStorageEndpoint": "e"}), "Missing authentication method"),
        ("azure_archive", both, "Multiple authentication methods are not allowed"),
        (
            "dmf",
            json!({"endpoint": 1, "username": "u", "password": "p", "repoId": ["r"], "nsId": "n"}),
            "endpoint must be a string",
        ),
        (
            "dmf",
            json!({"endpoint": "e", "username": "u", "password": "p", "repoId": "r", "nsId": "n"}),
            "repoId must be an array of strings",
        ),
        ("pfs", json!({}), "pfsDaemonEndpoint must have host and port"),
        ("posix", json!({}), "path is mandatory and must be a string"),
        ("posix", json!({"path": "srv/files"}), "path \"srv/files\" must be absolute"),
        ("posix", json!({"path": "/srv", "bucketMatch": "yes"}), "bucketMatch must be a boolean"),
        ("posix", json!({"path": "/srv", "fileMode": 420}), "fileMode must be permissions in octal digits"),
        ("posix", json!({"path": "/srv", "fileMode": "0444"}), "fileMode must be permissions in octal digits"),
        (
            "posix",
            json!({"path": "/srv", "directoryMode": "0688"}),
            "directoryMode must be permissions in octal digits",
        ),
        ("scality", json!({"connector": {}}), "connector must have sproxyd or hdclient"),
        ("scality", json!({"connector": {"hdclient": {"bootstrap": "h"}}}), "connector bootstrap must be a list"),
        (
            "scality",
            json!({"connector": {"sproxyd": {"bootstrap": ["h"], "chordCos": 7}}}),
            "chordCos must be a number from 0 to 6",
        ),
        (
            "scality",
            json!({"connector": {"sproxyd": {"bootstrap": ["h"], "chordCos": 3, "path": 1}}}),
            "connector path must be a string",
        ),
    ];
    for (kind, details, problem) in cases {
        let install = Install::new().location("new", &entry(kind, &details));
        install.assert_error(&format!("bad location constraint: \"new\" {problem}"), "locationConfig.json");
    }
    assert_eq!(Install::new().location("new", &entry("azure_archive", &keys)).load().warnings.len(), 1);
}

#[test]
fn valid_entries_of_every_type_are_accepted_and_those_not_served_warn_once() {
    let cases = [
        ("mem", json!({}), LocationKind::Mem),
        ("file", json!({}), LocationKind::File),
        (
            "scality",
            json!({"connector": {"sproxyd": {"bootstrap": ["h:1"], "chordCos": 6, "path": "/p"}}}),
            LocationKind::Scality,
        ),
        ("mongodb", json!({}), LocationKind::Mongodb),
        (
            "dmf",
            json!({"endpoint": "e", "username": "u", "password": "p", "repoId": ["r"], "nsId": "n"}),
            LocationKind::Dmf,
        ),
        ("dmf", json!({"endpoint": 1}), LocationKind::Dmf),
        ("azure_archive", json!({"sasToken": "t"}), LocationKind::AzureArchive),
        (
            "aws_s3",
            json!({"awsEndpoint": "s3.test:81", "bucketName": "b", "https": false, "credentials": {"accessKey": "a", "secretKey": "s"}}),
            LocationKind::AwsS3,
        ),
        (
            "azure",
            azure(&json!({"authMethod": "client-secret", "tenantId": "t", "clientId": "c", "clientKey": "k"})),
            LocationKind::Azure,
        ),
        ("gcp", json!({"gcpEndpoint": "gcs.test", "mpuBucketName": "m"}), LocationKind::Gcp),
        ("pfs", json!({"pfsDaemonEndpoint": {"host": "h", "port": 9992}}), LocationKind::Pfs),
        ("posix", json!({"path": "/srv", "fileMode": "0660", "directoryMode": "2770"}), LocationKind::Posix),
        ("webdav", json!({"url": "https://dav.test/x/", "username": "u", "passwordFile": "f"}), LocationKind::WebDav),
        ("webhdfs", json!({"endpoint": "http://n:9870/", "path": "/a", "username": "u"}), LocationKind::WebHdfs),
    ];
    for (word, details, kind) in cases {
        let config = Install::new().location("new", &entry(word, &details)).load();
        let place = config.locations.get("new").unwrap();
        assert_eq!((place.kind, place.name.as_str(), place.object_id.as_str()), (kind, "new", "x"));
        assert_eq!(config.warnings.len(), usize::from(!kind.is_implemented()), "{:?}", config.warnings);
    }
}

#[test]
fn us_east_1_must_be_there() {
    let install = Install::new().change("locationConfig.json", &json!({"us-east-1": null}));
    install.assert_error("bad location constraint: \"us-east-1\" must be configured", "locationConfig.json");
}

#[test]
fn shipped_locations_are_sixteen_of_files_and_two_archives() {
    let locations = Install::new().load().locations;
    let of = |kind| locations.iter().filter(|place| place.kind == kind).count();
    assert_eq!((of(LocationKind::File), of(LocationKind::Dmf), of(LocationKind::AzureArchive)), (16, 1, 1));
    let legacy: Vec<_> = locations.iter().filter(|place| place.legacy_aws_behavior).map(|place| &*place.name).collect();
    assert_eq!(legacy, ["us-east-1"]);
    let cold: Vec<_> = locations.iter().filter(|place| place.is_cold).map(|place| &*place.name).collect();
    assert_eq!(cold, ["location-azure-archive-v1", "location-dmf-v1"]);
    assert_eq!(locations.get("EU").unwrap().object_id, "EU");
    assert!(locations.get("moon").is_none());
}

#[test]
fn durability_is_strict_unless_a_location_or_a_variable_says_otherwise() {
    let relaxed = json!({"EU": {"durability": "relaxed"}});
    let locations = Install::new().change("locationConfig.json", &relaxed).load().locations;
    assert_eq!(locations.get("EU").unwrap().durability, Durability::Relaxed);
    assert_eq!(locations.get("us-east-1").unwrap().durability, Durability::Strict);
    let strict = json!({"EU": {"durability": "strict"}});
    let install = Install::new().change("locationConfig.json", &strict).env(&[("S3DATA_NOSYNC", "true")]);
    let locations = install.load().locations;
    assert_eq!(locations.get("EU").unwrap().durability, Durability::Strict);
    assert_eq!(locations.get("us-east-1").unwrap().durability, Durability::Relaxed);
}

#[test]
fn size_limits_need_metering_and_count_in_powers_of_two() {
    let limit = json!({"EU": {"sizeLimitGB": 10, "isTransient": true}});
    let metered = json!({"utapi": {"metrics": ["location"]}});
    let by_file = Install::new().change("locationConfig.json", &limit).config(&metered).load();
    assert_eq!(by_file.locations.get("EU").unwrap().size_limit_gb, Some(10.0));
    assert_eq!(by_file.locations.get("EU").unwrap().size_limit_bytes(), Some(10 << 30));
    assert_eq!(by_file.locations.get("us-east-1").unwrap().size_limit_bytes(), None);
    assert!(by_file.locations.get("EU").unwrap().is_transient);
    let by_variable =
        Install::new().change("locationConfig.json", &limit).env(&[("STORAGE_LIMIT_ENABLED", "1")]).load();
    assert_eq!(by_variable.warnings, Vec::<String>::new());
}

#[test]
fn variables_override_details() {
    let install = Install::new().location("far", &entry("azure", &json!({"azureContainerName": "container"}))).env(&[
        ("far_AZURE_STORAGE_ENDPOINT", "https://a.test"),
        ("far_AZURE_STORAGE_ACCOUNT_NAME", "account1"),
        ("far_AZURE_STORAGE_ACCESS_KEY", "a2V5"),
    ]);
    let config = install.load();
    let details = &config.locations.get("far").unwrap().details;
    assert_eq!(details.text("azureStorageEndpoint"), Some("https://a.test"));
    assert_eq!(details.text("azureStorageAccessKey"), Some("a2V5"));
    assert!(!format!("{details:?}").contains("a2V5"));
    let install =
        Install::new().location("pfs", &entry("pfs", &json!({}))).env(&[("pfs_PFSD_ENDPOINT", "h.test:9992")]);
    let config = install.load();
    let endpoint = config.locations.get("pfs").unwrap().details.get("pfsDaemonEndpoint").unwrap();
    assert_eq!(endpoint, &json!({"host": "h.test", "port": 9992}));
}

#[test]
fn unknown_keys_of_a_location_warn_once() {
    let warnings = Install::new().change("locationConfig.json", &json!({"EU": {"colour": "red"}})).load().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("unknown setting EU.colour"), "{warnings:?}");
}

fn sftp(more: &serde_json::Value) -> serde_json::Value {
    let mut details = json!({
        "host": "box.test", "path": "folder", "username": "u", "privateKeyFile": "id", "hostKey": "ssh-ed25519 AAAA",
    });
    for (key, value) in more.as_object().unwrap() {
        details[key] = value.clone();
    }
    details
}

#[test]
#[cfg(feature = "sftp")]
fn a_folder_of_an_ssh_server_needs_a_login_and_a_key_to_know_the_server_by() {
    let cases = [
        (json!({"host": null}), "host is mandatory"),
        (json!({"host": "u@box.test"}), "host must be a name or an address alone"),
        (json!({"port": "22"}), "port must be a number from 1 to 65535"),
        (json!({"port": 0}), "port must be a number from 1 to 65535"),
        (json!({"username": ""}), "username is mandatory"),
        (json!({"path": ""}), "path is mandatory"),
        (json!({"path": "a/../b"}), "path must have no parts"),
        (json!({"privateKeyFile": null}), "password or privateKeyFile is mandatory"),
        (json!({"password": "p"}), "password or privateKeyFile is mandatory, and they exclude each other"),
        (json!({"hostKey": null}), "hostKey or knownHostsFile is mandatory"),
        (json!({"knownHostsFile": "f"}), "hostKey or knownHostsFile is mandatory, and they exclude each other"),
        (json!({"hostKey": "ssh-rsa AAAA"}), "hostKey must be an Ed25519 or ECDSA key"),
    ];
    for (more, problem) in cases {
        let install = Install::new().location("new", &entry("sftp", &sftp(&more)));
        install.assert_error(&format!("bad location constraint: \"new\" {problem}"), "locationConfig.json");
    }
    let install = Install::new().location("new", &entry("sftp", &sftp(&json!({"port": 2222, "passphrase": "p"}))));
    assert_eq!(install.load().locations.get("new").unwrap().kind, LocationKind::Sftp);
}

#[test]
#[cfg(not(feature = "sftp"))]
fn a_build_without_sftp_refuses_it_and_says_what_to_do() {
    let install = Install::new().location("new", &entry("sftp", &sftp(&json!({}))));
    install.assert_error("bad location constraint: \"new\" type sftp is not in this build", "locationConfig.json");
}

#[test]
fn two_locations_never_share_a_folder_elsewhere() {
    let install = |second: &str| {
        let mut two = entry("webdav", &json!({"url": second}));
        two["objectId"] = json!("y");
        Install::new().location("one", &entry("webdav", &json!({"url": "https://d/a"}))).location("two", &two)
    };
    assert!(install("https://d/b").load().locations.contains("two"));
    let same = install("https://d/a/");
    same.assert_error(
        "bad location constraint: \"two\" is in the same folder as location \"one\"",
        "locationConfig.json",
    );
}

#[test]
fn broken_details_of_stores_of_files_stop_the_start() {
    let cases = [
        ("webdav", json!({}), "url is mandatory"),
        ("webdav", json!({"url": "dav.test/x"}), "url must be an address that begins with http:// or https://"),
        (
            "webdav",
            json!({"url": "https://u:p@dav.test/"}),
            "url must be an address that begins with http:// or https://",
        ),
        (
            "webdav",
            json!({"url": "https://dav.test/?a"}),
            "url must be an address that begins with http:// or https://",
        ),
        ("webdav", json!({"url": "https:///x"}), "url must be an address that begins with http:// or https://"),
        ("webdav", json!({"url": "https://d", "username": "u"}), "username and password must come together"),
        (
            "webdav",
            json!({"url": "https://d", "username": "u", "password": "p", "token": "t"}),
            "username and password must come together, and not beside a token",
        ),
        ("webdav", json!({"url": "https://d", "username": "u:v", "password": "p"}), "username must have no colon"),
        ("webdav", json!({"url": "https://d", "token": "a\nb"}), "token must have no control characters"),
        (
            "webdav",
            json!({"url": "https://d", "token": "t", "tokenFile": "f"}),
            "token and tokenFile exclude each other",
        ),
        ("webhdfs", json!({"endpoint": "http://n:9870"}), "path is mandatory"),
        ("webhdfs", json!({"endpoint": "n:9870", "path": "/a"}), "endpoint must be an address that begins with"),
        (
            "webhdfs",
            json!({"endpoint": "http://n", "path": "/"}),
            "path \"/\" must be the absolute path of a directory",
        ),
        ("webhdfs", json!({"endpoint": "http://n", "path": "/a/../b"}), "path \"/a/../b\" must be the absolute path"),
        (
            "webhdfs",
            json!({"endpoint": "http://n", "path": "/a", "username": "u", "token": "t"}),
            "username and token exclude each other",
        ),
    ];
    for (kind, details, problem) in cases {
        let install = Install::new().location("new", &entry(kind, &details));
        install.assert_error(&format!("bad location constraint: \"new\" {problem}"), "locationConfig.json");
    }
    let install = Install::new().location("far", &entry("webdav", &json!({"url": "https://d", "username": "u"})));
    let details =
        install.env(&[("far_WEBDAV_PASSWORD", "sesame")]).load().locations.get("far").unwrap().details.clone();
    assert_eq!(details.text("password"), Some("sesame"));
    assert!(!format!("{details:?}").contains("sesame"));
}
