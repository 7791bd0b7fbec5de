#!/usr/bin/env bash
# Proves at length that nothing is lost: what `cargo test` does for some seconds, for minutes. Each line of the table can
# be run alone.
# usage: prove.sh [SUBCOMMAND [HOW MUCH]]     all of them unless given
#   kill [ROUNDS]      a host that is killed at random and at every point, 300 times
#   order [CALLS]      confirmation after the flush; up to 60 calls of each kind that fail; a full disk
#   fuzz [SECONDS]     input that is almost right, 60 seconds for each target
#   soak [MINUTES]     mixed load with faults and reloads for 15 minutes
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
export WASMPOST_GUESTS=${WASMPOST_GUESTS:-${CARGO_TARGET_DIR:-$PWD/target}/guests/out}
proof() { cargo test --workspace --all-features --test "$1" -- --nocapture; }
guests() { scripts/guest-cargo.sh tests/guests; }

case ${1:-all} in
  kill) guests && WASMPOST_PROVE_ROUNDS=${2:-300} proof prove_kill ;;
  order) guests && WASMPOST_PROVE_CALLS=${2:-60} proof prove_order ;;
  fuzz) guests && WASMPOST_FUZZ_SECONDS=${2:-60} proof prove_fuzz ;;
  soak) guests && scripts/guest-languages.sh && WASMPOST_SOAK_SECONDS=$((${2:-15} * 60)) proof prove_soak ;;
  all) for subcommand in kill order fuzz soak; do "$0" "$subcommand"; done ;;
  *) sed -n 's/^#   /  /p' "$0" >&2 && exit 2 ;;
esac
