//! The program's side: stop points, dependencies, and what goes on the board.
//!
//! Theory of operation. The hooks call in here just before the program opens a
//! file. What the program knows about the session lives in its own memory, so
//! that a resume takes it back together with everything else: a resumed program
//! has seen exactly the files that had been seen when its checkpoint was taken.
//! At a stop point the order matters: the stamp before the open itself, and anew in
//! who is resumed from its checkpoint, since that is so as the file has changed.

pub mod carried;
pub mod effects;
pub mod park;
pub mod placement;
pub mod probe;
pub mod scout;
pub mod searches;

use crate::files::Stamp;
use crate::files::path::{may, working_directory};
use crate::report;
use crate::session::invitation::{JoinError, Session};
use crate::session::signals::DOORBELL;
use crate::session::split::{Split, split};
use crate::sys::clone::threads;
use crate::sys::copies;
use crate::sys::descriptors::lowest_free;
use crate::sys::keeper;
use crate::sys::memory::is_set_aside;
use crate::sys::process::{Root, die_with_parent, exit_now, own_faults, page_size};
use crate::sys::procfs::{is_ours, own_pages};
use crate::sys::shared::Shared;
use crate::sys::signals::Mask;
use crate::sys::stdio;
use crate::wire::board::{Board, Push};
use crate::wire::letter::Letter;
use crate::wire::record::{Dependencies, Directory, Index, Record, Seen, Worth};
use crate::wire::settings::Settings;
use carried::{Descriptors, Emptied, Obstacle, Outside};
use effects::{Counters, Footprint};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, Pid, getpid};
use park::{MOST_COPIED, Outcome};
use placement::{Decision, Memory, Placement, Stop};
use probe::Probe;
use rustc_hash::{FxHashMap, FxHashSet};
use scout::{Candidate, Trail};
use searches::{Missed, Search, Searches};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// How long to wait before looking again whether the board has room.
const BACK_PRESSURE: Duration = Duration::from_micros(200);

/// The longest wait for the supervisor to have read a record.
const ACKNOWLEDGE_AT_MOST: Duration = Duration::from_secs(1);

/// A file saved this shortly before it is opened is where somebody is at work.
const RECENT: Duration = Duration::from_secs(120);

/// As much of a warning becomes an event: it may hold any message of the program.
const LONGEST_WARNING: usize = 2000;

/// As much of a label as is kept.
const LONGEST_NAME: usize = libc::PATH_MAX as usize;

/// The longest path that the kernel takes: PATH_MAX counts the zero at its end.
const LONGEST_PATH: usize = libc::PATH_MAX as usize - 1;

/// As many paths go into one record, of which some must fit on the board.
const MOST_SEEN: usize = 32;

/// So many descriptors more are open at a time in a supervisor: of signals, events and
/// requests, to look at a process, to write events.
const DESCRIPTORS: u64 = 8;

/// How many files count as hot for that reason alone: a fresh checkout makes all
/// of them recent, which tells nothing.
const MOST_RECENT: u32 = 8;

/// From how many resident bytes on a program gets a keeper: below, giving its
/// memory back takes less time than a keeper does.
const KEEP: usize = 24 << 20;

/// What the program was told when it was resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Why and how often.
    pub letter: Letter,
    /// The label of the checkpoint, where the program gave it one.
    pub label: Option<Vec<u8>>,
}

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

/// The program under its supervisor.
pub struct Program {
    board: Shared<Board>,
    supervisor: Pid,
    /// This process; a subprocess that the program forks is not the program.
    pid: Pid,
    settings: Settings,
    outside: Outside,
    /// The directory in which it began, by device and inode.
    home: Option<(u64, u64)>,
    /// What paths begin at for the supervisor.
    root: Option<Root>,
    /// The newest checkpoint of this timeline, on which new files depend.
    current: Option<Index>,
    next: Index,
    placement: Placement,
    probe: Probe,
    counters: Counters,
    /// What others could see of the program at the last checkpoint.
    footprint: Option<Footprint>,
    /// When the program would have begun had it never been parked.
    began: Instant,
    /// Processor time used by the processes it was before.
    used: Duration,
    recent: u32,
    /// Paths recorded in this timeline.
    seen: FxHashSet<Vec<u8>>,
    /// And those of searches.
    searches: Searches,
    /// What these have found empty.
    missed: Missed,
    record: Dependencies,
    /// Files the program has made anew, and the checkpoint before that.
    written: FxHashMap<Vec<u8>, Option<Index>>,
    /// Files it has opened with `w+`.
    emptied: Emptied,
    /// The program opens connections anew after a resume.
    reopens: bool,
    /// Something observable happened since the last checkpoint.
    effect: bool,
    /// And may do so without our seeing it.
    effects_unseen: bool,
    disabled: bool,
    warned_threads: bool,
    warned_clone: bool,
    warned_root: bool,
    warned_length: bool,
    /// This process has been seen to need a keeper.
    kept: bool,
}

