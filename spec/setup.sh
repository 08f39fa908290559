#!/bin/sh
# Sees to it that what `make demo`, `make test` or `make bench` needs is there: on Debian and Ubuntu
# by installing the packages that are missing, if it may, and otherwise by naming them.
#
#   setup.sh demo|test|bench
set -eu
cd "$(dirname "$0")/.."

demo_packages='gcc libc6-dev luarocks lua5.4 liblua5.4-dev'
test_packages="$demo_packages
    lua5.1 lua5.2 lua5.3 luajit liblua5.1-0-dev liblua5.2-dev liblua5.3-dev libluajit-5.1-dev
    fish man-db zsh lua-busted lua-check lua-filesystem lua-ldoc lua-copas lua-penlight lua-posix lua-socket lua-system
    bindfs emacs-nox git rsync unzip vim zip"
bench_packages="$demo_packages entr lua5.3 lua-filesystem lua-posix lua-system"

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    as_root=none
fi

install() {
    if [ "$as_root" = none ]; then
        echo "Please install, as root: apt-get install $*" >&2
        exit 1
    fi
    echo "installing $*"
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# A Lua that the distribution has dropped is left out, and so are the specs on it.
is_packaged() {
    apt-cache policy "$1" | grep -q 'Candidate: [^(]'
}

# Words that dpkg does not know as installed.
missing() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

case ${1-} in
    demo) wanted=$demo_packages ;;
    test) wanted=$test_packages ;;
    bench) wanted=$bench_packages ;;
    *) echo "usage: setup.sh demo|test|bench" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null; then
    echo "Not Debian or Ubuntu: nothing is installed. Needed are cargo and what these packages have there:"
    echo "$wanted"
    exit 0
fi

# shellcheck disable=SC2086 # lists of words
{
    wanted=$(missing $wanted)
    if [ -n "$wanted" ] && [ "$as_root" != none ]; then
        $as_root apt-get update -qq
        for package in $wanted; do
            is_packaged "$package" && continue
            echo "left out, as this distribution has no package of it: $package"
            wanted=$(echo "$wanted" | grep -vx "$package" || true)
        done
    fi
    [ -z "$wanted" ] || install $wanted
}

if ! sh rockspec/build.sh check 2>/dev/null && is_packaged rustup; then
    install rustup
    rustup default stable
fi
sh rockspec/build.sh check
