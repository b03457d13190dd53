#!/usr/bin/env python3
"""Runs ceph/s3-tests against the server and compares the portable tests with `ledger.tsv`.

The suite is not part of this repository: S3TESTS_DIR names a checkout or a bare mirror of it.
The ledger says of each test whether it passes and, where not, why. It only grows: a test that
passed once must go on passing, so a loss is an error and `--update` records gains only.
`--set further` does the same with `further.tsv`: tests of signature version 2, and others that
AWS would fail but that say something of an S3 server; the ledger itself says which they are.

This file is also the pytest plugin of that run: it gives every test a bucket prefix of its own,
because the suite empties its prefix before each test and one bucket that cannot be emptied would
fail all tests that follow; and it writes one line for each test.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LEDGERS = {"portable": HERE / "ledger.tsv", "further": HERE / "further.tsv"}
KINDS = {
    "portable": "{passed} of {all} portable tests pass in dialect ceph.",
    "further": "{passed} of {all} further tests that say something of S3 pass in dialect ceph.",
}
REVISION = "8f0ae7b"
FILES = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
MARKERS = "not fails_on_aws and not auth_aws2 and not iam_user and not iam_account and not bucket_logging_cleanup"
NAMES = "not tenant"
TEST_LIMIT = 180  # seconds one test may take; one compares 16 MiB in 1 KiB slices of a string
# Counts all buckets of the account, so it runs before all others, on an empty server.
SOLITARY = ["test_s3.py::test_list_buckets_paginated"]

BART = {
    "display_name": "Bart",
    "email": "sampleaccount1@sampling.com",
    "user_id": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be",
    "access_key": "accessKey1",
    "secret_key": "verySecretKey1",
}
LISA = {
    "display_name": "Lisa",
    "email": "sampleaccount2@sampling.com",
    "user_id": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2bf",
    "access_key": "accessKey2",
    "secret_key": "verySecretKey2",
}

# Why a test does not pass yet: the first row whose pattern occurs in "operation of the error, name".
REASONS = [
    ("needs-lifecycle", r"Lifecycle|lifecycle|expiration"),
    ("needs-post-form", r"post_object"),
    ("needs-cors", r"BucketCors|cors"),
    ("needs-logging", r"BucketLogging|logging"),
    ("needs-policy", r"BucketPolicy|policy"),
    ("needs-public-access-block", r"PublicAccessBlock|public_block|block_public|ignore_public"),
    ("needs-ownership", r"OwnershipControls|ownership|object_writer|bucket_owner_"),
    ("needs-object-lock", r"ObjectLock|ObjectRetention|LegalHold|object_lock"),
    ("needs-encryption", r"BucketEncryption|encrypt|sse|kms"),
    ("needs-notification", r"Notification|notification"),
    ("needs-website", r"BucketWebsite|website"),
    ("needs-replication", r"BucketReplication|replication"),
    ("needs-request-payment", r"RequestPayment|request_?payment|requester"),
    ("needs-acl", r"BucketAcl|ObjectAcl|_acl|acl_|grant|access_bucket"),
    ("needs-append", r"append"),
    ("needs-restore", r"restore|Restore"),
]


# --- the plugin -------------------------------------------------------------------------------


def pytest_runtest_setup(item):
    suite = sys.modules.get("s3tests.functional")
    if suite is not None and suite.prefix:
        suite.prefix = suite.choose_bucket_prefix("ct-{random}-", max_len=24)


def pytest_runtest_logreport(report):
    """Keeps the verdict of the test itself; what sweeping up afterwards met is not its fault."""
    lines = os.environ.get("S3TESTS_LINES")
    if not lines or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if report.when == "call" or (report.when == "setup" and not report.passed):
        told = [line[2:].strip() for line in str(report.longrepr or "").splitlines() if line.startswith("E ")]
        why = " ".join((told[-1] if told else str(report.longrepr or "")[-200:]).split())[:300]
        with open(lines, "a") as out:
            out.write(f"{short(report.nodeid)}\t{report.outcome}\t{report.duration:.2f}\t{why}\n")


def short(nodeid: str) -> str:
    return nodeid.rsplit("/", 1)[-1]


# --- the runner -------------------------------------------------------------------------------


def cache() -> pathlib.Path:
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("CLOUDSERVER_CACHE") or pathlib.Path(home) / "cloudserver")


def suite(source: str) -> pathlib.Path:
    """The work tree of the pinned revision, unpacked once outside the clone."""
    tree = cache() / "clients" / f"s3-tests-{REVISION}"
    if not (tree / ".complete").is_file():
        tree.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["git", "-C", source, "archive", REVISION], check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", tree], check=True, input=packed.stdout)
        (tree / ".complete").touch()
    return tree


def interpreter(tree: pathlib.Path) -> pathlib.Path:
    """A Python with what the suite asks for."""
    asked = (tree / "requirements.txt").read_bytes() + sys.version.encode()
    venv = cache() / "clients" / f"s3-tests-venv-{hashlib.sha256(asked).hexdigest()[:12]}"
    if not (venv / ".complete").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", tree / "requirements.txt", "pytest-timeout", "pytest-xdist"], check=True)
        (venv / ".complete").touch()
    return venv / "bin" / "python"


def configuration(host: str, port: int) -> str:
    """The suite reads all sections before each test; where we have no third account they repeat the first two.

    `api_name` is a region that GetBucketLocation must tell back: us-east-1 would be told as empty.
    """
    sections = [
        ("DEFAULT", {"host": host, "port": port, "is_secure": "False", "ssl_verify": "False"}),
        ("fixtures", {"bucket prefix": "ct-{random}-", "iam name prefix": "ct-", "iam path prefix": "/ct/"}),
        ("s3 main", BART | {"api_name": "eu-west-1", "kms_keyid": "test-key-1", "kms_keyid2": "test-key-2"}),
        ("s3 alt", LISA),
        ("s3 tenant", LISA | {"tenant": ""}),
        ("iam", BART),
        ("iam root", BART),
        ("iam alt root", LISA),
    ]
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) for name, values in sections
    )


def run(python, tree, endpoint, folder, jobs, tests) -> dict[str, tuple[str, str, str]]:
    """Runs the selection (or the named tests) and returns name → (outcome, seconds, why)."""
    host, port = endpoint.rsplit("/", 1)[-1].split(":")
    (folder / "s3tests.conf").write_text(configuration(host, int(port)))
    lines = folder / "results.tsv"
    lines.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "S3TEST_CONF": str(folder / "s3tests.conf"),
        "S3TESTS_LINES": str(lines),
        # A server on this machine has no passing faults: a retry would only hide an error.
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_RETRY_MODE": "standard",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    what = [f"s3tests/functional/{name}" for name in tests] if tests else [*FILES, "-m", MARKERS, "-k", NAMES]
    command = [
        python,
        "-m",
        "pytest",
        "-p",
        "run_s3tests",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "--no-header",
        "--timeout",
        str(TEST_LIMIT),
        "-n",
        str(jobs),
        *what,
    ]
    with (folder / "pytest.log").open("w") as log:
        subprocess.run(command, cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not lines.exists():
        sys.exit("the suite did not start:\n" + (folder / "pytest.log").read_text()[-3000:])
    rows = (line.rstrip("\n").split("\t") for line in lines.read_text().splitlines())
    return {name: (outcome, seconds, why) for name, outcome, seconds, why in rows}


def read_ledger(kind: str) -> dict[str, tuple[str, str]]:
    text = LEDGERS[kind].read_text()
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}


def reason(name: str, why: str) -> str:
    operation = re.search(r"when calling the (\w+) operation", why)
    subject = f"{operation[1] if operation else ''} {name}"
    return next((category for category, pattern in REASONS if re.search(pattern, subject)), "open")


def write_ledger(kind, before, results):
    """Records gains; keeps what passed, and the reasons that somebody has written by hand."""
    rows = dict(before)
    for name, (outcome, _, why) in results.items():
        known, told = before.get(name, ("", ""))
        if outcome == "passed":
            rows[name] = ("pass", "")
        elif known != "pass":
            kept = told if told and told != "open" else reason(name, why)
            rows[name] = ("fail", kept)
    passed = sum(state == "pass" for state, _ in rows.values())
    head = [
        f"# ceph/s3-tests at revision {REVISION}: {KINDS[kind].format(passed=passed, all=len(rows))}",
        f"# Written by `make s3-tests SET={kind} UPDATE=1`; reasons may be edited by hand, a pass never becomes a fail.",
    ]
    lines = [f"{name}\t{state}" + (f"\t{told}" if told else "") for name, (state, told) in sorted(rows.items())]
    LEDGERS[kind].write_text("\n".join([*head, *lines]) + "\n")


def report(before, results, lost) -> int:
    gained = sorted(
        name for name, row in results.items() if row[0] == "passed" and before.get(name, ("",))[0] != "pass"
    )
    failed = {name: row for name, row in results.items() if row[0] != "passed"}
    reasons = collections.Counter(before.get(name, ("", ""))[1] or reason(name, row[2]) for name, row in failed.items())
    for category, count in reasons.most_common():
        print(f"  {count:4} not passing: {category}")
    for name in gained:
        print(f"  + {name}")
    for name in lost:
        print(f"  LOST {name}: {results.get(name, ('', '', 'did not run'))[2]}")
    print(
        f"s3-tests {REVISION}: {len(results) - len(failed)} passed, {len(failed)} failed, "
        f"{len(gained)} gained, {len(lost)} lost"
    )
    return 1 if lost else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--suite", default=os.environ.get("S3TESTS_DIR"), help="checkout or bare mirror (S3TESTS_DIR)")
    parser.add_argument("--endpoint", help="a running server, instead of starting the built one")
    parser.add_argument("--dialect", choices=["ceph", "aws"], default="ceph", help="whose answers the server gives")
    parser.add_argument("--set", choices=list(LEDGERS), default="portable", help="which tests, and their ledger")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="processes the tests are dealt to")
    parser.add_argument("--update", action="store_true", help="record the gains in the ledger")
    parser.add_argument(
        "--output", type=pathlib.Path, help="write name, outcome, seconds and cause as TSV; the log goes beside it"
    )
    parser.add_argument("tests", nargs="*", help="only these, e.g. test_s3.py::test_bucket_list_empty")
    options = parser.parse_args()
    if options.update and options.dialect != "ceph":
        parser.error("the ledger is of dialect ceph")
    if not options.suite:
        parser.error("name a checkout of ceph/s3-tests: --suite, S3TESTS_DIR or `make s3-tests S3TESTS_DIR=…`")
    # Asked to end, it still stops its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tree = suite(options.suite)
    python = interpreter(tree)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="s3-tests-") as scratch:
        folder = pathlib.Path(scratch)
        server = None
        if not options.endpoint:
            sys.path.insert(0, str(HERE.parent))
            from server import Server

            # The suite names keys that are there; a key that is not is refused.
            # It states what Ceph answers, so that dialect is asked for, unless --dialect says otherwise.
            keys = {"keys": ["test-key-1", "test-key-2", "testkey-1"]}
            ours = {"cloudserver": {"kms": keys, "compat": {"dialect": options.dialect}}}
            server = Server(folder / "server", settings=ours).start()
        endpoint = options.endpoint or server.endpoint
        try:
            before = read_ledger(options.set)
            # The portable tests are told by their marks, the further ones by their ledger.
            chosen = options.tests or (list(before) if options.set == "further" else [])
            alone = {} if chosen else run(python, tree, endpoint, folder, 1, SOLITARY)
            results = run(python, tree, endpoint, folder, options.jobs, chosen) | alone
            if options.output:
                shutil.copy(folder / "pytest.log", options.output.with_suffix(".log"))
            expected = [name for name, (state, _) in before.items() if state == "pass"]
            if options.tests:
                expected = [name for name in expected if name in options.tests]
            lost = [name for name in expected if results.get(name, ("",))[0] != "passed"]
            if lost and len(lost) < 40:  # once more and alone: a loaded machine is no loss
                again = run(python, tree, endpoint, folder, 1, lost)
                results |= again
                lost = [name for name in lost if results.get(name, ("",))[0] != "passed"]
        finally:
            if server:
                server.stop()
    if options.output:
        rows = sorted(results.items())
        options.output.write_text("".join(f"{name}\t" + "\t".join(row) + "\n" for name, row in rows))
    status = report(before, results, lost)
    if options.update:
        write_ledger(options.set, before, results)
    print(f"took {time.monotonic() - begin:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
