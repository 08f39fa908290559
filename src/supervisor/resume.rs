//! Resuming: from where, what has to be gone before, and waking or starting anew.

use super::Supervisor;
use super::copies::Woken;
use super::machine::Event;
use super::pending::{LOOP_TIMES, LOOP_WITHIN, Taken};
use super::timeline::{Dependency, Fits, Target};
use super::words::{Cause, Change, Point, resuming};
use crate::files::answer::Answer;
use crate::files::{PathId, Stamp, content_digest};
use crate::report;
use crate::session::invitation::CANNOT_RUN;
use crate::session::own::Since;
use crate::sys::process::{exit_now, monotonic, page_size};
use crate::sys::signals::end_by;
use crate::wire::letter::Letter;
use crate::wire::record::{Directory, Index};
use crate::wire::settings::{Settings, Sink};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Supervisor {
    pub(super) fn clear(&mut self) {
        self.end_misplaced();
        let used = self.pending.used_in_part(&self.timeline);
        self.pending.set_fits(self.sight.compare_parts(used, self.settings.content));
        let (target, _) = self.pending.target(&self.timeline);
        self.birth.restore_terminal();
        self.end_checkpoints_after(target);
        self.clearing.begin(match target {
            Target::Start => Since::Always,
            Target::Checkpoint(index) => self
                .timeline
                .checkpoint(index)
                .map_or(Since::Always, |known| Since::checkpoint(known.pid)),
        });
        self.check_cleared();
    }

    pub(super) fn wake(&mut self) {
        let (target, cause) = self.pending.target(&self.timeline);
        let cause_id = cause;
        let barred = cause.and_then(|path| self.run.barred(path)).map(<[u8]>::to_vec);
        let told = cause.map(|path| (self.became(path), self.others_than(path), self.lists(path)));
        let cause = cause.map(|path| self.sight.path(path).to_vec());
        self.pending.waits().resumed();
        let Taken { changed, since, fits } =
            self.pending.take(|path| self.sight.path(path).to_vec());
        if self.settings.clear {
            report::clear_screen();
        }
        if let Some(cause) = &cause {
            self.birth.board().announce(cause);
            self.suspect_loop(cause);
        }
        let cause = cause.as_deref().zip(told).map(|(path, (change, others, is_folder))| Cause {
            path,
            is_folder,
            change,
            others,
        });
        let Target::Checkpoint(index) = target else {
            tell(cause, Point::Start);
            return self.restart(&changed);
        };
        let Some(checkpoint) = self.timeline.checkpoint(index) else { return };
        let is_part = checkpoint.part.is_some_and(|part| Some(part.path) == cause_id);
        let of_file = !checkpoint.worth.explicit && !checkpoint.name.is_empty();
        let title = checkpoint.title();
        tell(
            cause,
            checkpoint.line().filter(|_| is_part).map_or(
                Point::Checkpoint { title: &title, of_file, barred: barred.as_deref() },
                Point::Line,
            ),
        );
        let letter = Letter { count: self.run.count_resume(), changed };
        let woken = Woken::new(checkpoint, letter.changed.clone(), since);
        self.outlets.trace("wake", || format!("checkpoint {index}, process {}", woken.mold));
        match self.copies.wake(woken, &letter) {
            Ok(()) => self.rewind(index, &fits),
            Err(pid) => {
                self.timeline.remove(pid);
                self.wake_failed();
            }
        }
    }

    /// Forgets what a run from checkpoint `index` finds out again, unless that is
    /// killed before.
    fn rewind(&mut self, index: Index, fits: &Fits) {
        self.former.rewound(self.timeline.rewind(index), index);
        self.timeline.take_up(index, fits);
        self.say_apart();
    }

    /// A person does not save like this: tells, once, what probably does.
    fn suspect_loop(&mut self, cause: &[u8]) {
        if self.pending.is_loop(cause, self.birth.now()) {
            let path = String::from_utf8_lossy(cause);
            let text = format!(
                "'{path}' changed {LOOP_TIMES} times in {} s: if something that the program starts \
                 writes it, keep it out with --ignore; its changes are put off for a while now",
                LOOP_WITHIN.as_secs()
            );
            self.outlets.warn(&text);
        }
    }

    /// What became of a file since the program saw it.
    fn became(&self, path: PathId) -> Change {
        let before = self.timeline.dependency(path).map_or(Stamp::Absent, |known| known.stamp);
        match (before, self.sight.stamp(path, before)) {
            (Stamp::Absent, Stamp::Absent) => Change::Changed,
            (Stamp::Absent, _) => Change::Appeared,
            (_, Stamp::Absent) => Change::Removed,
            _ => Change::Changed,
        }
    }

    /// Whether it is a folder whose names the program was told.
    fn lists(&self, path: PathId) -> bool {
        let asked = self.timeline.dependency(path).and_then(|known| known.asked.as_ref());
        asked.is_some_and(|asked| matches!(asked.answer, Answer::Names(_)))
    }

    /// How many other files have changed: of what has moved along with its folder, those
    /// places do not count where nothing was and nothing is.
    fn others_than(&self, cause: PathId) -> usize {
        let is_there = |path: &PathId| {
            let before = self.timeline.dependency(*path).map_or(Stamp::Absent, |known| known.stamp);
            before != Stamp::Absent || self.sight.stamp(*path, before) != Stamp::Absent
        };
        // One that was opened and asked about has two numbers.
        let others = self.pending.changed().filter(is_there).map(|path| self.sight.path(path));
        others.filter(|name| *name != self.sight.path(cause)).collect::<HashSet<_>>().len()
    }

    fn restart(&mut self, changed: &[Vec<u8>]) {
        let paths = changed.iter().map(Vec::as_slice);
        self.outlets.emit("restart", |event| event.strings("changed", paths));
        let renew = |path, known: &mut Dependency| self.sight.renew(path, known);
        self.former.restarted(self.timeline.restart(), renew);
        let before: Vec<PathId> = self.timeline.paths().collect();
        for path in before {
            let name = self.sight.path(path);
            if let Some(known) = self.timeline.dependency_mut(path) {
                (known.stamp, known.content) = (Stamp::of_file(name), content_digest(name));
            }
        }
        self.run.restart();
        let program = self.birth.run_anew();
        self.feed(Event::Resumed);
        match program {
            Ok(program) => {
                self.outlets.trace("restart", || program.to_string());
                self.run.is_now(program);
            }
            Err(why) => {
                self.outlets.warn(&why);
                self.revive();
                self.feed(Event::Ended(CANNOT_RUN));
            }
        }
    }

    /// The command has come to `enable()`, with these options, at this time of the monotonic
    /// clock. What it has read up
    /// to there, it is about to tell.
    pub(super) fn started(&mut self, settings: Settings, sink: Option<Sink>, began: Duration) {
        let mut before = std::mem::take(&mut self.timeline).into_dependencies();
        before.retain(|_, known| known.asked.is_none());
        self.former.enabled(before);
        self.sight.begin_anew(settings.poll > 0, self.pending.changed());
        self.configure(settings);
        self.outlets.set_sink(sink);
        self.run.enabled(monotonic().saturating_sub(began));
        self.tell_start();
    }

    /// What a file that was read before `enable()` was like then, if it has not
    /// changed since the command was run: else any difference counts.
    pub(super) fn read_before(&mut self, id: PathId) -> Option<Dependency> {
        let mut known = self.former.take_before(id)?;
        let path = self.sight.path(id);
        let stamp = Stamp::of_file(path);
        // With the same bytes it may be the command itself that has made it.
        if stamp != known.stamp && content_digest(path) == known.content {
            known.stamp = stamp;
        }
        Some(known)
    }

    /// Has a spare made for the checkpoint that the next edit is likely to need.
    pub(super) fn have_spare(&mut self) {
        if !self.agenda.machine().is_ending() {
            self.copies.have_spare(&self.timeline, self.birth.now());
        }
    }

    /// How many pages all checkpoints may come to hold.
    pub(super) fn most_pages(&self) -> u64 {
        let most = self.settings.max_memory.unwrap_or_else(|| self.birth.share_of_memory());
        most / page_size() as u64
    }

    /// Tells the program how long after the last checkpoint another one would be kept.
    pub(super) fn say_apart(&self) {
        let apart = self.timeline.apart(self.most_pages());
        self.birth.board().apart.store(apart, Ordering::Relaxed);
    }

    pub(super) fn end_checkpoint(&mut self, pid: i32) {
        self.copies.end_spare_of(pid, &self.timeline);
        let Some(ended) = self.timeline.remove(pid) else { return };
        self.outlets.trace("drop", || format!("checkpoint {}, process {pid}", ended.index));
        self.outlets.emit("drop", |event| event.plain("checkpoint", ended.index));
        self.copies.end(pid, ended.bare);
    }

    pub(super) fn end_checkpoints_after(&mut self, target: Target) {
        let later: Vec<i32> = self.timeline.after(target).iter().map(|known| known.pid).collect();
        for pid in later {
            self.end_checkpoint(pid);
        }
    }

    /// Ends the checkpoints of a program that had gone to a directory that is not there
    /// any more, or is another, and all if that has become of the directory in which the
    /// session began: a fresh start would go to that one.
    pub(super) fn end_misplaced(&mut self) {
        if self.birth.is_away() {
            return self.end_checkpoints_after(Target::Start);
        }
        let is_misplaced = |directory: &Directory| {
            Stamp::of_file(&directory.path).identity() != Some(directory.identity)
        };
        let misplaced: Vec<i32> = self
            .timeline
            .checkpoints()
            .iter()
            .filter(|known| known.directory.as_ref().is_some_and(is_misplaced))
            .map(|known| known.pid)
            .collect();
        for pid in misplaced {
            self.end_checkpoint(pid);
        }
    }

    pub(super) fn end(&mut self, signal: i32) {
        self.end_checkpoints_after(Target::Start);
        self.clearing.begin(Since::Always);
        if let Some(program) = self.run.program() {
            self.clearing.is_asked(program);
        }
        self.run.signal(signal);
        self.run.signal(libc::SIGCONT);
        let others = self.others();
        self.clearing.ask(&others, self.settings.stop_signal);
    }

    pub(super) fn exit(&mut self, signal: i32) {
        self.outlets.emit("end", |event| event.plain("signal", signal));
        self.outlets.close_server();
        self.birth.restore_terminal();
        if self.pending.is_end_wanted() && signal == libc::SIGTERM {
            report::info(&[b"stopped by `forkmon stop`"]);
            // A shell prints a line of its own for a process that a signal has ended.
            exit_now(128 + signal);
        }
        end_by(signal)
    }
}

/// Prints the line that tells of a resume.
fn tell(cause: Option<Cause>, point: Point) {
    let directory = std::env::current_dir().unwrap_or_default();
    report::info(&[&resuming(cause, point, directory.as_os_str().as_bytes())]);
}
