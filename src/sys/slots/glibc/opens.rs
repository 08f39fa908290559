//! Opening files.
//!
//! `open` takes its mode as a variable argument. A hook takes it as a third fixed one: in
//! the calling conventions of x86-64 and aarch64 Linux, both are in the same register,
//! and where the caller has given none, what happens to be there is handed on and not
//! looked at.

use super::hook::{done, hooks, opened};
use crate::sys::slots::call::{Call, Place};
use libc::{FILE, mode_t};
use std::ffi::{CStr, c_char, c_int};

hooks! {
    #[variadic]
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_at(libc::AT_FDCWD, path, flags) => |result| done(result)
    }
    #[variadic]
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_at(libc::AT_FDCWD, path, flags) => |result| done(result)
    }
    #[variadic]
    fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_at(folder, path, flags) => |result| done(result)
    }
    #[variadic]
    fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
        open_at(folder, path, flags) => |result| done(result)
    }
    // What is called instead where the program was built with checks (_FORTIFY_SOURCE).
    fn __open_2(path: *const c_char, flags: c_int) -> c_int {
        open_at(libc::AT_FDCWD, path, flags) => |result| done(result)
    }
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
        open_at(libc::AT_FDCWD, path, flags) => |result| done(result)
    }
    fn __openat_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
        open_at(folder, path, flags) => |result| done(result)
    }
    fn __openat64_2(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
        open_at(folder, path, flags) => |result| done(result)
    }
    fn creat(path: *const c_char, mode: mode_t) -> c_int {
        open_at(libc::AT_FDCWD, path, CREATE) => |result| done(result)
    }
    fn creat64(path: *const c_char, mode: mode_t) -> c_int {
        open_at(libc::AT_FDCWD, path, CREATE) => |result| done(result)
    }
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
        stream(path, mode) => |result| opened(result)
    }
    fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
        stream(path, mode) => |result| opened(result)
    }
    fn freopen(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE {
        stream(path, mode) => |result| opened(result)
    }
    fn freopen64(path: *const c_char, mode: *const c_char, file: *mut FILE) -> *mut FILE {
        stream(path, mode) => |result| opened(result)
    }
}

/// What `creat` means.
const CREATE: c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;

unsafe fn open_at<'a>(folder: c_int, path: *const c_char, flags: c_int) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::Open { place: unsafe { Place::at(folder, path) }?, flags })
}

/// Without a path, `freopen` only changes the mode of what is open.
unsafe fn stream<'a>(path: *const c_char, mode: *const c_char) -> Option<Call<'a>> {
    if mode.is_null() {
        return None;
    }
    // SAFETY: what the C function was given.
    let (place, mode) = unsafe { (Place::new(path)?, CStr::from_ptr(mode)) };
    Some(Call::Open { place, flags: flags_of(mode.to_bytes())? })
}

/// The flags that a mode of `fopen` means; `None` where it refuses the mode.
pub fn flags_of(mode: &[u8]) -> Option<c_int> {
    let (first, rest) = mode.split_first()?;
    let (access, rest_of_it) = match first {
        b'r' => (libc::O_RDONLY, 0),
        b'w' => (libc::O_WRONLY, libc::O_CREAT | libc::O_TRUNC),
        b'a' => (libc::O_WRONLY, libc::O_CREAT | libc::O_APPEND),
        _ => return None,
    };
    // What comes after a comma is about characters.
    let rest = rest.split(|byte| *byte == b',').next().unwrap_or_default();
    let access = if rest.contains(&b'+') { libc::O_RDWR } else { access };
    let exclusive = if rest.contains(&b'x') { libc::O_EXCL } else { 0 };
    Some(access | rest_of_it | exclusive)
}
