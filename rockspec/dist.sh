#!/bin/sh
# Makes the source rock, which `luarocks install FILE` takes without fetching anything but crates.
# It holds what git has of the last commit, and nothing else.
#
#   dist.sh [FOLDER]      by default target/dist
set -eu
cd "$(dirname "$0")/.."

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
mkdir -p "$folder"
archive=$folder/forkmon-$version.tar.gz
git archive --format=tar.gz --prefix="forkmon-$version/" -o "$archive" HEAD
# A source rock is a zip of the rockspec and of the archive that its source.url names.
rock=${rockspec#*/}
rock=$folder/${rock%.rockspec}.src.rock
rm -f "$rock"
zip -q -X -j "$rock" "$rockspec" "$archive"
rm "$archive"
echo "$rock"
