//! Files that the program uses piece by piece.
//!
//! Theory of operation. The program says that all it has done so far depends on no more
//! than the first bytes of a file. That is a stop point, too, but one that nothing forces:
//! without a checkpoint there, a change resumes from further back. The digest of those
//! bytes is taken before the checkpoint, with the stamp of the file then; the supervisor
//! takes it only if that is the file which was opened. Who is resumed there looks whether
//! the bytes are still the same, and goes on with what follows them now. If they are not,
//! as the file was saved once more meanwhile, it waits for the resume that this leads to.

use super::placement::Decision;
use super::{Consumed, Program};
use crate::files::{Prefixes, Stamp, prefixes};
use crate::wire::record::{Index, Part, Record, Worth};
use std::time::{Duration, Instant};

/// How long a file that cannot be read is waited for: some editors remove it and write it
/// anew.
const MISSING: Duration = Duration::from_millis(100);

/// How often it is looked for, and how long a sleep is while the supervisor is waited for.
const LOOK: Duration = Duration::from_millis(2);

impl Program {
    /// A stop point: all that the program has done depends on no more than the first
    /// `offset` bytes of a file that it has opened. `fence`: the next edit is likely to be
    /// right behind it. With none of the bytes, it is a stop point as when the file is opened.
    pub fn consumed(&mut self, path: &[u8], offset: u64, fence: bool) -> Consumed {
        if !self.can_watch() || !self.known.holds(path) {
            return Consumed::Unwatched;
        }
        let is_opening = offset == 0;
        let effect = is_opening && self.effects.any();
        let hot = fence
            || is_opening
                && (self.channel.board().is_hot(path)
                    || self.budget.is_recent(Stamp::of_file(path)));
        let elective = match self.budget.decide(effect, hot, self.channel.apart()) {
            Decision::Join => return Consumed::On,
            Decision::Elective => true,
            Decision::Forced => false,
        };
        let Some(part) = prefixes(path, &[offset]).and_then(|read| part(offset, &read)) else {
            return Consumed::On;
        };
        let digest = part.digest;
        let worth = Worth { explicit: false, hot, separated: self.effects.any() };
        match self.try_to_take(path, worth, elective, Some(part)).1 {
            None => Consumed::On,
            Some(resume) => {
                self.take_up(path, offset, digest);
                Consumed::Resumed(resume)
            }
        }
    }

    /// Sees to it that the first bytes of the file are what they were.
    fn take_up(&mut self, path: &[u8], offset: u64, digest: u64) {
        let begins = Instant::now();
        let read = loop {
            match prefixes(path, &[offset]) {
                None if begins.elapsed() < MISSING => std::thread::sleep(LOOK),
                read => break read,
            }
        };
        let part = read.as_ref().and_then(|read| part(offset, read));
        let Some(part) = part.filter(|part| part.digest == digest) else {
            self.refuse(path, false)
        };
        let content = part.stamp.is_fresh() || self.settings.content;
        self.channel.send(&Record::Anew {
            checkpoint: self.checkpoint_here(),
            path: path.to_vec(),
            stamp: part.stamp,
            content: content.then_some(part.content),
        });
    }

    /// Whether a file was edited in this session.
    pub fn is_edited(&self, path: &[u8]) -> bool {
        self.is_active() && self.channel.board().is_hot(path)
    }

    /// After a resume from the middle of a file: the program cannot go on with the rest of
    /// it. With `never`, not from there at all, as the first bytes are what they were. It is going to be resumed from
    /// further back; does not return.
    pub fn refuse(&mut self, path: &[u8], never: bool) -> ! {
        let checkpoint = self.checkpoint_here();
        self.channel.send(&Record::Unfit { checkpoint, path: path.to_vec(), never });
        // It ends us, or ends itself, and us with it.
        loop {
            std::thread::sleep(LOOK);
        }
    }

    fn checkpoint_here(&self) -> Index {
        self.place.current().unwrap_or(0)
    }
}

fn part(offset: u64, read: &Prefixes) -> Option<Part> {
    let prefix = read.found.first().copied().flatten()?;
    let Prefixes { stamp, content, .. } = *read;
    Some(Part { offset, line: prefix.line, digest: prefix.digest, stamp, content })
}
