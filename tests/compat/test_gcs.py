"""Locations of type gcp in front of Google Cloud Storage, as far as an emulator is it (google.py)."""

import hashlib
import json
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from files import MIB, payload
from google import ACCESS_KEY, SECRET_KEY, Google
from server import REPOSITORY, Server

pytestmark = pytest.mark.own_server


def s3(endpoint, access, secret, **more):
    settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, **more)
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=settings, **keys)


@pytest.fixture(scope="module")
def google(clients, tmp_path_factory):
    with Google(clients, tmp_path_factory.mktemp("google")) as running:
        running.emulator.document("POST", "/storage/v1/b?project=test", '{"name": "far"}')
        yield running


@pytest.fixture(scope="module")
def near(google, tmp_path_factory):
    """Our server with a location there."""
    home = tmp_path_factory.mktemp("near")
    locations = json.loads((REPOSITORY / "locationConfig.json").read_text())
    locations["google"] = {
        "type": "gcp",
        "objectId": "google",
        "legacyAwsBehavior": False,
        "details": {
            "gcpEndpoint": google.address,
            "bucketName": "far",
            "mpuBucketName": "far-parts",
            "https": False,
            "credentials": {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY},
        },
    }
    (home / "locations.json").write_text(json.dumps(locations))
    with Server(home / "server", environment={"S3_LOCATION_FILE": str(home / "locations.json")}) as running:
        yield running


@pytest.fixture
def client(near, bucket):
    client = s3(near.endpoint, near.access_key, near.secret_key)
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "google"})
    return client


def there(google, prefix):
    """Names of the objects at Google that begin so."""
    items = google.emulator.document("GET", f"/storage/v1/b/far/o?prefix={prefix}").get("items", [])
    return [item["name"] for item in items]


def test_the_rules_of_stores_hold(google, suite):
    keys = f"{ACCESS_KEY}:{SECRET_KEY}"
    count = suite("locations", "foreign::", FAR_S3=google.address, FAR_S3_KEYS=keys, FAR_S3_FLAVOR="google")
    assert count == 2
    assert not google.uploads, "uploads were left open"


def test_the_emulator_checks_signatures(google):
    with pytest.raises(ClientError) as refused:
        s3(f"http://{google.address}", ACCESS_KEY, "wrong").head_bucket(Bucket="far")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("size", [0, 10, 300_000, 9 * MIB + 7])
def test_objects_are_googles_objects(client, google, bucket, size):
    data, key = payload(size), f"a folder/\u00fc {size}+%"
    put = client.put_object(Bucket=bucket, Key=key, Body=data, ContentType="text/plain", Metadata={"colour": "blue"})
    assert put["ETag"].strip('"') == hashlib.md5(data).hexdigest()
    about = google.emulator.about("far", f"{bucket}/{key}")
    assert (about["contentType"], int(about["size"])) == ("text/plain", size)
    assert about["metadata"]["colour"] == "blue"
    answer = client.get_object(Bucket=bucket, Key=key)
    assert (answer["ContentType"], answer["Metadata"]) == ("text/plain", {"colour": "blue"})
    assert answer["Body"].read() == data
    if size > 100:
        assert client.get_object(Bucket=bucket, Key=key, Range="bytes=7-70")["Body"].read() == data[7:71]
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    client.delete_object(Bucket=bucket, Key=key)
    assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == data
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket=bucket, Key=key)


def test_the_last_of_many_writes_is_read(client, google, bucket):
    for number in range(6):
        size = 200_000 * (number % 3) + number
        client.put_object(Bucket=bucket, Key="k", Body=payload(size))
        assert len(client.get_object(Bucket=bucket, Key="k")["Body"].read()) == size
    assert there(google, bucket) == [f"{bucket}/k"]


def test_uploads_in_parts(client, google, bucket):
    bodies = [payload(5 * MIB), payload(6 * MIB)[::-1], payload(1000)]
    upload = client.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    about = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    parts = []
    for number, part in enumerate(bodies, 1):
        etag = client.upload_part(**about, PartNumber=number, Body=part)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(bodies)
    assert int(google.emulator.about("far", f"{bucket}/big")["size"]) == sum(map(len, bodies))
    given_up = client.create_multipart_upload(Bucket=bucket, Key="none")["UploadId"]
    client.upload_part(Bucket=bucket, Key="none", UploadId=given_up, PartNumber=1, Body=b"lost")
    client.abort_multipart_upload(Bucket=bucket, Key="none", UploadId=given_up)
    assert there(google, bucket) == [f"{bucket}/big"]
    ended = time.monotonic() + 60
    while google.uploads and time.monotonic() < ended:
        time.sleep(0.1)
    assert not google.uploads, "the upload at Google is ended, too, behind the scenes"


def test_versions_cannot_be_there(client, bucket):
    with pytest.raises(ClientError) as refused:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        client.put_object(Bucket=bucket, Key="key", Body=b"version")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
