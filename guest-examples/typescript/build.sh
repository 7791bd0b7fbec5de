#!/usr/bin/env bash
# Builds the component.
# usage: build.sh [OUTPUT.wasm]     build/receiver.wasm unless given
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/build/receiver.wasm}")
cd "$here"
export PATH=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain/node/bin:$PATH
command -v npm >/dev/null || { echo "Node.js with npm is missing: install Node.js 20 or newer" >&2; exit 69; }
# A file of this name tells the world, which is `plugin` where there is none.
world=$(cat world 2>/dev/null || echo plugin)
mkdir -p "$(dirname "$output")"
# The packages are installed again when package-lock.json has changed.
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-fund --no-audit || { echo "npm cannot install the packages of package-lock.json" >&2; exit 69; }
node_modules/.bin/tsc
node_modules/.bin/componentize-js build/receiver.js --wit wit --world-name "$world" --disable http fetch-event --out "$output"
