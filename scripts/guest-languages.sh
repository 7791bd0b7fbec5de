#!/usr/bin/env bash
# Builds the example of every language to one place. What is newer than its sources is left as it is.
# usage: guest-languages.sh [LANGUAGE...]     all unless given
# The components lie in ${CARGO_TARGET_DIR:-target}/guests/out, named triage-LANGUAGE.wasm. A language whose toolchain is
# missing is left out, and the tests of it are ignored then; scripts/setup.sh installs toolchains. With the example in
# Python come the guests of the tests in it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/guests/out
all=(rust c zig go javascript typescript python assemblyscript)
say() { echo "guests: $*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Whether a source is newer than the component; what a build leaves behind is no source.
is_stale() {
  # The guests of the tests in Python are built with the tool of the example.
  [ "$1" = python ] && [ ! -x "$root/guest-examples/python/.venv/bin/componentize-py" ] && return
  [ ! -e "$2" ] || [ -n "$(find "$root/guest-examples/$1" "$root/wit" \
    \( -name build -o -name node_modules -o -name .venv -o -name bindings -o -name target -o -name __pycache__ -o -name echo -o -name batch \) -prune \
    -o -newer "$2" ! -path "$root/guest-examples/$1" -print -quit)" ]
}

failed=()
for language in "${@:-${all[@]}}"; do
  component=$out/triage-$language.wasm
  if [[ " ${all[*]} " != *" $language "* ]]; then
    say "there is no example in $language, but in: ${all[*]}" >&2
    exit 2
  fi
  if [ "$language" = rust ]; then
    # Cargo knows by itself what is new.
    "$root/scripts/guest-cargo.sh" "$root/guest-examples/rust" &&
      { cmp --silent "$out/webhook-triage.wasm" "$component" || cp "$out/webhook-triage.wasm" "$component"; } ||
      failed+=(rust)
    continue
  fi
  is_stale "$language" "$component" || continue
  status=0
  "$root/guest-examples/$language/build.sh" "$work/built.wasm" >"$work/log" 2>&1 || status=$?
  case $status in
    0) mv "$work/built.wasm" "$component" && say "$language: built" ;;
    69) rm -f "$component" && say "$language: left out: $(tail -n 1 "$work/log")" ;;
    *)
      rm -f "$component"
      cat "$work/log" >&2
      failed+=("$language")
      ;;
  esac
done
if [ -e "$out/triage-python.wasm" ] && [[ " ${*:-python} " = *" python "* ]]; then
  "$root/tests/guests/foreign-python/build.sh" "$out" >"$work/log" 2>&1 || { cat "$work/log" >&2; failed+=(foreign-python); }
fi
[ ${#failed[@]} = 0 ] || { say "cannot be built: ${failed[*]}" >&2; exit 1; }
