//! What happens to files: has a touched path changed, and was it the program?
//!
//! A path has changed when its stamp, or where that does not tell its content, is
//! not what the program saw. Two things are waited for: an editor in the middle
//! of saving, and events that the program has announced as its own.

use super::Supervisor;
use super::machine::{Event, Time};
use super::timeline::Dependency;
use crate::files::{PathId, Stamp, Touch, content_digest};
use crate::sys::procfs;
use std::time::{Duration, Instant};

/// How long a file may be missing, or empty and open, before that is taken for
/// what the user wants: editors delete and create, or write in two steps.
const GRACE: Duration = Duration::from_millis(100);

/// How often polled files are looked at unless the user says otherwise.
const POLL: Duration = Duration::from_millis(500);

/// How long after the program announced that it would change a file it is looked
/// whether it is through with that, if no event tells; and how often thereafter.
pub(super) const OWN_FIRST: Duration = Duration::from_millis(100);
const OWN_AGAIN: Duration = Duration::from_millis(200);

/// More processor time than passes between the announcement and the deed. On a busy
/// machine the program may have to wait for it longer than we do.
const OWN_TAKES: Duration = Duration::from_millis(10);

/// What the program announced that it would do to a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// Events that are to come of it.
    pub(super) events: u32,
    /// When to look whether it is through with that.
    pub(super) check: Time,
    /// The processor time that the program had used when it announced it.
    pub(super) used: Duration,
}

impl Supervisor {
    pub(super) fn judge_touched(&mut self) {
        for (path, touch) in std::mem::take(&mut self.touched) {
            self.judge(path, touch);
        }
    }

    /// Decides whether a touched path has changed.
    pub(super) fn judge(&mut self, path: PathId, touch: Touch) {
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
        // A command that is on its way to `enable()` may make files that it reads.
        let by_content = self.settings.content || self.starting && self.program.is_some();
        // Another may have been there for a moment, and been read. What has happened
        // before it was to be read at all tells nothing.
        let was_another =
            touch.rerouted && stamp.identity().is_some() && !self.fresh.contains(&path);
        let changed = if was_another {
            true
        } else if stamp == known.stamp {
            !same_content(known)
        } else if by_content && known.content.is_some() && same_content(known) {
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
    pub(super) fn look_for_own(&mut self, now: Time) {
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
            let files = files.collect::<Vec<_>>();
            let used = self.own.get(&path).map_or(Duration::ZERO, |own| own.used);
            if writes(self.program, &files) || is_held_up(self.program, used + OWN_TAKES) {
                if let Some(own) = self.own.get_mut(&path) {
                    own.check = now + OWN_AGAIN;
                }
            } else {
                restate(known, stamp, name);
                self.own.remove(&path);
            }
        }
    }

    pub(super) fn change(&mut self, path: PathId) {
        // Files are looked at later than signals, and who pressed Ctrl+C before this was
        // saved did so to the program that ran then.
        self.hear_interrupts();
        let name = self.watcher.path(path).to_vec();
        self.board.heat(&name);
        if self.changed.insert(path) {
            self.emit("change", |event| event.string("path", &name));
        }
        self.first_change.get_or_insert_with(Instant::now);
        self.feed(Event::Changed);
    }

    /// Looks at what must not wait for an event.
    pub(super) fn look_again(&mut self) {
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
}

/// Whether the program has one of these files open for writing.
pub(super) fn writes(program: Option<i32>, files: &[(u64, u64)]) -> bool {
    program.is_some_and(|program| procfs::writes(program, files))
}

/// Whether the program would go on if it could, and has not used so much processor
/// time yet.
fn is_held_up(program: Option<i32>, used: Duration) -> bool {
    program.is_some_and(|program| match procfs::state(program) {
        Some(b'T') => true,
        Some(b'R' | b'D') => procfs::processor_time(program) < used,
        _ => false,
    })
}

/// What the program has made of a file is what is known of it from now on.
pub(super) fn restate(known: &mut Dependency, stamp: Stamp, name: &[u8]) {
    known.stamp = stamp;
    if known.content.is_some() {
        known.content = content_digest(name);
    }
}

/// What a path looks like now, to be compared with `before`.
pub(super) fn restamp(before: Stamp, path: &[u8]) -> Stamp {
    match before {
        Stamp::Tree(_) => Stamp::of(path),
        _ => Stamp::of_file(path),
    }
}

/// Whether a file that appeared is likely to be written still: a plain file with
/// one name, touched just now. A hard link or a symbolic link is whole at once.
pub(super) fn is_being_written(path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(path)).is_ok_and(|found| {
        found.is_file() && found.nlink() == 1 && Stamp::of_file(path).is_younger_than(GRACE)
    })
}
