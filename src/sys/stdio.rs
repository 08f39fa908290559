//! C stdio, whose buffers the interpreters write through.
//!
//! `fflush(NULL)` is for output, as C has it; glibc from 2.42 on takes it for input, too: it drops what was
//! read ahead and moves the offset back. A program could tell, for a subprocess that reads on from
//! the same opening would find another rest. So the list of streams is walked, and those that were
//! written to last are flushed.

use super::cerr;
use libc::{FILE, c_char, c_int};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// How glibc's `FILE` begins, on the 64-bit systems: it is part of its binary interface, as
/// `putc` and `getc` were once compiled into programs.
#[repr(C)]
struct Stream {
    flags: c_int,
    _pointers: [*mut c_char; 11],
    _markers: *mut c_char,
    next: *mut Stream,
}

/// The stream was written to last, and not read from.
const PUTTING: c_int = 0x800;

/// Writes out every C output stream. Input streams keep what they have read ahead.
///
/// # Errors
/// The error of a stream that could not be written; the others are written.
pub fn flush_all() -> nix::Result<()> {
    let Some(first) = first_stream() else {
        // SAFETY: a null stream means "all", and no lock is held by another thread: callers run in
        // a single-threaded process.
        return cerr(unsafe { libc::fflush(null_mut()) }).map(drop);
    };
    let mut result = Ok(());
    // SAFETY: the variable is there for as long as libc. No other thread changes the list, and
    // writing out a stream does not.
    let mut stream = unsafe { *first };
    while !stream.is_null() {
        // SAFETY: streams in the list are open, and begin as described.
        let Stream { flags, next, .. } = unsafe { &*stream };
        if flags & PUTTING != 0 {
            // SAFETY: as above.
            result = result.and(cerr(unsafe { libc::fflush(stream.cast::<FILE>()) }).map(drop));
        }
        stream = *next;
    }
    result
}

/// Where glibc has the first of all open streams; `None` in another libc.
fn first_stream() -> Option<*const *mut Stream> {
    static ADDRESS: OnceLock<usize> = OnceLock::new();
    let address = *ADDRESS.get_or_init(|| {
        // SAFETY: a valid name.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_IO_list_all".as_ptr()) as usize }
    });
    (address != 0).then_some(address as *const *mut Stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs;

    #[test]
    fn what_was_written_is_written_out_and_what_was_read_ahead_is_kept() {
        let path = std::env::temp_dir().join(format!("forkmon-stdio-{}", std::process::id()));
        let name = CString::new(path.to_str().unwrap()).unwrap();
        fs::write(&path, "0123456789").unwrap();
        // SAFETY: streams that this test opens and closes.
        unsafe {
            let input = libc::fopen(name.as_ptr(), c"r".as_ptr());
            assert_eq!(libc::fgetc(input), i32::from(b'0'));
            let ahead = libc::lseek(libc::fileno(input), 0, libc::SEEK_CUR);
            assert_eq!(ahead, 10);

            let both = libc::fopen(name.as_ptr(), c"r+".as_ptr());
            assert_eq!(libc::fgetc(both), i32::from(b'0'));
            libc::fseek(both, 0, libc::SEEK_END);
            libc::fputc(i32::from(b'a'), both);
            flush_all().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"0123456789a");
            assert_eq!(libc::lseek(libc::fileno(input), 0, libc::SEEK_CUR), ahead);
            assert_eq!(libc::fgetc(input), i32::from(b'1'));

            let full = libc::fopen(c"/dev/full".as_ptr(), c"w".as_ptr());
            libc::fputc(i32::from(b'a'), full);
            assert_eq!(flush_all(), Err(nix::errno::Errno::ENOSPC));
            for stream in [input, both, full] {
                libc::fclose(stream);
            }
        }
        fs::remove_file(path).unwrap();
    }
}
