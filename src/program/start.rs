//! Starting: this process becomes the program of a session.

use super::answers::Answers;
use super::budget::{Budget, processor_time};
use super::carried::{Carried, Descriptors};
use super::channel::Channel;
use super::effects::Effects;
use super::known::Known;
use super::place::Place;
use super::writes::Writes;
use super::{Program, Resume};
use crate::files::Stamp;
use crate::report;
use crate::session::invitation::{JoinError, Session};
use crate::session::split::{Split, split};
use crate::sys::clone::threads;
use crate::sys::process::{die_with_parent, exit_now, monotonic};
use crate::sys::procfs::{has_children, is_ours};
use crate::sys::signals::Mask;
use crate::wire::record::{Record, Seen, Worth};
use crate::wire::settings::Settings;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::convert::Infallible;
use std::time::Duration;

/// So many descriptors more are open at a time in a supervisor: of signals, events and
/// requests, to look at a process, to write events.
const DESCRIPTORS: u64 = 8;

/// What a file was like when it was read, with a digest of its content where that
/// was taken.
pub type AsRead = (Stamp, Option<u64>);

/// How a session is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Options.
    pub settings: Settings,
    /// The main script, when it is loaded after `enable()`.
    pub main: Option<Vec<u8>>,
    /// Files loaded before `enable()`, which only a fresh start loads again;
    /// `None` for those that have changed since.
    pub before: Vec<(Vec<u8>, Option<AsRead>)>,
    /// Paths the user wants watched besides.
    pub watch: Vec<Vec<u8>>,
    /// Every open descriptor was inherited: no line of the program has run.
    pub inherited: bool,
    /// Where events go, as the option has it.
    pub events: Option<Vec<u8>>,
    /// What checkpoints may cost, as a fraction of the run time.
    pub overhead: f64,
    /// Take a checkpoint at every stop point.
    pub exact: bool,
}

/// Why a session could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The process has this many threads.
    Threads(u64),
    /// `/proc` is not mounted.
    NoProc,
    /// It is mounted, and shows other processes.
    ForeignProc,
    /// So many descriptors may be open, of which so many are.
    Descriptors(u64, u64),
    /// This process was started for a session that it cannot join.
    Session(JoinError),
    /// The kernel refused memory, a descriptor or a process.
    System(Errno),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            StartError::Threads(count) => write!(
                out,
                "threads: the process has {count} threads and a checkpoint can carry only one; \
                 enable forkmon before they are started"
            ),
            StartError::Session(error) => error.fmt(out),
            StartError::NoProc => out.write_str("/proc is not mounted, and forkmon needs it"),
            StartError::ForeignProc => out.write_str(
                "/proc is that of another PID namespace, and forkmon needs that of its own \
                 (see `unshare --mount-proc`)",
            ),
            StartError::Descriptors(limit, open) => write!(
                out,
                "only {limit} descriptors may be open (`ulimit -n`), {open} are, and forkmon needs \
                 {DESCRIPTORS} more"
            ),
            StartError::System(Errno::EAGAIN) => out.write_str(
                "no process could be had for the supervisor (EAGAIN; see `ulimit -u` and the \
                 cgroup's pids.max)",
            ),
            StartError::System(error) => write!(out, "the process could not be forked: {error}"),
        }
    }
}

impl Program {
    /// Makes this process the program of a session: of the one it was started for, or
    /// else of a new one. Then the program goes on in another process, and this one, which `guard` is,
    /// and the supervisor, which `supervise` is, never return. Returns again for
    /// every resume from the first checkpoint.
    ///
    /// Every signal must be blocked; `mask` is what was in force before.
    ///
    /// # Errors
    /// See [`StartError`]; nothing has happened then.
    pub fn start(
        start: Start,
        mask: Mask,
        guard: impl FnOnce(Pid, &[Signal]) -> Infallible,
        supervise: impl FnOnce(Split, Settings),
    ) -> Result<(Program, Option<Resume>), StartError> {
        match threads() {
            None => return Err(StartError::NoProc),
            Some(1) => {}
            Some(count) => return Err(StartError::Threads(count)),
        }
        if !is_ours() {
            return Err(StartError::ForeignProc);
        }
        report::configure(start.settings.quiet, start.settings.colors);
        let descriptors = Descriptors::survey();
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(limit, _)| limit);
        let open = descriptors.numbers().count() as u64;
        if open + DESCRIPTORS > limit {
            return Err(StartError::Descriptors(limit, open));
        }
        let outside = descriptors.outside(!start.inherited && has_children());
        let joined = Session::of_this_process().map_err(StartError::Session)?;
        let is_new = joined.is_none();
        let used = if is_new { processor_time() } else { Duration::ZERO };
        let session = match joined {
            Some(session) => session,
            None => split(mask, guard, |split| supervise(split, start.settings.clone()))
                .map_err(StartError::System)?,
        };
        if !die_with_parent(session.supervisor) {
            exit_now(0);
        }
        let mut program = Program {
            channel: Channel::new(session),
            settings: start.settings,
            place: Place::at_start(),
            known: Known::default(),
            answers: Answers::default(),
            writes: Writes::new(),
            effects: Effects::of_this_process(),
            budget: Budget::new(start.overhead, start.exact, used),
            carried: Carried::new(outside),
        };
        if is_new {
            program.say_running();
        } else {
            let settings = program.settings.clone();
            let began = monotonic().as_nanos() as u64;
            program.channel.send(&Record::Started { settings, events: start.events, began });
        }
        for (path, as_read) in start.before {
            let now = as_read.map_or_else(|| Stamp::of_file(&path), |(stamp, _)| stamp);
            let Some(found) = program.known.find(&path, now) else { continue };
            // A stamp that no file has makes the supervisor start anew.
            let (stamp, content) = as_read.unwrap_or((Stamp::Special(0), None));
            let seen = vec![Seen { path: found.into_owned(), stamp, content }];
            program.channel.send(&Record::Dependencies { checkpoint: None, seen });
        }
        let name = start.main.clone().unwrap_or_default();
        let (_, resume) = program.try_to_take(&name, Worth::default(), false, None);
        program.place.leave_start();
        for path in start.main.iter().chain(&start.watch) {
            let stamp = Stamp::of(path);
            if program.is_short_enough(path)
                && let Some(found) = program.known.find(path, stamp)
            {
                program.note(&found, stamp);
            }
        }
        Ok((program, resume))
    }
}
