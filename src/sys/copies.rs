//! Having the kernel copy memory beforehand.
//!
//! A clone shares its memory with the process that it was cloned from, and pays for
//! each page that it writes to first, by a fault and a copy. One that waits to run
//! can have that done while nobody waits for it.

use super::process::page_size;
use nix::sys::mman::{MmapAdvise, madvise};
use std::ffi::c_void;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

/// So many pages are copied at a time: some 120 us.
const PAGES: usize = 64;

/// Bytes that the kernel tells of a page in `/proc/self/pagemap`.
const ENTRY: usize = 8;

/// Whether it can be done: from Linux 5.14 on, where `/proc` tells of pages.
pub fn are_possible() -> bool {
    File::open("/proc/self/pagemap").is_ok() && copy(page_size()..page_size())
}

/// Copies all memory of this process that it shares with another by having been cloned,
/// if that is no more than `most` pages; stops when `is_wanted` says so.
pub fn make(most: u64, is_wanted: impl Fn() -> bool) {
    let Some(shared) = shared(most, &is_wanted) else { return };
    let chunk = PAGES * page_size();
    for range in shared {
        for start in range.clone().step_by(chunk) {
            if !copy(start..range.end.min(start + chunk)) || is_wanted() {
                return;
            }
        }
    }
}

/// Copies what this process shares in a range of whole pages. False when the kernel
/// cannot.
fn copy(range: Range<usize>) -> bool {
    let Some(address) = NonNull::new(range.start as *mut c_void) else { return false };
    // SAFETY: nothing is changed that the process can see, whatever is there.
    unsafe { madvise(address, range.len(), MmapAdvise::MADV_POPULATE_WRITE) }.is_ok()
}

/// The shared pages; `None` when there are more than `most`, or they cannot be found.
fn shared(most: u64, is_wanted: impl Fn() -> bool) -> Option<Vec<Range<usize>>> {
    let page = page_size();
    let pagemap = File::open("/proc/self/pagemap").ok()?;
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut count = 0;
    let mut entries = [0; 512 * ENTRY];
    for range in writable() {
        for start in range.clone().step_by(entries.len() / ENTRY * page) {
            let pages = ((range.end - start) / page).min(entries.len() / ENTRY);
            let entries = &mut entries[..pages * ENTRY];
            pagemap.read_exact_at(entries, (start / page * ENTRY) as u64).ok()?;
            for (number, entry) in entries.chunks_exact(ENTRY).enumerate() {
                if !is_shared(u64::from_ne_bytes(entry.try_into().ok()?)) {
                    continue;
                }
                count += 1;
                let at = start + number * page;
                match found.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end = at + page,
                    None => found.push(at..at + page),
                }
            }
            if count > most || is_wanted() {
                return None;
            }
        }
    }
    Some(found)
}

/// Whether a page is there, is of no file, and is not this process's alone.
fn is_shared(entry: u64) -> bool {
    let is = |bit: u32| entry >> bit & 1 == 1;
    is(63) && !is(61) && !is(56)
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
    fn our_own_memory_is_shared_with_nobody() {
        let here = vec![1u8; 4 * page_size()];
        let of_ours = here.as_ptr_range();
        let shared = shared(u64::MAX, || false).unwrap();
        assert!(shared.iter().all(|range| {
            range.end <= of_ours.start as usize || range.start >= of_ours.end as usize
        }));
        assert_eq!(super::shared(u64::MAX, || true), None);
        // There, of no file, and of another, too; then each of these not.
        assert!(is_shared(1 << 63) && !is_shared(0));
        assert!(!is_shared(1 << 63 | 1 << 61) && !is_shared(1 << 63 | 1 << 56));
    }

    #[test]
    fn copying_changes_nothing() {
        let mut here = vec![0u8; 3 * page_size()];
        here.fill(7);
        let start = (here.as_ptr() as usize).next_multiple_of(page_size());
        assert_eq!(copy(start..start + page_size()), are_possible());
        assert!(here.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn our_own_memory_is_found() {
        let here = Box::new(1u8);
        let address = std::ptr::from_ref(&*here) as usize;
        assert!(writable().iter().any(|range| range.contains(&address)));
        assert!(!writable().iter().any(|range| range.contains(&(TEXT.as_ptr() as usize))));
    }
}
