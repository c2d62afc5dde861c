# The commands of Barque. Each installs what is missing, builds, and does its job; each is safe to repeat.

# One target folder outside the checkout, so that a clean checkout does not pay for RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/barque/target
BARQUE := $(CARGO_TARGET_DIR)/debug/barque
DIR ?= .barque
MASTERS ?= 3
NODES ?= 3

.PHONY: up down test chaos bench build tools-build tools-test tools-bench

up: build
	$(BARQUE) up --dir $(DIR) --masters $(MASTERS) --nodes $(NODES) --detach

down: build
	$(BARQUE) down --dir $(DIR)

build: tools-build
	cargo build --locked --workspace

test: tools-build tools-test
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	cargo build --locked --workspace --all-targets
	cargo nextest run --locked --workspace --config-file config/nextest.toml

chaos: build tools-test
	$(CARGO_TARGET_DIR)/debug/chaos $(CHAOS)

bench: build tools-bench
	$(CARGO_TARGET_DIR)/debug/bench $(BENCH)

tools-build:
	@tests/tools.sh build

tools-test:
	@tests/tools.sh test

tools-bench:
	@tests/tools.sh bench
