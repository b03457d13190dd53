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


def old(server, bucket) -> tuple[str, list[str]]:
    return f"s3://127.0.0.1:{server.port}/{bucket}/", ["--s3-unencrypted-connection"]


def life(duplicity, where, tmp_path, *, passphrase=None):
    """Full, incremental, verify, restore of both states, a corrupted source found, old chains removed."""
    url, options = where
    options = [*options, *(() if passphrase else PLAIN), "--volsize", "5"]
    first = make_tree(tmp_path / "data", large=7 * MIB)
    duplicity("full", *options, "data", url, passphrase=passphrase)
    between = int(time.time())
    time.sleep(1.1)
    write(tmp_path / "data/new", payload(MIB, 9))
    (tmp_path / "data/plain.txt").unlink()
    second = tree(tmp_path / "data")
    duplicity("incremental", *options, "data", url, passphrase=passphrase)
    duplicity("verify", "--compare-data", *options, url, "data", passphrase=passphrase)
    write(tmp_path / "data/new", payload(MIB, 10))
    duplicity("verify", "--compare-data", *options, url, "data", passphrase=passphrase, fails=True)
    # Nothing that is remembered locally is needed.
    shutil.rmtree(tmp_path / "archive")
    duplicity("restore", *options, url, "latest", passphrase=passphrase)
    assert tree(tmp_path / "latest") == second
    duplicity("restore", *options, "--time", str(between), url, "earlier", passphrase=passphrase)
    assert tree(tmp_path / "earlier") == first
    time.sleep(1.1)
    duplicity("full", *options, "data", url, passphrase=passphrase)
    status = duplicity("collection-status", *options, url, passphrase=passphrase)
    assert "Found 1 secondary backup chain" in status, status
    duplicity("remove-older-than", "1s", "--force", *options, url, passphrase=passphrase)
    status = duplicity("collection-status", *options, url, passphrase=passphrase)
    assert "Found 0 secondary backup chains" in status, status
    third = tree(tmp_path / "data")
    duplicity("restore", *options, url, "third", passphrase=passphrase)
    assert tree(tmp_path / "third") == third


@NEEDS_BOTO3
def test_w6_backups_through_their_life(duplicity, server, make_bucket, tmp_path):
    life(duplicity, modern(server, make_bucket), tmp_path)


@NEEDS_BOTO3
def test_w6_encrypted_backups_open_with_the_passphrase_only(duplicity, server, make_bucket, tmp_path):
    where = modern(server, make_bucket)
    life(duplicity, where, tmp_path, passphrase="a secret of the test")
    shutil.rmtree(tmp_path / "archive")
    duplicity("restore", *where[1], where[0], "wrong", passphrase="another", fails=True)


@NEEDS_BOTO
def test_w6_the_old_form_works_as_it_did(duplicity, server, make_bucket, tmp_path):
    """boto signs by version 2 and speaks plain HTTP here."""
    life(duplicity, old(server, make_bucket), tmp_path)


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
    for night in ("second", "third", "fourth"):
        duplicity(program=str(tmp_path / "nightly"))
        time.sleep(1.1)
        write(tmp_path / "data/file", f"{night} night")
    status = duplicity("collection-status", *options.split()[:-2], url)
    kinds = [line.split()[0] for line in status.splitlines() if line.strip().startswith(("Full", "Incremental"))]
    assert kinds == ["Full", "Incremental", "Incremental"], status
