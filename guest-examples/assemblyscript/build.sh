#!/usr/bin/env bash
# Builds the component.
# usage: build.sh [OUTPUT.wasm]     build/receiver.wasm unless given
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/build/receiver.wasm}")
cd "$here"
toolchain=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain
export PATH=$toolchain/node/bin:$toolchain/wasm-tools/bin:$PATH
command -v npm >/dev/null || { echo "Node.js with npm is missing: install Node.js 20 or newer" >&2; exit 69; }
command -v wasm-tools >/dev/null ||
  { echo "wasm-tools is missing: cargo install --locked --version 1.254.2 wasm-tools" >&2; exit 69; }
# A file of this name tells the world, which is `plugin` where there is none.
world=$(cat world 2>/dev/null || echo plugin)
mkdir -p build "$(dirname "$output")"
# The packages are installed again when package-lock.json has changed.
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-fund --no-audit || { echo "npm cannot install the packages of package-lock.json" >&2; exit 69; }
# wasmpost dev sets WASMPOST_DEV: optimising takes as long as all the rest.
optimise=-O
[ -z "${WASMPOST_DEV:-}" ] || optimise=--optimizeLevel=0
node_modules/.bin/asc assembly/receiver.ts $optimise --use abort=assembly/wasmpost/crash --transform ./names.mjs -o build/module.wasm
wasm-tools component embed wit --world "$world" build/module.wasm --output "$output"
