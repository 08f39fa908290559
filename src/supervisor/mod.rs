//! The supervisor: the process the shell started, which never returns to Lua.
//!
//! Theory of operation. One loop: wait for a signal, a file event or a deadline;
//! gather everything that has happened; turn it into events for the [`machine`];
//! carry its actions out. Gathering has an order that the promises hang on:
//! file events are read *before* the board, as the program announces its own
//! writes there first, and the board is read before anybody's end is acted on,
//! as the program's last records are in it by then.

pub mod events;
pub mod machine;
pub mod processes;
pub mod restart;

use crate::board::{Board, MAIL_BYTES};
use crate::checkpoint::{ORDER_RESUME, ORDER_SPARE, WAKE};
use crate::control::{CheckpointStatus, Reply, Request, Server, Status};
use crate::json::Object;
use crate::messages::{Index, Letter, Record};
use crate::program::DOORBELL;
use crate::report;
use crate::settings::Settings;
use crate::sys::descriptors;
use crate::sys::process::{exit_now, yield_to_all};
use crate::sys::shared::Shared;
use crate::sys::signals::{self, Mask, Received};
use crate::terminal::Modes;
use crate::timeline::{Checkpoint, Dependency, Target, Timeline};
use crate::watch::{Degraded, PathId, Stamp, TICK, Touch, Watcher, content_digest};
use events::{Events, Sink};
use machine::{Action, Delays, Event, Machine, Time};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use restart::Command;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a file may be missing, or empty and open, before that is taken for
/// what the user wants: editors delete and create, or write in two steps.
const GRACE: Duration = Duration::from_millis(100);

/// How often polled files are looked at unless the user says otherwise.
const POLL: Duration = Duration::from_millis(500);

/// How long records may lie on the board while more are likely to come: ringing
/// for each would cost the program more than writing it.
const BATCH: Duration = Duration::from_millis(4);

/// How long a resumed program has the processor for itself before its checkpoint
/// is told to make another spare.
const SPARE: Duration = Duration::from_millis(30);

/// How long after the program announced that it would change a file it is looked
/// whether it is through with that, if no event tells; and how often thereafter.
const OWN_FIRST: Duration = Duration::from_millis(100);
const OWN_AGAIN: Duration = Duration::from_millis(200);

/// How often leftovers are looked for that are not our children yet.
const LEFTOVERS: Duration = Duration::from_millis(5);

/// The signals the supervisor takes in; all others stay blocked. Those that were
/// ignored when the session began are left out, as `nohup` would have it.
const SIGNALS: [Signal; 13] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    DOORBELL,
];

/// How a session came about.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Every open descriptor was inherited: no line of the program has run.
    pub inherited: bool,
    /// Where events go.
    pub events: Option<Sink>,
}

/// Says what is wrong with a Lua file, if it cannot be loaded.
pub type Check<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// Supervises `program` until the session ends; then this process does, too.
///
/// Every signal is blocked when it is called; `mask` is what was in force before.
pub fn run(
    board: Shared<Board>,
    program: Pid,
    settings: Settings,
    origin: &Origin,
    check: Check,
    mask: Mask,
) {
    // A defect must not unwind into the interpreter's frames below us. When we
    // end, everything else of the session does.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        match Supervisor::new(board, program, settings, origin, check, mask) {
            Ok(mut supervisor) => supervisor.run(),
            Err(error) => report::warn(&format!("the supervisor cannot start: {error}")),
        }
    }));
}

struct Supervisor<'a> {
    check: Check<'a>,
    board: Shared<Board>,
    settings: Settings,
    machine: Machine,
    timeline: Timeline,
    watcher: Watcher,
    signals: SignalFd,
    command: Command,
    mask: Mask,
    terminal: Modes,
    began: Instant,
    /// The running program, or the one that ran last and has not been reaped.
    program: Option<i32>,
    /// Parked processes that were killed and must be gone before a resume, as
    /// they keep something open.
    dying: HashSet<i32>,
    /// Processes that were killed and have nothing open: keepers that give a
    /// program's memory back, checkpoints. Nobody waits for them.
    releasing: HashSet<i32>,
    /// The checkpoint that was woken and has not answered.
    waking: Option<Woken>,
    /// When to have a spare made for this checkpoint.
    spare_due: Option<(Time, i32)>,
    /// Paths for the next letter, from a resume that failed.
    unsent: Vec<Vec<u8>>,
    /// Paths that have kept the command from being run anew.
    unready: Vec<Vec<u8>>,
    /// Where leftovers of the last run are counted from, while they are cleared away.
    clearing: Option<Option<processes::Started>>,
    /// File events that have been read and not been judged.
    touched: HashMap<PathId, Touch>,
    /// Paths that changed and have not been acted on.
    changed: HashSet<PathId>,
    /// Paths that look as if somebody were in the middle of saving them.
    held: HashMap<PathId, Time>,
    /// Paths opened within a clock tick of their last save: look once more.
    rechecks: Vec<(Time, PathId)>,
    /// Events to come that the program itself causes.
    own: HashMap<PathId, Own>,
    next_poll: Time,
    resumes: u64,
    /// When the present run would have begun had it never been parked.
    run_began: Instant,
    /// How long it took, once it has ended.
    run_took: Option<Duration>,
    /// When the first of the changes that led to the present resume was seen.
    first_change: Option<Instant>,
    /// A resume point that was asked for by name.
    wanted: Option<Target>,
    events: Option<Events>,
    server: Option<Server>,
    /// Records have come just now.
    busy: bool,
    told: HashSet<std::mem::Discriminant<Degraded>>,
}

