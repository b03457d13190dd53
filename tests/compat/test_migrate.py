"""`cloudserver migrate` from SeaweedFS and from a second server of ours, killed again and again on its way.

MIGRATE_OBJECTS says how many objects there are (default 2,000); the soak of 100,000 is
`MIGRATE_OBJECTS=100000 pytest tests/compat/test_migrate.py`.
"""

import concurrent.futures
import hashlib
import json
import os
import random
import signal
import subprocess
import time

import boto3
import pytest
from botocore.config import Config

from files import MIB, payload
from server import Server, binary
from test_far_stores import KEYS, START_LIMIT, seaweedfs

pytestmark = [pytest.mark.own_server, pytest.mark.timeout(3600)]

OBJECTS = int(os.environ.get("MIGRATE_OBJECTS", "2000"))
KILLS = 5
THREADS = 16
LIMIT = 3000  # seconds a run may take
BUCKET = "photos"


def s3(endpoint):
    settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}, max_pool_connections=THREADS)
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=settings, **KEYS)


@pytest.fixture
def far(clients, tmp_path):
    """The endpoint of a SeaweedFS."""
    home = tmp_path / "far"
    home.mkdir()
    words, port = seaweedfs(clients, home)
    with (home / "far.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(home)})
    try:
        endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                s3(endpoint).create_bucket(Bucket="is-up")
                s3(endpoint).delete_bucket(Bucket="is-up")
                break
            except Exception:
                log = (home / "far.log").read_text(errors="replace")[-3000:]
                assert process.poll() is None and time.monotonic() < deadline, log
                time.sleep(0.3)
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def old(tmp_path):
    """The endpoint of a second server of ours."""
    with Server(tmp_path / "old") as running:
        yield running.endpoint


@pytest.fixture
def new(tmp_path):
    with Server(tmp_path / "new") as running:
        yield running.endpoint


def each(action, items):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(action, items):
            pass


def fill(client, *, versions):
    """Objects of many sizes under many prefixes; some have versions, markers, tags, metadata or parts."""
    client.create_bucket(Bucket=BUCKET)
    if versions:
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def put(number):
        dice = random.Random(number)
        key = f"{dice.choice(['a', 'a-b', 'b/c', 'ü +'])}/{number % 97}/key {number}"
        more = {}
        if number % 5 == 0:
            more = {"Metadata": {"number": str(number)}, "ContentType": "text/plain", "CacheControl": "no-cache"}
        if number % 11 == 0:
            more["Tagging"] = f"number={number}"
        size = dice.choice([0, 1, 100, 1000, 5000]) if number % 500 else 1 * MIB
        client.put_object(Bucket=BUCKET, Key=key, Body=dice.randbytes(size), **more)
        if versions and number % 10 == 0:
            client.put_object(Bucket=BUCKET, Key=key, Body=b"another version")
        if versions and number % 30 == 0:
            client.delete_object(Bucket=BUCKET, Key=key)

    each(put, range(OBJECTS))
    for number in range(3):
        parts_of(client, f"large/{number}", [5 * MIB, 6 * MIB, 1000 + number])


def parts_of(client, key, sizes):
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key, Metadata={"parts": "yes"})["UploadId"]
    place = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    tags = []
    for number, size in enumerate(sizes, 1):
        tags.append({"PartNumber": number, "ETag": client.upload_part(**place, PartNumber=number, Body=payload(size))["ETag"]})
    client.complete_multipart_upload(**place, MultipartUpload={"Parts": tags})


def listing(client, *, versions):
    """What a bucket holds, in the order of keys and without what the target decides."""
    found = []
    if not versions:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            found += [(one["Key"], one["Size"], one["ETag"]) for one in page.get("Contents", [])]
        return sorted(found)
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        found += [(one["Key"], one["Size"], one["ETag"], one["IsLatest"]) for one in page.get("Versions", [])]
        found += [(one["Key"], "marker", "", one["IsLatest"]) for one in page.get("DeleteMarkers", [])]
    return sorted(found, key=lambda one: one[0])


