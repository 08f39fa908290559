//! What the program says: records from the board, taken in order.

use super::files::content_of;
use super::timeline::{Checkpoint, Dependency, Part, Target};
use super::trace::shown;
use super::verdict::is_seen_both_ways;
use super::{Supervisor, milliseconds};
use crate::files::answer::{Answer, Asked, Question};
use crate::files::{PathId, Stamp};
use crate::wire::record::{self, Index, Record, Seen};
use crate::wire::settings::Sink;
use std::time::Duration;

impl Supervisor {
    /// Takes what the program has said; returns what it has opened.
    pub(super) fn take_records(&mut self) -> Vec<PathId> {
        let mut opened = Vec::new();
        self.inbox.look_at_board();
        self.drain(&mut opened);
        opened
    }

    /// Takes every record off the board; adds the new dependencies to `opened`.
    pub(super) fn drain(&mut self, opened: &mut Vec<PathId>) {
        while let Some(bytes) = self.inbox.peek() {
            let record = Record::decode(&bytes);
            if let Some(Record::Wrote { .. } | Record::Awaits | Record::Awaited) = record {
                // The program waits until this is taken out: what has happened to
                // files by now is not what it is about to do, and what a subprocess has
                // done to them is known before the end of that is.
                self.judge_touched();
                self.sight.read();
                self.judge_touched();
            }
            match record {
                Some(record) => self.take_in(record, opened),
                None => self.outlets.warn("an unreadable record came from the program"),
            }
            // Only now: it goes on at once, and what was there before is looked at above.
            self.inbox.skip(bytes.len());
            self.decide();
        }
    }

    fn take_in(&mut self, record: Record, opened: &mut Vec<PathId>) {
        match record {
            Record::Running { pid, settings } => {
                // A checkpoint that could not clone itself went on instead.
                self.timeline.remove(pid);
                self.run.is_now(pid);
                self.pending.waits().stop();
                self.configure(settings);
                if self.agenda.machine().is_waking() {
                    self.resumed();
                }
            }
            Record::Started { settings, events, began } => {
                opened.clear();
                let began = Duration::from_nanos(began);
                self.started(settings, events.map(|sink| Sink::parse(&sink)), began);
            }
            Record::Checkpoint { index, pid, name, at, worth, bare, pages, directory, part } => {
                self.copies.announced(pid);
                let resumed = 0;
                let part = part.and_then(|part| self.part(&name, part));
                self.add_checkpoint(Checkpoint {
                    index,
                    pid,
                    name,
                    at,
                    worth,
                    bare,
                    pages,
                    directory,
                    resumed,
                    part,
                });
            }
            Record::Dependencies { checkpoint, seen } => {
                opened.extend(seen.into_iter().filter_map(|seen| self.depend(checkpoint, seen)));
            }
            Record::Told { checkpoint, path, question, answer } => {
                opened.extend(self.told(checkpoint, &path, question, answer));
            }
            Record::Wrote { path } => {
                self.outlets.trace("announced", || shown(&path));
                let same = self.timeline.of_file(Stamp::of_file(&path));
                let (program, now) = (self.run.program(), self.birth.now());
                let listings = self.sight.announce(&path, same, program, now);
                self.leave_out(&path, &listings, Asked::leave_out);
            }
            Record::Made { path } => {
                let listings = self.sight.listings_with(&path);
                self.leave_out(&path, &listings, |asked, _, name| asked.leave_out_new(name));
            }
            Record::Configured(settings) => self.configure(settings),
            Record::Outdated { after } => {
                self.end_checkpoints_after(after.map_or(Target::Start, Target::Checkpoint));
            }
            Record::Anew { checkpoint, path, stamp, content } => {
                if let Some(id) = self.sight.find(&path) {
                    self.timeline.taken_up(id, checkpoint, stamp, content);
                    if content.is_some() {
                        self.sight.recheck(id, stamp, self.birth.now());
                    }
                    opened.push(id);
                }
            }
            Record::Unfit { checkpoint, path, never } => {
                self.outlets.trace("unfit", || shown(&path));
                if never {
                    self.timeline.drop_part(checkpoint);
                }
                if let Some(id) = self.sight.find(&path) {
                    self.change(id);
                }
            }
            Record::Awaits => {
                let content = |path: &[u8]| content_of(path, &self.sight, &self.timeline);
                self.pending.waits().begin(self.birth.now(), content);
            }
            Record::Awaited => self.waited(),
            Record::Barred { path, why } => self.run.bar(path, why),
            Record::Warned(text) => {
                self.outlets.emit("warning", |event| event.string("text", &text));
            }
        }
    }

