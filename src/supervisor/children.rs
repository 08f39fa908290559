//! What happens to processes: signals that come, children that end, and who is left.

use super::files::restamp;
use super::machine::Event;
use super::timeline::Target;
use super::{SPARE, Supervisor, milliseconds};
use crate::files::{PathId, Touch};
use crate::session::signals::ORPHANED;
use crate::sys::process::{Fate, has_child, is_child};
use crate::sys::procfs;
use crate::sys::signals::{self, Received};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long after a signal its double may come.
const ECHO: Duration = Duration::from_millis(500);

impl Supervisor {
    pub(super) fn signalled(&mut self, signal: Received) {
        let sent = Signal::try_from(signal.number);
        if sent == Ok(ORPHANED) && getppid() != self.guard {
            // Somebody who kills the guard wants no delay.
            self.feed(Event::Terminate(libc::SIGKILL));
            return self.feed(Event::Terminate(libc::SIGKILL));
        }
        if self.is_echo(signal) {
            return;
        }
        match sent {
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
            // What is sent to the pid that the shell knows, the guard passes on: it is
            // meant for the program.
            Ok(Signal::SIGUSR1 | Signal::SIGUSR2 | Signal::SIGALRM) if !signal.from_kernel => {
                self.signal_program(signal.number);
            }
            _ => {}
        }
    }

    /// Takes in interrupts that have come since this turn began.
    pub(super) fn hear_interrupts(&mut self) {
        // Of those that are pending, the lowest is read first, so that none comes that is
        // to wake us up.
        while signals::is_pending(&Signal::SIGINT.into()) {
            let Some(signal) = signals::read_signal(self.signals.as_fd()) else { return };
            self.signalled(signal);
        }
    }

    /// What is sent to the whole process group comes twice: directly and by way of
    /// the guard.
    fn is_echo(&mut self, signal: Received) -> bool {
        if signal.from_kernel {
            return false;
        }
        let (now, by_guard) = (self.now(), signal.sender == self.guard);
        match self.heard.remove(&signal.number) {
            Some((other, at)) if other != by_guard && now < at + ECHO => true,
            _ => {
                self.heard.insert(signal.number, (by_guard, now));
                false
            }
        }
    }

    pub(super) fn child_changed(&mut self, pid: i32, fate: Fate) {
        match fate {
            Fate::Exited(status) => self.child_ended(pid, status),
            Fate::Killed(signal) => self.child_ended(pid, 128 + signal),
            // It may be stopped before it has said that it is the program.
            Fate::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))
                if Some(pid) == self.program || Some(pid) == self.woken_program() =>
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
    pub(super) fn revive(&mut self) {
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
        if self.woken_program() == Some(pid) {
            // It was put back, and ended before it could say so.
            self.program = Some(pid);
            self.resumed();
        }
        if self.program == Some(pid) {
            self.program = None;
            self.run_took = Some(self.run_began.elapsed());
            self.end_unannounced();
            self.end_keeper();
            // What ends before `enable()` may do so for any of what the last run read.
            if (self.starting || status >= 128) && !self.machine.is_stopping() {
                self.revive();
            }
            if !self.starting {
                self.unread.clear();
            }
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

    /// The program that was woken, when there is one that has not said so yet.
    fn woken_program(&self) -> Option<i32> {
        let woken = self.machine.is_waking().then(|| self.board.program.load(Ordering::SeqCst));
        woken.filter(|pid| *pid > 0)
    }

    pub(super) fn continue_program(&self) {
        let program = self.woken_program().or(self.program);
        if let Some(pid) = program.filter(|pid| is_child(*pid) && procfs::is_stopped(*pid)) {
            send(pid, libc::SIGCONT);
        }
    }

    /// Sends the program a signal, if it is still there: it may have been reaped in
    /// this very turn.
    pub(super) fn signal_program(&self, signal: i32) {
        if let Some(program) = self.program.filter(|program| is_child(*program)) {
            send(program, signal);
        }
    }

    /// Processes of the session that are neither the program nor checkpoints.
    pub(super) fn others(&self) -> Vec<i32> {
        self.descendants(self.known())
    }

    /// Everything that belongs to the session, apart from `except` and what descends
    /// from those: what was started before there was a supervisor is the guard's.
    pub(super) fn descendants(&self, mut except: HashSet<i32>) -> Vec<i32> {
        let own = getpid();
        except.insert(own.as_raw());
        procfs::descendants(&[own, self.guard], &except)
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
        let all = self.descendants(spared.clone());
        if all.is_empty() {
            return all;
        }
        let is_older = |pid: &i32| procfs::started(*pid).is_none_or(|at| Some(at) <= since);
        spared.extend(all.into_iter().filter(is_older));
        let mut leftovers = self.descendants(spared);
        leftovers.retain(|pid| procfs::is_alive(*pid));
        leftovers
    }

    pub(super) fn check_cleared(&mut self) {
        let leftovers = self.leftovers();
        self.ask_to_end(&leftovers);
        if self.dying.is_empty() && leftovers.is_empty() {
            self.feed(Event::Cleared);
        }
    }

    pub(super) fn check_all_gone(&mut self) {
        // The end may have begun before the program's last records were read.
        self.end_checkpoints_after(Target::Start);
        let mut others = self.others();
        self.ask_to_end(&others);
        others.retain(|pid| procfs::is_alive(*pid));
        // A child that has ended but is not reaped yet is so in the next turn.
        if !has_child() && others.is_empty() {
            self.feed(Event::AllGone);
        }
    }
}

/// A signal to a process that may be gone, which is as good.
pub(super) fn send(pid: i32, signal: i32) {
    let _ = signals::send(Pid::from_raw(pid), signal);
}
