//! The master key file from the command line: look, add, rotate.

use std::{io::Write, process::ExitCode};

use clap::Subcommand;

use super::{failure, table};
use crate::{
    config::{Config, KmsKind, Launch},
    kms::{KeyFile, KeyFileError, KmsError, key_name},
};

/// What to do with the master keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// Show the keys of the master key file, without secrets
    List,
    /// Add a version to a key: objects written from then on are encrypted under it
    ///
    /// Older versions stay: what was written under them stays readable. Send the server HUP afterwards, else it goes
    /// on with the version it knows. No object is rewritten.
    Rotate {
        /// The key; without a name the default key
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
    },
    /// Add a key that clients may name with aws:kms
    CreateKey {
        /// Its name: letters, digits, dots, dashes, underscores
        name: String,
    },
}

/// Does it, and tells on `output` what was done, or on `errors` why not.
pub fn keys(command: &KeysCommand, launch: &Launch, output: &mut dyn Write, errors: &mut dyn Write) -> ExitCode {
    let config = match Config::load(launch) {
        Ok(config) => config,
        Err(error) => return failure(writeln!(errors, "{error}")),
    };
    if config.kms.kind != KmsKind::File {
        let kind = config.kms.kind.as_str();
        return failure(writeln!(errors, "the keys are kept by {kind}, not in a file: rotate them there"));
    }
    match run(command, &config) {
        Ok(told) => match output.write_all(told.as_bytes()).and_then(|()| output.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(KeyFileError::Missing(path)) => {
            failure(writeln!(errors, "{} is not there: the server makes it at its first start", path.display()))
        }
        Err(error) => failure(writeln!(errors, "{error}")),
    }
}

fn run(command: &KeysCommand, config: &Config) -> Result<String, KeyFileError> {
    let path = config.master_key_file();
    match command {
        KeysCommand::List => {
            let keys = KeyFile::read(&path)?.list();
            let row = |key: &crate::kms::KeyInfo| [key.name.clone(), key.version.to_string(), key.versions.to_string()];
            let rows: Vec<_> = keys.iter().map(row).collect();
            Ok(table::render(["key", "version", "versions kept"], &rows))
        }
        KeysCommand::Rotate { key } => {
            let name = key.as_deref().unwrap_or(&config.kms.default_key);
            let (_, version) = KeyFile::change(&path, |keys| {
                if keys.has(name) { keys.add_version(name) } else { Err(KmsError::NoSuchKey(name.to_owned())) }
            })?;
            Ok(format!("key {name} has version {version} now; send the server HUP, and back up {}\n", path.display()))
        }
        KeysCommand::CreateKey { name } => {
            key_name(name)?;
            let (_, ()) = KeyFile::change(&path, |keys| {
                if keys.has(name) {
                    return Err(KmsError::Refused(format!("key {name} is there already")));
                }
                keys.add_version(name).map(drop)
            })?;
            Ok(format!("key {name} is there now; back up {}\n", path.display()))
        }
    }
}
