//! Checkpoints: parked clones of the running program.
//!
//! Theory of operation. To take a checkpoint the program clones itself. The
//! original goes on as if nothing had happened; the clone parks: it blocks every
//! signal and sleeps. It is a *mold*: when it is woken it clones itself again,
//! that clone is the resumed program, and the mold goes back to sleep, unused,
//! ready for the next time. So one checkpoint serves any number of resumes and
//! keeps its pid.
//!
//! Copying the page tables of a large program takes its time, and nobody need
//! wait for it: a mold can be told to make a *spare* beforehand, a clone that
//! parks as well and, when it is woken, simply goes on. That of a small program
//! has its memory copied by then, too.
//!
//! All of them are children of the supervisor and end with it.

use super::carried::{Descriptors, Outside};
use crate::sys::clone::{Side, clone_sibling};
use crate::sys::copies;
use crate::sys::process::{IntervalTimers, die_with_parent, exit_now, own_pid, page_size};
use crate::sys::signals::{Mask, discard_pending, is_pending, wait_for};
use crate::sys::stdio;
use crate::sys::terminal::Modes;
use crate::wire::board::Board;
use crate::wire::letter::Letter;
use crate::wire::order::{ORDER_RESUME, ORDER_SPARE, WAKE, summons};
use nix::unistd::Pid;
use std::sync::atomic::Ordering;

/// As many bytes are copied by parked processes, so that the program that goes on need
/// not. Beyond, the memory that it takes counts, and which pages of so many will be
/// written to is not known.
pub const MOST_COPIED: usize = 32 << 20;

/// In which process [`take`] returned.
pub enum Outcome {
    /// The program that took the checkpoint, with the parked process's pid.
    Taken(Pid),
    /// A program resumed from it, perhaps much later.
    Resumed(Letter),
}

/// Takes a checkpoint of this process. Returns once for every time the program
/// passes here: now, and after each resume. `ahead`: the parked process copies its
/// memory meanwhile, so that the program need not.
///
/// # Errors
/// As [`clone_sibling`].
pub fn take(
    board: &Board,
    supervisor: Pid,
    descriptors: &Descriptors,
    outside: &Outside,
    ahead: bool,
) -> nix::Result<Outcome> {
    // What is buffered now would be written by every clone. A stream that cannot
    // be written is the program's to find out about.
    let _ = stdio::flush_all();
    let timers = IntervalTimers::read();
    let terminal = Modes::save();
    let mask = Mask::block_all();
    let side = clone_sibling(&board.newest_clone);
    if let Ok(Side::Clone) = side {
        descriptors.sever(outside);
        let letter = park(board, supervisor, ahead);
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

/// Parks this process for good. Returns in clones of it that are to run on.
fn park(board: &Board, supervisor: Pid, ahead: bool) -> Letter {
    begin(supervisor);
    let make_copies = || {
        copies::make((MOST_COPIED / page_size()) as u64, || is_pending(&WAKE.into()));
    };
    if ahead {
        make_copies();
    }
    let mut is_spare = false;
    loop {
        wait_for(WAKE);
        let own = own_pid().as_raw();
        // Somebody may send this signal to the whole process group.
        let take = |order| {
            let wake = summons(own, order);
            board.wake.compare_exchange(wake, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let order = [ORDER_RESUME, ORDER_SPARE].into_iter().find(|order| take(*order));
        let Some(order) = order else { continue };
        if is_spare {
            return go_on(board);
        }
        if order == ORDER_SPARE {
            match clone_sibling(&board.spare) {
                Ok(Side::Original(_)) => {}
                Ok(Side::Clone) => {
                    begin(supervisor);
                    // It may have changed its mind while we were being made.
                    if board.spare_of.load(Ordering::SeqCst) != own {
                        exit_now(0);
                    }
                    is_spare = true;
                    make_copies();
                }
                Err(_) => board.spare.store(-1, Ordering::SeqCst),
            }
            continue;
        }
        match clone_sibling(&board.program) {
            Ok(Side::Original(_)) => {}
            Ok(Side::Clone) => {
                begin(supervisor);
                return Letter::decode(&board.letter());
            }
            // No process to be had. The checkpoint is used up, which the
            // supervisor sees from the pid.
            Err(_) => return go_on(board),
        }
    }
}

/// Ties a new clone to the supervisor, which may have ended meanwhile.
fn begin(supervisor: Pid) {
    if !die_with_parent(supervisor) {
        exit_now(0);
    }
}

/// Makes this very process the program. What came while it was parked was meant
/// for the one that ran then.
fn go_on(board: &Board) -> Letter {
    discard_pending();
    board.program.store(own_pid().as_raw(), Ordering::SeqCst);
    Letter::decode(&board.letter())
}