/// What the program announced that it would do to a file.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    /// Events that are to come of it.
    events: u32,
    /// When to look whether it is through with that.
    check: Time,
}

/// A checkpoint on its way to being the program.
struct Woken {
    /// The process woken: the checkpoint itself, or its spare.
    pid: i32,
    /// The checkpoint's process.
    mold: i32,
    index: Index,
    name: Vec<u8>,
    /// When in the run it was taken.
    at: Duration,
    changed: Vec<Vec<u8>>,
    /// When the first change was seen; `None` when somebody asked for it.
    since: Option<Instant>,
}

impl<'a> Supervisor<'a> {
    fn new(
        board: Shared<Board>,
        program: Pid,
        settings: Settings,
        origin: &Origin,
        check: Check<'a>,
        mask: Mask,
    ) -> nix::Result<Supervisor<'a>> {
        let command = Command::of_this_process(origin.inherited, origin.events.as_ref());
        let events = origin.events.as_ref().and_then(|sink| match Events::open(sink) {
            Ok(events) => Some(events),
            Err(error) => {
                report::warn(&format!("events cannot be written: {error}"));
                None
            }
        });
        let sink = events.as_ref().map(|events| events.descriptor().as_raw_fd());
        // The program's open files are the program's: a pipe must close when it
        // closes it.
        for number in crate::descriptors::Descriptors::survey().numbers() {
            if number > 2 && !command.given().contains(&number) && Some(number) != sink {
                descriptors::close(number);
            }
        }
        let mut set = SigSet::empty();
        for signal in SIGNALS {
            if signal == Signal::SIGCHLD || signal == DOORBELL || !signals::is_ignored(signal) {
                set.add(signal);
            }
        }
        Ok(Supervisor {
            check,
            signals: SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            watcher: Watcher::new(settings.poll > 0),
            machine: Machine::new(delays(&settings)),
            board,
            settings,
            timeline: Timeline::default(),
            command,
            mask,
            terminal: Modes::save(),
            began: Instant::now(),
            program: Some(program.as_raw()),
            dying: HashSet::new(),
            releasing: HashSet::new(),
            waking: None,
            spare_due: None,
            unsent: Vec::new(),
            unready: Vec::new(),
            clearing: None,
            touched: HashMap::new(),
            changed: HashSet::new(),
            held: HashMap::new(),
            rechecks: Vec::new(),
            own: HashMap::new(),
            next_poll: Time::ZERO,
            resumes: 0,
            run_began: Instant::now(),
            run_took: None,
            first_change: None,
            wanted: None,
            events,
            // Without one, forkmon cannot be asked, and does everything else.
            server: Server::listen().ok(),
            busy: false,
            told: HashSet::new(),
        })
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn run(&mut self) {
        let program = self.program.unwrap_or(0);
        self.emit("start", |event| {
            event.plain("pid", std::process::id()).plain("program", program)
        });
        loop {
            self.wait();
            self.turn();
        }
    }

    /// Everything that has happened, once.
    fn turn(&mut self) {
        let mut received = Vec::new();
        while let Some(signal) = signals::read_signal(self.signals.as_fd()) {
            received.push(signal);
        }
        self.touched = self.watcher.read();
        let ended = reap();
        let opened = self.take_records();
        // Before the changes that came with them: the program saw them, too.
        for signal in received {
            self.signalled(signal);
        }
        self.compare_opened(opened);
        self.judge_touched();
        for status in ended {
            self.child_changed(status);
        }
        self.look_again();
        self.serve();
        if self.machine.is_clearing() {
            self.check_cleared();
        }
        if self.machine.is_ending() {
            self.check_all_gone();
        }
        self.feed(Event::Tick);
        self.tell_degraded();
    }

    fn feed(&mut self, event: Event) {
        let now = self.now();
        for action in self.machine.step(event, now) {
            self.perform(action);
        }
    }

    // ---- waiting -----------------------------------------------------------

    fn wait(&mut self) {
        let now = self.now();
        let polls = self.watcher.polled().next().is_some().then_some(self.next_poll);
        let leftovers =
            (self.machine.is_clearing() || self.machine.is_ending()).then(|| now + LEFTOVERS);
        let batch = (self.busy && !self.machine.is_waking()).then(|| now + BATCH);
        let deadline = [self.machine.deadline(), polls, leftovers, batch]
            .into_iter()
            .flatten()
            .chain(self.held.values().copied())
            .chain(self.own.values().map(|own| own.check))
            .chain(self.rechecks.iter().map(|(at, _)| *at))
            .chain(self.spare_due.map(|(at, _)| at))
            .min();
        let timeout = match deadline {
            // Rounded up: waking a moment early would only mean waking twice.
            Some(at) => at.saturating_sub(now).as_micros().div_ceil(1000).min(60_000) as u16,
            None => u16::MAX,
        };
        let timeout =
            if deadline.is_some() { PollTimeout::from(timeout) } else { PollTimeout::NONE };
        if batch.is_none() && !self.board.sleep() {
            return;
        }
        let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        ready
            .extend(self.watcher.descriptor().map(|events| PollFd::new(events, PollFlags::POLLIN)));
        ready.extend(self.server.iter().flat_map(Server::descriptors).map(|(client, writing)| {
            PollFd::new(client, if writing { PollFlags::POLLOUT } else { PollFlags::POLLIN })
        }));
        let behind = self.events.as_ref().filter(|events| events.is_behind());
        ready.extend(behind.map(|events| PollFd::new(events.descriptor(), PollFlags::POLLOUT)));
        // EINTR only follows a stop and continue, which `turn` sees to.
        let _ = poll(&mut ready, timeout);
        self.board.awake();
    }

    // ---- what the program says ---------------------------------------------

