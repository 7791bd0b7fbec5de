#!/usr/bin/env bash
# Builds the component.
# usage: build.sh [OUTPUT.wasm]     build/receiver.wasm unless given
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/build/receiver.wasm}")
cd "$here"
toolchain=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain
export PATH=$toolchain/go/bin:$toolchain/wit-bindgen/bin:$toolchain/wasm-tools/bin:$PATH
command -v go >/dev/null || { echo "Go is missing: install Go 1.25 or newer" >&2; exit 69; }
command -v wit-bindgen >/dev/null ||
  { echo "wit-bindgen is missing: cargo install --locked --version 0.57.1 wit-bindgen-cli" >&2; exit 69; }
command -v wasm-tools >/dev/null ||
  { echo "wasm-tools is missing: cargo install --locked --version 1.254.2 wasm-tools" >&2; exit 69; }
go mod download || { echo "the modules of go.mod cannot be downloaded" >&2; exit 69; }
# A file of this name tells the world, which is `plugin` where there is none.
world=$(cat world 2>/dev/null || echo plugin)
mkdir -p build "$(dirname "$output")"
# The receiver is a package beside the generated ones.
wit-bindgen go wit --world "$world" --out-dir bindings --pkg-name webhook-triage/bindings --export-pkg-name webhook-triage \
  >/dev/null 2>&1
GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o build/module.wasm .
wasm-tools component embed wit --world "$world" build/module.wasm --output "$output"
