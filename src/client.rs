//! Asking a session, from any process of its user.

use crate::session::address;
use crate::sys::procfs::is_stopped;
use crate::sys::signals::send;
use crate::wire::control::{Reply, Request, Status};
use crate::wire::version;
use nix::unistd::{Pid, geteuid};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a client waits for a supervisor that should answer at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a supervisor may take from its first moment until it listens.
const STARTING: Duration = Duration::from_secs(1);

/// The sessions of this user, by pid. Sockets whose owner is gone are removed.
pub fn sessions() -> Vec<i32> {
    let answers = |(pid, path): (Option<i32>, PathBuf)| match UnixStream::connect(&path) {
        Ok(_) => pid,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                let _ = std::fs::remove_file(&path);
            }
            None
        }
    };
    let mut pids: Vec<i32> = address::list().into_iter().filter_map(answers).collect();
    pids.sort_unstable();
    pids
}

/// Waits for the end of a supervisor that was told to stop; whether it came.
pub fn has_ended(pid: i32) -> bool {
    let Some(path) = address::socket(pid) else { return true };
    let deadline = Instant::now() + PATIENCE;
    // The socket goes last, and at once with a supervisor that is killed.
    while UnixStream::connect(&path).is_ok() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Waits until a supervisor that was told to restart has done so.
pub fn await_restart(pid: i32) {
    let deadline = Instant::now() + PATIENCE;
    let is_busy = |status: &Status| status.state == b"resuming";
    while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < deadline {
        match ask(pid, &Request::Status { files: false }) {
            Ok(Reply::Status(status)) if !is_busy(&status) => return,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Why a supervisor did not answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens for that process.
    NoSuchSession,
    /// Somebody else's.
    NotOurs,
    /// Somebody has stopped it (Ctrl+Z).
    Stopped(i32),
    /// It listens and does not answer.
    NoAnswer(io::Error),
    /// It answers in another version's words.
    OtherVersion,
}

impl std::fmt::Display for AskError {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            AskError::NoSuchSession => out.write_str("no forkmon has this PID"),
            AskError::NotOurs => out.write_str("it belongs to another user"),
            AskError::Stopped(pid) => {
                write!(out, "it is stopped; `fg` or `kill -CONT {pid}` has it go on")
            }
            AskError::NoAnswer(error) => write!(out, "it does not answer: {error}"),
            AskError::OtherVersion => {
                write!(out, "it is of another version than this forkmon {}", version())
            }
        }
    }
}

/// Sends a request to the session with this pid and waits for the reply.
///
/// # Errors
/// See [`AskError`].
pub fn ask(pid: i32, request: &Request) -> Result<Reply, AskError> {
    ask_at(&address::socket(pid).ok_or_else(|| no_session(pid))?, pid, request)
}

/// The same for the program's own supervisor, which may still be about to listen.
///
/// # Errors
/// See [`AskError`].
pub fn ask_own(pid: i32, request: &Request) -> Result<Reply, AskError> {
    let deadline = Instant::now() + STARTING;
    loop {
        match ask(pid, request) {
            Err(AskError::NoSuchSession) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            answer => return answer,
        }
    }
}

/// Why there is no session of this process that could be asked.
fn no_session(pid: i32) -> AskError {
    let owner = std::fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
    if owner.is_ok_and(|uid| uid != geteuid().as_raw()) {
        AskError::NotOurs
    } else {
        AskError::NoSuchSession
    }
}

fn ask_at(path: &Path, pid: i32, request: &Request) -> Result<Reply, AskError> {
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => no_session(pid),
        io::ErrorKind::PermissionDenied => AskError::NotOurs,
        _ => AskError::NoAnswer(error),
    })?;
    if is_stopped(pid) {
        if *request != Request::Stop {
            return Err(AskError::Stopped(pid));
        }
        let _ = send(Pid::from_raw(pid), libc::SIGCONT);
    }
    let mut reply = Vec::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.write_all(&request.encode()))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
        .and_then(|()| stream.read_to_end(&mut reply))
        .map_err(AskError::NoAnswer)?;
    if reply.is_empty() {
        return Err(AskError::NotOurs);
    }
    Reply::decode(&reply).ok_or(AskError::OtherVersion)
}
