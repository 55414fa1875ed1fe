#!/bin/sh
# Installs what the integration tests compare with and make faults with, from the distribution; root only, Debian or Ubuntu.
# A second run does nothing. Without them the tests that need them are skipped, and say so.
set -eu

# One per line: the command that proves it is there, the package that brings it.
tools="
nft nftables
ip iproute2
ss iproute2
strace strace
lsof lsof
chromium chromium fonts-dejavu-core
npm npm
zsh zsh
fish fish
"

[ "$(id -u)" -eq 0 ] || {
    echo "scripts/install_test_tools.sh installs packages: run it as root." >&2
    exit 1
}
PATH=$PATH:/usr/sbin:/sbin
packages=$(echo "$tools" | while read -r command package; do
    [ -z "$command" ] || command -v "$command" >/dev/null 2>&1 || echo "$package"
done | sort -u | tr '\n' ' ')
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "There is no apt-get here. Install by hand: $packages" >&2
        exit 1
    }
    echo "Installing for the tests: $packages"
    apt-get update -qq
    # shellcheck disable=SC2086  # one argument a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

# What others read profiles with, and an audit of pages, at the versions of the lock file; no script of a package is run.
viewers=$(dirname -- "$0")/../tests/viewers
if [ ! "$viewers/node_modules/.package-lock.json" -nt "$viewers/package-lock.json" ]; then
    echo "Installing for the tests: speedscope, pprof-format, axe-core"
    npm ci --prefix "$viewers" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
fi

# VisualVM's heap library, with which heap dumps are compared: one jar of Debian's package, unpacked and not installed.
jar=${XDG_CACHE_HOME:-$HOME/.cache}/pellucid/jfluid-heap.jar
if [ ! -e "$jar" ] && command -v java >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    if (cd "$scratch" && { apt-get download -qq visualvm || { apt-get update -qq && apt-get download -qq visualvm; }; } && dpkg -x visualvm_*.deb .) 2>/dev/null; then
        mkdir -p "$(dirname -- "$jar")"
        find "$scratch" -name '*visualvm-lib-jfluid-heap.jar' -type f -exec cp {} "$jar" \;
    else
        echo "Debian's visualvm could not be fetched: heap dumps are not compared with it." >&2
    fi
    rm -rf "$scratch"
fi
