//! What the system tells of a file, and which part of that somebody wants to know.
//!
//! The time of the last access is left out: reading changes it, and no edit is only that.

use nix::errno::Errno;
use std::ffi::CString;
use std::mem::MaybeUninit;

/// What `stat` tells of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status {
    /// Kind and permissions, as in `st_mode`.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, in nanoseconds since the epoch.
    pub modified: i64,
    /// Time of the last change of any kind, likewise.
    pub changed: i64,
    /// User and group.
    pub owner: (u32, u32),
    /// How many names it has.
    pub links: u64,
    /// Device and inode.
    pub identity: (u64, u64),
}

/// Parts of a [`Status`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields(pub u16);

impl Fields {
    /// Nothing but whether it is there.
    pub const PRESENCE: Fields = Fields(0);
    /// File, folder, link, …
    pub const KIND: Fields = Fields(1);
    /// Permissions.
    pub const MODE: Fields = Fields(1 << 1);
    /// Size.
    pub const SIZE: Fields = Fields(1 << 2);
    /// Time of the last modification.
    pub const MODIFIED: Fields = Fields(1 << 3);
    /// Time of the last change of any kind.
    pub const CHANGED: Fields = Fields(1 << 4);
    /// User and group.
    pub const OWNER: Fields = Fields(1 << 5);
    /// How many names it has.
    pub const LINKS: Fields = Fields(1 << 6);
    /// Device and inode.
    pub const IDENTITY: Fields = Fields(1 << 7);
    /// Everything was given, and what of it is used is not known: C code that calls
    /// `stat` gets it all. Then what people see counts: kind, permissions, size and time
    /// of modification, and of a folder only the first two, as every scratch file of an
    /// editor changes the others.
    pub const GUESSED: Fields = Fields(1 << 8 | 0b1111);

    /// These and those.
    pub const fn and(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }

    /// Whether any of these changes in a folder when an entry comes or goes.
    pub const fn tell_of_entries(self) -> bool {
        let entries = Fields::SIZE.0 | Fields::MODIFIED.0 | Fields::CHANGED.0 | Fields::LINKS.0;
        !self.has(Fields::GUESSED) && self.0 & entries != 0
    }

    /// Whether all of those are among these.
    pub const fn has(self, other: Fields) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Status {
    /// What is at `path` now; with `follow`, what a link there leads to.
    ///
    /// # Errors
    /// Those of `stat`; `EINVAL` for a path with a zero byte.
    pub fn of(path: &[u8], follow: bool) -> nix::Result<Status> {
        let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
        let mut found = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: a valid path, and one structure that is written to.
        let result = unsafe {
            if follow {
                libc::stat(path.as_ptr(), found.as_mut_ptr())
            } else {
                libc::lstat(path.as_ptr(), found.as_mut_ptr())
            }
        };
        super::cerr(result)?;
        // SAFETY: zeroed bytes are a valid stat.
        Ok(Status::from(&unsafe { found.assume_init() }))
    }

    /// Whether it is of a folder.
    pub fn is_folder(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// The parts that were asked for; the rest is as if it were nothing.
    pub fn only(&self, fields: Fields) -> Status {
        let mut fields = fields;
        if fields.has(Fields::GUESSED) && self.is_folder() {
            fields = Fields::KIND.and(Fields::MODE);
        }
        let has = |field| fields.has(field);
        let part = |field, bits: u32| if has(field) { self.mode & bits } else { 0 };
        Status {
            mode: part(Fields::KIND, libc::S_IFMT) | part(Fields::MODE, !libc::S_IFMT),
            size: if has(Fields::SIZE) { self.size } else { 0 },
            modified: if has(Fields::MODIFIED) { self.modified } else { 0 },
            changed: if has(Fields::CHANGED) { self.changed } else { 0 },
            owner: if has(Fields::OWNER) { self.owner } else { (0, 0) },
            links: if has(Fields::LINKS) { self.links } else { 0 },
            identity: if has(Fields::IDENTITY) { self.identity } else { (0, 0) },
        }
    }
}

impl From<&libc::stat> for Status {
    // The types of the parts differ by architecture.
    #[allow(clippy::unnecessary_cast)]
    fn from(found: &libc::stat) -> Status {
        Status {
            mode: found.st_mode,
            size: found.st_size as u64,
            modified: nanoseconds(found.st_mtime, found.st_mtime_nsec),
            changed: nanoseconds(found.st_ctime, found.st_ctime_nsec),
            owner: (found.st_uid, found.st_gid),
            links: found.st_nlink as u64,
            identity: (found.st_dev, found.st_ino),
        }
    }
}

impl From<&libc::statx> for Status {
    fn from(found: &libc::statx) -> Status {
        let time = |time: &libc::statx_timestamp| nanoseconds(time.tv_sec, time.tv_nsec.into());
        Status {
            mode: found.stx_mode.into(),
            size: found.stx_size,
            modified: time(&found.stx_mtime),
            changed: time(&found.stx_ctime),
            owner: (found.stx_uid, found.stx_gid),
            links: found.stx_nlink.into(),
            identity: (libc::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino),
        }
    }
}

/// Files can have any time, also those that do not fit.
fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(rest)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const EACH: [Fields; 8] = [
        Fields::KIND,
        Fields::MODE,
        Fields::SIZE,
        Fields::MODIFIED,
        Fields::CHANGED,
        Fields::OWNER,
        Fields::LINKS,
        Fields::IDENTITY,
    ];

    pub fn fields() -> impl Strategy<Value = Fields> {
        prop_oneof![(0..256u16).prop_map(Fields), Just(Fields::GUESSED)]
    }

    pub fn status() -> impl Strategy<Value = Status> {
        let kind = prop_oneof![Just(libc::S_IFREG), Just(libc::S_IFDIR), Just(libc::S_IFLNK)];
        let numbers = any::<(u64, i64, i64, (u32, u32), u64, (u64, u64))>();
        (kind, 0..0o10000u32, numbers).prop_map(|(kind, permissions, numbers)| {
            let (size, modified, changed, owner, links, identity) = numbers;
            let mode = kind | permissions;
            Status { mode, size, modified, changed, owner, links, identity }
        })
    }

    /// The same with one part changed.
    fn with_another(status: Status, field: Fields) -> Status {
        let mut other = status;
        match field {
            Fields::KIND => other.mode = (status.mode & !libc::S_IFMT) | libc::S_IFIFO,
            Fields::MODE => other.mode ^= 0o100,
            Fields::SIZE => other.size ^= 1,
            Fields::MODIFIED => other.modified ^= 1,
            Fields::CHANGED => other.changed ^= 1,
            Fields::OWNER => other.owner.1 ^= 1,
            Fields::LINKS => other.links ^= 1,
            _ => other.identity.1 ^= 1,
        }
        other
    }

    proptest! {
        #[test]
        fn only_what_was_asked_for_is_kept(
            status in status(),
            asked in (0..256u16).prop_map(Fields),
            field in prop::sample::select(&EACH[..]),
        ) {
            let other = with_another(status, field);
            prop_assert_eq!(status.only(asked) == other.only(asked), !asked.has(field));
        }

        #[test]
        fn scratch_files_in_a_folder_disturb_no_guess(
            status in status(),
            field in prop::sample::select(&EACH[2..]),
        ) {
            let is_folder = status.mode & libc::S_IFMT == libc::S_IFDIR;
            let other = with_another(status, field);
            let seen = !is_folder && Fields::GUESSED.has(field);
            let same = status.only(Fields::GUESSED) == other.only(Fields::GUESSED);
            prop_assert_eq!(same, !seen);
        }
    }
}
