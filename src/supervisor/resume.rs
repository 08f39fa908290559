//! Resuming: from where, what has to be gone before, and waking or starting anew.

use super::children::send;
use super::files::restamp;
use super::machine::Event;
use super::timeline::{Dependency, Target};
use super::{Supervisor, open_events};
use crate::files::{PathId, Stamp, Watcher, content_digest};
use crate::report;
use crate::session::invitation::CANNOT_RUN;
use crate::sys::procfs;
use crate::sys::signals::end_by;
use crate::wire::board::MAIL_BYTES;
use crate::wire::letter::Letter;
use crate::wire::order::ORDER_RESUME;
use crate::wire::record::Index;
use crate::wire::settings::Settings;
use crate::wire::settings::Sink;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// So many resumes for one file within that time are hardly anybody's edits.
const LOOP_TIMES: u32 = 200;
const LOOP_WITHIN: Duration = Duration::from_secs(10);

/// A checkpoint on its way to being the program.
pub(super) struct Woken {
    /// The process woken: the checkpoint itself, or its spare.
    pub(super) pid: i32,
    /// The checkpoint's process.
    pub(super) mold: i32,
    pub(super) index: Index,
    pub(super) name: Vec<u8>,
    /// When in the run it was taken.
    pub(super) at: Duration,
    pub(super) changed: Vec<Vec<u8>>,
    /// When the first change was seen; `None` when somebody asked for it.
    pub(super) since: Option<Instant>,
}

impl Supervisor {
    /// Where the changes resume from, and the path that decides it.
    pub(super) fn target(&self) -> (Target, Option<PathId>) {
        let changed = self.timeline.target(self.changed.iter().copied());
        // It may have been lost since it was asked for.
        let wanted = self.wanted.map(|wanted| match wanted {
            Target::Start => Target::Start,
            Target::Checkpoint(index) => self.timeline.at_or_before(index),
        });
        match (changed, wanted) {
            (Some((target, path)), wanted) if wanted.is_none_or(|wanted| target <= wanted) => {
                (target, Some(path))
            }
            (_, Some(wanted)) => (wanted, None),
            // Nothing that is known depends on them: a fresh start is always right.
            _ => (Target::Start, self.changed.iter().next().copied()),
        }
    }

    pub(super) fn clear(&mut self) {
        self.end_misplaced();
        let (target, _) = self.target();
        self.terminal.restore();
        self.end_checkpoints_after(target);
        self.clearing = Some(match target {
            Target::Start => None,
            Target::Checkpoint(index) => {
                self.timeline.checkpoint(index).and_then(|kept| procfs::started(kept.pid))
            }
        });
        self.asked.clear();
        self.check_cleared();
    }

    pub(super) fn wake(&mut self) {
        self.clearing = None;
        let (target, cause) = self.target();
        let cause = cause.map(|path| self.watcher.path(path).to_vec());
        let changed = self.changed.drain().map(|path| self.watcher.path(path).to_vec()).collect();
        let changed: Vec<Vec<u8>> = [std::mem::take(&mut self.unsent), changed].concat();
        let since = self.first_change.take();
        self.wanted = None;
        if self.settings.clear {
            report::clear_screen();
        }
        if let Some(cause) = &cause {
            self.board.announce(cause);
            self.suspect_loop(cause);
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
            self.rewind(index);
        } else {
            self.timeline.remove(pid);
            self.wake_failed();
        }
    }

    /// Forgets what a run from checkpoint `index` finds out again, unless that is
    /// killed before.
    fn rewind(&mut self, index: Index) {
        self.unread.extend(self.timeline.rewind(index));
        for known in self.unread.values_mut() {
            known.checkpoint = Some(index);
        }
    }

    /// A person does not save like this: tells, once, what probably does.
    fn suspect_loop(&mut self, cause: &[u8]) {
        let now = self.now();
        let (path, since, times) = &mut self.streak;
        if path != cause || now - *since > LOOP_WITHIN {
            (*path, *since, *times) = (cause.to_vec(), now, 0);
        }
        *times += 1;
        if *times == LOOP_TIMES {
            let path = String::from_utf8_lossy(cause);
            let text = format!(
                "'{path}' changed {LOOP_TIMES} times in {} s: if something that the program starts \
                 writes it, keep it out with --ignore",
                LOOP_WITHIN.as_secs()
            );
            self.warn(&text);
        }
    }

