//! The supervisor: the parent of the program, which never returns to Lua.
//!
//! Theory of operation. One loop: wait for a signal, a file event or a deadline;
//! gather everything that has happened; turn it into events for the [`machine`];
//! carry its actions out. Gathering has an order that the promises hang on:
//! file events are read *before* the board, as the program announces its own
//! writes there first, and the board is read before anybody's end is acted on,
//! as the program's last records are in it by then.

mod answer;
mod children;
mod events;
mod files;
mod machine;
mod parked;
mod records;
mod resume;
mod server;
mod timeline;

use crate::files::{Degraded, PathId, Touch, Watcher};
use crate::json::Object;
use crate::report;
use crate::session::invitation::Command;
use crate::session::signals::listened;
use crate::session::split::Split;
use crate::sys::descriptors;
use crate::sys::process::next_fate;
use crate::sys::procfs;
use crate::sys::shared::Shared;
use crate::sys::signals::{self, Mask};
use crate::sys::terminal::Modes;
use crate::wire::board::Board;
use crate::wire::settings::{Settings, Sink};
use children::send;
use events::Events;
use files::Own;
use machine::{Action, Delays, Event, Machine, Time};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use resume::Woken;
use rustc_hash::FxHashMap;
use server::Server;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use timeline::{Dependency, Target, Timeline};

/// How long records may lie on the board while more are likely to come: ringing
/// for each would cost the program more than writing it.
const BATCH: Duration = Duration::from_millis(4);

/// How long a resumed program has the processor for itself before its checkpoint
/// is told to make another spare.
const SPARE: Duration = Duration::from_millis(30);

/// How often leftovers are looked for that are not our children yet.
const LEFTOVERS: Duration = Duration::from_millis(5);

/// How a session came about.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Every open descriptor was inherited: no line of the program has run.
    pub inherited: bool,
    /// Where events go.
    pub events: Option<Sink>,
}

/// Supervises `program` until the session ends; then this process does, too.
///
/// Every signal is blocked when it is called.
pub fn run(split: Split, settings: Settings, origin: Origin) {
    // A defect must not unwind into the interpreter's frames below us. When we
    // end, everything else of the session does.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        match Supervisor::new(split, settings, origin) {
            Ok(mut supervisor) => supervisor.run(),
            Err(error) => report::warn(&format!("the supervisor cannot start: {error}")),
        }
    }));
}

struct Supervisor {
    /// The process that the shell started, our parent.
    guard: Pid,
    /// Who sent a signal last and when, by its number; the guard, or somebody else.
    heard: HashMap<i32, (bool, Time)>,
    board: Shared<Board>,
    /// By which a command that is run anew finds the board.
    memory: Option<OwnedFd>,
    /// It is to find SIGCHLD ignored.
    ignores_children: bool,
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
    /// The command was run anew, and has not come to `enable()`.
    starting: bool,
    /// What it read before `enable()` the last time, as that was when it was run.
    before: HashMap<Vec<u8>, Dependency>,
    /// Who has been asked to end since the last run, or the session, began to.
    asked: HashSet<i32>,
    /// Where leftovers of the last run are counted from, while they are cleared away.
    clearing: Option<Option<procfs::Started>>,
    /// File events that have been read and not been judged.
    touched: FxHashMap<PathId, Touch>,
    /// What the program has begun to depend on in this turn.
    fresh: HashSet<PathId>,
    /// Paths that changed and have not been acted on.
    changed: HashSet<PathId>,
    /// Paths that look as if somebody were in the middle of saving them.
    held: HashMap<PathId, Time>,
    /// Paths opened within a clock tick of their last save: look once more.
    rechecks: Vec<(Time, PathId)>,
    /// Events to come that the program itself causes.
    own: HashMap<PathId, Own>,
    /// What the last run read after the resume point and this one has not read yet.
    unread: HashMap<PathId, Dependency>,
    /// What became a dependency again as a run was killed before it read it, once.
    revived: HashSet<PathId>,
    next_poll: Time,
    resumes: u64,
    /// The file that led to the last resumes, since when, and to how many.
    streak: (Vec<u8>, Time, u32),
    /// When the present run would have begun had it never been parked.
    run_began: Instant,
    /// How long it took, once it has ended.
    run_took: Option<Duration>,
    /// When the first of the changes that led to the present resume was seen.
    first_change: Option<Instant>,
    /// A resume point that was asked for by name.
    wanted: Option<Target>,
    sink: Option<Sink>,
    events: Option<Events>,
    server: Option<Server>,
    /// Records have come just now.
    busy: bool,
    told: HashSet<std::mem::Discriminant<Degraded>>,
}

