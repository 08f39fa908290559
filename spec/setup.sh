#!/bin/sh
# Sees to it that what `make demo`, `make test` or `make bench` needs is there: on Debian and Ubuntu
# by installing the packages that are missing, if it may, and otherwise by one message that names
# everything that is missing and how to get it.
#
#   setup.sh demo|test|bench
set -eu
cd "$(dirname "$0")/.."

demo_packages='gcc libc6-dev luarocks lua5.4 liblua5.4-dev'
test_packages="$demo_packages
    lua5.1 lua5.2 lua5.3 luajit liblua5.1-0-dev liblua5.2-dev liblua5.3-dev libluajit-5.1-dev
    fish man-db zsh lua-busted lua-check lua-filesystem lua-ldoc lua-copas lua-luv lua-penlight lua-posix
    lua-socket lua-sql-sqlite3 lua-system
    bindfs emacs-nox git rsync unzip vim zip"
bench_packages="$demo_packages entr lua5.3 lua-filesystem lua-posix lua-system"

case ${1-} in
    demo) wanted=$demo_packages commands='cc luarocks' ;;
    test) wanted=$test_packages commands='cc luarocks busted luacheck' ;;
    bench) wanted=$bench_packages commands='cc luarocks entr' ;;
    *) echo "usage: setup.sh demo|test|bench" >&2; exit 2 ;;
esac
what=$1

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    as_root=none
fi
apt=
if command -v apt-get >/dev/null; then apt=yes; fi

# ------------------------------------------------------------------------------------------------
# What is missing

# Words that dpkg does not know as installed.
missing_packages() {
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

missing_commands() {
    for command in "$@"; do
        command -v "$command" >/dev/null || echo "$command"
    done
}

# A Lua that the distribution has dropped is left out, and so are the specs on it.
is_packaged() {
    apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

# Those that can be had. Where no list was ever fetched, nothing is known and all are kept.
available() {
    absent=
    for package in "$@"; do
        if is_packaged "$package" || ! is_packaged gcc; then
            echo "$package"
        else
            absent="$absent $package"
        fi
    done
    [ -z "$absent" ] || echo "left out, as this distribution has no package of it:$absent" >&2
}

# Whether the distribution's own cargo is new enough.
cargo_is_packaged() {
    candidate=$(apt-cache policy cargo 2>/dev/null | sed -n 's/^ *Candidate: \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')
    [ -n "$candidate" ] && [ "${candidate%.*}" -eq "${needed%.*}" ] && [ "${candidate#*.}" -ge "${needed#*.}" ]
}

# What is wrong with Rust, or nothing; what is checked with is a part of it for those who run the checks.
rust_fault() {
    if ! fault=$(sh rockspec/build.sh check 2>&1); then
        echo "${fault#forkmon: }"
    elif [ "$what" = test ]; then
        cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
            echo "cargo has no fmt and clippy: rustup component add rustfmt clippy (or the packages rustfmt and rust-clippy)"
    fi
}

needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

# shellcheck disable=SC2046,SC2086 # lists of words, here and below
if [ -n "$apt" ]; then
    packages=$(missing_packages $wanted)
    if [ -n "$packages" ] && [ "$as_root" != none ]; then $as_root apt-get update -qq; fi
    packages=$(available $packages | paste -s -d ' ' -)
else
    packages=$(missing_commands $commands | paste -s -d ' ' -)
fi
rust=$(rust_fault)
[ -n "$packages$rust" ] || exit 0

# How Rust is to be had: rustup where it is packaged, as it has everything that the checks need.
rust_package='' rust_step=''
if [ -n "$rust" ]; then
    if command -v rustup >/dev/null; then
        rust_step='rustup default stable'
    elif [ -n "$apt" ] && is_packaged rustup; then
        rust_package=rustup rust_step='rustup default stable'
    elif [ -n "$apt" ] && [ "$what" = demo ] && cargo_is_packaged; then
        rust_package=cargo
    fi
    # A rustup with a toolchain that is too old has a newer one.
    case $rust in *'is too old'*) [ -z "$rust_step" ] || rust_step='rustup update stable && rustup default stable' ;; esac
    case $rust in *'no fmt and clippy'*) rust_package='' rust_step='' ;; esac
fi

# ------------------------------------------------------------------------------------------------
# What can be done about it here

tell() {
    {
        echo "For \`make $what\` this is missing:"
        if [ -z "$packages" ]; then :
        elif [ -n "$apt" ]; then echo "    packages: $packages"
        else echo "    commands: $packages"
        fi
        [ -z "$rust" ] || echo "$rust" | sed '1s/^/    Rust: /; 2,$s/^/        /'
        if [ -n "$apt" ] && [ -n "$packages$rust_package" ]; then
            echo "As root:"
            echo "    apt-get update && apt-get install --no-install-recommends $(echo $packages $rust_package)"
        elif [ -n "$packages" ]; then
            echo "This is not Debian or Ubuntu, where they are in these packages:"
            echo $wanted | fold -s -w 90 | sed 's/^/    /; s/ *$//'
        fi
        if [ -n "$rust_step" ]; then
            echo "As yourself, to have Rust $needed or newer:"
            echo "    $rust_step"
        elif [ -n "$rust" ] && [ -z "$rust_package" ]; then
            case $rust in
                *'no fmt'* | *'new shell'*) ;;
                *) echo "As yourself, to have Rust $needed or newer: https://rustup.rs" ;;
            esac
        fi
    } >&2
}

install() {
    echo "installing $*"
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

if [ -n "$packages$rust_package" ]; then
    if [ -z "$apt" ] || [ "$as_root" = none ]; then
        tell
        exit 1
    fi
    install $packages $rust_package
    packages='' rust_package=''
fi

if [ -n "$rust_step" ]; then
    [ -z "$rust" ] || echo "$rust"
    echo "\$ $rust_step"
    if ! sh -c "$rust_step"; then
        tell
        exit 1
    fi
fi

rust=$(rust_fault)
if [ -n "$rust" ]; then
    rust_step=''
    tell
    exit 1
fi
