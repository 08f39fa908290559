//! Stamps: what a file looked like, cheap enough to take at every open.
//!
//! A stamp is device, inode, size and the times of the last modification and of
//! the last change of any kind. Kernels before 6.13 count time in ticks of up to
//! 10 ms, so a file saved within the last tick could be saved again, at the same
//! size, without its stamp changing. A stamp that fresh is accompanied by a
//! digest of the content, which tells. Some file systems keep no finer times than
//! whole seconds, or every second one; what has such a time is fresh for as long.

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat, lstat, stat};
use nix::unistd::geteuid;
use rustc_hash::FxHasher;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A modification younger than this may be followed by another that looks the same.
const TICK: Duration = Duration::from_millis(20);

/// Likewise where times have no fraction: FAT counts in steps of two seconds, ext2, ext3,
/// HFS+, ext4 with small inodes and some file servers in steps of one. The clock that
/// they count is itself a little late.
const COARSE: Duration = Duration::from_millis(2020);

const SECOND: i64 = 1_000_000_000;

/// What a path looked like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// Nothing there, or nothing that can be reached.
    Absent,
    /// A file. A directory that is to be opened is one, too.
    File {
        /// Device and inode: a file renamed over another differs here.
        device: u64,
        /// See `device`.
        inode: u64,
        /// Size in bytes.
        size: u64,
        /// Modification time in nanoseconds since the epoch.
        modified: i64,
        /// Time of the last change of any kind, likewise: nobody can set it back,
        /// as `cp -p`, `tar` and others do with the other.
        changed: i64,
    },
    /// A FIFO, a socket, a device: which of these, by the kind in its mode and the number
    /// of the device. What comes out of it is not its content, and one is like another.
    Special(u64),
    /// A directory with everything in it.
    Tree {
        /// Of the stamps of that.
        digest: u64,
        /// The newest of the times of change.
        newest: i64,
    },
}

impl Stamp {
    /// The stamp of `path` as something to be opened: a directory is not looked
    /// into, so that the probe `io.open('.')` stays cheap.
    pub fn of_file(path: &[u8]) -> Stamp {
        match stat(Path::new(OsStr::from_bytes(path))) {
            Ok(found) => Stamp::from_stat(&found),
            Err(_) => Stamp::Absent,
        }
    }

    /// The same, and whether it is certain what opening it would come to: there is
    /// nothing, or a file that we can read.
    pub fn of_readable(path: &[u8]) -> (Stamp, bool) {
        match stat(Path::new(OsStr::from_bytes(path))) {
            Ok(found) => {
                let bits = found.st_mode & 0o444;
                let is_own = || found.st_uid == geteuid().as_raw();
                let readable = bits == 0o444 || bits & 0o400 != 0 && is_own();
                (Stamp::from_stat(&found), readable && kind(&found) == SFlag::S_IFREG)
            }
            // Others may be gone at the next try, as those of a file server.
            Err(error) => (Stamp::Absent, matches!(error, Errno::ENOENT | Errno::ENOTDIR)),
        }
    }

    /// The stamp of what stands at `path` itself, and whether it has other names. `None`
    /// where that leads on: to where a link points, or to all that is in a directory.
    pub fn of_entry(path: &[u8]) -> Option<(Stamp, bool)> {
        let Ok(found) = lstat(Path::new(OsStr::from_bytes(path))) else {
            return Some((Stamp::Absent, false));
        };
        let leads_on = matches!(kind(&found), SFlag::S_IFLNK | SFlag::S_IFDIR);
        (!leads_on).then(|| (Stamp::from_stat(&found), found.st_nlink > 1))
    }

    fn from_stat(found: &FileStat) -> Stamp {
        if !matches!(kind(found), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Stamp::Special(u64::from(kind(found).bits()) << 48 ^ found.st_rdev);
        }
        Stamp::File {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size as u64,
            modified: found.st_mtime * SECOND + found.st_mtime_nsec,
            changed: found.st_ctime * SECOND + found.st_ctime_nsec,
        }
    }

