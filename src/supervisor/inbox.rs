//! What others send the supervisor: signals, and the program's records on the board.

use super::machine::Time;
use crate::session::signals::listened;
use crate::sys::shared::Shared;
use crate::sys::signals::{self, Received};
use crate::wire::board::Board;
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long records may lie on the board while more are likely to come: ringing
/// for each would cost the program more than writing it.
const BATCH: Duration = Duration::from_millis(4);

/// How long after a signal its double may come.
const ECHO: Duration = Duration::from_millis(500);

/// Signals and records that have come.
pub struct Inbox {
    signals: SignalFd,
    board: Shared<Board>,
    /// Records have come just now.
    is_busy: bool,
    /// Who sent a signal last, by its number.
    heard: HashMap<i32, Heard>,
}

/// A signal that was heard and may come once more, from the other of those who send it.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// The guard sent it, or somebody else.
    by_guard: bool,
    at: Time,
}

impl Inbox {
    /// Takes in the signals that a session listens to. They must be blocked.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new(board: Shared<Board>) -> nix::Result<Inbox> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&listened(), flags)?;
        Ok(Inbox { signals, board, is_busy: false, heard: HashMap::new() })
    }

    /// The signals that have come.
    pub fn take_signals(&self) -> Vec<Received> {
        std::iter::from_fn(|| signals::read_signal(self.signals.as_fd())).collect()
    }

    /// An interrupt that has come, before anything else that has.
    pub fn take_interrupt(&self) -> Option<Received> {
        // Of those that are pending, the lowest is read first, so that none comes that is
        // to wake us up.
        let has_come = signals::is_pending(&Signal::SIGINT.into());
        has_come.then(|| signals::read_signal(self.signals.as_fd())).flatten()
    }

    /// What is sent to the whole process group comes twice: directly and by way of
    /// the guard. Whether this is the second.
    pub fn is_echo(&mut self, signal: Received, guard: Pid, now: Time) -> bool {
        if signal.from_kernel {
            return false;
        }
        let by_guard = signal.sender == guard;
        match self.heard.remove(&signal.number) {
            Some(first) if first.by_guard != by_guard && now < first.at + ECHO => true,
            _ => {
                self.heard.insert(signal.number, Heard { by_guard, at: now });
                false
            }
        }
    }

    /// Notes whether records are coming just now.
    pub fn look_at_board(&mut self) {
        self.is_busy = !self.board.is_drained();
    }

    /// The oldest record on the board. It stays there, and the program may wait for that.
    pub fn peek(&self) -> Option<Vec<u8>> {
        self.board.peek()
    }

    /// Takes that record, of this length, off the board.
    pub fn skip(&self, length: usize) {
        self.board.skip(length);
    }

    /// When to look at the board without being rung for.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        self.is_busy.then(|| now + BATCH)
    }

    /// Has the program ring for its next record. False when one has come already: then
    /// the supervisor must not sleep.
    pub fn sleep(&self) -> bool {
        self.board.sleep()
    }

    /// Nobody has to ring.
    pub fn awake(&self) {
        self.board.awake();
    }

    /// What becomes readable when a signal has come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_the_whole_group_is_heard_once() {
        let (board, _): (Shared<Board>, _) = Shared::new().unwrap();
        let mut inbox = Inbox::new(board).unwrap();
        let (guard, other) = (Pid::from_raw(5), Pid::from_raw(9));
        let mut is_echo = |from_kernel, sender, milliseconds| {
            let signal = Received { number: libc::SIGTERM, from_kernel, sender };
            inbox.is_echo(signal, guard, Duration::from_millis(milliseconds))
        };
        assert!(!is_echo(false, guard, 0) && is_echo(false, other, 499));
        // The next is another, whoever is first.
        assert!(!is_echo(false, other, 500) && is_echo(false, guard, 501));
        // Twice from the same sender is meant twice; so is what comes much later.
        assert!(!is_echo(false, guard, 600) && !is_echo(false, guard, 601));
        assert!(!is_echo(false, other, 1101));
        assert!(!is_echo(true, guard, 1102), "the terminal's comes to each directly");
    }
}
