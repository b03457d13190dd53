//! Reads a JSON object key by key; what nobody read is unknown.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::{ConfigError, Rule};

/// An object of a configuration file, consumed key by key. An absent key and `null` are the same.
#[derive(Clone)]
pub(super) struct Fields {
    file: String,
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads the text of a whole file.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let refuse = |problem: String| ConfigError::File {
            file: file.to_owned(),
            problem,
            remedy: "correct the file; it must hold one JSON object".to_owned(),
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self { file: file.to_owned(), path: String::new(), map }),
            Ok(_) => Err(refuse("is not a JSON object".to_owned())),
            // The position only: an accounts file must not leak through an error text.
            Err(error) => Err(refuse(format!("is not valid JSON at line {}, column {}", error.line(), error.column()))),
        }
    }

    /// An object found within another.
    pub(super) fn of(file: &str, path: String, map: Map<String, Value>) -> Self {
        Self { file: file.to_owned(), path, map }
    }

    /// The file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The full path of a key.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The error that a key breaks `rule`.
    pub(super) fn refuse(&self, key: &str, rule: Rule) -> ConfigError {
        ConfigError::Setting {
            file: self.file.clone(),
            key: self.path_of(key),
            problem: rule.problem.to_owned(),
            remedy: rule.remedy.to_owned(),
        }
    }

    /// Looks at a key's value.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Takes a key's value as it stands.
    pub(super) fn raw(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a key whose value has the shape of `T`, or else breaks `rule`.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str, rule: Rule) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|_| self.refuse(key, rule))
    }

    /// Takes an object, or an empty one where the key is absent.
    pub(super) fn section(&mut self, key: &str) -> Result<Self, ConfigError> {
        let map = match self.raw(key) {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                return Err(ConfigError::Setting {
                    file: self.file.clone(),
                    key: self.path_of(key),
                    problem: format!("{} must be an object", self.path_of(key)),
                    remedy: "write an object, or remove the key for the defaults".to_owned(),
                });
            }
        };
        Ok(Self { file: self.file.clone(), path: self.path_of(key), map })
    }

    /// The keys that nobody took, with their values.
    pub(super) fn into_rest(self) -> Map<String, Value> {
        self.map
    }

    /// Warns once for each key that nobody took.
    pub(super) fn finish(self, warnings: &mut Vec<String>) {
        for key in self.map.keys() {
            warnings.push(format!(
                "{}: unknown setting {} is ignored: check its spelling",
                self.file,
                self.path_of(key)
            ));
        }
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields")
            .field("file", &self.file)
            .field("path", &self.path)
            .field("keys", &self.map.keys().collect::<Vec<_>>())
            .finish()
    }
}
