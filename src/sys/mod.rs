//! The system layer: every system call that needs `unsafe`, and nothing that decides.
//!
//! One file per kernel idea. Functions are thin and safe to call; what they
//! promise and what they ask of the caller stands at each of them. Everything
//! the `nix` crate already offers safely is called from where it is needed.

#![allow(unsafe_code)]

pub mod arguments;
pub mod clone;
pub mod copies;
pub mod descriptors;
pub mod free;
pub mod keeper;
#[cfg(any(
    feature = "lua51",
    feature = "lua52",
    feature = "lua53",
    feature = "lua54",
    feature = "lua55",
    feature = "luajit"
))]
pub mod lua;
pub mod memory;
pub mod process;
pub mod procfs;
pub mod shared;
pub mod signals;
pub mod slots;
pub mod status;
pub mod stdio;
pub mod terminal;

use nix::errno::Errno;

/// Turns the `-1` of a C call into the error it stands for.
fn cerr(result: libc::c_int) -> nix::Result<libc::c_int> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}
