"""W9: front, data module and metadata module as three processes; and a data module of somebody else."""

import subprocess
import sys

import boto3
import pytest
from botocore.config import Config

from files import payload
from server import REPOSITORY, Server, free_ports

pytestmark = pytest.mark.own_server

TOKEN = {"CLOUDSERVER_MODULE_TOKEN": "a secret between them"}


@pytest.fixture
def start(tmp_path):
    """Starts servers that end with the test, the last one first."""
    running = []

    def begin(name, **options):
        server = Server(tmp_path / name, **options)
        running.append(server)
        return server.start()

    yield begin
    for server in reversed(running):
        server.stop()


def client(server):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def everyday_use(s3, bucket):
    """What a client does: the same whatever keeps the bytes."""
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    bodies = {"empty": b"", "small": payload(100), "folder/large": payload(3_000_000)}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"size": str(len(body))})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="folder/parts")["UploadId"]
    parts = [payload(5 << 20), payload(1234)]
    etags = [
        s3.upload_part(Bucket=bucket, Key="folder/parts", UploadId=upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    complete = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]}
    s3.complete_multipart_upload(Bucket=bucket, Key="folder/parts", UploadId=upload, MultipartUpload=complete)
    bodies["folder/parts"] = b"".join(parts)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/folder/large")
    bodies["copy"] = bodies["folder/large"]
    s3.delete_object(Bucket=bucket, Key="small")
    return bodies


def verify(s3, bucket, bodies):
    for key, body in bodies.items():
        if key != "small":
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    ranged = s3.get_object(Bucket=bucket, Key="folder/parts", Range="bytes=5242870-5242890")
    assert ranged["Body"].read() == bodies["folder/parts"][5242870:5242891]
    listing = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [item["Key"] for item in listing["Contents"]] == ["copy", "empty"]
    assert [item["Prefix"] for item in listing["CommonPrefixes"]] == ["folder/"]
    versions = s3.list_object_versions(Bucket=bucket)
    assert [marker["Key"] for marker in versions["DeleteMarkers"]] == ["small"]
    old = next(item for item in versions["Versions"] if item["Key"] == "small")
    got = s3.get_object(Bucket=bucket, Key="small", VersionId=old["VersionId"])
    assert got["Body"].read() == bodies["small"]


def test_w9_front_data_and_metadata_are_three_processes(start, bucket):
    data_port, metadata_port = free_ports(2)
    modules = {
        "data": {"dataDaemon": {"bindAddress": "127.0.0.1", "port": data_port}},
        "metadata": {"metadataDaemon": {"bindAddress": "127.0.0.1", "port": metadata_port}},
    }
    running = {
        role: start(role, settings=settings, environment={"CLOUDSERVER_ROLE": role, **TOKEN})
        for role, settings in modules.items()
    }
    clients = {
        "dataClient": {"host": "localhost", "port": data_port},
        "metadataClient": {"host": "localhost", "port": metadata_port},
    }
    hosts = {"DATA_HOST": "127.0.0.1", "METADATA_HOST": "127.0.0.1", **TOKEN}
    front = start("front", settings=clients, environment=hosts)
    bodies = everyday_use(client(front), bucket)
    verify(client(front), bucket, bodies)
    assert not front.data.exists(), "the front keeps no data"
    assert any(running["data"].data.rglob("*")), "the data module does"
    assert not running["data"].metadata.exists(), "and no metadata"
    assert any(running["metadata"].metadata.rglob("*"))

    for server in (front, *running.values()):
        assert server.stop() == 0, "a graceful stop ends with status 0"
    for server in (*running.values(), front):
        server.start()
    verify(client(front), bucket, bodies)


def test_w9_a_data_module_of_somebody_else_does_as_well(start, bucket, tmp_path):
    script = REPOSITORY / "examples" / "python-data-module" / "data_module.py"
    words = [sys.executable, script, "--folder", tmp_path / "blobs", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as module:
        try:
            address = module.stdout.readline().removeprefix("listening on ").strip()
            front = start("front", environment={"DATA_HOST": address})
            bodies = everyday_use(client(front), bucket)
            verify(client(front), bucket, bodies)
            assert len(list((tmp_path / "blobs" / "blobs").iterdir())) >= 3
        finally:
            module.terminate()
