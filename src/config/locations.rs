//! `locationConfig.json`: the places where data can be, by name.

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr, sync::Arc};

use serde_json::{Map, Value};

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
    location_details, store_details,
};

/// The location that every configuration has, and that a bucket without a choice goes to.
pub const DEFAULT_LOCATION: &str = "us-east-1";

/// What a location's `type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocationKind {
    /// `mem`: the memory of this process.
    Mem,
    /// `file`: the data folder.
    File,
    /// `scality`: a ring behind sproxyd or hdclient.
    Scality,
    /// `mongodb`.
    Mongodb,
    /// `dmf`: a tape archive.
    Dmf,
    /// `azure_archive`: Azure's archive tier.
    AzureArchive,
    /// `aws_s3`: a bucket of another S3 store.
    AwsS3,
    /// `azure`: an Azure blob container.
    Azure,
    /// `gcp`: a Google Cloud Storage bucket.
    Gcp,
    /// `pfs`: a file system served by a daemon.
    Pfs,
    /// `posix`: plain files under a directory. Ours, absent from the original.
    Posix,
    /// `webdav`: a collection of a WebDAV server. Ours.
    WebDav,
    /// `webhdfs`: a directory of an HDFS cluster, over its HTTP interface. Ours.
    WebHdfs,
    /// `sftp`: a folder of an SSH server. Ours.
    Sftp,
}

impl LocationKind {
    const ALL: [Self; 14] = [
        Self::Mem,
        Self::File,
        Self::Scality,
        Self::Mongodb,
        Self::Dmf,
        Self::AzureArchive,
        Self::AwsS3,
        Self::Azure,
        Self::Gcp,
        Self::Pfs,
        Self::Posix,
        Self::WebDav,
        Self::WebHdfs,
        Self::Sftp,
    ];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mem => "mem",
            Self::File => "file",
            Self::Scality => "scality",
            Self::Mongodb => "mongodb",
            Self::Dmf => "dmf",
            Self::AzureArchive => "azure_archive",
            Self::AwsS3 => "aws_s3",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Pfs => "pfs",
            Self::Posix => "posix",
            Self::WebDav => "webdav",
            Self::WebHdfs => "webhdfs",
            Self::Sftp => "sftp",
        }
    }

    /// Whether this release can keep data there.
    pub const fn is_implemented(self) -> bool {
        match self {
            Self::Mem
            | Self::File
            | Self::AwsS3
            | Self::Azure
            | Self::Gcp
            | Self::Posix
            | Self::WebDav
            | Self::WebHdfs => true,
            Self::Sftp => cfg!(feature = "sftp"),
            Self::Scality | Self::Mongodb | Self::Dmf | Self::AzureArchive | Self::Pfs => false,
        }
    }
}

impl FromStr for LocationKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for LocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// A power cut: data and metadata are synced before the answer.
    #[default]
    Strict,
    /// The end of the process, not of the machine. For scratch data.
    Relaxed,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        })
    }
}

/// The `details` of a location, as checked for its kind. `Debug` shows the names only: some values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Details(Map<String, Value>);

impl Details {
    pub(super) const fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// A value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A switch.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// A list of texts; empty where there is none.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let list = self.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A place where data can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// Its name: what `LocationConstraint` says.
    pub name: String,
    /// What it is.
    pub kind: LocationKind,
    /// Its identity, unique over all locations.
    pub object_id: String,
    /// Re-creating one's own bucket answers 200 when the old and the new location have it, else 409.
    pub legacy_aws_behavior: bool,
    /// A staging location, emptied after replication.
    pub is_transient: bool,
    /// An archive: no bucket can be created there.
    pub is_cold: bool,
    /// The most it may hold, in gigabytes.
    pub size_limit_gb: Option<f64>,
    /// What an acknowledged write survives. Key `durability`: ours, absent from the original.
    pub durability: Durability,
    /// What else its kind needs.
    pub details: Details,
}

impl Location {
    /// [`Location::size_limit_gb`] in bytes. A gigabyte is 2^30 of them, as in the original.
    pub fn size_limit_bytes(&self) -> Option<u64> {
        const GB: f64 = 1_073_741_824.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits are above 0; the cast saturates"
        )]
        self.size_limit_gb.map(|limit| (limit * GB) as u64)
    }
}

