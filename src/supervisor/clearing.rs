//! Clearing away: what has to be gone before a resume, or before the session's end, and
//! who has been asked to go.

use crate::session::own::{self, Since, send};
use crate::sys::process::{has_child, own_pid};
use crate::sys::procfs;
use std::collections::HashSet;

/// Whom the last run has left behind.
#[derive(Debug, Default)]
pub struct Clearing {
    /// From where on the leftovers of the last run are counted.
    since: Since,
    /// Who has been asked to end since clearing began.
    asked: HashSet<i32>,
    /// A warning of what cannot be ended, to be given.
    warning: Option<String>,
    /// And that it has been made, once.
    has_warned: bool,
}

impl Clearing {
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

    /// What is left of the last run, apart from what is `known` and what is foreign.
    pub fn leftovers(&mut self, known: HashSet<i32>) -> Vec<i32> {
        let (leftovers, foreign) = own::part(own::leftovers(known, self.since));
        self.note(&foreign);
        leftovers
    }

    /// Everything that belongs to the session, apart from `except`, from what descends
    /// from those, and from what is foreign.
    pub fn everything(&mut self, except: &HashSet<i32>) -> Vec<i32> {
        let (all, foreign) = own::part(own::descendants(except));
        self.note(&foreign);
        all
    }

    /// Whether this process has no children that it waits for.
    pub fn is_alone(&self) -> bool {
        !has_child()
            || self.has_warned && own::part(procfs::children(own_pid().as_raw())).0.is_empty()
    }

    /// What there is to be warned of since the last call.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    fn note(&mut self, foreign: &[i32]) {
        let alive = foreign.iter().find(|pid| procfs::is_alive(**pid));
        if let (Some(&pid), false) = (alive, self.has_warned) {
            self.has_warned = true;
            self.warning = Some(format!(
                "process {pid} ({}) belongs to another user: it cannot be ended, and goes on",
                procfs::name(pid)
            ));
        }
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
        let mut clearing = Clearing::default();
        clearing.is_asked(pid);
        clearing.ask(&[pid], libc::SIGKILL);
        clearing.begin(Since::Always);
        clearing.ask(&[pid], libc::SIGTERM);
        clearing.ask(&[pid], libc::SIGKILL);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }
}
