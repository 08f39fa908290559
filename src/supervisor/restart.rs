//! Starting the command anew, in this process.
//!
//! What was loaded before `enable()` is in no checkpoint's past, so a change to
//! it means a fresh start: the supervisor, which is the process that the shell
//! started, replaces itself by the command it was.

use super::events::Sink;
use crate::descriptors::Descriptors;
use crate::sys::descriptors::set_close_on_exec;
use crate::sys::signals::Mask;
use nix::errno::Errno;
use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::SystemTime;

/// Tells the restarted process when it was: the kernel's start time of a process
/// does not change when it replaces its image.
const RESTARTED: &str = "FORKMON_RESTARTED";

/// How this process was started.
pub struct Command {
    executable: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Descriptors that came from outside and are given on.
    given: Vec<RawFd>,
}

impl Command {
    /// Reads the command of this process. `inherited`: every open descriptor
    /// came from outside; otherwise only the standard three and those that a
    /// service manager announced are taken to have.
    pub fn of_this_process(inherited: bool, events: Option<&Sink>) -> Command {
        let environment = strings("/proc/self/environ");
        let given = Descriptors::survey()
            .numbers()
            .filter(|number| {
                inherited
                    || *number <= 2
                    || is_announced(*number)
                    || events == Some(&Sink::Descriptor(*number))
            })
            .collect();
        Command {
            executable: executable(),
            arguments: strings("/proc/self/cmdline"),
            environment: environment
                .into_iter()
                .filter(|entry| !entry.to_bytes().starts_with(RESTARTED.as_bytes()))
                .collect(),
            given,
        }
    }

    /// The descriptors that a restart passes on.
    pub fn given(&self) -> &[RawFd] {
        &self.given
    }

    /// Runs the command in this process. Returns only when that fails.
    pub fn run(&self, mask: &Mask) -> Errno {
        for number in Descriptors::survey().numbers().filter(|number| *number > 2) {
            set_close_on_exec(number, !self.given.contains(&number));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let note = format!("{RESTARTED}={}:{}", std::process::id(), now.as_nanos());
        let mut environment = self.environment.clone();
        environment.extend(CString::new(note));
        mask.restore();
        match nix::unistd::execve(&self.executable, &self.arguments, &environment) {
            Err(error) => {
                Mask::block_all();
                error
            }
        }
    }

    /// The command line, words separated by spaces.
    pub fn words(&self) -> Vec<u8> {
        let words: Vec<&[u8]> = self.arguments.iter().map(|word| word.to_bytes()).collect();
        words.join(&b' ')
    }

    /// The program's file, for messages.
    pub fn executable(&self) -> &[u8] {
        self.executable.to_bytes()
    }
}

/// When this process last became what it is, in nanoseconds since the epoch; a
/// little late rather than early.
pub fn started_at() -> i64 {
    let restarted = std::env::var(RESTARTED).ok().and_then(|value| {
        let (pid, time) = value.split_once(':')?;
        (pid.parse() == Ok(std::process::id())).then(|| time.parse().ok())?
    });
    restarted.unwrap_or_else(process_start)
}

/// The start time of this process: ticks since boot, made a date.
fn process_start() -> i64 {
    let ticks = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|line| line[line.rfind(')')? + 2..].split(' ').nth(19)?.parse::<i64>().ok());
    let boot_clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match (ticks, boot_clock) {
        (Some(ticks), Ok(clock)) => {
            // USER_HZ is 100 on every architecture that /proc is read on.
            let since_boot = (ticks + 1) * 10_000_000;
            let uptime = clock.tv_sec() * 1_000_000_000 + clock.tv_nsec();
            now.as_nanos() as i64 - uptime + since_boot
        }
        _ => now.as_nanos() as i64,
    }
}

/// The name by which the environment remembers a restart; the program must not see it.
pub fn variable() -> &'static str {
    RESTARTED
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
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|string| CString::new(OsString::from_vec(string.to_vec()).as_bytes()).ok())
        .collect()
}

/// Whether a descriptor is one that a service manager says it passed to us.
fn is_announced(number: RawFd) -> bool {
    let variable = |name| std::env::var(name).ok()?.parse::<i64>().ok();
    variable("LISTEN_PID") == Some(std::process::id().into())
        && variable("LISTEN_FDS").is_some_and(|count| (3..3 + count).contains(&number.into()))
}
