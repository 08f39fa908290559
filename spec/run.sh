#!/bin/sh
# Runs the busted specs for the Luas that are named, several at a time, and sums them up.
#
#   run.sh LUA...
#
# Specs that start programs (with the toolbox, spec/support) run in Lua 5.3, which has the
# library for that, and test the installed rock of each Lua, or of one where they are not about
# Lua. The others are about Lua code and run inside each Lua; for 5.5 there is no busted yet.
set -eu
cd "$(dirname "$0")/.."
logs=target/specs

# run.sh --one LABEL COMMAND...: one busted, its output kept together.
if [ "$1" = --one ]; then
    label=$2
    shift 2
    if "$@" --output=plainTerminal >"$logs/$label" 2>&1; then
        echo "$label: $(grep ' / 0 failures / ' "$logs/$label")"
    else
        echo "$label: FAILED"
        cat "$logs/$label"
    fi
    exit 0
fi

rm -rf "$logs"
mkdir -p "$logs"
busted=$(command -v busted)
programs=$(grep -l 'support.each_lua' spec/*_spec.lua | paste -s -d ' ' -)
once=$(grep -l "'spec.support'" spec/*_spec.lua | xargs grep -L 'support.each_lua' | paste -s -d ' ' -)
units=$(grep -L "'spec.support'" spec/*_spec.lua | paste -s -d ' ' -)
{
    # The slow ones first.
    echo "once env FORKMON_TEST_LUAS='$*' lua5.3 $busted $once"
    for lua in "$@"; do
        echo "programs-$lua env FORKMON_TEST_LUAS=$lua lua5.3 $busted $programs"
    done
    for lua in "$@"; do
        [ "$lua" = lua5.5 ] || echo "units-$lua $lua $busted $units"
    done
} >"$logs/.runs"
xargs -P "$(nproc)" -L 1 sh spec/run.sh --one <"$logs/.runs"

# A run that did not come to its summary counts as a failure. What failed is named once more at the end, where one looks.
cat "$logs"/* | awk -v runs="$(wc -l <"$logs/.runs")" '
    / success(es)? \/ .* failures? \/ .* errors? \/ / {
        runs--
        passed += $1
        failed += $4 + $7
        skipped += $10
    }
    /^(Failure|Error) -> / { where = $3 ":" $5; getline; failures = failures "  " where " " $0 "\n" }
    END {
        failed += runs
        printf "%s", failures ? "failed:\n" failures : ""
        printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
        exit failed > 0
    }
'
