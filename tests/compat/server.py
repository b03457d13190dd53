"""Starts the real server binary for the client tests, and stops it again."""

import http.client
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from typing import Self

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
START_LIMIT = 90  # seconds until a debug build must be ready
STOP_LIMIT = 90  # seconds a graceful stop may take
PORTS = range(11_000, 32_000)  # of servers


def target_folder() -> pathlib.Path:
    """The shared build folder: outside the clone unless CARGO_TARGET_DIR says otherwise."""
    if named := os.environ.get("CARGO_TARGET_DIR"):
        return pathlib.Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "cloudserver" / "target"


def binary() -> pathlib.Path:
    """The server under test: CLOUDSERVER_BIN, or the debug build."""
    named = os.environ.get("CLOUDSERVER_BIN")
    return pathlib.Path(named) if named else target_folder() / "debug" / "cloudserver"


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that nobody listens on.

    They are none of those that the system gives to connections: some client would have one before its server has it.
    All are held at once before any is given back, so they differ from each other.
    """
    held = []
    try:
        while len(held) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.SystemRandom().choice(PORTS)))
            except OSError:
                one.close()
            else:
                held.append(one)
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


class Server:
    """One server process with a folder of its own; a context manager."""

    def __init__(self, home, *, settings=None, environment=None):
        """`settings` go over the shipped config.json; `environment` over a clean one."""
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.port, self.admin_port = free_ports(2)
        self.access_key, self.secret_key = "accessKey1", "verySecretKey1"
        self.log = self.home / "server.log"
        self.config = self.home / "config.json"
        self.data = self.home / "localData"
        self.metadata = self.home / "localMetadata"
        self.process = None
        self.scheme = "http"
        self._environment = environment or {}
        self._write_config(settings or {})

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def _write_config(self, settings):
        config = json.loads((REPOSITORY / "config.json").read_text())
        config |= {
            "port": self.port,
            "listenOn": [f"127.0.0.1:{self.port}"],
            "metricsPort": self.admin_port,
            "metricsListenOn": [f"127.0.0.1:{self.admin_port}"],
        }
        config |= settings
        if "certFilePaths" in config:
            self.scheme = "https"
        self.config.write_text(json.dumps(config, indent=2))

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(**self._invocation(), stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def run_to_its_end(self, limit: float = 90) -> subprocess.CompletedProcess:
        """For servers that must refuse to start: the finished process with its output."""
        return subprocess.run(**self._invocation(), check=False, capture_output=True, text=True, timeout=limit)

    def _invocation(self) -> dict:
        folders = ["--data", str(self.data), "--metadata", str(self.metadata)]
        return {
            "args": [str(binary()), "--config", str(self.config), *folders],
            "cwd": self.home,
            "stdin": subprocess.DEVNULL,
            "env": {
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "S3_LOCATION_FILE": str(REPOSITORY / "locationConfig.json"),
                "S3AUTH_CONFIG": str(REPOSITORY / "conf" / "authdata.json"),
                "RUST_BACKTRACE": "1",
                **self._environment,
            },
        }

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            if self._is_ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready within {START_LIMIT} s:\n{self.tail()}")

    def _is_ready(self) -> bool:
        # The admin listener may follow the S3 listener into TLS; its certificate is not what is tested here.
        trusting = ssl._create_unverified_context()
        for scheme in ("http", "https"):
            try:
                url = f"{scheme}://127.0.0.1:{self.admin_port}/ready"
                with urllib.request.urlopen(url, timeout=2, context=trusting) as answer:
                    return answer.status == 200
            except (OSError, http.client.HTTPException):
                continue
        return False

    def stop(self) -> int:
        """Asks for a graceful stop and returns the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for the report of a failed test."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_):
        self.stop()


class RunningServer:
    """A server somebody else runs (COMPAT_ENDPOINT), for comparing behaviour by hand."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint.rstrip("/")
        self.scheme, rest = self.endpoint.split("://")
        self.port = int(rest.rsplit(":", 1)[1])
        self.access_key = os.environ.get("COMPAT_ACCESS_KEY", "accessKey1")
        self.secret_key = os.environ.get("COMPAT_SECRET_KEY", "verySecretKey1")

    def tail(self, lines: int = 40) -> str:
        return "(not our process)"
