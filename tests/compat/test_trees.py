"""Servers whose default location is a folder of Apache's or WsgiDAV's WebDAV, or of OpenSSH's SFTP."""

import contextlib
import getpass
import hashlib
import json
import os
import pathlib
import subprocess
import time

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from files import MIB, payload
from server import REPOSITORY, Server, free_ports

pytestmark = pytest.mark.own_server

START_LIMIT = 30  # seconds until a far server must answer
PASSWORD = "password-of-this-test"


@contextlib.contextmanager
def running(words, port, home):
    with (home / "far.log").open("wb") as log:
        words = [str(word) for word in words]
        process = subprocess.Popen(words, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_LIMIT
        while subprocess.run(["bash", "-c", f": </dev/tcp/127.0.0.1/{port}"], check=False, capture_output=True).returncode:
            log = (home / "far.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, log
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def apache(clients, home, port):
    hashed = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True).stdout
    (home / "users").write_text(f"user:{hashed}")
    modules = "mpm_event authn_core authn_file authz_core authz_user auth_basic dav dav_fs".split()
    lines = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules]
    lines += ["User www-data", "Group www-data"] if os.getuid() == 0 else []
    lines += ["ServerName localhost", f"Listen 127.0.0.1:{port}", f"PidFile {home}/pid", f"ErrorLog {home}/errors"]
    lines += [f"DavLockDB {home}/files.lock", f"DocumentRoot {home}/files", f"<Directory {home}/files>", "Dav On"]
    lines += ["AuthType Basic", "AuthName far", f"AuthUserFile {home}/users", "Require valid-user", "</Directory>"]
    (home / "apache.conf").write_text("\n".join(lines) + "\n")
    return ["/usr/sbin/apache2", "-DFOREGROUND", "-f", home / "apache.conf"], dav(home, port)


def wsgidav(clients, home, port):
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/": str(home / "files")},
        "simple_dc": {"user_mapping": {"*": {"user": {"password": PASSWORD}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
    }
    (home / "dav.json").write_text(json.dumps(settings))
    return [clients / "venv/bin/wsgidav", "--config", home / "dav.json"], dav(home, port)


def dav(home, port):
    (home / "secret").write_text(PASSWORD + "\n")
    details = {"url": f"http://127.0.0.1:{port}/", "username": "user", "passwordFile": str(home / "secret")}
    return {"type": "webdav", "details": details}


def openssh(clients, home, port):
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    if os.getuid() == 0:
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    lines = [f"ListenAddress 127.0.0.1:{port}", f"HostKey {home}/host", f"PidFile {home}/pid", "StrictModes no", "UsePAM no"]
    lines += [f"AuthorizedKeysFile {home}/user.pub", "PasswordAuthentication no", "Subsystem sftp internal-sftp"]
    (home / "sshd.conf").write_text("\n".join(lines) + "\n")
    key, value, *_ = (home / "host.pub").read_text().split()
    details = {
        "host": "127.0.0.1",
        "port": port,
        "path": str(home / "files"),
        "username": getpass.getuser(),
        "privateKeyFile": str(home / "user"),
        "hostKey": f"{key} {value}",
    }
    return ["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd.conf"], {"type": "sftp", "details": details}


@pytest.fixture(scope="module", params=[apache, wsgidav, openssh], ids=["apache", "wsgidav", "openssh"])
def near(request, clients, tmp_path_factory):
    """A client of a server whose default location is a folder of another server; `files` is that folder."""
    home = tmp_path_factory.mktemp("far")
    # A server's own user must get there.
    for folder in [home, *home.parents]:
        if folder.owner() == getpass.getuser() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o711)
    (home / "files").mkdir()
    home.chmod(0o777)
    (home / "files").chmod(0o777)
    (port,) = free_ports(1)
    words, location = request.param(clients, home, port)
    locations = json.loads((REPOSITORY / "locationConfig.json").read_text())
    locations["us-east-1"] |= location
    (home / "locations.json").write_text(json.dumps(locations))
    environment = {"S3_LOCATION_FILE": str(home / "locations.json")}
    with running(words, port, home), Server(home / "near", environment=environment) as server:
        settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            config=settings,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )
        client.files = home / "files"
        yield client
        assert PASSWORD not in server.log.read_text()


