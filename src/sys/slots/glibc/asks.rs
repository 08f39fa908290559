//! Asking what is there, and where links lead.
//!
//! Until 2021 (glibc 2.33) `stat` was no function of libc.so: programs called `__xstat` with a
//! version first, and those that were built then still do.

use super::hook::{done, failed, hooks, string};
use crate::sys::slots::call::{Call, Outcome, Place};
use crate::sys::status::{Fields, Status};
use libc::{size_t, ssize_t, stat as Stat, statx as Statx};
use std::ffi::{c_char, c_int, c_uint};

// `stat64` and the like have the same structure where addresses have 64 bits.
hooks! {
    fn stat(path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, 0) => |result| told(*result, found)
    }
    fn stat64(path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, 0) => |result| told(*result, found)
    }
    fn lstat(path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, NOFOLLOW) => |result| told(*result, found)
    }
    fn lstat64(path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, NOFOLLOW) => |result| told(*result, found)
    }
    fn fstatat(folder: c_int, path: *const c_char, found: *mut Stat, flags: c_int) -> c_int {
        status(folder, path, flags) => |result| told(*result, found)
    }
    fn fstatat64(folder: c_int, path: *const c_char, found: *mut Stat, flags: c_int) -> c_int {
        status(folder, path, flags) => |result| told(*result, found)
    }
    fn __xstat(version: c_int, path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, 0) => |result| told(*result, found)
    }
    fn __xstat64(version: c_int, path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, 0) => |result| told(*result, found)
    }
    fn __lxstat(version: c_int, path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, NOFOLLOW) => |result| told(*result, found)
    }
    fn __lxstat64(version: c_int, path: *const c_char, found: *mut Stat) -> c_int {
        status(libc::AT_FDCWD, path, NOFOLLOW) => |result| told(*result, found)
    }
    fn __fxstatat(
        version: c_int, folder: c_int, path: *const c_char, found: *mut Stat, flags: c_int
    ) -> c_int {
        status(folder, path, flags) => |result| told(*result, found)
    }
    fn __fxstatat64(
        version: c_int, folder: c_int, path: *const c_char, found: *mut Stat, flags: c_int
    ) -> c_int {
        status(folder, path, flags) => |result| told(*result, found)
    }
    fn statx(
        folder: c_int, path: *const c_char, flags: c_int, mask: c_uint, found: *mut Statx
    ) -> c_int {
        status_of(folder, path, flags, fields(mask)) => |result| match *result {
            0 if !found.is_null() => Outcome::Status(Status::from(&*found)),
            _ => failed(),
        }
    }
    fn access(path: *const c_char, mode: c_int) -> c_int {
        allowed(libc::AT_FDCWD, path, mode, 0) => |result| done(result)
    }
    fn eaccess(path: *const c_char, mode: c_int) -> c_int {
        allowed(libc::AT_FDCWD, path, mode, libc::AT_EACCESS) => |result| done(result)
    }
    fn euidaccess(path: *const c_char, mode: c_int) -> c_int {
        allowed(libc::AT_FDCWD, path, mode, libc::AT_EACCESS) => |result| done(result)
    }
    fn faccessat(folder: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int {
        allowed(folder, path, mode, flags) => |result| done(result)
    }
    fn readlink(path: *const c_char, target: *mut c_char, room: size_t) -> ssize_t {
        link(libc::AT_FDCWD, path) => |result| bytes(*result, target)
    }
    fn readlinkat(
        folder: c_int, path: *const c_char, target: *mut c_char, room: size_t
    ) -> ssize_t {
        link(folder, path) => |result| bytes(*result, target)
    }
    fn __readlink_chk(
        path: *const c_char, target: *mut c_char, room: size_t, all: size_t
    ) -> ssize_t {
        link(libc::AT_FDCWD, path) => |result| bytes(*result, target)
    }
    fn __readlinkat_chk(
        folder: c_int, path: *const c_char, target: *mut c_char, room: size_t, all: size_t
    ) -> ssize_t {
        link(folder, path) => |result| bytes(*result, target)
    }
    fn realpath(path: *const c_char, target: *mut c_char) -> *mut c_char {
        resolve(path) => |result| string(*result)
    }
    fn __realpath_chk(path: *const c_char, target: *mut c_char, room: size_t) -> *mut c_char {
        resolve(path) => |result| string(*result)
    }
    fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
        resolve(path) => |result| string(*result)
    }
}

const NOFOLLOW: c_int = libc::AT_SYMLINK_NOFOLLOW;

unsafe fn status<'a>(folder: c_int, path: *const c_char, flags: c_int) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    unsafe { status_of(folder, path, flags, Fields::GUESSED) }
}

unsafe fn status_of<'a>(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    fields: Fields,
) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    let place = unsafe { Place::at(folder, path) }?;
    Some(Call::Stat { place, follow: flags & NOFOLLOW == 0, fields })
}

unsafe fn told(result: c_int, found: *const Stat) -> Outcome<'static> {
    if result != 0 || found.is_null() {
        return failed();
    }
    // SAFETY: the C function has filled it.
    Outcome::Status(Status::from(unsafe { &*found }))
}

/// What a mask of `statx` asks for. Where it asks for all, nobody has chosen.
pub fn fields(mask: c_uint) -> Fields {
    const PARTS: [(c_uint, Fields); 8] = [
        (libc::STATX_TYPE, Fields::KIND),
        (libc::STATX_MODE, Fields::MODE),
        (libc::STATX_SIZE | libc::STATX_BLOCKS, Fields::SIZE),
        (libc::STATX_MTIME, Fields::MODIFIED),
        (libc::STATX_CTIME, Fields::CHANGED),
        (libc::STATX_UID | libc::STATX_GID, Fields::OWNER),
        (libc::STATX_NLINK, Fields::LINKS),
        (libc::STATX_INO, Fields::IDENTITY),
    ];
    if mask & libc::STATX_BASIC_STATS == libc::STATX_BASIC_STATS {
        return Fields::GUESSED;
    }
    let asked = PARTS.iter().filter(|(bits, _)| mask & bits != 0);
    asked.fold(Fields::PRESENCE, |all, (_, field)| all.and(*field))
}

unsafe fn allowed<'a>(
    folder: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    let place = unsafe { Place::at(folder, path) }?;
    Some(Call::Access { place, mode, effective: flags & libc::AT_EACCESS != 0 })
}

unsafe fn link<'a>(folder: c_int, path: *const c_char) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::Link { place: unsafe { Place::at(folder, path) }? })
}

unsafe fn bytes<'a>(result: ssize_t, target: *const c_char) -> Outcome<'a> {
    match usize::try_from(result) {
        // SAFETY: the C function has written so many bytes there.
        Ok(length) => Outcome::Target(unsafe { std::slice::from_raw_parts(target.cast(), length) }),
        Err(_) => failed(),
    }
}

unsafe fn resolve<'a>(path: *const c_char) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::Resolve { place: unsafe { Place::new(path) }? })
}
