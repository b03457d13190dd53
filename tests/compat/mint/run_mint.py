#!/usr/bin/env python3
"""Runs those suites of minio/mint that need neither Go nor a container, and compares them with `ledger.tsv`.

The suites are not part of this repository: MINT_DIR, MINIO_PY_DIR and MINIO_JS_DIR name git repositories (checkouts or
bare mirrors) of minio/mint, minio/minio-py and minio/minio-js. The ledger has, for each suite, how many tests ran and
how many passed, and names every test that does not pass with the reason. A failure that it does not name is an error;
`--update` writes the figures anew, never the reasons.

The suites stop at their first failure; here they go on, so that one run tells all of them.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COMPAT = HERE.parent
LEDGER = HERE / "ledger.tsv"
LIMIT = 1200  # seconds one suite may take
SOURCES = {  # environment variable, revision
    "mint": ("MINT_DIR", "c3910db"),
    "minio-py": ("MINIO_PY_DIR", "7.2.20"),
    "minio-js": ("MINIO_JS_DIR", "9e59f4d"),
}
SUITES = ["awscli", "s3cmd", "minio-py", "minio-js"]

sys.path.insert(0, str(COMPAT))


def checked_out(name: str, scratch: pathlib.Path) -> pathlib.Path:
    variable, revision = SOURCES[name]
    source = os.environ.get(variable) or sys.exit(f"{variable} must name a git repository with revision {revision}")
    folder = scratch / name
    folder.mkdir()
    packed = subprocess.run(["git", "-C", source, "archive", revision], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "x", "-C", folder], check=True, input=packed.stdout)
    return folder


def replaced(path: pathlib.Path, pattern: str, by: str):
    text, count = re.subn(pattern, by, path.read_text())
    if count == 0:
        sys.exit(f"{path.name} is not as expected: no {pattern}")
    path.write_text(text)


def command(suite: str, scratch: pathlib.Path, mint: pathlib.Path, python: str) -> tuple[list, pathlib.Path]:
    """What runs a suite, and where; it prints a JSON object for each test."""
    home = mint / "run" / "core" / suite
    if suite == "minio-py":
        tests = checked_out("minio-py", scratch) / "tests" / "functional" / "tests.py"
        replaced(tests, r"raise TestFailed\(\)", "pass")
        return [python, tests], home
    if suite == "minio-js":
        folder = checked_out("minio-js", scratch)
        install = ["npm", "install", "--quiet", "--ignore-scripts"]
        subprocess.run(install, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        tests = folder / "tests" / "functional" / "functional-tests.js"
        body = "body.length ? function (done) { body.call(this, done) } : body"
        going_on = f"const step = (title, body) => it(title, {body})"
        replaced(tests, r"import \{ step \} from 'mocha-steps'", going_on)
        required = ["dotenv/config", "source-map-support/register", "./babel-register.js"]
        options = [word for name in required for word in ("--require", name)]
        mocha = ["node", "node_modules/mocha/bin/mocha.js", "--no-config", "--exit", *options]
        return [*mocha, "-R", home / "minioreporter.js", tests], folder
    words = ["bash", home / "test.sh"]
    return words + ["http://" + os.environ["SERVER_ENDPOINT"]] * (suite == "awscli"), home


def results(printed: str) -> list[tuple[str, str]]:
    """Name and status of each test; names without what changes from run to run."""
    found = []
    for line in printed.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            name = entry["name"].split(":")[-1] if ":" in entry["name"] else entry.get("function", "").strip()
            argument = entry.get("args") if isinstance(entry.get("args"), str) else ""
            name = " ".join(f"{name} {argument}".split())
            name = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|test-bucket-\d+|127\.0\.0\.1:\d+", "…", name)
            found.append((name, entry["status"]))
    return found


def run(suite: str, scratch: pathlib.Path, mint: pathlib.Path, clients: pathlib.Path) -> list[tuple[str, str]]:
    words, folder = command(suite, scratch, mint, str(clients / "venv" / "bin" / "python"))
    home = scratch / f"home-{suite}"
    (home / ".aws").mkdir(parents=True)
    environment = os.environ | {
        "HOME": str(home),
        "PATH": f"{clients / 'venv/bin'}:{os.environ['PATH']}",
        "NODE_PATH": str(folder / "node_modules"),
        "NODE_NO_WARNINGS": "1",
        "AWS_ACCESS_KEY_ID": os.environ["ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["SECRET_KEY"],
        "AWS_DEFAULT_REGION": os.environ["SERVER_REGION"],
        "LC_ALL": "C.UTF-8",
    }
    where = {"cwd": folder, "env": environment}
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True, timeout=LIMIT, **where)
    return results(done.stdout)


def read_ledger() -> tuple[dict, dict]:
    figures, opened = {}, {}
    for line in LEDGER.read_text().splitlines():
        kind, *fields = line.split("\t")
        if kind == "suite":
            figures[fields[0]] = (int(fields[1]), int(fields[2]))
        elif kind == "open":
            opened[(fields[0], fields[1])] = fields[2]
    return figures, opened


def write_ledger(figures: dict, opened: dict):
    comments = [line for line in LEDGER.read_text().splitlines() if line.startswith("#")]
    lines = comments + [f"suite\t{suite}\t{ran}\t{passed}" for suite, (ran, passed) in figures.items()]
    lines += [f"open\t{suite}\t{name}\t{reason}" for (suite, name), reason in opened.items()]
    LEDGER.write_text("\n".join(lines) + "\n")


def prepare(scratch: pathlib.Path) -> pathlib.Path:
    mint = checked_out("mint", scratch)
    data = scratch / "data"
    surroundings = os.environ | {"MINT_ROOT_DIR": str(scratch)}
    subprocess.run(["bash", mint / "create-data-files.sh"], check=True, env=surroundings, stdout=subprocess.DEVNULL)
    os.environ |= {"MINT_DATA_DIR": str(data), "MINT_MODE": "full", "ENABLE_HTTPS": "0", "SERVER_REGION": "us-east-1"}
    return mint


def main() -> int:
    from server import Server

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the figures of this run into the ledger")
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"of {', '.join(SUITES)}; all without any")
    options = parser.parse_args()
    installed = subprocess.run([COMPAT / "install"], check=True, stdout=subprocess.PIPE, text=True)
    clients = pathlib.Path(installed.stdout.strip())
    figures, opened = read_ledger()
    unnamed = 0
    with tempfile.TemporaryDirectory(prefix="mint-") as folder:
        scratch = pathlib.Path(folder)
        mint = prepare(scratch)
        with Server(scratch / "server") as server:
            os.environ |= {"SERVER_ENDPOINT": f"127.0.0.1:{server.port}"}
            os.environ |= {"ACCESS_KEY": server.access_key, "SECRET_KEY": server.secret_key}
            for suite in options.suites:
                tests = run(suite, scratch, mint, clients)
                # mocha tells of a test that fails late, and again, more than once.
                failing = list(dict.fromkeys(name for name, status in tests if status != "PASS"))
                passed = sum(status == "PASS" for _, status in tests)
                figures[suite] = (passed + len(failing), passed)
                print(f"{suite}: {passed + len(failing)} ran, {passed} passed", flush=True)
                unnamed += not tests
                for name in failing:
                    reason = opened.get((suite, name))
                    unnamed += reason is None
                    print(f"  {name}: {reason or 'NOT NAMED IN THE LEDGER'}")
                for known, name in [key for key in opened if key[0] == suite and key[1] not in failing]:
                    print(f"  {name}: passes now")
                    if options.update:
                        del opened[(known, name)]
    if options.update:
        write_ledger(figures, opened)
    return 1 if unnamed else 0


if __name__ == "__main__":
    sys.exit(main())
