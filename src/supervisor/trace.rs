//! The trace: what happened and what was decided, one line each, for reports of defects.
//!
//! It is written to the file that `FORKMON_TRACE` names when the session begins, and
//! appended to, as several sessions may share one. Nobody but its owner may read one that
//! is made here: it holds paths. A line is `[session] seconds what …`, with the number of
//! the process that the shell started, and the time since the session began.

use crate::report;
use crate::sys::descriptors::duplicate;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

/// Names the file.
const VARIABLE: &str = "FORKMON_TRACE";

/// An open trace.
pub struct Trace {
    file: File,
    session: Pid,
    began: Instant,
}

impl Trace {
    /// Opens the trace that the environment asks for, if it does.
    pub fn of_environment(session: Pid, began: Instant) -> Option<Trace> {
        let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
        Trace::open(&path, session, began)
            .inspect_err(|error| {
                let path = path.to_string_lossy();
                report::warn(&format!("the trace '{path}' cannot be written: {error}"));
            })
            .ok()
    }

    fn open(path: &OsStr, session: Pid, began: Instant) -> io::Result<Trace> {
        // A FIFO without a reader, or a terminal, must not hold the session up, nor become
        // its own.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        // What is written to a standard stream that was closed must not end up here.
        let file = File::from(duplicate(file.as_raw_fd())?);
        Ok(Trace { file, session, began })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// Of writing. What a slow reader has no room for is dropped.
    pub fn write(&mut self, what: &str, text: &str) -> io::Result<()> {
        let time = self.began.elapsed().as_secs_f64();
        let line = format!("[{}] {time:.6} {what} {text}", self.session);
        let line = format!("{}\n", line.trim_end());
        match self.file.write(line.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

/// A path as it stands in a line.
pub fn shown(path: &[u8]) -> String {
    format!("'{}'", path.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lines_are_appended_to_a_file_of_its_owner_alone() {
        let path = std::env::temp_dir().join(format!("forkmon-trace-{}", std::process::id()));
        for session in [5, 7] {
            let session = Pid::from_raw(session);
            let mut trace = Trace::open(path.as_os_str(), session, Instant::now()).unwrap();
            trace.write("verdict", &format!("Changed {}", shown(b"/a\n'b"))).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), mode & 0o777), (2, 0o600));
        assert!(lines[0].starts_with("[5] 0.0") && lines[1].starts_with("[7] 0.0"), "{text}");
        assert!(lines[0].ends_with(r" verdict Changed '/a\n\'b'"), "{text}");
    }
}
