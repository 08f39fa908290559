//! The supervisor's decisions: `step(event, now) -> actions`, and nothing else.
//!
//! Theory of operation. The loop turns everything that happens into events and
//! carries the actions out; this machine knows neither processes nor files nor
//! clocks, only the time it is told. At the first change the program is asked to
//! stop, and while it does, more changes may come in; once it is gone and the
//! files have been quiet for `restart_delay`, what the program left behind is
//! cleared away, and only then a checkpoint is woken.
//!
//! ```text
//!            change              ended             quiet            cleared
//!  Running ─────────▶ Stopping ────────▶ Settling ────────▶ Clearing ────────▶ Waking
//!     │  ▲                                  ▲  ▲               │ change          │  │
//!     │  │                                  │  └───────────────┘                 │  │
//!     │  │                   change         │                   wake failed      │  │
//!     │  │        Idle ─────────────────────┴────────────────────────────────────┘  │
//!     │  │         ▲                                                   resumed      │
//!     │  └─────────┼────────────────────────────────────────────────────────────────┘
//!     └────────────┘ ended by itself                any ── a signal to end ──▶ Ending
//! ```

use std::time::Duration;

/// Time since the supervisor started.
pub type Time = Duration;

/// The longest that a stream of changes can put a resume off.
const SETTLE_AT_MOST: Duration = Duration::from_millis(50);

/// Within this time a Ctrl+Z stops a program that lets it. One that ends before may have
/// been about to stop; one that ends after has decided to go on.
const STOPS_WITHIN: Duration = Duration::from_millis(100);

/// How soon those who escaped a SIGKILL by forking are killed again.
const AGAIN: Duration = Duration::from_millis(100);

/// How a process ended, as a shell reports it: the exit code, or 128 + signal.
pub type Status = i32;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file the program depends on is not what it was.
    Changed,
    /// Something is going on at such a file; nothing is different yet.
    Touched,
    /// The program ended.
    Ended(Status),
    /// The program was stopped by a job-control signal (Ctrl+Z).
    Suspended(i32),
    /// What came after the checkpoint to be resumed is gone.
    Cleared,
    /// The woken checkpoint has put the program back.
    Resumed,
    /// The woken checkpoint is gone, or there is nothing to wake.
    WakeFailed,
    /// SIGINT: the terminal sends it to the program too, a process only to us.
    Interrupt {
        /// It came from the terminal.
        from_terminal: bool,
    },
    /// Job control asks the whole group to stop.
    Suspend(i32),
    /// A signal that ends the session.
    Terminate(i32),
    /// Every process of the session is gone.
    AllGone,
    /// A deadline given by [`Machine::deadline`] may have passed.
    Tick,
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the program the stop signal, and end the checkpoints that will not be needed.
    Stop,
    /// End the program for good.
    Kill,
    /// Ask everything that started after the resume point to end; report `Cleared`.
    Clear,
    /// End what did not heed `Clear`.
    KillLeftovers,
    /// Wake the checkpoint to resume from, or run the command anew.
    Wake,
    /// Tell the user how the program ended.
    Report(Status),
    /// Send the program a signal that it has missed.
    Signal(i32),
    /// Stop ourselves as the program was stopped, so that the shell notices.
    Suspend(i32),
    /// Ask everything to end, by this signal; report `AllGone`.
    End(i32),
    /// End everything for good.
    KillAll,
    /// End the supervisor by this signal.
    Exit(i32),
}

/// The delays the machine keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// Quiet before a resume.
    pub restart: Duration,
    /// Between two resumes.
    pub ignore: Duration,
    /// From a polite request to SIGKILL.
    pub stop: Duration,
}

