//! The guard: the process that the shell started, above the supervisor.
//!
//! Theory of operation. Whoever is killed, nothing shall be left, not even what
//! the program has started with `os.execute` or `io.popen`. Such processes end
//! up with the nearest ancestor that takes in orphans (a *subreaper*), so there
//! are two, each the other's safeguard. When the supervisor is killed, the guard
//! inherits what it leaves and ends that; when the guard is killed, the kernel
//! tells the supervisor by [`ORPHANED`], which ends everything.
//!
//! For the shell the guard stands for the whole session: it passes on what is
//! sent to it, stops when the supervisor stops, and ends as that ends. What the
//! terminal sends goes to the whole process group, the supervisor included.

use crate::control;
use crate::descriptors::Descriptors;
use crate::program::DOORBELL;
use crate::sys::descriptors::close;
use crate::sys::process::{Fate, exit_now, fate_of, is_running, next_fate};
use crate::sys::procfs::descendants;
use crate::sys::signals::{self, Received, end_by};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid, getsid};
use std::collections::HashSet;
use std::time::Duration;

/// What the supervisor gets when the guard ends before it: what it hears even when
/// somebody has stopped it.
pub const ORPHANED: Signal = Signal::SIGCONT;

/// The signals that guard and supervisor take in; all others stay blocked. Those that were
/// ignored when the session began are left out, as `nohup` would have it.
const SIGNALS: [Signal; 13] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    DOORBELL,
];

/// The same as a set.
pub fn listened() -> SigSet {
    let ours = [Signal::SIGCHLD, DOORBELL, ORPHANED];
    let is_wanted = |signal: &Signal| ours.contains(signal) || !signals::is_ignored(*signal);
    SIGNALS.into_iter().filter(is_wanted).collect()
}

/// The signals that end a session.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// How soon to look again at what nobody tells us of, or is in a hurry for.
const AGAIN: Duration = Duration::from_millis(1);

/// The signals that end a session and have come while they were blocked.
pub fn told_to_end() -> Vec<Signal> {
    ENDING.into_iter().filter(has_come).collect()
}

fn has_come(signal: &Signal) -> bool {
    signals::is_pending(&SigSet::from(*signal))
}

/// Sends a child that was just forked what has come and ends or stops a session: it may
/// have come before there was the child to get it, too.
pub fn hand_on(child: Pid) {
    for signal in ENDING.into_iter().chain([Signal::SIGTSTP]).filter(has_come) {
        let _ = signals::send(child, signal as i32);
    }
}

/// Waits until the supervisor has started the program, which `has_started` tells.
///
/// # Errors
/// With which it ended instead, as its exit status.
pub fn await_start(supervisor: Pid, has_started: impl Fn() -> bool) -> nix::Result<()> {
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

/// Guards `supervisor` until the session ends; then this process does, too. Every
/// signal must be blocked. `early` is what had come by the time the supervisor was
/// forked, which may not have reached it.
pub fn run(supervisor: Pid, early: &[Signal]) -> ! {
    // The files are the program's: a pipe must close when it closes it.
    for number in Descriptors::survey().numbers().filter(|number| *number > 2) {
        close(number);
    }
    let set = listened();
    for signal in early {
        // Taken away, as it would be passed on once more below: who is told twice to
        // end gives the program no time for it.
        signals::discard(*signal);
        let _ = signals::send(supervisor, *signal as i32);
    }
    loop {
        while let Some((pid, fate)) = next_fate() {
            if pid == supervisor.as_raw() {
                supervisor_changed(supervisor, fate);
            }
        }
        pass_on(supervisor, signals::receive(&set));
    }
}

fn pass_on(supervisor: Pid, signal: Received) {
    // The supervisor has got what the terminal sends to the group, but of a hang-up
    // only the leader of the session is told.
    let is_hang_up = signal.number == libc::SIGHUP && getsid(None) == Ok(getpid());
    let is_meant_for_it = !signal.from_kernel || is_hang_up;
    if is_meant_for_it && signal.number != libc::SIGCHLD {
        let _ = signals::send(supervisor, signal.number);
        // In case somebody has stopped it.
        if ENDING.iter().any(|ending| *ending as i32 == signal.number) {
            let _ = signals::send(supervisor, libc::SIGCONT);
        }
    }
}

fn supervisor_changed(supervisor: Pid, fate: Fate) {
    match fate {
        Fate::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => {
            if let Ok(signal) = Signal::try_from(signal) {
                signals::take_default(signal);
            }
            let _ = signals::send(supervisor, libc::SIGCONT);
        }
        Fate::Stopped(_) => {}
        Fate::Exited(status) => {
            clear_away();
            exit_now(status)
        }
        Fate::Killed(signal) => {
            clear_away();
            end_by(signal)
        }
    }
}

/// Ends what a supervisor that was killed has left.
fn clear_away() {
    control::forget(getpid());
    loop {
        while next_fate().is_some() {}
        let mut left = descendants(&[getpid()], &HashSet::new());
        // What has become another user's is not ours to end, or to wait for.
        let kill = |pid| signals::send(Pid::from_raw(pid), libc::SIGKILL);
        left.retain(|pid| kill(*pid) != Err(Errno::EPERM));
        if left.is_empty() {
            return;
        }
        std::thread::sleep(AGAIN);
    }
}
