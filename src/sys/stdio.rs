//! C stdio, whose buffers the interpreters write through.

use super::cerr;

/// Writes out every C output stream. Input streams keep their read-ahead:
/// glibc and musl only touch pending output for a null argument.
///
/// # Errors
/// The error of the stream that could not be written; the others are written.
pub fn flush_all() -> nix::Result<()> {
    // SAFETY: a null stream means "all", and no lock is held by another thread:
    // callers run in a single-threaded process.
    cerr(unsafe { libc::fflush(std::ptr::null_mut()) }).map(drop)
}
