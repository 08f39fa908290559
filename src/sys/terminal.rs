//! The terminal's modes, which belong to no process and so are not cloned.
//!
//! A program that is stopped in the middle of a line editor leaves the terminal
//! without echo; one resumed from before it must find it as it was.

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io::stdin;

/// The modes of the terminal on standard input, if that is one.
pub struct Modes(Option<Termios>);

impl Modes {
    /// Reads them, if the terminal is ours: in the background they are somebody else's,
    /// such as a shell's line editor's.
    pub fn save() -> Modes {
        Modes(if is_ours() { tcgetattr(stdin()).ok() } else { None })
    }

    /// Sets them again where they have changed, unless another process group
    /// has the terminal now. Call it with SIGTTOU blocked.
    pub fn restore(&self) {
        if let Some(saved) = &self.0
            && is_ours()
            && tcgetattr(stdin()).is_ok_and(|now| now != *saved)
        {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, saved);
        }
    }
}

/// Whether this process group has the terminal.
fn is_ours() -> bool {
    tcgetpgrp(stdin()) == Ok(getpgrp())
}
