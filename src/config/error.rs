//! Why the server does not start: one line that names the file, the key and the remedy.

use thiserror::Error;

/// A start-up error. Its text begins as the original CloudServer's does, so that scripts that look for it still find it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A file is missing, unreadable or no JSON object.
    #[error("bad config: {file}: {problem}; {remedy}")]
    File {
        /// Where it was looked for.
        file: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A setting breaks its rule.
    #[error("bad config: {problem} ({file}, key {key}: {remedy})")]
    Setting {
        /// The file that holds the setting.
        file: String,
        /// The setting's path, such as `log.logLevel`.
        key: String,
        /// The rule.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A location of `locationConfig.json` breaks a rule.
    #[error("bad location constraint: \"{name}\" {problem} ({file}: {remedy})")]
    Location {
        /// The file that holds the location.
        file: String,
        /// The location's name.
        name: String,
        /// The rule, beginning with the key.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The accounts file breaks a rule.
    #[error("bad config: invalid auth config file. {problem} ({file}: {remedy})")]
    Accounts {
        /// The file.
        file: String,
        /// The rule, beginning with the account and the key. Never holds a secret.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// An environment variable breaks its rule.
    #[error("bad environment variable: {problem} ({name}: {remedy})")]
    Environment {
        /// Its name.
        name: String,
        /// The rule.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// `S3BACKEND` has a value it never had.
    #[error(
        "S3BACKEND environment variable should be one of mem/file/scality/cdmi (it is \"{0}\": unset it or set one of these)"
    )]
    Backend(String),
    /// The proxy for outgoing connections is set up wrongly.
    #[error("bad proxy config: {problem} ({file}, key outboundProxy: {remedy})")]
    Proxy {
        /// The file that holds the setting.
        file: String,
        /// The rule.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Production mode refuses the secrets that everybody knows.
    #[error(
        "bad config: production mode refuses the shipped credentials ({file}, access keys {keys}: \
         set SCALITY_ACCESS_KEY_ID and SCALITY_SECRET_ACCESS_KEY, or write an accounts file of your own and name it in S3AUTH_CONFIG)"
    )]
    SharedCredentials {
        /// The accounts file.
        file: String,
        /// The access keys with publicly known secrets.
        keys: String,
    },
    /// A reload would open the publicly known secrets to the network.
    #[error(
        "bad config: the reloaded accounts have shipped credentials, and the server listens beyond this machine \
         ({file}, access keys {keys}: change their secrets, or restart to listen on loopback only)"
    )]
    ExposedByReload {
        /// The accounts file.
        file: String,
        /// The access keys with publicly known secrets.
        keys: String,
    },
}

/// What a setting must be, and what to write instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The rule in the original's words where there are such.
    pub(super) problem: &'static str,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

/// A rule and its remedy.
pub(super) const fn rule(problem: &'static str, remedy: &'static str) -> Rule {
    Rule { problem, remedy }
}
