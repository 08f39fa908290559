//! Having the kernel copy memory beforehand.
//!
//! A clone shares its memory with the process that it was cloned from, and pays for
//! each page that it writes to first, by a fault and a copy. One that waits to run
//! can have that done while nobody waits for it.

use super::process::page_size;
use nix::sys::mman::{MmapAdvise, madvise};
use std::ffi::c_void;
use std::ops::Range;
use std::ptr::NonNull;

/// As much memory is copied: small programs', whose copies cost little and whose faults
/// are a good part of what a resume takes. Which pages of a large one will be written to
/// is not known.
const MOST: usize = 32 << 20;

/// So many pages are copied at a time: some 50 us.
const PAGES: usize = 64;

/// Copies all memory that this process may write to and shares with another, if it is
/// not much; stops when `is_wanted` says so. It is of no harm when that cannot be done,
/// as before Linux 5.14.
pub fn make(is_wanted: impl Fn() -> bool) {
    let ranges = writable();
    if ranges.iter().map(ExactSizeIterator::len).sum::<usize>() > MOST {
        return;
    }
    let chunk = PAGES * page_size();
    for range in ranges {
        for start in range.clone().step_by(chunk) {
            let Some(address) = NonNull::new(start as *mut c_void) else { continue };
            let length = chunk.min(range.end - start);
            // SAFETY: nothing is changed that the process can see, whatever is there.
            let done = unsafe { madvise(address, length, MmapAdvise::MADV_POPULATE_WRITE) };
            if is_wanted() || done.is_err() {
                return;
            }
        }
    }
}

/// The private mappings of this process that it may write to.
fn writable() -> Vec<Range<usize>> {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    let lines = maps.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    lines.filter_map(|line| parse(&line)).collect()
}

/// A line of `/proc/self/maps`; `None` when it is of another mapping. The file's name at
/// its end may hold anything.
fn parse(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split(' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let is_it = permissions.starts_with("rw") && permissions.ends_with('p');
    let address = |text| usize::from_str_radix(text, 16).ok();
    is_it.then_some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    static TEXT: &str = "for reading";

    #[test]
    fn only_private_memory_that_can_be_written_to_counts() {
        let parse = |rest: &str| parse(&format!("7f00-8a00 {rest}"));
        assert_eq!(parse("rw-p 00000000 00:00 0 [heap]"), Some(0x7f00..0x8a00));
        assert_eq!(parse("rwxp 00000000 00:00 0"), Some(0x7f00..0x8a00));
        assert_eq!(parse("rw-s 00000000 00:01 7 /memfd: rw-p (deleted)"), None);
        assert_eq!(parse("r--p 00000000 08:01 7 /rw-p"), None);
        assert_eq!(super::parse(""), None);
        assert_eq!(super::parse("7f00 rw-p"), None);
    }

    #[test]
    fn our_own_memory_is_found() {
        let here = Box::new(1u8);
        let address = std::ptr::from_ref(&*here) as usize;
        assert!(writable().iter().any(|range| range.contains(&address)));
        assert!(!writable().iter().any(|range| range.contains(&(TEXT.as_ptr() as usize))));
    }
}
