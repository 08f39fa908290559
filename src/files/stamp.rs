//! Stamps: what a file looked like, cheap enough to take at every open.
//!
//! A stamp is device, inode, size and the times of the last modification and of
//! the last change of any kind. Kernels before 6.13 count time in ticks of up to
//! 10 ms, so a file saved within the last tick could be saved again, at the same
//! size, without its stamp changing. A stamp that fresh is accompanied by a
//! digest of the content, which tells.

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
pub const TICK: Duration = Duration::from_millis(20);

/// What a path looked like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamp {
    /// Nothing there, or nothing that can be reached.
    Absent,
    /// A file (or anything else that is not a directory).
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
    /// A directory: a digest of the stamps of everything in it.
    Tree(u64),
}

impl Stamp {
    /// The stamp of what `path` leads to now.
    pub fn of(path: &[u8]) -> Stamp {
        match stat(Path::new(OsStr::from_bytes(path))) {
            Ok(found) if kind(&found) == SFlag::S_IFDIR => Stamp::Tree(tree_digest(path)),
            Ok(found) => Stamp::from_stat(&found),
            Err(_) => Stamp::Absent,
        }
    }

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

    /// The stamp of what stands at `path` itself, or `None` where that leads on: to
    /// where a link points, or to all that is in a directory.
    pub fn of_entry(path: &[u8]) -> Option<Stamp> {
        let Ok(found) = lstat(Path::new(OsStr::from_bytes(path))) else {
            return Some(Stamp::Absent);
        };
        let leads_on = matches!(kind(&found), SFlag::S_IFLNK | SFlag::S_IFDIR);
        (!leads_on).then(|| Stamp::from_stat(&found))
    }

    fn from_stat(found: &FileStat) -> Stamp {
        Stamp::File {
            device: found.st_dev,
            inode: found.st_ino,
            size: found.st_size as u64,
            modified: found.st_mtime * 1_000_000_000 + found.st_mtime_nsec,
            changed: found.st_ctime * 1_000_000_000 + found.st_ctime_nsec,
        }
    }

    /// The size of a file in bytes.
    pub fn size(&self) -> Option<u64> {
        match *self {
            Stamp::File { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Whether the file was modified after `time`, in nanoseconds since the epoch.
    pub fn is_newer_than(&self, time: i64) -> bool {
        matches!(*self, Stamp::File { modified, .. } if modified > time)
    }

    /// A digest of the content of the file at `path`, if one is `wanted` anyway or the
    /// stamp alone does not settle what the file was like.
    pub fn content(&self, path: &[u8], wanted: bool) -> Option<u64> {
        if wanted || self.is_fresh() { content_digest(path) } else { None }
    }

    /// Whether any further change shows in it.
    pub fn is_settled(&self) -> bool {
        self.identity().is_some() && !self.is_fresh()
    }

    /// Whether a write within the clock tick of this stamp could go unseen.
    pub fn is_fresh(&self) -> bool {
        let Stamp::File { changed, .. } = *self else { return false };
        self.is_younger_than(TICK) || is_within(changed, TICK)
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

    /// Whether both are of one file, changed or not, or both of directories.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        matches!((self, other), (Stamp::Tree(_), Stamp::Tree(_)))
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

/// Names that editors and version control put beside files while they work.
pub fn is_scratch(name: &[u8]) -> bool {
    name.starts_with(b".") || name.starts_with(b"#") || name.ends_with(b"~") || name == b"4913"
}

fn tree_digest(directory: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut entries: Vec<_> = match std::fs::read_dir(OsStr::from_bytes(directory)) {
        Ok(entries) => entries.flatten().collect(),
        Err(_) => return 0,
    };
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name();
        if is_scratch(name.as_bytes()) {
            continue;
        }
        hasher.write(name.as_bytes());
        hasher.write_u8(0);
        let path = entry.path();
        // Real directories are entered; links to directories are not, as they may lead back.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            hasher.write_u64(tree_digest(path.as_os_str().as_bytes()));
        } else if let Stamp::File { device, inode, size, modified, changed } =
            Stamp::of_file(path.as_os_str().as_bytes())
        {
            for word in [device, inode, size, modified as u64, changed as u64] {
                hasher.write_u64(word);
            }
        }
    }
    hasher.finish()
}
