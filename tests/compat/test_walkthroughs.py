"""Walk-throughs of the original that need servers of their own: W1 (run it) and W4 (TLS)."""

import http.client
import signal
import ssl
import time
import urllib.error
import urllib.request

import pytest

import certificates
from files import digest, make_tree, payload, tree, write
from server import Server

pytestmark = pytest.mark.own_server


@pytest.fixture
def start(tmp_path):
    """Starts servers that end with the test."""
    running = []

    def begin(name="server", **options):
        server = Server(tmp_path / name, **options)
        running.append(server)
        return server.start()

    yield begin
    for server in running:
        server.stop()


def keys(access="accessKey1", secret="verySecretKey1", **more):
    return {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        **more,
    }


# --- W1: run it -------------------------------------------------------------------------------


def test_w1_first_commands_work_without_further_set_up(start, run, bucket, tmp_path):
    server = start()
    before = make_tree(tmp_path / "source")

    def aws(*words):
        return run("aws", "--endpoint-url", server.endpoint, "s3", *words, environment=keys())

    aws("mb", f"s3://{bucket}")
    aws("cp", "source/plain.txt", f"s3://{bucket}/")
    aws("sync", "source", f"s3://{bucket}")
    assert len(aws("ls", "--recursive", f"s3://{bucket}").splitlines()) == len(before)
    aws("sync", f"s3://{bucket}", "target")
    assert tree(tmp_path / "target") == before
    aws("rm", "--recursive", f"s3://{bucket}")
    assert aws("ls", "--recursive", f"s3://{bucket}") == ""


def test_w1_data_outlives_the_process(start, run, bucket, tmp_path):
    """The volumes of the tutorial: a second server on the same folders serves the same objects."""
    small, large = payload(100), payload(3_000_000)
    write(tmp_path / "small", small)
    write(tmp_path / "large", large)
    server = start()
    for words in (["mb", f"s3://{bucket}"], ["cp", "small", f"s3://{bucket}"], ["cp", "large", f"s3://{bucket}"]):
        run("aws", "--endpoint-url", server.endpoint, "s3", *words, environment=keys())
    assert server.stop() == 0, "a graceful stop ends with status 0"
    again = start()
    for name, body in (("small", small), ("large", large)):
        run("aws", "--endpoint-url", again.endpoint, "s3", "cp", f"s3://{bucket}/{name}", "got", environment=keys())
        assert digest(tmp_path / "got") == digest(body)


def test_w1_keys_from_the_environment_replace_the_shipped_ones(start, run, bucket):
    mine = {"SCALITY_ACCESS_KEY_ID": "myOwnAccessKey", "SCALITY_SECRET_ACCESS_KEY": "myOwnSecretKey"}
    server = start(environment=mine)
    assert "accessKey1" not in server.log.read_text(), "the shipped accounts are gone, so is the warning about them"
    mb = ["aws", "--endpoint-url", server.endpoint, "s3", "mb", f"s3://{bucket}"]
    assert "InvalidAccessKeyId" in run(*mb, environment=keys(), fails=True)
    run(*mb, environment=keys("myOwnAccessKey", "myOwnSecretKey"))
    assert "myOwnSecretKey" not in server.log.read_text(), "secrets are never logged"


def test_w1_the_shipped_keys_are_warned_of(start):
    assert "accessKey1" in start().log.read_text()


def test_w1_further_names_of_the_server(start, run, bucket, tmp_path):
    """`ENDPOINT` adds names, and each serves virtual-host requests."""
    names = ["my.host.scality.test", "other.scality.test"]
    server = start(environment={"ENDPOINT": ",".join(names), "REMOTE_MANAGEMENT_DISABLE": "1"})
    config = write(tmp_path / "config", "[default]\ns3 =\n    addressing_style = virtual\n")
    mine = keys(AWS_CONFIG_FILE=str(config))
    for number, name in enumerate(names):
        where = ["aws", "--endpoint-url", f"http://{name}:{server.port}"]
        own = f"{bucket}-{number}"
        run(*where, "s3api", "create-bucket", "--bucket", own, environment=mine)
        run(*where, "s3", "cp", config, f"s3://{own}/key", environment=mine)
        got = run("aws", "--endpoint-url", server.endpoint, "s3", "cp", f"s3://{own}/key", "-", environment=keys())
        assert got == config.read_text()


