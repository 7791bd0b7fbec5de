#!/usr/bin/env bash
# Finds out what is missing to build and test wasmpost, and installs it. Can be run twice.
# usage: setup.sh [demo]     with demo, only what the demo needs
set -euo pipefail

need=${1:-all}
deny_version=0.20.2
say() { echo "setup: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt_install() {
  command -v apt-get >/dev/null || { say "please install: $*"; exit 1; }
  say "installing $* with apt"
  as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 ||
    { as_root apt-get update -q >/dev/null && as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null; }
}

# The compiler of host and guests: rustup installs the toolchain and the targets that rust-toolchain.toml names.
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
if ! command -v rustup >/dev/null; then
  command -v curl >/dev/null || apt_install curl ca-certificates
  say "installing rustup"
  installer=$(mktemp)
  # The second is where the first one leads to: a network may let through only one of them.
  for url in https://sh.rustup.rs https://static.rust-lang.org/rustup/rustup-init.sh; do
    curl --proto '=https' --tlsv1.2 --connect-timeout 20 -sSf "$url" >"$installer" && break
  done
  sh "$installer" -y --profile minimal --default-toolchain none
  rm -f "$installer"
  . "$HOME/.cargo/env"
  say "cargo and rustup are in $HOME/.cargo/bin; a new shell finds them, and this one after: . ~/.cargo/env"
fi
cd "$(dirname "$0")/.."
rust=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
rustup toolchain list | grep -q "^$rust-" || say "installing Rust $rust, which rust-toolchain.toml names"
# Any call does that where this one does not know how.
rustup toolchain install >/dev/null 2>&1 || cargo --version >/dev/null
# Projects of `wasmpost new` lie elsewhere: they are built with the same one where there is no other.
rustup default >/dev/null 2>&1 || rustup default "$rust" >/dev/null 2>&1
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' guest-examples/rust/wasmpost-guest/Cargo.toml)
elsewhere=$(cd / && rustc --version 2>/dev/null | cut -d" " -f2 || true)
[ "$(printf '%s\n' "$oldest" "$elsewhere" | sort -V | head -1)" = "$oldest" ] ||
  say "in other directories Rust is ${elsewhere:-missing}, but receivers need $oldest or newer; change it with: rustup default $rust"
say "Rust $(rustc --version | cut -d' ' -f2), with $(rustup target list --installed | tr '\n' ' ')"
command -v cc >/dev/null || apt_install gcc libc6-dev

[ "$need" = demo ] && exit 0

if ! cargo deny --version 2>/dev/null | grep -q "$deny_version"; then
  say "installing cargo-deny $deny_version, which takes some minutes"
  # It runs for a second in each test: building it fast matters more than a fast program.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/build-tools" \
    cargo install --quiet --locked --version "$deny_version" cargo-deny
fi
say "cargo-deny $deny_version"

scripts/setup-prove.sh
scripts/setup-guests.sh
