//! The suite over folders of real servers: Apache's and WsgiDAV's WebDAV, OpenSSH's SFTP. `make compat` runs these with the
//! programs installed; a program that is missing is a failure there.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cloudserver::{
    data::{
        BlobId, DataBackend, DataError, PutHint, TreeBackend, WebDavLogin, WebDavOptions, conformance::suite, webdav,
    },
    outbound::{ClientOptions, HttpClient},
    types::body,
};
use tempfile::TempDir;

use crate::far::{payload, read};

/// A server of somebody else's, with a folder that it serves.
struct Running {
    process: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A folder with `files` in it, which a server's own user may use.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), open_to_all()).unwrap();
    fs::create_dir(folder.path().join("files")).unwrap();
    fs::set_permissions(folder.path().join("files"), open_to_all()).unwrap();
    folder
}

fn open_to_all() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o777)
}

fn start(mut command: Command, folder: TempDir, address: SocketAddr) -> Running {
    let log = folder.path().join("log");
    command
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(fs::File::options().append(true).open(&log).unwrap());
    let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: run `make clients`"));
    let mut running = Running { process, folder, address };
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        let ended = running.process.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {}", fs::read_to_string(&log).unwrap());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    running
}

fn apache() -> Running {
    let (folder, address) = (folder(), free_address());
    let home = folder.path().display();
    // apr1 of "password".
    fs::write(folder.path().join("users"), "user:$apr1$saltsalt$yAAkm4libquA.ZWLHbSBq/\n").unwrap();
    let load = ["mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "dav", "dav_fs"];
    let load = load.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).concat();
    let user = if rustix::process::getuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let text = format!(
        "{load}{user}ServerName localhost\nListen {address}\nPidFile {home}/pid\nErrorLog {home}/errors\n\
         DavLockDB {home}/files.lock\nDocumentRoot {home}/files\n\
         <Directory {home}/files>\nDav On\nAuthType Basic\nAuthName far\nAuthUserFile {home}/users\nRequire valid-user\n</Directory>\n"
    );
    fs::write(folder.path().join("apache.conf"), text).unwrap();
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(folder.path().join("apache.conf"));
    start(command, folder, address)
}

fn wsgidav() -> Running {
    let (folder, address) = (folder(), free_address());
    let text = format!(
        "host: 127.0.0.1\nport: {}\nprovider_mapping:\n  '/': '{}'\nsimple_dc:\n  user_mapping:\n    '*':\n      \
         'user':\n        password: 'password'\nhttp_authenticator:\n  accept_basic: true\n  accept_digest: false\n  \
         default_to_digest: false\n",
        address.port(),
        folder.path().join("files").display(),
    );
    fs::write(folder.path().join("dav.yaml"), text).unwrap();
    let clients = std::env::var_os("CLIENTS").unwrap_or_else(|| panic!("CLIENTS names the folder of `make clients`"));
    let clients = PathBuf::from(clients);
    let mut command = Command::new(clients.join("venv/bin/wsgidav"));
    command.arg("--config").arg(folder.path().join("dav.yaml"));
    start(command, folder, address)
}

fn dav(running: &Running) -> TreeBackend {
    let login = WebDavLogin::Password { user: "user".to_owned(), password: "password".into() };
    let options = WebDavOptions { url: format!("http://{}/", running.address), login };
    webdav::backend(HttpClient::new(ClientOptions::default()), &options)
}

/// What the files of a folder hold, by their paths.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found
}

async fn put(backend: &dyn DataBackend, size: usize) -> BlobId {
    let hint = PutHint { blob: backend.reserve(), size: Some(size as u64) };
    backend.put(body::once(payload(size, 1)), hint).await.unwrap().blob
}