def test_w1_the_log_level_is_taken_from_the_environment(start):
    quiet, loud = (start(level, environment={"LOG_LEVEL": level}) for level in ("info", "debug"))
    for server in (quiet, loud):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.endpoint}/nothing-here", timeout=10)
    assert "debug" not in quiet.log.read_text().lower()
    assert "debug" in loud.log.read_text().lower()


def test_w1_one_process_owns_the_folders(start, tmp_path):
    """A second server on the same folders ends at once and says why; the first goes on."""
    first = start()
    second = Server(tmp_path / "second")
    second.data, second.metadata = first.data, first.metadata
    done = second.run_to_its_end()
    assert done.returncode != 0
    told = (done.stdout + done.stderr).lower()
    assert "lock" in told or "in use" in told or "another" in told, told
    with urllib.request.urlopen(f"http://127.0.0.1:{first.admin_port}/live", timeout=10) as answer:
        assert answer.status == 200


def test_w1_health_and_metrics_are_where_probes_look(start):
    server = start()
    for port, path in [
        (server.admin_port, "/live"),
        (server.admin_port, "/ready"),
        (server.admin_port, "/metrics"),
        (server.port, "/_/healthcheck"),
        (server.port, "/_/healthcheck/deep"),
    ]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            assert answer.status == 200, path
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=10) as answer:
        body = answer.read().decode()
    assert "s3_cloudserver_http_requests_total" in body


@pytest.mark.parametrize(
    ("settings", "environment", "named"),
    [
        ({"port": "eight thousand"}, {}, "port"),
        ({"restEndpoints": {"localhost": "nowhere"}}, {}, "rest endpoint target not in locationConstraints"),
        ({"certFilePaths": {"key": "./missing.key", "cert": "./missing.crt"}}, {}, "missing."),
        ({"certFilePaths": {"key": "./missing.key"}}, {}, "certFilePaths"),
        ({}, {"S3BACKEND": "tape"}, "S3BACKEND"),
        ({}, {"S3_LOCATION_FILE": "/nonexistent.json"}, "/nonexistent.json"),
    ],
)
def test_w1_a_bad_configuration_is_named_in_the_first_line(tmp_path, settings, environment, named):
    done = Server(tmp_path / "server", settings=settings, environment=environment).run_to_its_end()
    assert done.returncode != 0
    first = next(line for line in (done.stderr or done.stdout).splitlines() if line.strip())
    assert named in first, first


# --- W4: TLS ----------------------------------------------------------------------------------


def test_w4_tls_by_certificate_files(start, run, bucket, tmp_path):
    home = tmp_path / "server"
    home.mkdir()
    paths = certificates.make(home)
    server = start(settings={"certFilePaths": paths, **certificates.endpoints()})
    body = payload(200_000)
    write(tmp_path / "file", body)
    endpoint = f"https://{certificates.HOST}:{server.port}"
    trusted = ["--ca-bundle", home / "ca.crt", "--endpoint-url", endpoint]
    for style in ("path", "virtual"):
        config = write(tmp_path / f"config-{style}", f"[default]\ns3 =\n    addressing_style = {style}\n")
        mine = keys(AWS_CONFIG_FILE=str(config))
        run("aws", *trusted, "s3", "mb", f"s3://{bucket}-{style}", environment=mine)
        run("aws", *trusted, "s3", "cp", "file", f"s3://{bucket}-{style}/file", environment=mine)
        run("aws", *trusted, "s3", "cp", f"s3://{bucket}-{style}/file", "got", environment=mine)
        assert digest(tmp_path / "got") == digest(body)
    untrusting = run("aws", "--endpoint-url", endpoint, "s3", "ls", environment=keys(), fails=True)
    assert "CERTIFICATE_VERIFY_FAILED" in untrusting or "SSL validation failed" in untrusting


def curl(run, server, *words, host=certificates.HOST, **options):
    """curl that finds the server's names by itself, without /etc/hosts."""
    resolve = ["--resolve", f"{host}:{server.port}:127.0.0.1"]
    return run("curl", "--silent", "--show-error", "--max-time", "20", *resolve, *words, **options)


