//! Resuming: from where, what has to be gone before, and waking or starting anew.

use super::children::send;
use super::machine::Event;
use super::{Supervisor, processes};
use crate::board::MAIL_BYTES;
use crate::checkpoint::ORDER_RESUME;
use crate::control::Server;
use crate::messages::{Index, Letter};
use crate::report;
use crate::sys::process::exit_now;
use crate::sys::signals;
use crate::timeline::Target;
use crate::watch::{PathId, Stamp};
use nix::sys::signal::Signal;
use std::os::unix::ffi::OsStrExt;
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

impl Supervisor<'_> {
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
        let (target, _) = self.target();
        self.terminal.restore();
        self.end_checkpoints_after(target);
        self.clearing = Some(match target {
            Target::Start => None,
            Target::Checkpoint(index) => {
                self.timeline.checkpoint(index).and_then(|kept| processes::started(kept.pid))
            }
        });
        self.asked.clear();
        self.check_cleared();
    }

    pub(super) fn wake(&mut self) {
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

    pub(super) fn restart(&mut self, cause: Option<Vec<u8>>, changed: &[Vec<u8>]) {
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

    pub(super) fn end(&mut self, signal: i32) {
        self.end_checkpoints_after(Target::Start);
        self.asked.clear();
        if let Some(program) = self.program {
            self.asked.insert(program);
            send(program, signal);
            send(program, libc::SIGCONT);
        }
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
        // We end by the signal for the shell's sake; a core of us helps nobody.
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
        if let Ok(signal) = Signal::try_from(signal) {
            signals::take_default(signal);
        }
        exit_now(128 + signal);
    }
}
