#!/bin/sh
# Installs the rock with LuaRocks for one Lua, into target/rocks/NAME.
#
#   install.sh lua5.1|lua5.2|lua5.3|lua5.4|lua5.5|luajit
set -eu
cd "$(dirname "$0")/.."
name=$1

case $name in
    luajit)
        # LuaRocks takes any 5.1 for it unless its configuration names the interpreter.
        LUAROCKS_CONFIG=$PWD/rockspec/luajit.lua
        export LUAROCKS_CONFIG
        set -- --lua-version 5.1
        ;;
    lua5.5)
        cargo build --release --locked --manifest-path spec/host/Cargo.toml --target-dir target/host
        mkdir -p target/host/bin
        cp target/host/release/lua55 target/host/bin/lua5.5
        set -- --lua-version 5.5 --lua-dir "$PWD/target/host" LUA_INCDIR="$PWD/spec/host/include"
        ;;
    *)
        set -- --lua-version "${name#lua}"
        ;;
esac

# The tree is made anew, so that no file of an earlier build can hide that one is missing now.
rm -rf "target/rocks/$name"
luarocks make --tree "target/rocks/$name" "$@"