/// All locations of one reading of the file; immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Locations {
    source: String,
    by_name: BTreeMap<String, Arc<Location>>,
}

/// What the check of locations must know of the rest of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// For the details that variables override.
    pub(super) environment: &'a Environment,
    /// `utapi.metrics` has `location`, so sizes of locations are known.
    pub(super) metered: bool,
    /// The durability of locations that say nothing.
    pub(super) durability: Durability,
}

impl Locations {
    /// Reads and checks the file's text; things worth telling go to `warnings`.
    pub(super) fn parse(
        file: &str,
        text: &str,
        setting: Setting<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut by_name = BTreeMap::new();
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in Fields::parse(file, text)?.into_rest() {
            let entry = Entry { file, name: &name };
            let location = entry.read(value, setting, warnings)?;
            if let Some(other) = owners.insert(location.object_id.clone(), name.clone()) {
                return Err(entry.refuse(
                    format!("objectId \"{}\" is not unique: location \"{other}\" has it too", location.object_id),
                    "give each location an objectId of its own",
                ));
            }
            by_name.insert(name, Arc::new(location));
        }
        if !by_name.contains_key(DEFAULT_LOCATION) {
            let entry = Entry { file, name: DEFAULT_LOCATION };
            return Err(entry.refuse(
                "must be configured".to_owned(),
                "add a location of that name; buckets go there when nothing else is said",
            ));
        }
        keep_apart(file, &by_name)?;
        store_details::keep_apart(file, &by_name)?;
        Ok(Self { source: file.to_owned(), by_name })
    }

    /// The file they came from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The location of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Location>> {
        self.by_name.get(name)
    }

    /// Whether there is a location of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All locations in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Location>> {
        self.by_name.values()
    }

    /// Names that are here and not in `later`.
    pub fn missing_from(&self, later: &Self) -> Vec<String> {
        self.by_name.keys().filter(|name| !later.contains(name)).cloned().collect()
    }
}

/// Two locations in one folder would take each other's files for their own.
fn keep_apart(file: &str, by_name: &BTreeMap<String, Arc<Location>>) -> Result<(), ConfigError> {
    let path = |place: &'_ Location| place.details.text("path").map(Path::new).map(Path::to_owned);
    let posix: Vec<_> = by_name.values().filter(|place| place.kind == LocationKind::Posix).collect();
    for (index, place) in posix.iter().enumerate() {
        let others = posix.iter().take(index);
        let clash = others
            .filter_map(|other| Some((other, path(other)?, path(place)?)))
            .find(|(_, one, two)| one.starts_with(two) || two.starts_with(one));
        if let Some((other, ..)) = clash {
            let entry = Entry { file, name: &place.name };
            return Err(entry.refuse(
                format!("path is within that of location \"{}\", or around it", other.name),
                "give each location a folder of its own",
            ));
        }
    }
    Ok(())
}

/// One entry of the file, for its errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) file: &'a str,
    pub(super) name: &'a str,
}

