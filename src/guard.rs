//! The guard: the process that the shell started, above the supervisor.
//!
//! Theory of operation. Whoever is killed, nothing shall be left, not even what
//! the program has started with `os.execute` or `io.popen`. Such processes end
//! up with the nearest ancestor that takes in orphans (a *subreaper*), so there
//! are two, each the other's safeguard. When the supervisor is killed, the guard
//! inherits what it leaves and ends that; when the guard is killed, the kernel
//! tells the supervisor by [`crate::session::signals::ORPHANED`], which ends everything.
//!
//! For the shell the guard stands for the whole session: it passes on what is
//! sent to it, stops when the supervisor stops, and ends as that ends. What the
//! terminal sends goes to the whole process group, the supervisor included.

use crate::session::address;
use crate::session::own::Strangers;
use crate::session::signals::{ENDING, listened};
use crate::sys::descriptors::{close, open_numbers};
use crate::sys::process::{Fate, exit_now, is_running, next_fate, own_pid};
use crate::sys::signals::{self, Received, end_by};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getsid};
use std::convert::Infallible;
use std::time::Duration;

/// How soon to look again at what nobody tells us of, or is in a hurry for.
const AGAIN: Duration = Duration::from_millis(1);

/// Guards `supervisor` until the session ends; then this process does, too. Every
/// signal must be blocked. `early` is what had come by the time the supervisor was
/// forked, which may not have reached it.
pub fn run(supervisor: Pid, early: &[Signal]) -> Infallible {
    // The files are the program's: a pipe must close when it closes it.
    for number in open_numbers().into_iter().filter(|number| *number > 2) {
        close(number);
    }
    let set = listened();
    for signal in early {
        // Taken away, as it would be passed on once more below: who is told twice to
        // end gives the program no time for it.
        signals::discard(*signal);
        let _ = signals::send(supervisor, *signal as i32);
    }
    let mut strangers = Strangers::default();
    strangers.look(supervisor);
    loop {
        while let Some((pid, fate)) = next_fate() {
            if pid == supervisor.as_raw() {
                supervisor_changed(supervisor, fate, &strangers);
            } else if !matches!(fate, Fate::Stopped(_)) {
                strangers.ended(pid);
            }
        }
        if is_running(supervisor.as_raw()) {
            strangers.look(supervisor);
        }
        pass_on(supervisor, signals::receive(&set));
    }
}

fn pass_on(supervisor: Pid, signal: Received) {
    // The supervisor has got what the terminal sends to the group, but of a hang-up
    // only the leader of the session is told.
    let is_hang_up = signal.number == libc::SIGHUP && getsid(None) == Ok(own_pid());
    let is_meant_for_it = !signal.from_kernel || is_hang_up;
    if is_meant_for_it && signal.number != libc::SIGCHLD {
        let _ = signals::send(supervisor, signal.number);
        // In case somebody has stopped it.
        if ENDING.iter().any(|ending| *ending as i32 == signal.number) {
            let _ = signals::send(supervisor, libc::SIGCONT);
        }
    }
}

fn supervisor_changed(supervisor: Pid, fate: Fate, strangers: &Strangers) {
    match fate {
        Fate::Stopped(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)) => {
            if let Ok(signal) = Signal::try_from(signal) {
                signals::take_default(signal);
            }
            let _ = signals::send(supervisor, libc::SIGCONT);
        }
        Fate::Stopped(_) => {}
        Fate::Exited(status) => {
            clear_away(strangers);
            exit_now(status)
        }
        Fate::Killed(signal) => {
            clear_away(strangers);
            end_by(signal)
        }
    }
}

/// Ends what a supervisor that was killed has left.
fn clear_away(strangers: &Strangers) {
    address::forget(own_pid().as_raw());
    loop {
        while next_fate().is_some() {}
        if !strangers.kill_others() {
            return;
        }
        std::thread::sleep(AGAIN);
    }
}
