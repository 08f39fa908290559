//! Starting the command anew, in this process.
//!
//! What was loaded before `enable()` is in no checkpoint's past, so a change to
//! it means a fresh start: the supervisor, which is the process that the shell
//! started, replaces itself by the command it was.

use super::events::Sink;
use crate::descriptors::Descriptors;
use crate::program::AsRead;
use crate::program::DOORBELL;
use crate::sys::descriptors::set_close_on_exec;
use crate::sys::signals::{Mask, discard};
use crate::watch::{Stamp, content_digest, digest};
use nix::errno::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

/// Tells the restarted process what it cannot find out: when it was restarted, as
/// the kernel's start time of a process does not change when it replaces its
/// image, and what the files were like that it is going to read.
const RESTARTED: &str = "FORKMON_RESTARTED";

/// How many files it is told of: the kernel limits the length of a variable.
const MOST_FILES: usize = 2000;

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

    /// Runs the command in this process, which is going to read the `files`.
    /// Returns only when that fails.
    pub fn run<'a>(&self, mask: &Mask, files: impl Iterator<Item = &'a [u8]>) -> Errno {
        for number in Descriptors::survey().numbers().filter(|number| *number > 2) {
            set_close_on_exec(number, !self.given.contains(&number));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let files: Vec<String> = files.take(MOST_FILES).map(describe).collect();
        let (own, time) = (std::process::id(), now.as_nanos());
        let note = format!("{RESTARTED}={own}:{time}:{}", files.join(","));
        let mut environment = self.environment.clone();
        environment.extend(CString::new(note));
        // The last doorbell of a program that is gone would end the next image.
        discard(DOORBELL);
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

/// A file as it is now, for the restarted process. Its content tells where it was
/// saved so lately that another save could look the same.
fn describe(path: &[u8]) -> String {
    let stamp = Stamp::of_file(path);
    let content = if stamp.is_fresh() { content_digest(path) } else { None };
    let content = content.map(|content| format!("{content:x}")).unwrap_or_default();
    format!("{:x}.{:x}.{content}", digest(path), summary(stamp))
}

fn summary(stamp: Stamp) -> u64 {
    digest(format!("{stamp:?}").as_bytes())
}

/// How this process came to be what it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// When, in nanoseconds since the epoch; a little late rather than early.
    time: i64,
    /// Files as they were just before, by the digest of their path: the digest of
    /// the stamp, and of the content.
    files: HashMap<u64, (u64, Option<u64>)>,
}

impl Start {
    /// Reads what the process before the restart has left.
    pub fn of_this_process() -> Start {
        std::env::var(RESTARTED)
            .ok()
            .and_then(|note| Start::parse(&note, std::process::id()))
            .unwrap_or_else(|| Start { time: process_start(), files: HashMap::new() })
    }

    fn parse(note: &str, own: u32) -> Option<Start> {
        let mut parts = note.split(':');
        if parts.next()?.parse() != Ok(own) {
            return None;
        }
        let time = parts.next()?.parse().ok()?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let file = |text: &str| {
            let mut numbers = text.split('.').map(number);
            Some((numbers.next()??, (numbers.next()??, numbers.next()?)))
        };
        Some(Start { time, files: parts.next()?.split(',').filter_map(file).collect() })
    }

    /// What a file was like when it was read; `None` when it has changed since.
    /// The digest of its content is taken if it is asked for, or the stamp alone
    /// does not settle it.
    pub fn as_read(&self, path: &[u8], content: bool) -> Option<AsRead> {
        let stamp = Stamp::of_file(path);
        let known = self.files.get(&digest(path));
        let wanted = known.and_then(|(_, content)| *content);
        let needs_content = content || wanted.is_some() || stamp.is_fresh();
        let content = if needs_content { content_digest(path) } else { None };
        let changed = match known {
            Some((known, _)) => summary(stamp) != *known || wanted.is_some() && content != wanted,
            None => stamp.is_newer_than(self.time),
        };
        (!changed).then_some((stamp, content))
    }
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
    bytes.split(|byte| *byte == 0).filter_map(|string| CString::new(string).ok()).collect()
}

/// Whether a descriptor is one that a service manager says it passed to us.
fn is_announced(number: RawFd) -> bool {
    let variable = |name| std::env::var(name).ok()?.parse::<i64>().ok();
    variable("LISTEN_PID") == Some(std::process::id().into())
        && variable("LISTEN_FDS").is_some_and(|count| (3..3 + count).contains(&number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_file_that_changes_after_the_note_is_noticed() {
        let path = std::env::temp_dir().join(format!("forkmon-start-{}", std::process::id()));
        let bytes = path.as_os_str().as_bytes();
        std::fs::write(&path, "one").unwrap();
        let note = format!("7:{}:{}", i64::MAX, describe(bytes));
        let start = Start::parse(&note, 7).unwrap();
        assert!(start.as_read(bytes, false).is_some());
        // As long as before, and within a tick of the clock.
        std::fs::write(&path, "two").unwrap();
        assert_eq!(start.as_read(bytes, false), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(start.as_read(bytes, false), None);
        assert_eq!(Start::parse(&note, 8), None);
    }

    #[test]
    fn a_note_without_files_goes_by_the_time() {
        let start = Start::parse("7:0:", 7).unwrap();
        assert_eq!(start.as_read(b"/proc/self/exe", false), None);
        assert_eq!(start.as_read(b"/nowhere", true), Some((Stamp::Absent, None)));
    }
}