/// The suite, then what only a real folder shows: nothing is left, and what is changed there is noticed.
async fn shown(backend: TreeBackend, running: &Running) {
    let backend: Arc<dyn DataBackend> = Arc::new(backend);
    backend.probe().await.unwrap();
    suite(Arc::clone(&backend)).await;
    let files = running.folder.path().join("files");
    let end = Instant::now() + Duration::from_secs(20);
    while !files_in(&files).is_empty() {
        assert!(Instant::now() < end, "the suite left {:?}", files_in(&files));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let size = 70 << 20;
    let blob = put(&*backend, size).await;
    assert!(read(&*backend, &blob, size).await.unwrap() == payload(size, 1), "a large blob comes back");
    let file = files_in(&files).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[40 << 20] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(read(&*backend, &blob, size).await.is_err(), "a changed byte is noticed");
    bytes.truncate(30 << 20);
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(read(&*backend, &blob, size).await, Err(DataError::Corrupt { .. })), "a cut file is noticed");
    fs::remove_file(&file).unwrap();
    assert!(matches!(read(&*backend, &blob, size).await, Err(DataError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Apache; `make compat` runs it"]
async fn real_apache_is_a_data_backend() {
    let running = apache();
    shown(dav(&running), &running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs WsgiDAV; `make compat` runs it"]
async fn real_wsgidav_is_a_data_backend() {
    let running = wsgidav();
    shown(dav(&running), &running).await;
}

#[cfg(feature = "sftp")]
mod sftp {
    use std::{
        fs,
        net::SocketAddr,
        path::Path,
        process::Command,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        time::{Duration, Instant},
    };

    use cloudserver::{
        data::{DataBackend, DataError, HostKey, PutHint, SftpLogin, SftpOptions, sftp},
        s3client::Retry,
        tasks::Tasks,
        types::body,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Running, files_in, folder, free_address, shown, start};
    use crate::far::{payload, read};

    fn keygen(file: &Path, passphrase: &str) {
        let done = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(file).status();
        assert!(done.unwrap().success());
    }

    fn sshd() -> Running {
        let (folder, address) = (folder(), free_address());
        let home = folder.path().display();
        keygen(&folder.path().join("host"), "");
        keygen(&folder.path().join("user"), "sesame");
        if rustix::process::getuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let text = format!(
            "ListenAddress {address}\nHostKey {home}/host\nPidFile {home}/pid\nAuthorizedKeysFile {home}/user.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        );
        fs::write(folder.path().join("sshd.conf"), text).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(folder.path().join("sshd.conf"));
        start(command, folder, address)
    }

    fn user() -> String {
        let named = Command::new("id").arg("-un").output().unwrap().stdout;
        String::from_utf8(named).unwrap().trim().to_owned()
    }

    fn options(running: &Running, address: SocketAddr) -> SftpOptions {
        let home = running.folder.path();
        let passphrase = "sesame".into();
        SftpOptions {
            host: "127.0.0.1".to_owned(),
            port: address.port(),
            path: home.join("files").display().to_string(),
            user: user(),
            login: SftpLogin::key_of(&home.join("user"), Some(&passphrase)).unwrap(),
            host_key: HostKey::parse(&fs::read_to_string(home.join("host.pub")).unwrap()).unwrap(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs OpenSSH's server; `make compat` runs it"]
    async fn real_openssh_is_a_data_backend() {
        let running = sshd();
        shown(sftp::backend(options(&running, running.address)), &running).await;
        let space = sftp::backend(options(&running, running.address)).disk_usage().await.unwrap().unwrap();
        assert!(space.available > 0 && space.total >= space.free);
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs OpenSSH's server; `make compat` runs it"]
    async fn real_openssh_must_be_the_one_that_is_meant() {
        let running = sshd();
        let home = running.folder.path();
        let known = fs::read_to_string(home.join("host.pub")).unwrap();
        let file = home.join("known");
        let port = running.address.port();
        fs::write(&file, format!("[127.0.0.1]:{port} {known}")).unwrap();
        let shown = Command::new("ssh-keygen").arg("-lf").arg(home.join("host.pub")).output().unwrap().stdout;
        let fingerprint = String::from_utf8(shown).unwrap().split(' ').nth(1).unwrap().to_owned();
        for host_key in [HostKey::File(file.clone()), HostKey::parse(&fingerprint).unwrap()] {
            let told = format!("{host_key:?}");
            let backend = sftp::backend(SftpOptions { host_key, ..options(&running, running.address) });
            assert!(backend.probe().await.is_ok(), "{told}");
        }
        let other = fs::read_to_string(home.join("user.pub")).unwrap();
        fs::write(&file, format!("[127.0.0.1]:{port} {other}")).unwrap();
        let nobody = home.join("nobody");
        fs::write(&nobody, "").unwrap();
        for host_key in [
            HostKey::parse(&other).unwrap(),
            HostKey::parse("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap(),
            HostKey::File(file),
            HostKey::File(nobody),
            HostKey::File(home.join("missing")),
        ] {
            let told = format!("{host_key:?}");
            let backend = sftp::backend(SftpOptions { host_key, ..options(&running, running.address) });
            let failed = backend.probe().await;
            let named = |why: &String| why.contains("shows the host key") && why.contains(&fingerprint);
            assert!(matches!(&failed, Err(DataError::Unavailable(why)) if named(why)), "{told}: {failed:?}");
        }
        assert!(SftpLogin::key_of(&home.join("user"), Some(&"wrong".into())).is_err());
        let stranger = SftpOptions { login: SftpLogin::Password("wrong".into()), ..options(&running, running.address) };
        let failed = sftp::backend(stranger).probe().await;
        assert!(
            matches!(&failed, Err(DataError::Unavailable(why)) if why.contains("does not let the user in")),
            "{failed:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs OpenSSH's server; `make compat` runs it"]
    async fn real_openssh_may_break_off_at_any_byte() {
        let running = sshd();
        let (far, tasks, raging) = (running.address, Tasks::default(), Arc::new(AtomicBool::new(true)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (spawner, weather, count) = (tasks.clone(), Arc::clone(&raging), Arc::new(AtomicUsize::new(0)));
        tasks.spawn("proxy", async move {
            while let Ok((mut near, _)) = listener.accept().await {
                // Each connection lives for more bytes than the one before, both ways together.
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let rages = weather.load(Ordering::SeqCst);
                let mut left = if rages { 3_000 + nth * 37_000 } else { usize::MAX };
                spawner.spawn("connection", async move {
                    let Ok(mut onward) = tokio::net::TcpStream::connect(far).await else { return };
                    let (mut one, mut two) = (vec![0; 8192], vec![0; 8192]);
                    while left > 0 {
                        let passed = tokio::select! {
                            got = near.read(&mut one) => match got {
                                Ok(got) if got > 0 => onward.write_all(&one[..got]).await.map(|()| got),
                                _ => return,
                            },
                            got = onward.read(&mut two) => match got {
                                Ok(got) if got > 0 => near.write_all(&two[..got]).await.map(|()| got),
                                _ => return,
                            },
                        };
                        let Ok(passed) = passed else { return };
                        left = left.saturating_sub(passed);
                    }
                });
            }
        });
        let retry = Retry {
            attempts: 4,
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(50),
            deadline: Duration::from_secs(10),
        };
        let behind = sftp::backend(options(&running, address)).with_retry(retry);
        let size = 400_000;
        let (mut kept, mut failed) = (Vec::new(), 0);
        for _ in 0..40 {
            let hint = PutHint { blob: behind.reserve(), size: Some(size as u64) };
            match behind.put(body::once(payload(size, 1)), hint).await {
                Ok(written) => kept.push(written.blob),
                Err(error) => {
                    assert!(matches!(error, DataError::Unavailable(_)), "{error:?}");
                    failed += 1;
                }
            }
        }
        raging.store(false, Ordering::SeqCst);
        assert!(failed > 0 && !kept.is_empty(), "{failed} of 40 failed");
        for blob in &kept {
            assert!(read(&behind, blob, size).await.unwrap() == payload(size, 1), "what was acknowledged is there");
        }
        let end = Instant::now() + Duration::from_secs(30);
        while files_in(&running.folder.path().join("files")).len() > kept.len() {
            assert!(Instant::now() < end, "what came to nothing left files");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
