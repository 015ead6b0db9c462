#!/usr/bin/env bash
# Everything that must be green: format, lints, docs, licences, tests. Installs what it needs by itself.
# Budget on 2 cores, cold: 25 minutes. The tools go to a cache that is keyed by their version.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${SERIN_CACHE:-$HOME/.cache/serin}"
deny_version=0.20.2
out=$(mktemp)
trap 'rm -f "$out"' EXIT

step() { printf '\n=== %s\n' "$*"; }

step "rustfmt and clippy"
rustup component add rustfmt clippy >/dev/null 2>&1 || true
cargo fmt --check
cargo clippy --all-targets --locked -- -D warnings
cargo clippy --test real --locked -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet

step "licences, sources and bans"
deny="$cache/cargo-deny-$deny_version/bin/cargo-deny"
[ -x "$deny" ] || cargo install cargo-deny --locked --version "$deny_version" --root "$cache/cargo-deny-$deny_version"
"$deny" --log-level error check bans licenses sources

step "tests"
set +e
RUST_BACKTRACE=1 cargo test --locked --no-fail-fast --lib --bins --test suite 2>&1 | tee "$out"
code=${PIPESTATUS[0]}
set -e

# One closing line over all test binaries, so that nobody reads only the last one.
read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$out")
step "all of it"
[ "$code" -eq 0 ] || { [ "$failed" -gt 0 ] || failed=1; }
[ "$passed" -gt 0 ] || { echo "no test ran" >&2; code=1; }
echo "$passed passed, $failed failed, $ignored skipped"
exit "$code"
