#!/bin/sh
# Makes the source rock, which `luarocks install FILE` takes without fetching anything but crates,
# and for each Lua that is named a binary rock, which it takes without a compiler. They hold what
# git has of the last commit, and nothing else.
#
#   dist.sh [FOLDER [LUA...]]      by default target/dist, and no binary rocks
#
# A binary rock is called after the system and the processor, as LuaRocks wants it; of which Lua it is
# only its folder says: FOLDER/lua5.4/forkmon-0.1.0-1.linux-x86_64.rock.
#
# With zig (on the PATH, or Python's package ziglang) it is linked for the C library of 2012, and otherwise
# for that of this machine. For a processor whose Rust target is installed there is one too, with zig.
set -eu
cd "$(dirname "$0")/.."
root=$PWD

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
rockspec=$(echo rockspec/forkmon-"$version"-*.rockspec)
if [ ! -f "$rockspec" ]; then
    echo "There is no rockspec for version $version of Cargo.toml: see docs/releasing.md" >&2
    exit 1
fi
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
    echo "What is not committed is left out." >&2
fi

folder=${1:-target/dist}
[ $# = 0 ] || shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
archive=$folder/forkmon-$version.tar.gz
git archive --format=tar.gz --prefix="forkmon-$version/" -o "$archive" HEAD
# A source rock is a zip of the rockspec and of the archive that its source.url names.
name=${rockspec#*/}
name=${name%.rockspec}
source_rock=$folder/$name.src.rock
rm -f "$source_rock"
zip -q -X -j "$source_rock" "$rockspec" "$archive"
rm "$archive"
echo "$source_rock"
[ $# -gt 0 ] || exit 0

# ------------------------------------------------------------------------------------------------
# Binary rocks

# What is compiled for them, apart from what `make` compiles: it is linked otherwise.
FORKMON_TARGET=$root/target/packed
export FORKMON_TARGET
mkdir -p "$FORKMON_TARGET"
here=$(uname -m)

if command -v zig >/dev/null; then
    zig=zig
elif python3 -m ziglang version >/dev/null 2>&1; then
    zig='python3 -m ziglang'
else
    zig=
    echo "There is no zig: the rocks are for C libraries from that of this machine on." >&2
fi

# Linkers are named to cargo by a variable for each target, and take no arguments of ours there.
link_with_zig() {
    linker=$FORKMON_TARGET/zig-$1
    printf '#!/bin/sh\nexec %s cc -target %s-linux-gnu.2.17 "$@"\n' "$zig" "$1" >"$linker"
    chmod +x "$linker"
    export "CARGO_TARGET_$(echo "$1" | tr a-z A-Z)_UNKNOWN_LINUX_GNU_LINKER=$linker"
}

# pack LUA PROCESSOR
pack() {
    lua=$1
    mkdir -p "$folder/$lua"
    cd "$folder/$lua"
    made=$name.linux-$2.rock
    rm -f "$made"
    unset LUAROCKS_CONFIG
    case $lua in
        luajit)
            LUAROCKS_CONFIG=$root/rockspec/luajit.lua
            export LUAROCKS_CONFIG
            set -- --lua-version 5.1
            ;;
        lua5.5) # as in spec/install.sh, which builds it
            set -- --lua-version 5.5 --lua-dir "$root/target/host" LUA_INCDIR="$root/spec/host/include"
            ;;
        *) set -- --lua-version "${lua#lua}" ;;
    esac
    luarocks build --pack-binary-rock "$source_rock" "$@" >"$FORKMON_TARGET/log" 2>&1 || {
        cat "$FORKMON_TARGET/log" >&2
        exit 1
    }
    # LuaRocks calls it after this machine.
    [ -f "$made" ] || mv "$name.linux-$here.rock" "$made"
    cd "$root"
    unzip -q -o -j "$folder/$lua/$made" lib/forkmon/core.so -d "$FORKMON_TARGET"
    needs=$(grep -a -o 'GLIBC_[0-9.]*' "$FORKMON_TARGET/core.so" | sort -V | tail -n 1)
    echo "$folder/$lua/$made (needs $(echo "$needs" | tr _ ' '))"
}

for processor in x86_64 aarch64; do
    target=$processor-unknown-linux-gnu
    if [ "$processor" != "$here" ] && { [ -z "$zig" ] ||
        [ ! -d "$(rustc --print target-libdir --target "$target" 2>/dev/null)" ]; }; then
        echo "No binary rocks for $processor: they need zig, and \`rustup target add $target\`." >&2
        continue
    fi
    [ -z "$zig" ] || link_with_zig "$processor"
    unset CARGO_BUILD_TARGET
    if [ "$processor" != "$here" ]; then
        CARGO_BUILD_TARGET=$target
        export CARGO_BUILD_TARGET
    fi
    for lua in "$@"; do pack "$lua" "$processor"; done
done
