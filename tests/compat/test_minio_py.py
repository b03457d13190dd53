"""minio-py: the other widespread Python client, with a signer and a chunked uploader of its own."""

import io
import urllib.request

import pytest

from files import MIB, digest, payload


@pytest.fixture
def connect():
    from minio import Minio

    def client(server, **more):
        options = {"access_key": server.access_key, "secret_key": server.secret_key, "region": "us-east-1"}
        address = more.pop("address", server.endpoint.split("://")[1])
        return Minio(address, secure=server.scheme == "https", **(options | more))

    return client


def life_of_a_bucket(client, bucket, folder):
    client.make_bucket(bucket)
    assert client.bucket_exists(bucket)
    small, large = payload(3000), payload(17 * MIB)
    client.put_object(bucket, "a/small ü", io.BytesIO(small), len(small), metadata={"colour": "blue"})
    client.put_object(bucket, "a/large", io.BytesIO(large), len(large), part_size=5 * MIB)
    client.put_object(bucket, "a/unknown", io.BytesIO(large), -1, part_size=5 * MIB)
    assert client.stat_object(bucket, "a/small ü").metadata["x-amz-meta-colour"] == "blue"
    for key, body in (("a/small ü", small), ("a/large", large), ("a/unknown", large)):
        client.fget_object(bucket, key, str(folder / "got"))
        assert digest(folder / "got") == digest(body)
    listed = client.list_objects(bucket, recursive=True)
    assert [(one.object_name, one.size) for one in listed] == [
        ("a/large", len(large)),
        ("a/small ü", len(small)),
        ("a/unknown", len(large)),
    ]
    assert [(one.object_name, one.is_dir) for one in client.list_objects(bucket)] == [("a/", True)]
    from minio.deleteobjects import DeleteObject

    doomed = [DeleteObject(key) for key in ("a/large", "a/small ü", "a/unknown")]
    assert list(client.remove_objects(bucket, doomed)) == []
    client.remove_bucket(bucket)
    assert not client.bucket_exists(bucket)


def test_life_of_a_bucket_with_signed_bodies(connect, server, bucket, tmp_path):
    life_of_a_bucket(connect(server), bucket, tmp_path)


def test_life_of_a_bucket_over_tls(connect, tls_server, bucket, tmp_path):
    import urllib3

    pool = urllib3.PoolManager(ca_certs=str(tls_server.ca), retries=False)
    life_of_a_bucket(connect(tls_server, http_client=pool), bucket, tmp_path)


def test_copy_compose_and_tags(connect, server, bucket, tmp_path):
    from minio.commonconfig import REPLACE, ComposeSource, CopySource, Tags

    client = connect(server)
    client.make_bucket(bucket)
    parts = [payload(5 * MIB, 1), payload(6 * MIB, 2)]
    for number, part in enumerate(parts):
        client.put_object(bucket, f"part {number}", io.BytesIO(part), len(part))
    client.copy_object(bucket, "copied", CopySource(bucket, "part 0"), metadata={"x": "y"}, metadata_directive=REPLACE)
    assert client.stat_object(bucket, "copied").metadata["x-amz-meta-x"] == "y"
    client.compose_object(bucket, "whole", [ComposeSource(bucket, "part 0"), ComposeSource(bucket, "part 1")])
    client.fget_object(bucket, "whole", str(tmp_path / "got"))
    assert digest(tmp_path / "got") == digest(b"".join(parts))
    tags = Tags.new_object_tags()
    tags["project"] = "one"
    client.set_object_tags(bucket, "whole", tags)
    assert client.get_object_tags(bucket, "whole") == {"project": "one"}
    client.delete_object_tags(bucket, "whole")
    assert client.get_object_tags(bucket, "whole") is None


def test_versions_and_presigned_urls(connect, server, bucket):
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    client = connect(server)
    client.make_bucket(bucket)
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    assert client.get_bucket_versioning(bucket).status == ENABLED
    ids = [client.put_object(bucket, "k", io.BytesIO(text), len(text)).version_id for text in (b"1", b"2")]
    assert client.get_object(bucket, "k", version_id=ids[0]).read() == b"1"
    client.remove_object(bucket, "k")
    listed = list(client.list_objects(bucket, include_version=True))
    assert sorted(one.version_id for one in listed if not one.is_delete_marker) == sorted(ids)
    (marker,) = [one.version_id for one in listed if one.is_delete_marker]
    client.remove_object(bucket, "k", version_id=marker)
    with urllib.request.urlopen(client.presigned_get_object(bucket, "k")) as answer:
        assert answer.read() == b"2"
    put = urllib.request.Request(client.presigned_put_object(bucket, "new"), data=b"fresh", method="PUT")
    with urllib.request.urlopen(put) as answer:
        assert answer.status == 200
    assert client.get_object(bucket, "new").read() == b"fresh"


def test_ranges_are_what_was_asked(connect, server, bucket):
    client = connect(server)
    client.make_bucket(bucket)
    body = payload(MIB)
    client.put_object(bucket, "k", io.BytesIO(body), len(body))
    for offset, length in ((0, 1), (65535, 3), (500_000, 100_000), (MIB - 1, 1)):
        assert client.get_object(bucket, "k", offset=offset, length=length).read() == body[offset : offset + length]
