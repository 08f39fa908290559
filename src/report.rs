//! The lines that the user sees, on standard error.
//!
//! They are written with one bare `write` each, past every buffer, so that they
//! stand where they belong among the program's own output. Nobody may come to
//! harm by them: a closed pipe raises no SIGPIPE in the program, a file that the
//! program has opened in the place of standard error gets none, and where nobody
//! reads, the supervisor drops a line rather than wait.

use crate::sys::signals::without_sigpipe;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const YELLOW: &str = "33";
const RED: &str = "31";

/// How long the supervisor waits for room in a pipe or terminal, in milliseconds.
const PATIENCE: u16 = 100;

static COLORS: AtomicBool = AtomicBool::new(false);
static QUIET: AtomicBool = AtomicBool::new(false);
static NO_MEMORY: AtomicBool = AtomicBool::new(false);
static WRITTEN: AtomicU64 = AtomicU64::new(0);
/// What standard error was at first, if it was open.
static STDERR: OnceLock<Option<(Identity, Kind)>> = OnceLock::new();

/// Device and inode.
type Identity = (u64, u64);

/// What may become of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It waits for a reader, and raises SIGPIPE where there is none any more.
    Pipe,
    /// It waits while the terminal is held.
    Terminal,
    /// It is done at once.
    File,
}

/// Takes over the options that concern lines.
pub fn configure(quiet: bool, colors: bool) {
    COLORS.store(colors, Ordering::Relaxed);
    QUIET.store(quiet, Ordering::Relaxed);
    stderr_kind();
}

/// What kind of file standard error is, if what has its number is it still.
fn stderr_kind() -> Option<Kind> {
    let now = fstat(std::io::stderr()).ok();
    let identity = now.map(|now| (now.st_dev, now.st_ino));
    let first = STDERR.get_or_init(|| {
        let kind = match SFlag::from_bits_truncate(now?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFIFO | SFlag::S_IFSOCK => Kind::Pipe,
            SFlag::S_IFCHR if std::io::stderr().is_terminal() => Kind::Terminal,
            _ => Kind::File,
        };
        Some((identity?, kind))
    });
    first.filter(|(first, _)| Some(*first) == identity).map(|(_, kind)| kind)
}

/// Prints `[forkmon] ` and the text, unless forkmon was asked to be quiet.
pub fn info(parts: &[&[u8]]) {
    if !QUIET.load(Ordering::Relaxed) {
        print(YELLOW, parts);
    }
}

/// Prints a line about something that went wrong in the program.
pub fn error(parts: &[&[u8]]) {
    if !QUIET.load(Ordering::Relaxed) {
        print(RED, parts);
    }
}

/// Prints a warning, which is never kept quiet: forkmon cannot do what it promised.
pub fn warn(text: &str) {
    warn_bytes(text.as_bytes());
}

/// As [`warn`], for text that may name a path.
pub fn warn_bytes(text: &[u8]) {
    print(RED, &[text]);
}

/// Says, once, that there is no memory: not among the events, as that would take some.
pub fn warn_of_memory() {
    if !NO_MEMORY.swap(true, Ordering::Relaxed) {
        warn("there is no memory left: what is opened now is not watched");
    }
}

/// How many bytes this process has written here: they are not the program's.
pub fn bytes_written() -> u64 {
    WRITTEN.load(Ordering::Relaxed)
}

/// Begins to count anew, as the kernel does in a resumed process.
pub fn reset_count() {
    WRITTEN.store(0, Ordering::Relaxed);
}

/// Clears the screen and the scroll-back, if standard error is a terminal.
pub fn clear_screen() {
    if stderr_kind() != Some(Kind::Terminal) {
        return;
    }
    write(b"\x1b[H\x1b[2J\x1b[3J");
}

fn print(color: &str, parts: &[&[u8]]) {
    let colors = COLORS.load(Ordering::Relaxed);
    let mut line = Vec::new();
    let longest = parts.iter().map(|part| 4 * part.len()).sum::<usize>() + 32;
    if line.try_reserve(longest).is_err() {
        // It may be about that very thing.
        return;
    }
    if colors {
        line.extend(format!("\x1b[{color}m").bytes());
    }
    line.extend(b"[forkmon] ");
    for byte in parts.iter().copied().flatten() {
        match byte {
            // A file's name may hold anything, but it shall not command the terminal.
            0..=0x1f | 0x7f => line.extend(byte.escape_ascii()),
            _ => line.push(*byte),
        }
    }
    if colors {
        line.extend(b"\x1b[0m");
    }
    line.push(b'\n');
    write(&line);
}

fn write(bytes: &[u8]) {
    match stderr_kind() {
        None => {}
        // Nothing else raises the signal.
        Some(Kind::Pipe) => without_sigpipe(|| write_all(bytes, true)),
        Some(kind) => write_all(bytes, kind == Kind::Terminal),
    }
}

fn write_all(mut bytes: &[u8], may_wait: bool) {
    let stderr = std::io::stderr();
    while !bytes.is_empty() {
        if may_wait {
            let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut ready, PollTimeout::from(PATIENCE)) {
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        match nix::unistd::write(&stderr, bytes) {
            Ok(length) => {
                WRITTEN.fetch_add(length as u64, Ordering::Relaxed);
                bytes = &bytes[length..];
            }
            Err(Errno::EINTR) => {}
            // It has become full between the look and the write.
            Err(Errno::EAGAIN) if may_wait => {}
            Err(_) => return,
        }
    }
}
