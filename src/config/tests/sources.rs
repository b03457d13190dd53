//! Which files are read, and which sockets are listened on.

use super::{Config, Environment, Install, LOCATIONS, Launch, ListenOrigin, Options, addresses, json};

#[test]
fn nothing_at_all_starts_with_the_built_in_files_on_loopback_only() {
    let config = Config::load(&Launch::default()).unwrap();
    assert_eq!(config.source, "built-in config.json");
    assert_eq!(config.accounts.source(), "built-in authdata.json");
    assert_eq!(config.listen, addresses(&["127.0.0.1:8000", "[::1]:8000"]));
    assert_eq!(config.admin_listen, addresses(&["127.0.0.1:8002", "[::1]:8002"]));
    assert_eq!(config.listen_origin, ListenOrigin::Loopback);
}

#[test]
fn conf_folder_goes_before_the_root() {
    let install = Install::new().config(&json!({"replicationGroupId": "ROOT"}));
    assert_eq!(install.load().replication_group, "ROOT");
    install.write("conf/config.json", r#"{"restEndpoints": {"a": "us-east-1"}, "replicationGroupId": "CONF"}"#);
    assert_eq!(install.load().replication_group, "CONF");
}

#[test]
fn second_root_is_used_when_the_first_has_no_file() {
    let mut install = Install::new();
    let empty = tempfile::tempdir().unwrap();
    install.launch.roots.insert(0, empty.path().into());
    assert_eq!(install.load().root, install.folder.path());
}

#[test]
fn files_named_by_variables_are_found_relative_and_absolute() {
    let install = Install::new();
    install.write("conf/mine.json", r#"{"restEndpoints": {"a": "here"}}"#);
    let entry = json!({"type": "file", "objectId": "h", "legacyAwsBehavior": false, "details": {}});
    install.write("places.json", &json!({"us-east-1": {"type": "mem", "objectId": "u", "legacyAwsBehavior": true, "details": {}}, "here": entry}).to_string());
    let places = install.path("places.json").display().to_string();
    let config = install.env(&[("S3_CONFIG_FILE", "mine.json"), ("S3_LOCATION_FILE", &places)]).load();
    assert_eq!(config.rest_endpoints["a"], "here");
    assert_eq!(config.locations.iter().count(), 2);
}

#[test]
fn file_named_by_argument_has_its_companions_beside_it() {
    let install = Install::new().config(&json!({"replicationGroupId": "ARG"}));
    let launch = Launch {
        options: Options { config: Some(install.path("config.json")), ..Options::default() },
        ..Launch::default()
    };
    let config = Config::load(&launch).unwrap();
    assert_eq!(config.replication_group, "ARG");
    assert!(config.accounts.source().ends_with("conf/authdata.json"));
    assert_eq!(config.data_path, std::path::PathBuf::from("localData"));
}

#[test]
fn missing_files_are_errors_that_name_them() {
    let install = Install::new();
    std::fs::remove_file(install.path("locationConfig.json")).unwrap();
    install.assert_error("bad config: locationConfig.json: no such file", "S3_LOCATION_FILE");
    let install = Install::new().env(&[("S3AUTH_CONFIG", "none.json")]);
    install.assert_error("bad config: none.json: no such file", "S3AUTH_CONFIG");
    let install = Install::new().env(&[("S3_CONFIG_FILE", "none.json")]);
    install.assert_error("bad config: none.json: no such file", "S3_CONFIG_FILE");
    let install = Install::new().env(&[("S3_CONFIG_FILE", "/none/none.json")]);
    install.assert_error("bad config: /none/none.json: no such file", "S3_CONFIG_FILE");
    let install = Install::new().env(&[("S3_REPLICATION_FILE", "/none/none.json")]);
    install.assert_error("bad config: /none/none.json: no such file", "S3_REPLICATION_FILE");
}

#[test]
fn files_that_are_no_json_objects_are_errors_without_their_content() {
    for (name, text) in
        [("config.json", "{\"port\": secret}"), ("locationConfig.json", "[]"), ("conf/authdata.json", "")]
    {
        let install = Install::new();
        install.write(name, text);
        install.assert_error("bad config: ", name);
        assert!(!install.error().to_string().contains("secret"));
    }
}

#[test]
fn own_accounts_open_every_interface() {
    let install = Install::new().env(&[("SCALITY_ACCESS_KEY_ID", "mine"), ("SCALITY_SECRET_ACCESS_KEY", "mine")]);
    let config = install.load();
    assert_eq!(config.listen, addresses(&["[::]:8000"]));
    assert_eq!(config.admin_listen, addresses(&["[::]:8002"]));
    assert_eq!(config.listen_origin, ListenOrigin::Everywhere);
}

#[test]
fn container_opens_every_interface_for_shipped_accounts() {
    let mut install = Install::new();
    install.launch.container = true;
    let config = install.load();
    assert_eq!(config.listen, addresses(&["[::]:8000"]));
    assert!(config.accounts.uses_well_known_credentials());
}

#[test]
fn shipped_accounts_leave_explicit_listeners_alone() {
    let everywhere = addresses(&["0.0.0.0:8000"]);
    let file = Install::new().config(&json!({"listenOn": ["0.0.0.0:8000"], "metricsListenOn": ["[::]:1"]})).load();
    assert_eq!((file.listen, file.admin_listen), (everywhere.clone(), addresses(&["[::]:1"])));
    let variable = Install::new().env(&[("LISTEN_ADDR", "0.0.0.0")]).load();
    assert_eq!((variable.listen, variable.listen_origin), (everywhere.clone(), ListenOrigin::Configured));
    let argument = Install::new().options(Options { listen: everywhere.clone(), ..Options::default() }).load();
    assert_eq!(argument.listen, everywhere);
}

#[test]
fn arguments_win_over_variables_and_those_over_files() {
    let install = Install::new()
        .config(&json!({"listenOn": ["127.0.0.1:7000", "[::1]:7000"], "log": {"logLevel": "warn"}}))
        .env(&[("S3DATAPATH", "/by/variable"), ("S3METADATAPATH", "/by/variable"), ("LOG_LEVEL", "debug")]);
    let config = install.load();
    assert_eq!(config.listen, addresses(&["127.0.0.1:7000", "[::1]:7000"]));
    assert_eq!((config.log.level.as_str(), config.data_path.to_str().unwrap()), ("debug", "/by/variable"));
    let config = install
        .options(Options {
            port: Some(9000),
            data: Some("/by/argument".into()),
            log_level: Some("trace".parse().unwrap()),
            log_format: Some("json".parse().unwrap()),
            ..Options::default()
        })
        .load();
    assert_eq!(config.listen, addresses(&["127.0.0.1:9000", "[::1]:9000"]));
    assert_eq!((config.log.level.as_str(), config.log.format.as_str()), ("trace", "json"));
    assert_eq!(config.data_path.to_str().unwrap(), "/by/argument");
    assert_eq!(config.metadata_path.to_str().unwrap(), "/by/variable");
}

#[test]
fn port_argument_may_be_zero_for_any_free_port() {
    let config = Install::new().options(Options { port: Some(0), ..Options::default() }).load();
    assert_eq!(config.listen, addresses(&["127.0.0.1:0", "[::1]:0"]));
}

#[test]
fn folders_are_under_the_install_root() {
    let install = Install::new();
    let config = install.load();
    assert_eq!(config.data_path, install.path("localData"));
    assert_eq!(config.metadata_path, install.path("localMetadata"));
}

#[test]
fn secrets_file_wins_over_variables() {
    let environment: Environment = [("SCALITY_ACCESS_KEY_ID", "old"), ("OTHER", "kept")].into_iter().collect();
    let text = "# a comment\nexport SCALITY_ACCESS_KEY_ID=\"new # key\"\nSCALITY_SECRET_ACCESS_KEY='s=e c'\n\nODD NAME=1\nLAST=x # note";
    let environment = environment.with_shell_file(text);
    assert_eq!(environment.get("SCALITY_ACCESS_KEY_ID"), Some("new # key"));
    assert_eq!(environment.get("SCALITY_SECRET_ACCESS_KEY"), Some("s=e c"));
    assert_eq!(environment.get("OTHER"), Some("kept"));
    assert_eq!(environment.get("LAST"), Some("x"));
    assert_eq!(environment.get("ODD NAME"), None);
    assert!(!format!("{environment:?}").contains("s=e c"));
}

#[test]
fn production_refuses_shipped_credentials_however_it_is_said() {
    const TEXT: &str = "bad config: production mode refuses the shipped credentials";
    let argument = Install::new().options(Options { production: true, ..Options::default() });
    let variable = Install::new().env(&[("PRODUCTION", "true")]);
    let file = Install::new().config(&json!({"cloudserver": {"production": true}}));
    for install in [argument, variable, file] {
        install.assert_error(TEXT, "accessKey1, accessKey2");
        let own = install.env(&[
            ("SCALITY_ACCESS_KEY_ID", "mine"),
            ("SCALITY_SECRET_ACCESS_KEY", "verySecretKey1"),
            ("PRODUCTION", "1"),
        ]);
        own.assert_error(TEXT, "access keys mine");
        let own =
            own.env(&[("SCALITY_ACCESS_KEY_ID", "mine"), ("SCALITY_SECRET_ACCESS_KEY", "mine"), ("PRODUCTION", "1")]);
        assert!(own.load().production);
    }
    assert!(!Install::new().env(&[("PRODUCTION", "false")]).load().production);
}

#[test]
fn built_in_copies_do_not_stand_in_for_what_was_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("locationConfig.json"), LOCATIONS).unwrap();
    let launch = Launch { roots: vec![folder.path().into()], ..Launch::default() };
    let config = Config::load(&launch).unwrap();
    assert_eq!(config.source, "built-in config.json");
    assert!(config.locations.source().ends_with("locationConfig.json"));
    assert!(!config.locations.source().starts_with("built-in"));
}
