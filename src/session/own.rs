//! Who belongs to a session: the one place that says so.
//!
//! Theory of operation. Guard and supervisor both take in orphans, so everything that
//! the program has started descends from one of them, however it was started. What the
//! supervisor knows by name (the program's checkpoints, spares, keepers) is left out by
//! whoever asks. What a run has started after its resume point is a *leftover* of that
//! run; what it started before lives on, together with the children that it has now.

use crate::sys::procfs::{self, Started};
use crate::sys::signals;
use nix::errno::Errno;
use nix::unistd::{Pid, getpid};
use std::collections::HashSet;

/// From where on the processes of a run are its leftovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// The run is done anew from its start: all of them are.
    #[default]
    Always,
    /// The start of the checkpoint that is resumed from: what came after it is.
    Checkpoint(Started),
}

impl Since {
    /// What came after the checkpoint of this process; everything where that is gone.
    pub fn checkpoint(pid: i32) -> Since {
        procfs::started(pid).map_or(Since::Always, Since::Checkpoint)
    }

    /// Whether a process that started then is older. One that is gone is.
    fn is_after(self, started: Option<Started>) -> bool {
        match (self, started) {
            (_, None) => true,
            (Since::Always, Some(_)) => false,
            (Since::Checkpoint(since), Some(started)) => started <= since,
        }
    }
}

/// Everything that belongs to the session whose supervisor this process is, apart from
/// `except` and what descends from those. What was started before there was a
/// supervisor is the guard's.
pub fn descendants(guard: Pid, mut except: HashSet<i32>) -> Vec<i32> {
    let own = getpid();
    except.insert(own.as_raw());
    procfs::descendants(&[own, guard], &except)
}

/// What the last run started after the resume point and has left behind, apart from the
/// processes that are `known`.
pub fn leftovers(guard: Pid, known: HashSet<i32>, since: Since) -> Vec<i32> {
    let mut spared = known;
    let all = descendants(guard, spared.clone());
    if all.is_empty() {
        return all;
    }
    spared.extend(all.into_iter().filter(|pid| since.is_after(procfs::started(*pid))));
    let mut leftovers = descendants(guard, spared);
    leftovers.retain(|pid| procfs::is_alive(*pid));
    leftovers
}

/// Kills what a supervisor that was killed has left to this process, the guard. Whether
/// any of it is still to be waited for: what has become another user's is not ours to
/// end, or to wait for.
pub fn kill_inherited() -> bool {
    let mut left = procfs::descendants(&[getpid()], &HashSet::new());
    left.retain(|pid| signals::send(Pid::from_raw(*pid), libc::SIGKILL) != Err(Errno::EPERM));
    !left.is_empty()
}

/// A signal to a process of the session. It may be gone, which is as good.
pub fn send(pid: i32, signal: i32) {
    let _ = signals::send(Pid::from_raw(pid), signal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn a_leftover_is_what_came_after_the_checkpoint() {
        let mut processes = [sleeper(), sleeper(), sleeper()];
        let [before, checkpoint, after] = [0, 1, 2].map(|at: usize| processes[at].id() as i32);
        // The guard is this process, too: nothing else is there to be one.
        let left = |since| {
            let mut left = leftovers(getpid(), HashSet::from([checkpoint]), since);
            left.retain(|pid| [before, checkpoint, after].contains(pid));
            left.sort_unstable();
            left
        };
        let (from_start, from_checkpoint) =
            (left(Since::Always), left(Since::checkpoint(checkpoint)));
        for process in &mut processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let mut both = [before, after];
        both.sort_unstable();
        assert_eq!(from_start, both);
        assert_eq!(from_checkpoint, [after]);
        assert_eq!(Since::checkpoint(checkpoint), Since::Always, "of one that is gone");
    }
}
