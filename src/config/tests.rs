//! The rules and start-up errors of the whole configuration, on folders of their own.

use super::{Config, ConfigError, Environment, Launch};

#[test]
fn shipped_files_load_without_a_warning() {
    let config = Config::load(&Launch::default()).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.locations.iter().count(), 18);
    assert_eq!(config.accounts.iter().count(), 5);
}
