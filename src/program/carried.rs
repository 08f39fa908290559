//! What a checkpoint must know about open files, since a clone shares them.
//!
//! A clone has the same *open file descriptions* as its original: reading in
//! one moves the position in the other. So positions are recorded with a
//! checkpoint, and a resumed program gets descriptions of its own, put where
//! they were; descriptors that shared one go on sharing one. A file that the
//! program opened to write it anew is cut back to its size at the checkpoint, as
//! the resumed program will write the rest again; when its name now leads
//! elsewhere, because the last run renamed what it had written, say, the part
//! that was there is copied to a new file of that name. One opened for appending
//! or updating is left as it is. Descriptors that came from outside (the
//! terminal, redirections) are shared with whoever gave them: they are not
//! touched, but for the position of input.
//!
//! Some things no clone can carry: a pipe to a subprocess, whose other end would
//! wait for ever for a parked copy to close it, or a connection, which two
//! programs would talk over in turn. While one is open, no checkpoint is taken,
//! unless the program has said that it opens its connections anew.

use crate::sys::descriptors::{self, Facts};
use crate::sys::keeper;
use crate::sys::process::page_size;
use crate::sys::signals::Mask;
use crate::wire::board::Board;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// From how many resident bytes on a program gets a keeper: below, giving its
/// memory back takes less time than a keeper does.
const KEEP: usize = 24 << 20;

/// Device and inode of an open file.
type Identity = (u64, u64);

/// One open descriptor at a checkpoint.
#[derive(Clone, Debug)]
struct Open {
    descriptor: RawFd,
    facts: Facts,
    position: Option<i64>,
    /// The program writes the file anew from its beginning.
    is_rewritten: bool,
    /// The name of such a file, where that leads to it.
    name: Option<PathBuf>,
    /// What the kernel calls a thing without a type. All such things have one inode.
    anonymous: Option<PathBuf>,
}

/// The files that the program emptied as it opened them to write and read (`w+`),
/// which the kernel does not tell from those that are updated (`r+`): the
/// descriptor, and the path.
pub type Emptied = HashMap<RawFd, PathBuf>;

/// Why a checkpoint cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A pipe between the program and a subprocess is open.
    Pipe,
    /// A connection is open.
    Connection,
    /// An epoll instance or the like, which clones would share.
    Shared,
    /// A file is locked: a parked copy would keep the lock, and a resumed program
    /// would not have it.
    Lock,
    /// There is no descriptor left to look at the others with.
    NoDescriptor,
    /// And no memory.
    NoMemory,
}

/// The descriptors open at one moment.
#[derive(Debug)]
pub struct Descriptors {
    open: Vec<Open>,
    /// Why they could not be listed.
    unlisted: Option<Obstacle>,
}

/// The files that were open before the program could open any.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    files: HashSet<Identity>,
    /// What has no inode of its own is told by its number, and by what it is called.
    anonymous: HashSet<(RawFd, PathBuf)>,
}

impl Outside {
    fn has(&self, open: &Open) -> bool {
        match &open.anonymous {
            None => self.files.contains(&open.facts.identity),
            Some(name) => self.anonymous.contains(&(open.descriptor, name.clone())),
        }
    }
}

/// What is carried into a clone, and what for.
pub struct Carried {
    outside: Outside,
    /// The program opens connections anew after a resume.
    reopens: bool,
    /// This process has been seen to need a keeper.
    is_kept: bool,
}

impl Carried {
    /// Of a program that began with these from outside.
    pub fn new(outside: Outside) -> Carried {
        Carried { outside, reopens: false, is_kept: false }
    }

    /// The files that were open before the program could open any.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// The program will open connections anew when it is resumed, or not.
    pub fn set_reopens(&mut self, reopens: bool) {
        self.reopens = reopens;
    }

    /// Looks at every open descriptor.
    ///
    /// # Errors
    /// What forbids a checkpoint.
    pub fn survey(&self, emptied: &Emptied) -> Result<Descriptors, Obstacle> {
        let mut descriptors = Descriptors::survey();
        if let Some(obstacle) = descriptors.obstacle(&self.outside, self.reopens) {
            return Err(obstacle);
        }
        descriptors.note_rewritten(emptied);
        Ok(descriptors)
    }