@pytest.fixture
def there(near, bucket):
    near.create_bucket(Bucket=bucket)
    return bucket


def kept(near):
    return [path for path in near.files.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000, 40 * MIB])
def test_bytes_come_back(near, there, size):
    body = payload(size)
    etag = near.put_object(Bucket=there, Key="a/ü", Body=body, Metadata={"colour": "blue"})["ETag"]
    assert etag.strip('"') == hashlib.md5(body).hexdigest()
    answer = near.get_object(Bucket=there, Key="a/ü")
    assert (answer["Body"].read(), answer["Metadata"]) == (body, {"colour": "blue"})
    if size > 10:
        part = near.get_object(Bucket=there, Key="a/ü", Range=f"bytes=5-{size - 3}")["Body"].read()
        assert part == body[5 : size - 2]
        assert near.get_object(Bucket=there, Key="a/ü", Range="bytes=-7")["Body"].read() == body[-7:]
    near.copy_object(Bucket=there, Key="copy", CopySource={"Bucket": there, "Key": "a/ü"})
    assert near.get_object(Bucket=there, Key="copy")["Body"].read() == body


def test_uploads_in_parts_are_put_together(near, there, tmp_path):
    body = payload(23 * MIB + 5)
    (tmp_path / "body").write_bytes(body)
    settings = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    near.upload_file(str(tmp_path / "body"), there, "parts", Config=settings)
    near.download_file(there, "parts", str(tmp_path / "back"), Config=settings)
    assert (tmp_path / "back").read_bytes() == body
    assert near.get_object(Bucket=there, Key="parts", PartNumber=2)["Body"].read() == body[5 * MIB : 10 * MIB]
    upload = near.create_multipart_upload(Bucket=there, Key="given-up")["UploadId"]
    near.upload_part(Bucket=there, Key="given-up", UploadId=upload, PartNumber=1, Body=payload(6 * MIB))
    near.abort_multipart_upload(Bucket=there, Key="given-up", UploadId=upload)


def test_versions_are_kept_there_and_what_is_deleted_goes(near, there):
    near.put_bucket_versioning(Bucket=there, VersioningConfiguration={"Status": "Enabled"})
    before = len(kept(near))
    bodies = {near.put_object(Bucket=there, Key="key", Body=body)["VersionId"]: body for body in map(payload, (400_000, 500_000))}
    assert len(kept(near)) >= before + 2
    near.delete_object(Bucket=there, Key="key")
    with pytest.raises(ClientError) as gone:
        near.get_object(Bucket=there, Key="key")
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    for version, body in bodies.items():
        assert near.get_object(Bucket=there, Key="key", VersionId=version)["Body"].read() == body
        near.delete_object(Bucket=there, Key="key", VersionId=version)
    versions = near.list_object_versions(Bucket=there)
    assert [len(versions.get(kind, [])) for kind in ("Versions", "DeleteMarkers")] == [0, 1]


def test_objects_that_are_deleted_leave_no_file(near, bucket):
    for listed in near.list_buckets()["Buckets"]:
        name = listed["Name"]
        versions = near.list_object_versions(Bucket=name)
        for version in versions.get("Versions", []) + versions.get("DeleteMarkers", []):
            near.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
    deadline = time.monotonic() + 60
    while files := kept(near):
        assert time.monotonic() < deadline, files
        time.sleep(0.3)


def test_a_damaged_file_is_an_error_and_never_wrong_bytes(near, there):
    before = set(kept(near))
    near.put_object(Bucket=there, Key="key", Body=payload(300_000))
    (blob,) = set(kept(near)) - before
    damaged = bytearray(blob.read_bytes())
    damaged[10] ^= 1
    blob.write_bytes(damaged)
    with pytest.raises(ClientError) as refused:
        near.get_object(Bucket=there, Key="key")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    near.delete_object(Bucket=there, Key="key")