    /// Takes what the program has said; returns what it has opened.
    fn take_records(&mut self) -> Vec<PathId> {
        let mut opened = Vec::new();
        self.busy = !self.board.is_drained();
        self.drain(&mut opened);
        opened
    }

    /// Looks for changes of just opened files that came before they were watched.
    fn compare_opened(&mut self, opened: Vec<PathId>) {
        let mut suspects = Vec::new();
        for path in opened {
            // A stamp taken before the open and compared after the watch began:
            // between them nothing can slip through.
            if let Some(known) = self.timeline.dependency(path)
                && restamp(known.stamp, self.watcher.path(path)) != known.stamp
            {
                suspects.push(path);
            }
        }
        if !suspects.is_empty() {
            // If it was the program itself, it has said so by now.
            let mut more = Vec::new();
            self.drain(&mut more);
            for path in suspects.into_iter().chain(more) {
                self.judge(path, Touch::default());
            }
        }
    }

    /// Takes every record off the board; adds the new dependencies to `opened`.
    fn drain(&mut self, opened: &mut Vec<PathId>) {
        while let Some(bytes) = self.board.peek() {
            let record = Record::decode(&bytes);
            if let Some(Record::Wrote { .. }) = record {
                // The program waits until this is taken out: what has happened to
                // files by now is not what it is about to do.
                self.judge_touched();
                self.touched = self.watcher.read();
                self.judge_touched();
            }
            self.board.pop();
            match record {
                Some(Record::Running { pid, settings }) => {
                    // A checkpoint that could not clone itself went on instead.
                    self.timeline.remove(pid);
                    self.program = Some(pid);
                    self.configure(settings);
                    if self.machine.is_waking() {
                        self.resumed();
                    }
                }
                Some(Record::Checkpoint { index, pid, name, at, worth, bare, pages }) => {
                    let announced = &self.board.newest_clone;
                    let _ = announced.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
                    self.emit("checkpoint", |event| {
                        event
                            .plain("checkpoint", index)
                            .plain("pid", pid)
                            .string("name", &name)
                            .plain("at_ms", milliseconds(Duration::from_micros(at)))
                    });
                    self.timeline.add(Checkpoint {
                        index,
                        pid,
                        name,
                        at,
                        worth,
                        bare,
                        pages,
                        resumed: 0,
                    });
                    let limit = self.settings.max_checkpoints as usize;
                    while let Some(excess) = self.timeline.excess(limit) {
                        self.end_checkpoint(excess);
                    }
                    if self.machine.is_ending() {
                        self.end_checkpoint(pid);
                    }
                }
                Some(Record::Dependency { checkpoint, path, stamp, content }) => {
                    if self.watcher.find(&path).is_none() {
                        let present = stamp != Stamp::Absent;
                        self.emit("watch", |event| {
                            event.string("path", &path).plain("present", present)
                        });
                    }
                    let id = self.watcher.add(&path);
                    self.own.remove(&id);
                    if content.is_some() {
                        self.rechecks.push((self.now() + TICK, id));
                    }
                    self.timeline.depend(id, Dependency { checkpoint, stamp, content });
                    opened.push(id);
                }
                Some(Record::Wrote { path }) => {
                    let id = self.watcher.add(&path);
                    let own = self.own.entry(id).or_default();
                    own.events += 1;
                    own.check = self.began.elapsed() + OWN_FIRST;
                }
                Some(Record::Configured(settings)) => self.configure(settings),
                Some(Record::Outdated { after }) => {
                    self.end_checkpoints_after(after.map_or(Target::Start, Target::Checkpoint));
                }
                Some(Record::Warned(text)) => {
                    self.emit("warning", |event| event.string("text", &text));
                }
                None => self.warn("an unreadable record came from the program"),
            }
        }
    }

    fn configure(&mut self, settings: Settings) {
        report::configure(&settings);
        self.machine.set_delays(delays(&settings));
        self.settings = settings;
    }

    // ---- what happens to files ---------------------------------------------

    fn judge_touched(&mut self) {
        for (path, touch) in std::mem::take(&mut self.touched) {
            self.judge(path, touch);
        }
    }

    /// Decides whether a touched path has changed.
    fn judge(&mut self, path: PathId, touch: Touch) {
        let now = self.now();
        let Some(known) = self.timeline.dependency_mut(path) else { return };
        let name = self.watcher.path(path);
        let stamp = restamp(known.stamp, name);
        let files = [known.stamp.identity(), stamp.identity()].into_iter().flatten();
        // Completed by somebody else, if the program has it open still.
        let foreign = |own: &Own| {
            touch.completed && own.events == 1 && writes(self.program, &files.collect::<Vec<_>>())
        };
        if let Some(own) = self.own.get_mut(&path)
            && !foreign(own)
        {
            restate(known, stamp, name);
            if touch.completed || touch.removed {
                own.events -= 1;
                if own.events == 0 {
                    self.own.remove(&path);
                }
            }
            return;
        }
        let same_content = |known: &Dependency| {
            known.content.is_none_or(|content| content_digest(name) == Some(content))
        };
        let changed = if stamp == known.stamp {
            !same_content(known)
        } else if self.settings.content && known.content.is_some() && same_content(known) {
            known.stamp = stamp;
            false
        } else {
            true
        };
        if !changed {
            self.held.remove(&path);
            self.feed(Event::Touched);
            return;
        }
        let appeared = touch.created
            || touch.removed
            || self.held.contains_key(&path)
            || !stamp.is_same_file(&known.stamp);
        // An editor empties a file before it writes it.
        let emptied = stamp.size() == Some(0) && known.stamp.size() != Some(0);
        let unfinished = (appeared || emptied) && !touch.completed && is_being_written(name);
        if stamp == Stamp::Absent || unfinished {
            self.held.entry(path).or_insert(now + GRACE);
            self.feed(Event::Touched);
            return;
        }
        self.held.remove(&path);
        self.change(path);
    }