    /// Sees to it that a program of so many pages of memory, if those are many, can be
    /// stopped at once.
    pub fn keep(&mut self, pages: u64, board: &Board, supervisor: Pid) {
        if self.is_kept || pages < (KEEP / page_size()) as u64 {
            return;
        }
        let mask = Mask::block_all();
        // Without one, stopping takes longer, and that is all.
        self.is_kept = keeper::start(&board.keeper, supervisor).is_ok();
        mask.restore();
    }

    /// This process is a clone, which nobody keeps yet.
    pub fn resume(&mut self) {
        self.is_kept = false;
    }
}

impl Descriptors {
    /// Looks at every open descriptor of this process.
    pub fn survey() -> Descriptors {
        let listed = descriptors::list();
        let unlisted = listed.as_ref().err().map(|error| match error.raw_os_error() {
            Some(libc::ENOMEM) => Obstacle::NoMemory,
            _ => Obstacle::NoDescriptor,
        });
        let found = listed.unwrap_or_default();
        let open = found.into_iter().filter_map(|descriptor: RawFd| {
            let facts = descriptors::facts(descriptor).ok()?;
            let has_position = matches!(facts.kind, libc::S_IFREG | libc::S_IFDIR);
            let position = if has_position { descriptors::position(descriptor) } else { None };
            let anonymous = (facts.kind == 0).then(|| name_of(descriptor).unwrap_or_default());
            Some(Open { descriptor, facts, position, is_rewritten: false, name: None, anonymous })
        });
        Descriptors { open: open.collect(), unlisted }
    }

    /// Finds out which files the program writes anew, for a resume to cut them.
    fn note_rewritten(&mut self, emptied: &Emptied) {
        for open in &mut self.open {
            if open.position.is_some() && open.writes_anew(emptied.get(&open.descriptor)) {
                open.is_rewritten = true;
                // Of a name that was removed the kernel tells another, which ends in "(deleted)".
                open.name = name_of(open.descriptor).ok().filter(|name| open.is_at(name));
            }
        }
    }

    /// All of them, as those that came from outside. With `only_standard`, pipes
    /// other than the standard three are the program's own.
    pub fn outside(&self, only_standard: bool) -> Outside {
        let given = self.open.iter().filter(|open| {
            !only_standard || open.descriptor <= 2 || open.facts.kind != libc::S_IFIFO
        });
        let (anonymous, files): (Vec<_>, Vec<_>) = given.partition(|open| open.anonymous.is_some());
        Outside {
            files: files.into_iter().map(|open| open.facts.identity).collect(),
            anonymous: anonymous
                .into_iter()
                .filter_map(|open| Some((open.descriptor, open.anonymous.clone()?)))
                .collect(),
        }
    }

    /// What, if anything, forbids a checkpoint. `reopens`: the program has said
    /// that it opens its connections anew after a resume.
    fn obstacle(&self, outside: &Outside, reopens: bool) -> Option<Obstacle> {
        if self.unlisted.is_some() {
            return self.unlisted;
        }
        self.open.iter().filter(|open| !outside.has(open)).find_map(|open| {
            match open.facts.kind {
                libc::S_IFIFO => Some(Obstacle::Pipe),
                libc::S_IFSOCK if !reopens && open.is_connection() => Some(Obstacle::Connection),
                // epoll, eventfd, timerfd, inotify, io_uring have no type.
                0 if !reopens => Some(Obstacle::Shared),
                libc::S_IFREG if open.is_locked() => Some(Obstacle::Lock),
                _ => None,
            }
        })
    }

    /// Whether nothing of the program's own is open: a parked copy then keeps no
    /// port, lock or file from whoever comes next.
    pub fn is_bare(&self, outside: &Outside) -> bool {
        self.open.iter().all(|open| outside.has(open))
    }

    /// In a clone that is about to park: lets go of the connections that a resumed
    /// program will open anew, so that their peers see them end when the running
    /// one ends them. The resumed program finds them ended.
    pub fn sever(&self, outside: &Outside) {
        let connections =
            self.open.iter().filter(|open| open.is_connection() && !outside.has(open));
        for open in connections {
            let pair =
                socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
            if let Ok((ended, _)) = pair {
                let own = open.facts.close_on_exec;
                let _ = descriptors::replace(open.descriptor, ended.as_fd(), own);
            }
        }
    }

