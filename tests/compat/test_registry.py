"""W7: a Docker registry that keeps its images here; pushed, pulled, listed and cleaned up with skopeo."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.request

import pytest

from conftest import sizes_in
from files import MIB, payload, write
from server import free_ports

REGISTRY = shutil.which("docker-registry") or shutil.which("registry", path="/usr/local/bin:/usr/bin")
pytestmark = pytest.mark.skipif(
    REGISTRY is None or shutil.which("skopeo") is None, reason="docker-registry or skopeo is not installed"
)
# No proxy or certificates of this machine.
ENVIRONMENT = {"PATH": os.environ["PATH"]}
OTHER = ("accessKey2", "verySecretKey2")
OTHER_ARN = "arn:aws:iam::123456789013:root"


class Registry:
    """One registry process over a bucket."""

    def __init__(self, home: pathlib.Path, server, bucket, keys=None, *, redirect=True):
        (self.port,) = free_ports(1)
        home.mkdir()
        access, secret = keys or (server.access_key, server.secret_key)
        store = {
            "regionendpoint": server.endpoint,
            "bucket": bucket,
            "accesskey": access,
            "secretkey": secret,
            "secure": False,
            "v4auth": True,
            "region": "us-east-1",
        }
        config = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"s3": store, "delete": {"enabled": True}, "redirect": {"disable": not redirect}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "of the test"},
        }
        # JSON is YAML.
        self.config = write(home / "config.yml", json.dumps(config))
        self.log = home / "log"
        with self.log.open("wb") as log:
            words = [REGISTRY, "serve", str(self.config)]
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=home, env=ENVIRONMENT)
        self._wait()

    def _wait(self):
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def image(self, name: str) -> str:
        return f"docker://127.0.0.1:{self.port}/{name}"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def blob(folder: pathlib.Path, data: bytes, kind: str) -> dict:
    name = hashlib.sha256(data).hexdigest()
    write(folder / "blobs/sha256" / name, data)
    return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(data)}


def layer(name: str, data: bytes) -> tuple[bytes, str]:
    """A layer with one file, and the digest of its content."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    plain = plain.getvalue()
    return gzip.compress(plain, 1, mtime=0), "sha256:" + hashlib.sha256(plain).hexdigest()


def make_image(folder: pathlib.Path, seed: int, sizes: list[int]) -> set[str]:
    """An OCI image layout made by hand; returns the names of its blobs."""
    layers, contents = [], []
    for number, size in enumerate(sizes):
        packed, content = layer(f"file-{number}", payload(size, seed + number))
        layers.append(blob(folder, packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
        contents.append(content)
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": contents}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(folder, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    named = blob(folder, json.dumps(manifest).encode(), manifest["mediaType"])
    named["annotations"] = {"org.opencontainers.image.ref.name": "made"}
    write(folder / "oci-layout", '{"imageLayoutVersion": "1.0.0"}')
    write(folder / "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return blobs(folder)


def blobs(folder: pathlib.Path) -> set[str]:
    return {path.name for path in (folder / "blobs/sha256").iterdir()}


@pytest.fixture
def registry(tmp_path, server):
    """Starts registries that end with the test."""
    running = []

    def start(bucket, **options):
        running.append(Registry(tmp_path / f"registry-{len(running)}", server, bucket, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def skopeo(run):
    def command(*words, **options):
        return run("skopeo", "--insecure-policy", *words, **options)

    return command


def stored(client, bucket) -> set[str]:
    """Digests of the blobs that the bucket holds."""
    return {key.split("/")[-2] for key in sizes_in(client, bucket) if "/blobs/sha256/" in key and key.endswith("/data")}


@pytest.fixture
def client(client_of, server, bucket):
    """Of the bucket's owner; the bucket is there."""
    client = client_of(server)
    client.create_bucket(Bucket=bucket)
    return client


def test_w7_images_are_pushed_listed_pulled_and_collected(registry, skopeo, client, bucket, tmp_path):
    """Layers small, empty and of several chunks; a second image shares none of them and goes away again."""
    kept = make_image(tmp_path / "kept", 1, [1000, 12 * MIB, 0, 300_000])
    gone = make_image(tmp_path / "gone", 50, [2 * MIB, 500])
    one = registry(bucket)
    skopeo("copy", "--dest-tls-verify=false", "oci:kept:made", one.image("team/app:1.0"))
    skopeo("copy", "--dest-tls-verify=false", "oci:kept:made", one.image("team/app:latest"))
    skopeo("copy", "--dest-tls-verify=false", "oci:gone:made", one.image("team/old:0.1"))
    assert stored(client, bucket) >= kept | gone
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", one.image("team/app")))
    assert sorted(listed["Tags"]) == ["1.0", "latest"]
    with urllib.request.urlopen(f"http://127.0.0.1:{one.port}/v2/_catalog", timeout=30) as answer:
        assert json.load(answer) == {"repositories": ["team/app", "team/old"]}

    # Another registry over the same bucket, as on another machine; its clients are sent here for the layers.
    two = registry(bucket)
    skopeo("copy", "--src-tls-verify=false", two.image("team/app:1.0"), "oci:pulled:made")
    assert blobs(tmp_path / "pulled") >= kept
    # And one that passes the bytes on.
    direct = registry(bucket, redirect=False)
    skopeo("copy", "--src-tls-verify=false", direct.image("team/old:0.1"), "oci:passed:made")
    assert blobs(tmp_path / "passed") >= gone

    skopeo("delete", "--tls-verify=false", one.image("team/old:0.1"))
    one.stop()
    collected = subprocess.run(
        [REGISTRY, "garbage-collect", str(one.config)], capture_output=True, text=True, timeout=60, check=True, env=ENVIRONMENT
    )
    assert "blob eligible for deletion" in collected.stdout + collected.stderr
    left = stored(client, bucket)
    assert left >= kept
    assert not left & gone
    skopeo("copy", "--src-tls-verify=false", two.image("team/app:latest"), "oci:again:made")
    assert blobs(tmp_path / "again") >= kept


def test_w7_several_registries_share_a_bucket_and_only_the_builder_writes(registry, skopeo, client, bucket, tmp_path):
    """The readers' key may read by the bucket's policy; a push with it fails and changes nothing."""
    statement = [
        {"Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": f"arn:aws:s3:::{bucket}"},
        {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"},
    ]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": OTHER_ARN}, **one} for one in statement],
    }
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    image = make_image(tmp_path / "image", 100, [1000, 11 * MIB])
    make_image(tmp_path / "other", 200, [1000])
    builder = registry(bucket)
    skopeo("copy", "--dest-tls-verify=false", "oci:image:made", builder.image("app:1"))
    reader = registry(bucket, keys=OTHER)
    skopeo("copy", "--src-tls-verify=false", reader.image("app:1"), "oci:pulled:made")
    assert blobs(tmp_path / "pulled") >= image
    before = sizes_in(client, bucket)
    skopeo("copy", "--dest-tls-verify=false", "oci:other:made", reader.image("app:2"), fails=True)
    # The registry does not look at the answer for each key, and says yes; nothing is gone all the same.
    skopeo("delete", "--tls-verify=false", reader.image("app:1"))
    assert sizes_in(client, bucket) == before
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