    /// No event may come of what the program announced: it failed, or a checkpoint
    /// has the file open, too, or nothing is watched. When the program does not
    /// have the file open any more, it is through with it.
    fn look_for_own(&mut self, now: Time) {
        let due: Vec<PathId> =
            self.own.iter().filter(|(_, own)| own.check <= now).map(|(path, _)| *path).collect();
        for path in due {
            let name = self.watcher.path(path);
            let Some(known) = self.timeline.dependency_mut(path) else {
                self.own.remove(&path);
                continue;
            };
            let stamp = restamp(known.stamp, name);
            let files = [known.stamp.identity(), stamp.identity()].into_iter().flatten();
            if writes(self.program, &files.collect::<Vec<_>>()) {
                if let Some(own) = self.own.get_mut(&path) {
                    own.check = now + OWN_AGAIN;
                }
            } else {
                restate(known, stamp, name);
                self.own.remove(&path);
            }
        }
    }

    fn change(&mut self, path: PathId) {
        let name = self.watcher.path(path).to_vec();
        self.board.heat(&name);
        if self.changed.insert(path) {
            self.emit("change", |event| event.string("path", &name));
        }
        self.first_change.get_or_insert_with(Instant::now);
        self.feed(Event::Changed);
    }

    /// Looks at what must not wait for an event.
    fn look_again(&mut self) {
        let now = self.now();
        self.look_for_own(now);
        let due: Vec<PathId> =
            self.held.iter().filter(|(_, at)| **at <= now).map(|(path, _)| *path).collect();
        for path in due {
            self.held.remove(&path);
            let known = self.timeline.dependency(path);
            if known
                .is_some_and(|known| restamp(known.stamp, self.watcher.path(path)) != known.stamp)
            {
                self.change(path);
            }
        }
        let (due, later) = self.rechecks.iter().partition(|(at, _)| *at <= now);
        self.rechecks = later;
        for (_, path) in due {
            self.judge(path, Touch::default());
            // From now on every write shows in the stamp.
            if !self.settings.content
                && let Some(known) = self.timeline.dependency_mut(path)
            {
                known.content = None;
            }
        }
        if self.spare_due.is_some_and(|(at, _)| now >= at) && !self.machine.is_waking() {
            self.have_spare();
        }
        if now >= self.next_poll {
            let every = match self.settings.poll {
                0 => POLL,
                milliseconds => Duration::from_millis(milliseconds),
            };
            self.next_poll = now + every;
            let polled: Vec<PathId> = self.watcher.polled().collect();
            for path in polled {
                self.judge(path, Touch::default());
            }
        }
    }

    // ---- what happens to processes -----------------------------------------

    fn signalled(&mut self, signal: Received) {
        match Signal::try_from(signal.number) {
            Ok(Signal::SIGINT) => {
                self.feed(Event::Interrupt { from_terminal: signal.from_kernel });
            }
            Ok(Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT) => {
                self.feed(Event::Terminate(signal.number));
            }
            Ok(Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) => {
                self.feed(Event::Suspend(signal.number));
            }
            Ok(Signal::SIGCONT) => self.continue_program(),
            // The pid that the shell knows is ours, so what is sent there is
            // meant for the program.
            Ok(Signal::SIGUSR1 | Signal::SIGUSR2 | Signal::SIGALRM) if !signal.from_kernel => {
                if let Some(program) = self.program {
                    send(program, signal.number);
                }
            }
            _ => {}
        }
    }