/// What the program is about to do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write it from its beginning; it need not be there.
    Make,
    /// Write at its end; it need not be there. Logs are so written: they grow
    /// with every run, resumed or not.
    Append,
    /// Write to it where it is.
    Update,
    /// Remove it or give it another name.
    Move,
}

/// Why a checkpoint was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The program has this many threads, of which a clone would have one.
    Threads(u64),
    /// `/proc` is not mounted where the program is now.
    NoProc,
    /// Something open cannot be carried over.
    Obstacle(Obstacle),
    /// The kernel refused.
    Clone(Errno),
}

impl std::fmt::Display for Declined {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Declined::Threads(count) => write!(
                out,
                "the program has {count} threads and a checkpoint can carry only one; \
                 changes resume from the checkpoint before"
            ),
            Declined::NoProc => out.write_str(
                "/proc is not mounted, and a checkpoint needs it; \
                 changes resume from the checkpoint before",
            ),
            Declined::Obstacle(Obstacle::Pipe) => out.write_str(
                "a pipe to a subprocess is open, which a checkpoint would keep from closing",
            ),
            Declined::Obstacle(Obstacle::Connection) => out.write_str(
                "a connection is open, which a checkpoint cannot carry unless on_resume reopens it",
            ),
            Declined::Obstacle(Obstacle::Shared) => out.write_str(
                "an event queue is open, which a checkpoint cannot carry unless on_resume reopens it",
            ),
            Declined::Obstacle(Obstacle::Lock) => out.write_str(
                "a file is locked, which a checkpoint would keep locked",
            ),
            Declined::Obstacle(Obstacle::NoDescriptor) => out.write_str(
                "there is no descriptor left (see `ulimit -n`) to look at the open files with",
            ),
            Declined::Obstacle(Obstacle::NoMemory) => out.write_str(
                "there is no memory left to look at the open files with; \
                 changes resume from the checkpoint before",
            ),
            Declined::Clone(Errno::EAGAIN) => out.write_str(
                "no process could be had (EAGAIN; see `ulimit -u` and the cgroup's pids.max); \
                 changes resume from the checkpoint before",
            ),
            Declined::Clone(error) => {
                write!(out, "the process could not be cloned: {error}; changes resume from the checkpoint before")
            }
        }
    }
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
        let Session { supervisor, board } = match joined {
            Some(session) => session,
            None => split(mask, guard, |split| supervise(split, start.settings.clone()))
                .map_err(StartError::System)?,
        };
        if !die_with_parent(supervisor) {
            exit_now(0);
        }
        let mut program = Program {
            board,
            supervisor,
            pid: getpid(),
            settings: start.settings,
            outside,
            home: Stamp::of_file(b".").identity(),
            root: Root::of_this_process(),
            current: None,
            next: 0,
            placement: Placement::new(start.overhead, start.exact, copied_ahead()),
            probe: Probe::default(),
            counters: Counters::of_this_process(),
            footprint: None,
            began: Instant::now(),
            used,
            recent: 0,
            seen: FxHashSet::default(),
            searches: Searches::default(),
            missed: Missed::default(),
            record: Dependencies::default(),
            written: FxHashMap::default(),
            emptied: Emptied::new(),
            reopens: false,
            effect: false,
            effects_unseen: false,
            disabled: false,
            warned_threads: false,
            warned_clone: false,
            warned_root: false,
            warned_length: false,
            kept: false,
        };
        if is_new {
            program.running();
        } else {
            let settings = program.settings.clone();
            program.send(&Record::Started { settings, events: start.events });
        }
        for (path, as_read) in start.before {
            // A stamp that no file has makes the supervisor start anew.
            let (stamp, content) = as_read.unwrap_or((Stamp::Tree(0), None));
            let seen = vec![Seen { path, stamp, content }];
            program.send(&Record::Dependencies { checkpoint: None, seen });
        }
        let name = start.main.clone().unwrap_or_default();
        let (_, resume) = program.place(&name, Worth::default(), false);
        if program.current.is_none() {
            // Without this checkpoint, too, what comes now was not loaded before.
            (program.current, program.next) = (Some(0), 1);
        }
        for path in start.main.iter().chain(&start.watch) {
            if program.is_short_enough(path) {
                program.note(path, Stamp::of(path));
            }
        }
        Ok((program, resume))
    }

    /// Whether this process is the program, enabled.
    pub fn is_active(&self) -> bool {
        !self.disabled && getpid() == self.pid
    }

    /// The process that the shell started.
    pub fn session(&self) -> i32 {
        self.board.session.load(Ordering::Relaxed)
    }

    /// The processor time the program has used, in all the processes it was.
    pub fn processor_time(&self) -> Duration {
        self.used + processor_time()
    }

    /// No more checkpoints and records from this timeline.
    pub fn disable(&mut self) {
        self.disabled = true;
    }

    /// Takes new options over.
    pub fn configure(&mut self, settings: Settings, overhead: f64, exact: bool) {
        if !self.is_active() {
            return;
        }
        report::configure(settings.quiet, settings.colors);
        self.placement.configure(overhead, exact);
        self.settings = settings;
        self.send(&Record::Configured(self.settings.clone()));
    }

    /// The program will open connections anew when it is resumed.
    pub fn set_reopens(&mut self, reopens: bool) {
        self.reopens = reopens;
    }

    /// A stop point: the program is about to open `path`. With `joins` it is none, and
    /// the file belongs to the last checkpoint.
    pub fn visit(&mut self, path: &[u8], joins: bool) -> Option<Resume> {
        if !self.can_watch() || self.seen.contains(path) || !self.is_short_enough(path) {
            return None;
        }
        let stamp = Stamp::of_file(path);
        let resume = if joins { None } else { self.stop(path, stamp) };
        // Whoever was resumed was so because the file has changed.
        let stamp = if resume.is_some() { Stamp::of_file(path) } else { stamp };
        self.announce(path, stamp);
        self.note(path, stamp);
        resume
    }

    /// A stop point: the program is about to look for a file at these places.
    /// When it is resumed here, the places have to be looked at anew, and what
    /// is found then passed to [`Program::record_search`]. With `joins` it is none.
    pub fn visit_search(&mut self, search: &Search, trail: &Trail, joins: bool) -> Option<Resume> {
        if !self.can_watch() {
            return None;
        }
        let new = self.new_places(search, trail);
        // Named for the file that is found, which is the last.
        let last = new.last()?;
        let resume = if joins { None } else { self.stop(last.path, last.stamp) };
        if resume.is_none() {
            self.record_new(&new);
            self.searches.note(search, trail.count());
        }
        resume
    }

    /// Those of the places of a search that become dependencies by it. One that was
    /// empty the last time and is no more does so, too.
    fn new_places<'a>(&mut self, search: &Search, trail: &'a Trail) -> Vec<Candidate<'a>> {
        let known = self.searches.known(search);
        let mut new = Vec::with_capacity(trail.count());
        for (at, candidate) in trail.iter().enumerate() {
            if (at >= known || candidate.stamp != Stamp::Absent) && self.is_new(&candidate) {
                new.push(candidate);
            }
        }
        new
    }

    /// Makes the places of a search dependencies.
    pub fn record_search(&mut self, search: &Search, trail: &Trail) {
        let new = self.new_places(search, trail);
        self.record_new(&new);
        self.searches.note(search, trail.count());
    }

    fn record_new(&mut self, candidates: &[Candidate]) {
        for Candidate { path, stamp, .. } in candidates {
            self.announce(path, *stamp);
            match stamp {
                Stamp::Absent => self.missed.insert(path),
                _ => _ = self.seen.insert(path.to_vec()),
            }
        }
        self.depend(candidates.iter().map(|candidate| (candidate.path, candidate.stamp)));
    }

    /// The filter is another: what it did not take before, it may take now.
    pub fn forget_searches(&mut self) {
        self.searches = Searches::default();
    }

    /// Whether a place that is looked at becomes a dependency thereby. One that is
    /// empty may do so twice, which does no harm.
    fn is_new(&mut self, candidate: &Candidate) -> bool {
        candidate.watched
            && (candidate.stamp == Stamp::Absent || !self.seen.contains(candidate.path))
            && self.is_short_enough(candidate.path)
    }

    /// A checkpoint that the program asks for.
    ///
    /// # Errors
    /// See [`Declined`]; the program just goes on.
    pub fn checkpoint(&mut self, label: &[u8]) -> (Result<(), Declined>, Option<Resume>) {
        if !self.is_active() {
            return (Ok(()), None);
        }
        let worth = Worth { explicit: true, separated: self.has_effect(), hot: false };
        self.place(label, worth, false)
    }

    /// Makes a file or a directory a dependency of the present checkpoint. False when
    /// it cannot be one.
    pub fn watch(&mut self, path: &[u8]) -> bool {
        if !self.can_watch() {
            return false;
        }
        if !self.seen.contains(path) && self.is_short_enough(path) {
            self.note(path, Stamp::of(path));
        }
        self.seen.contains(path)
    }

    /// The program is about to change `path` itself, which shall not count as an
    /// edit. Waits until the supervisor knows, where it watches the path: it
    /// must not see the change first. False when the program is going to fail.
    pub fn wrote(&mut self, path: &[u8], change: Change) -> bool {
        if !self.is_active() {
            return true;
        }
        if !can_succeed(path, change) {
            return false;
        }
        // A checkpoint from between two changes of one file would find the file
        // as the second has left it.
        match self.written.get(path) {
            Some(&before) if before != self.current => {
                self.send(&Record::Outdated { after: before });
                self.current = before;
                self.effect = true;
            }
            Some(_) => {}
            None if change == Change::Make => {
                self.written.insert(path.to_vec(), self.current);
            }
            None => {}
        }
        let is_watched = self.seen.contains(path) || self.missed.may_hold(path);
        if !is_watched || !self.can_watch() {
            return true;
        }
        self.send(&Record::Wrote { path: path.to_vec() });
        let mut waited = Duration::ZERO;
        while !self.board.is_drained() && waited < ACKNOWLEDGE_AT_MOST {
            self.ring();
            std::thread::sleep(BACK_PRESSURE);
            waited += BACK_PRESSURE;
        }
        true
    }

    /// The program is about to open `path` for writing and reading, and thereby
    /// to empty it.
    pub fn empties(&mut self, path: &[u8]) {
        if self.is_active()
            && let Ok(descriptor) = lowest_free()
        {
            self.emptied.insert(descriptor, PathBuf::from(OsStr::from_bytes(path)));
        }
    }

    /// Something happened that others can see and no counter shows.
    /// `from_now_on`: and may happen again at any time.
    pub fn effect(&mut self, from_now_on: bool) {
        self.effect = true;
        self.effects_unseen |= from_now_on;
    }

    /// Whether the supervisor finds what this process finds by a path. Not so in a
    /// program that has gone to another root, or among other mounts.
    fn can_watch(&mut self) -> bool {
        if !self.is_active() {
            return false;
        }
        let at_home = Root::of_this_process() == self.root;
        if !at_home && !std::mem::replace(&mut self.warned_root, true) {
            self.warn(
                b"the program has changed its root directory or its mounts (chroot, unshare): \
                  what it opens there is not watched",
            );
        }
        at_home
    }

    /// Whether a path can be used: what is reached by a relative path may have too
    /// long an absolute one.
    fn is_short_enough(&mut self, path: &[u8]) -> bool {
        let too_long = path.len() > LONGEST_PATH;
        if too_long && !std::mem::replace(&mut self.warned_length, true) {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let lengths = format!(
                "' is not watched: its absolute path has {} bytes, and no more than {LONGEST_PATH} \
                 can be used (PATH_MAX)",
                path.len()
            );
            self.warn(&[b"'", name, lengths.as_bytes()].concat());
        }
        !too_long
    }

    /// Takes a checkpoint before `path` is opened, or lets it join the last one.
    fn stop(&mut self, path: &[u8], stamp: Stamp) -> Option<Resume> {
        let effect = self.has_effect();
        let hot = self.is_hot(path, stamp);
        let stop = Stop { elapsed: self.began.elapsed(), effect, hot };
        let worth = Worth { explicit: false, hot, separated: effect };
        match self.placement.decide(stop, memory) {
            Decision::Join => None,
            Decision::Forced => self.place(path, worth, false).1,
            Decision::Elective => self.place(path, worth, true).1,
        }
    }

    fn has_effect(&self) -> bool {
        self.effect
            || self.effects_unseen
            || self
                .footprint
                .is_none_or(|before| !Footprint::now(&self.counters).is_same_as(&before))
    }

    fn is_hot(&mut self, path: &[u8], stamp: Stamp) -> bool {
        if self.board.is_hot(path) {
            return true;
        }
        let recent = self.recent < MOST_RECENT
            && SystemTime::now()
                .checked_sub(RECENT)
                .and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok())
                .is_some_and(|since| stamp.is_newer_than(since.as_nanos() as i64));
        self.recent += u32::from(recent);
        recent
    }

    /// Takes a checkpoint if one can be taken.
    fn place(
        &mut self,
        name: &[u8],
        worth: Worth,
        elective: bool,
    ) -> (Result<(), Declined>, Option<Resume>) {
        match self.take(name, worth, elective) {
            Ok(resume) => (Ok(()), resume),
            Err(declined) => {
                self.warn_once(declined);
                (Err(declined), None)
            }
        }
    }

    fn take(
        &mut self,
        name: &[u8],
        worth: Worth,
        elective: bool,
    ) -> Result<Option<Resume>, Declined> {
        let began = Instant::now();
        if !is_set_aside() {
            return Err(Declined::Obstacle(Obstacle::NoMemory));
        }
        match threads() {
            None => return Err(Declined::NoProc),
            Some(1) => {}
            Some(count) => return Err(Declined::Threads(count)),
        }
        // What is buffered would be missing from the sizes and positions of files.
        let _ = stdio::flush_all();
        let mut descriptors = Descriptors::survey();
        if let Some(obstacle) = descriptors.obstacle(&self.outside, self.reopens) {
            return Err(Declined::Obstacle(obstacle));
        }
        descriptors.note_rewritten(&self.emptied);
        let (index, before) = (self.next, self.current);
        let (footprint, effect) = (self.footprint, self.effect);
        // The clone gets these as they are here, so they are set before.
        self.next += 1;
        self.current = Some(index);
        self.footprint = Some(Footprint::now(&self.counters));
        self.effect = false;
        let directory = self.elsewhere();
        let elapsed = self.began.elapsed();
        let used = self.processor_time();
        // What is forced may come often, and each would be copied whole.
        let ahead = elective && self.placement.copies_ahead(memory().pages);
        let outcome = park::take(&self.board, self.supervisor, &descriptors, &self.outside, ahead);
        match outcome {
            Ok(Outcome::Taken(pid)) => {
                // Where every stop point gets a checkpoint, nobody asks for prices.
                let fault = (!self.placement.is_exact()).then(|| self.probe.fault());
                let memory = memory();
                self.keep(memory);
                self.placement.taken(elapsed, began.elapsed(), fault, memory, ahead);
                let at = elapsed.as_micros() as u64;
                let name = name[..name.len().min(LONGEST_NAME)].to_vec();
                let bare = descriptors.is_bare(&self.outside);
                let pid = pid.as_raw();
                let pages = if self.placement.is_exact() { 0 } else { memory.pages };
                self.send(&Record::Checkpoint {
                    index,
                    pid,
                    name,
                    at,
                    worth,
                    bare,
                    pages,
                    directory,
                });
                Ok(None)
            }
            Ok(Outcome::Resumed(letter)) => {
                self.pid = getpid();
                self.began = Instant::now() - elapsed;
                self.used = used;
                // They begin at nought in a clone.
                report::reset_count();
                self.counters = Counters::of_this_process();
                self.footprint = Some(Footprint::now(&self.counters));
                let memory = memory();
                self.placement.resumed(elapsed, memory);
                self.kept = false;
                self.keep(memory);
                report::configure(self.settings.quiet, self.settings.colors);
                self.running();
                Ok(Some(Resume { letter, label: worth.explicit.then(|| name.to_vec()) }))
            }
            Err(error) => {
                (self.next, self.current) = (index, before);
                (self.footprint, self.effect) = (footprint, effect);
                Err(Declined::Clone(error))
            }
        }
    }

    /// Where the program has gone, if that is not where it began.
    fn elsewhere(&self) -> Option<Directory> {
        let identity = Stamp::of_file(b".").identity();
        if identity == self.home {
            return None;
        }
        let path = working_directory();
        (path.len() <= LONGEST_PATH).then_some(Directory { path, identity: identity? })
    }

    /// Sees to it that a large program can be stopped at once.
    fn keep(&mut self, memory: Memory) {
        if self.kept || memory.pages < (KEEP / page_size()) as u64 {
            return;
        }
        let mask = Mask::block_all();
        // Without one, stopping takes longer, and that is all.
        self.kept = keeper::start(&self.board.keeper, self.supervisor).is_ok();
        mask.restore();
    }

    fn warn_once(&mut self, declined: Declined) {
        let warned = match declined {
            Declined::Threads(_) => &mut self.warned_threads,
            Declined::Clone(_) | Declined::NoProc | Declined::Obstacle(Obstacle::NoMemory) => {
                &mut self.warned_clone
            }
            // Closing it is enough, and the file joins a checkpoint until then.
            Declined::Obstacle(_) => return,
        };
        if !std::mem::replace(warned, true) {
            self.warn(declined.to_string().as_bytes());
        }
    }

    /// Prints a warning, and has it among the events.
    pub fn warn(&self, text: &[u8]) {
        report::warn_bytes(text);
        if self.is_active() {
            self.send(&Record::Warned(text[..text.len().min(LONGEST_WARNING)].to_vec()));
        }
    }

    /// Tells the user, once, that a file is watched.
    fn announce(&self, path: &[u8], stamp: Stamp) {
        if stamp != Stamp::Absent && self.board.announce(path) {
            report::info(&[b"watch '", path, b"'"]);
        }
    }

    fn note(&mut self, path: &[u8], stamp: Stamp) {
        self.seen.insert(path.to_vec());
        self.depend([(path, stamp)]);
    }

    /// Tells the supervisor what paths looked like before they are opened.
    fn depend<'a>(&mut self, found: impl IntoIterator<Item = (&'a [u8], Stamp)>) {
        let mut record = std::mem::take(&mut self.record);
        record.begin(self.current);
        let mut unfinished = Vec::new();
        for (path, stamp) in found {
            // Read while it is still being written: the rest is our own doing, too.
            if self.written.contains_key(path) && is_open_for_writing(path) {
                unfinished.push(path.to_vec());
            }
            if record.count() == MOST_SEEN {
                self.push(record.bytes());
                record.begin(self.current);
            }
            record.add(path, stamp, stamp.content(path, self.settings.content));
        }
        if record.count() > 0 {
            self.push(record.bytes());
        }
        self.record = record;
        for path in unfinished {
            self.send(&Record::Wrote { path });
        }
    }

    fn running(&self) {
        self.send(&Record::Running { pid: self.pid.as_raw(), settings: self.settings.clone() });
    }

    fn send(&self, record: &Record) {
        self.push(&record.encode());
    }

    fn push(&self, record: &[u8]) {
        loop {
            match self.board.push(record) {
                Push::Done => return,
                Push::Ring => return self.ring(),
                // The supervisor is at work, or stopped, in which case so shall we be.
                Push::Full => std::thread::sleep(BACK_PRESSURE),
            }
        }
    }

    fn ring(&self) {
        // It fails when the program has given up the rights it started with; the
        // supervisor then reads the board at its next event.
        let _ = nix::sys::signal::kill(self.supervisor, DOORBELL);
    }
}

