//! `authdata.json`: the accounts, their access keys and secrets.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    error::{ConfigError, Rule, rule},
    fields::Fields,
};
use crate::types::{AccountId, account::SERVICE_PREFIX};

/// Secrets of the accounts file that the original and this project ship: public knowledge.
const SHIPPED_SECRETS: [&str; 5] =
    ["verySecretKey1", "verySecretKey2", "cluesoSecretKey1", "replicationSecretKey1", "lifecycleSecretKey1"];

/// An account: the owner of buckets and objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, which is its display name, too.
    pub name: String,
    /// Its mail address, by which grants can name it.
    pub email: String,
    /// `arn:aws:iam::<12 digits>:root`.
    pub arn: String,
    /// Its canonical id.
    pub canonical_id: AccountId,
    /// Its 12 digits.
    pub short_id: String,
}

/// An access key's account and secret.
#[derive(Clone, Debug)]
struct Key {
    account: Arc<Account>,
    secret: SecretString,
}

/// All accounts of one reading of the file; immutable. `Debug` shows no secret.
#[derive(Clone)]
pub struct Accounts {
    source: String,
    all: Vec<Arc<Account>>,
    keys: HashMap<String, Key>,
    disabled: Vec<String>,
}

impl Accounts {
    /// Reads and checks the file's text.
    pub(super) fn parse(file: &str, text: &str, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        const LIST: Rule = rule("accounts must be an array of objects", "write {\"accounts\": [{…}]}");
        let mut fields = Fields::parse(file, text)?;
        let list: Option<Vec<serde_json::Map<String, serde_json::Value>>> =
            fields.take("accounts", LIST).map_err(|_| invalid(file, LIST.problem, LIST.remedy))?;
        let list = list.ok_or_else(|| invalid(file, LIST.problem, LIST.remedy))?;
        fields.finish(warnings);
        let mut reader = Reader::new(file);
        for (index, map) in list.into_iter().enumerate() {
            reader.account(Fields::of(file, format!("accounts[{index}]"), map), warnings)?;
        }
        Ok(reader.found)
    }

    /// The one account that `SCALITY_ACCESS_KEY_ID` and `SCALITY_SECRET_ACCESS_KEY` make, in place of the file.
    pub(super) fn custom(access: &str, secret: &str) -> Self {
        let account = Arc::new(Account {
            name: "CustomAccount".to_owned(),
            email: "customaccount1@setbyenv.com".to_owned(),
            arn: "arn:aws:iam::123456789012:root".to_owned(),
            canonical_id: AccountId::new("12349df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47qwer"),
            short_id: "123456789012".to_owned(),
        });
        let key = Key { account: Arc::clone(&account), secret: SecretString::from(secret) };
        Self {
            source: "environment".to_owned(),
            all: vec![account],
            keys: HashMap::from([(access.to_owned(), key)]),
            disabled: Vec::new(),
        }
    }

