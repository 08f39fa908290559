//! The timeline: which checkpoints there are, and what depends on which.
//!
//! Theory of operation. A run leaves checkpoints behind, numbered in the order
//! they were taken; every file it opens becomes a dependency of the newest
//! checkpoint at that moment. A change of files resumes from the *earliest*
//! checkpoint that any of them depends on: everything before it did not see
//! them. Resuming rewinds the timeline: later checkpoints and what depends on
//! them are forgotten, as the resumed run will take and name its own. A
//! checkpoint that was lost or evicted passes what depends on it to the one
//! before. Nothing here touches the system.

mod parts;
mod thinning;

use crate::files::answer::Asked;
use crate::files::{PathId, Stamp};
use crate::wire::record::{Directory, Index, Worth};
use rustc_hash::{FxHashMap, FxHashSet};
use std::borrow::Cow;
use std::collections::hash_map::Entry;

/// A parked copy of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its place in the run that took it; 0 is the state at `enable()`.
    pub index: Index,
    /// The parked process.
    pub pid: i32,
    /// The label of an explicit checkpoint, or the path it was taken for.
    pub name: Vec<u8>,
    /// When in the run it was taken, in microseconds.
    pub at: u64,
    /// What speaks for keeping it.
    pub worth: Worth,
    /// It keeps nothing open that a later run could want.
    pub bare: bool,
    /// How many pages of memory it may come to hold on to; 0 when it is to be kept
    /// whatever it holds.
    pub pages: u64,
    /// Where the program had gone, if that was not where it began.
    pub directory: Option<Directory>,
    /// How often it was resumed.
    pub resumed: u64,
    /// How much had been used of the file that it is named for, where more was to be.
    pub part: Option<Part>,
}

impl Checkpoint {
    /// What people call it.
    pub fn title(&self) -> Cow<'_, [u8]> {
        if let Some(line) = self.line() {
            let from = format!(", from line {line}").into_bytes();
            return Cow::Owned([&self.name[..], &from].concat());
        }
        match (self.index, &self.name[..]) {
            (0, b"") => Cow::Borrowed(b"enable()"),
            (index, b"") => Cow::Owned(format!("checkpoint {index}").into_bytes()),
            (_, name) => Cow::Borrowed(name),
        }
    }
}

impl Checkpoint {
    /// The line where the rest of the file begins that it is named for, if a part had been
    /// used.
    pub fn line(&self) -> Option<u32> {
        self.part.filter(|part| part.offset > 0).map(|part| part.line)
    }
}

/// How much of a file had been used at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub path: PathId,
    /// So many bytes.
    pub offset: u64,
    /// The line where the rest begins.
    pub line: u32,
    /// Digest of the bytes before the offset.
    pub digest: u64,
}

/// What the files that were used in part look like now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fits {
    /// The checkpoints whose part is what it was.
    pub checkpoints: FxHashSet<Index>,
    /// The files that were looked at: stamp, and digest of the content where the stamp
    /// alone does not settle it.
    pub seen: FxHashMap<PathId, (Stamp, Option<u64>)>,
}

/// What the program read, or was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The checkpoint current when it was first opened; `None`: before `enable()`.
    pub checkpoint: Option<Index>,
    /// What it looked like before it was opened.
    pub stamp: Stamp,
    /// Digest of its content then, if it was taken.
    pub content: Option<u64>,
    /// The same, taken when there was time for that: it tells where no more than the time of
    /// the last change is another.
    pub digest: Option<u64>,
    /// It was not opened: the program asked this, and what it was told is what counts.
    pub asked: Option<Box<Asked>>,
}

/// Where a change resumes; in the order of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// From the very start, by running the command anew.
    Start,
    /// From the checkpoint with this index.
    Checkpoint(Index),
}

/// The checkpoints and dependencies of the present run.
#[derive(Debug, Default)]
pub struct Timeline {
    /// In order of their index.
    checkpoints: Vec<Checkpoint>,
    dependencies: FxHashMap<PathId, Dependency>,
    /// Every dependency that a rewind may drop, in the order of its checkpoint.
    order: Vec<(Index, PathId)>,
    /// The files that a run has taken up anew, and the last checkpoint where it did.
    anew: FxHashMap<PathId, Index>,
}

impl Timeline {
    /// Adds a checkpoint after all others.
    ///
    /// Records of one run come in order, so an index that is not the highest
    /// can only be a repetition of one that is there: it takes its place.
    pub fn add(&mut self, checkpoint: Checkpoint) {
        match self.checkpoints.binary_search_by_key(&checkpoint.index, |known| known.index) {
            Ok(at) => self.checkpoints[at] = checkpoint,
            Err(at) => self.checkpoints.insert(at, checkpoint),
        }
    }