    /// Whether it is a device.
    pub fn is_device(&self) -> bool {
        let kinds = [SFlag::S_IFCHR, SFlag::S_IFBLK].map(|kind| u64::from(kind.bits()));
        matches!(*self, Stamp::Special(kind) if kinds.contains(&(kind >> 48)))
    }

    /// The size of a file in bytes.
    pub fn size(&self) -> Option<u64> {
        match *self {
            Stamp::File { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Whether the file was modified after `time`, in nanoseconds since the epoch. Its time may
    /// have been set to what is yet to come; that it was set shows in the other one.
    pub fn is_newer_than(&self, time: i64) -> bool {
        matches!(*self, Stamp::File { modified, changed, .. } if modified.min(changed) > time)
    }

    /// Whether a write within the clock tick of this stamp could go unseen.
    pub fn is_fresh(&self) -> bool {
        let newest = self.newest().is_some_and(|newest| is_within(newest, self.tick()));
        self.is_younger_than(TICK) || newest
    }

    /// Whether any further change shows in it.
    pub fn is_settled(&self) -> bool {
        self.identity().is_some() && !self.is_fresh()
    }

    /// For how long after a change another may leave the stamp as it is.
    pub fn tick(&self) -> Duration {
        match self.newest() {
            Some(newest) if newest % SECOND == 0 => COARSE,
            _ => TICK,
        }
    }

    /// Whether it is of a file system whose times are coarse, as far as it shows.
    pub fn is_coarse(&self) -> bool {
        self.tick() != TICK
    }

    /// When it was changed last.
    fn newest(&self) -> Option<i64> {
        match *self {
            Stamp::File { changed: newest, .. } | Stamp::Tree { newest, .. } => Some(newest),
            _ => None,
        }
    }

    /// Whether the file was modified less than `age` ago (or from now, as clocks
    /// of file servers may be ahead).
    pub fn is_younger_than(&self, age: Duration) -> bool {
        matches!(*self, Stamp::File { modified, .. } if is_within(modified, age))
    }

    /// Device and inode, where it is of a file.
    pub fn identity(&self) -> Option<(u64, u64)> {
        match *self {
            Stamp::File { device, inode, .. } => Some((device, inode)),
            _ => None,
        }
    }

    /// Whether nothing tells them apart but the time of the last change of any kind.
    pub fn is_but_touched(&self, other: &Stamp) -> bool {
        let settled = |stamp: &Stamp| match *stamp {
            Stamp::File { device, inode, size, modified, .. } => {
                Some((device, inode, size, modified))
            }
            _ => None,
        };
        settled(self).is_some() && settled(self) == settled(other)
    }

    /// Whether both are of one file, changed or not, or both of directories.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        matches!((self, other), (Stamp::Tree { .. }, Stamp::Tree { .. }))
            || self.identity().is_some() && self.identity() == other.identity()
    }
}

/// Whether a time is less than `age` away from now.
fn is_within(time: i64, age: Duration) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i64);
    now.abs_diff(time) < age.as_nanos() as u64
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

/// A digest of a path: equal bytes, equal digest, in every process of a session.
/// Quick, as there are many of them.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// A digest of a regular file's content, or `None` when it cannot be read.
/// Anything but a regular file is not touched: reading a pipe would consume it.
pub fn content_digest(path: &[u8]) -> Option<u64> {
    let path = Path::new(OsStr::from_bytes(path));
    // Ask before opening, as opening a FIFO would wait for its other end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let opened = fstat(&file).ok()?;
    if kind(&opened) != SFlag::S_IFREG {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    // Little, as the program may have a small stack.
    let mut buffer = [0; 1 << 12];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(hasher.finish()),
            Ok(length) => hasher.write(&buffer[..length]),
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
            Err(_) => return None,
        }
    }
}
