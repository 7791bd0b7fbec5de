#!/usr/bin/env bash
# Updates every dependency to the newest version that fits, builds, tests, and shows what became faster or slower.
# usage: update.sh [bench]     with bench it measures only: the last commit against what lies in the working tree
# Versions that do not fit (another major one) are listed at the end: they are changed in Cargo.toml by hand, after which
# this is run again.
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
results=$target/update
workspaces=(. guest-examples/rust tests/fuzz tests/guests tests/shuttle)
step() { echo "== $* ($(date +%H:%M:%S))"; }

# The short benchmark: work alone, twice for each of the two, in turn.
measure() {
  local name=$1 directory=$2
  (cd "$directory" && CARGO_TARGET_DIR=$results/$name scripts/bench.sh throughput work limits --json "$results/$name-$3.json") |
    grep -a 'written to' || true
}

mkdir -p "$results"
if [ "${1:-}" != bench ]; then
  step update
  for workspace in "${workspaces[@]}"; do
    echo "$workspace"
    cargo update --manifest-path "$workspace/Cargo.toml" 2>&1 | grep -aE '^ +(Updating|Adding|Removing|Downgrading) [a-z]' || echo "    nothing newer fits"
  done
  step "build and test"
  scripts/test.sh
fi

step "benchmark against $(git log -1 --format=%h)"
before=$results/before-tree
git worktree remove --force "$before" 2>/dev/null || true
git worktree add --quiet --detach "$before" HEAD
trap 'git worktree remove --force "$before"' EXIT
for round in 1 2; do
  measure before "$before" "$round"
  measure after "$PWD" "$round"
done
step difference
"$(ls -t "$results"/after/release/deps/throughput-* | grep -v '\.d$' | head -1)" compare \
  "$results/before-1.json,$results/before-2.json" "$results/after-1.json,$results/after-2.json"

step "newer versions that do not fit"
cargo update --verbose --dry-run 2>&1 | grep -a 'available:' || echo "none"