    /// Adds a dependency. Of several on one path the earliest counts: returns that.
    pub fn depend(&mut self, path: PathId, dependency: Dependency) -> &Dependency {
        let index = dependency.checkpoint;
        let entry = match self.dependencies.entry(path) {
            Entry::Occupied(entry) if entry.get().checkpoint <= index => return entry.into_mut(),
            entry => entry,
        };
        if let Some(index) = index {
            // Nearly always the last, which is not to be searched for.
            let is_last = self.order.last().is_none_or(|(last, _)| *last <= index);
            let at = match is_last {
                true => self.order.len(),
                false => self.order.partition_point(|(known, _)| *known <= index),
            };
            self.order.insert(at, (index, path));
        }
        entry.insert_entry(dependency).into_mut()
    }

    /// The dependency on `path`, if there is one.
    pub fn dependency(&self, path: PathId) -> Option<&Dependency> {
        self.dependencies.get(&path)
    }

    /// The same, to be updated when the program itself wrote the file.
    pub fn dependency_mut(&mut self, path: PathId) -> Option<&mut Dependency> {
        self.dependencies.get_mut(&path)
    }

    /// Every path the present run depends on.
    pub fn paths(&self) -> impl Iterator<Item = PathId> + '_ {
        self.dependencies.keys().copied()
    }

    /// How many files of them are there, as far as the program saw.
    pub fn present(&self) -> usize {
        let is_file = |known: &&Dependency| known.stamp != Stamp::Absent && known.asked.is_none();
        self.dependencies.values().filter(is_file).count()
    }

    /// The paths at which the file was that has this stamp now.
    pub fn of_file(&self, stamp: Stamp) -> Vec<PathId> {
        let is_it = |known: &Dependency| known.stamp.is_same_file(&stamp);
        self.dependencies.iter().filter(|(_, known)| is_it(known)).map(|(id, _)| *id).collect()
    }

    /// What the run depended on.
    pub fn into_dependencies(self) -> FxHashMap<PathId, Dependency> {
        self.dependencies
    }

    /// The checkpoints, in order.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The checkpoint with this index.
    pub fn checkpoint(&self, index: Index) -> Option<&Checkpoint> {
        let at = self.checkpoints.binary_search_by_key(&index, |known| known.index).ok()?;
        Some(&self.checkpoints[at])
    }

    /// Where a change of `paths` resumes, and which of them decides it; `None`
    /// when nothing depends on any of them.
    pub fn target(&self, paths: impl IntoIterator<Item = PathId>) -> Option<(Target, PathId)> {
        let (earliest, path) = paths
            .into_iter()
            .filter_map(|path| Some((self.dependencies.get(&path)?.checkpoint, path)))
            .min()?;
        let target = match earliest {
            None => Target::Start,
            Some(index) => self.at_or_before(index),
        };
        Some((target, path))
    }

    /// The checkpoint with this index, or the next best where it is gone.
    pub fn at_or_before(&self, index: Index) -> Target {
        match self.checkpoints.partition_point(|known| known.index <= index) {
            0 => Target::Start,
            after => Target::Checkpoint(self.checkpoints[after - 1].index),
        }
    }

    /// The checkpoints that come after `target`, which a resume from it ends.
    pub fn after(&self, target: Target) -> &[Checkpoint] {
        let keep = match target {
            Target::Start => 0,
            Target::Checkpoint(index) => {
                self.checkpoints.partition_point(|known| known.index <= index)
            }
        };
        &self.checkpoints[keep..]
    }

    /// Forgets everything that a run resumed from checkpoint `index` finds out
    /// again: later checkpoints, and what was opened from `index` on.
    /// Returns the dependencies it forgets.
    pub fn rewind(&mut self, index: Index) -> Vec<(PathId, Dependency)> {
        self.checkpoints.retain(|known| known.index <= index);
        let mut forgotten = Vec::new();
        if let Some(last) = self.checkpoints.last_mut().filter(|last| last.index == index) {
            last.resumed += 1;
        }
        while let Some(&(later, path)) = self.order.last()
            && later >= index
        {
            self.order.pop();
            // An earlier dependency may have taken the path over meanwhile.
            if self.dependencies.get(&path).is_some_and(|known| known.checkpoint == Some(later)) {
                forgotten.extend(self.dependencies.remove(&path).map(|known| (path, known)));
            }
        }
        self.rewind_parts();
        forgotten
    }

    /// Forgets everything that the command finds out again when it is run anew: all
    /// checkpoints, and what was opened after `enable()`. Returns the dependencies
    /// it forgets.
    pub fn restart(&mut self) -> Vec<(PathId, Dependency)> {
        self.checkpoints.clear();
        self.order.clear();
        self.anew.clear();
        self.dependencies.extract_if(|_, known| known.checkpoint.is_some()).collect()
    }

    /// Takes the checkpoint of a process out. What depended on it now resumes
    /// from the one before.
    pub fn remove(&mut self, pid: i32) -> Option<Checkpoint> {
        let at = self.checkpoints.iter().position(|known| known.pid == pid)?;
        let removed = self.checkpoints.remove(at);
        if let Some(next) = self.checkpoints.get_mut(at) {
            next.worth.separated |= removed.worth.separated;
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn checkpoint(index: Index) -> Checkpoint {
        Checkpoint {
            index,
            pid: 1000 + index as i32,
            name: Vec::new(),
            at: u64::from(index) * 1000,
            worth: Worth::default(),
            bare: true,
            pages: 0,
            directory: None,
            resumed: 0,
            part: None,
        }
    }

    fn dependency(checkpoint: Option<Index>) -> Dependency {
        Dependency { checkpoint, stamp: Stamp::Absent, content: None, digest: None, asked: None }
    }

    /// A run of checkpoints 0..n, some of them lost, with files opened after each.
    fn run() -> impl Strategy<Value = (Vec<bool>, Vec<(PathId, Option<Index>)>)> {
        (1usize..12).prop_flat_map(|count| {
            (
                prop::collection::vec(any::<bool>(), count),
                prop::collection::vec((0u32..30, prop::option::of(0..count as Index)), 0..40),
            )
        })
    }

    pub(super) fn build(alive: &[bool], opened: &[(PathId, Option<Index>)]) -> Timeline {
        let mut timeline = Timeline::default();
        for index in 0..alive.len() as Index {
            timeline.add(checkpoint(index));
        }
        let mut opened = opened.to_vec();
        opened.sort_by_key(|(_, index)| *index);
        for (path, index) in opened {
            timeline.depend(path, dependency(index));
        }
        for (index, alive) in alive.iter().enumerate() {
            if !alive {
                timeline.remove(1000 + index as i32);
            }
        }
        timeline
    }

    proptest! {
        #[test]
        fn the_target_is_the_newest_live_checkpoint_before_every_changed_file(
            (alive, opened) in run(), changed in prop::collection::vec(0u32..30, 0..6)
        ) {
            let timeline = build(&alive, &opened);
            let first_opened = |path: PathId| {
                opened.iter().filter(|(known, _)| *known == path).map(|(_, index)| *index).min()
            };
            let earliest = changed.iter().filter_map(|path| first_opened(*path)).min();
            let expected = earliest.map(|earliest| match earliest {
                None => Target::Start,
                Some(index) => (0..=index)
                    .rev()
                    .find(|index| alive[*index as usize])
                    .map_or(Target::Start, Target::Checkpoint),
            });
            prop_assert_eq!(timeline.target(changed).map(|(target, _)| target), expected);
        }

        #[test]
        fn whoever_is_later_ends_and_nobody_else(
            (alive, opened) in run(), index in 0u32..12
        ) {
            let timeline = build(&alive, &opened);
            let ended: Vec<Index> =
                timeline.after(Target::Checkpoint(index)).iter().map(|known| known.index).collect();
            let expected: Vec<Index> = (index + 1..alive.len() as Index)
                .filter(|index| alive[*index as usize])
                .collect();
            prop_assert_eq!(ended, expected);
        }

        #[test]
        fn a_rewind_keeps_exactly_what_happened_before(
            (alive, opened) in run(), index in 0u32..12
        ) {
            let mut timeline = build(&alive, &opened);
            timeline.rewind(index);
            prop_assert!(timeline.checkpoints().iter().all(|known| known.index <= index));
            for path in 0..30 {
                let before = opened.iter()
                    .filter(|(known, at)| *known == path && *at < Some(index))
                    .map(|(_, at)| *at)
                    .min();
                prop_assert_eq!(timeline.dependency(path).map(|known| known.checkpoint), before);
            }
            // A second run may now be recorded on top.
            timeline.depend(99, dependency(Some(index)));
            prop_assert!(timeline.dependency(99).is_some());
            timeline.rewind(index);
            prop_assert!(timeline.dependency(99).is_none());
        }
    }
}
