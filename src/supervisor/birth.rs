//! How the session came about, and what is needed to run its command anew.

use super::machine::Time;
use crate::files::Stamp;
use crate::session::invitation::Command;
use crate::sys::free::free_memory;
use crate::sys::shared::Shared;
use crate::sys::signals::Mask;
use crate::sys::terminal::Modes;
use crate::wire::board::Board;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::cell::OnceCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

/// What part of the memory that is free when the session begins checkpoints may come to
/// hold, unless the user says otherwise.
const SHARE: u64 = 4;

/// And that many bytes in any case.
const LEAST_MEMORY: u64 = 256 << 20;

/// What stays as it was when the session began.
pub struct Birth {
    /// The process that the shell started, our parent.
    guard: Pid,
    board: Shared<Board>,
    /// By which a command that is run anew finds the board.
    memory: Option<OwnedFd>,
    /// That is to find SIGCHLD ignored.
    ignores_children: bool,
    /// And these signals blocked.
    mask: Mask,
    command: Command,
    /// How the terminal was set.
    terminal: Modes,
    began: Instant,
    /// The folder in which the program was enabled, by its name, if it had one.
    home: Option<PathBuf>,
    /// Bytes that checkpoints may hold where the user has said nothing, once that is asked for.
    share: OnceCell<u64>,
}

impl Birth {
    /// The session begins now.
    pub fn new(
        guard: Pid,
        board: Shared<Board>,
        memory: Option<OwnedFd>,
        ignores_children: bool,
        mask: Mask,
        command: Command,
    ) -> Birth {
        Birth {
            guard,
            board,
            memory,
            ignores_children,
            mask,
            command,
            terminal: Modes::save(),
            began: Instant::now(),
            home: std::env::current_dir().ok(),
            share: OnceCell::new(),
        }
    }

    /// How many bytes checkpoints may hold where the user has said nothing.
    pub fn share_of_memory(&self) -> u64 {
        let share = || free_memory().map_or(LEAST_MEMORY, |free| LEAST_MEMORY.max(free / SHARE));
        *self.share.get_or_init(share)
    }

    /// The process that the shell started, our parent.
    pub fn guard(&self) -> Pid {
        self.guard
    }

    /// What the user has been told and has edited in this session stands there.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// When the session began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The time that has passed since then.
    pub fn now(&self) -> Time {
        self.began.elapsed()
    }

    /// The command line, words separated by spaces.
    pub fn words(&self) -> Vec<u8> {
        self.command.words()
    }

    /// Sets the terminal as it was.
    pub fn restore_terminal(&self) {
        self.terminal.restore();
    }

    /// Whether the name of the folder in which the program was enabled leads to another one now,
    /// or nowhere: a user who goes there and starts anew would find other files than
    /// those in our working directory.
    pub fn is_away(&self) -> bool {
        // Both are looked up now, as some file systems give a folder another number each time.
        let here = Stamp::of_file(b".").identity();
        self.home
            .as_ref()
            .is_some_and(|home| Stamp::of_file(home.as_os_str().as_bytes()).identity() != here)
    }

    /// Goes to where that name leads.
    fn go_home(&self) -> Result<(), String> {
        let Some(home) = self.home.as_ref().filter(|_| self.is_away()) else { return Ok(()) };
        std::env::set_current_dir(home).map_err(|error| {
            let error = Errno::from_raw(error.raw_os_error().unwrap_or_default()).desc();
            format!(
                "the folder '{}', in which the session began, cannot be gone to ({error}): the program \
                 is run anew when one of its files changes there",
                home.display()
            )
        })
    }

    /// Runs the command in a new process, which is to become the program, in the folder that
    /// has the name of the one where the session began.
    ///
    /// # Errors
    /// Why that cannot be, for the user.
    pub fn run_anew(&self) -> Result<i32, String> {
        self.go_home()?;
        let no_memory = "the program cannot be run anew in this session, which has no memory to \
                         share (see `ulimit -f` and `ulimit -n`): end it and start it anew";
        let memory = self.memory.as_ref().ok_or(no_memory)?;
        let program = self.command.run(&self.mask, self.ignores_children, memory.as_raw_fd());
        program.map_err(|error| format!("the program cannot be run anew: {}", error.desc()))
    }
}
