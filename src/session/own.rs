//! Who belongs to a session: the one place that says so.
//!
//! Theory of operation. The supervisor takes in orphans, so everything that the program
//! has started descends from it, however it was started, and nobody else does. What the
//! shell had started before it became this session, what a container gives to its process
//! 1 and who visits it are the guard's children, or nobody's, and left alone. Of what
//! descends from the supervisor, what it knows by name (the program's checkpoints, spares,
//! keepers) is left out by whoever asks. What a run has started after its resume point is
//! a *leftover* of that run; what it started before lives on, together with the children
//! that it has now. What has become another user's (`sudo`) cannot be ended, and so is
//! not waited for: it is *foreign*.
//!
//! Only when the supervisor is killed, the guard inherits what it leaves, and has to tell
//! that from its own older children, and from what it was given: whom it has seen among
//! its children while the supervisor lived is a *stranger*.

use crate::sys::process::own_pid;
use crate::sys::procfs::{self, Started};
use crate::sys::signals;
use nix::errno::Errno;
use nix::unistd::Pid;
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
            (Since::Checkpoint(since), Some(started)) => {
                !started.is_after(since, procfs::most_pids())
            }
        }
    }
}

/// Everything that belongs to the session whose supervisor this process is, apart from
/// `except` and what descends from those.
pub fn descendants(except: &HashSet<i32>) -> Vec<i32> {
    procfs::descendants(&[own_pid()], except)
}

/// Parts processes into those that can be ended, and the foreign ones.
pub fn part(pids: Vec<i32>) -> (Vec<i32>, Vec<i32>) {
    pids.into_iter().partition(|pid| signals::send(Pid::from_raw(*pid), 0) != Err(Errno::EPERM))
}

/// What the last run started after the resume point and has left behind, apart from the
/// processes that are `known`.
pub fn leftovers(known: HashSet<i32>, since: Since) -> Vec<i32> {
    let mut spared = known;
    let all = descendants(&spared);
    if all.is_empty() {
        return all;
    }
    spared.extend(all.into_iter().filter(|pid| since.is_after(procfs::started(*pid))));
    let mut leftovers = descendants(&spared);
    leftovers.retain(|pid| procfs::is_alive(*pid));
    leftovers
}

/// The children of the guard, this process, that no supervisor has left to it.
#[derive(Debug, Default)]
pub struct Strangers(HashSet<i32>);

impl Strangers {
    /// Looks at the children there are, while the supervisor lives.
    pub fn look(&mut self, supervisor: Pid) {
        let children = procfs::children(own_pid().as_raw());
        self.0.extend(children.into_iter().filter(|child| *child != supervisor.as_raw()));
    }

    /// This one has ended, and its number may go to another.
    pub fn ended(&mut self, pid: i32) {
        self.0.remove(&pid);
    }

    /// Kills what a supervisor that was killed has left to this process. Whether any of it
    /// is still to be waited for.
    pub fn kill_others(&self) -> bool {
        let mut left = procfs::descendants(&[own_pid()], &self.0);
        left.retain(|pid| signals::send(Pid::from_raw(*pid), libc::SIGKILL) != Err(Errno::EPERM));
        !left.is_empty()
    }
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
        let left = |since| {
            let mut left = leftovers(HashSet::from([checkpoint]), since);
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
