//! Effects: whether the program has done anything that others can see.
//!
//! The kernel counts what a process writes; what it opens takes the lowest free
//! descriptor; the hooks tell of the rest (files removed, subprocesses, input consumed). Two
//! looks that agree mean that nothing observable happened between them.
//!
//! What is read from a device or a FIFO is gone for a run from before it. It is an effect,
//! at any time while one is open that the program has opened by a name.

use crate::report;
use crate::sys::descriptors::{self, identity};
use crate::sys::process::children_faults;
use crate::sys::stdio;
use nix::sys::stat::{FileStat, SFlag, major, stat};
use rustc_hash::{FxHashSet, FxHasher};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether anything observable has happened since the last checkpoint.
pub struct Effects {
    counters: Counters,
    /// What could be seen of the program at the last checkpoint.
    at_checkpoint: Option<Footprint>,
    /// Something has happened that no counter shows.
    has_acted: bool,
    /// And may happen at any time without our hearing of it.
    may_act_unheard: bool,
    /// The program has opened something of which what is read is gone.
    consumes: bool,
    /// Digests of paths at which there were files, when they were opened.
    files: FxHashSet<u64>,
}

/// So many paths are known to be files. They are asked about once, as it takes a tenth of
/// the time of an opening.
const MOST_FILES: usize = 4096;

/// What a clone that fails is taken back to.
pub struct Former(Option<Footprint>, bool);

impl Effects {
    /// Those of this process, before its first checkpoint.
    pub fn of_this_process() -> Effects {
        Effects {
            counters: Counters::of_this_process(),
            at_checkpoint: None,
            has_acted: false,
            may_act_unheard: false,
            consumes: false,
            files: FxHashSet::default(),
        }
    }

    /// Something happens that others can see and no counter shows. `from_now_on`: and may
    /// happen again at any time.
    pub fn act(&mut self, from_now_on: bool) {
        self.has_acted = true;
        self.may_act_unheard |= from_now_on;
    }

    /// Something is about to be opened for reading.
    pub fn read(&mut self, path: &[u8]) {
        let digest = crate::files::digest(path);
        if self.files.contains(&digest) {
            return;
        }
        if is_consumed_at(path) {
            (self.has_acted, self.consumes) = (true, true);
        } else {
            if self.files.len() >= MOST_FILES {
                self.files.clear();
            }
            self.files.insert(digest);
        }
    }

    /// Whether there has been one since the last checkpoint. Without one, always.
    pub fn any(&mut self) -> bool {
        if self.consumes && !has_consumed_open() {
            (self.has_acted, self.consumes) = (true, false);
        }
        self.has_acted
            || self.may_act_unheard
            || self.consumes
            || self
                .at_checkpoint
                .is_none_or(|before| !Footprint::now(&self.counters).is_same_as(&before))
    }

    /// A checkpoint is about to be taken.
    pub fn begin(&mut self) -> Former {
        let former = Former(self.at_checkpoint, self.has_acted);
        self.at_checkpoint = Some(Footprint::now(&self.counters));
        self.has_acted = false;
        former
    }

    /// It was not.
    pub fn take_back(&mut self, former: Former) {
        (self.at_checkpoint, self.has_acted) = (former.0, former.1);
    }

    /// This process is a clone that goes on from the checkpoint: the kernel counts anew.
    pub fn resume(&mut self) {
        report::reset_count();
        self.counters = Counters::of_this_process();
        self.at_checkpoint = Some(Footprint::now(&self.counters));
    }
}

/// What can be seen from outside of a process, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Footprint {
    /// Bytes written by system calls, our own lines left out; `None` where the
    /// kernel does not count them: then every look differs.
    written: Option<u64>,
    /// The lowest free descriptor, which the next file that is opened gets.
    free: Option<RawFd>,
    /// A digest of what has those below it, but for the standard three: who closes one
    /// and opens another gets its number again.
    open: u64,
    /// Page faults of subprocesses that have ended: they always have some.
    subprocesses: u64,
}

/// Where the kernel counts what this process writes.
#[derive(Debug)]
struct Counters(PathBuf);

impl Counters {
    /// Those of this process; a clone has others. By its number, as to follow the link
    /// `/proc/self` takes a quarter of a look.
    fn of_this_process() -> Counters {
        let own = std::fs::read_link("/proc/self").unwrap_or("self".into());
        Counters(Path::new("/proc").join(own).join("io"))
    }
}

impl Footprint {
    /// Looks at this process, whose counters these are. What C buffers is written
    /// first, or it would count only later.
    fn now(counters: &Counters) -> Footprint {
        let _ = stdio::flush_all();
        // One look tells of both.
        let counters = File::open(&counters.0).ok();
        let free = counters.as_ref().map(AsRawFd::as_raw_fd);
        Footprint {
            free,
            open: identities(3..free.unwrap_or_default()),
            written: counters
                .and_then(written)
                .map(|bytes| bytes.saturating_sub(report::bytes_written())),
            subprocesses: children_faults(),
        }
    }

    /// Whether nothing observable happened between `before` and this look.
    fn is_same_as(&self, before: &Footprint) -> bool {
        self.written.is_some() && self == before
    }
}

/// Whether what is read from here is gone: it is neither file nor folder, nor one of the
/// devices that give the same at any time, as `/dev/null` does.
fn is_consumed(found: &FileStat) -> bool {
    match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFCHR => major(found.st_rdev) != MEMORY_DEVICES,
        SFlag::S_IFIFO => true,
        _ => false,
    }
}

/// `null`, `zero`, `random` and the like have this major number.
const MEMORY_DEVICES: u64 = 1;

fn is_consumed_at(path: &[u8]) -> bool {
    stat(Path::new(OsStr::from_bytes(path))).is_ok_and(|found| is_consumed(&found))
}

/// Whether one of those is open, besides the standard three.
fn has_consumed_open() -> bool {
    descriptors::open_numbers()
        .into_iter()
        .filter(|number| *number > 2)
        .any(|number| is_consumed_at(format!("/proc/self/fd/{number}").as_bytes()))
}

/// A digest of what these descriptors are. In most programs there are none.
fn identities(numbers: Range<RawFd>) -> u64 {
    let mut hasher = FxHasher::default();
    for number in numbers {
        identity(number).hash(&mut hasher);
    }
    hasher.finish()
}

/// The `wchar` of `/proc/self/io`.
fn written(mut counters: File) -> Option<u64> {
    let mut buffer = [0; 256];
    let length = counters.read(&mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}