def test_w4_word_for_word_with_curl(start, run, bucket, tmp_path):
    """The tutorial's certificate names `*.scality.test` in its subject only; path and virtual-host style, HTTP/1.1 and 2."""
    home = tmp_path / "server"
    home.mkdir()
    paths = certificates.make(home, alternative_names=False)
    server = start(settings={"certFilePaths": paths, **certificates.endpoints()})
    address = f"https://{certificates.HOST}:{server.port}"
    ca = ["--cacert", home / "ca.crt"]
    signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "accessKey1:verySecretKey1"]
    body = payload(10_000)
    write(tmp_path / "file", body)
    # Debian's curl signs this header, but only newer ones make it.
    empty = ["-H", f"x-amz-content-sha256: {digest(b'')}"]
    curl(run, server, *ca, *signed, *empty, "--fail", "-X", "PUT", f"{address}/{bucket}")
    content = ["-H", f"x-amz-content-sha256: {digest(body)}"]
    curl(run, server, *ca, *signed, *content, "--fail", "-T", "file", f"{address}/{bucket}/file")
    for version in ("--http1.1", "--http2"):
        curl(run, server, *ca, *signed, *empty, version, "--fail", "-o", "got", f"{address}/{bucket}/file")
        assert digest(tmp_path / "got") == digest(body)
    told = curl(run, server, *ca, "--http2", "-o", "none", "-w", "%{http_version}", f"{address}/{bucket}")
    assert told == "2"
    # `*.scality.test` does not vouch for `bucket.s3.scality.test`, so this client must be told not to check the name.
    name = f"{bucket}.{certificates.HOST}"
    virtual = ["--insecure", *signed, *empty, "--fail", "-o", "got", f"https://{name}:{server.port}/file"]
    curl(run, server, *virtual, host=name)
    assert digest(tmp_path / "got") == digest(body)
    assert "certificate" in curl(run, server, address, fails=True)
    with pytest.raises((OSError, http.client.HTTPException)):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5)


def test_w4_the_container_way_makes_certificates_once(start, run, bucket, tmp_path):
    environment = {"SSL": "TRUE", "ENDPOINT": certificates.HOST}
    server = start(environment=environment)
    found = sorted(server.home.rglob("ca.crt"))
    assert len(found) == 1, "exactly one authority was made"
    made = found[0].read_bytes()
    endpoint = f"https://{certificates.HOST}:{server.port}"
    trusted = ["--ca-bundle", found[0], "--endpoint-url", endpoint]
    run("aws", *trusted, "s3", "mb", f"s3://{bucket}", environment=keys())
    virtual = write(tmp_path / "config", "[default]\ns3 =\n    addressing_style = virtual\n")
    mine = keys(AWS_CONFIG_FILE=str(virtual))
    assert bucket in run("aws", *trusted, "s3", "ls", environment=keys())
    run("aws", *trusted, "s3api", "head-bucket", "--bucket", bucket, environment=mine)
    server.stop()
    again = start(environment=environment)
    assert found[0].read_bytes() == made, "the authority is made once"
    trusted[-1] = f"https://{certificates.HOST}:{again.port}"
    assert bucket in run("aws", *trusted, "s3", "ls", environment=keys())


def test_w4_private_keys_are_for_the_owner_only(start):
    server = start(environment={"SSL": "TRUE", "ENDPOINT": certificates.HOST})
    private = [path for path in server.home.rglob("*.key") if path.is_file()]
    assert private
    for path in private:
        assert path.stat().st_mode & 0o077 == 0, path


def test_w4_new_certificates_are_taken_on_sighup(start, run, tmp_path):
    """The certificate is renewed without a restart; a bad new file keeps the old one."""
    home = tmp_path / "server"
    home.mkdir()
    paths = certificates.make(home)
    server = start(settings={"certFilePaths": paths, **certificates.endpoints()})

    def shown():
        return ssl.get_server_certificate(("127.0.0.1", server.port))

    def eventually(condition):
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)
        return condition()

    before = shown()
    (home / "test.crt").write_text("not a certificate")
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert shown() == before
    certificates.make(home)
    server.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: shown() != before)
