"""W11: one bucket for the backups of many machines. A machine adds, and can neither read others nor lose history."""

import contextlib
import datetime
import json

import pytest

from files import payload, write
from server import Server

pytestmark = pytest.mark.own_server

ACCOUNTS = {"admin": 1, "web": 2, "mail": 3}


def account(name: str, number: int) -> dict:
    identifier = f"{number:012}"
    return {
        "name": name,
        "email": f"{name}@example.com",
        "arn": f"arn:aws:iam::{identifier}:root",
        "canonicalID": f"{number:064x}",
        "shortid": identifier,
        "keys": [{"access": f"{name}Key", "secret": f"{name}Secret"}],
    }


@pytest.fixture
def people(tmp_path, client_of):
    """Clients of an administrator and of two machines, each an account of its own."""
    accounts = {"accounts": [account(name, number) for name, number in ACCOUNTS.items()]}
    authdata = write(tmp_path / "authdata.json", json.dumps(accounts))
    with Server(tmp_path / "server", environment={"S3AUTH_CONFIG": str(authdata)}) as server:
        yield [client_of(server, keys=(f"{name}Key", f"{name}Secret")) for name in ACCOUNTS]


@contextlib.contextmanager
def denied():
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == "AccessDenied", caught.value


def policy(bucket: str) -> str:
    """Each machine puts below its own name, lists that, and reads that. Nobody but the owner does anything else."""
    statements = []
    for name, number in ACCOUNTS.items():
        if name == "admin":
            continue
        who = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{number:012}:root"}}
        own = f"arn:aws:s3:::{bucket}/{name}/*"
        statements += [
            {**who, "Action": ["s3:PutObject", "s3:GetObject"], "Resource": own},
            {
                **who,
                "Action": "s3:ListBucket",
                "Resource": f"arn:aws:s3:::{bucket}",
                "Condition": {"StringLike": {"s3:prefix": f"{name}/*"}},
            },
        ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_w11_a_machine_adds_backups_and_cannot_read_others_or_lose_its_own(people, bucket):
    admin, web, mail = people
    admin.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}}
    admin.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    admin.put_bucket_policy(Bucket=bucket, Policy=policy(bucket))
    good, bad = payload(200_000, 1), payload(200_000, 2)
    monday = {"Bucket": bucket, "Key": "web/monday"}
    first = web.put_object(**monday, Body=good)["VersionId"]
    mail.put_object(Bucket=bucket, Key="mail/monday", Body=good)
    listed = web.list_objects_v2(Bucket=bucket, Prefix="web/")
    assert [item["Key"] for item in listed["Contents"]] == ["web/monday"]
    assert web.get_object(**monday)["Body"].read() == good

    # Neither others' names nor their bytes, nor a place among them.
    source = {"Bucket": bucket, "Key": "mail/monday"}
    for refused in (
        lambda: web.list_objects_v2(Bucket=bucket),
        lambda: web.list_objects_v2(Bucket=bucket, Prefix="mail/"),
        lambda: web.list_object_versions(Bucket=bucket, Prefix="web/"),
        lambda: web.get_object(**source),
        lambda: web.get_bucket_policy(Bucket=bucket),
        lambda: web.copy_object(Bucket=bucket, Key="web/stolen", CopySource=source),
        lambda: web.put_bucket_policy(Bucket=bucket, Policy=policy(bucket)),
        lambda: web.put_object(Bucket=bucket, Key="mail/tuesday", Body=bad),
    ):
        with denied():
            refused()

    # Its own history: no deletion, no way around the lock, and what is written over stays underneath.
    past = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime(2030, 1, 1)}
    for refused in (
        lambda: web.delete_object(**monday),
        lambda: web.delete_object(**monday, VersionId=first),
        lambda: web.delete_object(**monday, VersionId=first, BypassGovernanceRetention=True),
        lambda: web.put_object_retention(**monday, Retention=past, BypassGovernanceRetention=True),
    ):
        with denied():
            refused()
    web.put_object(**monday, Body=bad)
    assert len(admin.list_object_versions(Bucket=bucket, Prefix="web/")["Versions"]) == 2

    # The administrator, whose bucket it is, rotates: not by accident, but on purpose.
    with denied():
        admin.delete_object(**monday, VersionId=first)
    admin.delete_object(**monday, VersionId=first, BypassGovernanceRetention=True)
    assert len(admin.list_object_versions(Bucket=bucket, Prefix="web/")["Versions"]) == 1
