#!/bin/sh
# Installs what is missing of the packages that building, testing or the demonstration
# need, on Debian 12 and newer and Ubuntu 24.04: deps.sh build|demo|test|bench.
set -eu

build="build-essential pkg-config libevent-dev libnghttp2-dev libssl-dev libcjson-dev
libhiredis-dev libsqlite3-dev zlib1g-dev libbrotli-dev libzstd-dev libxxhash-dev libglib2.0-dev libcurl4-openssl-dev
libjs-chart.js"
# AES-GCM for records of TLS, for processors that Debian has it for.
[ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ] || build="$build libipsec-mb-dev"
demo="redis-server openssl python3 ca-certificates"
test="libcmocka-dev python3-venv python3-pytest curl nginx-light clang clang-tidy cppcheck
shellcheck"
# What the benchmarks compare with and measure by; a peer that is not to be had is left out.
bench="haproxy wrk nginx-light"
# Better with them; a test that wants one and finds none says so and is skipped.
optional="docker-compose wrk chromium nghttp2-client systemd libseccomp2 libclang-rt-dev"

case "${1:-}" in
build) wanted=$build ; optional="" ;;
demo) wanted="$build $demo" ; optional="" ;;
test) wanted="$build $demo $test" ;;
bench) wanted="$build $demo" ; optional=$bench ;;
*) echo "usage: deps.sh build|demo|test|bench" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "deps: no Debian packages here; needed: $wanted" >&2
    exit 0
fi

missing() {
    for name in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
        [ "$state" = installed ] || printf '%s ' "$name"
    done
}

# A tool that is there by other means needs no package.
provided() {
    case $1 in
    redis-server) command -v redis-server ;;
    python3) command -v python3 ;;
    python3-venv) python3 -c 'import venv, ensurepip' ;;
    python3-pytest) python3 -c 'import pytest' ;;
    nginx-light) command -v nginx ;;
    docker-compose) command -v docker-compose ;;
    wrk) command -v wrk ;;
    chromium) command -v chromium || command -v google-chrome ;;
    haproxy) command -v haproxy ;;
    nghttp2-client) command -v h2load ;;
    systemd) command -v systemd-analyze ;;
    *) false ;;
    esac >/dev/null 2>&1
}

needed=""
# shellcheck disable=SC2086
for name in $(missing $wanted); do
    provided "$name" || needed="$needed $name"
done
extra=""
# shellcheck disable=SC2086
for name in $(missing $optional); do
    provided "$name" || extra="$extra $name"
done
[ -n "$needed$extra" ] || exit 0

root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: as root, install:$needed" >&2
        [ -z "$needed" ] || exit 1
        exit 0
    fi
    root=sudo
fi
apt() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@"
}
echo "deps: installing$needed$extra"
apt update
# shellcheck disable=SC2086
[ -z "$needed" ] || apt install $needed
for name in $extra; do
    apt install "$name" || echo "deps: $name is not to be had; what wants it is left out"
done