/// What the session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The program runs. A change leads to `Stopping`; its own end to `Idle`, or to
    /// `Settling` while a change is held.
    Running,
    /// The program was asked to stop and has not ended yet. The deadline is gone
    /// once it was killed. Its end leads to `Settling`.
    Stopping { deadline: Option<Time> },
    /// No program; changes are still coming in. Quiet leads to `Clearing`.
    Settling,
    /// What the program left is being ended. Leads to `Waking`, or back to
    /// `Settling` when another file changes, as the resume point may move.
    Clearing { deadline: Option<Time> },
    /// A checkpoint was woken and has not answered. Leads to `Running`, to
    /// `Stopping` when another file changed meanwhile, or to `Settling` when it
    /// turns out to be lost.
    Waking,
    /// The program ended by itself. A change leads to `Settling`.
    Idle,
    /// Everything was asked to end. Leads nowhere but out.
    Ending { signal: i32, deadline: Option<Time> },
}

/// Changes that have not been acted on.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// When the first of them was seen.
    first: Time,
    /// When they will have been quiet long enough.
    quiet: Time,
}

/// The supervisor's state.
#[derive(Debug)]
pub struct Machine {
    phase: Phase,
    delays: Delays,
    pending: Option<Burst>,
    /// No resume before this time (`ignore_delay`).
    held_until: Time,
    /// A Ctrl+C that the program may be dying of until this time.
    interrupted: Option<Time>,
    /// A Ctrl+Z that the program may not have got, or not get to heed, and when it came.
    suspended: Option<(i32, Time)>,
}

impl Machine {
    /// The program was just started.
    pub fn new(delays: Delays) -> Self {
        Machine {
            phase: Phase::Running,
            delays,
            pending: None,
            held_until: Time::ZERO,
            interrupted: None,
            suspended: None,
        }
    }

