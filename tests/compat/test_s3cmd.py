"""s3cmd (walk-through W3), once with each signature version."""

import json
import re
import urllib.error
import urllib.request

import pytest

from files import MIB, digest, make_tree, payload, tree, write


@pytest.fixture(params=["V4", "V2"])
def signature(request):
    return request.param


@pytest.fixture
def s3cmd(run, server, tmp_path, signature):
    """`s3cmd` with the `.s3cfg` of the tutorial."""
    address = server.endpoint.split("://")[1]
    lines = [
        "[default]",
        f"access_key = {server.access_key}",
        f"secret_key = {server.secret_key}",
        f"host_base = {address}",
        f"host_bucket = {address}",
        "use_https = False",
        "progress_meter = False",
        "max_retries = 1",
    ]
    if signature == "V2":
        lines.append("signature_v2 = True")
    write(tmp_path / ".s3cfg", "\n".join(lines) + "\n")

    def command(*words, **options):
        return run("s3cmd", "-c", tmp_path / ".s3cfg", *words, **options)

    return command


def listed(printed: str) -> list[str]:
    """The last column of a listing: the addresses."""
    return [line[line.index("s3://") :] for line in printed.splitlines() if "s3://" in line]


def test_make_put_get_list_delete(s3cmd, bucket, tmp_path):
    body = payload(4000)
    write(tmp_path / "file", body)
    assert "created" in s3cmd("mb", f"s3://{bucket}")
    assert f"s3://{bucket}" in s3cmd("ls")
    s3cmd("put", "file", f"s3://{bucket}/dir/one")
    s3cmd("put", "file", f"s3://{bucket}/two")
    assert listed(s3cmd("ls", f"s3://{bucket}")) == [f"s3://{bucket}/dir/", f"s3://{bucket}/two"]
    assert listed(s3cmd("ls", "-r", f"s3://{bucket}")) == [f"s3://{bucket}/dir/one", f"s3://{bucket}/two"]
    assert f"s3://{bucket}/two" in s3cmd("la")
    s3cmd("get", f"s3://{bucket}/dir/one", "back")
    assert digest(tmp_path / "back") == digest(body)
    assert re.search(r"^\s*8000\s", s3cmd("du", f"s3://{bucket}"))
    s3cmd("rb", f"s3://{bucket}", fails=True)
    s3cmd("del", f"s3://{bucket}/two")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert s3cmd("ls", "-r", f"s3://{bucket}") == ""
    s3cmd("rb", f"s3://{bucket}")
    assert f"s3://{bucket}\n" not in s3cmd("ls")


def test_copy_and_move_between_buckets(s3cmd, bucket, tmp_path):
    body = payload(5000)
    write(tmp_path / "file", body)
    s3cmd("mb", f"s3://{bucket}", f"s3://{bucket}-2")
    s3cmd("put", "file", f"s3://{bucket}/with space ü+")
    s3cmd("cp", f"s3://{bucket}/with space ü+", f"s3://{bucket}-2/copied ü+")
    s3cmd("mv", f"s3://{bucket}-2/copied ü+", f"s3://{bucket}-2/moved")
    assert listed(s3cmd("ls", f"s3://{bucket}-2")) == [f"s3://{bucket}-2/moved"]
    s3cmd("get", f"s3://{bucket}-2/moved", "back")
    assert digest(tmp_path / "back") == digest(body)


def test_sync_both_ways(s3cmd, bucket, tmp_path):
    before = make_tree(tmp_path / "source")
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("sync", "source/", f"s3://{bucket}/tree/")
    s3cmd("sync", f"s3://{bucket}/tree/", "target/")
    assert tree(tmp_path / "target") == before
    assert "upload:" not in s3cmd("sync", "source/", f"s3://{bucket}/tree/")
    (tmp_path / "source/plain.txt").unlink()
    assert "delete:" in s3cmd("sync", "--delete-removed", "source/", f"s3://{bucket}/tree/")
    assert f"s3://{bucket}/tree/plain.txt" not in listed(s3cmd("ls", "-r", f"s3://{bucket}"))


