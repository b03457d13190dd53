//! Certificates for those who have none: the container's `SSL` setting.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{TlsError, TlsFiles};

/// Makes `ca.key`, `ca.crt`, `server.key` and `server.crt` in `dir`, for `host`, `*.host` (virtual-host buckets) and
/// this machine. Files that are there already stay as they are.
///
/// # Errors
/// Where a file cannot be written, or `host` is no host name.
pub fn generate_self_signed(dir: &Path, host: &str) -> Result<TlsFiles, TlsError> {
    let files = TlsFiles { key: dir.join("server.key"), cert: dir.join("server.crt"), ca: Some(dir.join("ca.crt")) };
    let all = [&files.key, &files.cert, &dir.join("ca.crt")];
    if all.into_iter().all(|path| path.is_file()) {
        return Ok(files);
    }
    let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = server(host)?.signed_by(&key, &authority)?;
    write(&dir.join("ca.key"), &authority.key().serialize_pem(), Secret::Yes)?;
    write(&dir.join("ca.crt"), &authority.pem(), Secret::No)?;
    write(&files.key, &key.serialize_pem(), Secret::Yes)?;
    write(&files.cert, &certificate.pem(), Secret::No)?;
    Ok(files)
}

fn authority() -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "cloudserver local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server(host: &str) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names = local.map(SanType::IpAddress).to_vec();
    match host.parse::<IpAddr>() {
        Ok(address) if local.contains(&address) => {}
        Ok(address) => params.subject_alt_names.push(SanType::IpAddress(address)),
        Err(_) => {
            for name in [host.to_owned(), format!("*.{host}")] {
                params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
            }
        }
    }
    if host != "localhost" {
        params.subject_alt_names.push(SanType::DnsName("localhost".to_owned().try_into()?));
    }
    Ok(params)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secret {
    Yes,
    No,
}

/// Replaces a file in one step; a secret one is never readable by others, not even for a moment.
fn write(path: &Path, text: &str, secret: Secret) -> Result<(), TlsError> {
    let mode = if secret == Secret::Yes { 0o600 } else { 0o644 };
    let fresh = path.with_added_extension("new");
    let put = || -> io::Result<()> {
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    put().map_err(|source| TlsError::Unwritable { path: path.to_owned(), source })
}
