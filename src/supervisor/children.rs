//! What happens to processes: signals that come, children that end, and who is left.

use super::files::restamp;
use super::machine::Event;
use super::{SPARE, Supervisor, milliseconds, processes};
use crate::sys::process::Fate;
use crate::sys::signals::{self, Received};
use crate::timeline::Target;
use crate::watch::{PathId, Touch};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Supervisor<'_> {
    pub(super) fn signalled(&mut self, signal: Received) {
        match Signal::try_from(signal.number) {
            Ok(Signal::SIGINT) => {
                self.feed(Event::Interrupt { from_terminal: signal.from_kernel });
            }
            Ok(Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT) => {
                self.feed(Event::Terminate(signal.number));
            }
            Ok(Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) => {
                self.feed(Event::Suspend(signal.number));
            }
            Ok(Signal::SIGCONT) => self.continue_program(),
            // The pid that the shell knows is ours, so what is sent there is
            // meant for the program.
            Ok(Signal::SIGUSR1 | Signal::SIGUSR2 | Signal::SIGALRM) if !signal.from_kernel => {
                if let Some(program) = self.program {
                    send(program, signal.number);
                }
            }
            _ => {}
        }
    }

    pub(super) fn child_changed(&mut self, pid: i32, fate: Fate) {
        match fate {
            Fate::Exited(status) => self.child_ended(pid, status),
            Fate::Killed(signal) => self.child_ended(pid, 128 + signal),
            Fate::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))
                if Some(pid) == self.program =>
            {
                self.feed(Event::Suspended(signal));
            }
            Fate::Stopped(_) => {}
        }
    }

    /// Who killed the program kept it from reading what the last run did, which a
    /// cold run would read: a change to that must not go unnoticed. Only once,
    /// however, does a change that came before count, as it may be the program's
    /// own, and it may have killed itself.
    fn revive(&mut self) {
        for (path, mut known) in std::mem::take(&mut self.unread) {
            let is_first = self.revived.insert(path);
            if !is_first {
                known.stamp = restamp(known.stamp, self.watcher.path(path));
                known.content = None;
            }
            self.timeline.depend(path, known);
            self.judge(path, Touch::default());
        }
    }

    pub(super) fn child_ended(&mut self, pid: i32, status: i32) {
        self.dying.remove(&pid);
        self.releasing.remove(&pid);
        // -1, not 0: no other is being made.
        let _ = self.board.spare.compare_exchange(pid, -1, Ordering::SeqCst, Ordering::SeqCst);
        let _ = self.board.keeper.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
        if self.board.spare_of.load(Ordering::SeqCst) == pid {
            self.end_spare();
        }
        self.timeline.remove(pid);
        if self.machine.is_waking() && pid == self.board.program.load(Ordering::SeqCst) {
            // It was put back, and ended before it could say so.
            self.program = Some(pid);
            self.resumed();
        }
        if self.program == Some(pid) {
            self.program = None;
            self.run_took = Some(self.run_began.elapsed());
            self.end_unannounced();
            self.end_keeper();
            if status >= 128 && !self.machine.is_stopping() {
                self.revive();
            }
            self.unread.clear();
            // It has closed its files, and will cause no more events.
            self.touched = self.watcher.read();
            self.judge_touched();
            // Where there are no events at all, its last word is seen now.
            let written: Vec<PathId> = self.own.keys().copied().collect();
            for path in written {
                self.judge(path, Touch::default());
            }
            self.own.clear();
            self.emit("exit", |event| event.plain("status", status));
            self.have_spare();
            self.feed(Event::Ended(status));
        } else if self.waking.as_ref().is_some_and(|woken| woken.pid == pid)
            && self.board.program.load(Ordering::SeqCst) == 0
        {
            self.wake_failed();
        }
    }

    /// The process to be woken has ended: try the next best.
    pub(super) fn wake_failed(&mut self) {
        let Some(woken) = self.waking.take() else { return };
        self.spare_used(&woken);
        self.wanted = Some(self.timeline.at_or_before(woken.index));
        self.unsent = woken.changed;
        self.feed(Event::WakeFailed);
    }

    /// The woken checkpoint has put the program back.
    pub(super) fn resumed(&mut self) {
        if let Some(woken) = self.waking.take() {
            self.spare_used(&woken);
            self.spare_due = Some((self.now() + SPARE, woken.mold));
            self.run_began = Instant::now() - woken.at;
            self.run_took = None;
            let (count, program) = (self.resumes, self.program.unwrap_or(0));
            self.emit("resume", |event| {
                let event = event
                    .plain("checkpoint", woken.index)
                    .string("name", &woken.name)
                    .strings("changed", woken.changed.iter().map(Vec::as_slice))
                    .plain("program", program)
                    .plain("count", count);
                match woken.since {
                    Some(since) => event.plain("milliseconds", milliseconds(since.elapsed())),
                    None => event,
                }
            });
        }
        self.feed(Event::Resumed);
    }

    pub(super) fn continue_program(&self) {
        if let Some(program) = self.program.filter(|program| processes::is_stopped(*program)) {
            send(program, libc::SIGCONT);
        }
    }

    /// Processes of the session that are neither the program nor checkpoints.
    pub(super) fn others(&self) -> Vec<i32> {
        processes::descendants(&self.known())
    }

    pub(super) fn known(&self) -> HashSet<i32> {
        let mut known: HashSet<i32> = self.dying.clone();
        known.extend(self.timeline.checkpoints().iter().map(|known| known.pid));
        known.insert(self.board.spare.load(Ordering::SeqCst));
        known.insert(self.board.keeper.load(Ordering::SeqCst));
        known.extend(&self.releasing);
        known
    }

    /// What the last run started after the resume point and has left behind. What
    /// it started before lives on, together with the children that it has now.
    pub(super) fn leftovers(&self) -> Vec<i32> {
        let since = self.clearing.flatten();
        let mut spared = self.known();
        spared.extend(
            processes::descendants(&spared)
                .into_iter()
                .filter(|pid| processes::started(*pid).is_none_or(|at| Some(at) <= since)),
        );
        let mut leftovers = processes::descendants(&spared);
        leftovers.retain(|pid| processes::is_alive(*pid));
        leftovers
    }

    pub(super) fn check_cleared(&mut self) {
        // The next image of this process must not find children it does not know.
        let restarts = self.target().0 == Target::Start;
        let gone = self.dying.is_empty() && (self.releasing.is_empty() || !restarts);
        let leftovers = self.leftovers();
        self.ask_to_end(&leftovers);
        if gone && leftovers.is_empty() {
            self.feed(Event::Cleared);
        }
    }

    pub(super) fn check_all_gone(&mut self) {
        // The end may have begun before the program's last records were read.
        self.end_checkpoints_after(Target::Start);
        self.ask_to_end(&self.others());
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        // A child that has ended but is not reaped yet is so in the next turn.
        if waitid(Id::All, flags) == Err(Errno::ECHILD) {
            self.feed(Event::AllGone);
        }
    }
}

/// A signal to a process that may be gone, which is as good.
pub(super) fn send(pid: i32, signal: i32) {
    let _ = signals::send(Pid::from_raw(pid), signal);
}
