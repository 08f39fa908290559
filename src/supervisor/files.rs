//! What follows from a verdict on a file.

use super::Supervisor;
use super::machine::Event;
use super::sight::{Glance, Sight};
use super::timeline::Timeline;
use super::trace::shown;
use super::verdict::{SETTLES, Verdict};
use super::waits::Doer;
use crate::files::answer::{ALL, Answer, Question};
use crate::files::{PathId, Stamp, Touch, content_digest, tree_content};

impl Supervisor {
    /// Judges what events have touched.
    pub(super) fn judge_touched(&mut self) {
        for (path, touch) in self.sight.take_touched() {
            self.judge(path, touch);
            self.decide();
        }
    }

    /// Judges a path, and does what follows from that.
    pub(super) fn judge(&mut self, path: PathId, touch: Touch) {
        self.judge_as(path, touch, false);
    }

    fn judge_as(&mut self, path: PathId, touch: Touch, is_due: bool) {
        let glance = Glance {
            touch,
            is_due,
            // A command that is on its way to `enable()` may make files that it reads.
            by_content: self.settings.content || self.run.is_on_its_way(),
            program: self.run.program(),
            now: self.now(),
        };
        let now = glance.now;
        let verdict = self.sight.judge(path, self.timeline.dependency(path), glance);
        let name = self.sight.path(path);
        self.outlets.trace("verdict", || format!("{verdict:?} {}{}", shown(name), flags(touch)));
        match verdict {
            Verdict::Unknown | Verdict::OursToCome => {}
            Verdict::Ours(stamp) | Verdict::OursDone(stamp) => {
                if let Some(known) = self.timeline.dependency_mut(path) {
                    self.sight.restate(path, known, stamp, now);
                }
                if matches!(verdict, Verdict::OursDone(_)) {
                    self.sight.one_done(path);
                }
            }
            Verdict::Same(stamp) => {
                if let Some(known) = self.timeline.dependency_mut(path) {
                    known.stamp = stamp;
                }
                self.sight.let_go(path);
                self.pending.waits().settled(self.sight.path(path));
                self.feed(Event::Touched);
            }
            Verdict::Busy(until) => {
                self.pending.waits().notice(self.sight.path(path), self.birth.now());
                self.sight.hold(path, until);
                self.feed(Event::Touched);
            }
            Verdict::Changed => self.attribute(path),
        }
    }

    /// A file is not what the program saw: that may be the doing of a subprocess that it waits
    /// for, and so its own.
    fn attribute(&mut self, path: PathId) {
        if self.pending.holds(path) {
            return self.change(path);
        }
        let now = self.now();
        if let Some(until) = self.pending.brake(self.sight.path(path), now) {
            return self.sight.hold(path, until);
        }
        let name = self.sight.path(path);
        let content = || content_of(name, &self.sight, &self.timeline);
        let doer = self.pending.waits().change(name, now, content);
        self.outlets.trace("doer", || format!("{doer:?} {}", shown(name)));
        match doer {
            Doer::Another => {
                self.sight.let_go(path);
                self.change(path);
            }
            Doer::Unclear(until) => self.sight.hold(path, until),
            Doer::Subprocess { by_habit } => {
                if by_habit {
                    let name = String::from_utf8_lossy(name);
                    let text = format!(
                        "'{name}' is another each time a subprocess has run that the program waits \
                         for: from now on that counts as the program's own doing"
                    );
                    self.outlets.warn(&text);
                }
                if let Some(known) = self.timeline.dependency_mut(path) {
                    let stamp = self.sight.stamp(path, known.stamp);
                    self.sight.restate(path, known, stamp, now);
                }
                self.sight.let_go(path);
                self.feed(Event::Touched);
            }
        }
    }

    /// The program waits for no subprocess any more: what was put off is to be looked at.
    pub(super) fn waited(&mut self) {
        let now = self.now();
        for name in self.pending.waits().end() {
            let numbers: Vec<PathId> = self.sight.numbers(&name).collect();
            for path in numbers {
                self.sight.hold(path, now);
            }
        }
    }

