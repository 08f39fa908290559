//! Starting the command anew.
//!
//! What was loaded before `enable()` is in no checkpoint's past, so a change to
//! it means a fresh start: the supervisor runs the session's command in a new
//! process. When that comes to `enable()`, it need not split: it has a supervisor,
//! maps its board and becomes the program. Until then it is a program like any
//! other, and if it ends before, as a script that is half written may, nothing is
//! lost.

use super::signals::hand_on;
use crate::report;
use crate::sys::clone::fork;
use crate::sys::descriptors::{facts, open_numbers, seek, set_close_on_exec};
use crate::sys::process::{die_with_parent, exit_now, own_pid};
use crate::sys::shared::Shared;
use crate::sys::signals::{Mask, set_disposition};
use crate::wire::board::Board;
use crate::wire::settings::Sink;
use crate::wire::version;
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid, getppid};
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

/// Tells the command which session it is run for: its own process and the
/// supervisor's, by which it is known that nobody else has inherited the variable,
/// where the board is, and whose board it is. The program must not see it.
pub const SESSION: &str = "FORKMON_SESSION";

/// The status, as shells have it, of a command that could not be run.
pub const CANNOT_RUN: i32 = 127;

/// How the session was started.
pub struct Command {
    /// The process that was.
    session: Pid,
    executable: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Descriptors that came from outside and are given on.
    given: Vec<RawFd>,
    /// Where standard input, if it is a file, was when forkmon was enabled.
    input: Option<i64>,
}

impl Command {
    /// Reads the command of this process, which it has from `session`. `inherited`:
    /// every open descriptor came from outside; otherwise only the standard three
    /// and those that a service manager announced are taken to have.
    /// `input` is where standard input was at first.
    pub fn of_this_process(
        session: Pid,
        inherited: bool,
        events: Option<&Sink>,
        input: Option<i64>,
    ) -> Command {
        let given = open_numbers()
            .into_iter()
            .filter(|number| {
                inherited && !is_closed_on_exec(*number)
                    || *number <= 2
                    || is_announced(session, *number)
                    || events == Some(&Sink::Descriptor(*number))
            })
            .collect();
        Command {
            session,
            executable: executable(),
            arguments: strings("/proc/self/cmdline"),
            environment: strings("/proc/self/environ"),
            given,
            input,
        }
    }

    /// The descriptors that a restart passes on.
    pub fn given(&self) -> &[RawFd] {
        &self.given
    }

    /// Runs the command in a new process, which is to join the session whose board
    /// this process has open as `board`. `mask` is the signal mask it begins with, and
    /// SIGCHLD is ignored if so it was.
    ///
    /// # Errors
    /// As [`fork`]. A command that cannot be run says so itself.
    pub fn run(&self, mask: &Mask, ignores_children: bool, board: RawFd) -> nix::Result<i32> {
        let supervisor = own_pid();
        match fork()? {
            ForkResult::Parent { child } => {
                hand_on(child);
                return Ok(child.as_raw());
            }
            ForkResult::Child => {}
        }
        if !die_with_parent(supervisor) {
            exit_now(0);
        }
        for number in open_numbers().into_iter().filter(|number| *number > 2) {
            set_close_on_exec(number, !self.given.contains(&number));
        }
        if let Some(input) = self.input {
            let _ = seek(libc::STDIN_FILENO, input);
        }
        let environment = self.environment_of(own_pid(), supervisor, board);
        if ignores_children {
            let _ = set_disposition(Signal::SIGCHLD, SigHandler::SigIgn);
        }
        mask.restore();
        let Err(error) = nix::unistd::execve(&self.executable, &self.arguments, &environment);
        let executable = String::from_utf8_lossy(self.executable.to_bytes());
        report::warn(&format!("cannot run '{executable}' anew: {}", error.desc()));
        exit_now(CANNOT_RUN)
    }

    /// The environment, made out to a new process.
    fn environment_of(&self, process: Pid, supervisor: Pid, board: RawFd) -> Vec<CString> {
        // A service manager names the process that its sockets are for, too.
        let theirs = CString::new(format!("LISTEN_PID={}", self.session)).ok();
        self.environment
            .iter()
            .filter(|entry| {
                let rest = entry.to_bytes().strip_prefix(SESSION.as_bytes());
                rest.is_none_or(|rest| !rest.starts_with(b"="))
            })
            .map(|entry| match Some(entry) == theirs.as_ref() {
                true => CString::new(format!("LISTEN_PID={process}")).unwrap_or_default(),
                false => entry.clone(),
            })
            .chain(CString::new(invitation(process, supervisor, board)))
            .collect()
    }

