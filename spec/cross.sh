#!/bin/sh
# Checks the crate for the other of the two processors that forkmon works on, as far as that goes without
# one. What has to be there for it is Rust's standard library for that target; where that cannot be had,
# this is skipped, aloud.
set -eu
cd "$(dirname "$0")/.."

case $(uname -m) in
    aarch64) target=x86_64-unknown-linux-gnu ;;
    *) target=aarch64-unknown-linux-gnu ;;
esac

has_target() {
    ls "$(rustc --print sysroot)/lib/rustlib/$target/lib/"libstd-*.rlib >/dev/null 2>&1
}

if ! has_target && command -v rustup >/dev/null; then
    rustup target add "$target" || :
fi
if ! has_target; then
    echo "SKIPPED: clippy for $target, as Rust has no standard library for it here (rustup target add $target)"
    exit 0
fi
# Both layouts of the interpreter's functions.
for feature in lua54 luajit; do
    echo "cargo clippy --target $target --features $feature"
    cargo clippy --locked --quiet --all-targets --target "$target" --features "$feature" -- -D warnings
done
