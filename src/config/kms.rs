//! Key managers and encryption: `cloudserver.kms`, `S3KMS`, and what the original has for it.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    env::Environment,
    error::{ConfigError, Rule, rule},
    fields::Fields,
};

/// Who keeps the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KmsKind {
    /// The memory of this process: what is encrypted is lost with it.
    Memory,
    /// The master key file.
    #[default]
    File,
    /// The transit engine of Vault, or of what speaks like it.
    Vault,
}

impl KmsKind {
    /// The word in files and variables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "mem",
            Self::File => "file",
            Self::Vault => "vault",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Memory, Self::File, Self::Vault].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where the token for the key manager comes from.
#[derive(Clone, Debug)]
pub enum Token {
    /// `token`, or `VAULT_TOKEN`.
    Known(SecretString),
    /// `tokenFile`, read at each call.
    File(PathBuf),
}

/// `cloudserver.kms.vault`.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// `address`: `http://host:port` or `https://host:port`.
    pub address: String,
    /// `mount`: where the transit engine is. Default `transit`.
    pub mount: String,
    /// `namespace`. Default none.
    pub namespace: Option<String>,
    /// `token`, `tokenFile` or `VAULT_TOKEN`.
    pub token: Token,
    /// `caFile`: PEM of the authorities its certificate may come from. Default the system's.
    pub ca_file: Option<PathBuf>,
    /// `timeoutMillis`: limit of one attempt. Default 2 seconds.
    pub timeout: Duration,
    /// `attempts`, in all. Default 3.
    pub attempts: u32,
}

/// `cloudserver.kms`.
#[derive(Clone, Debug)]
pub struct KmsSettings {
    /// `S3KMS`, else `backend`, else a file (memory with `S3BACKEND=mem`).
    pub kind: KmsKind,
    /// `masterKeyFile`. Default `master-keys.json` in the metadata folder.
    pub master_key_file: Option<PathBuf>,
    /// `defaultKey`: the key used where nobody names one. Default `cloudserver`.
    pub default_key: String,
    /// `keys`: further keys that the master key file shall have.
    pub keys: Vec<String>,
    /// `vault`.
    pub vault: Option<VaultSettings>,
}

const BACKEND: Rule = rule("kms.backend must be one of mem, file, vault", "remove it for file");
const PATH: Rule = rule("kms.masterKeyFile must be a string", "remove it for master-keys.json in the metadata folder");
const NAME: Rule = rule(
    "names of keys must have 1 to 256 letters, digits, dots, dashes or underscores, and no dot in front",
    "write \"cloudserver\"",
);
const ADDRESS: Rule =
    rule("kms.vault.address must begin with http:// or https://", "write \"address\": \"https://host:8200\"");
const MOUNT: Rule = rule("kms.vault.mount must be a path", "remove it for \"transit\"");
const TEXT: Rule = rule("the setting must be a string", "write it in quotes");
const TOKEN: Rule = rule("kms.vault needs a token", "write tokenFile or token, or set VAULT_TOKEN");
const MILLIS: Rule = rule("kms.vault.timeoutMillis must be a positive integer", "remove it for 2000");
const ATTEMPTS: Rule = rule("kms.vault.attempts must be an integer from 1 to 10", "remove it for 3");
const NO_VAULT: Rule = rule("kms.backend vault needs kms.vault", "write \"vault\": {\"address\": …, \"tokenFile\": …}");

/// Whether this may be the name of a key, as `kms::key_name` takes it.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=256).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

impl KmsSettings {
    /// Reads `cloudserver.kms` and the variables that say something about it.
    pub(super) fn read(
        mut fields: Fields,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let asked = match fields.take::<String>("backend", BACKEND)? {
            None => None,
            Some(text) => Some(KmsKind::parse(&text).ok_or_else(|| fields.refuse("backend", BACKEND))?),
        };
        let kind = kind(environment, asked)?;
        let default_key = fields.take("defaultKey", NAME)?.unwrap_or_else(|| "cloudserver".to_owned());
        let keys: Vec<String> = fields.take("keys", NAME)?.unwrap_or_default();
        if !is_name(&default_key) {
            return Err(fields.refuse("defaultKey", NAME));
        }
        if !keys.iter().all(|name| is_name(name)) {
            return Err(fields.refuse("keys", NAME));
        }
        let vault = if fields.peek("vault").is_some() {
            Some(vault(fields.section("vault")?, environment, warnings)?)
        } else {
            None
        };
        if kind == KmsKind::Vault && vault.is_none() {
            return Err(fields.refuse("vault", NO_VAULT));
        }
        let settings = Self { kind, master_key_file: fields.take("masterKeyFile", PATH)?, default_key, keys, vault };
        fields.finish(warnings);
        Ok(settings)
    }
}

/// `S3KMS`, else the file's word, else what `S3BACKEND` says of everything. The original's other managers are not
/// served: the server does not start, for it would keep under other keys, or in the clear, what is asked to be there.
fn kind(environment: &Environment, asked: Option<KmsKind>) -> Result<KmsKind, ConfigError> {
    let Some(text) = environment.get("S3KMS") else {
        let everything = if environment.get("S3BACKEND") == Some("mem") { KmsKind::Memory } else { KmsKind::File };
        return Ok(asked.unwrap_or(everything));
    };
    KmsKind::parse(text).ok_or_else(|| ConfigError::Environment {
        name: "S3KMS".to_owned(),
        problem: format!("S3KMS={text} names a key manager that this release does not serve"),
        remedy: "set it to file, vault or mem".to_owned(),
    })
}

fn vault(
    mut fields: Fields,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<VaultSettings, ConfigError> {
    let address: String = fields.take("address", ADDRESS)?.unwrap_or_default();
    if !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
        return Err(fields.refuse("address", ADDRESS));
    }
    let mount: String = fields.take("mount", MOUNT)?.unwrap_or_else(|| "transit".to_owned());
    let is_path = mount.split('/').all(is_name);
    if !is_path {
        return Err(fields.refuse("mount", MOUNT));
    }
    let written: Option<String> = fields.take("token", TEXT)?;
    let file: Option<PathBuf> = fields.take("tokenFile", TEXT)?;
    let token = match (written.as_deref().or(environment.get("VAULT_TOKEN")), file) {
        (_, Some(file)) => Token::File(file),
        (Some(token), None) => Token::Known(SecretString::from(token)),
        (None, None) => return Err(fields.refuse("tokenFile", TOKEN)),
    };
    let attempts = fields.take("attempts", ATTEMPTS)?.map_or(3, NonZeroU32::get);
    if attempts > 10 {
        return Err(fields.refuse("attempts", ATTEMPTS));
    }
    let millis = fields.take("timeoutMillis", MILLIS)?.map_or(2000, NonZeroU32::get);
    let settings = VaultSettings {
        address,
        mount,
        namespace: fields.take("namespace", TEXT)?,
        token,
        ca_file: fields.take("caFile", TEXT)?,
        timeout: Duration::from_millis(u64::from(millis)),
        attempts,
    };
    fields.finish(warnings);
    Ok(settings)
}
