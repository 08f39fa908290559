//! The parked processes: waking them, ending them, and having a spare at hand.

use super::machine::Time;
use super::timeline::{Checkpoint, Timeline};
use crate::session::own::send;
use crate::sys::process::{is_child, yield_to_all};
use crate::sys::shared::Shared;
use crate::wire::board::{Board, MAIL_BYTES};
use crate::wire::letter::Letter;
use crate::wire::order::{ORDER_RESUME, ORDER_SPARE, WAKE, summons};
use crate::wire::record::Index;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a resumed program has the processor for itself before its checkpoint
/// is told to make another spare.
const SPARE: Duration = Duration::from_millis(30);

/// A checkpoint on its way to being the program.
pub struct Woken {
    /// The process woken: the checkpoint itself, or its spare.
    pub pid: i32,
    /// The checkpoint's process.
    pub mold: i32,
    /// Its place in the run.
    pub index: Index,
    /// What people call it.
    pub name: Vec<u8>,
    /// The line from which on it reads the file that it is named for, where it is to go on
    /// reading that.
    pub line: Option<u32>,
    /// When in the run it was taken.
    pub at: Duration,
    /// The paths that it is woken for.
    pub changed: Vec<Vec<u8>>,
    /// When the first change was seen; `None` when somebody asked for it.
    pub since: Option<Instant>,
}

impl Woken {
    /// The checkpoint itself, as long as its spare is not taken in its place.
    pub fn new(checkpoint: &Checkpoint, changed: Vec<Vec<u8>>, since: Option<Instant>) -> Woken {
        Woken {
            pid: checkpoint.pid,
            mold: checkpoint.pid,
            index: checkpoint.index,
            name: checkpoint.title().into_owned(),
            line: checkpoint.line(),
            at: Duration::from_micros(checkpoint.at),
            changed,
            since,
        }
    }
}

/// The parked copies of the program, and what the board says of them.
pub struct Copies {
    board: Shared<Board>,
    /// Parked processes that were killed and must be gone before a resume, as they keep
    /// something open.
    dying: HashSet<i32>,
    /// Processes that were killed and have nothing open: keepers that give a program's
    /// memory back, checkpoints. Nobody waits for them.
    releasing: HashSet<i32>,
    /// The checkpoint that was woken and has not answered.
    waking: Option<Woken>,
    /// When to have a spare made for this checkpoint.
    spare_due: Option<(Time, i32)>,
}

impl Copies {
    /// There are none yet.
    pub fn new(board: Shared<Board>) -> Copies {
        Copies {
            board,
            dying: HashSet::new(),
            releasing: HashSet::new(),
            waking: None,
            spare_due: None,
        }
    }

    /// When a spare is due.
    pub fn deadline(&self) -> Option<Time> {
        self.spare_due.map(|(at, _)| at)
    }

    /// All of them by their numbers, those that are about to be gone included.
    pub fn known(&self, timeline: &Timeline) -> HashSet<i32> {
        let mut known: HashSet<i32> = self.dying.clone();
        known.extend(timeline.checkpoints().iter().map(|known| known.pid));
        known.insert(self.board.spare.load(Ordering::SeqCst));
        known.insert(self.board.keeper.load(Ordering::SeqCst));
        known.extend(&self.releasing);
        known
    }

    /// Whether one that has to be gone before a resume is not.
    pub fn has_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// The number of the spare that is at hand; 0 when there is none.
    pub fn spare_at_hand(&self) -> i32 {
        self.board.spare.load(Ordering::SeqCst).max(0)
    }

    /// The program that the woken checkpoint has put back, as the kernel tells.
    pub fn put_back(&self) -> Option<i32> {
        Some(self.board.program.load(Ordering::SeqCst)).filter(|pid| *pid > 0)
    }