    /// In a resumed process: puts every file where it was.
    pub fn restore(&self, outside: &Outside) {
        let files: Vec<&Open> = self
            .open
            .iter()
            .filter(|open| {
                open.position.is_some() && (open.mode() == libc::O_RDONLY || !outside.has(open))
            })
            .collect();
        // Found out first: what has been opened again is shared with nothing.
        let twins: Vec<Option<&&Open>> = (0..files.len())
            .map(|at| files[..at].iter().find(|earlier| earlier.is_twin_of(files[at])))
            .collect();
        for (open, twin) in files.iter().zip(&twins) {
            match twin {
                Some(twin) => {
                    let own = open.facts.close_on_exec;
                    let _ = descriptors::unite(open.descriptor, twin.descriptor, own);
                }
                None => open.restore(),
            }
        }
    }

    /// Whether a file, by device and inode, is open for writing.
    pub fn writes(&self, identity: (u64, u64)) -> bool {
        self.open.iter().any(|open| {
            open.facts.identity == identity && open.facts.flags & libc::O_ACCMODE != libc::O_RDONLY
        })
    }

    /// The numbers of all open descriptors.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.open.iter().map(|open| open.descriptor)
    }
}

/// What the kernel says that a descriptor leads to.
fn name_of(descriptor: RawFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
}

impl Open {
    fn mode(&self) -> i32 {
        self.facts.flags & libc::O_ACCMODE
    }

    /// Whether the program holds a lock by this descriptor.
    fn is_locked(&self) -> bool {
        std::fs::read(format!("/proc/self/fdinfo/{}", self.descriptor)).is_ok_and(|text| {
            text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"lock:"))
        })
    }

    fn is_connection(&self) -> bool {
        self.facts.kind == libc::S_IFSOCK && descriptors::is_connection(self.descriptor)
    }

    /// Whether the program writes the file anew. `emptied`: the path of one that it
    /// has emptied, when that one had this descriptor.
    fn writes_anew(&self, emptied: Option<&PathBuf>) -> bool {
        let appends = self.facts.flags & libc::O_APPEND != 0;
        match self.mode() {
            libc::O_WRONLY => !appends,
            // A file without a name is the program's alone. C's `fopen` sets neither
            // of the flags; a database library does, which may open the same file.
            libc::O_RDWR if !appends => {
                self.facts.names == 0
                    || !self.facts.close_on_exec
                        && self.facts.flags & libc::O_NOFOLLOW == 0
                        && emptied.is_some_and(|path| self.is_at(path))
            }
            _ => false,
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.facts.identity)
    }

    fn is_twin_of(&self, other: &Open) -> bool {
        self.facts.identity == other.facts.identity
            && self.facts.flags == other.facts.flags
            && self.position == other.position
            && descriptors::are_duplicates(self.descriptor, other.descriptor)
    }

    fn restore(&self) {
        // Where it cannot be opened again the description stays shared, and
        // moving it back is as good: its other users are parked or gone.
        if !self.renew().unwrap_or(false) {
            let _ = descriptors::make_private(self.descriptor, &self.facts);
        }
        if self.is_rewritten
            && descriptors::facts(self.descriptor).is_ok_and(|now| now.size > self.facts.size)
        {
            let _ = descriptors::truncate(self.descriptor, self.facts.size);
        }
        if let Some(position) = self.position {
            let _ = descriptors::seek(self.descriptor, position);
        }
    }

    /// Makes a new file, with what was written by then, where the name of a
    /// rewritten one leads elsewhere: the last run has renamed or removed it. Some
    /// other file that has its name now is overwritten, as by a fresh start.
    fn renew(&self) -> io::Result<bool> {
        let Some(path) = &self.name else { return Ok(false) };
        let taken = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
        if taken || self.is_at(path) {
            return Ok(false);
        }
        let own = format!("/proc/self/fd/{}", self.descriptor);
        let mut written = File::open(own)?.take(self.facts.size.unsigned_abs());
        let mut file = OpenOptions::new()
            .read(self.mode() == libc::O_RDWR)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(self.facts.permissions)
            .custom_flags(descriptors::reopening(&self.facts))
            .open(path)?;
        io::copy(&mut written, &mut file)?;
        descriptors::replace(self.descriptor, file.as_fd(), self.facts.close_on_exec)?;
        Ok(true)
    }
}
