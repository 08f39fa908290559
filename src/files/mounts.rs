//! What is mounted where, as far as this process sees it.
//!
//! A mount, or its end, raises no event where the mount point is. The kernel tells of it
//! by `/proc/self/mountinfo`, which polls as an exception (`POLLPRI`) when a line of it is
//! another.

use rustc_hash::{FxHashMap, FxHashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount: its number, the device, and which part of that.
type Mount = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The mounts, as of the last look.
#[derive(Default)]
pub struct Mounts {
    source: Option<File>,
    /// By mount point. One may hide another.
    points: FxHashMap<PathBuf, FxHashSet<Mount>>,
    /// Mount points that are no directories.
    files: FxHashSet<PathBuf>,
    /// The kernel has told of a change.
    has_changed: bool,
}

impl Mounts {
    /// Looks for the first time. Where there is no `/proc`, nothing is seen.
    pub fn new() -> Mounts {
        // Opened before it is read: from then on a change is told.
        let source = File::open("/proc/self/mountinfo").ok();
        let mut mounts = Mounts { source, ..Mounts::default() };
        mounts.look();
        mounts
    }

    /// The descriptor that polls as an exception when there is a change, which is told once.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(AsFd::as_fd)
    }

    /// The kernel has told of a change.
    pub fn note_change(&mut self) {
        self.has_changed = true;
    }

    /// The mount points where something else is now, if a change was told.
    pub fn take_changed(&mut self) -> Vec<PathBuf> {
        if std::mem::take(&mut self.has_changed) { self.look() } else { Vec::new() }
    }

    /// Whether a file that is no directory is a mount of its own, by its real path.
    pub fn is_file(&self, path: &Path) -> bool {
        !self.files.is_empty() && self.files.contains(path)
    }

    /// Whether there are such files at all.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Looks again. Returns the points where that shows something else.
    fn look(&mut self) -> Vec<PathBuf> {
        let mut text = Vec::new();
        let Some(source) = &mut self.source else { return Vec::new() };
        if source.rewind().and_then(|()| source.read_to_end(&mut text)).is_err() {
            return Vec::new();
        }
        let now = parse(&text);
        let former = std::mem::replace(&mut self.points, now);
        let came = self.points.iter().filter(|(point, mounts)| former.get(*point) != Some(mounts));
        let went = former.keys().filter(|point| !self.points.contains_key(*point));
        let changed: Vec<PathBuf> = came.map(|(point, _)| point).chain(went).cloned().collect();
        for point in &changed {
            let is_file = self.points.contains_key(point)
                && std::fs::symlink_metadata(point).is_ok_and(|found| !found.is_dir());
            match is_file {
                true => self.files.insert(point.clone()),
                false => self.files.remove(point),
            };
        }
        changed
    }
}

/// The lines of `mountinfo` (proc(5)): number, number of the parent, device, root, point,
/// and what is of no interest here.
fn parse(text: &[u8]) -> FxHashMap<PathBuf, FxHashSet<Mount>> {
    let mut points: FxHashMap<PathBuf, FxHashSet<Mount>> = FxHashMap::default();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let (number, _, device) = (fields.next(), fields.next(), fields.next());
        let (root, point) = (fields.next(), fields.next());
        if let (Some(number), Some(device), Some(root), Some(point)) = (number, device, root, point)
        {
            let mount = (number.to_vec(), device.to_vec(), root.to_vec());
            let point = PathBuf::from(OsString::from_vec(unescape(point)));
            points.entry(point).or_default().insert(mount);
        }
    }
    points
}

/// Blanks and the like are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| {
            digits.iter().try_fold(0u32, |value, digit| {
                matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0'))
            })
        });
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"\
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 0:27 / /with\\040blank\\134 rw - tmpfs tmpfs rw,size=4k\n\
        31 22 8:1 /host/a.lua /app/a.lua rw - ext4 /dev/sda1 rw\n\
        32 31 0:5 / /app/a.lua rw master:1 - devtmpfs udev rw\n";

    #[test]
    fn a_line_tells_what_is_mounted_where() {
        let points = parse(TEXT);
        assert_eq!(points.len(), 3);
        assert!(points.contains_key(Path::new("/with blank\\")));
        let file = &points[Path::new("/app/a.lua")];
        assert!(file.contains(&(b"31".to_vec(), b"8:1".to_vec(), b"/host/a.lua".to_vec())));
        assert_eq!(file.len(), 2);
    }

    #[test]
    fn the_root_is_a_mount_and_no_file_of_its_own_kind() {
        let mut mounts = Mounts::new();
        assert!(mounts.points.contains_key(Path::new("/")) && !mounts.is_file(Path::new("/")));
        mounts.note_change();
        assert!(!mounts.take_changed().contains(&PathBuf::from("/")));
    }

    proptest! {
        #[test]
        fn what_the_kernel_escapes_is_read_back(path in prop::collection::vec(1u8.., 0..40)) {
            let mut escaped = Vec::new();
            for byte in &path {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                        escaped.extend(format!("\\{byte:03o}").into_bytes());
                    }
                    byte => escaped.push(*byte),
                }
            }
            prop_assert_eq!(unescape(&escaped), path);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text);
        }
    }
}
