//! What the program says: records from the board, taken in order.

use super::files::{OWN_FIRST, restamp};
use super::timeline::{Checkpoint, Dependency, Target};
use super::{Supervisor, delays, milliseconds};
use crate::files::{PathId, Stamp, TICK, Touch};
use crate::report;
use crate::sys::procfs;
use crate::wire::record::{Index, Record, Seen};
use crate::wire::settings::Settings;
use crate::wire::settings::Sink;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Supervisor {
    /// Takes what the program has said; returns what it has opened.
    pub(super) fn take_records(&mut self) -> Vec<PathId> {
        let mut opened = Vec::new();
        self.busy = !self.board.is_drained();
        self.drain(&mut opened);
        opened
    }

    /// Looks for changes of just opened files that came before they were watched.
    pub(super) fn compare_opened(&mut self, opened: Vec<PathId>) {
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
    pub(super) fn drain(&mut self, opened: &mut Vec<PathId>) {
        while let Some(bytes) = self.board.peek() {
            let record = Record::decode(&bytes);
            if let Some(Record::Wrote { .. }) = record {
                // The program waits until this is taken out: what has happened to
                // files by now is not what it is about to do.
                self.judge_touched();
                self.touched = self.watcher.read();
                self.judge_touched();
            }
            self.board.skip(bytes.len());
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
                Some(Record::Started { settings, events }) => {
                    opened.clear();
                    self.started(settings, events.map(|sink| Sink::parse(&sink)));
                }
                Some(Record::Checkpoint {
                    index,
                    pid,
                    name,
                    at,
                    worth,
                    bare,
                    pages,
                    directory,
                }) => {
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
                        directory,
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
                Some(Record::Dependencies { checkpoint, seen }) => {
                    opened
                        .extend(seen.into_iter().filter_map(|seen| self.depend(checkpoint, seen)));
                }
                Some(Record::Wrote { path }) => {
                    let (id, _) = self.watcher.add(&path);
                    let own = self.own.entry(id).or_default();
                    own.events += 1;
                    own.check = self.began.elapsed() + OWN_FIRST;
                    own.used = self.program.map(procfs::processor_time).unwrap_or_default();
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

    /// The program depends on a path from now on. Returns it when it has to be
    /// looked at, as it may have changed before it was watched.
    fn depend(&mut self, checkpoint: Option<Index>, seen: Seen) -> Option<PathId> {
        let Seen { path, stamp, content } = seen;
        if self.events.is_some() && self.watcher.find(&path).is_none() {
            let present = stamp != Stamp::Absent;
            self.emit("watch", |event| event.string("path", &path).plain("present", present));
        }
        let (id, found) = self.watcher.add(&path);
        self.fresh.insert(id);
        self.unread.remove(&id);
        self.revived.remove(&id);
        if self.timeline.dependency(id).is_none() {
            self.own.remove(&id);
        }
        let told = Dependency { checkpoint, stamp, content };
        let dependency = match checkpoint {
            None => self.read_before(&path).unwrap_or(told),
            Some(_) => told,
        };
        if dependency.content.is_some() {
            self.rechecks.push((self.now() + TICK, id));
        }
        let is_there = dependency.stamp != Stamp::Absent;
        let known = self.timeline.depend(id, dependency).stamp;
        // The run has seen it both ways: what it is now says nothing about that.
        if is_there != (known != Stamp::Absent) && !self.own.contains_key(&id) {
            self.change(id);
        }
        (found != Some(known)).then_some(id)
    }

    pub(super) fn configure(&mut self, settings: Settings) {
        report::configure(settings.quiet, settings.colors);
        self.machine.set_delays(delays(&settings));
        self.settings = settings;
    }
}
