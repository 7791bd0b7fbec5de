#!/usr/bin/env bash
# Builds a workspace of guests for wasm32-unknown-unknown and copies each module to one place.
# usage: guest-cargo.sh DIRECTORY
# The modules lie in ${CARGO_TARGET_DIR:-target}/guests/out, named as their packages and examples.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
directory=$(cd "$1" && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/guests
out=$target/out
export CARGO_TARGET_DIR=$target
mkdir -p "$out"

# Libraries and examples in one build: what both need is compiled once.
build=(build --quiet --release --locked --target wasm32-unknown-unknown --lib --examples
  --manifest-path "$directory/Cargo.toml")
cargo "${build[@]}"

for module in "$target"/wasm32-unknown-unknown/release/{,examples/}*.wasm; do
  # Of examples, cargo keeps a copy that has a hash in its name.
  [[ $module =~ -[0-9a-f]{16}\.wasm$ || ! -e $module ]] && continue
  name=$(basename "$module" | tr _ -)
  cmp --silent "$module" "$out/$name" || cp "$module" "$out/$name"
done
