//! Why a checkpoint was not taken, in words.

use super::carried::Obstacle;
use nix::errno::Errno;

/// Why a checkpoint was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The program has this many threads, of which a clone would have one.
    Threads(u64),
    /// `/proc` is not mounted where the program is now.
    NoProc,
    /// Something open cannot be carried over.
    Obstacle(Obstacle),
    /// The kernel refused.
    Clone(Errno),
}

impl std::fmt::Display for Declined {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Declined::Threads(count) => write!(
                out,
                "the program has {count} threads and a checkpoint can carry only one; \
                 changes resume from the checkpoint before"
            ),
            Declined::NoProc => out.write_str(
                "/proc is not mounted, and a checkpoint needs it; \
                 changes resume from the checkpoint before",
            ),
            Declined::Obstacle(Obstacle::Pipe) => out.write_str(
                "a pipe to a subprocess is open, which a checkpoint would keep from closing",
            ),
            Declined::Obstacle(Obstacle::Connection) => out.write_str(
                "a connection is open, which a checkpoint cannot carry unless on_resume reopens it",
            ),
            Declined::Obstacle(Obstacle::Shared) => out.write_str(
                "an event queue is open, which a checkpoint cannot carry unless on_resume reopens it",
            ),
            Declined::Obstacle(Obstacle::Lock) => out.write_str(
                "a file is locked, which a checkpoint would keep locked",
            ),
            Declined::Obstacle(Obstacle::NoDescriptor) => out.write_str(
                "there is no descriptor left (see `ulimit -n`) to look at the open files with",
            ),
            Declined::Obstacle(Obstacle::NoMemory) => out.write_str(
                "there is no memory left to look at the open files with; \
                 changes resume from the checkpoint before",
            ),
            Declined::Clone(Errno::EAGAIN) => out.write_str(
                "no process could be had (EAGAIN; see `ulimit -u` and the cgroup's pids.max); \
                 changes resume from the checkpoint before",
            ),
            Declined::Clone(error) => {
                write!(out, "the process could not be cloned: {error}; changes resume from the checkpoint before")
            }
        }
    }
}

/// What one warning in a session is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The program has threads.
    Threads,
    /// It cannot be cloned.
    Clone,
    /// It has gone to another root.
    Root,
    /// A path of its is too long.
    Length,
}

impl Declined {
    /// Why, in a clause, where that is something of the program's that may go away again.
    pub fn bar(self) -> Option<&'static str> {
        match self {
            Declined::Threads(_) => Some("there is more than one thread"),
            Declined::Obstacle(Obstacle::Pipe) => Some("a pipe to a subprocess is open"),
            Declined::Obstacle(Obstacle::Connection) => Some("a connection is open"),
            Declined::Obstacle(Obstacle::Shared) => Some("an event queue is open"),
            Declined::Obstacle(Obstacle::Lock) => Some("a file is locked"),
            _ => None,
        }
    }

    /// What to warn of. Nothing where closing something is enough: the file joins a
    /// checkpoint until then.
    pub fn subject(self) -> Option<Subject> {
        match self {
            Declined::Threads(_) => Some(Subject::Threads),
            Declined::Clone(_) | Declined::NoProc | Declined::Obstacle(Obstacle::NoMemory) => {
                Some(Subject::Clone)
            }
            Declined::Obstacle(_) => None,
        }
    }
}

impl Subject {
    /// What the board remembers it by: no absolute path, and no sentence.
    pub fn key(self) -> &'static [u8] {
        match self {
            Subject::Threads => b"threads",
            Subject::Clone => b"clone",
            Subject::Root => b"root",
            Subject::Length => b"length",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_to_be_done_about_is_one_subject() {
        assert_eq!(Declined::NoProc.subject(), Declined::Clone(Errno::EAGAIN).subject());
        assert_eq!(Declined::Obstacle(Obstacle::Pipe).subject(), None);
    }
}
