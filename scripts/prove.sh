#!/usr/bin/env bash
# Proves at length that nothing is lost: what `cargo test` does for some seconds, for minutes. Each line of the table can
# be run alone.
# usage: prove.sh [SUBCOMMAND [HOW MUCH]]     all of them unless given
#   simulate [SEEDS [FIRST]]  seeded simulations, 20000 in memory and 2000 on a queue file; `simulate 1 7` repeats seed 7
#   shuttle [SCHEDULES] structures that threads meet in, under 10000 schedules each
#   breaks             wasmpost broken on purpose, one way after another, and which proof notices
#   kill [ROUNDS]      a host that is killed at random and at every point, 300 times
#   order [CALLS]      confirmation after the flush; up to 60 calls of each kind that fail; a full disk
#   fuzz [SECONDS]     input that is almost right, 60 seconds for each target; by libFuzzer too where cargo-fuzz is
#   soak [MINUTES]     mixed load with faults and reloads for 15 minutes
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
export WASMPOST_GUESTS=${WASMPOST_GUESTS:-${CARGO_TARGET_DIR:-$PWD/target}/guests/out}
proof() { cargo test --workspace --all-features --test "$1" -- --nocapture; }
guests() { scripts/guest-cargo.sh tests/guests; }

# Both stores by the same seeds; the queue file costs about ten times as much.
simulate() {
  local first=${2:-0}
  simulation() { cargo test --workspace --all-features --test simulation "$1" -- --nocapture; }
  WASMPOST_FIRST_SEED=$first WASMPOST_SEEDS=${1:-20000} simulation in_memory_no_seed
  WASMPOST_FIRST_SEED=$first WASMPOST_SEEDS=${1:-2000} simulation on_a_queue_file_no_seed
}

shuttle() {
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/shuttle WASMPOST_SEEDS=${1:-5000} \
    cargo run --quiet --locked --manifest-path tests/shuttle/Cargo.toml
}

# Each proof that can meet a broken host is run with each break, for as long as in `cargo test`. One that fails has noticed,
# and says which invariants did not hold. The table is made from lines of break, proof and outcome.
breaks() {
  local target=${CARGO_TARGET_DIR:-$PWD/target} names=(ack-before-commit fsync-skipped no-fencing count-at-failure outbox-early
    flight-ignored results-shifted)
  local table=$target/breaks.tsv log=$target/breaks.log
  mkdir -p "$target" && : >"$table"
  WASMPOST_BREAKS_TABLE=$table cargo test --workspace --all-features --test simulation each_break -- --nocapture
  for proof in kill order; do
    # One that fails without a break notices nothing.
    proof "prove_$proof" >"$log" 2>&1 || { cat "$log" >&2 && return 1; }
    for name in "${names[@]}"; do
      if WASMPOST_BREAK=$name proof "prove_$proof" >"$log" 2>&1; then
        outcome=missed
      else
        cp "$log" "$target/breaks-$name-$proof.log"
        found=$(grep -oE '^I[0-9]+:|^promise [0-9]+:' "$log" | tr -d : | sort -uV | tr '\n' ' ' || true)
        outcome=${found:+caught by $found}
        # One that failed for another reason, as a host that was too slow, has noticed nothing.
        outcome=${outcome:-"failed: $(grep -A1 -m1 'panicked at' "$log" | tail -1 | cut -c1-100 || true)"}
      fi
      printf '%s\t%s\t%s\n' "$name" "$proof" "$outcome" >>"$table"
    done
  done
  awk -F '\t' '{ printf "%-18s %-28s %s\n", $1, $2, $3; seen[$1]; if ($3 ~ /^caught/) caught[$1] }
    END { for (name in seen) if (!(name in caught)) { print name " is caught by none"; exit 1 } }' "$table"
}

# What is plain text or bytes is tried by libFuzzer too, where it can be built: it sees which code an input reaches.
fuzz() {
  local seconds=${1:-60} target=${CARGO_TARGET_DIR:-$PWD/target} name
  if cargo +nightly fuzz --version >/dev/null 2>&1; then
    # Small guests, for what looks through components.
    mkdir -p "$target/fuzz/seeds/scan" && cp "$WASMPOST_GUESTS"/{noop,told}*.wasm "$target/fuzz/seeds/scan"
    cp -r tests/fuzz/seeds "$target/fuzz"
    for name in attributes configuration lines origins scan; do
      mkdir -p "$target/fuzz/corpus/$name"
      cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir "$target/fuzz" "$name" \
        "$target/fuzz/corpus/$name" "$target/fuzz/seeds/$name" -- -max_total_time="$seconds" -print_final_stats=1
    done
  else
    echo "there is no nightly compiler with cargo-fuzz: proptest tries texts alone"
  fi
  WASMPOST_FUZZ_SECONDS=$seconds proof prove_fuzz
}

case ${1:-all} in
  simulate) simulate "${@:2}" ;;
  shuttle) shuttle "${2:-}" ;;
  breaks) guests && breaks ;;
  kill) guests && WASMPOST_PROVE_ROUNDS=${2:-300} proof prove_kill ;;
  order) guests && WASMPOST_PROVE_CALLS=${2:-60} proof prove_order ;;
  fuzz) guests && fuzz "${2:-60}" ;;
  soak) guests && scripts/guest-languages.sh && WASMPOST_SOAK_SECONDS=$((${2:-15} * 60)) proof prove_soak ;;
  all) for subcommand in simulate shuttle breaks kill order fuzz soak; do "$0" "$subcommand"; done ;;
  *) sed -n 's/^#   /  /p' "$0" >&2 && exit 2 ;;
esac
