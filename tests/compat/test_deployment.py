"""The files that people deploy with name nothing that the binary does not have; and `cloudserver health`."""

import json
import re
import shutil
import subprocess
import time

import pytest
import yaml

from server import REPOSITORY, Server, binary

FOLDERS = {"/usr/src/app/localData", "/usr/src/app/localMetadata"}
PORTS = {8000, 8002, 9990, 9991}
STACKS = [REPOSITORY / "docker-stack.yml", REPOSITORY / "deploy/swarm/docker-stack.modules.yml"]
MANIFESTS = sorted((REPOSITORY / "deploy/kubernetes").glob("*.yaml"))
UNIT = REPOSITORY / "deploy/systemd/cloudserver.service"


@pytest.fixture(scope="session")
def manual() -> str:
    """All help there is."""
    calls = [["--help"], ["help", "serve"], ["help", "health"]]
    return "\n".join(
        subprocess.run([str(binary()), *call], check=True, capture_output=True, text=True).stdout for call in calls
    )


def check_variables(names, manual):
    words = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", manual))
    assert set(names) <= words, f"not in the help: {set(names) - words}"


def check_arguments(arguments, manual):
    for word in arguments:
        assert not word.startswith("--") or word in manual.split(), word


def container_port(text) -> int:
    return int(str(text).rsplit(":", 1)[-1])


@pytest.mark.parametrize("file", STACKS, ids=lambda file: file.name)
def test_stacks_name_variables_folders_and_ports_of_the_binary(file, manual):
    stack = yaml.safe_load(file.read_text())
    if "modules" in file.name and "CLOUDSERVER_ROLE" not in manual:
        pytest.skip("this build has no roles")
    assert stack["services"]
    for name, service in stack["services"].items():
        check_variables(service.get("environment", {}), manual)
        assert service["healthcheck"]["test"] == ["CMD", "cloudserver", "health"], name
        assert {container_port(port) for port in service.get("ports", [])} <= PORTS
        mounts = dict(volume.split(":") for volume in service.get("volumes", []))
        assert set(mounts.values()) <= FOLDERS
        assert set(mounts) <= set(stack["volumes"]), "every volume is declared"
        assert set(service["networks"]) <= set(stack["networks"])
        assert service["deploy"]["replicas"] == 1
        assert seconds(service["stop_grace_period"]) > shutdown_grace()
        if mounts:
            constraints = service["deploy"]["placement"]["constraints"]
            assert constraints == ["node.labels.io.zenko.type == storage"]
    if shutil.which("docker"):
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "CLOUDSERVER_MODULE_TOKEN": "secret"}
        checked = subprocess.run(
            ["docker", "stack", "config", "-c", str(file)], capture_output=True, text=True, env=environment, check=False
        )
        assert checked.returncode == 0 or "not a docker command" in checked.stderr, checked.stderr


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def shutdown_grace() -> int:
    config = json.loads((REPOSITORY / "config.json").read_text())
    return config.get("cloudserver", {}).get("shutdownGraceSeconds", 30)


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_kubernetes_manifests_name_variables_folders_and_ports_of_the_binary(file, manual):
    documents = [one for one in yaml.safe_load_all(file.read_text()) if one]
    everything = [one for other in MANIFESTS for one in yaml.safe_load_all(other.read_text()) if one]
    claims = {one["metadata"]["name"] for one in documents if one["kind"] == "PersistentVolumeClaim"}
    workloads = [one for one in documents if one["kind"] in ("StatefulSet", "Deployment")]
    assert len(workloads) == 1
    for settings in (one for one in documents if one["kind"] == "ConfigMap"):
        check_variables(settings["data"], manual)
    for work in workloads:
        spec = work["spec"]["template"]["spec"]
        labels = work["spec"]["template"]["metadata"]["labels"]
        assert work["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for service in (one for one in everything if one["kind"] == "Service"):
            assert service["spec"]["selector"].items() <= labels.items()
        assert spec["terminationGracePeriodSeconds"] > shutdown_grace()
        assert spec["securityContext"]["runAsNonRoot"] is True
        (container,) = spec["containers"]
        check_arguments(container.get("args", []), manual)
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports == {"s3": 8000, "admin": 8002}
        for service in (one for one in everything if one["kind"] == "Service"):
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"]
        for probe in ("livenessProbe", "readinessProbe"):
            path = {"livenessProbe": "/live", "readinessProbe": "/ready"}[probe]
            assert container[probe]["httpGet"] == {"path": path, "port": "admin"}
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == FOLDERS
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        templates = {one["metadata"]["name"] for one in work["spec"].get("volumeClaimTemplates", [])}
        volumes = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in spec.get("volumes", [])}
        assert mounted == templates | set(volumes)
        assert set(volumes.values()) == claims


