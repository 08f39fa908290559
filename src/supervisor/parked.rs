//! Parked processes: waking them, ending them, and having a spare at hand.

use super::children::send;
use super::resume::Woken;
use super::timeline::Target;
use super::{SPARE, Supervisor};
use crate::files::Stamp;
use crate::sys::process::{is_child, yield_to_all};
use crate::wire::order::{ORDER_RESUME, ORDER_SPARE, WAKE, summons};
use crate::wire::record::Directory;
use nix::unistd::Pid;
use std::sync::atomic::Ordering;

impl Supervisor {
    /// A program killed between making a checkpoint and saying so leaves one
    /// that nobody would ever wake.
    pub(super) fn end_unannounced(&mut self) {
        let pid = self.board.newest_clone.swap(0, Ordering::SeqCst);
        let known = self.timeline.checkpoints().iter().any(|known| known.pid == pid);
        if !known {
            self.end_parked(pid, false);
        }
    }

    /// Has a spare made for the checkpoint that the next edit is likely to need:
    /// the one resumed last, or the newest.
    pub(super) fn have_spare(&mut self) {
        if self.machine.is_ending() {
            return;
        }
        let owner = self.board.spare_of.load(Ordering::SeqCst);
        let spare = self.board.spare.load(Ordering::SeqCst);
        let newest = self.timeline.checkpoints().last().map_or(0, |known| known.pid);
        let wanted = match self.spare_due.take() {
            Some((_, resumed)) => resumed,
            None if owner != 0 => owner,
            None => newest,
        };
        let known = self.timeline.checkpoints().iter().any(|known| known.pid == wanted);
        if !known || wanted == owner && spare > 0 {
            return;
        }
        if owner != 0 && spare == 0 {
            // One is being made. Whoever it is for, it must be known first.
            self.spare_due = Some((self.now() + SPARE, wanted));
            return;
        }
        self.end_spare();
        self.board.spare_of.store(wanted, Ordering::SeqCst);
        self.rouse(wanted, ORDER_SPARE);
    }

    /// The spare of a checkpoint, if there is one.
    pub(super) fn spare(&self, checkpoint: i32) -> Option<i32> {
        let spare = self.board.spare.load(Ordering::SeqCst);
        let is_its = self.board.spare_of.load(Ordering::SeqCst) == checkpoint;
        (is_its && spare > 0).then_some(spare)
    }

    /// The process that was woken is no spare any more.
    pub(super) fn spare_used(&self, woken: &Woken) {
        if woken.pid != woken.mold {
            self.board.spare_of.store(0, Ordering::SeqCst);
        }
    }

    pub(super) fn end_spare(&mut self) {
        // One that is still being made sees this, and ends by itself.
        let owner = self.board.spare_of.swap(0, Ordering::SeqCst);
        let spare = self.board.spare.swap(0, Ordering::SeqCst);
        if spare > 0 {
            let known = self.timeline.checkpoints().iter().find(|known| known.pid == owner);
            self.end_parked(spare, known.is_some_and(|known| known.bare));
        }
    }

    /// Wakes a parked process. False when it is gone.
    pub(super) fn rouse(&self, pid: i32, order: u32) -> bool {
        let overtaken = self.board.wake.swap(summons(pid, order), Ordering::SeqCst);
        if overtaken != 0 && order == ORDER_RESUME {
            // It has not read its order, which was to make a spare, and never will.
            self.board.spare_of.store(0, Ordering::SeqCst);
        }
        if !is_child(pid) {
            return false;
        }
        // In case somebody has stopped the whole process group.
        send(pid, libc::SIGCONT);
        send(pid, WAKE as i32);
        true
    }

    /// Has the program's memory given back, now that its files are closed. Nobody
    /// waits for that.
    pub(super) fn end_keeper(&mut self) {
        let keeper = self.board.keeper.swap(0, Ordering::SeqCst);
        if keeper > 0 {
            self.end_parked(keeper, true);
        }
    }

    pub(super) fn end_checkpoint(&mut self, pid: i32) {
        if self.board.spare_of.load(Ordering::SeqCst) == pid {
            self.end_spare();
        }
        let Some(ended) = self.timeline.remove(pid) else { return };
        self.emit("drop", |event| event.plain("checkpoint", ended.index));
        self.end_parked(pid, ended.bare);
    }

    /// Ends a parked process. One that keeps nothing open need not be waited for,
    /// and giving its memory back may take as long as that of a program.
    pub(super) fn end_parked(&mut self, pid: i32, bare: bool) {
        // It may have been killed by somebody else, and reaped: then nothing more
        // will be heard of it.
        if !is_child(pid) {
            return;
        }
        if bare {
            self.releasing.insert(pid);
            yield_to_all(Pid::from_raw(pid));
        } else {
            self.dying.insert(pid);
        }
        send(pid, libc::SIGKILL);
    }

    /// Ends the checkpoints of a program that had gone to a directory that is not there
    /// any more, or is another: a fresh start would go to that one. (Where the program
    /// began, it stays whatever becomes of the name, and so does a shell.)
    pub(super) fn end_misplaced(&mut self) {
        let is_misplaced = |directory: &Directory| {
            Stamp::of_file(&directory.path).identity() != Some(directory.identity)
        };
        let misplaced: Vec<i32> = self
            .timeline
            .checkpoints()
            .iter()
            .filter(|known| known.directory.as_ref().is_some_and(is_misplaced))
            .map(|known| known.pid)
            .collect();
        for pid in misplaced {
            self.end_checkpoint(pid);
        }
    }

    pub(super) fn end_checkpoints_after(&mut self, target: Target) {
        let later: Vec<i32> = self.timeline.after(target).iter().map(|known| known.pid).collect();
        for pid in later {
            self.end_checkpoint(pid);
        }
    }
}
