//! The supervisor: the parent of the program, which never returns to Lua.
//!
//! Theory of operation. One loop: wait for a signal, a file event or a deadline;
//! take in everything that has happened, in an order that the promises hang on
//! (see [`Supervisor::turn`]); let the [`machine`] decide; do it. The supervisor is
//! made of parts, each with its own fields, which know nothing of each other; its
//! own methods only carry things from one part to the next.
//!
//! | part | |
//! |---|---|
//! | `birth` | how the session came about, and its command |
//! | `inbox` | signals and records that come |
//! | `sight` | watched paths, and what is going on there; `verdict` judges |
//! | `timeline` | the checkpoints of the run, and what depends on them |
//! | `former` | what the run before had read |
//! | `pending` | changes that are to be acted on; `waits`: which may be the doing of subprocesses |
//! | `agenda` | events, and the `machine` that decides |
//! | `run` | the present run |
//! | `copies` | the parked processes |
//! | `clearing` | who has to be gone |
//! | `outlets` | event stream, control socket, trace |

mod agenda;
mod birth;
mod children;
mod clearing;
mod copies;
mod events;
mod files;
mod former;
mod inbox;
mod machine;
mod on_disk;
mod outlets;
mod pending;
mod records;
mod requests;
mod resume;
mod run;
mod server;
mod sight;
mod tally;
mod timeline;
mod trace;
mod verdict;
mod waits;
mod words;

use crate::report;
use crate::session::invitation::Command;
use crate::session::own::send;
use crate::session::split::Split;
use crate::sys::descriptors;
use crate::sys::process::next_fate;
use crate::sys::signals;
use crate::wire::settings::{Settings, Sink};
use agenda::Agenda;
use birth::Birth;
use clearing::Clearing;
use copies::Copies;
use former::Former;
use inbox::Inbox;
use machine::{Action, Delays, Event, Time};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use outlets::Outlets;
use pending::Pending;
use run::Run;
use sight::Sight;
use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::time::Duration;
use timeline::Timeline;

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
    settings: Settings,
    birth: Birth,
    inbox: Inbox,
    sight: Sight,
    timeline: Timeline,
    former: Former,
    pending: Pending,
    agenda: Agenda,
    run: Run,
    copies: Copies,
    clearing: Clearing,
    outlets: Outlets,
}

impl Supervisor {
    fn new(split: Split, settings: Settings, origin: Origin) -> nix::Result<Supervisor> {
        let Split { guard, program, board, memory, mask, ignores_children, input } = split;
        let sink = origin.events.as_ref();
        let command = Command::of_this_process(guard, origin.inherited, sink, input);
        let mut outlets = Outlets::new(origin.events);
        let own = [memory.as_ref().map(AsRawFd::as_raw_fd), outlets.number()];
        // The program's open files are the program's: a pipe must close when it
        // closes it.
        for number in descriptors::open_numbers() {
            if number > 2 && !command.given().contains(&number) && !own.contains(&Some(number)) {
                descriptors::close(number);
            }
        }
        let inbox = Inbox::new(board)?;
        let birth = Birth::new(guard, board, memory, ignores_children, mask, command);
        outlets.open(guard, birth.began());
        Ok(Supervisor {
            birth,
            inbox,
            sight: Sight::new(settings.poll > 0),
            timeline: Timeline::default(),
            former: Former::default(),
            pending: Pending::default(),
            agenda: Agenda::new(delays(&settings)),
            run: Run::new(program.as_raw()),
            copies: Copies::new(board),
            clearing: Clearing::default(),
            outlets,
            settings,
        })
    }

    fn now(&self) -> Time {
        self.birth.now()
    }

    fn run(&mut self) {
        self.tell_start();
        loop {
            self.wait();
            self.turn();
        }
    }

    /// Everything that has happened, once. The order is that of "The order of reading" in
    /// `docs/architecture.md`.
    fn turn(&mut self) {
        // Taken in: signals, file events, who has ended, and the board. File events come
        // before the board, as the program announces its own writes there before it makes
        // them; the board comes after the ends, as the program's last records are on it.
        let signals = self.inbox.take_signals();
        self.sight.begin_turn();
        let ended: Vec<_> = std::iter::from_fn(next_fate).collect();
        let opened = self.take_records();
        // Acted on: signals first, as the program saw them, too.
        for signal in signals {
            self.signalled(signal);
            self.decide();
        }
        self.compare_opened(opened);
        self.judge_touched();
        for (pid, fate) in ended {
            self.child_changed(pid, fate);
            self.decide();
        }
        self.look_again();
        self.serve();
        self.check_gone();
        self.feed(Event::Tick);
        self.decide();
        for warning in self.sight.take_warnings().into_iter().chain(self.clearing.take_warning()) {
            self.outlets.warn(&warning);
        }
        self.tell_count();
        self.outlets.flush();
    }

