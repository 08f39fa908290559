//! Clearing away: what has to be gone before a resume, or before the session's end, and
//! who has been asked to go.

use crate::session::own::{self, Since, send};
use nix::unistd::Pid;
use std::collections::HashSet;

/// Whom the last run has left behind.
#[derive(Debug)]
pub struct Clearing {
    guard: Pid,
    /// From where on the leftovers of the last run are counted.
    since: Since,
    /// Who has been asked to end since clearing began.
    asked: HashSet<i32>,
}

impl Clearing {
    /// Nothing is being cleared away.
    pub fn new(guard: Pid) -> Clearing {
        Clearing { guard, since: Since::Always, asked: HashSet::new() }
    }

    /// What came since then is to go. Nobody has been asked for it.
    pub fn begin(&mut self, since: Since) {
        self.since = since;
        self.asked.clear();
    }

    /// Asks processes to end, each once: more may be forked while they do.
    pub fn ask(&mut self, pids: &[i32], stop_signal: i32) {
        for &pid in pids {
            if self.asked.insert(pid) {
                send(pid, stop_signal);
                // A stopped process gets to see it only when it goes on.
                send(pid, libc::SIGCONT);
            }
        }
    }

    /// This process is asked in another way.
    pub fn is_asked(&mut self, pid: i32) {
        self.asked.insert(pid);
    }

    /// What is left of the last run, apart from what is `known`.
    pub fn leftovers(&self, known: HashSet<i32>) -> Vec<i32> {
        own::leftovers(self.guard, known, self.since)
    }

    /// Everything that belongs to the session, apart from `except` and what descends
    /// from those.
    pub fn everything(&self, except: HashSet<i32>) -> Vec<i32> {
        own::descendants(self.guard, except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn everybody_is_asked_once_each_time() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let mut clearing = Clearing::new(nix::unistd::getpid());
        clearing.is_asked(pid);
        clearing.ask(&[pid], libc::SIGKILL);
        clearing.begin(Since::Always);
        clearing.ask(&[pid], libc::SIGTERM);
        clearing.ask(&[pid], libc::SIGKILL);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }
}
