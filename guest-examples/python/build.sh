#!/usr/bin/env bash
# Builds the component.
# usage: build.sh [OUTPUT.wasm]     build/receiver.wasm unless given
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/build/receiver.wasm}")
cd "$here"
command -v python3 >/dev/null || { echo "Python is missing: install Python 3.10 or newer" >&2; exit 69; }
# A file of this name tells the world, which is `plugin` where there is none.
world=$(cat world 2>/dev/null || echo plugin)
mkdir -p "$(dirname "$output")"
if [ ! -x .venv/bin/componentize-py ] || [ requirements.txt -nt .venv/bin/componentize-py ]; then
  python3 -m venv .venv || { echo "Python's venv is missing: install python3-venv" >&2; exit 69; }
  .venv/bin/pip install --quiet --requirement requirements.txt ||
    { echo "pip cannot install the packages of requirements.txt" >&2; exit 69; }
  touch .venv/bin/componentize-py
fi
.venv/bin/componentize-py --wit-path wit --world "$world" componentize receiver --output "$output"
