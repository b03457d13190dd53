//! Opens the key manager that the configuration names.

use std::{path::Path, sync::Arc};

use super::StartError;
use crate::{
    config::{Config, KmsKind, KmsSettings, Token, VaultSettings},
    kms::{FileKms, KeyFile, KeyFileError, Kms, MemoryKms, VaultKms, VaultOptions, VaultToken},
    metadata::{Batch, MetadataStore, Namespace, Table},
};

/// The key under which metadata remembers its master key file.
const MASTER_KEYS: &[u8] = b"master keys";
const SYSTEM: Namespace = Namespace::global(Table::System);

/// Opens the key manager. Nothing is asked of an external one yet: a server must start without it.
pub(super) async fn open_kms(config: &Config, metadata: &dyn MetadataStore) -> Result<Arc<dyn Kms>, StartError> {
    let settings = &config.kms;
    match (settings.kind, &settings.vault) {
        (KmsKind::Memory, _) => Ok(Arc::new(MemoryKms::default())),
        (KmsKind::Vault, Some(vault)) => {
            let options = vault_options(vault, &settings.default_key, &config.root);
            Ok(Arc::new(VaultKms::new(options).map_err(StartError::Vault)?))
        }
        (KmsKind::Vault, None) => Err(StartError::Vault("cloudserver.kms.vault is missing".to_owned())),
        (KmsKind::File, _) => {
            let file = open_file(config, metadata).await?;
            Ok(Arc::new(FileKms::new(file, settings.default_key.clone())))
        }
    }
}

fn vault_options(vault: &VaultSettings, default_key: &str, root: &Path) -> VaultOptions {
    VaultOptions {
        address: vault.address.clone(),
        mount: vault.mount.clone(),
        namespace: vault.namespace.clone(),
        token: match &vault.token {
            Token::Known(token) => VaultToken::Known(token.clone()),
            Token::File(file) => VaultToken::File(root.join(file)),
        },
        ca_file: vault.ca_file.as_ref().map(|file| root.join(file)),
        timeout: vault.timeout,
        attempts: vault.attempts,
        default_key: default_key.to_owned(),
    }
}

/// The master key file: made at the first start, and the same one ever after.
async fn open_file(config: &Config, metadata: &dyn MetadataStore) -> Result<KeyFile, StartError> {
    let path = config.master_key_file();
    let failed = |source| StartError::Metadata { path: config.metadata_path.clone(), source };
    let known = metadata.get(SYSTEM, MASTER_KEYS).await.map_err(failed)?;
    let file = match (KeyFile::read(&path), &known) {
        (Ok(file), _) => file,
        (Err(KeyFileError::Missing(_)), None) => KeyFile::create(&path, &names(&config.kms))?,
        (Err(KeyFileError::Missing(_)), Some(_)) => return Err(StartError::KeysLost { path }),
        (Err(other), _) => return Err(other.into()),
    };
    match known {
        Some(known) if known == file.id().as_bytes() => {}
        Some(_) => return Err(StartError::WrongKeys { path }),
        None => {
            let mut batch = Batch::new();
            batch.put(SYSTEM, MASTER_KEYS, file.id().as_bytes().to_vec());
            metadata.commit(batch).await.map_err(failed)?;
        }
    }
    let present = file.list();
    let missing = |name: &&str| !present.iter().any(|key| key.name == **name);
    let missing: Vec<&str> = names(&config.kms).into_iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(file);
    }
    let (file, ()) = KeyFile::change(&path, |keys| {
        missing.iter().filter(|name| !keys.has(name)).collect::<Vec<_>>().into_iter().try_for_each(|name| {
            keys.add_version(name)?;
            Ok(())
        })
    })?;
    tracing::info!(keys = missing.join(", "), "keys that the configuration names were added to the master key file");
    Ok(file)
}

fn names(settings: &KmsSettings) -> Vec<&str> {
    std::iter::once(settings.default_key.as_str()).chain(settings.keys.iter().map(String::as_str)).collect()
}
