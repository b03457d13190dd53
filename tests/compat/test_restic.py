"""restic: a backup repository in a bucket, through its whole life."""

import json

import pytest

from files import MIB, make_tree, payload, tree, write


@pytest.fixture
def restic(run, server, bucket, tmp_path):
    environment = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket}/backups",
        "RESTIC_PASSWORD": "a secret of the test",
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"),
    }

    def command(*words, **options):
        return run("restic", *words, environment=environment, **options)

    return command


def snapshots(restic) -> list[str]:
    return [one["id"] for one in json.loads(restic("snapshots", "--json"))]


def test_a_backup_repository_through_its_life(restic, tmp_path):
    """init, backup, changed backup, check of all data, restore of both, forget and prune."""
    first = make_tree(tmp_path / "data", large=20 * MIB)
    restic("init")
    restic("backup", "data")
    write(tmp_path / "data/new", payload(3 * MIB, 9))
    (tmp_path / "data/plain.txt").unlink()
    second = tree(tmp_path / "data")
    restic("backup", "data")
    assert "no errors were found" in restic("check", "--read-data")
    older, newer = snapshots(restic)
    for snapshot, expected in ((older, first), (newer, second)):
        target = tmp_path / f"restored-{snapshot[:8]}"
        restic("restore", snapshot, "--target", target)
        assert tree(target / "data") == expected
    restic("forget", "--keep-last", "1", "--prune")
    assert snapshots(restic) == [newer]
    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", "again")
    assert tree(tmp_path / "again/data") == second
    restic("list", "locks")


def test_a_wrong_password_or_key_opens_nothing(restic, run, server, bucket):
    restic("init")
    stranger = {
        "AWS_ACCESS_KEY_ID": "accessKey2",
        "AWS_SECRET_ACCESS_KEY": "verySecretKey2",
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket}/backups",
        "RESTIC_PASSWORD": "a secret of the test",
    }
    assert "denied" in run("restic", "--no-cache", "snapshots", environment=stranger, fails=True).lower()
