//! Who this server is to a far store.

use std::{fmt, fs, path::Path};

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// An access key, its secret, and the token of a temporary one.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    secret_key: SecretString,
    token: Option<SecretString>,
}

/// Without secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("{file}: {problem}")]
    File {
        /// Which.
        file: String,
        /// What the system said.
        problem: String,
    },
    /// The file has no such section, or the section lacks a key.
    #[error("{file} has no section [{profile}] with aws_access_key_id and aws_secret_access_key")]
    Profile {
        /// Which file.
        file: String,
        /// Which section.
        profile: String,
    },
}

impl Credentials {
    /// A pair of keys.
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: SecretString::from(secret_key), token: None }
    }

    /// With a token, if there is one.
    #[must_use]
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(SecretString::from);
        self
    }

    /// Those of a section of a file like `~/.aws/credentials`.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn of_profile(file: &Path, profile: &str) -> Result<Self, CredentialsError> {
        let name = || file.display().to_string();
        let text = fs::read_to_string(file)
            .map_err(|error| CredentialsError::File { file: name(), problem: error.to_string() })?;
        Self::in_text(&text, profile)
            .ok_or_else(|| CredentialsError::Profile { file: name(), profile: profile.to_owned() })
    }

    fn in_text(text: &str, profile: &str) -> Option<Self> {
        let mut inside = false;
        let (mut access, mut secret, mut token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
                let name = name.trim();
                inside = name == profile || name.strip_prefix("profile ").map(str::trim) == Some(profile);
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let value = Some(value.trim()).filter(|value| !value.is_empty());
            match key.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => access = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
        Some(Self::new(access?, secret?).with_token(token))
    }

    /// The access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(super) fn identity(&self) -> aws_credential_types::Credentials {
        let token = self.token.as_ref().map(|token| token.expose_secret().to_owned());
        aws_credential_types::Credentials::new(
            &self.access_key,
            self.secret_key.expose_secret(),
            token,
            None,
            "cloudserver",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_section_of_the_file() {
        let text = "# mine\n[default]\naws_access_key_id = a\naws_secret_access_key=b\n\n[ far ]\n; theirs\n\
                    AWS_ACCESS_KEY_ID=c\naws_secret_access_key = d=e\naws_session_token = t\n[half]\naws_access_key_id=x\n";
        let found = Credentials::in_text(text, "far").unwrap();
        assert_eq!((found.access_key(), found.secret_key.expose_secret()), ("c", "d=e"));
        assert_eq!(found.token.unwrap().expose_secret(), "t");
        assert_eq!(Credentials::in_text(text, "default").unwrap().access_key(), "a");
        assert!(Credentials::in_text(text, "half").is_none() && Credentials::in_text(text, "none").is_none());
        assert!(!format!("{:?}", Credentials::in_text(text, "far").unwrap()).contains("d=e"));
        let missing = Credentials::of_profile(Path::new("/nowhere/credentials"), "far");
        assert!(matches!(missing, Err(CredentialsError::File { .. })));
    }
}
