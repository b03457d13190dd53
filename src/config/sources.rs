//! Finds the three files, in the original's search order, or takes the copies built into the binary.

use std::path::{Path, PathBuf};

use super::{
    error::ConfigError,
    launch::{Launch, read_if_there},
};

/// A file's text and where it came from.
#[derive(Clone)]
pub(super) struct Source {
    /// The path, or `built-in <name>`.
    pub(super) label: String,
    /// The text.
    pub(super) text: String,
}

/// A file that the configuration consists of.
struct Part {
    name: &'static str,
    variable: &'static str,
    built_in: &'static str,
}

const CONFIG: Part =
    Part { name: "config.json", variable: "S3_CONFIG_FILE", built_in: include_str!("../../config.json") };
const LOCATIONS: Part = Part {
    name: "locationConfig.json",
    variable: "S3_LOCATION_FILE",
    built_in: include_str!("../../locationConfig.json"),
};
const ACCOUNTS: Part =
    Part { name: "authdata.json", variable: "S3AUTH_CONFIG", built_in: include_str!("../../conf/authdata.json") };

/// Where the configuration's files are.
pub(super) struct Sources<'a> {
    launch: &'a Launch,
    /// The install root: what relative names count from.
    pub(super) root: PathBuf,
    /// `config.json`.
    pub(super) config: Source,
    /// Where its companions are looked for.
    folders: Vec<PathBuf>,
    /// `config.json` is the built-in copy, so the others may be, too.
    built_in: bool,
}

impl<'a> Sources<'a> {
    /// Finds the main file and with it the install root.
    pub(super) fn find(launch: &'a Launch) -> Result<Self, ConfigError> {
        if let Some(path) = &launch.options.config {
            let mut sources = Self::at_first_root(launch, read_named(path, "--config")?);
            sources.folders.splice(0..0, path.parent().map(Path::to_owned));
            return Ok(sources);
        }
        let named = launch.environment.get(CONFIG.variable).map(Path::new);
        let wanted = named.unwrap_or(Path::new(CONFIG.name));
        if wanted.is_absolute() {
            return Ok(Self::at_first_root(launch, read_named(wanted, CONFIG.variable)?));
        }
        for root in &launch.roots {
            if let Some(config) = read_under(root, wanted)? {
                return Ok(Self { launch, root: root.clone(), config, folders: vec![root.clone()], built_in: false });
            }
        }
        if named.is_some() {
            return Err(missing(wanted, &launch.roots, CONFIG.variable));
        }
        Ok(Self { built_in: true, ..Self::at_first_root(launch, built_in(&CONFIG)) })
    }

    /// The main file was not found under a root, so it does not tell which one is meant.
    fn at_first_root(launch: &'a Launch, config: Source) -> Self {
        let root = launch.roots.first().cloned().unwrap_or_default();
        Self { launch, root, config, folders: launch.roots.clone(), built_in: false }
    }

    /// `locationConfig.json`.
    pub(super) fn locations(&self) -> Result<Source, ConfigError> {
        self.part(&LOCATIONS)
    }

    /// `authdata.json`.
    pub(super) fn accounts(&self) -> Result<Source, ConfigError> {
        self.part(&ACCOUNTS)
    }

    fn part(&self, part: &Part) -> Result<Source, ConfigError> {
        let named = self.launch.environment.get(part.variable).map(Path::new);
        let wanted = named.unwrap_or(Path::new(part.name));
        if wanted.is_absolute() {
            return read_named(wanted, part.variable);
        }
        for folder in &self.folders {
            if let Some(source) = read_under(folder, wanted)? {
                return Ok(source);
            }
        }
        if named.is_none() && self.built_in {
            return Ok(built_in(part));
        }
        Err(missing(wanted, &self.folders, part.variable))
    }
}

fn built_in(part: &Part) -> Source {
    Source { label: format!("built-in {}", part.name), text: part.built_in.to_owned() }
}

/// `conf/` under the root, then the root.
fn read_under(root: &Path, name: &Path) -> Result<Option<Source>, ConfigError> {
    for path in [root.join("conf").join(name), root.join(name)] {
        if let Some(text) = read_if_there(&path).map_err(|error| unreadable(&path, &error))? {
            return Ok(Some(Source { label: path.display().to_string(), text }));
        }
    }
    Ok(None)
}

/// Reads a file that somebody named, relative to the current folder.
pub(super) fn read_named(path: &Path, named_by: &str) -> Result<Source, ConfigError> {
    match read_if_there(path).map_err(|error| unreadable(path, &error))? {
        Some(text) => Ok(Source { label: path.display().to_string(), text }),
        None => Err(ConfigError::File {
            file: path.display().to_string(),
            problem: "no such file".to_owned(),
            remedy: format!("create it, or correct {named_by}"),
        }),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::File {
        file: path.display().to_string(),
        problem: format!("cannot be read ({error})"),
        remedy: "make it a readable UTF-8 text file".to_owned(),
    }
}

fn missing(name: &Path, folders: &[PathBuf], variable: &str) -> ConfigError {
    let looked = folders.iter().flat_map(|folder| [folder.join("conf").join(name), folder.join(name)]);
    let looked: Vec<_> = looked.map(|path| path.display().to_string()).collect();
    ConfigError::File {
        file: name.display().to_string(),
        problem: format!("no such file (looked for {})", looked.join(", ")),
        remedy: format!("create it, or name another in {variable}"),
    }
}
