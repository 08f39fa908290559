//! What is heard of a path, and why nothing may be heard.

use nix::errno::Errno;
use std::path::PathBuf;

/// A path that was ever watched in this session.
pub type PathId = u32;

/// What happened to a path, as far as the events tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Somebody closed it after writing, or moved something there: it is whole.
    pub completed: bool,
    /// More than once: what was there in between need not be what is there now.
    pub again: bool,
    /// Somebody has written to it, or cut it; more may follow.
    pub written: bool,
    /// It was created; more is likely to be written.
    pub created: bool,
    /// It was deleted or moved away.
    pub removed: bool,
    /// A directory or a link on the way was moved or replaced, and may have been so
    /// only for a moment: what was read meanwhile need not be what is there again.
    pub rerouted: bool,
}

impl Touch {
    /// This has happened, too.
    pub fn add(&mut self, other: Touch) {
        self.completed |= other.completed;
        self.again |= other.again;
        self.written |= other.written;
        self.created |= other.created;
        self.removed |= other.removed;
        self.rerouted |= other.rerouted;
    }
}

/// Why paths are polled instead of watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// `fs.inotify.max_user_instances` is reached, or there is no inotify.
    NoInstance(Errno),
    /// `fs.inotify.max_user_watches` is reached.
    NoWatches,
    /// The directory is on a file system that reports no changes made elsewhere.
    Remote(PathBuf),
    /// The directory cannot be watched.
    Unwatchable(PathBuf, Errno),
}
