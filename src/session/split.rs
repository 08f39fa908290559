//! The split: one process becomes three.

use super::invitation::Session;
use super::signals::{ORPHANED, hand_on, told_to_end};
use crate::sys::clone::fork;
use crate::sys::descriptors::position;
use crate::sys::process::{
    Fate, IntervalTimers, exit_now, fate_of, hear_of_parent, is_running, own_pid,
};
use crate::sys::shared::Shared;
use crate::sys::signals::{Mask, is_ignored, set_disposition};
use crate::sys::stdio;
use crate::wire::board::Board;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How soon the guard looks again whether the supervisor has started the program.
const AGAIN: Duration = Duration::from_millis(1);

/// What became of the process in which forkmon was enabled; this one is the
/// supervisor.
pub struct Split {
    /// That process.
    pub guard: Pid,
    /// The program's process.
    pub program: Pid,
    /// Where they meet.
    pub board: Shared<Board>,
    /// By which others can map it, if they can.
    pub memory: Option<OwnedFd>,
    /// The signal mask that was in force before.
    pub mask: Mask,
    /// SIGCHLD was ignored.
    pub ignores_children: bool,
    /// Where standard input was, if it is a file.
    pub input: Option<i64>,
}

/// Splits this process in three: itself, which becomes what `guard` is, the supervisor,
/// which `supervise` is, and the program, in which this returns.
///
/// # Errors
/// Memory or a process could not be had; nothing has happened then. `EINTR`: this
/// process was told to end.
pub fn split(
    mask: Mask,
    guard: impl FnOnce(Pid, &[Signal]) -> Infallible,
    supervise: impl FnOnce(Split),
) -> nix::Result<Session> {
    // Who has been told to end starts nothing.
    if !told_to_end().is_empty() {
        return Err(Errno::EINTR);
    }
    let (board, memory) = Shared::<Board>::new()?;
    let input = position(libc::STDIN_FILENO);
    let own = own_pid();
    board.session.store(own.as_raw(), Ordering::Relaxed);
    let _ = stdio::flush_all();
    let timers = IntervalTimers::read();
    // Who ignores it never hears of the end of a child.
    let ignores_children = is_ignored(Signal::SIGCHLD);
    let children = |handler| {
        if ignores_children {
            let _ = set_disposition(Signal::SIGCHLD, handler);
        }
    };
    children(SigHandler::SigDfl);
    // Before there is a program, which may leave orphans at once.
    let was_reaper = prctl::get_child_subreaper().unwrap_or(false);
    let forked =
        prctl::set_child_subreaper(true).and_then(|()| fork()).and_then(|side| match side {
            ForkResult::Parent { child } => {
                // Now, as what the terminal sends from here on the child gets itself.
                let early = told_to_end();
                await_start(child, || board.program.load(Ordering::SeqCst) != 0)?;
                match guard(child, &early) {}
            }
            ForkResult::Child => Ok(()),
        });
    if let Err(error) = forked {
        let _ = prctl::set_child_subreaper(was_reaper);
        children(SigHandler::SigIgn);
        return Err(error);
    }
    if !hear_of_parent(own, ORPHANED) {
        exit_now(0);
    }
    let supervisor = own_pid();
    let forked = prctl::set_child_subreaper(true).and_then(|()| fork());
    match forked {
        // The guard returns it.
        Err(error) => exit_now(error as i32),
        Ok(ForkResult::Parent { child: program }) => {
            hand_on(program);
            board.program.store(program.as_raw(), Ordering::SeqCst);
            supervise(Split { guard: own, program, board, memory, mask, ignores_children, input });
            exit_now(70)
        }
        Ok(ForkResult::Child) => {}
    }
    timers.restore();
    children(SigHandler::SigIgn);
    Ok(Session { supervisor, board })
}

/// Waits until the supervisor has started the program, which `has_started` tells.
///
/// # Errors
/// With which it ended instead, as its exit status.
fn await_start(supervisor: Pid, has_started: impl Fn() -> bool) -> nix::Result<()> {
    let pid = supervisor.as_raw();
    // Whether it has ended is looked at first, and taken note of last: if it was killed
    // after it had started the program, that is for `run` to hear.
    while is_running(pid) && !has_started() {
        std::thread::sleep(AGAIN);
    }
    if has_started() {
        return Ok(());
    }
    match fate_of(pid) {
        Some((_, Fate::Exited(error))) => Err(Errno::from_raw(error)),
        _ => Err(Errno::ESRCH),
    }
}
