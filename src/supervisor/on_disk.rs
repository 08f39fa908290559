//! What the supervisor finds on disk, and of processes, when it judges a path.

use super::verdict::{GRACE, Look};
use crate::files::Stamp;
use crate::sys::procfs;
use std::time::Duration;

/// A path as it is on disk.
pub struct OnDisk<'a> {
    /// Where.
    pub path: &'a [u8],
    /// Of what is there.
    pub stamp: Stamp,
    /// Who may be writing it.
    pub program: Option<i32>,
}

impl Look for OnDisk<'_> {
    fn content(&self) -> Option<u64> {
        self.stamp.read(self.path)
    }

    fn is_written_by_program(&self, files: &[(u64, u64)]) -> bool {
        writes(self.program, files)
    }

    fn has_one_name(&self) -> bool {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(self.path))
            .is_ok_and(|found| found.is_file() && found.nlink() == 1)
    }

    fn is_young(&self) -> bool {
        Stamp::of_file(self.path).is_younger_than(GRACE)
    }
}

/// Whether the program has one of these files open for writing.
pub fn writes(program: Option<i32>, files: &[(u64, u64)]) -> bool {
    program.is_some_and(|program| procfs::writes(program, files))
}

/// Whether the program would go on if it could, and has not used so much processor
/// time yet.
pub fn is_held_up(program: Option<i32>, used: Duration) -> bool {
    program.is_some_and(|program| match procfs::state(program) {
        Some(b'T') => true,
        Some(b'R' | b'D') => procfs::processor_time(program) < used,
        _ => false,
    })
}

/// What a path looks like now, to be compared with `before`.
pub fn restamp(before: Stamp, path: &[u8]) -> Stamp {
    match before {
        Stamp::Tree { .. } => Stamp::of(path),
        _ => Stamp::of_file(path),
    }
}

/// The path of the folder that a path is in.
pub fn folder_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        None | Some(0) => b"/",
        Some(at) => &path[..at],
    }
}
