"""boto3: transfer manager, presigned requests, trailers over TLS, versions, resources, both address styles."""

import base64
import csv
import gzip
import hashlib
import http.client
import importlib.util
import io
import json
import socket
import time
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import HERE
from files import MIB, digest, payload, write
from server import Server


@pytest.fixture(scope="session")
def boto3(clients):
    """The library itself: these tests run in the interpreter of the clients' environment."""
    import boto3

    return boto3


@pytest.fixture(scope="session", autouse=True)
def loopback_names():
    """`bucket.localhost` resolves in this process as it does for the commands."""
    spec = importlib.util.spec_from_file_location("loopback", HERE / "resolve/sitecustomize.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture
def connect(boto3):
    """A client (or resource) for a server: `style` path or virtual, other words go to botocore's Config."""
    from botocore.config import Config

    def client(server, kind="client", style="path", endpoint=None, keys=None, verify=None, **settings):
        access, secret = keys or (server.access_key, server.secret_key)
        settings = {"retries": {"max_attempts": 1, "mode": "standard"}, "s3": {"addressing_style": style}} | settings
        session = boto3.session.Session(access, secret, region_name="us-east-1")
        return getattr(session, kind)(
            "s3", endpoint_url=endpoint or server.endpoint, verify=verify, config=Config(**settings)
        )

    return client


@pytest.fixture
def s3(connect, server, bucket):
    client = connect(server)
    client.create_bucket(Bucket=bucket)
    return client


def refused(call, code, status=None):
    """Asserts that a call ends in this S3 error."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as error:
        call()
    answer = error.value.response
    assert answer["Error"]["Code"] == code
    if status:
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status


def test_the_transfer_manager_moves_large_objects_in_parts(s3, bucket, tmp_path):
    from boto3.s3.transfer import TransferConfig

    body = payload(25 * MIB + 1)
    write(tmp_path / "up", body)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(tmp_path / "up"), bucket, "big", Config=parts, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-6"') and head["Metadata"] == {"a": "b"}
    s3.download_file(bucket, "big", str(tmp_path / "down"), Config=parts)
    assert digest(tmp_path / "down") == digest(body)
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=parts)
    assert digest(s3.get_object(Bucket=bucket, Key="copy")["Body"].read()) == digest(body)


def test_presigned_urls_of_both_signature_versions(connect, server, bucket):
    body = payload(2000)
    for version in ("s3v4", "s3"):
        client = connect(server, signature_version=version)
        if version == "s3v4":
            client.create_bucket(Bucket=bucket)
        where = {"Bucket": bucket, "Key": "käy +"}
        put = client.generate_presigned_url("put_object", {**where, "ContentType": "text/a"}, ExpiresIn=60)
        assert fetch(put, "PUT", body, {"Content-Type": "text/a"})[0] == 200
        get = client.generate_presigned_url(
            "get_object", {**where, "ResponseContentType": "text/b", "ResponseCacheControl": "no-store"}, ExpiresIn=60
        )
        status, headers, got = fetch(get)
        assert (status, got) == (200, body)
        assert (headers["content-type"], headers["cache-control"]) == ("text/b", "no-store")
        assert fetch(get, "DELETE")[0] == 403, "the method is part of what was signed"
        head = client.generate_presigned_url("head_object", where, ExpiresIn=60)
        assert fetch(head, "HEAD")[0] == 200
        delete = client.generate_presigned_url("delete_object", where, ExpiresIn=60)
        assert fetch(delete, "DELETE")[0] == 204


def test_an_empty_body_with_expect_is_answered_as_botocore_needs_it(s3, server, bucket):
    """`aws s3 sync` sends `Expect: 100-continue` for empty files too.

    botocore cannot reuse a connection on which a final answer came without a 100: it takes the status of the next
    answer for a header and waits a minute for the rest. So either a 100 comes first, or the connection is closed.
    """
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "empty"}))
    request = (
        f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = connection.makefile("rb")
        first = answer.readline()
        if b" 100 " not in first:
            assert b" 200 " in first
            head = b"".join(iter(answer.readline, b"\r\n")).lower()
            assert b"connection: close" in head


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_signature_version_2_in_headers(connect, server, bucket, style):
    client = connect(server, signature_version="s3", style=style, endpoint=f"http://localhost:{server.port}")
    client.create_bucket(Bucket=bucket, ACL="private")
    client.put_object(Bucket=bucket, Key="ü +", Body=b"hello", Metadata={"a": "b"})
    assert client.get_object(Bucket=bucket, Key="ü +")["Body"].read() == b"hello"
    assert [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["ü +"]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    doomed = client.list_object_versions(Bucket=bucket)["Versions"]
    doomed = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in doomed]
    client.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    client.delete_bucket(Bucket=bucket)
    wrong = connect(server, signature_version="s3", keys=("accessKey1", "wrong"))
    refused(lambda: wrong.list_buckets(), "SignatureDoesNotMatch", 403)


def fetch(url, method="GET", body=None, headers=None):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()
    finally:
        connection.close()


def test_bodies_and_checksums_in_trailers_over_tls(connect, tls_server, bucket):
    """Over TLS botocore sends `aws-chunked` with the checksum in an unsigned trailer."""
    client = connect(tls_server, endpoint=tls_server.named_endpoint, verify=str(tls_server.ca))
    sent = []
    client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)))
    client.create_bucket(Bucket=bucket)
    body = payload(3 * MIB + 17)
    told = client.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(body))
    assert told["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    content = sent[0]["X-Amz-Content-SHA256"]
    assert content in (b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    got = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert digest(got["Body"].read()) == digest(body)
    assert got["ChecksumCRC32"] == told["ChecksumCRC32"]
    assert "aws-chunked" not in got.get("ContentEncoding", "")
    for algorithm in ("SHA1", "SHA256", "CRC32"):
        client.put_object(Bucket=bucket, Key=algorithm, Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
        got = client.get_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
        assert f"Checksum{algorithm}" in got and digest(got["Body"].read()) == digest(body)


def test_multipart_over_tls_in_virtual_host_style(connect, tls_server, bucket, tmp_path):
    from boto3.s3.transfer import TransferConfig

    client = connect(tls_server, endpoint=tls_server.named_endpoint, verify=str(tls_server.ca), style="virtual")
    client.create_bucket(Bucket=bucket)
    body = payload(11 * MIB)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.upload_fileobj(io.BytesIO(body), bucket, "big", Config=parts)
    client.download_file(bucket, "big", str(tmp_path / "down"), Config=parts)
    assert digest(tmp_path / "down") == digest(body)


def test_both_address_styles_reach_the_same_bucket(connect, server, bucket):
    endpoint = f"http://localhost:{server.port}"
    seen = []
    virtual = connect(server, style="virtual", endpoint=endpoint)
    virtual.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    virtual.create_bucket(Bucket=bucket)
    virtual.put_object(Bucket=bucket, Key="a/ü b", Body=b"hello")
    assert all(f"//{bucket}.localhost:" in url for url in seen)
    path = connect(server, style="path", endpoint=endpoint)
    assert path.get_object(Bucket=bucket, Key="a/ü b")["Body"].read() == b"hello"
    assert [one["Key"] for one in virtual.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/ü b"]


def test_the_resource_interface(connect, server, bucket):
    resource = connect(server, kind="resource")
    mine = resource.create_bucket(Bucket=bucket)
    assert mine.creation_date is not None
    mine.put_object(Key="a", Body=b"1", Metadata={"x": "y"})
    mine.Object("b").upload_fileobj(io.BytesIO(b"22"))
    mine.Object("c").copy({"Bucket": bucket, "Key": "a"})
    assert [(one.key, one.size) for one in mine.objects.all()] == [("a", 1), ("b", 2), ("c", 1)]
    assert mine.Object("c").metadata == {"x": "y"}
    mine.Versioning().enable()
    mine.put_object(Key="a", Body=b"333")
    assert [one.size for one in mine.object_versions.filter(Prefix="a")] == [3, 1]
    mine.object_versions.delete()
    mine.delete()
    assert bucket not in [one.name for one in resource.buckets.all()]


def test_versions_by_identifier(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=f"{n}".encode())["VersionId"] for n in range(5)]
    assert len(set(ids)) == 5
    for number, version in enumerate(ids):
        assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == f"{number}".encode()
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [one["VersionId"] for page in pages for one in page["Versions"]] == ids[::-1]
    source = {"Bucket": bucket, "Key": "k", "VersionId": ids[1]}
    s3.copy_object(Bucket=bucket, Key="old", CopySource=source)
    assert s3.get_object(Bucket=bucket, Key="old")["Body"].read() == b"1"
    doomed = [{"Key": "k", "VersionId": version} for version in ids[:4]]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})["Deleted"]) == 4
    refused(lambda: s3.get_object(Bucket=bucket, Key="k", VersionId=ids[0]), "NoSuchVersion", 404)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"4"


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE"), ("SHA1", "COMPOSITE")],
)
def test_multipart_checksums(s3, bucket, algorithm, kind):
    parts = [payload(5 * MIB, 1), payload(1000, 2)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    field, done = f"Checksum{algorithm}", []
    for number, part in enumerate(parts, 1):
        told = s3.upload_part(**where, PartNumber=number, Body=part, ChecksumAlgorithm=algorithm)
        done.append({"PartNumber": number, "ETag": told["ETag"], field: told[field]})
    whole = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    if kind == "FULL_OBJECT":
        expected = base64.b64encode(zlib.crc32(b"".join(parts)).to_bytes(4, "big")).decode()
    else:
        joined = b"".join(base64.b64decode(part[field]) for part in done)
        of = {
            "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
            "SHA1": lambda data: hashlib.sha1(data).digest(),
            "SHA256": lambda data: hashlib.sha256(data).digest(),
        }[algorithm]
        expected = base64.b64encode(of(joined)).decode() + "-2"
    assert whole[field] == expected
    assert whole["ChecksumType"] == kind
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (expected, kind)
    told = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "Checksum"])
    assert told["ObjectParts"]["TotalPartsCount"] == 2
    assert digest(s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read()) == digest(
        b"".join(parts)
    )


def test_conditional_writes_have_one_winner(s3, bucket):
    from botocore.exceptions import ClientError

    def attempt(number):
        try:
            s3.put_object(Bucket=bucket, Key="only", Body=f"writer {number}".encode(), IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            return None

    with ThreadPoolExecutor(16) as pool:
        winners = [one for one in pool.map(attempt, range(16)) if one is not None]
    assert len(winners) == 1
    assert s3.get_object(Bucket=bucket, Key="only")["Body"].read() == f"writer {winners[0]}".encode()


def test_errors_carry_their_codes(s3, connect, server, bucket):
    refused(lambda: s3.get_object(Bucket=bucket, Key="none"), "NoSuchKey", 404)
    refused(lambda: s3.list_objects_v2(Bucket=f"{bucket}-none"), "NoSuchBucket", 404)
    refused(lambda: s3.get_bucket_tagging(Bucket=bucket), "NoSuchTagSet", 404)
    refused(lambda: s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId="none"), "NoSuchUpload", 404)
    stranger = connect(server, keys=("accessKey2", "verySecretKey2"))
    refused(lambda: stranger.put_object(Bucket=bucket, Key="k", Body=b""), "AccessDenied", 403)
    nobody = connect(server, keys=("nobody", "nothing"))
    refused(lambda: nobody.list_buckets(), "InvalidAccessKeyId", 403)


def test_public_objects_are_read_without_keys(s3, connect, server, bucket):
    from botocore import UNSIGNED

    s3.put_object(Bucket=bucket, Key="open", Body=b"open", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="shut", Body=b"shut")
    anonymous = connect(server, signature_version=UNSIGNED)
    assert anonymous.get_object(Bucket=bucket, Key="open")["Body"].read() == b"open"
    refused(lambda: anonymous.get_object(Bucket=bucket, Key="shut"), "AccessDenied", 403)
    refused(lambda: anonymous.list_objects_v2(Bucket=bucket), "AccessDenied", 403)


def test_a_listing_of_two_thousand_keys_in_pages(s3, bucket):
    keys = [f"{number % 20:02}/{number:05}" for number in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000]
    assert [one["Key"] for page in pages for one in page["Contents"]] == sorted(keys)
    folders = s3.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"]
    assert [one["Prefix"] for one in folders] == [f"{number:02}/" for number in range(20)]
    doomed = [{"Key": key} for key in keys]
    for start in (0, 1000):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed[start : start + 1000], "Quiet": True})
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.own_server
def test_an_inventory_report_is_read_by_pythons_csv_after_a_restart(connect, tmp_path):
    reports = {"lookSeconds": 1, "rowsPerFile": 100}
    with Server(tmp_path / "server", settings={"cloudserver": {"inventory": reports}}) as own:
        s3 = connect(own)
        for name in ("source", "reports"):
            s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket="source", VersioningConfiguration={"Status": "Enabled"})
        keys = [f'{number:04} "a",b+ü' for number in range(350)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket="source", Key=key, Body=key.encode()), keys))
        s3.delete_object(Bucket="source", Key=keys[0])
        s3.put_bucket_inventory_configuration(
            Bucket="source",
            Id="all",
            InventoryConfiguration={
                "Id": "all",
                "IsEnabled": True,
                "IncludedObjectVersions": "All",
                "Schedule": {"Frequency": "Daily"},
                "OptionalFields": ["Size", "ETag", "LastModifiedDate"],
                "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::reports", "Format": "CSV"}},
            },
        )
        own.stop()
        own.start()
        manifest = awaited(s3, "reports", "manifest.checksum").replace(".checksum", ".json")
        manifest = json.loads(s3.get_object(Bucket="reports", Key=manifest)["Body"].read())
        schema = manifest["fileSchema"].split(", ")
        rows = []
        for file in manifest["files"]:
            body = s3.get_object(Bucket="reports", Key=file["key"])["Body"].read()
            assert hashlib.md5(body).hexdigest() == file["MD5checksum"]
            text = gzip.decompress(body).decode()
            rows += [dict(zip(schema, row, strict=True)) for row in csv.reader(io.StringIO(text))]
        assert len(manifest["files"]) == 4
        told = {
            (urllib.parse.unquote_plus(row["Key"]), row["VersionId"], row["IsLatest"], row["Size"], row["ETag"])
            for row in rows
        }
        listed = set()
        for page in s3.get_paginator("list_object_versions").paginate(Bucket="source"):
            for one in page.get("Versions", []):
                size, etag = str(one["Size"]), one["ETag"].strip('"')
                listed.add((one["Key"], one["VersionId"], str(one["IsLatest"]).lower(), size, etag))
            for one in page.get("DeleteMarkers", []):
                listed.add((one["Key"], one["VersionId"], str(one["IsLatest"]).lower(), "", ""))
        assert len(rows) == len(listed) == 351
        assert told == listed


def awaited(s3, bucket, end):
    """The first key with this end, once it is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        found = [key for key in keys if key.endswith(end)]
        if found:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"no {end} in {bucket}")
