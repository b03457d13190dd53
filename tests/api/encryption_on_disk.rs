//! What is really on the disk: ciphertext in every file, master keys in one.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use cloudserver::{
    config::{Config, Launch, Options},
    kms::KeyFile,
    server::{Server, StartError},
};

use crate::support::{
    client::Client,
    sign::{Key, Scheme},
    world::folder,
};

const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";

fn config(root: &Path) -> Config {
    let own = root.join("config.json");
    let text = r#"{"restEndpoints": {"localhost": "us-east-1"}, "cloudserver": {"kms": {"keys": ["named"]}}}"#;
    fs::write(&own, text).unwrap();
    fs::write(root.join("locationConfig.json"), include_str!("../../locationConfig.json")).unwrap();
    fs::write(root.join("authdata.json"), include_str!("../../conf/authdata.json")).unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let launch = Launch {
        options: Options {
            config: Some(own),
            listen: vec![nowhere],
            data: Some(root.join("data")),
            metadata: Some(root.join("metadata")),
            ..Options::default()
        },
        ..Launch::default()
    };
    let mut config = Config::load(&launch).unwrap();
    config.admin_listen = vec![nowhere];
    config
}

async fn start(root: &Path) -> Result<(Server, Client), StartError> {
    let server = Server::start(config(root), None).await?;
    let key = Key::new("accessKey1", "verySecretKey1");
    let client = Client::new(server.s3_addresses()[0], key, Scheme::HeaderV4);
    Ok((server, client))
}