/// How many pages a clone can copy without the program's having to wait for it.
fn copied_ahead() -> u64 {
    let is_parallel = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if is_parallel && copies::are_possible() { (MOST_COPIED / page_size()) as u64 } else { 0 }
}

/// The processor time of this process, which begins anew in each clone.
fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

/// The memory of this process.
fn memory() -> Memory {
    Memory { pages: own_pages(), faults: own_faults() }
}

/// Whether this process has subprocesses now.
fn has_children() -> bool {
    let own = getpid();
    std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
        .is_ok_and(|children| !children.trim().is_empty())
}

/// Whether an attempt to change `path` can succeed: only then there will be an
/// event that is our own.
fn can_succeed(path: &[u8], change: Change) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    let is_writable = |path: &Path| may(path, AccessFlags::W_OK);
    match (std::fs::symlink_metadata(path), change) {
        (Ok(_), Change::Move) => path.parent().is_some_and(is_writable),
        (Ok(_), Change::Make | Change::Append | Change::Update) => {
            is_writable(path) && !path.is_dir()
        }
        (Err(_), Change::Make | Change::Append) => path.parent().is_some_and(is_writable),
        (Err(_), _) => false,
    }
}

/// Whether this process has `path` open for writing.
fn is_open_for_writing(path: &[u8]) -> bool {
    let Stamp::File { device, inode, .. } = Stamp::of_file(path) else { return false };
    Descriptors::survey().writes((device, inode))
}