def command(source, target, home, *more):
    words = [str(binary()), "migrate", "--from", source, "--to", target, "--state", str(home / "state")]
    secrets = {
        f"MIGRATE_{side}_{name}": KEYS[key]
        for side in ("FROM", "TO")
        for name, key in (("ACCESS_KEY", "aws_access_key_id"), ("SECRET_KEY", "aws_secret_access_key"))
    }
    return {"args": [*words, *more], "env": {"PATH": os.environ["PATH"], "HOME": str(home), **secrets}, "cwd": home}


def written(home):
    """Bytes that the state file has: they tell how far it is."""
    state = home / "state"
    return state.stat().st_size if state.exists() else 0


def migrate(source, target, home):
    """Kills the command five times at different points, then lets it end; gives its report."""
    dice = random.Random(7)
    killed = 0
    for step in range(KILLS):
        with (home / "migrate.log").open("ab") as log:
            running = subprocess.Popen(**command(source, target, home), stdout=log, stderr=log)
            goal = written(home) + dice.randrange(1, max(2, OBJECTS * 40 // (KILLS + 2)))
            while running.poll() is None and written(home) < goal:
                time.sleep(0.002)
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)
                killed += 1
            running.wait()
    assert killed == KILLS, (home / "migrate.log").read_text()[-3000:]
    words = ["--verify=bytes", "--report", str(home / "report.json")]
    done = subprocess.run(**command(source, target, home, *words), capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    report = json.loads((home / "report.json").read_text())["buckets"]
    (bucket,) = [bucket for bucket in report if bucket["from"] == BUCKET]
    return bucket


def assert_same_sample(source, target):
    """Metadata, tags and bytes of some objects."""
    keys = [key for key, *_ in listing(source, versions=False)]
    for key in random.Random(3).sample(keys, min(len(keys), 200)):
        was, there = (client.get_object(Bucket=BUCKET, Key=key) for client in (source, target))
        assert there["Metadata"] == was["Metadata"], key
        assert there.get("CacheControl") == was.get("CacheControl"), key
        tags = [client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for client in (source, target)]
        assert tags[0] == tags[1], key
        digests = [hashlib.sha256(one["Body"].read()).digest() for one in (was, there)]
        assert digests[0] == digests[1], key


def test_a_copy_from_seaweedfs_killed_five_times_ends_identical(far, new, tmp_path):
    source, target = s3(far), s3(new)
    fill(source, versions=False)
    bucket = migrate(far, new, tmp_path)
    assert (bucket["failed"], bucket["differences"]) == (0, 0), bucket
    assert listing(target, versions=False) == listing(source, versions=False)
    assert_same_sample(source, target)
    assert "Uploads" not in target.list_multipart_uploads(Bucket=BUCKET)


def test_a_copy_from_a_second_server_killed_five_times_ends_identical(old, new, tmp_path):
    source, target = s3(old), s3(new)
    fill(source, versions=True)
    bucket = migrate(old, new, tmp_path)
    assert (bucket["failed"], bucket["differences"], bucket["notes"]) == (0, 0, []), bucket
    assert listing(target, versions=True) == listing(source, versions=True)
    assert_same_sample(source, target)
    assert "Uploads" not in target.list_multipart_uploads(Bucket=BUCKET)


def test_a_second_run_has_nothing_to_do(old, new, tmp_path):
    source = s3(old)
    source.create_bucket(Bucket=BUCKET)
    source.put_object(Bucket=BUCKET, Key="a", Body=b"a")
    for versions, present in ((1, 0), (0, 1)):
        words = ["--report", str(tmp_path / "report.json"), "--bucket", BUCKET]
        subprocess.run(**command(old, new, tmp_path, *words), check=True, timeout=LIMIT)
        (bucket,) = json.loads((tmp_path / "report.json").read_text())["buckets"]
        assert (bucket["versions"], bucket["present"]) == (versions, present), bucket