    fn restart(&mut self, cause: Option<Vec<u8>>, changed: &[Vec<u8>]) {
        match &cause {
            Some(cause) => report::info(&[b"file '", cause, b"' changed, restarting.."]),
            None => report::info(&[b"restarting.."]),
        }
        self.emit("restart", |event| event.strings("changed", changed.iter().map(Vec::as_slice)));
        self.unread.extend(self.timeline.restart());
        // As they are now, or later, the command is going to read them.
        for (path, known) in &mut self.unread {
            known.checkpoint = Some(0);
            (known.stamp, known.content) = (restamp(known.stamp, self.watcher.path(*path)), None);
        }
        let before: Vec<PathId> = self.timeline.paths().collect();
        for path in before {
            let name = self.watcher.path(path);
            if let Some(known) = self.timeline.dependency_mut(path) {
                (known.stamp, known.content) = (Stamp::of_file(name), content_digest(name));
            }
        }
        self.starting = true;
        self.run_began = Instant::now();
        self.run_took = None;
        let run = |memory: &OwnedFd| {
            let program = self.command.run(&self.mask, self.ignores_children, memory.as_raw_fd());
            program.map_err(|error| format!("the program cannot be run anew: {}", error.desc()))
        };
        let no_memory = "the program cannot be run anew in this session, which has no memory to \
                         share (see `ulimit -f` and `ulimit -n`): end it and start it anew";
        match self.memory.as_ref().map_or(Err(no_memory.into()), run) {
            Ok(program) => {
                self.program = Some(program);
                self.feed(Event::Resumed);
            }
            Err(why) => {
                self.warn(&why);
                self.feed(Event::Resumed);
                self.revive();
                self.feed(Event::Ended(CANNOT_RUN));
            }
        }
    }

    /// The command has come to `enable()`, with these options. What it has read up
    /// to there, it is about to tell.
    pub(super) fn started(&mut self, settings: Settings, sink: Option<Sink>) {
        self.starting = false;
        self.unread.clear();
        self.revived.clear();
        self.held.clear();
        self.rechecks.clear();
        self.own.clear();
        self.touched.clear();
        let timeline = std::mem::take(&mut self.timeline);
        self.before = timeline
            .paths()
            .filter_map(|path| {
                Some((self.watcher.path(path).to_vec(), timeline.dependency(path)?.clone()))
            })
            .collect();
        let changed: Vec<Vec<u8>> =
            self.changed.drain().map(|path| self.watcher.path(path).to_vec()).collect();
        // The first goes before the second comes: there may be room for one only.
        self.watcher = Watcher::new(true);
        self.watcher = Watcher::new(settings.poll > 0);
        self.changed = changed.iter().map(|path| self.watcher.add(path).0).collect();
        self.configure(settings);
        if sink != self.sink || self.events.is_none() {
            self.events = sink.as_ref().and_then(open_events);
            self.sink = sink;
        }
        self.run_began = Instant::now();
        self.tell_start();
    }

    /// What a file that was read before `enable()` was like then, if it has not
    /// changed since the command was run: else any difference counts.
    pub(super) fn read_before(&mut self, path: &[u8]) -> Option<Dependency> {
        let mut known = self.before.remove(path)?;
        let stamp = Stamp::of_file(path);
        // With the same bytes it may be the command itself that has made it.
        if stamp != known.stamp && content_digest(path) == known.content {
            known.stamp = stamp;
        }
        Some(known)
    }

    pub(super) fn end(&mut self, signal: i32) {
        self.end_checkpoints_after(Target::Start);
        self.asked.clear();
        self.asked.extend(self.program);
        self.signal_program(signal);
        self.signal_program(libc::SIGCONT);
        self.ask_to_end(&self.others());
    }

    /// Asks processes to end, each once: more may be forked while they do.
    pub(super) fn ask_to_end(&mut self, pids: &[i32]) {
        for &pid in pids {
            if self.asked.insert(pid) {
                send(pid, self.settings.stop_signal);
                // A stopped process gets to see it only when it goes on.
                send(pid, libc::SIGCONT);
            }
        }
    }

    pub(super) fn exit(&mut self, signal: i32) {
        self.emit("end", |event| event.plain("signal", signal));
        self.server = None;
        self.terminal.restore();
        end_by(signal)
    }
}
