//! Which parts a process is, and where it looks for the others.

use secrecy::ExposeSecret;

use super::{Install, Options, addresses, json};
use crate::config::{ModuleAddress, Role};

fn shown(module: Option<&ModuleAddress>) -> String {
    module.map(ToString::to_string).unwrap_or_default()
}

#[test]
fn the_originals_file_alone_switches_no_module_on() {
    let clients = json!({
        "dataClient": {"host": "localhost", "port": 9991}, "metadataClient": {"host": "localhost", "port": 9990},
        "dataDaemon": {"bindAddress": "localhost", "port": 9991},
        "metadataDaemon": {"bindAddress": "localhost", "port": 9990, "restEnabled": false, "restPort": 9999},
    });
    let config = Install::new().config(&clients).load();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.modules.role, Role::All);
    assert_eq!((config.modules.data_client, config.modules.metadata_client), (None, None));
    assert_eq!(config.modules.data_listen, addresses(&["127.0.0.1:9991", "[::1]:9991"]));
    assert!(config.modules.token.is_none());
}

#[test]
fn variables_switch_modules_on_each_for_itself() {
    let install = Install::new().config(&json!({"dataClient": {"host": "localhost", "port": 7}}));
    let modules = install.env(&[("DATA_HOST", "store")]).load().modules;
    assert_eq!(shown(modules.data_client.as_ref()), "store:7");
    assert_eq!(modules.metadata_client, None);
    let modules = Install::new().env(&[("METADATA_HOST", "[fd00::1]:8")]).load().modules;
    assert_eq!(shown(modules.metadata_client.as_ref()), "[fd00::1]:8");
    assert_eq!(modules.data_client, None);
}

#[test]
fn a_front_has_modules_even_if_nobody_names_them() {
    let config = json!({
        "cloudserver": {"role": "front", "moduleToken": "t"}, "metadataClient": {"host": "m", "port": "99"},
    });
    let modules = Install::new().config(&config).env(&[("DATA_HOST", "d")]).load().modules;
    assert_eq!(shown(modules.data_client.as_ref()), "d:9991");
    assert_eq!(shown(modules.metadata_client.as_ref()), "m:99");
    assert_eq!(modules.token.unwrap().expose_secret(), "t");
}

#[test]
fn a_module_uses_no_other_and_listens_where_it_is_told() {
    let daemon = json!({"dataDaemon": {"bindAddress": "0.0.0.0", "port": 7}});
    let hosts = [("DATA_HOST", "d"), ("METADATA_HOST", "m"), ("CLOUDSERVER_ROLE", "data")];
    let modules = Install::new().config(&daemon).env(&hosts).load().modules;
    assert_eq!((modules.role, modules.data_client, modules.metadata_client), (Role::Data, None, None));
    assert_eq!(modules.data_listen, addresses(&["0.0.0.0:7"]));
    let modules = Install::new().env(&[("LISTEN_ADDR", "10.0.0.7"), ("CLOUDSERVER_ROLE", "metadata")]).load().modules;
    assert_eq!(modules.metadata_listen, addresses(&["10.0.0.7:9990"]));
}

#[test]
fn the_argument_wins_over_the_variable_which_wins_over_the_file() {
    let file = json!({"cloudserver": {"role": "metadata"}});
    assert_eq!(Install::new().config(&file).load().modules.role, Role::Metadata);
    let install = Install::new().config(&file).env(&[("CLOUDSERVER_ROLE", "front")]);
    assert_eq!(install.load().modules.role, Role::Front);
    let install = install.options(Options { role: Some(Role::Data), ..Options::default() });
    assert_eq!(install.load().modules.role, Role::Data);
}

#[test]
fn a_module_in_earnest_needs_no_accounts_of_its_own() {
    let earnest = Options { production: true, ..Options::default() };
    assert!(Install::new().options(earnest.clone()).error().to_string().contains("accessKey1"));
    Install::new().options(Options { role: Some(Role::Data), ..earnest }).load();
}

#[test]
fn what_names_no_role_and_no_address_stops_the_start() {
    let install = Install::new().env(&[("CLOUDSERVER_ROLE", "king")]);
    install.assert_error(
        "bad environment variable: CLOUDSERVER_ROLE must be all, front, data or metadata, not king",
        "CLOUDSERVER_ROLE",
    );
    let install = Install::new().config(&json!({"cloudserver": {"role": "king"}}));
    install.assert_error("bad config: role must be one of all, front, data, metadata", "config.json");
    let install = Install::new().config(&json!({"dataDaemon": {"bindAddress": "store", "port": 1}}));
    install.assert_error("bad config: bindAddress must be localhost or an IP address", "config.json");
}
