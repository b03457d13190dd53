"""Locations of type aws_s3 in front of other people's stores: SeaweedFS and moto."""

import hashlib
import json
import os
import pathlib
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

HERE = pathlib.Path(__file__).resolve().parent
START_LIMIT = 60  # seconds until a far store must answer
KEYS = {"aws_access_key_id": "accessKey1", "aws_secret_access_key": "verySecretKey1"}


def s3(endpoint):
    """A client that asks once: what fails shall be seen."""
    settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=settings, **KEYS)


def seaweedfs(clients, home):
    master, volume, filer, s3_port, *grpc = free_ports(8)
    identity = {
        "name": "far",
        "credentials": [{"accessKey": KEYS["aws_access_key_id"], "secretKey": KEYS["aws_secret_access_key"]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (home / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (home / "data").mkdir()
    names = ("master", "volume", "filer", "s3")
    ports = [f"-{name}.port={port}" for name, port in zip(names, (master, volume, filer, s3_port), strict=True)]
    ports += [f"-{name}.port.grpc={port}" for name, port in zip(names, grpc, strict=True)]
    words = ["server", "-ip=127.0.0.1", f"-dir={home / 'data'}", "-s3", f"-s3.config={home / 's3.json'}"]
    words += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=200", "-master.telemetry=false"]
    return [clients / "venv/bin/weed", *words, *ports], s3_port


def moto(clients, _home):
    (port,) = free_ports(1)
    return [clients / "venv/bin/python", HERE / "moto_mended.py", "-H", "127.0.0.1", "-p", str(port)], port


@pytest.fixture(scope="module", params=[seaweedfs, moto], ids=["seaweedfs", "moto"])
def far(request, clients, tmp_path_factory):
    """The endpoint of a far store, with one bucket that keeps versions and one that keeps none."""
    home = tmp_path_factory.mktemp("far")
    words, port = request.param(clients, home)
    with (home / "far.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(home)})
    try:
        client = s3(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                client.create_bucket(Bucket="keeps-versions")
                break
            except Exception:
                log = (home / "far.log").read_text(errors="replace")[-3000:]
                assert process.poll() is None and time.monotonic() < deadline, log
                time.sleep(0.3)
        client.create_bucket(Bucket="keeps-nothing")
        client.put_bucket_versioning(Bucket="keeps-versions", VersioningConfiguration={"Status": "Enabled"})
        yield f"127.0.0.1:{port}"
    finally:
        # What a store does at its end is not what is tried here.
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def near(far, tmp_path_factory):
    """Our server with a location in each of the two buckets."""
    home = tmp_path_factory.mktemp("near")
    locations = json.loads((REPOSITORY / "locationConfig.json").read_text())
    for name, versions in (("keeps-versions", True), ("keeps-nothing", False)):
        locations[name] = {
            "type": "aws_s3",
            "objectId": name,
            "legacyAwsBehavior": False,
            "details": {
                "awsEndpoint": far,
                "bucketName": name,
                "https": False,
                "pathStyle": True,
                "supportsVersioning": versions,
                "credentials": {"accessKey": KEYS["aws_access_key_id"], "secretKey": KEYS["aws_secret_access_key"]},
            },
        }
    (home / "locations.json").write_text(json.dumps(locations))
    with Server(home / "server", environment={"S3_LOCATION_FILE": str(home / "locations.json")}) as running:
        yield running


@pytest.fixture(params=["keeps-versions", "keeps-nothing"])
def client(request, near, bucket):
    """A client of our server, and a bucket of its own in one of the locations."""
    client = s3(near.endpoint)
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": request.param})
    return client


def test_the_rules_of_stores_hold(far, suite):
    keys = ":".join((KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"]))
    assert suite("locations", "foreign::", FAR_S3=far, FAR_S3_KEYS=keys) == 2


def body(answer):
    return answer["Body"].read()


@pytest.mark.parametrize("size", [0, 10, 100_000, 1 * MIB, 9 * MIB + 7])
def test_objects_of_any_size_come_back(client, bucket, size):
    data = payload(size)
    key = f"a folder/ü {size}+%"
    put = client.put_object(Bucket=bucket, Key=key, Body=data, ContentType="text/plain", Metadata={"colour": "blue"})
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    answer = client.get_object(Bucket=bucket, Key=key)
    assert (answer["ContentType"], answer["Metadata"]) == ("text/plain", {"colour": "blue"})
    assert body(answer) == data
    if size > 100:
        assert body(client.get_object(Bucket=bucket, Key=key, Range="bytes=7-70")) == data[7:71]
        assert body(client.get_object(Bucket=bucket, Key=key, Range="bytes=-9")) == data[-9:]
    client.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket=bucket, Key=key)


def test_the_last_of_many_writes_is_read(client, bucket):
    for number in range(6):
        size = 200_000 * (number % 3) + number
        client.put_object(Bucket=bucket, Key="k", Body=payload(size))
        assert len(body(client.get_object(Bucket=bucket, Key="k"))) == size


def test_uploads_in_parts(client, bucket):
    parts = [payload(5 * MIB), payload(6 * MIB)[::-1], payload(1000)]
    upload = client.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    about = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    tags = []
    for number, part in enumerate(parts, 1):
        etag = client.upload_part(**about, PartNumber=number, Body=part)["ETag"]
        tags.append({"PartNumber": number, "ETag": etag})
    assert len(client.list_parts(**about)["Parts"]) == 3
    client.complete_multipart_upload(**about, MultipartUpload={"Parts": tags})
    assert body(client.get_object(Bucket=bucket, Key="big")) == b"".join(parts)
    middle = body(client.get_object(Bucket=bucket, Key="big", Range=f"bytes={5 * MIB - 3}-{5 * MIB + 2}"))
    assert middle == parts[0][-3:] + parts[1][:3]
    given_up = client.create_multipart_upload(Bucket=bucket, Key="none")["UploadId"]
    client.abort_multipart_upload(Bucket=bucket, Key="none", UploadId=given_up)


def test_copies(client, bucket):
    for size in (100, 7 * MIB):
        data = payload(size)
        client.put_object(Bucket=bucket, Key="source", Body=data)
        client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "source"})
        client.delete_object(Bucket=bucket, Key="source")
        assert body(client.get_object(Bucket=bucket, Key="copy")) == data


def test_versions_of_a_bucket_of_ours(client, bucket):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    bodies = [payload(size) for size in (10, 300_000)]
    try:
        ids = [client.put_object(Bucket=bucket, Key="k", Body=data)["VersionId"] for data in bodies]
    except ClientError as error:
        # A far bucket without versions cannot keep two of them under one name.
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501
        return
    client.delete_object(Bucket=bucket, Key="k")
    for version, data in zip(ids, bodies, strict=True):
        assert body(client.get_object(Bucket=bucket, Key="k", VersionId=version)) == data


def test_the_location_is_well(near):
    with urllib.request.urlopen(f"http://127.0.0.1:{near.admin_port}/ready", timeout=20) as answer:
        assert answer.status == 200