async fn stop(server: Server) {
    server.stop(Duration::from_secs(5)).await;
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Text that looks random: compression cannot hide it.
fn text(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// Which files hold any 16 bytes of the text in a row, looked for at every 500th place.
fn holding(root: &Path, text: &[u8]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(root, &mut all);
    assert!(all.len() > 5, "{all:?}");
    let needles: Vec<&[u8]> = text.chunks(500).filter_map(|chunk| chunk.get(..16)).collect();
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        needles.iter().any(|needle| memchr::memmem::find(&bytes, needle).is_some())
    };
    all.into_iter().filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_holds_the_text_of_an_encrypted_object_nor_a_clients_key() {
    let root = folder();
    let (server, bart) = start(root.path()).await.unwrap();
    bart.put("/sealed", "").expect(200).await;
    let customer = text(32, 99);
    let (key, md5) = {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        use md5::{Digest as _, Md5};
        (BASE64_STANDARD.encode(&customer), BASE64_STANDARD.encode(Md5::digest(&customer)))
    };
    let of_client = [
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-server-side-encryption-customer-key", key.as_str()),
        ("x-amz-server-side-encryption-customer-key-md5", md5.as_str()),
    ];
    let ways: [&[(&str, &str)]; 3] = [&[(METHOD, "AES256")], &[(METHOD, "aws:kms"), (KEY_ID, "named")], &of_client];
    let note = |way| -> String { text(90_000, way + 70).iter().map(|byte| char::from(byte % 94 + 33)).collect() };
    let mut secrets = vec![customer.clone()];
    for (way, headers) in ways.iter().enumerate() {
        // One beside its metadata, one in a file, one of parts.
        for size in [2_000, 200_000] {
            let body = text(size, (way * 1_000_000 + size) as u64);
            bart.put(&format!("/sealed/{way}-{size}"), &body).headers(headers).expect(200).await;
            secrets.push(body);
        }
        if way < 2 {
            // What is said beside an object is as secret as the object, also of a copy.
            let note = note(way as u64);
            let at = format!("/sealed/{way}-2000");
            bart.put(&format!("{at}?annotation&annotationName=n"), &note).expect(200).await;
            let copy = bart.put(&format!("{at}-copy"), "").headers(headers).header("x-amz-copy-source", &at);
            copy.expect(200).await;
            bart.get(&format!("{at}-copy?annotation&annotationName=n")).expect(200).await.body_is(&note);
            secrets.push(note.into_bytes());
        }
        let begun = bart.post("/sealed/parts?uploads", "").headers(headers).expect(200).await;
        let id = begun.tag("UploadId").unwrap();
        let body = text(70_000, way as u64 + 7);
        let part = bart.put(&format!("/sealed/parts?partNumber=1&uploadId={id}"), &body);
        let part = if way == 2 { part.headers(headers) } else { part };
        part.expect(200).await;
        secrets.push(body);
    }
    // Copies of annotations are encrypted, too, with a key of their own.
    let copy = bart.put("/sealed/copied", "").header("x-amz-copy-source", "/sealed/0-2000");
    copy.headers(&[(METHOD, "aws:kms"), (KEY_ID, "named")]).expect(200).await;
    bart.get("/sealed/copied?annotation&annotationName=n").expect(200).await.body_is(note(0));
    let plain = text(2_000, 5);
    bart.put("/sealed/plain", &plain).expect(200).await;
    // First the log, then, once the store is closed and has written everything out, the tables.
    let mut server = Some(server);
    for _ in 0..2 {
        assert!(!holding(root.path(), &plain).is_empty(), "the search finds what is stored in the clear");
        for secret in &secrets {
            assert_eq!(holding(root.path(), secret), Vec::<PathBuf>::new());
        }
        let mut all = Vec::new();
        files(root.path(), &mut all);
        let holds_key = |path: &PathBuf| memchr::memmem::find(&fs::read(path).unwrap(), key.as_bytes()).is_some();
        assert!(!all.iter().any(holds_key), "the client's key is on the disk");
        if let Some(server) = server.take() {
            stop(server).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_objects_outlive_restarts_and_rotations_and_a_lost_key_file_stops_the_start() {
    let root = folder();
    let keys = root.path().join("metadata").join("master-keys.json");
    let (server, bart) = start(root.path()).await.unwrap();
    bart.put("/sealed", "").expect(200).await;
    let body = text(200_000, 1);
    bart.put("/sealed/old", &body).header(METHOD, "AES256").expect(200).await;
    bart.put("/sealed/x", "")
        .headers(&[(METHOD, "aws:kms"), (KEY_ID, "unknown")])
        .refused(400, "KMS.NotFoundException")
        .await;
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    // While it runs: a new version and a new key.
    KeyFile::change(&keys, |ring| ring.add_version("cloudserver")).unwrap();
    KeyFile::change(&keys, |ring| ring.add_version("late")).unwrap();
    server.reload().await;
    bart.put("/sealed/new", &body).headers(&[(METHOD, "aws:kms"), (KEY_ID, "late")]).expect(200).await;
    bart.get("/sealed/old").expect(200).await.body_is(&body);
    stop(server).await;

    let (server, bart) = start(root.path()).await.unwrap();
    bart.get("/sealed/old").expect(200).await.body_is(&body);
    bart.get("/sealed/new").expect(200).await.body_is(&body);
    bart.put("/sealed/newest", &body).header(METHOD, "AES256").expect(200).await;
    stop(server).await;

    let aside = root.path().join("aside.json");
    fs::rename(&keys, &aside).unwrap();
    let lost = start(root.path()).await.map(drop).unwrap_err();
    assert!(matches!(lost, StartError::KeysLost { .. }), "{lost}");
    assert!(!keys.try_exists().unwrap(), "no other keys are made in their place");
    KeyFile::create(&keys, &["cloudserver"]).unwrap();
    let wrong = start(root.path()).await.map(drop).unwrap_err();
    assert!(matches!(wrong, StartError::WrongKeys { .. }), "{wrong}");
    fs::copy(&aside, &keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(start(root.path()).await.map(drop), Err(StartError::Keys(_))));
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();

    let (server, bart) = start(root.path()).await.unwrap();
    for key in ["old", "new", "newest"] {
        bart.get(&format!("/sealed/{key}")).expect(200).await.body_is(&body);
    }
    stop(server).await;
}
