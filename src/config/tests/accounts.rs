//! `authdata.json`: each rule.

use secrecy::ExposeSecret;

use super::{ACCOUNTS, Install, Value, json};
use crate::types::AccountId;

const FILE: &str = "conf/authdata.json";

/// The shipped file with the second account changed.
fn with_lisa(change: &Value) -> Install {
    let mut file: Value = serde_json::from_str(ACCOUNTS).unwrap();
    super::merge(&mut file["accounts"][1], change);
    let install = Install::new();
    install.write(FILE, &file.to_string());
    install
}

#[test]
fn shipped_accounts_are_the_originals() {
    let accounts = Install::new().load().accounts;
    let (bart, secret) = accounts.by_access_key("accessKey1").unwrap();
    assert_eq!((bart.name.as_str(), secret.expose_secret()), ("Bart", "verySecretKey1"));
    assert_eq!(bart.email, "sampleaccount1@sampling.com");
    assert_eq!(bart.arn, "arn:aws:iam::123456789012:root");
    let id = AccountId::new("79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2bf");
    let lisa = accounts.by_canonical_id(&id).unwrap();
    assert_eq!((lisa.name.as_str(), lisa.short_id.as_str()), ("Lisa", "123456789013"));
    assert_eq!(accounts.by_access_key("accessKey2").unwrap().0, *lisa);
    assert_eq!(accounts.by_email("SampleAccount2@sampling.com"), Some(lisa));
    assert_eq!(accounts.access_keys_of(lisa), ["accessKey2"]);
    assert!(accounts.by_access_key("accessKey3").is_none());
    assert_eq!(accounts.well_known_access_keys(), ["accessKey1", "accessKey2"]);
}

#[test]
fn service_accounts_cannot_be_reached_with_shipped_secrets() {
    let accounts = Install::new().load().accounts;
    let replication = AccountId::new("http://acs.zenko.io/accounts/service/replication");
    assert_eq!(accounts.by_canonical_id(&replication).unwrap().name, "Replication");
    for key in ["cluesoKey1", "replicationKey1", "lifecycleKey1"] {
        assert!(accounts.by_access_key(key).is_none(), "{key}");
    }
    assert_eq!(accounts.disabled_access_keys(), ["cluesoKey1", "replicationKey1", "lifecycleKey1"]);
}

#[test]
fn service_accounts_can_be_reached_with_secrets_of_ones_own() {
    let install = Install::new();
    install.write(FILE, &ACCOUNTS.replace("cluesoSecretKey1", "mine"));
    assert_eq!(install.load().accounts.by_access_key("cluesoKey1").unwrap().0.name, "Clueso");
}

#[test]
fn broken_accounts_stop_the_start() {
    let bart = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
    let cases = [
        (json!({"name": null}), "accounts[1].name is mandatory"),
        (json!({"email": 1}), "accounts[1].email is mandatory and must be a string"),
        (json!({"arn": null}), "accounts[1].arn is mandatory"),
        (json!({"canonicalID": ""}), "accounts[1].canonicalID is mandatory"),
        (json!({"shortid": 123_456_789_013_u64}), "accounts[1].shortid is mandatory and must be a string"),
        (json!({"shortid": "12"}), "accounts[1].shortid must have 12 digits"),
        (json!({"arn": "aws::iam:123456789013:root"}), "accounts[1].arn is not the arn of an account"),
        (json!({"arn": "arn:aws:iam::1234:root"}), "accounts[1].arn is not the arn of an account"),
        (json!({"arn": "arn:aws:iam::123456789013:user/x"}), "accounts[1].arn is not the arn of an account"),
        (json!({"users": []}), "accounts[1].users is not supported"),
        (json!({"keys": null}), "accounts[1].keys must be an array of objects"),
        (json!({"keys": "accessKey2"}), "accounts[1].keys must be an array of objects"),
        (json!({"keys": [{"access": "a"}]}), "accounts[1].keys[0].secret is mandatory"),
        (json!({"keys": [{"secret": "a"}]}), "accounts[1].keys[0].access is mandatory"),
        (json!({"name": "Bart"}), "accounts[1].name \"Bart\" is not unique"),
        (
            json!({"email": "SAMPLEaccount1@sampling.com"}),
            "accounts[1].email \"sampleaccount1@sampling.com\" is not unique",
        ),
        (json!({"arn": "arn:aws:iam::123456789012:root"}), "accounts[1].arn \"arn:aws:iam::123456789012:root\" is not"),
        (json!({ "canonicalID": bart }), "accounts[1].canonicalID"),
        (
            json!({"keys": [{"access": "accessKey1", "secret": "topsecret"}]}),
            "accounts[1].keys[0].access \"accessKey1\"",
        ),
    ];
    for (change, problem) in cases {
        let install = with_lisa(&change);
        install.assert_error(&format!("bad config: invalid auth config file. {problem}"), "authdata.json");
        assert!(!install.error().to_string().contains("topsecret"));
    }
}

#[test]
fn files_without_a_list_of_accounts_stop_the_start() {
    for text in ["{}", r#"{"accounts": {}}"#, r#"{"accounts": [1]}"#] {
        let install = Install::new();
        install.write(FILE, text);
        install.assert_error("bad config: invalid auth config file. accounts must be an array", "authdata.json");
    }
}

#[test]
fn account_from_the_environment_replaces_all_others() {
    let install = Install::new().env(&[("SCALITY_ACCESS_KEY_ID", "mine"), ("SCALITY_SECRET_ACCESS_KEY", "topsecret")]);
    std::fs::remove_file(install.path(FILE)).unwrap();
    let accounts = install.load().accounts;
    let (account, secret) = accounts.by_access_key("mine").unwrap();
    assert_eq!(secret.expose_secret(), "topsecret");
    assert_eq!((account.name.as_str(), account.email.as_str()), ("CustomAccount", "customaccount1@setbyenv.com"));
    assert_eq!((account.short_id.as_str(), account.arn.as_str()), ("123456789012", "arn:aws:iam::123456789012:root"));
    let id = "12349df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47qwer";
    assert_eq!(account.canonical_id.as_str(), id);
    assert_eq!(accounts.iter().count(), 1);
    assert!(!accounts.uses_well_known_credentials());
    assert!(accounts.by_access_key("accessKey1").is_none());
}

#[test]
fn half_a_credential_in_the_environment_is_ignored_with_a_warning() {
    let config = Install::new().env(&[("SCALITY_ACCESS_KEY_ID", "mine")]).load();
    assert!(config.accounts.by_access_key("accessKey1").is_some());
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn debug_output_of_accounts_shows_keys_and_no_secret() {
    let accounts = Install::new().load().accounts;
    let text = format!("{accounts:?} {:?}", accounts.by_access_key("accessKey1"));
    assert!(text.contains("accessKey1"));
    assert!(!text.contains("SecretKey1"), "{text}");
}

#[test]
fn unknown_keys_of_an_account_warn_once() {
    let warnings = with_lisa(&json!({"nick": "L"})).load().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("unknown setting accounts[1].nick"), "{warnings:?}");
}
