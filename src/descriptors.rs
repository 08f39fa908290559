//! What a checkpoint must know about open files, since a clone shares them.
//!
//! A clone has the same *open file descriptions* as its original: reading in
//! one moves the position in the other. So positions are recorded with a
//! checkpoint, and a resumed program gets descriptions of its own, put where
//! they were. A file opened for writing alone is cut back to its size at the
//! checkpoint, as the resumed program will write the rest again; one opened for
//! appending or updating is left as it is. Descriptors that came from outside
//! (the terminal, redirections) are shared with whoever gave them: they are not
//! touched, but for the position of input.
//!
//! Some things no clone can carry: a pipe to a subprocess, whose other end would
//! wait for ever for a parked copy to close it, or a connection, which two
//! programs would talk over in turn. While one is open, no checkpoint is taken.

use crate::sys::descriptors::{self, Facts};
use std::collections::HashSet;
use std::os::fd::RawFd;

/// Device and inode of an open file.
type Identity = (u64, u64);

/// One open descriptor at a checkpoint.
#[derive(Clone, Copy, Debug)]
struct Open {
    descriptor: RawFd,
    facts: Facts,
    position: Option<i64>,
}

/// Why a checkpoint cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A pipe between the program and a subprocess is open.
    Pipe,
    /// A connection is open.
    Connection,
    /// An epoll instance or the like, which clones would share.
    Shared,
}

/// The descriptors open at one moment.
#[derive(Debug)]
pub struct Descriptors(Vec<Open>);

/// The files that were open before the program could open any.
#[derive(Clone, Debug, Default)]
pub struct Outside(HashSet<Identity>);

impl Descriptors {
    /// Looks at every open descriptor of this process.
    pub fn survey() -> Descriptors {
        let mut found = Vec::new();
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            for entry in entries.flatten() {
                let name = entry.file_name();
                // The directory's own descriptor is closed by the time it is used.
                if let Some(descriptor) = name.to_str().and_then(|name| name.parse().ok()) {
                    found.push(descriptor);
                }
            }
        }
        let open = found.into_iter().filter_map(|descriptor: RawFd| {
            let facts = descriptors::facts(descriptor).ok()?;
            let position =
                if facts.kind == libc::S_IFREG { descriptors::position(descriptor) } else { None };
            Some(Open { descriptor, facts, position })
        });
        Descriptors(open.collect())
    }

    /// All of them, as those that came from outside. With `only_standard`, pipes
    /// other than the standard three are the program's own.
    pub fn outside(&self, only_standard: bool) -> Outside {
        let given = self.0.iter().filter(|open| {
            !only_standard || open.descriptor <= 2 || open.facts.kind != libc::S_IFIFO
        });
        Outside(given.map(|open| open.facts.identity).collect())
    }

    /// What, if anything, forbids a checkpoint. `reopens`: the program has said
    /// that it opens its connections anew after a resume.
    pub fn obstacle(&self, outside: &Outside, reopens: bool) -> Option<Obstacle> {
        self.0.iter().filter(|open| !outside.0.contains(&open.facts.identity)).find_map(|open| {
            match open.facts.kind {
                libc::S_IFIFO => Some(Obstacle::Pipe),
                libc::S_IFSOCK
                    if !reopens
                        && descriptors::is_connected(open.descriptor)
                        && !descriptors::is_listening(open.descriptor) =>
                {
                    Some(Obstacle::Connection)
                }
                // epoll, eventfd, timerfd, inotify, io_uring have no type.
                0 if !reopens => Some(Obstacle::Shared),
                _ => None,
            }
        })
    }

    /// In a resumed process: puts every file where it was.
    pub fn restore(&self, outside: &Outside) {
        for open in &self.0 {
            let Some(position) = open.position else { continue };
            let mode = open.facts.flags & libc::O_ACCMODE;
            if outside.0.contains(&open.facts.identity) && mode != libc::O_RDONLY {
                continue;
            }
            // Where it cannot be opened again the description stays shared, and
            // moving it back is as good: its other users are parked or gone.
            let _ = descriptors::make_private(open.descriptor, &open.facts);
            let appends = open.facts.flags & libc::O_APPEND != 0;
            if mode == libc::O_WRONLY && !appends {
                let grown =
                    descriptors::facts(open.descriptor).is_ok_and(|now| now.size > open.facts.size);
                if grown {
                    let _ = descriptors::truncate(open.descriptor, open.facts.size);
                }
            }
            let _ = descriptors::seek(open.descriptor, position);
        }
    }

    /// Whether a file, by device and inode, is open for writing.
    pub fn writes(&self, identity: (u64, u64)) -> bool {
        self.0.iter().any(|open| {
            open.facts.identity == identity && open.facts.flags & libc::O_ACCMODE != libc::O_RDONLY
        })
    }

    /// The numbers of all open descriptors.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.0.iter().map(|open| open.descriptor)
    }
}
