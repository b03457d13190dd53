"""rclone: copy, sync, check, versions, parts, server-side copies."""

import json
import os
import urllib.request

import pytest

from files import MIB, digest, make_tree, payload, tree, write


@pytest.fixture
def rclone(run, server, tmp_path):
    """`rclone` with a remote `s3:` (and `old:`, which shows versions) from a configuration file."""
    remote = [
        "type = s3",
        "provider = Other",
        f"access_key_id = {server.access_key}",
        f"secret_access_key = {server.secret_key}",
        f"endpoint = {server.endpoint}",
        "force_path_style = true",
        "chunk_size = 5Mi",
        "upload_cutoff = 6Mi",
        "copy_cutoff = 6Mi",
    ]
    lines = ["[s3]", *remote, "[old]", *remote, "versions = true"]
    configuration = write(tmp_path / "rclone.conf", "\n".join(lines) + "\n")

    def command(*words, **options):
        return run("rclone", "--config", configuration, "--retries", "1", "--low-level-retries", "1", *words, **options)

    return command


def test_copy_check_sync_and_purge(rclone, bucket, tmp_path):
    before = make_tree(tmp_path / "source", large=17 * MIB + 3)
    rclone("mkdir", f"s3:{bucket}")
    rclone("copy", "source", f"s3:{bucket}/tree")
    rclone("check", "source", f"s3:{bucket}/tree")
    rclone("check", "--download", "source", f"s3:{bucket}/tree")
    rclone("copy", f"s3:{bucket}/tree", "target")
    assert tree(tmp_path / "target") == before
    write(tmp_path / "source/plain.txt", "changed")
    (tmp_path / "source/empty").unlink()
    rclone("check", "source", f"s3:{bucket}/tree", fails=True)
    rclone("sync", "source", f"s3:{bucket}/tree")
    rclone("check", "source", f"s3:{bucket}/tree")
    sized = json.loads(rclone("size", "--json", f"s3:{bucket}/tree"))
    assert sized["count"] == len(before) - 1
    rclone("purge", f"s3:{bucket}")
    assert bucket not in rclone("lsd", "s3:")


def test_server_side_copies_and_moves(rclone, bucket, tmp_path):
    """Both below and above the size from which rclone copies in parts."""
    make_tree(tmp_path / "source", large=13 * MIB)
    rclone("mkdir", f"s3:{bucket}")
    rclone("copy", "source", f"s3:{bucket}/one")
    rclone("copy", f"s3:{bucket}/one", f"s3:{bucket}/two")
    rclone("moveto", f"s3:{bucket}/two/large.bin", f"s3:{bucket}/two/moved.bin")
    rclone("moveto", f"s3:{bucket}/two/moved.bin", f"s3:{bucket}/two/large.bin")
    rclone("check", "--download", "source", f"s3:{bucket}/two")


def test_modification_times_survive(rclone, bucket, tmp_path):
    write(tmp_path / "source/file", "x")
    os.utime(tmp_path / "source/file", (1_000_000_000, 1_000_000_000))
    rclone("mkdir", f"s3:{bucket}")
    rclone("copy", "source", f"s3:{bucket}")
    assert "2001-09-09" in rclone("lsl", f"s3:{bucket}")
    rclone("touch", "--timestamp", "2010-01-02T03:04:05", f"s3:{bucket}/file")
    assert "2010-01-02" in rclone("lsl", f"s3:{bucket}")


def test_old_versions_are_listed_and_read(rclone, bucket, tmp_path):
    rclone("mkdir", f"s3:{bucket}")
    assert "Enabled" in rclone("backend", "versioning", f"s3:{bucket}", "Enabled")
    for text in ("first", "second"):
        write(tmp_path / "source/file.txt", text)
        rclone("copy", "--ignore-times", "source", f"s3:{bucket}")
    names = rclone("lsf", f"old:{bucket}").split()
    assert len(names) == 2 and "file.txt" in names
    earlier = next(name for name in names if name != "file.txt")
    assert rclone("cat", f"old:{bucket}/{earlier}") == "first"
    assert rclone("cat", f"old:{bucket}/file.txt") == "second"
    rclone("delete", f"s3:{bucket}")
    assert rclone("lsf", f"s3:{bucket}") == ""
    rclone("backend", "cleanup-hidden", f"s3:{bucket}")


def test_interrupted_uploads_are_found_and_cleaned(rclone, bucket, server):
    import boto3
    from botocore.config import Config

    rclone("mkdir", f"s3:{bucket}")
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    upload = client.create_multipart_upload(Bucket=bucket, Key="left-over")["UploadId"]
    found = rclone("backend", "list-multipart-uploads", f"s3:{bucket}")
    assert upload in found and "left-over" in found
    rclone("backend", "cleanup", "-o", "max-age=0s", f"s3:{bucket}")
    assert upload not in rclone("backend", "list-multipart-uploads", f"s3:{bucket}")


def test_streams_and_public_links(rclone, bucket, tmp_path):
    body = payload(7 * MIB)
    write(tmp_path / "file", body)
    rclone("mkdir", f"s3:{bucket}")
    rclone("rcat", f"s3:{bucket}/piped", stdin="through a pipe")
    assert rclone("cat", f"s3:{bucket}/piped") == "through a pipe"
    assert rclone("cat", "--offset", "8", "--count", "6", f"s3:{bucket}/piped") == "a pipe"
    rclone("copyto", "file", f"s3:{bucket}/file")
    link = rclone("link", "--expire", "5m", f"s3:{bucket}/file").strip()
    with urllib.request.urlopen(link) as answer:
        assert digest(answer.read()) == digest(body)