def test_multipart_put_of_fifty_mebibytes(s3cmd, bucket, tmp_path):
    body = payload(50 * MIB)
    write(tmp_path / "large", body)
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", "--multipart-chunk-size-mb=5", "large", f"s3://{bucket}/large")
    s3cmd("get", f"s3://{bucket}/large", "back")
    assert digest(tmp_path / "back") == digest(body)
    information = s3cmd("info", f"s3://{bucket}/large")
    assert f"File size: {len(body)}" in information


def test_uploads_in_progress_are_listed_and_aborted(s3cmd, bucket, tmp_path, server):
    import boto3
    from botocore.config import Config

    s3cmd("mb", f"s3://{bucket}")
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    upload = client.create_multipart_upload(Bucket=bucket, Key="open")["UploadId"]
    client.upload_part(Bucket=bucket, Key="open", UploadId=upload, PartNumber=1, Body=b"part one")
    assert upload in s3cmd("multipart", f"s3://{bucket}")
    assert re.search(r"\b1\b.*\b8\b", s3cmd("listmp", f"s3://{bucket}/open", upload))
    s3cmd("abortmp", f"s3://{bucket}/open", upload)
    assert upload not in s3cmd("multipart", f"s3://{bucket}")


def test_info_tags_versioning_and_signed_addresses(s3cmd, bucket, tmp_path):
    body = payload(1234)
    write(tmp_path / "file", body)
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", "--add-header=x-amz-meta-colour: blue", "--mime-type=x/y", "file", f"s3://{bucket}/file")
    information = s3cmd("info", f"s3://{bucket}/file")
    assert "File size: 1234" in information and "MIME type: x/y" in information
    assert "x-amz-meta-colour: blue" in information
    assert "Location:" in s3cmd("info", f"s3://{bucket}")
    s3cmd("settagging", f"s3://{bucket}/file", "a=1&b=2")
    assert "a" in s3cmd("gettagging", f"s3://{bucket}/file")
    s3cmd("setversioning", f"s3://{bucket}", "enable")
    s3cmd("modify", "--add-header=x-amz-meta-colour: red", f"s3://{bucket}/file")
    assert "x-amz-meta-colour: red" in s3cmd("info", f"s3://{bucket}/file")
    url = s3cmd("signurl", f"s3://{bucket}/file", "+60").strip()
    with urllib.request.urlopen(url) as answer:
        assert digest(answer.read()) == digest(body)


def test_setacl_opens_and_closes_objects_and_buckets(s3cmd, bucket, tmp_path, server):
    body = payload(500)
    write(tmp_path / "file", body)
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", "file", f"s3://{bucket}/file")
    object_url, bucket_url = f"{server.endpoint}/{bucket}/file", f"{server.endpoint}/{bucket}"
    for url, what in ((object_url, f"s3://{bucket}/file"), (bucket_url, f"s3://{bucket}")):
        assert anonymously(url)[0] == 403
        s3cmd("setacl", "--acl-public", what)
        assert anonymously(url)[0] == 200
    assert digest(anonymously(object_url)[1]) == digest(body)
    assert "*anon*: READ" in s3cmd("info", f"s3://{bucket}/file")
    s3cmd("setacl", "--acl-private", f"s3://{bucket}/file")
    assert anonymously(object_url)[0] == 403


def anonymously(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def test_a_policy_opens_a_bucket_until_it_is_deleted(s3cmd, server, bucket, tmp_path):
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    write(tmp_path / "policy", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    write(tmp_path / "file", "body")
    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", "file", f"s3://{bucket}/file")
    url = f"{server.endpoint}/{bucket}/file"
    assert anonymously(url)[0] == 403
    s3cmd("setpolicy", "policy", f"s3://{bucket}")
    assert anonymously(url) == (200, b"body")
    s3cmd("delpolicy", f"s3://{bucket}")
    assert anonymously(url)[0] == 403


def test_an_access_log_is_switched_on_and_shown(s3cmd, bucket):
    s3cmd("mb", f"s3://{bucket}", f"s3://{bucket}-log")
    shown = s3cmd("accesslog", f"--access-logging-target-prefix=s3://{bucket}-log/log/", f"s3://{bucket}")
    assert "True" in shown and f"s3://{bucket}-log/log/" in shown
