#!/usr/bin/env bash
# Builds a workspace of guests for wasm32-unknown-unknown and copies each module to one place.
# usage: guest-cargo.sh DIRECTORY
# The modules lie in ${CARGO_TARGET_DIR:-target}/guests/out, named as their packages.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
directory=$(cd "$1" && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/guests
out=$target/out
export CARGO_TARGET_DIR=$target
mkdir -p "$out"

if rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; then
  cargo build --quiet --release --locked --target wasm32-unknown-unknown --manifest-path "$directory/Cargo.toml"
elif [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ]; then
  # Debian's compiler with its own library source; only the linker comes from rustup's toolchain.
  linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
  env -u RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS PATH="/usr/bin:$linker/gcc-ld:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker/rust-lld" \
    /usr/bin/cargo build --quiet --release --locked --target wasm32-unknown-unknown \
    -Zbuild-std=std,panic_abort --manifest-path "$directory/Cargo.toml"
else
  echo "no compiler for wasm32-unknown-unknown: run scripts/setup.sh first" >&2
  exit 1
fi

for module in "$target"/wasm32-unknown-unknown/release/*.wasm; do
  name=$(basename "$module" | tr _ -)
  cmp --silent "$module" "$out/$name" || cp "$module" "$out/$name"
done
