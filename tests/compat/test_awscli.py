"""The AWS command line: `aws s3` as people use it, and `aws s3api` operation by operation."""

import base64
import hashlib
import json
import urllib.error
import urllib.request
import zlib

import pytest

from files import MIB, digest, make_tree, payload, tree, write


@pytest.fixture
def aws(run, server):
    """`aws` with the endpoint and the keys set; configured by the environment only."""

    def command(*words, key=None, secret=None, endpoint=None, settings=None, **options):
        environment = {
            "AWS_ACCESS_KEY_ID": key or server.access_key,
            "AWS_SECRET_ACCESS_KEY": secret or server.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            **(settings or {}),
        }
        return run("aws", "--endpoint-url", endpoint or server.endpoint, *words, environment=environment, **options)

    return command


@pytest.fixture
def api(aws):
    """`aws s3api …` as parsed JSON (None when the answer is empty)."""

    def call(*words, **options):
        printed = aws("s3api", *words, "--output", "json", **options)
        if options.get("fails"):
            return printed
        return json.loads(printed) if printed.strip() else None

    return call


def md5_base64(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


# --- aws s3 -----------------------------------------------------------------------------------


def test_first_commands_of_the_tutorial(aws, bucket, tmp_path):
    """mb, cp up, ls, ls --recursive, cp down, mv, rm, rb."""
    body = payload(3000)
    write(tmp_path / "up.bin", body)
    assert f"make_bucket: {bucket}" in aws("s3", "mb", f"s3://{bucket}")
    assert bucket in aws("s3", "ls")
    aws("s3", "cp", "up.bin", f"s3://{bucket}/a/b/up.bin")
    assert "PRE a/" in aws("s3", "ls", f"s3://{bucket}")
    listed = aws("s3", "ls", "--recursive", "--summarize", f"s3://{bucket}")
    assert "3000 a/b/up.bin" in listed and "Total Objects: 1" in listed and "Total Size: 3000" in listed
    aws("s3", "cp", f"s3://{bucket}/a/b/up.bin", "down.bin")
    assert digest(tmp_path / "down.bin") == digest(body)
    aws("s3", "mv", f"s3://{bucket}/a/b/up.bin", f"s3://{bucket}/moved.bin")
    assert aws("s3", "ls", "--recursive", f"s3://{bucket}").split()[-1] == "moved.bin"
    assert "BucketNotEmpty" in aws("s3", "rb", f"s3://{bucket}", fails=True)
    aws("s3", "rm", f"s3://{bucket}/moved.bin")
    aws("s3", "rb", f"s3://{bucket}")
    assert bucket not in aws("s3", "ls")


def test_sync_up_and_down_keeps_every_name_and_byte(aws, bucket, tmp_path):
    before = make_tree(tmp_path / "source")
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "sync", "source", f"s3://{bucket}/tree")
    aws("s3", "sync", f"s3://{bucket}/tree", "target")
    assert tree(tmp_path / "target") == before
    assert aws("s3", "sync", "source", f"s3://{bucket}/tree") == "", "a second sync finds nothing to do"
    (tmp_path / "source/plain.txt").unlink()
    assert "delete:" in aws("s3", "sync", "--delete", "source", f"s3://{bucket}/tree")
    aws("s3", "sync", f"s3://{bucket}/tree", f"s3://{bucket}/copy")
    aws("s3", "sync", f"s3://{bucket}/copy", "again")
    assert tree(tmp_path / "again") == tree(tmp_path / "source")
    aws("s3", "rb", "--force", f"s3://{bucket}")


def test_large_files_go_up_come_down_and_are_copied_in_parts(aws, bucket, tmp_path):
    body = payload(40 * MIB + 12345)
    write(tmp_path / "large", body)
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", "large", f"s3://{bucket}/large")
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copied")
    aws("s3", "mv", f"s3://{bucket}/copied", f"s3://{bucket}/moved")
    aws("s3", "cp", f"s3://{bucket}/moved", "down")
    assert digest(tmp_path / "down") == digest(body)


def test_streams_and_metadata(aws, api, bucket):
    aws("s3", "mb", f"s3://{bucket}")
    aws(
        "s3",
        "cp",
        "-",
        f"s3://{bucket}/note",
        "--metadata",
        "Colour=blue,size=10",
        "--content-type",
        "text/x-note",
        "--cache-control",
        "max-age=60",
        "--content-disposition",
        "attachment",
        stdin="from a pipe\n",
    )
    assert aws("s3", "cp", f"s3://{bucket}/note", "-") == "from a pipe\n"
    head = api("head-object", "--bucket", bucket, "--key", "note")
    assert head["Metadata"] == {"colour": "blue", "size": "10"}
    assert head["ContentType"] == "text/x-note"
    assert head["CacheControl"] == "max-age=60"
    assert head["ContentDisposition"] == "attachment"


