//! The options that the supervisor needs. The Lua front has checked them.

use super::codec::wire;
use std::os::fd::RawFd;

/// So many files get a `watch` line each, unless the user says otherwise.
pub const WATCH_LINES: u32 = 10;

/// Options, in the units the user writes them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Milliseconds without another change before the program is resumed.
    pub restart_delay: u64,
    /// Milliseconds between two resumes; later changes are held until then.
    pub ignore_delay: u64,
    /// Milliseconds between two looks at the files; 0: the kernel tells.
    pub poll: u64,
    /// How many checkpoints are kept.
    pub max_checkpoints: u32,
    /// Bytes that checkpoints may come to hold together before those are given up that
    /// only save time; `None`: a share of what is free.
    pub max_memory: Option<u64>,
    /// Milliseconds from the stop signal to SIGKILL.
    pub stop_timeout: u64,
    /// The signal that asks the program to stop.
    pub stop_signal: i32,
    /// Print nothing but warnings.
    pub quiet: bool,
    /// How many files get a `watch` line each.
    pub watch_lines: u32,
    /// Color the lines.
    pub colors: bool,
    /// Ignore saves that leave the bytes as they were.
    pub content: bool,
    /// Clear the screen before a resumed run.
    pub clear: bool,
}

wire!(struct Settings {
    restart_delay, ignore_delay, poll, max_checkpoints, max_memory, stop_timeout, stop_signal,
    quiet, watch_lines, colors, content, clear,
});

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file, appended to, or a FIFO.
    Path(Vec<u8>),
    /// A descriptor that was inherited.
    Descriptor(RawFd),
}

impl Sink {
    /// Reads the option: a path, or `fd:N`.
    pub fn parse(text: &[u8]) -> Sink {
        let number = text.strip_prefix(b"fd:").and_then(|number| std::str::from_utf8(number).ok());
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => Sink::Descriptor(number),
            None => Sink::Path(text.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_names_a_path_or_a_descriptor() {
        assert_eq!(Sink::parse(b"fd:3"), Sink::Descriptor(3));
        assert_eq!(Sink::parse(b"fd:x"), Sink::Path(b"fd:x".to_vec()));
        assert_eq!(Sink::parse(b"/tmp/e"), Sink::Path(b"/tmp/e".to_vec()));
    }
}