    /// The command line, words separated by spaces.
    pub fn words(&self) -> Vec<u8> {
        let words: Vec<&[u8]> = self.arguments.iter().map(|word| word.to_bytes()).collect();
        words.join(&b' ')
    }
}

/// The variable for the environment of `process`.
fn invitation(process: Pid, supervisor: Pid, board: RawFd) -> String {
    format!("{SESSION}={process}:{supervisor}:{board}:{}", version())
}

/// The session that this process was started for.
pub struct Session {
    /// The supervisor's process, our parent.
    pub supervisor: Pid,
    /// Its board.
    pub board: Shared<Board>,
}

/// Why a session cannot be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// Its supervisor is of this version of forkmon.
    OtherVersion(String),
    /// Its board cannot be had.
    NoBoard(Errno),
}

impl std::fmt::Display for JoinError {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            JoinError::OtherVersion(theirs) => write!(
                out,
                "the session was begun by forkmon {theirs}, and this is {}: end it and start it anew",
                version()
            ),
            JoinError::NoBoard(error) => {
                write!(out, "the session cannot be joined ({error}): end it and start it anew")
            }
        }
    }
}

impl Session {
    /// The session that a supervisor has started this process for, if one has.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn of_this_process() -> Result<Option<Session>, JoinError> {
        let note = std::env::var(SESSION).unwrap_or_default();
        let Some((board, theirs)) = accept(&note, own_pid(), getppid()) else { return Ok(None) };
        if theirs != version() {
            return Err(JoinError::OtherVersion(theirs.to_owned()));
        }
        let supervisor = getppid();
        let board = Shared::of_process(supervisor, board).map_err(JoinError::NoBoard)?;
        Ok(Some(Session { supervisor, board }))
    }
}

/// Takes an invitation apart, if it is for this process: the board and the version.
fn accept(note: &str, own: Pid, parent: Pid) -> Option<(RawFd, &str)> {
    let mut parts = note.splitn(4, ':');
    let mut number = || parts.next()?.parse::<i32>().ok();
    let (process, supervisor, board) = (number()?, number()?, number()?);
    let is_ours = process == own.as_raw() && supervisor == parent.as_raw();
    is_ours.then_some(board).zip(parts.next())
}

/// Whether a descriptor cannot have come from outside.
fn is_closed_on_exec(number: RawFd) -> bool {
    facts(number).is_ok_and(|facts| facts.close_on_exec)
}

fn executable() -> CString {
    let path = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let mut bytes = path.into_os_string().into_vec();
    // The kernel's note for a file that was replaced, by an upgrade say.
    if let Some(kept) = bytes.strip_suffix(b" (deleted)") {
        bytes.truncate(kept.len());
    }
    CString::new(bytes).unwrap_or_default()
}

fn strings(path: &str) -> Vec<CString> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    bytes.split(|byte| *byte == 0).filter_map(|string| CString::new(string).ok()).collect()
}

/// Whether a descriptor is one that a service manager says it passed to `process`.
fn is_announced(process: Pid, number: RawFd) -> bool {
    let variable = |name| std::env::var(name).ok()?.parse::<i64>().ok();
    variable("LISTEN_PID") == Some(process.as_raw().into())
        && variable("LISTEN_FDS").is_some_and(|count| (3..3 + count).contains(&number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_for_one_process() {
        let (own, parent, other) = (Pid::from_raw(7), Pid::from_raw(5), Pid::from_raw(9));
        let variable = invitation(own, parent, 4);
        let note = variable.strip_prefix("FORKMON_SESSION=").unwrap();
        assert_eq!(accept(note, own, parent), Some((4, version())));
        assert_eq!(accept(note, other, parent), None);
        assert_eq!(accept(note, own, other), None);
        for note in ["", "7", "7:5", "7:5:4", "7:5:x:0.1.0"] {
            assert_eq!(accept(note, own, parent), None);
        }
    }
}