    /// Whether a file is being written by a process of the session. That is the program's
    /// doing, and may go on for ever; when the file is closed, it counts.
    fn is_written_here(&mut self, path: PathId) -> bool {
        let mut own = self.others();
        own.extend(self.run.program());
        let known = self.timeline.dependency(path);
        known.is_some_and(|known| self.sight.is_written_by(path, known, &own))
    }

    /// A file is not what the program saw.
    pub(super) fn change(&mut self, path: PathId) {
        // Files are looked at later than signals, and who pressed Ctrl+C before this was
        // saved did so to the program that ran then.
        while let Some(interrupt) = self.inbox.take_interrupt() {
            self.signalled(interrupt);
        }
        let name = self.sight.path(path);
        self.birth.board().heat(name);
        self.outlets.trace("change", || shown(name));
        // One that was opened and asked about has several numbers.
        let is_known = self.sight.numbers(name).any(|known| self.pending.holds(known));
        if self.pending.add(path) && !is_known {
            self.outlets.emit("change", |event| event.string("path", name));
        }
        self.feed(Event::Changed);
    }

    /// Looks for changes of just opened files that came before they were watched.
    pub(super) fn compare_opened(&mut self, opened: Vec<PathId>) {
        // A stamp taken before the open and compared after the watch began:
        // between them nothing can slip through.
        let differs = |path: &PathId| {
            let known = self.timeline.dependency(*path);
            known.is_some_and(|known| self.sight.differs(*path, known))
        };
        let suspects: Vec<PathId> = opened.into_iter().filter(differs).collect();
        if !suspects.is_empty() {
            // If it was the program itself, it has said so by now.
            let mut more = Vec::new();
            self.drain(&mut more);
            for path in suspects.into_iter().chain(more) {
                self.judge(path, Touch::default());
                self.decide();
            }
        }
    }

    /// Looks at what must not wait for an event.
    pub(super) fn look_again(&mut self) {
        let now = self.now();
        self.sight.look_for_own(&mut self.timeline, self.run.program(), now);
        for path in self.sight.take_held(now) {
            if self.sight.is_being_filled(path, self.run.program()) {
                self.sight.hold(path, now + SETTLES);
            } else if !self.is_written_here(path) {
                self.judge_as(path, Touch::default(), true);
                self.decide();
            }
        }
        for path in self.sight.take_rechecks(now) {
            self.judge(path, Touch::default());
            self.decide();
            let Some(known) = self.timeline.dependency_mut(path) else { continue };
            if known.content.is_some() && known.stamp.is_fresh() {
                self.sight.recheck(path, known.stamp, now);
            } else if !self.settings.content {
                // From now on every write shows in the stamp.
                known.content = None;
            }
        }
        if !self.agenda.machine().is_waking() {
            self.sight.read_some(&mut self.timeline, now);
        }
        let is_due = self.copies.deadline().is_some_and(|at| now >= at);
        if is_due && !self.agenda.machine().is_waking() {
            self.have_spare();
        }
        for path in self.sight.take_polled(now, self.settings.poll) {
            self.judge(path, Touch::default());
            self.decide();
        }
    }
}

/// A digest of what is in a file or, if it is a folder, of the names there; of all that is
/// below where the program depends on that.
pub(super) fn content_of(path: &[u8], sight: &Sight, timeline: &Timeline) -> Option<u64> {
    let known = sight.find(path).and_then(|id| timeline.dependency(id));
    if known.is_some_and(|known| matches!(known.stamp, Stamp::Tree { .. })) {
        // Not only what is in the newest files, as for a stamp: a file may be gone.
        return tree_content(path);
    }
    content_digest(path).or_else(|| match Answer::ask(path, &Question::Names { most: ALL }) {
        Answer::Names(names) => Some(names.digest),
        _ => None,
    })
}

/// What the events tell, in words.
fn flags(touch: Touch) -> String {
    let Touch { completed, again, written, created, removed, rerouted } = touch;
    let flags = [
        (completed, " completed"),
        (again, " again"),
        (written, " written"),
        (created, " created"),
        (removed, " removed"),
        (rerouted, " rerouted"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect()
}