    fn child_changed(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Stopped(pid, signal) if Some(pid.as_raw()) == self.program => {
                if matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) {
                    self.feed(Event::Suspended(signal as i32));
                }
            }
            WaitStatus::Exited(pid, code) => self.child_ended(pid.as_raw(), code),
            WaitStatus::Signaled(pid, signal, _) => {
                self.child_ended(pid.as_raw(), 128 + signal as i32);
            }
            _ => {}
        }
    }

    fn child_ended(&mut self, pid: i32, status: i32) {
        self.dying.remove(&pid);
        self.releasing.remove(&pid);
        let _ = self.board.spare.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::SeqCst);
        if self.board.spare_of.load(Ordering::SeqCst) == pid {
            self.end_spare();
        }
        self.timeline.remove(pid);
        if self.machine.is_waking() && pid == self.board.program.load(Ordering::SeqCst) {
            // It was put back, and ended before it could say so.
            self.program = Some(pid);
            self.resumed();
        }
        if self.program == Some(pid) {
            self.program = None;
            self.run_took = Some(self.run_began.elapsed());
            self.end_unannounced();
            self.end_keeper();
            // It has closed its files, and will cause no more events.
            self.touched = self.watcher.read();
            self.judge_touched();
            // Where there are no events at all, its last word is seen now.
            let written: Vec<PathId> = self.own.keys().copied().collect();
            for path in written {
                self.judge(path, Touch::default());
            }
            self.own.clear();
            self.emit("exit", |event| event.plain("status", status));
            self.have_spare();
            self.feed(Event::Ended(status));
        } else if self.waking.as_ref().is_some_and(|woken| woken.pid == pid)
            && self.board.program.load(Ordering::SeqCst) == 0
        {
            self.wake_failed();
        }
    }

    /// The process to be woken has ended: try the next best.
    fn wake_failed(&mut self) {
        let Some(woken) = self.waking.take() else { return };
        self.spare_used(&woken);
        let best = self.timeline.checkpoints().iter().rfind(|known| known.index <= woken.index);
        self.wanted = Some(best.map_or(Target::Start, |known| Target::Checkpoint(known.index)));
        self.unsent = woken.changed;
        self.feed(Event::WakeFailed);
    }

    /// The woken checkpoint has put the program back.
    fn resumed(&mut self) {
        if let Some(woken) = self.waking.take() {
            self.spare_used(&woken);
            self.spare_due = Some((self.now() + SPARE, woken.mold));
            self.run_began = Instant::now() - woken.at;
            self.run_took = None;
            let (count, program) = (self.resumes, self.program.unwrap_or(0));
            self.emit("resume", |event| {
                let event = event
                    .plain("checkpoint", woken.index)
                    .string("name", &woken.name)
                    .strings("changed", woken.changed.iter().map(Vec::as_slice))
                    .plain("program", program)
                    .plain("count", count);
                match woken.since {
                    Some(since) => event.plain("milliseconds", milliseconds(since.elapsed())),
                    None => event,
                }
            });
        }
        self.feed(Event::Resumed);
    }

    /// A program killed between making a checkpoint and saying so leaves one
    /// that nobody would ever wake.
    fn end_unannounced(&mut self) {
        let pid = self.board.newest_clone.swap(0, Ordering::SeqCst);
        let known = self.timeline.checkpoints().iter().any(|known| known.pid == pid);
        if pid > 0 && !known && processes::is_alive(pid) {
            self.end_parked(pid, false);
        }
    }

    /// Has a spare made for the checkpoint that the next edit is likely to need:
    /// the one resumed last, or the newest.
    fn have_spare(&mut self) {
        if self.machine.is_ending() {
            return;
        }
        let owner = self.board.spare_of.load(Ordering::SeqCst);
        let spare = self.board.spare.load(Ordering::SeqCst);
        let newest = self.timeline.checkpoints().last().map_or(0, |known| known.pid);
        let wanted = match self.spare_due.take() {
            Some((_, resumed)) => resumed,
            None if owner != 0 => owner,
            None => newest,
        };
        let known = self.timeline.checkpoints().iter().any(|known| known.pid == wanted);
        if !known || wanted == owner && spare > 0 {
            return;
        }
        if owner != 0 && spare == 0 {
            // One is being made. Whoever it is for, it must be known first.
            self.spare_due = Some((self.now() + SPARE, wanted));
            return;
        }
        self.end_spare();
        self.board.spare_of.store(wanted, Ordering::SeqCst);
        self.rouse(wanted, ORDER_SPARE);
    }

    /// The spare of a checkpoint, if there is one.
    fn spare(&self, checkpoint: i32) -> Option<i32> {
        let spare = self.board.spare.load(Ordering::SeqCst);
        let is_its = self.board.spare_of.load(Ordering::SeqCst) == checkpoint;
        (is_its && spare > 0).then_some(spare)
    }

    /// The process that was woken is no spare any more.
    fn spare_used(&self, woken: &Woken) {
        if woken.pid != woken.mold {
            self.board.spare_of.store(0, Ordering::SeqCst);
        }
    }

    fn end_spare(&mut self) {
        // One that is still being made sees this, and ends by itself.
        let owner = self.board.spare_of.swap(0, Ordering::SeqCst);
        let spare = self.board.spare.swap(0, Ordering::SeqCst);
        if spare > 0 {
            let known = self.timeline.checkpoints().iter().find(|known| known.pid == owner);
            self.end_parked(spare, known.is_some_and(|known| known.bare));
        }
    }

    /// Wakes a parked process. False when it is gone.
    fn rouse(&self, pid: i32, order: u32) -> bool {
        self.board.order.store(order, Ordering::SeqCst);
        let overtaken = self.board.wake.swap(pid, Ordering::SeqCst);
        if overtaken != 0 && order == ORDER_RESUME {
            // It has not read its order, which was to make a spare, and never will.
            self.board.spare_of.store(0, Ordering::SeqCst);
        }
        // In case somebody has stopped the whole process group.
        send(pid, libc::SIGCONT);
        signals::send(Pid::from_raw(pid), WAKE as i32).is_ok()
    }

    /// Has the program's memory given back, now that its files are closed. Nobody
    /// waits for that.
    fn end_keeper(&mut self) {
        let keeper = self.board.keeper.swap(0, Ordering::SeqCst);
        if keeper > 0 {
            self.end_parked(keeper, true);
        }
    }

    fn end_checkpoint(&mut self, pid: i32) {
        if self.board.spare_of.load(Ordering::SeqCst) == pid {
            self.end_spare();
        }
        let Some(ended) = self.timeline.remove(pid) else { return };
        self.emit("drop", |event| event.plain("checkpoint", ended.index));
        self.end_parked(pid, ended.bare);
    }

    /// Ends a parked process. One that keeps nothing open need not be waited for,
    /// and giving its memory back may take as long as that of a program.
    fn end_parked(&mut self, pid: i32, bare: bool) {
        if bare {
            self.releasing.insert(pid);
            yield_to_all(Pid::from_raw(pid));
        } else {
            self.dying.insert(pid);
        }
        send(pid, libc::SIGKILL);
    }

    fn end_checkpoints_after(&mut self, target: Target) {
        let later: Vec<i32> = self.timeline.after(target).iter().map(|known| known.pid).collect();
        for pid in later {
            self.end_checkpoint(pid);
        }
    }

    fn continue_program(&self) {
        if let Some(program) = self.program.filter(|program| processes::is_stopped(*program)) {
            send(program, libc::SIGCONT);
        }
    }

    /// Processes of the session that are neither the program nor checkpoints.
    fn others(&self) -> Vec<i32> {
        processes::descendants(&self.known())
    }

    fn known(&self) -> HashSet<i32> {
        let mut known: HashSet<i32> = self.dying.clone();
        known.extend(self.timeline.checkpoints().iter().map(|known| known.pid));
        known.insert(self.board.spare.load(Ordering::SeqCst));
        known.insert(self.board.keeper.load(Ordering::SeqCst));
        known.extend(&self.releasing);
        known
    }

    /// What the last run started after the resume point and has left behind. What
    /// it started before lives on, together with the children that it has now.
    fn leftovers(&self) -> Vec<i32> {
        let since = self.clearing.flatten();
        let mut spared = self.known();
        spared.extend(
            processes::descendants(&spared)
                .into_iter()
                .filter(|pid| processes::started(*pid).is_none_or(|at| Some(at) <= since)),
        );
        let mut leftovers = processes::descendants(&spared);
        leftovers.retain(|pid| processes::is_alive(*pid));
        leftovers
    }

    fn check_cleared(&mut self) {
        // The next image of this process must not find children it does not know.
        let restarts = self.target().0 == Target::Start;
        let gone = self.dying.is_empty() && (self.releasing.is_empty() || !restarts);
        if gone && self.leftovers().is_empty() {
            self.feed(Event::Cleared);
        }
    }

    fn check_all_gone(&mut self) {
        // The end may have begun before the program's last records were read.
        self.end_checkpoints_after(Target::Start);
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        // A child that has ended but is not reaped yet is so in the next turn.
        if waitid(Id::All, flags) == Err(Errno::ECHILD) {
            self.feed(Event::AllGone);
        }
    }

    // ---- doing --------------------------------------------------------------

    fn perform(&mut self, action: Action) {
        match action {
            Action::Stop => {
                self.end_checkpoints_after(self.target().0);
                if let Some(program) = self.program {
                    send(program, self.settings.stop_signal);
                    // A stopped process gets to see it only when it goes on.
                    send(program, libc::SIGCONT);
                }
            }
            Action::Kill => {
                if let Some(program) = self.program {
                    send(program, libc::SIGKILL);
                }
            }
            Action::Clear => self.clear(),
            Action::KillLeftovers => {
                for pid in self.leftovers() {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Wake => self.wake(),
            Action::Report(0) => {}
            Action::Report(status) => {
                let status = status.to_string();
                report::error(&[
                    b"exited with status ",
                    status.as_bytes(),
                    b", waiting for changes..",
                ]);
            }
            Action::Suspend(signal) => {
                if let Ok(signal) = Signal::try_from(signal) {
                    signals::take_default(signal);
                }
                self.continue_program();
            }
            Action::End(signal) => self.end(signal),
            Action::KillAll => {
                for pid in processes::descendants(&HashSet::new()) {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Exit(signal) => self.exit(signal),
        }
    }

    /// Where the changes resume from, and the path that decides it.
    fn target(&self) -> (Target, Option<PathId>) {
        let changed = self.timeline.target(self.changed.iter().copied());
        match (changed, self.wanted) {
            (Some((target, path)), wanted) if wanted.is_none_or(|wanted| target <= wanted) => {
                (target, Some(path))
            }
            (_, Some(wanted)) => (wanted, None),
            // Nothing that is known depends on them: a fresh start is always right.
            _ => (Target::Start, self.changed.iter().next().copied()),
        }
    }

    fn clear(&mut self) {
        let (target, _) = self.target();
        self.terminal.restore();
        self.end_checkpoints_after(target);
        self.clearing = Some(match target {
            Target::Start => None,
            Target::Checkpoint(index) => {
                self.timeline.checkpoint(index).and_then(|kept| processes::started(kept.pid))
            }
        });
        for pid in self.leftovers() {
            send(pid, self.settings.stop_signal);
            send(pid, libc::SIGCONT);
        }
        self.check_cleared();
    }

    fn wake(&mut self) {
        self.clearing = None;
        let (target, cause) = self.target();
        let cause = cause.map(|path| self.watcher.path(path).to_vec());
        let changed: Vec<Vec<u8>> =
            self.changed.drain().map(|path| self.watcher.path(path).to_vec()).collect();
        let since = self.first_change.take();
        self.wanted = None;
        if self.settings.clear {
            report::clear_screen();
        }
        if let Some(cause) = &cause {
            self.board.announce(cause);
        }
        let Target::Checkpoint(index) = target else { return self.restart(cause, &changed) };
        let Some(checkpoint) = self.timeline.checkpoint(index) else { return };
        let (name, from) = (&checkpoint.name[..], checkpoint.title());
        match &cause {
            Some(cause) if cause == name => {
                report::info(&[b"file '", cause, b"' changed, resuming from it.."]);
            }
            Some(cause) => {
                report::info(&[b"file '", cause, b"' changed, resuming from '", &from, b"'.."]);
            }
            None => report::info(&[b"resuming from '", &from, b"'.."]),
        }
        self.resumes += 1;
        let changed = [std::mem::take(&mut self.unsent), changed].concat();
        let letter = Letter { count: self.resumes, changed };
        self.board.post(&letter.encode(MAIL_BYTES));
        let mold = checkpoint.pid;
        // A spare need not be cloned first.
        let pid = self.spare(mold).unwrap_or(mold);
        self.waking = Some(Woken {
            pid,
            mold,
            index,
            name: from.to_vec(),
            at: Duration::from_micros(checkpoint.at),
            changed: letter.changed,
            since,
        });
        if pid != mold {
            // Whose it is stays on the board: it may be so new that it has yet to
            // read that, and it ends if it is nobody's.
            self.board.spare.store(0, Ordering::SeqCst);
        }
        self.board.program.store(0, Ordering::SeqCst);
        if self.rouse(pid, ORDER_RESUME) {
            self.timeline.rewind(index);
        } else {
            self.timeline.remove(pid);
            self.wake_failed();
        }
    }

    fn restart(&mut self, cause: Option<Vec<u8>>, changed: &[Vec<u8>]) {
        match &cause {
            Some(cause) => report::info(&[b"file '", cause, b"' changed, restarting.."]),
            None => report::info(&[b"restarting.."]),
        }
        self.emit("restart", |event| event.strings("changed", changed.iter().map(Vec::as_slice)));
        // From the new image on there is nobody to wait for the mending of what
        // keeps it from getting as far as `enable`.
        let waited_for = std::mem::take(&mut self.unready);
        let mut candidates: Vec<Vec<u8>> = [changed, &waited_for].concat();
        // What is read after `enable` may be anything, or missing.
        candidates.retain(|path| {
            let known = self.watcher.find(path).and_then(|id| self.timeline.dependency(id));
            known.is_some_and(|known| known.checkpoint.is_none())
        });
        candidates.sort();
        candidates.dedup();
        // If this comes to nothing, what they are now is what the next change is
        // a change of: a file may well come back just as it was.
        for path in &candidates {
            if let Some(id) = self.watcher.find(path)
                && let Some(known) = self.timeline.dependency_mut(id)
            {
                (known.stamp, known.content) = (Stamp::of_file(path), None);
            }
        }
        for path in &candidates {
            let found = std::fs::metadata(std::ffi::OsStr::from_bytes(path));
            let missing = match found.map(|found| found.len()) {
                Err(_) => b"missing".as_slice(),
                Ok(0) => b"empty",
                Ok(_) => {
                    let Some(fault) = (self.check)(path) else { continue };
                    report::foreign(&fault);
                    self.unready = candidates;
                    self.feed(Event::Resumed);
                    return self.feed(Event::Ended(1));
                }
            };
            report::error(&[b"'", path, b"' is ", missing, b", waiting for changes.."]);
            self.unready = candidates;
            self.feed(Event::Resumed);
            return self.feed(Event::Ended(0));
        }
        // The next image listens for itself.
        self.server = None;
        let before = self.timeline.paths().filter(|path| {
            self.timeline.dependency(*path).is_some_and(|known| known.checkpoint.is_none())
        });
        let error = self.command.run(&self.mask, before.map(|path| self.watcher.path(path)));
        let executable = String::from_utf8_lossy(self.command.executable()).into_owned();
        self.warn(&format!("cannot run '{executable}' anew: {}", error.desc()));
        self.server = Server::listen().ok();
        // The next change tries again.
        self.feed(Event::Resumed);
        self.feed(Event::Ended(127));
    }

    fn end(&mut self, signal: i32) {
        self.end_checkpoints_after(Target::Start);
        for pid in self.others() {
            send(pid, if Some(pid) == self.program { signal } else { self.settings.stop_signal });
            send(pid, libc::SIGCONT);
        }
    }

    fn exit(&mut self, signal: i32) {
        self.emit("end", |event| event.plain("signal", signal));
        self.server = None;
        self.terminal.restore();
        // We end by the signal for the shell's sake; a core of us helps nobody.
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
        if let Ok(signal) = Signal::try_from(signal) {
            signals::take_default(signal);
        }
        exit_now(128 + signal);
    }

    // ---- being asked ---------------------------------------------------------

    fn serve(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let mut act = None;
        server.serve(|request| match request {
            Request::Status { files } => Reply::Status(self.status(files)),
            Request::Resume(what) => match self.find(&what) {
                Ok(target) => {
                    act = Some(Ok(target));
                    Reply::Done
                }
                Err(why) => Reply::Refused(why),
            },
            Request::Restart => {
                act = Some(Ok(Target::Start));
                Reply::Done
            }
            Request::Stop => {
                act = Some(Err(libc::SIGTERM));
                Reply::Done
            }
        });
        self.server = Some(server);
        match act {
            Some(Ok(target)) => {
                self.wanted = Some(self.wanted.map_or(target, |wanted| wanted.min(target)));
                self.feed(Event::Changed);
            }
            Some(Err(signal)) => self.feed(Event::Terminate(signal)),
            None => {}
        }
    }

    /// The checkpoint that a person means: its number, its label or name, or a
    /// file that resumes from it.
    fn find(&self, what: &[u8]) -> Result<Target, String> {
        let checkpoints = self.timeline.checkpoints();
        let number = std::str::from_utf8(what).ok().and_then(|text| text.parse::<Index>().ok());
        if let Some(index) = number.filter(|index| self.timeline.checkpoint(*index).is_some()) {
            return Ok(Target::Checkpoint(index));
        }
        if let Some(known) = checkpoints.iter().rfind(|known| known.name == what) {
            return Ok(Target::Checkpoint(known.index));
        }
        let file = self.watcher.find(what);
        if let Some((target, _)) = file.and_then(|path| self.timeline.target([path])) {
            return Ok(target);
        }
        Err(match (number, checkpoints.last()) {
            (Some(index), Some(last)) if index < last.index => {
                format!("checkpoint {index} is gone")
            }
            (Some(index), Some(last)) => {
                format!("there is no checkpoint {index}, the last is {}", last.index)
            }
            (Some(_), None) => "there is no checkpoint".into(),
            (None, _) => {
                let what = String::from_utf8_lossy(what);
                format!("no checkpoint, label or watched file is called '{what}'")
            }
        })
    }

    fn status(&self, files: bool) -> Status {
        let mut status = Status {
            pid: std::process::id() as i32,
            version: crate::control::version().into(),
            directory: std::env::current_dir().unwrap_or_default().into_os_string().into_vec(),
            command: self.command.words(),
            state: self.machine.state().into(),
            program: self.program.unwrap_or(0),
            elapsed: self.run_took.unwrap_or_else(|| self.run_began.elapsed()).as_micros() as u64,
            resumes: self.resumes,
            spare: self.board.spare.load(Ordering::SeqCst).max(0),
            polled: self.watcher.polled().count() as u64,
            ..Status::default()
        };
        for known in self.timeline.checkpoints() {
            status.checkpoints.push(CheckpointStatus {
                index: known.index,
                pid: known.pid,
                name: known.title().into_owned(),
                explicit: known.worth.explicit,
                at: known.at,
                resumed: known.resumed,
                ..CheckpointStatus::default()
            });
        }
        for path in self.timeline.paths() {
            let name = || self.watcher.path(path).to_vec();
            let Some((target, _)) = self.timeline.target([path]) else { continue };
            let known = self.timeline.dependency(path);
            let is_missing = known.is_some_and(|known| known.stamp == Stamp::Absent);
            status.files += u64::from(!is_missing);
            let at = match target {
                Target::Start => None,
                Target::Checkpoint(index) => {
                    status.checkpoints.iter_mut().find(|known| known.index == index)
                }
            };
            match at {
                Some(checkpoint) => {
                    checkpoint.count += u64::from(!is_missing);
                    match (files, is_missing) {
                        (false, _) => {}
                        (true, false) => checkpoint.files.push(name()),
                        (true, true) => checkpoint.missing.push(name()),
                    }
                }
                None if files => status.restart_files.push(name()),
                None => {}
            }
        }
        for checkpoint in &mut status.checkpoints {
            checkpoint.files.sort();
            checkpoint.missing.sort();
        }
        status.restart_files.sort();
        status
    }

    // ---- telling ------------------------------------------------------------

    /// Writes an event, if somebody asked for them.
    fn emit(&mut self, name: &str, fields: impl FnOnce(Object) -> Object) {
        if let Some(events) = &mut self.events
            && let Err(error) = events.write(name, fields)
        {
            self.events = None;
            report::warn(&format!("events are no longer written: {}", error.desc()));
        }
    }

    fn warn(&mut self, text: &str) {
        report::warn(text);
        self.emit("warning", |event| event.string("text", text.as_bytes()));
    }

    fn tell_degraded(&mut self) {
        if let Some(events) = &mut self.events
            && events.flush().is_err()
        {
            self.events = None;
        }
        for reason in self.watcher.take_degraded() {
            if !self.told.insert(std::mem::discriminant(&reason)) {
                continue;
            }
            let limit = |name: &str| {
                std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"))
                    .map_or_else(|_| "?".into(), |value| value.trim().to_owned())
            };
            self.warn(&match reason {
                Degraded::NoInstance(error) => format!(
                    "no inotify instance could be had ({error}; fs.inotify.max_user_instances = {}): \
                     polling the files instead; raise it with `sysctl fs.inotify.max_user_instances=1024`",
                    limit("max_user_instances")
                ),
                Degraded::NoWatches => format!(
                    "no inotify watches left (fs.inotify.max_user_watches = {}): polling the files \
                     instead; raise it with `sysctl fs.inotify.max_user_watches=524288`",
                    limit("max_user_watches")
                ),
                Degraded::Remote(directory) => format!(
                    "'{}' is on a file system that does not report changes made elsewhere: polling the files",
                    directory.display()
                ),
                Degraded::Unwatchable(directory, error) => format!(
                    "'{}' cannot be watched ({}): polling the files",
                    directory.display(),
                    error.desc()
                ),
            });
        }
    }
}

fn delays(settings: &Settings) -> Delays {
    Delays {
        restart: Duration::from_millis(settings.restart_delay),
        ignore: Duration::from_millis(settings.ignore_delay),
        stop: Duration::from_millis(settings.stop_timeout),
    }
}

/// Milliseconds, with three places after the point.
fn milliseconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1000.0)
}

/// Every child whose state has changed.
fn reap() -> Vec<WaitStatus> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    let mut changed = Vec::new();
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return changed,
            Ok(status) => changed.push(status),
            // A real-time signal that `nix` cannot name; or EINTR.
            Err(_) => {}
        }
    }
}

/// A signal to a process that may be gone, which is as good.
fn send(pid: i32, signal: i32) {
    let _ = signals::send(Pid::from_raw(pid), signal);
}

/// Whether the program has one of these files open for writing.
fn writes(program: Option<i32>, files: &[(u64, u64)]) -> bool {
    program.is_some_and(|program| processes::writes(program, files))
}

/// What the program has made of a file is what is known of it from now on.
fn restate(known: &mut Dependency, stamp: Stamp, name: &[u8]) {
    known.stamp = stamp;
    if known.content.is_some() {
        known.content = content_digest(name);
    }
}

/// What a path looks like now, to be compared with `before`.
fn restamp(before: Stamp, path: &[u8]) -> Stamp {
    match before {
        Stamp::Tree(_) => Stamp::of(path),
        _ => Stamp::of_file(path),
    }
}

/// Whether a file that appeared is likely to be written still: a plain file with
/// one name, touched just now. A hard link or a symbolic link is whole at once.
fn is_being_written(path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(path)).is_ok_and(|found| {
        found.is_file() && found.nlink() == 1 && Stamp::of_file(path).is_younger_than(GRACE)
    })
}
