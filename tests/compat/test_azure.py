"""Locations of type azure in front of Azurite, Microsoft's own emulator of the blob service."""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from files import MIB, payload
from server import REPOSITORY, Server, free_ports

pytestmark = pytest.mark.own_server

START_LIMIT = 60  # seconds until the emulator must answer
# The account that every emulator has: public knowledge.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Blobs:
    """The container, asked without the server."""

    def __init__(self, port):
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"

    def ask(self, method, path, query=""):
        headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        parameters = [f"\n{pair.replace('=', ':')}" for pair in sorted(query.split("&")) if pair]
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(parameters)
        lines = [method, *[""] * 11, *[f"{name}:{value}" for name, value in sorted(headers.items())], resource]
        signature = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
        url = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=30) as answer:
            return answer.headers, answer.read()


@pytest.fixture(scope="module")
def blobs(clients, tmp_path_factory):
    home = tmp_path_factory.mktemp("azurite")
    script = clients / "node_modules/azurite/dist/src/blob/main.js"
    (port,) = free_ports(1)
    words = ["node", script, "--silent", "--skipApiVersionCheck", "--location", home]
    words = [str(word) for word in [*words, "--blobHost", "127.0.0.1", "--blobPort", port]]
    environment = {**os.environ, "HOME": str(home)}
    with (home / "azurite.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        container = Blobs(port)
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                container.ask("PUT", "/objects", "restype=container")
                break
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield container
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def near(blobs, tmp_path_factory):
    """A client of a server whose location `blobs` is the container."""
    home = tmp_path_factory.mktemp("near")
    locations = json.loads((REPOSITORY / "locationConfig.json").read_text())
    locations["blobs"] = {
        "type": "azure",
        "objectId": "blobs",
        "legacyAwsBehavior": False,
        "details": {
            "azureStorageEndpoint": blobs.endpoint,
            "azureContainerName": "objects",
            "azureStorageAccountName": ACCOUNT,
            "azureStorageAccessKey": KEY,
        },
    }
    (home / "locations.json").write_text(json.dumps(locations))
    with Server(home, environment={"S3_LOCATION_FILE": str(home / "locations.json")}) as running:
        settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
        yield boto3.client(
            "s3",
            endpoint_url=running.endpoint,
            region_name="us-east-1",
            config=settings,
            aws_access_key_id=running.access_key,
            aws_secret_access_key=running.secret_key,
        )


@pytest.fixture
def there(near, bucket):
    near.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "blobs"})
    return bucket


def test_objects_are_blobs_with_their_headers(near, blobs, there):
    told = {"ContentType": "text/plain", "Metadata": {"colour": "blue"}, "Tagging": "t=v"}
    near.put_object(Bucket=there, Key="a/b c.txt", Body=b"hello", **told)
    headers, body = blobs.ask("GET", f"/objects/{there}/a/b%20c.txt")
    assert (body, headers["Content-Type"], headers["x-ms-meta-colour"]) == (b"hello", "text/plain", "blue")
    assert json.loads(headers["x-ms-meta-tags"]) == {"t": "v"}
    near.put_object_tagging(Bucket=there, Key="a/b c.txt", Tagging={"TagSet": [{"Key": "n", "Value": "w"}]})
    assert near.get_object(Bucket=there, Key="a/b c.txt")["Body"].read() == b"hello"
    near.delete_object(Bucket=there, Key="a/b c.txt")
    deadline = time.monotonic() + 90
    while True:
        try:
            blobs.ask("GET", f"/objects/{there}/a/b%20c.txt")
        except urllib.error.HTTPError as error:
            assert error.code == 404
            break
        assert time.monotonic() < deadline, "the blob of a deleted object stays"
        time.sleep(0.2)


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 40 * MIB])
def test_bytes_come_back(near, there, size):
    body = payload(size)
    etag = near.put_object(Bucket=there, Key="key", Body=body)["ETag"]
    assert etag.strip('"') == hashlib.md5(body).hexdigest()
    assert near.get_object(Bucket=there, Key="key")["Body"].read() == body
    if size > 10:
        part = near.get_object(Bucket=there, Key="key", Range=f"bytes=5-{size - 3}")["Body"].read()
        assert part == body[5 : size - 2]
    near.copy_object(Bucket=there, Key="copy", CopySource={"Bucket": there, "Key": "key"})
    assert near.get_object(Bucket=there, Key="copy")["Body"].read() == body


def test_uploads_in_parts(near, there):
    upload = near.create_multipart_upload(Bucket=there, Key="parts")["UploadId"]
    bodies = {3: payload(11), 1: payload(9 * MIB), 2: payload(5 * MIB)}
    parts = []
    for number, body in bodies.items():
        answer = near.upload_part(Bucket=there, Key="parts", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    parts.sort(key=lambda part: part["PartNumber"])
    near.complete_multipart_upload(Bucket=there, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    whole = b"".join(bodies[number] for number in (1, 2, 3))
    assert near.get_object(Bucket=there, Key="parts")["Body"].read() == whole
    assert near.get_object(Bucket=there, Key="parts", PartNumber=2)["Body"].read() == bodies[2]
    upload = near.create_multipart_upload(Bucket=there, Key="parts")["UploadId"]
    near.upload_part(Bucket=there, Key="parts", UploadId=upload, PartNumber=1, Body=b"lost")
    near.abort_multipart_upload(Bucket=there, Key="parts", UploadId=upload)
    assert near.get_object(Bucket=there, Key="parts")["Body"].read() == whole


def test_versions_cannot_be_there(near, there):
    near.put_object(Bucket=there, Key="key", Body=b"before")
    with pytest.raises(ClientError) as refused:
        near.put_bucket_versioning(Bucket=there, VersioningConfiguration={"Status": "Enabled"})
        near.put_object(Bucket=there, Key="key", Body=b"version")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert near.get_object(Bucket=there, Key="key")["Body"].read() == b"before"
