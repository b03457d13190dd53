#!/usr/bin/env python3
"""Builds the fuzz targets with a stable toolchain and runs each of them for a while.

    fuzz/run.py [--seconds N] [--jobs N] [TARGET ...]

libFuzzer needs of the compiler what `cargo fuzz` asks it for: counters at every edge and calls at comparisons. The
flags below are those of its `--sanitizer none`, which stable compilers take. Everything is built and found below
$CARGO_TARGET_DIR/fuzz; new inputs are thrown away, inputs that break a rule are kept there.

The kept corpus is `fuzz/corpus/TARGET/`; `cargo test` runs every target over it.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
FLAGS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
]
LIMITS = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=16384", "-len_control=20"]
# Less coverage than this from all seeds and an input is a build without counters.
LEAST_COVERAGE = 50


def build(target_dir):
    """Builds the fuzzer; the host is named, so that build scripts and macros are not instrumented."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (\S+)$", version, re.M).group(1)
    environment = {**os.environ, "RUSTFLAGS": " ".join(FLAGS), "CARGO_TARGET_DIR": str(target_dir)}
    command = ["cargo", "build", "--release", "--locked", "--target", host]
    subprocess.run([*command, "--manifest-path", HERE / "Cargo.toml"], check=True, env=environment)
    return target_dir / host / "release" / "fuzz"


def statistic(name, text):
    found = re.search(rf"^stat::{name}: +(\d+)$", text, re.M)
    return int(found.group(1)) if found else 0


def fuzz(binary, target, seconds, found_dir):
    """Runs a target; gives a line of the table, and the log where something broke."""
    faults = found_dir / target
    shutil.rmtree(faults, ignore_errors=True)
    faults.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{target}-") as fresh:
        command = [binary, fresh, CORPUS / target, f"-max_total_time={seconds}", "-print_final_stats=1", *LIMITS]
        command.append(f"-artifact_prefix={faults}/")
        environment = {**os.environ, "FUZZ_TARGET": target, "RUST_BACKTRACE": "1"}
        try:
            run = subprocess.run(
                command, env=environment, capture_output=True, text=True, errors="replace", timeout=seconds + 300
            )
            log, status = run.stderr, run.returncode
        except subprocess.TimeoutExpired as expired:
            log, status = (expired.stderr or b"").decode(errors="replace"), -1
    coverage = [int(number) for number in re.findall(r"\bcov: (\d+)", log)]
    row = {
        "target": target,
        "runs": statistic("number_of_executed_units", log),
        "coverage": max(coverage, default=0),
        "new": statistic("new_units_added", log),
        "result": "ok",
    }
    inputs = sorted(path for path in faults.iterdir() if not path.name.startswith("slow-unit"))
    if status != 0 or inputs:
        row["result"] = "BROKEN"
    elif row["coverage"] < LEAST_COVERAGE:
        row["result"] = "NO COVERAGE"
    return row, inputs, log


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long each target runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many run at a time")
    parser.add_argument("targets", nargs="*", help="the targets to run; all, if none is named")
    arguments = parser.parse_args()
    known = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
    targets = arguments.targets or known
    for target in targets:
        if target not in known:
            parser.error(f"there is no target {target}; there are {', '.join(known)}")

    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target").resolve() / "fuzz"
    binary = build(target_dir)
    found_dir = target_dir / "found"
    print(f"{'target':14} {'executions':>11} {'coverage':>9} {'new inputs':>11}  result", flush=True)
    broken = []
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [pool.submit(fuzz, binary, target, arguments.seconds, found_dir) for target in targets]
        for job in jobs:
            row, inputs, log = job.result()
            print("{target:14} {runs:11,} {coverage:9,} {new:11,}  {result}".format(**row), flush=True)
            if row["result"] != "ok":
                broken.append((row, inputs, log))
    for row, inputs, log in broken:
        print(f"\n{row['target']}: {row['result']}")
        # The panic and its trace: not the growth of the corpus before it, nor the fuzzer's own frames.
        panic = re.search(r"^thread .* panicked .*?(?=^note: |^==|\Z)", log, re.M | re.S)
        lines = (panic.group(0) if panic else log).splitlines()
        print("\n".join(f"    {line}" for line in lines[-400:] if "libfuzzer" not in line and not line.startswith("#")))
        for path in inputs:
            print(f"  input:  {path}")
            print(f"  replay: FUZZ_TARGET={row['target']} {binary} {path}")
            print(f"  keep:   cp {path} {CORPUS / row['target']}/  (and write the test that tells of it)")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