impl Entry<'_> {
    pub(super) fn refuse(self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        ConfigError::Location {
            file: self.file.to_owned(),
            name: self.name.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    fn read(self, value: Value, setting: Setting<'_>, warnings: &mut Vec<String>) -> Result<Location, ConfigError> {
        let Value::Object(map) = value else {
            return Err(self.refuse("must be an object", "write {\"type\": \"file\", …}"));
        };
        let mut fields = Fields::of(self.file, self.name.to_owned(), map);
        let kind = self.kind(&mut fields)?;
        let location = Location {
            name: self.name.to_owned(),
            kind,
            object_id: self.object_id(&mut fields)?,
            legacy_aws_behavior: self.required_flag(&mut fields, "legacyAwsBehavior")?,
            is_transient: self.flag(&mut fields, "isTransient")?,
            is_cold: self.flag(&mut fields, "isCold")?,
            size_limit_gb: self.size_limit(&mut fields, setting.metered)?,
            durability: self.durability(&mut fields)?.unwrap_or(setting.durability),
            details: self.details(&mut fields, kind, setting.environment)?,
        };
        // The shipped archives are placeholders without details: no bucket can be there, so there is nothing to tell.
        let placeholder = location.is_cold && location.details == Details::default();
        if !kind.is_implemented() && !placeholder {
            warnings.push(format!(
                "{}: location \"{}\" has type {kind}, which this release cannot serve yet: buckets there are refused",
                self.file, self.name
            ));
        }
        fields.finish(warnings);
        Ok(location)
    }

    fn take<T: serde::de::DeserializeOwned>(
        self,
        fields: &mut Fields,
        key: &str,
        rule: Rule,
    ) -> Result<Option<T>, ConfigError> {
        fields.take(key, rule).map_err(|_| self.refuse(format!("{key} {}", rule.problem), rule.remedy))
    }

    fn kind(self, fields: &mut Fields) -> Result<LocationKind, ConfigError> {
        let words = LocationKind::ALL.map(LocationKind::as_str).join(" ");
        let text: Option<String> = self.take(fields, "type", rule("must be a string", "write \"type\": \"file\""))?;
        let Some(text) = text else {
            return Err(self.refuse("type is mandatory", format!("write one of {words}")));
        };
        let kind: Result<LocationKind, ()> = text.parse();
        let kind =
            kind.map_err(|()| self.refuse(format!("type \"{text}\" is unknown"), format!("write one of {words}")))?;
        if kind == LocationKind::Sftp && !kind.is_implemented() {
            return Err(self.refuse("type sftp is not in this build", "build with the feature sftp"));
        }
        Ok(kind)
    }

    fn object_id(self, fields: &mut Fields) -> Result<String, ConfigError> {
        const RULE: Rule = rule(
            "is mandatory and must be a unique string across locations",
            "write \"objectId\": \"<the location's name>\"",
        );
        let id: Option<String> = self.take(fields, "objectId", RULE)?;
        id.filter(|id| !id.is_empty()).ok_or_else(|| self.refuse(format!("objectId {}", RULE.problem), RULE.remedy))
    }

    fn required_flag(self, fields: &mut Fields, key: &str) -> Result<bool, ConfigError> {
        const RULE: Rule = rule("is mandatory and must be a boolean", "write true or false");
        let flag: Option<bool> = self.take(fields, key, RULE)?;
        flag.ok_or_else(|| self.refuse(format!("{key} {}", RULE.problem), RULE.remedy))
    }

    fn flag(self, fields: &mut Fields, key: &str) -> Result<bool, ConfigError> {
        let flag: Option<bool> = self.take(fields, key, rule("must be a boolean", "write true or false"))?;
        Ok(flag.unwrap_or(false))
    }

    fn size_limit(self, fields: &mut Fields, metered: bool) -> Result<Option<f64>, ConfigError> {
        const RULE: Rule = rule("must be a number (of gigabytes) or null", "write a number above 0, or remove the key");
        let limit: Option<f64> = self.take(fields, "sizeLimitGB", RULE)?;
        let Some(limit) = limit else { return Ok(None) };
        if limit <= 0.0 {
            return Err(self.refuse(format!("sizeLimitGB {}", RULE.problem), RULE.remedy));
        }
        if !metered {
            return Err(self.refuse(
                "sizeLimitGB needs utapi.metrics to include \"location\"",
                "add it in config.json (or set STORAGE_LIMIT_ENABLED), or remove the limit",
            ));
        }
        Ok(Some(limit))
    }

    fn durability(self, fields: &mut Fields) -> Result<Option<Durability>, ConfigError> {
        const RULE: Rule = rule("must be \"strict\" or \"relaxed\"", "remove the key for strict");
        let word: Option<String> = self.take(fields, "durability", RULE)?;
        match word.as_deref() {
            None => Ok(None),
            Some("strict") => Ok(Some(Durability::Strict)),
            Some("relaxed") => Ok(Some(Durability::Relaxed)),
            Some(_) => Err(self.refuse(format!("durability {}", RULE.problem), RULE.remedy)),
        }
    }

    fn details(
        self,
        fields: &mut Fields,
        kind: LocationKind,
        environment: &Environment,
    ) -> Result<Details, ConfigError> {
        const RULE: Rule = rule("is mandatory and must be an object", "write \"details\": {} for a file location");
        let map: Option<Map<String, Value>> = self.take(fields, "details", RULE)?;
        let map = map.ok_or_else(|| self.refuse(format!("details {}", RULE.problem), RULE.remedy))?;
        location_details::check(self, kind, map, environment).map(Details::new)
    }
}
