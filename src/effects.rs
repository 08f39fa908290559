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
use std::path::{Path, PathBuf};

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

/// Where the kernel counts what this process writes.
#[derive(Clone, Debug)]
pub struct Counters(PathBuf);

impl Counters {
    /// Those of this process; a clone has others. By its number, as to follow the link
    /// `/proc/self` takes a quarter of a look.
    pub fn of_this_process() -> Counters {
        let own = std::fs::read_link("/proc/self").unwrap_or("self".into());
        Counters(Path::new("/proc").join(own).join("io"))
    }
}

impl Footprint {
    /// Looks at this process, whose counters these are. What C buffers is written
    /// first, or it would count only later.
    pub fn now(counters: &Counters) -> Footprint {
        let _ = stdio::flush_all();
        // One look tells of both.
        let counters = File::open(&counters.0).ok();
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

/// The memory of this process: of its pages those that a clone shares until one of
/// both writes there, not those of files.
pub fn memory() -> Memory {
    let mut buffer = [0; 128];
    let length = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut buffer));
    let text = length.ok().and_then(|length| std::str::from_utf8(&buffer[..length]).ok());
    let mut fields = text.unwrap_or_default().split(' ').map(|field| field.parse().unwrap_or(0));
    let (_, resident, of_files) = (fields.next(), fields.next(), fields.next());
    let pages = resident.unwrap_or(0u64).saturating_sub(of_files.unwrap_or(0));
    Memory { pages, faults: own_faults() }
}