    /// The file they came from, or `environment`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All accounts in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.all.iter()
    }

    /// The account that an access key belongs to, and the key's secret.
    ///
    /// Keys of service accounts with shipped secrets are not found: nobody signs with them.
    pub fn by_access_key(&self, access: &str) -> Option<(Arc<Account>, &SecretString)> {
        self.keys.get(access).map(|key| (Arc::clone(&key.account), &key.secret))
    }

    /// The account with a canonical id.
    pub fn by_canonical_id(&self, id: &AccountId) -> Option<&Arc<Account>> {
        self.iter().find(|account| account.canonical_id == *id)
    }

    /// The account with a mail address, in any case of letters.
    pub fn by_email(&self, email: &str) -> Option<&Arc<Account>> {
        self.iter().find(|account| account.email.eq_ignore_ascii_case(email))
    }

    /// The access keys of an account that can sign, in order.
    pub fn access_keys_of(&self, account: &Account) -> Vec<&str> {
        let of = |key: &Key| key.account.canonical_id == account.canonical_id;
        let mut keys: Vec<_> = self.keys.iter().filter(|(_, key)| of(key)).map(|(access, _)| access.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    /// Whether somebody can sign with a secret that everybody knows.
    pub fn uses_well_known_credentials(&self) -> bool {
        self.keys.values().any(|key| is_shipped(&key.secret))
    }

    /// The access keys with such secrets, in order.
    pub fn well_known_access_keys(&self) -> Vec<&str> {
        let known = self.keys.iter().filter(|(_, key)| is_shipped(&key.secret));
        let mut keys: Vec<_> = known.map(|(access, _)| access.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    /// The access keys of service accounts that are off because their secrets are the shipped ones.
    pub fn disabled_access_keys(&self) -> &[String] {
        &self.disabled
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts")
            .field("source", &self.source)
            .field("accounts", &self.all)
            .field("keys", &self.keys.keys().collect::<BTreeSet<_>>())
            .field("disabled", &self.disabled)
            .finish()
    }
}

fn is_shipped(secret: &SecretString) -> bool {
    SHIPPED_SECRETS.contains(&secret.expose_secret())
}

fn invalid(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
    ConfigError::Accounts { file: file.to_owned(), problem: problem.into(), remedy: remedy.into() }
}

/// Accounts read so far, and what must not come twice.
struct Reader<'a> {
    file: &'a str,
    found: Accounts,
    seen: BTreeSet<(&'static str, String)>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str) -> Self {
        let found = Accounts { source: file.to_owned(), all: Vec::new(), keys: HashMap::new(), disabled: Vec::new() };
        Self { file, found, seen: BTreeSet::new() }
    }

    fn account(&mut self, mut fields: Fields, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        if fields.raw("users").is_some() {
            return Err(self.broken(&fields, "users", "is not supported", "remove it; each user needs an account"));
        }
        let account = Arc::new(Account {
            name: self.text(&mut fields, "name")?,
            email: self.text(&mut fields, "email")?,
            arn: self.text(&mut fields, "arn")?,
            canonical_id: AccountId::new(self.text(&mut fields, "canonicalID")?),
            short_id: self.text(&mut fields, "shortid")?,
        });
        if !is_account_arn(&account.arn) {
            let remedy = "write arn:aws:iam::<12 digits>:root";
            return Err(self.broken(&fields, "arn", "is not the arn of an account", remedy));
        }
        if !is_short_id(&account.short_id) {
            return Err(self.broken(&fields, "shortid", "must have 12 digits", "write the digits of the arn"));
        }
        self.unique(&fields, "name", &account.name)?;
        self.unique(&fields, "email", &account.email.to_ascii_lowercase())?;
        self.unique(&fields, "arn", &account.arn)?;
        self.unique(&fields, "canonicalID", account.canonical_id.as_str())?;
        self.keys(&mut fields, &account, warnings)?;
        self.found.all.push(account);
        fields.finish(warnings);
        Ok(())
    }

    fn keys(
        &mut self,
        fields: &mut Fields,
        account: &Arc<Account>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        const RULE: Rule = rule("must be an array of objects", "write \"keys\": [{\"access\": …, \"secret\": …}]");
        let list: Option<Vec<serde_json::Map<String, serde_json::Value>>> =
            fields.take("keys", RULE).map_err(|_| self.broken(fields, "keys", RULE.problem, RULE.remedy))?;
        let list = list.ok_or_else(|| self.broken(fields, "keys", RULE.problem, RULE.remedy))?;
        for (index, map) in list.into_iter().enumerate() {
            let mut fields = Fields::of(self.file, fields.path_of(&format!("keys[{index}]")), map);
            let access = self.text(&mut fields, "access")?;
            let secret = SecretString::from(self.text(&mut fields, "secret")?);
            self.unique(&fields, "access", &access)?;
            fields.finish(warnings);
            // Service accounts pass bucket ownership by; in-process services need no key (reliability.md §5).
            if account.canonical_id.as_str().starts_with(SERVICE_PREFIX) && is_shipped(&secret) {
                self.found.disabled.push(access);
            } else {
                self.found.keys.insert(access, Key { account: Arc::clone(account), secret });
            }
        }
        Ok(())
    }

    fn text(&self, fields: &mut Fields, key: &str) -> Result<String, ConfigError> {
        const RULE: Rule = rule("is mandatory and must be a string", "write it; conf/authdata.json shows the form");
        let text: Option<String> =
            fields.take(key, RULE).map_err(|_| self.broken(fields, key, RULE.problem, RULE.remedy))?;
        text.filter(|text| !text.is_empty()).ok_or_else(|| self.broken(fields, key, RULE.problem, RULE.remedy))
    }

    fn unique(&mut self, fields: &Fields, key: &'static str, value: &str) -> Result<(), ConfigError> {
        if self.seen.insert((key, value.to_owned())) {
            return Ok(());
        }
        Err(self.broken(fields, key, &format!("\"{value}\" is not unique"), "give each account and key its own"))
    }

    fn broken(&self, fields: &Fields, key: &str, problem: &str, remedy: &str) -> ConfigError {
        invalid(self.file, format!("{} {problem}", fields.path_of(key)), remedy)
    }
}

fn is_account_arn(arn: &str) -> bool {
    arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).is_some_and(is_short_id)
}

fn is_short_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
