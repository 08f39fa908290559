//! What happens to processes: signals that come, children that end, and who is left.

use super::machine::Event;
use super::timeline::Target;
use super::{Supervisor, milliseconds};
use crate::files::Touch;
use crate::session::own::send;
use crate::session::signals::ORPHANED;
use crate::sys::descriptors::has_reader;
use crate::sys::process::{Fate, is_child};
use crate::sys::procfs;
use crate::sys::signals::Received;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

impl Supervisor {
    pub(super) fn signalled(&mut self, signal: Received) {
        let sent = Signal::try_from(signal.number);
        if sent == Ok(ORPHANED) && getppid() != self.birth.guard() {
            // Somebody who kills the guard wants no delay.
            self.feed(Event::Terminate(libc::SIGKILL));
            return self.feed(Event::Terminate(libc::SIGKILL));
        }
        if self.inbox.is_echo(signal, self.birth.guard(), self.birth.now()) {
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
            // meant for the program. What others send to this process they send to the
            // whole group, and so to the program, too.
            Ok(Signal::SIGUSR1 | Signal::SIGUSR2 | Signal::SIGALRM)
                if signal.sender == self.birth.guard() =>
            {
                self.run.signal(signal.number);
            }
            _ => {}
        }
    }

    pub(super) fn child_changed(&mut self, pid: i32, fate: Fate) {
        self.outlets.trace("child", || format!("{pid} {fate:?}"));
        match fate {
            Fate::Exited(status) => self.child_ended(pid, status),
            Fate::Killed(signal) => self.child_ended(pid, 128 + signal),
            // It may be stopped before it has said that it is the program.
            Fate::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))
                if Some(pid) == self.run.program() || Some(pid) == self.woken_program() =>
            {
                self.feed(Event::Suspended(signal));
            }
            Fate::Stopped(_) => {}
        }
    }

    fn child_ended(&mut self, pid: i32, status: i32) {
        self.copies.reaped(pid, &self.timeline);
        self.timeline.remove(pid);
        if self.woken_program() == Some(pid) {
            // It was put back, and ended before it could say so.
            self.run.is_now(pid);
            self.resumed();
            self.decide();
        }
        if self.run.program() == Some(pid) {
            self.program_ended(status);
        } else if self.copies.is_waking(pid) {
            self.wake_failed();
        }
    }

    fn program_ended(&mut self, status: i32) {
        self.run.ended();
        if status == 128 + libc::SIGPIPE && !has_reader(libc::STDOUT_FILENO) {
            // It has died of that nobody reads its output any more (`| head`), and as none
            // of the next runs would be read either, the session ends as it did.
            self.feed(Event::Terminate(libc::SIGPIPE));
        }
        self.copies.end_unannounced(&self.timeline);
        self.copies.end_keeper();
        // What ends before `enable()` may do so for any of what the last run read.
        let is_starting = self.run.is_starting();
        if (is_starting || status >= 128) && !self.agenda.machine().is_stopping() {
            self.revive();
            self.decide();
        }
        if !is_starting {
            self.former.forget_unread();
        }
        // It has closed its files, and will cause no more events.
        self.sight.read();
        self.judge_touched();
        // Where there are no events at all, its last word is seen now.
        for path in self.sight.announced() {
            self.judge(path, Touch::default());
        }
        self.sight.forget_announced();
        self.waited();
        self.outlets.emit("exit", |event| event.plain("status", status));
        self.have_spare();
        self.feed(Event::Ended(status));
    }

    /// What a run that was killed did not get to read counts again.
    pub(super) fn revive(&mut self) {
        for (path, known) in self.former.revive(|path, known| self.sight.renew(path, known)) {
            self.timeline.depend(path, known);
            self.judge(path, Touch::default());
        }
    }

    /// The process to be woken has ended: try the next best.
    pub(super) fn wake_failed(&mut self) {
        let Some(woken) = self.copies.wake_failed() else { return };
        self.pending.failed(self.timeline.at_or_before(woken.index), woken.changed);
        self.feed(Event::WakeFailed);
    }

    /// The woken checkpoint has put the program back.
    pub(super) fn resumed(&mut self) {
        if let Some(woken) = self.copies.answered(self.birth.now()) {
            self.run.resumed(woken.at);
            let (count, program) = (self.run.resumes(), self.run.program().unwrap_or(0));
            self.outlets.trace("resumed", || format!("{program} by {}", woken.pid));
            self.outlets.emit("resume", |event| {
                let event = event
                    .plain("checkpoint", woken.index)
                    .string("name", &woken.name)
                    .strings("changed", woken.changed.iter().map(Vec::as_slice))
                    .plain("program", program)
                    .plain("count", count);
                let event = match woken.line {
                    Some(line) => event.plain("line", line),
                    None => event,
                };
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
        self.agenda.machine().is_waking().then(|| self.copies.put_back()).flatten()
    }

    pub(super) fn continue_program(&self) {
        let program = self.woken_program().or(self.run.program());
        if let Some(pid) = program.filter(|pid| is_child(*pid) && procfs::is_stopped(*pid)) {
            send(pid, libc::SIGCONT);
        }
    }

    /// What the last run started after the resume point and has left behind.
    pub(super) fn leftovers(&mut self) -> Vec<i32> {
        self.clearing.leftovers(self.copies.known(&self.timeline))
    }

    /// Looks whether those are gone that are waited for.
    pub(super) fn check_gone(&mut self) {
        if self.agenda.machine().is_clearing() {
            self.check_cleared();
            self.decide();
        }
        if self.agenda.machine().is_ending() {
            self.check_all_gone();
        }
    }

    pub(super) fn check_cleared(&mut self) {
        let leftovers = self.leftovers();
        self.clearing.ask(&leftovers, self.settings.stop_signal);
        if !self.copies.has_dying() && leftovers.is_empty() {
            self.feed(Event::Cleared);
        }
    }

    fn check_all_gone(&mut self) {
        // The end may have begun before the program's last records were read.
        self.end_checkpoints_after(Target::Start);
        let mut others = self.others();
        self.clearing.ask(&others, self.settings.stop_signal);
        others.retain(|pid| procfs::is_alive(*pid));
        // A child that has ended but is not reaped yet is so in the next turn.
        if self.clearing.is_alone() && others.is_empty() {
            self.feed(Event::AllGone);
        }
    }

    /// Processes of the session that are neither the program nor checkpoints.
    pub(super) fn others(&mut self) -> Vec<i32> {
        self.clearing.everything(&self.copies.known(&self.timeline))
    }
}