    /// The program has told of a checkpoint that it made.
    pub fn announced(&self, pid: i32) {
        let newest = &self.board.newest_clone;
        let _ = newest.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// A process was reaped, which may have been one of them.
    pub fn reaped(&mut self, pid: i32, timeline: &Timeline) {
        self.dying.remove(&pid);
        self.releasing.remove(&pid);
        // -1, not 0: no other is being made.
        let _ = self.board.spare.compare_exchange(pid, -1, Ordering::SeqCst, Ordering::SeqCst);
        let _ = self.board.keeper.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
        if self.board.spare_of.load(Ordering::SeqCst) == pid {
            self.end_spare(timeline);
        }
    }

    /// Whether this is the process that was woken, and it has not put the program back.
    pub fn is_waking(&self, pid: i32) -> bool {
        self.waking.as_ref().is_some_and(|woken| woken.pid == pid) && self.put_back().is_none()
    }

    /// Wakes a checkpoint, or its spare in its place, with this letter. The process that
    /// was to be woken when it is gone.
    pub fn wake(&mut self, mut woken: Woken, letter: &Letter) -> Result<(), i32> {
        self.board.post(&letter.encode(MAIL_BYTES));
        if let Some(spare) = self.spare(woken.mold) {
            // It need not be cloned first. Whose it is stays on the board: it may be so new
            // that it has yet to read that, and it ends if it is nobody's.
            woken.pid = spare;
            self.board.spare.store(0, Ordering::SeqCst);
        }
        let pid = woken.pid;
        self.waking = Some(woken);
        self.board.program.store(0, Ordering::SeqCst);
        if self.rouse(pid, ORDER_RESUME) { Ok(()) } else { Err(pid) }
    }

    /// The checkpoint that was woken has put the program back. Another spare of it is
    /// wanted soon.
    pub fn answered(&mut self, now: Time) -> Option<Woken> {
        let woken = self.waking.take()?;
        self.spare_used(&woken);
        self.spare_due = Some((now + SPARE, woken.mold));
        Some(woken)
    }

    /// The process that was woken is gone.
    pub fn wake_failed(&mut self) -> Option<Woken> {
        let woken = self.waking.take()?;
        self.spare_used(&woken);
        Some(woken)
    }

    /// Has a spare made for the checkpoint that the next edit is likely to need:
    /// the one resumed last, or the newest.
    pub fn have_spare(&mut self, timeline: &Timeline, now: Time) {
        let owner = self.board.spare_of.load(Ordering::SeqCst);
        let spare = self.board.spare.load(Ordering::SeqCst);
        let newest = timeline.checkpoints().last().map_or(0, |known| known.pid);
        let wanted = match self.spare_due.take() {
            Some((_, resumed)) => resumed,
            None if owner != 0 => owner,
            None => newest,
        };
        let known = timeline.checkpoints().iter().any(|known| known.pid == wanted);
        if !known || wanted == owner && spare > 0 {
            return;
        }
        if owner != 0 && spare == 0 {
            // The owner is making one. That spare's number must be known before the owner
            // may be told otherwise, even if the spare is for a checkpoint nobody wants.
            self.spare_due = Some((now + SPARE, wanted));
            return;
        }
        self.end_spare(timeline);
        self.board.spare_of.store(wanted, Ordering::SeqCst);
        self.rouse(wanted, ORDER_SPARE);
    }

    /// Ends the spare of a checkpoint that is about to be ended.
    pub fn end_spare_of(&mut self, checkpoint: i32, timeline: &Timeline) {
        if self.board.spare_of.load(Ordering::SeqCst) == checkpoint {
            self.end_spare(timeline);
        }
    }

    /// A program killed between making a checkpoint and saying so leaves one
    /// that nobody would ever wake.
    pub fn end_unannounced(&mut self, timeline: &Timeline) {
        let pid = self.board.newest_clone.swap(0, Ordering::SeqCst);
        let known = timeline.checkpoints().iter().any(|known| known.pid == pid);
        if !known {
            self.end(pid, false);
        }
    }

    /// Has the program's memory given back, now that its files are closed. Nobody
    /// waits for that.
    pub fn end_keeper(&mut self) {
        let keeper = self.board.keeper.swap(0, Ordering::SeqCst);
        if keeper > 0 {
            self.end(keeper, true);
        }
    }

    /// Ends a parked process. One that keeps nothing open (`bare`) need not be waited for,
    /// and giving its memory back may take as long as that of a program.
    pub fn end(&mut self, pid: i32, bare: bool) {
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

    /// The spare of a checkpoint, if there is one.
    fn spare(&self, checkpoint: i32) -> Option<i32> {
        let spare = self.board.spare.load(Ordering::SeqCst);
        let is_its = self.board.spare_of.load(Ordering::SeqCst) == checkpoint;
        (is_its && spare > 0).then_some(spare)
    }

    /// The process that was woken is no spare any more.
    fn spare_used(&self, woken: &Woken) {
        if woken.pid != woken.mold {
            self.board.spare_of.store(0, Ordering::SeqCst);
        }
    }

    fn end_spare(&mut self, timeline: &Timeline) {
        // One that is still being made sees this, and ends by itself.
        let owner = self.board.spare_of.swap(0, Ordering::SeqCst);
        let spare = self.board.spare.swap(0, Ordering::SeqCst);
        if spare > 0 {
            let known = timeline.checkpoints().iter().find(|known| known.pid == owner);
            self.end(spare, known.is_some_and(|known| known.bare));
        }
    }

    /// Gives a parked process an order and wakes it. False when it is gone.
    fn rouse(&self, pid: i32, order: u32) -> bool {
        let unread = self.board.wake.swap(summons(pid, order), Ordering::SeqCst);
        if unread != 0 && order == ORDER_RESUME {
            // The order that this one replaces was never read. It was to make a spare:
            // that spare will not come.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Worth;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, i32) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        (child, pid)
    }

    fn checkpoint(pid: i32) -> Checkpoint {
        Checkpoint {
            index: 0,
            pid,
            name: Vec::new(),
            at: 5,
            worth: Worth::default(),
            bare: true,
            pages: 0,
            directory: None,
            resumed: 0,
            part: None,
        }
    }

    #[test]
    fn a_spare_is_woken_in_the_place_of_its_checkpoint() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        let ((mut mold, mold_pid), (mut spare, spare_pid)) = (sleeper(), sleeper());
        let mut timeline = Timeline::default();
        timeline.add(checkpoint(mold_pid));
        let mut copies = Copies::new(board);
        copies.have_spare(&timeline, Time::ZERO);
        assert_eq!(board.spare_of.load(Ordering::SeqCst), mold_pid);
        board.wake.store(0, Ordering::SeqCst);
        board.spare.store(spare_pid, Ordering::SeqCst);
        assert!(copies.known(&timeline).is_superset(&HashSet::from([mold_pid, spare_pid])));
        // `sleep` dies of the signal that wakes a parked process.
        let woken = Woken::new(timeline.checkpoint(0).unwrap(), Vec::new(), None);
        let letter = Letter { count: 1, changed: Vec::new() };
        assert_eq!(copies.wake(woken, &letter), Ok(()));
        spare.wait().unwrap();
        assert!(copies.is_waking(spare_pid) && !copies.is_waking(mold_pid));
        copies.reaped(spare_pid, &timeline);
        let woken = copies.wake_failed().unwrap();
        assert_eq!((woken.pid, woken.mold, woken.index), (spare_pid, mold_pid, 0));
        assert!(copies.wake_failed().is_none());
        // Without it, the checkpoint itself is woken; and once that is gone, nobody.
        let again = || Woken::new(timeline.checkpoint(0).unwrap(), Vec::new(), None);
        assert_eq!(copies.wake(again(), &letter), Ok(()));
        mold.wait().unwrap();
        assert_eq!(copies.wake(again(), &letter), Err(mold_pid));
    }

    #[test]
    fn only_who_keeps_something_open_is_waited_for() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        let ((mut bare, bare_pid), (mut other, other_pid)) = (sleeper(), sleeper());
        let mut copies = Copies::new(board);
        copies.end(bare_pid, true);
        assert!(!copies.has_dying());
        copies.end(other_pid, false);
        assert!(copies.has_dying());
        bare.wait().unwrap();
        other.wait().unwrap();
        copies.reaped(other_pid, &Timeline::default());
        assert!(!copies.has_dying());
        // Reaped by somebody else, nothing more would be heard of it.
        copies.end(other_pid, false);
        assert!(!copies.has_dying());
    }
}