def test_presigned_urls_need_no_keys_and_end_in_time(aws, bucket, tmp_path):
    body = payload(5000)
    write(tmp_path / "file", body)
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", "file", f"s3://{bucket}/a file+ü")
    url = aws("s3", "presign", f"s3://{bucket}/a file+ü", "--expires-in", "300").strip()
    assert "X-Amz-Signature=" in url or "Signature=" in url
    with urllib.request.urlopen(url) as answer:
        assert digest(answer.read()) == digest(body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))
    assert refused.value.code == 403
    assert b"SignatureDoesNotMatch" in refused.value.read()


def test_wrong_keys_are_refused(aws, bucket):
    aws("s3", "mb", f"s3://{bucket}")
    assert "InvalidAccessKeyId" in aws("s3", "ls", f"s3://{bucket}", key="nobody", fails=True)
    assert "SignatureDoesNotMatch" in aws("s3", "ls", f"s3://{bucket}", secret="wrong", fails=True)
    assert "AccessDenied" in aws("s3", "ls", f"s3://{bucket}", key="accessKey2", secret="verySecretKey2", fails=True)
    assert "NoSuchBucket" in aws("s3", "ls", f"s3://{bucket}-none", fails=True)


# --- aws s3api --------------------------------------------------------------------------------


def test_versions_markers_and_their_removal(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    assert api("get-bucket-versioning", "--bucket", bucket) is None
    api("put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
    assert api("get-bucket-versioning", "--bucket", bucket)["Status"] == "Enabled"
    ids = []
    for number in range(3):
        write(tmp_path / "body", f"version {number}")
        ids.append(api("put-object", "--bucket", bucket, "--key", "k", "--body", "body")["VersionId"])
    gone = api("delete-object", "--bucket", bucket, "--key", "k")
    assert gone["DeleteMarker"] is True
    assert "404" in api("head-object", "--bucket", bucket, "--key", "k", fails=True)
    listed = api("list-object-versions", "--bucket", bucket)
    assert [version["VersionId"] for version in listed["Versions"]] == ids[::-1]
    assert [marker["IsLatest"] for marker in listed["DeleteMarkers"]] == [True]
    for number, version in enumerate(ids):
        api("get-object", "--bucket", bucket, "--key", "k", "--version-id", version, "old")
        assert (tmp_path / "old").read_text() == f"version {number}"
    api("delete-object", "--bucket", bucket, "--key", "k", "--version-id", gone["VersionId"])
    api("get-object", "--bucket", bucket, "--key", "k", "now")
    assert (tmp_path / "now").read_text() == "version 2"
    api("delete-object", "--bucket", bucket, "--key", "k", "--version-id", ids[2])
    api("get-object", "--bucket", bucket, "--key", "k", "now")
    assert (tmp_path / "now").read_text() == "version 1"
    api("put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Suspended")
    assert api("put-object", "--bucket", bucket, "--key", "k", "--body", "body").get("VersionId") in (None, "null")
    listed = api("list-object-versions", "--bucket", bucket)
    assert [version["VersionId"] for version in listed["Versions"]] == ["null", ids[1], ids[0]]


def test_tags_of_objects_and_buckets(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    write(tmp_path / "body", "x")
    api("put-object", "--bucket", bucket, "--key", "k", "--body", "body", "--tagging", "a=1&b=two%20words")
    tags = api("get-object-tagging", "--bucket", bucket, "--key", "k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "two words"}]
    assert api("head-object", "--bucket", bucket, "--key", "k")["ContentLength"] == 1
    api("put-object-tagging", "--bucket", bucket, "--key", "k", "--tagging", "TagSet=[{Key=ü,Value=é}]")
    assert api("get-object-tagging", "--bucket", bucket, "--key", "k")["TagSet"] == [{"Key": "ü", "Value": "é"}]
    api("delete-object-tagging", "--bucket", bucket, "--key", "k")
    assert api("get-object-tagging", "--bucket", bucket, "--key", "k")["TagSet"] == []
    assert "NoSuchTagSet" in api("get-bucket-tagging", "--bucket", bucket, fails=True)
    api("put-bucket-tagging", "--bucket", bucket, "--tagging", "TagSet=[{Key=team,Value=storage}]")
    assert api("get-bucket-tagging", "--bucket", bucket)["TagSet"] == [{"Key": "team", "Value": "storage"}]
    api("delete-bucket-tagging", "--bucket", bucket)
    assert "NoSuchTagSet" in api("get-bucket-tagging", "--bucket", bucket, fails=True)


def test_multipart_step_by_step(api, bucket, tmp_path):
    parts = [payload(5 * MIB, 1), payload(5 * MIB, 2), payload(77, 3)]
    api("create-bucket", "--bucket", bucket)
    upload = api("create-multipart-upload", "--bucket", bucket, "--key", "big", "--content-type", "x/y")["UploadId"]
    where = ["--bucket", bucket, "--key", "big", "--upload-id", upload]
    etags = []
    for number, part in enumerate(parts, 1):
        write(tmp_path / "part", part)
        etags.append(api("upload-part", *where, "--part-number", str(number), "--body", "part")["ETag"])
    assert etags == [f'"{hashlib.md5(part).hexdigest()}"' for part in parts]
    listed = api("list-multipart-uploads", "--bucket", bucket)["Uploads"]
    assert [(one["Key"], one["UploadId"]) for one in listed] == [("big", upload)]
    first = api("list-parts", *where, "--page-size", "2", "--max-items", "2")
    assert [part["PartNumber"] for part in first["Parts"]] == [1, 2]
    every = api("list-parts", *where, "--page-size", "2")["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in every] == [
        (number, len(part), etag) for number, (part, etag) in enumerate(zip(parts, etags), 1)
    ]
    wanted = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]}
    wrong = json.loads(json.dumps(wanted))
    wrong["Parts"][0]["ETag"] = etags[1]
    assert "InvalidPart" in api(
        "complete-multipart-upload", *where, "--multipart-upload", json.dumps(wrong), fails=True
    )
    done = api("complete-multipart-upload", *where, "--multipart-upload", json.dumps(wanted))
    expected = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert done["ETag"] == f'"{expected}-3"'
    api("get-object", "--bucket", bucket, "--key", "big", "whole")
    assert digest(tmp_path / "whole") == digest(b"".join(parts))
    api("get-object", "--bucket", bucket, "--key", "big", "--part-number", "2", "second")
    assert digest(tmp_path / "second") == digest(parts[1])
    head = api("head-object", "--bucket", bucket, "--key", "big", "--part-number", "3")
    assert (head["PartsCount"], head["ContentLength"], head["ContentType"]) == (3, 77, "x/y")


def test_an_aborted_upload_leaves_nothing(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    upload = api("create-multipart-upload", "--bucket", bucket, "--key", "big")["UploadId"]
    where = ["--bucket", bucket, "--key", "big", "--upload-id", upload]
    write(tmp_path / "part", payload(1000))
    api("upload-part", *where, "--part-number", "1", "--body", "part")
    api("abort-multipart-upload", *where)
    assert "NoSuchUpload" in api("list-parts", *where, fails=True)
    assert "Uploads" not in (api("list-multipart-uploads", "--bucket", bucket) or {})
    api("delete-bucket", "--bucket", bucket)


def test_upload_part_copy_takes_ranges_of_other_objects(api, bucket, tmp_path):
    source = payload(12 * MIB)
    write(tmp_path / "source", source)
    api("create-bucket", "--bucket", bucket)
    api("put-object", "--bucket", bucket, "--key", "source", "--body", "source")
    upload = api("create-multipart-upload", "--bucket", bucket, "--key", "joined")["UploadId"]
    where = ["--bucket", bucket, "--key", "joined", "--upload-id", upload]
    ranges = [(6 * MIB, 12 * MIB - 1), (0, 999)]
    parts = []
    for number, (start, end) in enumerate(ranges, 1):
        copied = api(
            "upload-part-copy",
            *where,
            "--part-number",
            str(number),
            "--copy-source",
            f"{bucket}/source",
            "--copy-source-range",
            f"bytes={start}-{end}",
        )
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    api("complete-multipart-upload", *where, "--multipart-upload", json.dumps({"Parts": parts}))
    api("get-object", "--bucket", bucket, "--key", "joined", "joined")
    assert digest(tmp_path / "joined") == digest(b"".join(source[start : end + 1] for start, end in ranges))


def test_conditional_writes_and_reads(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    write(tmp_path / "one", "one")
    write(tmp_path / "two", "two")
    where = ["--bucket", bucket, "--key", "k"]
    etag = api("put-object", *where, "--body", "one", "--if-none-match", "*")["ETag"]
    assert "PreconditionFailed" in api("put-object", *where, "--body", "two", "--if-none-match", "*", fails=True)
    other = '"00000000000000000000000000000000"'
    assert "PreconditionFailed" in api("put-object", *where, "--body", "two", "--if-match", other, fails=True)
    assert "304" in api("get-object", *where, "--if-none-match", etag, "got", fails=True)
    assert "PreconditionFailed" in api("get-object", *where, "--if-match", other, "got", fails=True)
    api("get-object", *where, "--if-match", etag, "got")
    assert (tmp_path / "got").read_text() == "one"
    api("put-object", *where, "--body", "two", "--if-match", etag)
    api("get-object", *where, "got")
    assert (tmp_path / "got").read_text() == "two"
    written = api("head-object", *where)["LastModified"]
    assert "304" in api("head-object", *where, "--if-modified-since", written, fails=True)
    assert "412" in api("head-object", *where, "--if-unmodified-since", "2001-01-01T00:00:00Z", fails=True)


ALGORITHMS = {
    "CRC32": lambda data: base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode(),
    "SHA1": lambda data: base64.b64encode(hashlib.sha1(data).digest()).decode(),
    "SHA256": lambda data: base64.b64encode(hashlib.sha256(data).digest()).decode(),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_are_kept_and_told(api, bucket, tmp_path, algorithm):
    body = payload(70000)
    write(tmp_path / "body", body)
    api("create-bucket", "--bucket", bucket)
    where = ["--bucket", bucket, "--key", "k"]
    field = f"Checksum{algorithm}"
    expected = ALGORITHMS[algorithm](body)
    assert api("put-object", *where, "--body", "body", "--checksum-algorithm", algorithm)[field] == expected
    assert api("head-object", *where, "--checksum-mode", "ENABLED")[field] == expected
    assert api("get-object", *where, "--checksum-mode", "ENABLED", "down")[field] == expected
    assert digest(tmp_path / "down") == digest(body)
    option = f"--checksum-{algorithm.lower()}"
    wrong = ALGORITHMS[algorithm](body + b"!")
    assert "BadDigest" in api("put-object", *where, "--body", "body", option, wrong, fails=True)
    assert api("head-object", *where, "--checksum-mode", "ENABLED")[field] == expected


def test_content_md5_is_verified(api, bucket, tmp_path):
    body = payload(1000)
    write(tmp_path / "body", body)
    api("create-bucket", "--bucket", bucket)
    where = ["--bucket", bucket, "--key", "k", "--body", "body"]
    assert "BadDigest" in api("put-object", *where, "--content-md5", md5_base64(b"other"), fails=True)
    assert "InvalidDigest" in api("put-object", *where, "--content-md5", "nonsense", fails=True)
    api("put-object", *where, "--content-md5", md5_base64(body))


def test_object_attributes(api, bucket, tmp_path):
    body = payload(1000)
    write(tmp_path / "body", body)
    api("create-bucket", "--bucket", bucket)
    api("put-object", "--bucket", bucket, "--key", "k", "--body", "body", "--checksum-algorithm", "SHA256")
    told = api(
        "get-object-attributes",
        "--bucket",
        bucket,
        "--key",
        "k",
        "--object-attributes",
        "ETag",
        "Checksum",
        "ObjectParts",
        "StorageClass",
        "ObjectSize",
    )
    assert told["ETag"] == hashlib.md5(body).hexdigest()
    assert told["ObjectSize"] == 1000
    assert told["StorageClass"] == "STANDARD"
    assert told["Checksum"]["ChecksumSHA256"] == ALGORITHMS["SHA256"](body)


def test_listing_pages_prefixes_and_markers(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    write(tmp_path / "tree/x", "1")
    keys = [f"{folder}/{number:02}" for folder in ("a", "b", "ü") for number in range(4)] + ["top"]
    for key in keys:
        api("put-object", "--bucket", bucket, "--key", key, "--body", "tree/x")
    for version in ("list-objects", "list-objects-v2"):
        listed = api(version, "--bucket", bucket, "--page-size", "3")
        assert [one["Key"] for one in listed["Contents"]] == sorted(keys, key=str.encode)
    folded = api("list-objects-v2", "--bucket", bucket, "--delimiter", "/", "--page-size", "2")
    assert sorted(one["Prefix"] for one in folded["CommonPrefixes"]) == ["a/", "b/", "ü/"]
    assert [one["Key"] for one in folded["Contents"]] == ["top"]
    after = api("list-objects-v2", "--bucket", bucket, "--start-after", "b/01", "--prefix", "b/")
    assert [one["Key"] for one in after["Contents"]] == ["b/02", "b/03"]
    page = api("list-objects-v2", "--bucket", bucket, "--max-keys", "5", "--no-paginate")
    assert page["IsTruncated"] and page["KeyCount"] == 5 and page["NextContinuationToken"]


def test_delete_objects_reports_each_key(api, bucket, tmp_path):
    api("create-bucket", "--bucket", bucket)
    write(tmp_path / "x", "1")
    keys = ["one", "two <&> three", "ünï"]
    for key in keys:
        api("put-object", "--bucket", bucket, "--key", key, "--body", "x")
    wanted = {"Objects": [{"Key": key} for key in [*keys, "never-there"]]}
    done = api("delete-objects", "--bucket", bucket, "--delete", json.dumps(wanted))
    assert sorted(one["Key"] for one in done["Deleted"]) == sorted([*keys, "never-there"])
    assert "Contents" not in (api("list-objects-v2", "--bucket", bucket) or {})


def test_ranges(api, bucket, tmp_path):
    body = payload(100_000)
    write(tmp_path / "body", body)
    api("create-bucket", "--bucket", bucket)
    api("put-object", "--bucket", bucket, "--key", "k", "--body", "body")
    where = ["--bucket", bucket, "--key", "k"]
    for asked, expected, told in [
        ("bytes=0-0", body[:1], "bytes 0-0/100000"),
        ("bytes=65530-65545", body[65530:65546], "bytes 65530-65545/100000"),
        ("bytes=-10", body[-10:], "bytes 99990-99999/100000"),
        ("bytes=99000-", body[99000:], "bytes 99000-99999/100000"),
    ]:
        assert api("get-object", *where, "--range", asked, "got")["ContentRange"] == told
        assert (tmp_path / "got").read_bytes() == expected
    assert "InvalidRange" in api("get-object", *where, "--range", "bytes=100000-", "got", fails=True)


def test_copy_keeps_or_replaces_metadata(api, bucket, tmp_path):
    body = payload(5000)
    write(tmp_path / "body", body)
    api("create-bucket", "--bucket", bucket)
    api(
        "put-object",
        "--bucket",
        bucket,
        "--key",
        "from ü",
        "--body",
        "body",
        "--metadata",
        "a=1",
        "--content-type",
        "x/y",
    )
    source = ["--copy-source", f"{bucket}/from ü", "--bucket", bucket]
    copied = api("copy-object", *source, "--key", "kept")["CopyObjectResult"]
    assert copied["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    api("copy-object", *source, "--key", "new", "--metadata-directive", "REPLACE", "--metadata", "b=2")
    kept = api("head-object", "--bucket", bucket, "--key", "kept")
    assert (kept["Metadata"], kept["ContentType"]) == ({"a": "1"}, "x/y")
    assert api("head-object", "--bucket", bucket, "--key", "new")["Metadata"] == {"b": "2"}
    api("get-object", "--bucket", bucket, "--key", "new", "down")
    assert digest(tmp_path / "down") == digest(body)


def test_buckets_are_told_apart(api, bucket):
    api("create-bucket", "--bucket", bucket, "--create-bucket-configuration", "LocationConstraint=eu-west-1")
    assert api("get-bucket-location", "--bucket", bucket)["LocationConstraint"] == "eu-west-1"
    assert bucket in [one["Name"] for one in api("list-buckets")["Buckets"]]
    api("head-bucket", "--bucket", bucket)
    assert "403" in api("head-bucket", "--bucket", bucket, fails=True, key="accessKey2", secret="verySecretKey2")
    assert "BucketAlreadyExists" in api(
        "create-bucket", "--bucket", bucket, fails=True, key="accessKey2", secret="verySecretKey2"
    )
    assert "InvalidBucketName" in api("create-bucket", "--bucket", "UPPER_case", fails=True)
    api("delete-bucket", "--bucket", bucket)
    assert "404" in api("head-bucket", "--bucket", bucket, fails=True)
