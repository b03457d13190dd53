"""Fixtures shared by the client tests: servers and commands."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest

import certificates
from server import REPOSITORY, RunningServer, Server

HERE = pathlib.Path(__file__).resolve().parent
COMMAND_LIMIT = 120  # seconds one client command may take


def pytest_collection_modifyitems(items):
    if os.environ.get("COMPAT_ENDPOINT"):
        for item in items:
            if item.get_closest_marker("own_server") or "tls_server" in item.fixturenames:
                item.add_marker(pytest.mark.skip(reason="needs a server of its own"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the end of the server's log to the report of a failed test."""
    report = (yield).get_result()
    if report.failed:
        for name in ("server", "tls_server"):
            if name in getattr(item, "funcargs", {}):
                report.sections.append((f"log of {name}", item.funcargs[name].tail()))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server over plain HTTP, one for each worker process."""
    if named := os.environ.get("COMPAT_ENDPOINT"):
        yield RunningServer(named)
        return
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory):
    """The server over TLS; `ca` names the authority's certificate, `host` a name it vouches for."""
    home = tmp_path_factory.mktemp("tls-server")
    paths = certificates.make(home)
    settings = {"certFilePaths": paths, **certificates.endpoints()}
    with Server(home, settings=settings) as running:
        running.ca = home / paths["ca"]
        running.host = certificates.HOST
        running.named_endpoint = f"https://{certificates.HOST}:{running.port}"
        yield running


@pytest.fixture(scope="session")
def clients():
    """The folder of the installed clients."""
    done = subprocess.run([HERE / "install"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())


@pytest.fixture(scope="session")
def suite():
    """Runs tests of a Rust test binary that need a store beside them, the ignored ones too."""
    environment = {**os.environ, "ROCKSDB_STATIC": "1"}
    if "ROCKSDB_LIB_DIR" not in environment:
        made = subprocess.run([REPOSITORY / ".ci/rocksdb"], check=True, stdout=subprocess.PIPE, text=True)
        environment["ROCKSDB_LIB_DIR"] = made.stdout.strip()
    words = ["cargo", "test", "--locked", "--features", "failpoints,conformance", "--no-run"]
    words += ["--lib", "--test", "locations", "--message-format=json"]
    built = subprocess.run(words, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    binaries = {item["target"]["name"]: item["executable"] for item in artifacts if item.get("executable")}

    def run(target, tests, **variables):
        words = [binaries[target], tests, "--include-ignored", "--test-threads", "1"]
        environment = {**os.environ, "RUST_BACKTRACE": "0", **variables}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
        passed = [line for line in done.stdout.splitlines() if line.endswith("... ok")]
        assert passed, f"no test has the name {tests}"
        return len(passed)

    return run


@pytest.fixture
def bucket():
    """A bucket name that no other test uses; the bucket is not made."""
    return f"compat-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def run(clients, tmp_path):
    """Runs a client's command in the test's own folder and returns what it printed."""

    def command(*words, environment=None, fails=False, limit=COMMAND_LIMIT, folder=None, stdin=None):
        """`fails` expects a non-zero exit and returns the error output with the rest."""
        surroundings = {
            "PATH": f"{clients / 'venv/bin'}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(HERE / "resolve"),
            "NODE_PATH": str(clients / "node_modules"),
            **(environment or {}),
        }
        words = [str(word) for word in words]
        done = subprocess.run(
            words,
            cwd=folder or tmp_path,
            env=surroundings,
            input="" if stdin is None else stdin,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
        )
        if (done.returncode != 0) != fails:
            expected = "a failure" if fails else "success"
            pytest.fail(
                f"expected {expected}, got exit status {done.returncode}: {' '.join(words)}\n"
                f"--- output ---\n{done.stdout[-4000:]}\n--- errors ---\n{done.stderr[-4000:]}",
                pytrace=False,
            )
        return done.stdout + done.stderr if fails else done.stdout

    return command


@pytest.fixture
def client_of(clients):
    """A boto3 client of a server, as whoever has `keys`; for what a test prepares and looks at beside its program."""

    def connect(server, keys=None, verify=None):
        import boto3
        from botocore.config import Config

        access, secret = keys or (server.access_key, server.secret_key)
        settings = Config(retries={"max_attempts": 1, "mode": "standard"}, s3={"addressing_style": "path"})
        session = boto3.session.Session(access, secret, region_name="us-east-1")
        return session.client("s3", endpoint_url=server.endpoint, verify=verify, config=settings)

    return connect


def sizes_in(client, bucket) -> dict[str, int]:
    """Keys of a bucket with the sizes of their objects."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