    /// Changes the delays from now on.
    pub fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
    }

    /// What the session is doing, in a word.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Running => "running",
            Phase::Idle => "waiting",
            Phase::Ending { .. } => "ending",
            _ => "resuming",
        }
    }

    /// Whether the program was asked to stop.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// Whether a woken checkpoint still has to answer.
    pub fn is_waking(&self) -> bool {
        self.phase == Phase::Waking
    }

    /// Whether leftovers of the last run are being waited for.
    pub fn is_clearing(&self) -> bool {
        matches!(self.phase, Phase::Clearing { .. })
    }

    /// Whether the session is over.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// When `Tick` is due next, unless something else happens first.
    pub fn deadline(&self) -> Option<Time> {
        let held = || self.pending.map(|pending| pending.first.max(self.held_until));
        match self.phase {
            Phase::Running => held().into_iter().chain(self.interrupted).min(),
            Phase::Stopping { deadline }
            | Phase::Clearing { deadline }
            | Phase::Ending { deadline, .. } => deadline,
            Phase::Settling => Some(self.settled_at()),
            Phase::Waking | Phase::Idle => None,
        }
    }

    /// What to do about `event` at time `now`. Times never go back.
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Action> {
        match event {
            Event::Changed => self.changed(now),
            Event::Touched => {
                self.extend(now);
                Vec::new()
            }
            Event::Ended(status) => self.ended(status, now),
            Event::Suspended(signal) if !self.is_ending() => {
                self.suspended = None;
                vec![Action::Suspend(signal)]
            }
            Event::Suspended(_) => Vec::new(),
            Event::Suspend(signal) => self.suspend(signal, now),
            Event::Cleared => match self.phase {
                Phase::Clearing { .. } => {
                    self.phase = Phase::Waking;
                    self.pending = None;
                    vec![Action::Wake]
                }
                _ => Vec::new(),
            },
            Event::Resumed => match self.phase {
                Phase::Waking => {
                    self.phase = Phase::Running;
                    // That was the program before.
                    self.interrupted = None;
                    self.held_until = now + self.delays.ignore;
                    let missed = self.suspended.as_mut().map(|(signal, at)| {
                        *at = now;
                        Action::Signal(*signal)
                    });
                    let stop = match self.pending {
                        Some(_) => self.stop_if_due(now),
                        None => Vec::new(),
                    };
                    missed.into_iter().chain(stop).collect()
                }
                _ => Vec::new(),
            },
            Event::WakeFailed => match self.phase {
                Phase::Waking => self.settle(now),
                _ => Vec::new(),
            },
            Event::Interrupt { from_terminal } => self.interrupt(from_terminal, now),
            Event::Terminate(signal) => self.end(signal, now),
            Event::AllGone => match self.phase {
                Phase::Ending { signal, .. } => vec![Action::Exit(signal)],
                _ => Vec::new(),
            },
            Event::Tick => self.tick(now),
        }
    }

    fn changed(&mut self, now: Time) -> Vec<Action> {
        if self.is_ending() {
            return Vec::new();
        }
        match &mut self.pending {
            Some(_) => self.extend(now),
            None => self.pending = Some(Burst { first: now, quiet: now + self.delays.restart }),
        }
        match self.phase {
            Phase::Running => self.stop_if_due(now),
            Phase::Idle | Phase::Clearing { .. } => self.settle(now),
            _ => Vec::new(),
        }
    }

    /// Puts the resume off a little, as files are still being written.
    fn extend(&mut self, now: Time) {
        if let Some(pending) = &mut self.pending {
            let last = pending.first + SETTLE_AT_MOST.max(self.delays.restart);
            pending.quiet = pending.quiet.max((now + self.delays.restart).min(last));
        }
    }

    /// When the pending changes may be acted on.
    fn settled_at(&self) -> Time {
        self.pending.map_or(Time::ZERO, |pending| pending.quiet).max(self.held_until)
    }

    /// Stops the program for a pending change, unless `ignore_delay` holds it.
    fn stop_if_due(&mut self, now: Time) -> Vec<Action> {
        if now < self.held_until {
            return Vec::new();
        }
        self.phase = Phase::Stopping { deadline: Some(now + self.delays.stop) };
        vec![Action::Stop]
    }

    fn ended(&mut self, status: Status, now: Time) -> Vec<Action> {
        if self.phase == Phase::Running {
            // If that was long ago, it has decided to go on.
            self.suspended = self.suspended.filter(|(_, at)| now <= *at + STOPS_WITHIN);
        }
        match self.phase {
            Phase::Running if self.interrupted.is_some_and(|until| now <= until) => {
                self.end(libc::SIGINT, now)
            }
            Phase::Running if self.pending.is_some() => self.settle(now),
            Phase::Running => {
                self.phase = Phase::Idle;
                [Action::Report(status)].into_iter().chain(self.suspend_in_its_place()).collect()
            }
            Phase::Stopping { .. } => self.settle(now),
            _ => Vec::new(),
        }
    }

    /// There is no program any more: wait for quiet, or go on at once.
    fn settle(&mut self, now: Time) -> Vec<Action> {
        self.phase = Phase::Settling;
        self.suspend_in_its_place().into_iter().chain(self.tick(now)).collect()
    }

    /// The program ended before a Ctrl+Z could stop it: we stop instead.
    fn suspend_in_its_place(&mut self) -> Option<Action> {
        self.suspended.take().map(|(signal, _)| Action::Suspend(signal))
    }

    /// The program decides whether Ctrl+Z stops it; without one, we do.
    fn suspend(&mut self, signal: i32, now: Time) -> Vec<Action> {
        let by_key = signal == libc::SIGTSTP;
        match self.phase {
            Phase::Idle => return vec![Action::Suspend(signal)],
            Phase::Settling | Phase::Clearing { .. } if by_key => {
                return vec![Action::Suspend(signal)];
            }
            // One may end before it heeds it, the next have begun after it.
            Phase::Running | Phase::Stopping { .. } | Phase::Waking if by_key => {
                self.suspended = Some((signal, now));
            }
            _ => {}
        }
        Vec::new()
    }

    fn interrupt(&mut self, from_terminal: bool, now: Time) -> Vec<Action> {
        match self.phase {
            Phase::Running if from_terminal && self.interrupted.is_none_or(|until| now > until) => {
                self.interrupted = Some(now + self.delays.stop);
                Vec::new()
            }
            _ => self.end(libc::SIGINT, now),
        }
    }

    fn end(&mut self, signal: i32, now: Time) -> Vec<Action> {
        // Asked twice, we do not ask any more.
        if let Phase::Ending { deadline, .. } = &mut self.phase {
            *deadline = Some(now + AGAIN);
            return vec![Action::KillAll];
        }
        self.phase = Phase::Ending { signal, deadline: Some(now + self.delays.stop) };
        vec![Action::End(signal)]
    }

    fn tick(&mut self, now: Time) -> Vec<Action> {
        if self.interrupted.is_some_and(|until| now > until) {
            self.interrupted = None;
        }
        let settled_at = self.settled_at();
        match &mut self.phase {
            Phase::Running if self.pending.is_some() => self.stop_if_due(now),
            Phase::Stopping { deadline } if deadline.is_some_and(|at| now >= at) => {
                *deadline = None;
                vec![Action::Kill]
            }
            Phase::Settling if now >= settled_at => {
                self.phase = Phase::Clearing { deadline: Some(now + self.delays.stop) };
                vec![Action::Clear]
            }
            Phase::Clearing { deadline } if deadline.is_some_and(|at| now >= at) => {
                // What was forked meanwhile has escaped.
                *deadline = Some(now + AGAIN);
                vec![Action::KillLeftovers]
            }
            Phase::Ending { deadline, .. } if deadline.is_some_and(|at| now >= at) => {
                // What was forked meanwhile has escaped.
                *deadline = Some(now + AGAIN);
                vec![Action::KillAll]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const DELAYS: Delays = Delays { restart: ms(5), ignore: ms(0), stop: ms(2000) };

    fn machine() -> Machine {
        Machine::new(DELAYS)
    }

    #[test]
    fn one_edit_of_a_running_program() {
        let mut it = machine();
        assert_eq!(it.step(Event::Changed, ms(100)), [Action::Stop]);
        assert_eq!(it.step(Event::Ended(143), ms(101)), []);
        assert_eq!(it.deadline(), Some(ms(105)));
        assert_eq!(it.step(Event::Tick, ms(105)), [Action::Clear]);
        assert_eq!(it.step(Event::Cleared, ms(106)), [Action::Wake]);
        assert_eq!(it.step(Event::Resumed, ms(107)), []);
        assert_eq!(it.state(), "running");
        assert_eq!(it.deadline(), None);
    }

    #[test]
    fn ctrl_z_is_never_lost() {
        let stop = Event::Suspend(libc::SIGTSTP);
        let suspend = Action::Suspend(libc::SIGTSTP);
        let mut it = machine();
        // The program decides.
        assert_eq!(it.step(stop, ms(90)), []);
        assert_eq!(it.step(Event::Suspended(libc::SIGTSTP), ms(91)), [suspend]);
        it.step(Event::Changed, ms(100));
        // It is on its way to end, and does.
        assert_eq!(it.step(stop, ms(101)), []);
        assert_eq!(it.step(Event::Ended(143), ms(102)), [suspend]);
        assert_eq!(it.step(stop, ms(103)), [suspend]);
        // Only the key counts: nobody is told to stop for wanting the terminal.
        assert_eq!(it.step(Event::Suspend(libc::SIGTTOU), ms(104)), []);
        it.step(Event::Tick, ms(110));
        assert_eq!(it.step(stop, ms(111)), [suspend]);
        it.step(Event::Cleared, ms(112));
        // The one that is woken may have missed it.
        assert_eq!(it.step(stop, ms(113)), []);
        assert_eq!(it.step(Event::Resumed, ms(114)), [Action::Signal(libc::SIGTSTP)]);
        assert_eq!(it.step(Event::Suspended(libc::SIGTSTP), ms(115)), [suspend]);
        // One that was about to end, and one that goes on in spite of it.
        assert_eq!(it.step(stop, ms(120)), []);
        assert_eq!(it.step(Event::Ended(0), ms(121)), [Action::Report(0), suspend]);
        assert_eq!(it.step(stop, ms(122)), [suspend]);
        let mut it = machine();
        assert_eq!(it.step(stop, ms(100)), []);
        assert_eq!(it.step(Event::Ended(0), ms(300)), [Action::Report(0)]);
    }

    #[test]
    fn without_a_delay_an_idle_session_resumes_at_once() {
        let mut it = Machine::new(Delays { restart: ms(0), ..DELAYS });
        assert_eq!(it.step(Event::Ended(0), ms(1)), [Action::Report(0)]);
        assert_eq!(it.step(Event::Changed, ms(2)), [Action::Clear]);
        assert_eq!(it.step(Event::Cleared, ms(2)), [Action::Wake]);
    }

    #[test]
    fn more_changes_put_the_resume_off_but_not_for_ever() {
        let mut it = machine();
        it.step(Event::Ended(0), ms(0));
        it.step(Event::Changed, ms(0));
        for now in 1..50 {
            assert_eq!(it.step(Event::Touched, ms(now)), []);
            assert_eq!(it.step(Event::Tick, ms(now)), []);
        }
        assert_eq!(it.step(Event::Tick, ms(50)), [Action::Clear]);
    }

    #[test]
    fn a_change_while_waking_is_acted_on_after_it() {
        let mut it = machine();
        it.step(Event::Ended(0), ms(0));
        it.step(Event::Changed, ms(0));
        it.step(Event::Tick, ms(5));
        it.step(Event::Cleared, ms(5));
        assert_eq!(it.step(Event::Changed, ms(6)), []);
        assert_eq!(it.step(Event::Resumed, ms(7)), [Action::Stop]);
    }

    #[test]
    fn a_program_that_does_not_stop_is_killed() {
        let mut it = machine();
        it.step(Event::Changed, ms(0));
        assert_eq!(it.step(Event::Tick, ms(1999)), []);
        assert_eq!(it.step(Event::Tick, ms(2000)), [Action::Kill]);
        assert_eq!(it.step(Event::Tick, ms(9000)), []);
    }

    #[test]
    fn ignore_delay_holds_and_never_drops() {
        let mut it = Machine::new(Delays { ignore: ms(200), ..DELAYS });
        it.step(Event::Ended(0), ms(0));
        it.step(Event::Changed, ms(0));
        it.step(Event::Tick, ms(5));
        it.step(Event::Cleared, ms(5));
        it.step(Event::Resumed, ms(10));
        assert_eq!(it.step(Event::Changed, ms(20)), []);
        assert_eq!(it.deadline(), Some(ms(210)));
        assert_eq!(it.step(Event::Tick, ms(210)), [Action::Stop]);
    }

    #[test]
    fn an_interrupt_ends_the_session_with_the_program() {
        let mut it = machine();
        assert_eq!(it.step(Event::Interrupt { from_terminal: true }, ms(10)), []);
        assert_eq!(it.step(Event::Ended(1), ms(20)), [Action::End(libc::SIGINT)]);
        assert_eq!(it.step(Event::AllGone, ms(21)), [Action::Exit(libc::SIGINT)]);
    }

    #[test]
    fn an_interrupt_the_program_handles_is_its_own() {
        let mut it = machine();
        it.step(Event::Interrupt { from_terminal: true }, ms(10));
        assert_eq!(it.step(Event::Tick, ms(2011)), []);
        assert_eq!(it.step(Event::Ended(0), ms(3000)), [Action::Report(0)]);
        assert_eq!(
            it.step(Event::Interrupt { from_terminal: true }, ms(3001)),
            [Action::End(libc::SIGINT)]
        );
    }

    #[test]
    fn an_interrupt_is_no_concern_of_the_program_resumed_after_it() {
        let mut it = machine();
        it.step(Event::Interrupt { from_terminal: true }, ms(10));
        assert_eq!(it.step(Event::Changed, ms(20)), [Action::Stop]);
        it.step(Event::Ended(143), ms(21));
        it.step(Event::Tick, ms(25));
        it.step(Event::Cleared, ms(26));
        it.step(Event::Resumed, ms(27));
        assert_eq!(it.step(Event::Ended(0), ms(30)), [Action::Report(0)]);
    }

    #[test]
    fn a_second_interrupt_soon_after_ends_everything() {
        let mut it = machine();
        it.step(Event::Interrupt { from_terminal: true }, ms(10));
        let again = it.step(Event::Interrupt { from_terminal: true }, ms(500));
        assert_eq!(again, [Action::End(libc::SIGINT)]);
        let third = it.step(Event::Interrupt { from_terminal: true }, ms(501));
        assert_eq!(third, [Action::KillAll]);
    }

    /// What happens in a session that nobody ends.
    fn ongoing() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Changed),
            2 => Just(Event::Touched),
            2 => (0..256i32).prop_map(Event::Ended),
            1 => Just(Event::Suspended(libc::SIGTSTP)),
            3 => Just(Event::Cleared),
            3 => Just(Event::Resumed),
            1 => Just(Event::WakeFailed),
            1 => Just(Event::AllGone),
            4 => Just(Event::Tick),
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            19 => ongoing(),
            1 => any::<bool>().prop_map(|from_terminal| Event::Interrupt { from_terminal }),
            1 => Just(Event::Terminate(libc::SIGTERM)),
        ]
    }

    proptest! {
        /// However events come, a change that was seen leads to a resume once the
        /// world answers the way it does: processes that are asked to end do so.
        #[test]
        fn no_change_is_ever_lost(
            events in prop::collection::vec((ongoing(), 0u64..30), 0..60),
            ignore in 0u64..300,
        ) {
            let mut it = Machine::new(Delays { ignore: ms(ignore), ..DELAYS });
            let mut now = Time::ZERO;
            for (event, wait) in events {
                now += ms(wait);
                it.step(event, now);
            }
            let mut queue = vec![Event::Changed];
            let mut woken = false;
            for _ in 0..20 {
                let event = queue.pop().unwrap_or_else(|| {
                    now = it.deadline().unwrap_or(now).max(now);
                    Event::Tick
                });
                let waking = it.is_waking();
                for action in it.step(event, now) {
                    match action {
                        Action::Stop | Action::Kill => queue.push(Event::Ended(143)),
                        Action::Clear | Action::KillLeftovers => queue.push(Event::Cleared),
                        Action::Wake => { woken = true; queue.push(Event::Resumed) }
                        _ => {}
                    }
                }
                if waking && queue.is_empty() && event == Event::Changed {
                    queue.push(Event::Resumed);
                }
                if matches!(it.phase, Phase::Stopping { .. }) && queue.is_empty() {
                    queue.push(Event::Ended(143));
                }
                if it.is_clearing() && queue.is_empty() {
                    queue.push(Event::Cleared);
                }
            }
            prop_assert!(woken, "still {:?}", it);
        }

        /// A checkpoint is only woken when no program is there.
        #[test]
        fn two_programs_never_run_at_once(
            events in prop::collection::vec((event(), 0u64..30), 0..80)
        ) {
            let mut it = machine();
            let mut now = Time::ZERO;
            let mut alive = true;
            for (event, wait) in events {
                now += ms(wait);
                let event = match event {
                    Event::Ended(_) if !alive => Event::Tick,
                    Event::Resumed if !it.is_waking() => Event::Tick,
                    event => event,
                };
                match event {
                    Event::Ended(_) => alive = false,
                    Event::Resumed => alive = true,
                    _ => {}
                }
                for action in it.step(event, now) {
                    if action == Action::Wake {
                        prop_assert!(!alive);
                    }
                }
            }
        }

        /// The same events give the same actions.
        #[test]
        fn deterministic(events in prop::collection::vec((event(), 0u64..30), 0..60)) {
            let mut runs = [machine(), machine()].map(|mut it| {
                let mut now = Time::ZERO;
                events.iter().map(|(event, wait)| {
                    now += ms(*wait);
                    it.step(*event, now)
                }).collect::<Vec<_>>()
            });
            prop_assert_eq!(std::mem::take(&mut runs[0]), std::mem::take(&mut runs[1]));
        }
    }
}
