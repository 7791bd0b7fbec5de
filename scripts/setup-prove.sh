#!/usr/bin/env bash
# Installs what the proofs look at system calls with, where it is missing. Can be run twice. What cannot be installed is
# said, and the tests that need it are shown as ignored.
set -euo pipefail

say() { echo "setup: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

if ! command -v strace >/dev/null && command -v apt-get >/dev/null; then
  say "installing strace with apt"
  install=(apt-get install -y -q --no-install-recommends strace)
  as_root "${install[@]}" >/dev/null 2>&1 || { as_root apt-get update -q && as_root "${install[@]}"; } >/dev/null || true
fi
if command -v strace >/dev/null; then say "$(strace --version | head -1)"; else say "strace is missing, and so are its proofs"; fi
