#!/usr/bin/env bash
# The first run: lets the controller of this checkout promote a good version and roll back a bad one on a real control plane
# under load, and writes docs/first-run.md.
#
# usage: first-run.sh [--flagger] [--stay] [--controller PATH] [--rate N]
exec bash "$(dirname "${BASH_SOURCE[0]}")/real.sh" first-run "$@"
