//! The channel: how the program says something to its supervisor.
//!
//! Records go on the board. A supervisor that sleeps is rung for, and one that is behind is
//! waited for: what the program depends on must be known before it goes on.

use crate::files::Stamp;
use crate::session::invitation::Session;
use crate::session::signals::DOORBELL;
use crate::sys::process::own_pid;
use crate::sys::shared::Shared;
use crate::wire::board::{Board, Push};
use crate::wire::record::{Dependencies, Index, Record};
use nix::unistd::Pid;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long to wait before looking again whether the board has room.
const BACK_PRESSURE: Duration = Duration::from_micros(200);

/// The longest wait for the supervisor to have read a record.
const ACKNOWLEDGE_AT_MOST: Duration = Duration::from_secs(1);

/// As many paths go into one record, of which some must fit on the board.
const MOST_SEEN: usize = 32;

/// The program's end.
pub struct Channel {
    board: Shared<Board>,
    supervisor: Pid,
    /// The program's process; a subprocess that it forks is not the program.
    program: Pid,
    is_closed: bool,
    /// Used again, so that a stop point need not ask for memory.
    record: Dependencies,
}

impl Channel {
    /// That of this process, the program of a session.
    pub fn new(session: Session) -> Channel {
        let Session { supervisor, board } = session;
        Channel {
            board,
            supervisor,
            program: own_pid(),
            is_closed: false,
            record: Dependencies::default(),
        }
    }

    /// The memory that all processes of the session share.
    pub fn board(&self) -> Shared<Board> {
        self.board
    }

    /// How long after the last checkpoint another one is kept that nothing forces.
    pub fn apart(&self) -> Duration {
        Duration::from_micros(self.board.apart.load(Ordering::Relaxed))
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> Pid {
        self.supervisor
    }

    /// The program's process.
    pub fn program(&self) -> Pid {
        self.program
    }

    /// Whether this process is the program, and has not closed the channel.
    pub fn is_open(&self) -> bool {
        !self.is_closed && own_pid() == self.program
    }

    /// Nothing more is said in this timeline.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// A clone, this process, is the program now.
    pub fn hand_over(&mut self) {
        self.program = own_pid();
    }

    /// Says a record.
    pub fn send(&self, record: &Record) {
        self.push(&record.encode());
    }

    /// Says what the program depends on from now on: paths, their stamps, and digests of
    /// their content where those were taken. `checkpoint`: from where a change resumes.
    pub fn depend<'a>(
        &mut self,
        checkpoint: Option<Index>,
        found: impl IntoIterator<Item = (&'a [u8], Stamp, Option<u64>)>,
    ) {
        self.record.begin(checkpoint);
        for (path, stamp, content) in found {
            if self.record.count() == MOST_SEEN {
                self.push(self.record.bytes());
                self.record.begin(checkpoint);
            }
            self.record.add(path, stamp, content);
        }
        if self.record.count() > 0 {
            self.push(self.record.bytes());
        }
    }

    fn push(&self, record: &[u8]) {
        loop {
            match self.board.push(record) {
                Push::Done => return,
                Push::Ring => return self.ring(),
                // The supervisor is at work, or stopped, in which case so shall the program be.
                Push::Full => std::thread::sleep(BACK_PRESSURE),
            }
        }
    }

    /// Waits until the supervisor has read all that was said.
    pub fn await_read(&self) {
        let mut waited = Duration::ZERO;
        while !self.board.is_drained() && waited < ACKNOWLEDGE_AT_MOST {
            self.ring();
            std::thread::sleep(BACK_PRESSURE);
            waited += BACK_PRESSURE;
        }
    }

    fn ring(&self) {
        // It fails when the program has given up the rights it started with; the
        // supervisor then reads the board at its next event.
        let _ = nix::sys::signal::kill(self.supervisor, DOORBELL);
    }
}