impl Supervisor {
    fn new(split: Split, settings: Settings, origin: Origin) -> nix::Result<Supervisor> {
        let Split { guard, program, board, memory, mask, ignores_children, input } = split;
        let sink = origin.events.as_ref();
        let command = Command::of_this_process(guard, origin.inherited, sink, input);
        let events = origin.events.as_ref().and_then(open_events);
        let own = [
            memory.as_ref().map(AsRawFd::as_raw_fd),
            events.as_ref().map(|events| events.descriptor().as_raw_fd()),
        ];
        // The program's open files are the program's: a pipe must close when it
        // closes it.
        for number in descriptors::open_numbers() {
            if number > 2 && !command.given().contains(&number) && !own.contains(&Some(number)) {
                descriptors::close(number);
            }
        }
        Ok(Supervisor {
            signals: SignalFd::with_flags(
                &listened(),
                SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
            )?,
            guard,
            heard: HashMap::new(),
            watcher: Watcher::new(settings.poll > 0),
            machine: Machine::new(delays(&settings)),
            board,
            memory,
            ignores_children,
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
            starting: false,
            before: HashMap::new(),
            clearing: None,
            asked: HashSet::new(),
            touched: FxHashMap::default(),
            fresh: HashSet::new(),
            changed: HashSet::new(),
            held: HashMap::new(),
            rechecks: Vec::new(),
            own: HashMap::new(),
            unread: HashMap::new(),
            revived: HashSet::new(),
            next_poll: Time::ZERO,
            resumes: 0,
            streak: (Vec::new(), Time::ZERO, 0),
            run_began: Instant::now(),
            run_took: None,
            first_change: None,
            wanted: None,
            sink: origin.events,
            events,
            server: Server::listen(guard)
                .inspect_err(|error| {
                    report::warn(&format!("`forkmon status` will not see this session: {error}"))
                })
                .ok(),
            busy: false,
            told: HashSet::new(),
        })
    }

    fn now(&self) -> Time {
        self.began.elapsed()
    }

    fn run(&mut self) {
        self.tell_start();
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
        self.fresh.clear();
        let news: Vec<_> = std::iter::from_fn(next_fate).collect();
        let opened = self.take_records();
        // Before the changes that came with them: the program saw them, too.
        for signal in received {
            self.signalled(signal);
        }
        self.compare_opened(opened);
        self.judge_touched();
        for (pid, fate) in news {
            self.child_changed(pid, fate);
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
        if let Some(events) = &mut self.events {
            let flushed = events.flush();
            self.events_written(flushed);
        }
    }

    fn feed(&mut self, event: Event) {
        let now = self.now();
        for action in self.machine.step(event, now) {
            self.perform(action);
        }
    }

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
        // Rounded up: waking a moment early would only mean waking twice.
        let milliseconds =
            |at: Time| at.saturating_sub(now).as_micros().div_ceil(1000).min(60_000) as u16;
        let timeout = deadline.map_or(PollTimeout::NONE, |at| milliseconds(at).into());
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

    fn perform(&mut self, action: Action) {
        match action {
            Action::Stop => {
                self.end_misplaced();
                self.end_checkpoints_after(self.target().0);
                self.signal_program(self.settings.stop_signal);
                // A stopped process gets to see it only when it goes on.
                self.signal_program(libc::SIGCONT);
            }
            Action::Kill => {
                self.signal_program(libc::SIGKILL);
            }
            Action::Clear => self.clear(),
            Action::KillLeftovers => {
                for pid in self.leftovers() {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Wake => self.wake(),
            Action::Report(0) if self.starting => {
                report::info(&[b"ended before it enabled forkmon, waiting for changes.."]);
            }
            Action::Report(0) => {}
            Action::Report(status) => {
                let status = status.to_string();
                report::error(&[
                    b"exited with status ",
                    status.as_bytes(),
                    b", waiting for changes..",
                ]);
            }
            Action::Signal(signal) => self.signal_program(signal),
            Action::Suspend(signal) => {
                if let Ok(signal) = Signal::try_from(signal) {
                    signals::take_default(signal);
                }
                self.continue_program();
            }
            Action::End(signal) => self.end(signal),
            Action::KillAll => {
                for pid in self.descendants(HashSet::new()) {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Exit(signal) => self.exit(signal),
        }
    }

    fn tell_start(&mut self) {
        let (guard, program) = (self.guard, self.program.unwrap_or(0));
        self.emit("start", |event| event.plain("pid", guard).plain("program", program));
    }

    /// Writes an event, if somebody asked for them.
    fn emit(&mut self, name: &str, fields: impl FnOnce(Object) -> Object) {
        if let Some(events) = &mut self.events {
            let written = events.write(name, fields);
            self.events_written(written);
        }
    }

    fn events_written(&mut self, result: nix::Result<()>) {
        if let Err(error) = result {
            self.events = None;
            report::warn(&format!("events are no longer written: {}", error.desc()));
        }
    }

    fn warn(&mut self, text: &str) {
        report::warn(text);
        self.emit("warning", |event| event.string("text", text.as_bytes()));
    }

    fn tell_degraded(&mut self) {
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

fn open_events(sink: &Sink) -> Option<Events> {
    match Events::open(sink) {
        Ok(events) => Some(events),
        Err(error) => {
            report::warn(&format!("events cannot be written: {error}"));
            None
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
