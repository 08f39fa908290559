//! The signals of a session: which are heard, which end it, how one rings for another.

use crate::sys::signals;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

/// The doorbell: it tells the sleeping supervisor that there are records.
pub const DOORBELL: Signal = Signal::SIGIO;

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
pub const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

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
