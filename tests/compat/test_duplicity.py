"""W6: Duplicity, by its old `s3://` form (boto) and today's `boto3+s3://`, plain and encrypted."""

import os
import shutil
import subprocess
import time

import pytest

from files import MIB, make_tree, payload, tree, write


def has_module(name: str) -> bool:
    """Duplicity is run by the system's Python, with the system's libraries."""
    test = f"import sys, importlib.util; sys.exit(importlib.util.find_spec('{name}') is None)"
    return shutil.which("duplicity") is not None and subprocess.run(["/usr/bin/python3", "-c", test]).returncode == 0


NEEDS_BOTO3 = pytest.mark.skipif(not has_module("boto3"), reason="duplicity with boto3 is not installed")
NEEDS_BOTO = pytest.mark.skipif(not has_module("boto"), reason="duplicity with boto is not installed")
PLAIN = ("--no-encryption",)


@pytest.fixture
def duplicity(run, server, tmp_path):
    environment = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "TMPDIR": str(tmp_path),
        # The library of today's tests is of no use to the system's program.
        "PATH": os.environ["PATH"],
        # Sockets of the key agent have short names only.
        "GNUPGHOME": str(tmp_path / "gpg"),
    }
    (tmp_path / "gpg").mkdir(mode=0o700)

    def command(*words, passphrase=None, program="duplicity", **options):
        secret = {"PASSPHRASE": passphrase} if passphrase else {}
        archive = ["--archive-dir", tmp_path / "archive"] if program == "duplicity" else []
        return run(program, *words, *archive, environment=environment | secret, **options)

    yield command
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=os.environ | environment, check=False)


@pytest.fixture
def make_bucket(client_of, server, bucket):
    client_of(server).create_bucket(Bucket=bucket)
    return bucket


def modern(server, bucket) -> tuple[str, list[str]]:
    return f"boto3+s3:///{bucket}/backups", ["--s3-endpoint-url", server.endpoint]


def add_and_back_up(duplicity, where, tmp_path, passphrase=None) -> list[dict[str, str]]:
    """A full backup, a change, an increment; returns both states."""
    url, options = where
    options = [*options, *(() if passphrase else PLAIN), "--volsize", "5"]
    first = make_tree(tmp_path / "data", large=7 * MIB)
    duplicity("full", *options, "data", url, passphrase=passphrase)
    time.sleep(1.1)
    write(tmp_path / "data/new", payload(MIB, 9))
    (tmp_path / "data/plain.txt").unlink()
    second = tree(tmp_path / "data")
    duplicity("incremental", *options, "data", url, passphrase=passphrase)
    # From now on nothing that is remembered locally is needed.
    shutil.rmtree(tmp_path / "archive")
    return [first, second]


@NEEDS_BOTO
def test_w6_the_old_form_through_the_life_of_a_backup(duplicity, server, make_bucket, tmp_path):
    """boto, plain HTTP: full, incremental, verify, restore of both states, a change found, old chains removed."""
    url = f"s3://127.0.0.1:{server.port}/{make_bucket}/"
    options = ["--s3-unencrypted-connection"]
    begin = int(time.time())
    first, second = add_and_back_up(duplicity, (url, options), tmp_path)
    options += PLAIN
    duplicity("verify", "--compare-data", *options, url, "data")
    duplicity("restore", *options, url, "latest")
    assert tree(tmp_path / "latest") == second
    chains = duplicity("collection-status", *options, url)
    full = next(line for line in chains.splitlines() if line.strip().startswith("Full"))
    stamp = int(time.mktime(time.strptime(" ".join(full.split()[1:6]), "%a %b %d %H:%M:%S %Y")))
    assert stamp >= begin
    duplicity("restore", *options, "--time", str(stamp), url, "earlier")
    assert tree(tmp_path / "earlier") == first
    write(tmp_path / "data/new", payload(MIB, 10))
    duplicity("verify", "--compare-data", *options, url, "data", fails=True)
    time.sleep(1.1)
    duplicity("full", *options, "data", url)
    duplicity("remove-older-than", "1s", "--force", *options, url)
    chains = duplicity("collection-status", *options, url)
    assert "Found 0 secondary backup chains" in chains, chains


@NEEDS_BOTO3
def test_w6_todays_form(duplicity, server, make_bucket, tmp_path):
    url, options = modern(server, make_bucket)
    _, second = add_and_back_up(duplicity, (url, options), tmp_path)
    duplicity("restore", *options, *PLAIN, url, "latest")
    assert tree(tmp_path / "latest") == second
    duplicity("full", *options, *PLAIN, "data", url)
    told = duplicity("remove-all-but-n-full", "1", "--force", *options, *PLAIN, url)
    assert "Deleting backup chain" in told, told


@NEEDS_BOTO3
def test_w6_encrypted_backups_open_with_the_passphrase_only(duplicity, server, make_bucket, tmp_path):
    url, options = modern(server, make_bucket)
    secret = "a secret of the test"
    _, second = add_and_back_up(duplicity, (url, options), tmp_path, passphrase=secret)
    duplicity("restore", *options, url, "latest", passphrase=secret)
    assert tree(tmp_path / "latest") == second
    shutil.rmtree(tmp_path / "archive")
    duplicity("restore", *options, url, "wrong", passphrase="another", fails=True)


CRON = """#!/bin/sh
# One full backup a month, increments in the nights between, three months kept.
set -e
cd "$(dirname "$0")"
duplicity --full-if-older-than 1M $OPTIONS --volsize 5 data "$TARGET"
duplicity remove-older-than 3M --force $OPTIONS "$TARGET"
"""


@NEEDS_BOTO3
def test_w6_the_nightly_script_makes_one_full_backup_and_then_increments(duplicity, server, make_bucket, tmp_path):
    url, options = modern(server, make_bucket)
    options = " ".join([*options, *PLAIN, "--archive-dir", str(tmp_path / "archive")])
    script = CRON.replace("$OPTIONS", options).replace("$TARGET", url)
    write(tmp_path / "nightly", script).chmod(0o755)
    write(tmp_path / "data/file", "first night")
    for night in ("second", "third"):
        duplicity(program=str(tmp_path / "nightly"))
        time.sleep(1.1)
        write(tmp_path / "data/file", f"{night} night")
    status = duplicity("collection-status", *options.split()[:-2], url)
    kinds = [line.split()[0] for line in status.splitlines() if line.strip().startswith(("Full", "Incremental"))]
    assert kinds == ["Full", "Incremental"], status
