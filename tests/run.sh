#!/usr/bin/env bash
# Everything that must be green: format, lints, docs, licences, tests, and the controller on a real control plane with real
# traffic. Installs what it needs by itself. The tools go to a cache that is keyed by their version.
#
# Budget on 2 cores, cold: 60 minutes; CI stops at 90. Beside each tier stands its part in minutes, cold and then warm; what it took is printed
# beside that, and the sum of all parts at the end. docs/proof.md says what of it is measured and what is a sum.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${SERIN_CACHE:-$HOME/.cache/serin}"
deny_version=0.20.2
# A file without a name, so that nothing is left of it, however this ends.
scratch=$(mktemp)
exec 3<>"$scratch"
rm "$scratch"
out=/proc/$$/fd/3
broken=0

missing() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }
command -v cargo >/dev/null || missing "cargo is not installed; the toolchain that rust-toolchain.toml names is needed"
command -v cc >/dev/null || missing "there is no C compiler (cc): Rust links by it, and ring is built with it. On Debian: apt-get install gcc libc6-dev"

# step NAME COLD WARM: a tier begins, with its budget in minutes; the one before is over.
name='' parts=()
step() {
  over
  name=$1 budget="$2 minutes cold, $3 warm" began=$SECONDS
  parts+=("$2 $3")
  printf '\n=== %s (%s)\n' "$name" "$(date +%H:%M:%S)"
}

# over: what the tier took, beside its budget.
over() { [ -z "$name" ] || printf '=== %s took %s s; budget: %s\n' "$name" "$((SECONDS - began))" "$budget"; }

# tested COMMAND...: runs tests and keeps what they say. One that fails does not keep the next from running; one that ends badly
# without having counted a failure is a failure of its own.
tested() {
  local before after code
  before=$(counted 6)
  set +e
  "$@" 2>&1 | tee -a "$out"
  code=${PIPESTATUS[0]}
  set -e
  after=$(counted 6)
  [ "$code" -eq 0 ] || [ "$after" -gt "$before" ] || broken=$((broken + 1))
}

# unmet: the tests that failed with what they said last, and the sentences of a scenario that did not hold.
unmet() {
  grep -E '^test .* FAILED$|^- \*\*NO:\*\*|^real\.sh: ' "$out" || true
  awk '/^(failures|successes):$/ { shown = 0; failed = /^failures/ }
       failed && /^---- .* stdout ----$/ { shown = 60 }
       shown > 0 { print; shown-- }' "$out"
}

# counted FIELD: the sum over all closing lines so far; 4 is passed, 6 failed, 8 skipped.
counted() { awk -v field="$1" '/^test result:/ { sum += $field } END { print sum + 0 }' "$out"; }

step "rustfmt and clippy" 1.5 0.5
rustup component add rustfmt clippy >/dev/null 2>&1 || true
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo clippy --test real --locked -- -D warnings

step "documentation" 0.5 0
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet

step "licences, sources and bans" 3 0
deny="$cache/cargo-deny-$deny_version/bin/cargo-deny"
[ -x "$deny" ] || cargo install cargo-deny --locked --version "$deny_version" --root "$cache/cargo-deny-$deny_version"
"$deny" --log-level error check bans licenses sources

step "tests on the embedded cluster" 8 2
tested env RUST_BACKTRACE=1 cargo test --locked --no-fail-fast --lib --bins --test suite

step "model check of the core, random schedules" 4 2.5
# What they say when they pass belongs to the result: how many states and schedules there were.
tested env RUST_BACKTRACE=1 cargo test --locked --no-fail-fast --test model --test schedules -- --show-output

step "real control plane: the ground it stands on" 18 1  # cold it builds the cluster
tested bash tests/real.sh ground

step "real control plane: the API server in memory answers as it" 3 2
tested bash tests/real.sh sim

step "real control plane: end to end, no request lost" 6.5 6.5
tested bash tests/real.sh end-to-end

step "real control plane: the whole life of a release" 4.5 4.5
tested bash tests/real.sh life

step "real control plane: faults" 8 8
tested bash tests/real.sh faults

step "real control plane: requests of a release, kept to their marks" 3 3
tested bash tests/real.sh bench --only one --only options --debug-build

over
printf '\nAll of it took %s s; ' "$SECONDS"
printf '%s\n' "${parts[@]}" | awk '{ cold += $1; warm += $2 } END { print "the budgets are " cold " minutes cold and " warm " warm in all" }'

# What failed stands once more at the end, and then one closing line over all test programs, so that nobody reads only the last one.
printf '\n=== all of it\n'
unmet
passed=$(counted 4) failed=$(($(counted 6) + broken)) skipped=$(counted 8)
[ "$passed" -gt 0 ] || { echo "no test ran" >&2; failed=$((failed + 1)); }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
