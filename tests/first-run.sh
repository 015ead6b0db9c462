#!/usr/bin/env bash
# The first run: builds and starts a real control plane, gateway and metrics server in a network namespace of their own,
# lets the controller of this checkout promote a good version and roll back a bad one under load, and writes
# docs/first-run.md. Needs root. The first time takes about fifteen minutes on two cores, then
# two and what cargo has to build.
#
# usage: first-run.sh [--flagger] [--stay] [--controller PATH] [--rate N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'first-run.sh: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "this needs root, to make a network namespace. Try: sudo -E bash tests/first-run.sh"
command -v cargo >/dev/null || fail "cargo is not installed; the toolchain that rust-toolchain.toml names is needed"

# What the harness and tests/cluster/build.sh call, and the Debian package that has it.
lacking=()
need() { command -v "$1" >/dev/null || lacking+=("$2"); }
need ip iproute2
need openssl openssl
need unshare util-linux
need python3 python3
need go golang-go
python3 -m pip --version >/dev/null 2>&1 || lacking+=(python3-pip)
if [ ${#lacking[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "please install: ${lacking[*]}"
  apt-get update -q
  apt-get install -y -q --no-install-recommends "${lacking[@]}"
fi

# Not a child: whoever kills this script kills the run, and the kernel takes the rest away.
exec cargo test --quiet --test first_run -- "$@"
