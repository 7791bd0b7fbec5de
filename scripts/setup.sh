#!/usr/bin/env bash
# Finds out what is missing to build and test wasmpost, and installs it. Can be run twice.
# usage: setup.sh [demo]     with demo, only what the demo needs
set -euo pipefail

need=${1:-all}
rust_min=1.95
deny_version=0.20.2
say() { echo "setup: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
apt_install() {
  command -v apt-get >/dev/null || { say "please install: $*"; exit 1; }
  say "installing $* with apt"
  as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 ||
    { as_root apt-get update -q >/dev/null && as_root apt-get install -y -q --no-install-recommends "$@" >/dev/null; }
}

# The compiler of the host.
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
if ! command -v cargo >/dev/null; then
  command -v curl >/dev/null || apt_install curl ca-certificates
  say "installing Rust with rustup"
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c clippy -c rustfmt
  . "$HOME/.cargo/env"
fi
rust=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$rust_min" "$rust" | sort -V | head -1)" != "$rust_min" ]; then
  say "Rust $rust is older than $rust_min; updating"
  rustup update stable
  rustup default stable
fi
say "Rust $(rustc --version | cut -d' ' -f2)"
command -v cc >/dev/null || apt_install gcc libc6-dev
for component in clippy rustfmt; do
  cargo "${component/rust/}" --version >/dev/null 2>&1 || rustup component add "$component"
done

# The compiler of guests: rustup's target, or Debian's compiler where rustup cannot download one.
if rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; then
  say "guests are built with rustup's target wasm32-unknown-unknown"
elif command -v rustup >/dev/null && rustup target add wasm32-unknown-unknown >/dev/null 2>&1; then
  say "added rustup's target wasm32-unknown-unknown"
else
  debian_source() { [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; }
  debian_source || apt_install rustc-web cargo-web rust-web-src
  debian_source || { say "no compiler for wasm32-unknown-unknown could be installed"; exit 1; }
  say "guests are built with $(/usr/bin/rustc --version), which has no ready target: the first build takes a minute"
fi

[ "$need" = demo ] && exit 0

if ! cargo deny --version 2>/dev/null | grep -q "$deny_version"; then
  say "installing cargo-deny $deny_version, which takes some minutes"
  # It runs for a second in each test: building it fast matters more than a fast program.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/build-tools" \
    cargo install --quiet --locked --version "$deny_version" cargo-deny
fi
say "cargo-deny $deny_version"

"$(dirname "$0")/setup-prove.sh"
"$(dirname "$0")/setup-guests.sh"
