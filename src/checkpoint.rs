//! Checkpoints: parked clones of the running program.
//!
//! Theory of operation. To take a checkpoint the program clones itself. The
//! original goes on as if nothing had happened; the clone parks: it blocks every
//! signal and sleeps. It is a *mold*: when it is woken it clones itself again,
//! that clone is the resumed program, and the mold goes back to sleep, unused,
//! ready for the next time. So one checkpoint serves any number of resumes and
//! keeps its pid. All of them are children of the supervisor and end with it.

use crate::board::Board;
use crate::descriptors::{Descriptors, Outside};
use crate::messages::Letter;
use crate::sys::clone::{Side, clone_sibling};
use crate::sys::process::{IntervalTimers, die_with_parent, exit_now};
use crate::sys::signals::{Mask, wait_for};
use crate::sys::stdio;
use crate::terminal::Modes;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};
use std::sync::atomic::Ordering;

/// The signal that wakes a checkpoint. Any would do: a parked process has all of
/// them blocked, and what it does not expect it ignores.
pub const WAKE: Signal = Signal::SIGUSR1;

/// In which process [`take`] returned.
pub enum Outcome {
    /// The program that took the checkpoint, with the parked process's pid.
    Taken(Pid),
    /// A program resumed from it, perhaps much later.
    Resumed(Letter),
}

/// Takes a checkpoint of this process. Returns once for every time the program
/// passes here: now, and after each resume.
///
/// # Errors
/// As [`clone_sibling`].
pub fn take(
    board: &Board,
    supervisor: Pid,
    descriptors: &Descriptors,
    outside: &Outside,
) -> nix::Result<Outcome> {
    // What is buffered now would be written by every clone. A stream that cannot
    // be written is the program's to find out about.
    let _ = stdio::flush_all();
    let timers = IntervalTimers::read();
    let terminal = Modes::save();
    let mask = Mask::block_all();
    let side = clone_sibling(&board.newest_clone);
    if let Ok(Side::Clone) = side {
        let letter = park(board, supervisor);
        descriptors.restore(outside);
        terminal.restore();
        timers.restore();
        mask.restore();
        return Ok(Outcome::Resumed(letter));
    }
    mask.restore();
    side.map(|side| match side {
        Side::Original(pid) => Outcome::Taken(pid),
        Side::Clone => unreachable!("handled above"),
    })
}

/// Parks this process for good. Returns in clones of it, one for each wake.
fn park(board: &Board, supervisor: Pid) -> Letter {
    if !die_with_parent(supervisor) {
        exit_now(0);
    }
    let own = getpid().as_raw();
    loop {
        wait_for(WAKE);
        // Somebody may send this signal to the whole process group.
        if board.wake.compare_exchange(own, 0, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            continue;
        }
        match clone_sibling(&board.program) {
            Ok(Side::Original(_)) => {}
            Ok(Side::Clone) => {
                if !die_with_parent(supervisor) {
                    exit_now(0);
                }
                return Letter::decode(&board.letter());
            }
            Err(_) => {
                // No process to be had: go on ourselves. The checkpoint is used
                // up, which the supervisor sees from the pid.
                board.program.store(own, Ordering::SeqCst);
                return Letter::decode(&board.letter());
            }
        }
    }
}
