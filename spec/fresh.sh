#!/bin/sh
# The first hour on a minimal Debian: what README.md says about installing is done there to the letter, its
# commands taken from the file, by an ordinary user who may not install anything.
#
#   fresh.sh [SUITE...]      by default bookworm and trixie, that is oldstable and stable
#
# Needs root, debootstrap and its archive; where one of them cannot be had, that is said and nothing is done. Rust
# comes from this machine, in the place of rustup.rs, and so do the crates that it has.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "SKIPPED: the first hour on a minimal Debian, as $*"
    exit 0
}

[ "$(id -u)" = 0 ] || skip "only root can make one"
for tool in debootstrap unshare git; do
    command -v "$tool" >/dev/null || skip "$tool is missing"
done
rust=$(rustc --print sysroot) || skip "there is no Rust"
folder=$PWD/target/fresh
mkdir -p "$folder"
[ $# -gt 0 ] || set -- bookworm trixie

say() { echo "fresh $suite: $*"; }

# A minimal system, made once.
base() {
    [ -e "$folder/$suite/made" ] && return
    rm -rf "${folder:?}/$suite"
    mkdir -p "$folder/$suite"
    if ! debootstrap --variant=minbase "$suite" "$folder/$suite/root" >"$folder/$suite/log" 2>&1; then
        tail -n 3 "$folder/$suite/log"
        skip "debootstrap cannot make $suite"
    fi
    : >"$folder/$suite/made"
}

# Runs a command in the copy: as root, or as the user with a login shell.
inside() {
    unshare --mount --pid --fork sh -c '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mkdir -p "$root/opt/rust"
        mount --bind "$RUST" "$root/opt/rust"
        mount -o remount,ro,bind "$root/opt/rust"
        exec chroot "$root" "$@"
    ' sh "$root" "$@"
}
as_root() { inside env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive sh -c "$1"; }
as_user() {
    inside setpriv --reuid=1000 --regid=1000 --clear-groups env -i HOME=/home/bart LANG=C.UTF-8 CARGO_NET_OFFLINE=true \
        PATH=/usr/bin:/bin sh -lc "cd ~/forkmon && $1"
}

# The commands of a section of a page, without what they are said to be for.
commands() {
    sed -n "/^## $2\$/,/^## /s/^    \\$ //p" "$1" | sed 's/  *#.*//'
}

first_hour() {
    root=$folder/$suite/try
    rm -rf "${root:?}"
    cp -a "$folder/$suite/root" "$root"
    cp /etc/resolv.conf "$root/etc/"
    mkdir -p "$root/home/bart/forkmon" "$root/home/bart/.cargo"
    git archive HEAD | tar -x -C "$root/home/bart/forkmon"
    cp -a "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/home/bart/.cargo/" 2>/dev/null || true
    as_root 'useradd --uid 1000 --user-group --shell /bin/sh bart 2>/dev/null; chown -R bart: /home/bart'

    # One message names all that is missing.
    if as_user 'sh spec/setup.sh demo' >"$root/said" 2>&1; then
        cat "$root/said"
        echo "nothing was missing" >&2
        exit 1
    fi
    say "what is missing:"
    sed 's/^/    /' "$root/said"
    install=$(sed -n 's/^    \(apt-get update .*\)/\1/p' "$root/said")
    # Rust is brought, as this machine has it: neither an old one nor rustup, which would fetch another.
    install=$(echo "$install" | sed 's/ rustup$//; s/ cargo$//')
    as_root "yes | { $install; }" >"$root/log" 2>&1 || { tail "$root/log"; exit 1; }
    echo 'PATH=/opt/rust/bin:$PATH' >"$root/home/bart/.profile"
    as_user 'sh spec/setup.sh demo'
    say "nothing is missing any more"

    commands README.md Install >"$root/commands"
    [ -s "$root/commands" ] || { echo "README.md has no commands under Install" >&2; exit 1; }
    while read -r command; do
        say "\$ $command"
        as_user "$command" >"$root/said" 2>&1 </dev/null || { tail -n 40 "$root/said"; exit 1; }
        sed -n '/^This was for/,/^The manual/p' "$root/said"
        # What is said to belong into the start-up file.
        sed -n '/^The shell does not find/,/^The manual/s/^    //p' "$root/said" >>"$root/home/bart/.profile"
    done <"$root/commands"

    say "\$ forkmon example.lua, and foo.lua is saved"
    as_user 'cd examples/quick
        forkmon example.lua >screen 2>&1 &
        for i in $(seq 100); do grep -q finished screen && break; sleep 0.1; done
        echo "print '"'hello world!'"'" >foo.lua
        for i in $(seq 100); do grep -q hello screen && break; sleep 0.1; done
        forkmon stop
        wait $!
        echo "status $?"
        cat screen' >"$root/said" 2>&1
    sed 's/^/    /' "$root/said"
    quick=/home/bart/forkmon/examples/quick
    cat >"$root/expected" <<END
status 143
startup
[forkmon] watch '$quick/foo.lua'
foo!
finished
[forkmon] file '$quick/foo.lua' changed, resuming from it..
hello world!
finished
[forkmon] stopped by \`forkmon stop\`
END
    diff "$root/expected" "$root/said"

    as_user 'forkmon help --man' | head -n 1 | grep -q '^\.TH FORKMON 1'
    remove=$(commands docs/quick-start.md Install | grep ' remove ')
    say "\$ $remove"
    as_user "$remove" >/dev/null
    if as_user 'command -v forkmon'; then
        echo "the command is still there" >&2
        exit 1
    fi
    rm -rf "${root:?}"
    say "done"
}

RUST=$rust
export RUST
for suite; do
    base
    first_hour
done