    /// Something has happened, and is to be decided about.
    fn feed(&mut self, event: Event) {
        self.agenda.feed(event);
    }

    /// Decides about all that has happened, and does it: the only place that does. Never
    /// called while an action is performed, which feeds what it leads to.
    fn decide(&mut self) {
        while let Some((event, actions)) = self.agenda.next(self.now()) {
            if event != Event::Tick || !actions.is_empty() {
                self.outlets.trace("event", || format!("{event:?}"));
            }
            for action in actions {
                self.outlets.trace("action", || format!("{action:?}"));
                self.perform(action);
            }
        }
    }

    fn wait(&mut self) {
        let now = self.now();
        let machine = self.agenda.machine();
        let leftovers = (machine.is_clearing() || machine.is_ending()).then(|| now + LEFTOVERS);
        let batch = self.inbox.deadline(now).filter(|_| !machine.is_waking());
        let outlets =
            self.outlets.deadline().map(|at| at.saturating_duration_since(self.birth.began()));
        let deadline = [
            machine.deadline(),
            leftovers,
            batch,
            self.sight.deadline(),
            self.copies.deadline(),
            outlets,
            self.outlets.count_due().filter(|_| machine.state() == "running"),
        ];
        // Rounded up: waking a moment early would only mean waking twice.
        let milliseconds =
            |at: Time| at.saturating_sub(now).as_micros().div_ceil(1000).min(60_000) as u16;
        let deadline = deadline.into_iter().flatten().min();
        let timeout = deadline.map_or(PollTimeout::NONE, |at| milliseconds(at).into());
        if batch.is_none() && !self.inbox.sleep() {
            return;
        }
        let mut ready = vec![PollFd::new(self.inbox.descriptor(), PollFlags::POLLIN)];
        ready.extend(self.sight.descriptor().map(|events| PollFd::new(events, PollFlags::POLLIN)));
        let mounts = self.sight.mounts();
        let at = ready.len();
        ready.extend(mounts.map(|mounts| PollFd::new(mounts, PollFlags::POLLPRI)));
        ready.extend(self.outlets.descriptors());
        // EINTR only follows a stop and continue, which `turn` sees to.
        let _ = poll(&mut ready, timeout);
        let is_told = mounts.is_some() && ready[at].any() == Some(true);
        drop(ready);
        if is_told {
            self.sight.note_mounts();
        }
        self.inbox.awake();
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Stop => {
                self.end_misplaced();
                self.end_checkpoints_after(self.pending.latest_target(&self.timeline));
                self.run.signal(self.settings.stop_signal);
                // A stopped process gets to see it only when it goes on.
                self.run.signal(libc::SIGCONT);
            }
            Action::Kill => self.run.signal(libc::SIGKILL),
            Action::Clear => self.clear(),
            Action::KillLeftovers => {
                for pid in self.leftovers() {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Wake => self.wake(),
            Action::Report(status) => self.tell_end(status),
            Action::Signal(signal) => self.run.signal(signal),
            Action::Suspend(signal) => {
                if let Ok(signal) = Signal::try_from(signal) {
                    signals::take_default(signal);
                }
                self.continue_program();
            }
            Action::End(signal) => self.end(signal),
            Action::KillAll => {
                for pid in self.clearing.everything(&HashSet::new()) {
                    send(pid, libc::SIGKILL);
                }
            }
            Action::Exit(signal) => self.exit(signal),
        }
    }

    /// Tells that the program has ended. What is left to say of the run comes before.
    fn tell_end(&mut self, status: i32) {
        self.tell_count();
        if status != 0 {
            let status = status.to_string();
            report::error(&[b"exited with status ", status.as_bytes(), b", waiting for changes.."]);
        } else if self.run.is_starting() {
            report::info(&[b"ended without enabling forkmon, waiting for changes.."]);
        }
    }

    /// Tells how many files are watched, if there are more than had lines.
    fn tell_count(&mut self) {
        let has_ended = match self.agenda.machine().state() {
            "running" => false,
            "waiting" => true,
            // The run that is about to go on opens more.
            _ => return,
        };
        let (watched, now) = (self.birth.board().watched(), self.now());
        if self.outlets.counts(watched, self.settings.watch_lines, has_ended, now) {
            let count = self.timeline.present();
            report::info(&[format!("watching {count} files").as_bytes()]);
        }
    }

    fn tell_start(&mut self) {
        let (guard, program) = (self.birth.guard(), self.run.program().unwrap_or(0));
        self.outlets.emit("start", |event| event.plain("pid", guard).plain("program", program));
        self.outlets.trace("start", || {
            let (version, supervisor) = (crate::wire::version(), std::process::id());
            format!("forkmon {version} supervisor {supervisor} program {program}")
        });
    }

    fn configure(&mut self, settings: Settings) {
        report::configure(settings.quiet, settings.colors);
        self.agenda.set_delays(delays(&settings));
        self.settings = settings;
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
