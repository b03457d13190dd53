# Everything a person or CI does with this repository. `make help` lists it.
#
# Build outputs and test clients live outside the clone, so that a fresh clone builds from what is
# there. RocksDB is compiled once, by `.ci/rocksdb`, and linked by every profile.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CLOUDSERVER_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloudserver
CARGO_TARGET_DIR ?= $(CLOUDSERVER_CACHE)/target
export CLOUDSERVER_CACHE CARGO_TARGET_DIR

# Evaluated inside a recipe, after `setup` has made the library.
ROCKSDB = ROCKSDB_LIB_DIR="$${ROCKSDB_LIB_DIR:-$$(.ci/rocksdb)}" ROCKSDB_STATIC=1
CARGO = $(ROCKSDB) cargo
# cargo-nextest where it is installed; the test runner of cargo anywhere else.
NEXTEST := $(shell command -v cargo-nextest >/dev/null && echo nextest run || echo test)
# The long tests one after the other, with the figures they print.
SOAK = $(if $(filter test,$(NEXTEST)),-- --ignored --nocapture --test-threads 1,--run-ignored only --no-capture)
STEP = @.ci/step
# Client tests are dealt to this many processes, each with a server of its own.
JOBS ?= $(shell nproc)
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# Where the objects of `make elsewhere` are (tests/api/support/elsewhere.rs lists what there is).
STORES ?= modules memory-native memory-in-place aws_s3
PYTEST = "$$(tests/compat/install)/venv/bin/python" -m pytest -c tests/compat/pytest.ini

.PHONY: help run setup rocksdb build release test check unit elsewhere memory clients compat fuzz s3-tests mint soak bench

help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup ## Builds the release and serves on port 8000, with data in ./localData and ./localMetadata.
	$(CARGO) build --release --locked
	exec "$(CARGO_TARGET_DIR)/release/cloudserver"

setup: ## Installs what the build needs (as root on Debian or Ubuntu; elsewhere it names what is missing).
	@.ci/system build
	@.ci/rocksdb >/dev/null

build: setup ## Builds the development binary.
	$(CARGO) build --locked

test: ## Runs what CI runs: formatting, lints, all Rust tests, all client tests.
	$(STEP) "RocksDB and system packages" $(MAKE) --no-print-directory setup
	$(STEP) "formatting and lints" $(MAKE) --no-print-directory check
	$(STEP) "tests" $(MAKE) --no-print-directory unit
	$(STEP) "S3 tests with objects elsewhere" $(MAKE) --no-print-directory elsewhere
	$(STEP) "tests without RocksDB" $(MAKE) --no-print-directory memory
	$(STEP) "client programs" $(MAKE) --no-print-directory clients
	$(STEP) "development binary" $(MAKE) --no-print-directory build
	$(STEP) "tests with client programs" $(MAKE) --no-print-directory compat
	$(STEP) "fuzz targets" $(MAKE) --no-print-directory fuzz

check: ## Checks formatting and lints; warnings are errors.
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --locked --all-targets --features failpoints,conformance -- -D warnings

unit: ## Runs the Rust tests with the default features and named crash points.
	$(CARGO) $(NEXTEST) --locked --features failpoints,conformance

elsewhere: ## Runs the S3 tests once more with each of STORES: modules behind sockets, stores that keep objects under their names.
	$(ROCKSDB) tests/api/elsewhere.py $(STORES)

memory: ## Runs the Rust tests without RocksDB and TLS: everything in memory, no C++.
	cargo $(NEXTEST) --locked --no-default-features

clients: ## Installs the client programs that `make compat` drives.
	@.ci/system clients
	@tests/compat/install >/dev/null

compat: clients build ## Runs the client tests against the development binary (CLOUDSERVER_BIN names another).
	$(CARGO) test --locked --features failpoints,conformance --no-run --lib --test locations
	CLIENTS="$$(tests/compat/install)" $(CARGO) test --locked --features failpoints,conformance --test locations -- --ignored real_
	$(PYTEST) -q -n $(JOBS) --dist worksteal tests/compat

fuzz: ## Runs every fuzz target for FUZZ_SECONDS (60) from its kept corpus; TARGETS names some.
	@fuzz/run.py --jobs $(JOBS) --seconds $(FUZZ_SECONDS) $(TARGETS)

s3-tests: build ## Runs ceph/s3-tests: S3TESTS_DIR=<checkout or mirror>; SET=further; UPDATE=1 records what passes newly.
	@python3 tests/compat/s3tests/run_s3tests.py --jobs $(JOBS) $(if $(SET),--set $(SET)) $(if $(UPDATE),--update) $(TESTS)

mint: build ## Runs suites of minio/mint: MINT_DIR, MINIO_PY_DIR, MINIO_JS_DIR=<repositories>; UPDATE=1 records the figures.
	@python3 tests/compat/mint/run_mint.py $(if $(UPDATE),--update) $(SUITES)

soak: setup ## Runs the long tests: kills, huge objects, a million keys (release build; an hour or more, 30 GiB of disk).
	$(CARGO) $(NEXTEST) --release --locked --no-fail-fast $(SOAK)
	$(CARGO) $(NEXTEST) --locked --features failpoints --test durability failpoints $(SOAK)

bench: setup ## Measures throughput, latency and CPU per operation, and prints them.
	$(CARGO) bench --locked
