#!/bin/sh
# Builds forkmon.core with cargo and lays the module out for one Lua.
#
#   build.sh check                        is there a cargo that can?
#   build.sh build LUA                    compile for the interpreter LUA
#   build.sh install LUA LUADIR LIBDIR    copy what was compiled, and the Lua files
#
# Each Lua has a target directory of its own, so that builds for several neither wait for
# nor undo one another.
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "forkmon: $*" >&2
    exit 1
}

# The crate's feature for an interpreter. The interpreter itself knows best: LuaJIT calls
# itself "Lua 5.1" too, and `lua` may be any. Only when it cannot be run, as when building
# for another machine, its name has to do. (tail: LUA_INIT may print as well.)
feature_of() {
    feature=$("$1" -e 'print(jit and "luajit" or "lua" .. _VERSION:gsub("%D", ""))' 2>&1 | tail -n 1)
    case $feature in
        luajit | lua51 | lua52 | lua53 | lua54 | lua55)
            echo "$feature"
            return
            ;;
    esac
    case ${1##*/} in
        *jit*) echo luajit ;;
        *5.1* | *51*) echo lua51 ;;
        *5.2* | *52*) echo lua52 ;;
        *5.3* | *53*) echo lua53 ;;
        *5.4* | *54*) echo lua54 ;;
        *5.5* | *55*) echo lua55 ;;
        *) die "cannot tell which Lua '$1' is: it must be Lua 5.1 to 5.5 or LuaJIT (it said: $feature)" ;;
    esac
}

# Too old a cargo would fail with a riddle about editions, so ask before.
check_cargo() {
    needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    remedy="install Rust $needed or newer (rustup, or your distribution's 'cargo' if it is recent enough)"
    found=$(cargo --version 2>/dev/null) || die "cargo was not found: $remedy"
    found=${found#cargo }
    minor=${found#*.}
    if [ "${found%%.*}" -eq "${needed%%.*}" ] && [ "${minor%%.*}" -lt "${needed#*.}" ]; then
        die "cargo ${found%% *} is too old: $remedy"
    fi
}

# LLVM's linker takes a % in a path for a place to fill in, and finds no such folder.
case $PWD in
    *%*) export RUSTFLAGS="${RUSTFLAGS-} -C link-arg=-fuse-ld=bfd" ;;
esac

case ${1-}:$# in
    check:1)
        check_cargo
        ;;
    build:2)
        feature=$(feature_of "$2")
        check_cargo
        cargo build --release --locked --lib --features "$feature" --target-dir "target/$feature"
        ;;
    install:4)
        feature=$(feature_of "$2")
        mkdir -p "$3" "$4/forkmon"
        cp -R lua/. "$3"
        cp "target/$feature/release/libforkmon.so" "$4/forkmon/core.so"
        ;;
    *)
        die "usage: build.sh check | build.sh build LUA | build.sh install LUA LUADIR LIBDIR"
        ;;
esac
