//! Effects: whether the program has done anything that others can see.
//!
//! The kernel counts what a process writes; what it opens takes the lowest free
//! descriptor; the hooks tell of the rest (files removed, subprocesses, input consumed). Two
//! looks that agree mean that nothing observable happened between them.

use crate::sys::process::{children_faults, own_faults};
use crate::sys::stdio;
use crate::{placement::Memory, report};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};

/// What can be seen from outside of a process, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes written by system calls, our own lines left out; `None` where the
    /// kernel does not count them: then every look differs.
    written: Option<u64>,
    /// The lowest free descriptor, which the next file that is opened gets.
    free: Option<RawFd>,
    /// Page faults of subprocesses that have ended: they always have some.
    subprocesses: u64,
}

impl Footprint {
    /// Looks at this process. What C buffers is written first, or it would
    /// count only later.
    pub fn now() -> Footprint {
        let _ = stdio::flush_all();
        // One look tells of both.
        let counters = File::open("/proc/self/io").ok();
        Footprint {
            free: counters.as_ref().map(AsRawFd::as_raw_fd),
            written: counters
                .and_then(written)
                .map(|bytes| bytes.saturating_sub(report::bytes_written())),
            subprocesses: children_faults(),
        }
    }

    /// Whether nothing observable happened between `before` and this look.
    pub fn is_same_as(&self, before: &Footprint) -> bool {
        self.written.is_some() && self == before
    }
}

/// The `wchar` of `/proc/self/io`.
fn written(mut counters: File) -> Option<u64> {
    let mut buffer = [0; 256];
    let length = counters.read(&mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}

/// The memory of this process.
pub fn memory() -> Memory {
    let mut buffer = [0; 128];
    let pages = File::open("/proc/self/statm")
        .and_then(|mut file| file.read(&mut buffer))
        .ok()
        .and_then(|length| std::str::from_utf8(&buffer[..length]).ok())
        .and_then(|text| text.split(' ').nth(1)?.parse().ok());
    Memory { pages: pages.unwrap_or(0), faults: own_faults() }
}
