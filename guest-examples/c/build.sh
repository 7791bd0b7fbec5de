#!/usr/bin/env bash
# Builds the component.
# usage: build.sh [OUTPUT.wasm]     build/receiver.wasm unless given
# The compiler is the clang of Zig; ZIG names it if `zig` is not on the PATH.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/build/receiver.wasm}")
cd "$here"
toolchain=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain
export PATH=$toolchain/wit-bindgen/bin:$PATH
zig=${ZIG:-$([ -x "$toolchain/ziglang/bin/python" ] && echo "$toolchain/ziglang/bin/python -m ziglang" || echo zig)}
$zig version >/dev/null 2>&1 || { echo "Zig is missing: pip install ziglang==0.15.1, or set ZIG" >&2; exit 69; }
command -v wit-bindgen >/dev/null ||
  { echo "wit-bindgen is missing: cargo install --locked --version 0.57.1 wit-bindgen-cli" >&2; exit 69; }
# A file of this name tells the world, which is `plugin` where there is none.
world=$(cat world 2>/dev/null || echo plugin)
mkdir -p build "$(dirname "$output")"
wit-bindgen c wit --world "$world" --out-dir build/gen >/dev/null
$zig cc --target=wasm32-wasi -mexec-model=reactor -std=gnu17 -Os -s -Wall -Wextra -Wl,-z,stack-size=131072 -Ibuild/gen -I. \
  -o "$output" *.c "build/gen/${world/-/_}.c" "build/gen/${world/-/_}_component_type.o"
