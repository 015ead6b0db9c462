#!/usr/bin/env bash
# Runs one scenario on a real control plane: builds and starts a Kubernetes control plane, a gateway, a metrics server and pods
# that are processes in a network namespace of their own, and lets the controller of this checkout work there under load.
# The first time takes about fifteen minutes on two cores, then what the scenario takes and cargo has to build.
# What there is and what each shows: docs/proof.md.
#
# Root is not needed where the kernel lets users make namespaces; elsewhere sudo is used if it asks for no password.
#
# usage: real.sh SCENARIO [--stay] [--controller PATH] [options of the scenario, see --help]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'real.sh: %s\n' "$*" >&2; exit 1; }
[ $# -gt 0 ] || fail "which scenario? Try: real.sh --help"
command -v cargo >/dev/null || fail "cargo is not installed; the toolchain that rust-toolchain.toml names is needed"
command -v cc >/dev/null || fail "there is no C compiler (cc): Rust links by it, and ring is built with it. On Debian: apt-get install gcc libc6-dev"

# What the harness and tests/cluster/build.sh call, and the Debian package that has it.
lacking=()
need() { command -v "$1" >/dev/null || lacking+=("$2"); }
need ip iproute2
need openssl openssl
need unshare util-linux
need setpriv util-linux
need python3 python3
need go golang-go
python3 -m pip --version >/dev/null 2>&1 || lacking+=(python3-pip)

as_root=()
if [ "$(id -u)" != 0 ]; then
  sudo -n true 2>/dev/null && as_root=(sudo -n -E)
  if ! unshare --user --map-root-user --net true 2>/dev/null; then
    [ ${#as_root[@]} -gt 0 ] || fail "the test cluster needs a network namespace, and this user may not make one." \
      "Run it as root (sudo -E bash tests/real.sh $*), or allow user namespaces"
    exec "${as_root[@]}" env PATH="$PATH" bash tests/real.sh "$@"
  fi
fi
if [ ${#lacking[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "please install: ${lacking[*]}"
  [ "$(id -u)" = 0 ] || [ ${#as_root[@]} -gt 0 ] || fail "please install as root: ${lacking[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" apt-get install -y -q --no-install-recommends "${lacking[@]}"
fi

# Not a child: whoever kills this script kills the run, and the kernel takes the rest away.
exec cargo test --locked --quiet --test real -- "$@"
