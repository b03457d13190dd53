"""`cloudserver migrate` from SeaweedFS and from a second server of ours, killed again and again on its way.

MIGRATE_OBJECTS says how many objects there are (default 2,000); the soak of 100,000 is
`MIGRATE_OBJECTS=100000 pytest tests/compat/test_migrate.py`. MIGRATE_FIGURES names a file to which each test adds what it
measured, as a line of JSON.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import boto3
import pytest
from botocore.config import Config

from files import MIB, payload
from server import Server, binary
from test_far_stores import KEYS, START_LIMIT, seaweedfs

OBJECTS = int(os.environ.get("MIGRATE_OBJECTS", "2000"))
KILLS = (0.05, 0.2, 0.45, 0.7, 0.9)  # shares of the objects that are copied at a kill
LINE = 38  # bytes that the state file has of a key, at least
THREADS = 16
LIMIT = 1800 + OBJECTS // 20  # seconds that a test may take
MEMORY = 128 * MIB  # bytes that the command may have resident
BUCKET = "photos"

pytestmark = [pytest.mark.own_server, pytest.mark.timeout(LIMIT)]


class Figures:
    """What a test measures: seconds of each phase, most memory of each process in MiB."""

    def __init__(self, **pids):
        self.seconds, self.resumed, self.peaks, self.pids = {}, [], {}, pids

    @contextlib.contextmanager
    def phase(self, name):
        began = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 1)

    def look(self, name, pid):
        """Takes down the most memory that a process has had so far."""
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            self.peaks[name] = max(self.peaks.get(name, 0), int(found[1]) // 1024)

    def tell(self, test):
        for name, pid in self.pids.items():
            self.look(name, pid)
        if file := os.environ.get("MIGRATE_FIGURES"):
            told = {"test": test, "objects": OBJECTS, "seconds": self.seconds, "peakMiB": self.peaks}
            with open(file, "a") as lines:
                lines.write(json.dumps({**told, "secondsToFirstNewKey": self.resumed}) + "\n")


Store = collections.namedtuple("Store", "endpoint pid")


def s3(endpoint):
    settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}, max_pool_connections=THREADS)
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=settings, **KEYS)


@pytest.fixture
def far(clients, tmp_path):
    """A SeaweedFS."""
    home = tmp_path / "far"
    home.mkdir()
    words, port = seaweedfs(clients, home)
    with (home / "far.log").open("wb") as log:
        surroundings = {**os.environ, "HOME": str(home)}
        process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT, env=surroundings)
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
        yield Store(endpoint, process.pid)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def old(tmp_path):
    """A second server of ours."""
    with Server(tmp_path / "old") as running:
        yield Store(running.endpoint, running.process.pid)


@pytest.fixture
def new(tmp_path):
    with Server(tmp_path / "new") as running:
        yield Store(running.endpoint, running.process.pid)


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
        sent = client.upload_part(**place, PartNumber=number, Body=payload(size))
        tags.append({"PartNumber": number, "ETag": sent["ETag"]})
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


def has_new_key(home, start):
    """Whether a key is noted as done behind a place in the state file."""
    with (home / "state").open("rb") as state:
        state.seek(start)
        return b" d " in state.read(1 << 16)


def until_killed(source, target, home, goal, figures):
    """Runs the command until its state file has so many bytes, and kills it."""
    start, began, is_first = written(home), time.monotonic(), True
    with (home / "migrate.log").open("ab") as log:
        running = subprocess.Popen(**command(source, target, home), stdout=log, stderr=log)
    while running.poll() is None and written(home) < goal:
        if is_first and written(home) > start and has_new_key(home, start):
            is_first = False
            figures.resumed.append(round(time.monotonic() - began, 2))
        figures.look("migrate", running.pid)
        time.sleep(0.005)
    figures.look("migrate", running.pid)
    assert running.poll() is None, (home / "migrate.log").read_text()[-3000:]
    running.send_signal(signal.SIGKILL)
    running.wait()


def migrate(source, target, home, figures):
    """Kills the command five times at different points, then lets it end; gives its report."""
    for share in KILLS:
        with figures.phase("copy"):
            until_killed(source.endpoint, target.endpoint, home, int(share * OBJECTS * LINE), figures)
    report = last_run(source, target, home, figures)
    assert figures.peaks["migrate"] < MEMORY // MIB, figures.peaks
    return report


def last_run(source, target, home, figures):
    """Lets the command end, then compares every byte in a run of its own; gives the report of both."""
    report = home / "report.json"
    more = {"copy": [], "verify": ["--verify-only", "--verify=bytes"]}
    found = {}
    for name, words in more.items():
        last = command(source.endpoint, target.endpoint, home, *words, "--report", str(report))
        with figures.phase(name), (home / "migrate.log").open("ab") as log:
            running = subprocess.Popen(**last, stdout=log, stderr=log)
            while running.poll() is None:
                figures.look("migrate", running.pid)
                time.sleep(0.05)
        assert running.returncode == 0, (home / "migrate.log").read_text()[-3000:]
        (bucket,) = [one for one in json.loads(report.read_text())["buckets"] if one["from"] == BUCKET]
        found[name] = bucket
    return {**found["copy"], "differences": found["verify"]["differences"], "verified": found["verify"]["verified"]}


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
    copied_whole(far, new, tmp_path, versions=False)


def test_a_copy_from_a_second_server_killed_five_times_ends_identical(old, new, tmp_path):
    copied_whole(old, new, tmp_path, versions=True)


def copied_whole(old, new, home, *, versions):
    source, target = s3(old.endpoint), s3(new.endpoint)
    figures = Figures(source=old.pid, target=new.pid)
    with figures.phase("fill"):
        fill(source, versions=versions)
    bucket = migrate(old, new, home, figures)
    with figures.phase("look"):
        was, there = listing(source, versions=versions), listing(target, versions=versions)
    figures.tell(f"from {home.name}")
    assert (bucket["failed"], bucket["differences"], bucket["notes"]) == (0, 0, []), bucket
    assert bucket["verified"] == len(was) >= OBJECTS
    assert there == was
    assert_same_sample(source, target)
    assert "Uploads" not in target.list_multipart_uploads(Bucket=BUCKET)


def test_a_second_run_has_nothing_to_do(old, new, tmp_path):
    source = s3(old.endpoint)
    source.create_bucket(Bucket=BUCKET)
    source.put_object(Bucket=BUCKET, Key="a", Body=b"a")
    for versions, present in ((1, 0), (0, 1)):
        words = ["--report", str(tmp_path / "report.json"), "--bucket", BUCKET]
        subprocess.run(**command(old.endpoint, new.endpoint, tmp_path, *words), check=True, timeout=LIMIT)
        (bucket,) = json.loads((tmp_path / "report.json").read_text())["buckets"]
        assert (bucket["versions"], bucket["present"]) == (versions, present), bucket
