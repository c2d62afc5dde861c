# The commands of Barque. Each installs what is missing, builds, and does its job; each is safe to repeat.

# One target folder outside the checkout, so that a clean checkout does not pay for RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/barque/target
# Where `make env` finds barque, and kubectl where the machine has none.
export BARQUE_BIN ?= $(HOME)/.cache/barque/bin
BARQUE := $(CARGO_TARGET_DIR)/debug/barque
DIR ?= .barque
MASTERS ?= 3
NODES ?= 3

.PHONY: up down env images test chaos bench build tools-build tools-up tools-images tools-test tools-bench

up: build tools-up
	$(BARQUE) up --dir $(DIR) --masters $(MASTERS) --nodes $(NODES) --detach
	@printf '  To have barque and kubectl on the PATH of this shell, and kubectl pointed to this cluster:\n\n'
	@printf '  eval "$$(make env%s)"\n\n' '$(if $(filter-out .barque,$(DIR)), DIR=$(DIR))'

down: build
	$(BARQUE) down --dir $(DIR)

env:
	@printf 'export PATH="%s:$$PATH" KUBECONFIG="%s/kubeconfig"\n' '$(BARQUE_BIN)' '$(abspath $(DIR))'

build: tools-build
	cargo build --locked --workspace
	@mkdir -p $(BARQUE_BIN) && ln -sfn $(BARQUE) $(BARQUE_BIN)/barque

# The images that config/web.yaml names, made of Debian's packages and loaded into the local engine.
images: build tools-images
	$(CARGO_TARGET_DIR)/debug/chaos images

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

tools-up:
	@tests/tools.sh up

tools-images:
	@tests/tools.sh images

tools-test:
	@tests/tools.sh test

tools-bench:
	@tests/tools.sh bench
