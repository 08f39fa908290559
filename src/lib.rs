//! The native module `forkmon.core`: checkpoints, the supervisor, watching.
//!
//! Theory of operation. One process becomes three (`session`): the *guard*, which the
//! shell started, the *supervisor*, and the *program*, which alone returns to Lua. The
//! program reports what it opens and takes checkpoints of itself (`program`); the
//! supervisor watches those files and decides what a change leads to (`supervisor`).
//! They talk over shared memory (`wire`). Others ask a session over a socket (`client`).
//! Pure logic never touches the system; the system layer (`sys`) never decides.
//!
//! Imports go one way: `lua` → `program` → `session` → `wire` → `files` → `sys`, and
//! likewise from `supervisor`, `guard` and `client` down. Without a Lua feature the
//! crate is all but `lua`, and its tests need no Lua.

// Without a Lua nobody calls the entrances of the rooms.
#![cfg_attr(
    not(any(
        feature = "lua51",
        feature = "lua52",
        feature = "lua53",
        feature = "lua54",
        feature = "lua55",
        feature = "luajit"
    )),
    allow(dead_code, unused_imports)
)]

// The calls that clone a process are made by hand (`sys`), and are only right on these.
#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("forkmon works on Linux only, on 64-bit x86 and ARM");

// A clone made by hand does not renew what musl's threads and signals take for the thread's number.
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
compile_error!("forkmon works with the GNU C library only, not with musl or another");

mod client;
mod files;
mod guard;
mod json;
mod program;
mod report;
mod session;
mod supervisor;
mod sys;
mod wire;

#[cfg(any(
    feature = "lua51",
    feature = "lua52",
    feature = "lua53",
    feature = "lua54",
    feature = "lua55",
    feature = "luajit"
))]
mod lua;
