#!/usr/bin/env bash
# Builds the rock for Lua 5.4, runs the quick example under `forkmon` in a
# temporary copy, edits foo.lua as a person would, and checks what the screen then shows.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    echo "demo: $*" >&2
    exit 1
}

tree=$PWD/target/demo
echo "Building forkmon for Lua 5.4, which takes about a minute the first time ..."
log=$(mktemp)
luarocks --lua-version 5.4 make --tree "$tree" 2>&1 | tee "$log" | sed -n -u 's/^  *\(Compiling\|Downloading\|Updating\) /  &/p' ||
    fail "the rock did not build:
$(cat "$log")"
rm "$log"

folder=$(mktemp -d)
screen=$folder/screen
supervisor=
# Whatever happens, nothing stays: neither the processes nor the folder.
trap '[ -z "$supervisor" ] || kill -KILL -- "-$supervisor" 2>/dev/null; rm -rf "$folder"' EXIT
mkdir "$folder/project"
cp examples/quick/{example,foo}.lua "$folder/project"
cd "$folder/project"

# Waits until a command succeeds.
await() {
    local what=$1 deadline=$((SECONDS + 20))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited in vain for $what; the screen shows:
$(cat "$screen")"
        sleep 0.02
    done
}
finished_times() { [ "$(grep -cx finished "$screen")" -eq "$1" ]; }
all_gone() { ! kill -0 -- "-$supervisor" 2>/dev/null; }

# -m: a process group of its own, as a shell in a terminal gives it, for Ctrl+C.
set -m
"$tree/bin/forkmon" example.lua >"$screen" 2>&1 </dev/null &
supervisor=$!
set +m
await "the first 'finished'" finished_times 1
lines_before=$(wc -l <"$screen")
echo "print 'hello world!'" >foo.lua
await "the second 'finished'" finished_times 2
kill -INT -- "-$supervisor"
await "the end of all processes after Ctrl+C" all_gone
status=0
wait "$supervisor" || status=$?
supervisor=

echo
echo "\$ forkmon example.lua"
head -n "$lines_before" "$screen"
echo "    (meanwhile: echo \"print 'hello world!'\" >foo.lua)"
tail -n "+$((lines_before + 1))" "$screen"
echo "^C"
echo

[ "$(grep -v '^\[forkmon\] ' "$screen" | tr '\n' ' ')" = "startup foo! finished hello world! finished " ] ||
    fail "the program should print startup, foo!, finished; and after the edit hello world!, finished"
grep -Fqx "[forkmon] file '$PWD/foo.lua' changed, resuming from it.." "$screen" ||
    fail "forkmon should say that it resumes from foo.lua"
[ "$status" -eq 130 ] || fail "Ctrl+C should end forkmon with status 130, not $status"
echo "As it should be: 'startup' was not run again."