def test_the_unit_names_arguments_and_variables_of_the_binary(manual):
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    settings: dict[str, list[str]] = {}
    for line in lines:
        name, value = line.split("=", 1)
        settings.setdefault(name, []).append(value)
    check_variables([value.split("=")[0] for value in settings["Environment"]], manual)
    (start,) = settings["ExecStart"]
    check_arguments(start.split(), manual)
    assert settings["Type"] == ["notify"]
    assert int(settings["TimeoutStopSec"][0]) > shutdown_grace()


def test_the_image_is_built_from_what_is_there(manual):
    text = (REPOSITORY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from|.*<<)(?:--\S+ )*(.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((REPOSITORY / source).exists() for source in sources), line
    assert set(re.search(r"^VOLUME (\[.*\])$", text, re.MULTILINE)[1].strip("[]").replace('"', "").split(", ")) == FOLDERS
    assert {int(port) for port in re.search(r"^EXPOSE (.+)$", text, re.MULTILINE)[1].split()} == PORTS
    check_variables(re.findall(r"^ENV (\w+)=", text, re.MULTILINE), manual)
    rust = re.search(r"^FROM rust:(\S+?)-", text, re.MULTILINE)[1]
    assert f'rust-version = "{rust}"' in (REPOSITORY / "Cargo.toml").read_text()
    assert "curl" not in text, "the binary asks itself"


def health(server: Server, *words) -> subprocess.CompletedProcess:
    invocation = server._invocation()
    return subprocess.run(
        [invocation["args"][0], "health", *words, "--config", str(server.config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=invocation["cwd"],
        env=invocation["env"],
    )


@pytest.mark.own_server
def test_health_says_how_the_server_is_by_its_exit_status(tmp_path):
    server = Server(tmp_path / "server")
    done = health(server)
    assert done.returncode == 1 and "does not answer" in done.stderr
    with server:
        for words in ([], ["--ready"]):
            done = health(server, *words)
            assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["us-east-1"] == {"code": 200, "message": "OK"}
    assert health(server).returncode == 1


def test_health_works_over_tls(tls_server):
    done = health(tls_server, "--ready")
    assert done.returncode == 0, done.stderr


@pytest.mark.own_server
def test_a_stand_by_is_live_and_not_ready_until_the_owner_stops(tmp_path):
    """W8 with nothing but arguments: `--take-over-after`."""
    lease = {"cloudserver": {"lease": {"enabled": "on", "seconds": 10}}}
    with Server(tmp_path / "one", settings=lease) as first:
        second = Server(tmp_path / "two", settings=lease)
        second.data, second.metadata = first.data, first.metadata
        with second.log.open("ab") as log:
            invocation = second._invocation()
            invocation["args"] += ["--take-over-after", "10"]
            second.process = subprocess.Popen(**invocation, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(lambda: health(second).returncode == 0, second)
            waiting = health(second, "--ready")
            assert waiting.returncode == 1
            assert "answers 503" in waiting.stderr and "owns the folders" in waiting.stderr
            assert first.stop() == 0
            until(lambda: health(second, "--ready").returncode == 0, second)
        finally:
            assert second.stop() == 0


def until(holds, server, limit: float = 90):
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline and server.process.poll() is None, server.tail()
        time.sleep(0.1)