    /// What a checkpoint has used of a file, if that is the one which the run has opened:
    /// it may have been saved since, and looked at only then.
    fn part(&mut self, path: &[u8], part: record::Part) -> Option<Part> {
        let path = self.sight.find(path)?;
        let known = self.timeline.dependency(path)?;
        let record::Part { offset, line, digest, stamp, content } = part;
        let is_same = stamp == known.stamp && known.content.is_none_or(|known| known == content);
        is_same.then_some(Part { path, offset, line, digest })
    }

    fn add_checkpoint(&mut self, checkpoint: Checkpoint) {
        let (index, pid) = (checkpoint.index, checkpoint.pid);
        let name = &checkpoint.name;
        self.outlets.trace("checkpoint", || format!("{index}, process {pid}, {}", shown(name)));
        self.outlets.emit("checkpoint", |event| {
            let event = event
                .plain("checkpoint", index)
                .plain("pid", pid)
                .string("name", name)
                .plain("at_ms", milliseconds(Duration::from_micros(checkpoint.at)));
            match checkpoint.line() {
                Some(line) => event.plain("line", line),
                None => event,
            }
        });
        self.timeline.add(checkpoint);
        let limit = self.settings.max_checkpoints as usize;
        let most = self.most_pages();
        while let Some(excess) = self.timeline.excess(limit, most) {
            self.end_checkpoint(excess);
        }
        self.say_apart();
        if self.agenda.machine().is_ending() {
            self.end_checkpoint(pid);
        }
    }

    /// The program depends on a path from now on. Returns it when it has to be
    /// looked at, as it may have changed before it was watched.
    fn depend(&mut self, checkpoint: Option<Index>, seen: Seen) -> Option<PathId> {
        let Seen { path, stamp, content } = seen;
        if self.outlets.are_wanted() && self.sight.find(&path).is_none() {
            let present = stamp != Stamp::Absent;
            self.outlets
                .emit("watch", |event| event.string("path", &path).plain("present", present));
        }
        let (id, found) = self.sight.open(&path, |id| self.timeline.dependency(id).is_some());
        self.former.read(id);
        self.run.depends(id, &path);
        let told = Dependency { checkpoint, stamp, content, digest: None, asked: None };
        let dependency = match checkpoint {
            None => self.read_before(id).unwrap_or(told),
            Some(_) => told,
        };
        if dependency.content.is_some() {
            self.sight.recheck(id, dependency.stamp, self.birth.now());
        }
        self.sight.read_later(id, self.birth.now());
        let later = dependency.stamp;
        let known = self.timeline.depend(id, dependency).stamp;
        self.outlets.trace("reads", || format!("{} after checkpoint {checkpoint:?}", shown(&path)));
        // The present run may have read it before, and there was something, and now it has
        // looked again, and there was nothing; or the other way round. A stamp that fits
        // the one does not fit the other, so the path has changed whatever is there now.
        if is_seen_both_ways(known, later) && !self.sight.is_announced(id) {
            self.change(id);
        }
        (found != Some(known)).then_some(id)
    }

    /// The program depends on an answer from now on. Returns what was asked when it has to
    /// be looked at.
    fn told(
        &mut self,
        checkpoint: Option<Index>,
        path: &[u8],
        question: Question,
        answer: Answer,
    ) -> Option<PathId> {
        let was_known = |id| self.timeline.dependency(id).is_some();
        let (id, found) = self.sight.ask(path, question, was_known);
        self.former.read(id);
        let stamp = found.unwrap_or_else(|| Stamp::of_file(path));
        let asked = Some(Box::new(Asked::new(question, answer)));
        let told = Dependency { checkpoint, stamp, content: None, digest: None, asked };
        let known = self.timeline.depend(id, told);
        self.outlets.trace("asks", || {
            format!("{} {question:?} {answer:?} after checkpoint {checkpoint:?}", shown(path))
        });
        // It may have asked before, and been told another thing, which is not there any more.
        let agrees = known.asked.as_ref().is_some_and(|asked| asked.agrees(path, answer));
        if !agrees && !self.sight.is_announced(id) {
            self.change(id);
        }
        (found != Some(Stamp::Absent) || !answer.is_absent()).then_some(id)
    }

    /// What the program itself makes or removes counts in no listing any more.
    fn leave_out(
        &mut self,
        path: &[u8],
        listings: &[PathId],
        act: impl Fn(&mut Asked, &[u8], &[u8]),
    ) {
        let name = &path[path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)..];
        for &id in listings {
            let known = self.timeline.dependency_mut(id).and_then(|known| known.asked.as_mut());
            if let Some(asked) = known {
                act(asked, self.sight.path(id), name);
            }
        }
    }
}
