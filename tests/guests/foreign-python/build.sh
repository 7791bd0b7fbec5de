#!/usr/bin/env bash
# Builds the components that are older than their sources, with what the example in Python is built with.
# usage: build.sh DIRECTORY     they lie there, named foreign-python-WORLD.wasm
set -euo pipefail

output=$(realpath -m "$1")
cd "$(dirname "$0")"
root=../../..
tool=$root/guest-examples/python/.venv/bin/componentize-py

build() {
  local name=$1 module=$2 world=$3 component=$output/foreign-python-$1.wasm wit=()
  [ ! -e "$component" ] || [ -n "$(find . "${@:4}" "$tool" -name __pycache__ -prune -o -newer "$component" -type f -print -quit)" ] ||
    return 0
  for path in "${@:4}"; do wit+=(--wit-path "$path"); done
  "$tool" "${wit[@]}" --world "$world" componentize "$module" --output "$component.new"
  mv "$component.new" "$component"
}

build cli command wasmpost:foreign-python/command wit
build http handler wasmpost:fetching/serving $root/wit ../fetching/wit
build messaging messenger wasi:messaging/messaging-request-reply $root/host/crates/sandbox/wit/wasi-messaging
build asking asker wasmpost:wasi3/relaying $root/wit/async ../wasi3/wit
