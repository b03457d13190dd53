#!/usr/bin/env python3
"""Runs the S3 tests once more for each STORE that the objects are to be in (`TEST_STORES`).

    tests/api/elsewhere.py STORE ...

Every test passes, but for those that `in-place.tsv` names for stores that keep one version of each object. These must
fail, and as the list says: one that passes is to be taken from the list. `cargo` and its surroundings are the caller's.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
FEATURES = "failpoints,conformance"


def test_binary() -> str:
    words = ["cargo", "test", "--locked", "--features", FEATURES, "--test", "api", "--no-run"]
    done = subprocess.run([*words, "--message-format=json"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    artifacts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (found,) = [item["executable"] for item in artifacts if item.get("target", {}).get("name") == "api"]
    return found


def exceptions(store) -> dict[str, str]:
    """Tests that cannot pass there, with what their failure says."""
    if not store.endswith("-in-place"):
        return {}
    lines = (HERE / "in-place.tsv").read_text().splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


def failures(binary, environment, named) -> list[str]:
    """What is wrong with the list."""
    words = [binary, "--exact", *named, "--test-threads", str(2 * os.cpu_count())]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    run = set(re.findall(r"^test (\S+) \.\.\. ", done.stdout, re.MULTILINE))
    told = re.split(r"^---- (\S+) stdout ----$", done.stdout, flags=re.MULTILINE)
    told = dict(zip(told[1::2], told[2::2], strict=True))
    wrong = [f"{name}: there is no such test" for name in named if name not in run]
    wrong += [f"{name}: passes, take it from the list" for name in named if name in run and name not in told]
    for name, text in told.items():
        if named[name] not in text:
            wrong.append(f"{name}: does not say {named[name]!r}:\n{text}")
    return wrong


def main() -> int:
    os.chdir(HERE.parents[1])
    binary = test_binary()
    status = 0
    for store in sys.argv[1:]:
        began = time.monotonic()
        environment = {**os.environ, "TEST_STORES": store, "RUST_BACKTRACE": "0"}
        named = exceptions(store)
        left_out = [word for name in named for word in ("--skip", name)]
        words = [binary, "--quiet", "--exact", *left_out, "--test-threads", str(2 * os.cpu_count())]
        good = subprocess.run(words, env=environment).returncode == 0
        wrong = failures(binary, environment, named) if named else []
        for line in wrong:
            print(f"{store}: {line}")
        outcome = "passed" if good and not wrong else "FAILED"
        print(f"{store}: {outcome}; {len(named)} tests cannot pass there, {time.monotonic() - began:.0f} s", flush=True)
        status |= outcome == "FAILED"
    return status


if __name__ == "__main__":
    sys.exit(main())
