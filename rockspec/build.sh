#!/bin/sh
# Builds forkmon.core with cargo and lays the module out for one Lua.
#
#   build.sh check                        is there a cargo that can?
#   build.sh build LUA                    compile for the interpreter LUA
#   build.sh install LUA LUADIR LIBDIR    copy what was compiled, and the Lua files
#
# Each Lua has a target directory of its own, so that builds for several neither wait for
# nor undo one another. FORKMON_TARGET is where they are; by default the folder `target`.
set -eu
cd "$(dirname "$0")/.."
target=${FORKMON_TARGET:-target}

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

# Too old a cargo would fail with a riddle about editions, and one without a toolchain in the middle, so ask before.
check_cargo() {
    needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    remedy="Rust $needed or newer is needed, and a distribution's own cargo may be older: https://rustup.rs has it"
    if ! command -v cargo >/dev/null; then
        [ ! -x "${CARGO_HOME:-${HOME-}/.cargo}/bin/cargo" ] ||
            die "cargo is in ${CARGO_HOME:-$HOME/.cargo}/bin, which is not on the PATH. Please open a new shell"
        die "cargo was not found. $remedy"
    fi
    # rustup's cargo without a toolchain says what is missing, and how to get it.
    found=$(cargo --version 2>&1) || die "cargo does not run. $remedy. It says:
$found"
    found=${found#cargo }
    minor=${found#*.} # Debian's of old is 0.66
    if [ "${found%%.*}" -lt "${needed%%.*}" ] || { [ "${found%%.*}" -eq "${needed%%.*}" ] &&
        [ "${minor%%.*}" -lt "${needed#*.}" ]; }; then
        die "cargo ${found%% *} is too old. $remedy"
    fi
    # src/lib.rs refuses what else does not do; this one comes before everything is compiled.
    host=${CARGO_BUILD_TARGET:-$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')}
    case $host in *-musl*) die "it works with the GNU C library only, and $host is another" ;; esac
}

# A word as the shell takes it.
quoted() {
    case $1 in
        *[!A-Za-z0-9_./~+@%:,=-]*) printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf %s "$1" ;;
    esac
}

# The options with which LuaRocks comes to the tree again; nothing for the one that root uses anyway.
tree_options() {
    case $1 in
        "${HOME-}/.luarocks") echo ' --local' ;;
        /usr/local) ;;
        *) echo " --tree $(quoted "$1")" ;;
    esac
}

# Whether this is LuaRocks's copy of a source rock.
from_rock() {
    case $PWD in */luarocks_*/*) ;; *) return 1 ;; esac
}

# Where forkmon came from, for messages that say how to get it for another Lua. LuaRocks unpacks
# a rock into a folder of its own that is gone afterwards.
record_source() {
    by_root=false
    [ "$(id -u)" != 0 ] || by_root=true
    # [=[...]=] takes any path but one that holds its end.
    printf -- '-- Written by rockspec/build.sh.\nreturn { source = [=[%s]=], by_root = %s }\n' "$PWD" "$by_root" >"$1"
}

# LuaRocks chooses a Lua by itself, which need not be the one that is meant.
say_what_is_next() {
    version=${1#lua}
    case $1 in
        luajit) name=LuaJIT version=5.1 ;;
        *) version=${version%?}.${version#?} name="Lua $version" ;;
    esac
    tree=${2%/lib/luarocks/*}
    options=$(tree_options "$tree")
    case $version in 5.4) other=5.1 ;; *) other=5.4 ;; esac
    what=make configure='LUAROCKS_CONFIG=rockspec/luajit.lua'
    if from_rock; then
        what="install $(sed -n 's/^version = "\(.*\)"$/forkmon-\1-1.src.rock/p' Cargo.toml)"
        configure="echo \"lua_interpreter = 'luajit'\" >luajit.lua && LUAROCKS_CONFIG=luajit.lua"
    fi
    echo
    echo "This was for $name. For another Lua:"
    echo "    luarocks --lua-version $other$options $what"
    [ "$1" = luajit ] || echo "    $configure luarocks --lua-version 5.1$options $what"
    case :${PATH-}: in
        *:"$tree/bin":*) ;;
        *)
            echo "The shell does not find it yet. For its start-up file, such as ~/.profile:"
            echo "    export PATH=$(quoted "$tree/bin"):\"\$PATH\""
            echo "and for programs with a line require('forkmon').enable, too:"
            echo "    eval \"\$(luarocks --lua-version $version$options path)\""
            ;;
    esac
    echo "The manual: forkmon help --man | man -l -"
    echo
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
        echo "Compiling for $2, which takes about a minute the first time"
        cargo build --release --locked --lib --features "$feature" --target-dir "$target/$feature"
        ;;
    install:4)
        feature=$(feature_of "$2")
        mkdir -p "$3" "$4/forkmon"
        cp -R lua/. "$3"
        cp "$target/$feature/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release/libforkmon.so" "$4/forkmon/core.so"
        from_rock || record_source "$3/forkmon/installed.lua"
        # LuaRocks packs a binary rock out of a tree of its own.
        case $3 in */luarocks_*/lib/luarocks/*) ;; *) say_what_is_next "$feature" "$3" ;; esac
        ;;
    *)
        die "usage: build.sh check | build.sh build LUA | build.sh install LUA LUADIR LIBDIR"
        ;;
esac
