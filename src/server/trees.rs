//! Opens locations in stores that know files only: `webdav`, `webhdfs`, `sftp`.

use std::{fs, path::PathBuf, sync::Arc};

use secrecy::SecretString;

use super::{StartError, outbound::client_options};
use crate::{
    config::{Config, Location, LocationKind},
    data::{DataBackend, WebDavLogin, WebDavOptions, WebHdfsLogin, WebHdfsOptions, webdav, webhdfs},
    outbound::HttpClient,
};

/// The backend of a location; `None` for a kind that this build cannot serve. Nothing is asked of the far side yet.
pub(super) fn open(config: &Config, location: &Location) -> Result<Option<Arc<dyn DataBackend>>, StartError> {
    let details = Details { config, location };
    let http = || Ok::<_, StartError>(HttpClient::new(client_options(config, location.kind)?));
    match location.kind {
        LocationKind::WebDav => {
            let login = match (details.secret("password")?, details.secret("token")?) {
                (Some(password), _) => WebDavLogin::Password { user: details.text("username"), password },
                (None, Some(token)) => WebDavLogin::Token(token),
                (None, None) => WebDavLogin::Anonymous,
            };
            let options = WebDavOptions { url: details.text("url"), login };
            Ok(Some(Arc::new(webdav::backend(http()?, &options))))
        }
        LocationKind::WebHdfs => {
            let user = Some(details.text("username")).filter(|user| !user.is_empty());
            let login = match (details.secret("token")?, user) {
                (Some(token), _) => WebHdfsLogin::Token(token),
                (None, Some(user)) => WebHdfsLogin::User(user),
                (None, None) => WebHdfsLogin::Anonymous,
            };
            let options = WebHdfsOptions { endpoint: details.text("endpoint"), path: details.text("path"), login };
            Ok(Some(Arc::new(webhdfs::backend(http()?, &options))))
        }
        #[cfg(feature = "sftp")]
        LocationKind::Sftp => Ok(Some(Arc::new(crate::data::sftp::backend(sftp(details)?)))),
        _ => Ok(None),
    }
}

#[cfg(feature = "sftp")]
fn sftp(details: Details<'_>) -> Result<crate::data::SftpOptions, StartError> {
    use crate::data::{HostKey, SftpLogin, SftpOptions};

    let login = if let Some(password) = details.secret("password")? {
        SftpLogin::Password(password)
    } else {
        let passphrase = details.secret("passphrase")?;
        let key = SftpLogin::key_of(&details.path("privateKeyFile"), passphrase.as_ref());
        key.map_err(|problem| details.refuse(problem))?
    };
    let key = details.text("hostKey");
    let host_key =
        if key.is_empty() { Ok(HostKey::File(details.path("knownHostsFile"))) } else { HostKey::parse(&key) };
    let port = details.location.details.get("port").and_then(serde_json::Value::as_u64);
    Ok(SftpOptions {
        host: details.text("host"),
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(22),
        path: details.text("path"),
        user: details.text("username"),
        login,
        host_key: host_key.map_err(|problem| details.refuse(problem))?,
    })
}

/// The details of a location, and where its files are.
#[derive(Clone, Copy)]
struct Details<'a> {
    config: &'a Config,
    location: &'a Location,
}

impl Details<'_> {
    fn text(&self, key: &str) -> String {
        self.location.details.text(key).unwrap_or_default().to_owned()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.config.root.join(self.text(key))
    }

    fn refuse(&self, problem: impl Into<String>) -> StartError {
        StartError::Location { name: self.location.name.clone(), problem: problem.into() }
    }

    /// A secret, or the first line of the file `<key>File`.
    fn secret(&self, key: &str) -> Result<Option<SecretString>, StartError> {
        if let Some(secret) = self.location.details.text(key) {
            return Ok(Some(SecretString::from(secret)));
        }
        let file = format!("{key}File");
        if self.location.details.text(&file).is_none() {
            return Ok(None);
        }
        let path = self.path(&file);
        let text = fs::read_to_string(&path);
        let text = text.map_err(|error| self.refuse(format!("{file} {}: {error}", path.display())))?;
        let secret = text.lines().next().unwrap_or_default();
        if secret.is_empty() || secret.chars().any(char::is_control) {
            return Err(self.refuse(format!("{file} {} must begin with the secret, in one line", path.display())));
        }
        Ok(Some(SecretString::from(secret)))
    }
}
