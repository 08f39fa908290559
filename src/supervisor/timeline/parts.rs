//! Parts of files: a resume from where a changed file had been used up to a place before
//! the change.
//!
//! Theory of operation. A checkpoint may have a *part*: all that the program had done by
//! then depends on no more than so many bytes of a file, and resumed there it goes on with
//! the rest as it is now. So a change of that file can resume from there, if those bytes
//! are what they were: the part *fits*. No other checkpoint will do that was taken after
//! the file was opened, as the program there has the text of that time and does not look
//! again. That holds for as long as the text does: once a run has taken up a file *anew*,
//! all that was taken before that has a text which is no more, whatever changes next.
//!
//! Which parts fit is found out beforehand, and once for each resume: the file may change
//! again between ending what comes after the checkpoint and waking it. Then the program
//! finds that itself.

use super::{Fits, Part, Target, Timeline};
use crate::files::{PathId, Stamp};
use crate::wire::record::Index;
use rustc_hash::{FxHashMap, FxHashSet};

impl Timeline {
    /// The files that are to be looked at before a resume for these: each with its
    /// checkpoints and parts, in the order of their offsets.
    pub fn used_in_part(
        &self,
        changed: impl IntoIterator<Item = PathId>,
    ) -> FxHashMap<PathId, Vec<(Index, Part)>> {
        let mut used: FxHashMap<PathId, Vec<(Index, Part)>> = changed
            .into_iter()
            .chain(self.anew.keys().copied())
            .map(|path| (path, vec![]))
            .collect();
        for known in &self.checkpoints {
            if let Some(part) = known.part
                && let Some(parts) = used.get_mut(&part.path)
            {
                parts.push((known.index, part));
            }
        }
        used.retain(|_, parts| !parts.is_empty());
        used.values_mut().for_each(|parts| parts.sort_by_key(|(_, part)| part.offset));
        used
    }

    /// Where a change of `changed` resumes, and which of them decides it, if it shall be
    /// no later than at `wanted`; `None` when nothing depends on any of them, and nothing
    /// is wanted.
    pub fn resume_point(
        &self,
        changed: impl IntoIterator<Item = PathId>,
        wanted: Option<Target>,
        fits: &Fits,
    ) -> Option<(Target, Option<PathId>)> {
        let mut partly: FxHashSet<PathId> = FxHashSet::default();
        let earliest = changed
            .into_iter()
            .filter_map(|path| {
                let opened = self.dependencies.get(&path)?.checkpoint;
                let part = self.last_fit(path, fits);
                partly.extend(part.map(|_| path));
                Some((opened.max(part), path))
            })
            .min();
        let limit = earliest.map(|(reach, _)| match reach {
            None => Target::Start,
            Some(index) => Target::Checkpoint(index),
        });
        let (limit, cause) = match (limit, wanted) {
            (Some(limit), Some(wanted)) if wanted < limit => (wanted, None),
            (Some(limit), _) => (limit, earliest.map(|(_, path)| path)),
            (None, wanted) => (wanted?, None),
        };
        let Target::Checkpoint(limit) = limit else { return Some((limit, cause)) };
        let upto = self.checkpoints.partition_point(|known| known.index <= limit);
        let target = self.checkpoints[..upto]
            .iter()
            .rev()
            .map(|known| known.index)
            .find(|&index| {
                let outdated = self.anew.iter().filter(|(_, from)| index <= **from);
                let outdated = outdated.map(|(path, _)| path);
                partly.iter().chain(outdated).all(|path| self.suits(index, *path, fits))
            })
            .map_or(Target::Start, Target::Checkpoint);
        Some((target, cause))
    }

    /// The last checkpoint with a part of this file that fits.
    fn last_fit(&self, path: PathId, fits: &Fits) -> Option<Index> {
        let fitting = |index: &Index| fits.checkpoints.contains(index);
        self.parts_of(path).map(|(index, _)| index).filter(fitting).last()
    }

    fn parts_of(&self, path: PathId) -> impl Iterator<Item = (Index, Part)> + '_ {
        let part = move |part: &Part| part.path == path;
        self.checkpoints
            .iter()
            .filter_map(move |known| Some((known.index, known.part.filter(part)?)))
    }

    /// Whether a program resumed from this checkpoint reads this file, or the rest of it,
    /// as it is now.
    fn suits(&self, index: Index, path: PathId, fits: &Fits) -> bool {
        let opened = self.dependencies.get(&path).and_then(|known| known.checkpoint);
        opened.is_some_and(|opened| index <= opened)
            || fits.checkpoints.contains(&index)
                && self.parts_of(path).any(|(known, _)| known == index)
    }

    /// A program is about to be resumed from this checkpoint. Which files it takes up
    /// anew that are another now is known from then on, and what they look like.
    pub fn take_up(&mut self, index: Index, fits: &Fits) {
        for (path, (stamp, content)) in &fits.seen {
            if self.suits(index, *path, fits)
                && let Some(known) = self.dependencies.get_mut(path)
                && known.checkpoint < Some(index)
            {
                (known.stamp, known.content) = (*stamp, *content);
                self.anew.insert(*path, index);
            }
        }
    }

    /// The program, resumed from this checkpoint, has taken up a file anew which looks so.
    pub fn taken_up(&mut self, path: PathId, index: Index, stamp: Stamp, content: Option<u64>) {
        let Some(known) = self.dependencies.get_mut(&path) else { return };
        if known.stamp != stamp {
            self.anew.insert(path, index);
        }
        (known.stamp, known.content) = (stamp, content);
    }

    /// The program cannot go on from this checkpoint with the rest of the file, whatever
    /// that is.
    pub fn drop_part(&mut self, index: Index) {
        if let Ok(at) = self.checkpoints.binary_search_by_key(&index, |known| known.index) {
            self.checkpoints[at].part = None;
        }
    }

    /// Forgets which files were taken up anew at what was rewound.
    pub(super) fn rewind_parts(&mut self) {
        self.anew.retain(|path, _| self.dependencies.contains_key(path));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Dependency};
    use super::*;
    use crate::wire::record::Worth;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const FILES: u32 = 3;

    fn stamp(version: usize) -> Stamp {
        Stamp::Special(version as u64)
    }

    /// What the program does.
    #[derive(Clone, Debug)]
    enum Step {
        /// Takes a checkpoint.
        Checkpoint,
        /// Takes one, opens the file and reads it whole into memory.
        Open(PathId),
        /// Uses so much more of what it has in memory of the file. Then it takes a
        /// Uses so many more bytes of what it holds, and takes a checkpoint with that part.
        Use(PathId, usize),
    }

    /// A file in the memory of the program.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Held {
        text: Vec<u8>,
        used: usize,
    }

    /// A program: what it holds, and what it has made of all that.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Run {
        held: HashMap<PathId, Held>,
        output: Vec<(PathId, Vec<u8>)>,
        /// How many steps it has done.
        done: usize,
    }

    /// A session: its program is always the same, its files are not.
    struct World {
        steps: Vec<Step>,
        disk: HashMap<PathId, (usize, Vec<u8>)>,
        timeline: Timeline,
        parked: HashMap<Index, Run>,
        next: Index,
    }

    impl World {
        fn take(&mut self, run: &Run, part: Option<Part>) {
            let index = self.next;
            self.next += 1;
            self.parked.insert(index, run.clone());
            self.timeline.add(Checkpoint {
                index,
                pid: 1000 + index as i32,
                name: Vec::new(),
                at: 0,
                worth: Worth::default(),
                bare: true,
                pages: 0,
                directory: None,
                resumed: 0,
                part,
            });
        }

        fn run(&mut self, mut run: Run) -> Run {
            while let Some(step) = self.steps.get(run.done).cloned() {
                run.done += 1;
                match step {
                    Step::Checkpoint => self.take(&run, None),
                    Step::Open(path) => {
                        if run.held.contains_key(&path) {
                            continue;
                        }
                        self.take(&Run { done: run.done - 1, ..run.clone() }, None);
                        self.open(&mut run, path);
                    }
                    Step::Use(path, more) => {
                        let Some(held) = run.held.get_mut(&path) else { continue };
                        let from = held.used;
                        held.used = (from + more).min(held.text.len());
                        run.output.push((path, held.text[from..held.used].to_vec()));
                        let used = held.text[..held.used].to_vec();
                        let digest = crate::files::digest(&used);
                        let part = Part { path, offset: used.len() as u64, line: 1, digest };
                        // Who has met the end of the file depends on there being no more.
                        self.take(&run, (used.len() == from + more).then_some(part));
                    }
                }
            }
            // At its end it uses whatever is left of all files.
            let mut paths: Vec<_> = run.held.keys().copied().collect();
            paths.sort_unstable();
            for path in paths {
                let held = &run.held[&path];
                run.output.push((path, held.text[held.used..].to_vec()));
            }
            run
        }

        fn open(&mut self, run: &mut Run, path: PathId) {
            let (version, text) = self.disk[&path].clone();
            let checkpoint = Some(self.next - 1);
            let known = Dependency {
                checkpoint,
                stamp: stamp(version),
                content: None,
                digest: None,
                asked: None,
            };
            self.timeline.depend(path, known);
            run.held.insert(path, Held { text, used: 0 });
        }

        fn fits(&self, changed: &[PathId]) -> Fits {
            let mut fits = Fits::default();
            for (path, parts) in self.timeline.used_in_part(changed.iter().copied()) {
                let (version, text) = &self.disk[&path];
                fits.seen.insert(path, (stamp(*version), None));
                for (index, part) in parts {
                    let now = text.get(..part.offset as usize).map(crate::files::digest);
                    if now == Some(part.digest) {
                        fits.checkpoints.insert(index);
                    }
                }
            }
            fits
        }

        /// Resumes as the supervisor and the program do; the run to go on with.
        fn resume(&mut self, changed: &[PathId], wanted: Option<Target>) -> Option<Run> {
            let fits = self.fits(changed);
            let (target, _) = self.timeline.resume_point(changed.iter().copied(), wanted, &fits)?;
            let Target::Checkpoint(index) = target else {
                self.timeline.restart();
                (self.next, self.parked) = (0, HashMap::new());
                return Some(Run::default());
            };
            let part = self.timeline.checkpoint(index).unwrap().part;
            self.timeline.rewind(index);
            self.timeline.take_up(index, &fits);
            self.parked.retain(|known, _| *known <= index);
            self.next = index + 1;
            let mut run = self.parked[&index].clone();
            if let Some(part) = part {
                let (version, text) = self.disk[&part.path].clone();
                let used = &text[..part.offset as usize];
                assert_eq!(crate::files::digest(used), part.digest, "it fits");
                run.held.insert(part.path, Held { used: part.offset as usize, text });
                self.timeline.taken_up(part.path, index, stamp(version), None);
            }
            // A file that is opened right after the checkpoint is opened after it again.
            if let Some(Step::Open(path)) = self.steps.get(run.done).cloned()
                && !run.held.contains_key(&path)
            {
                run.done += 1;
                self.open(&mut run, path);
            }
            Some(run)
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Checkpoint),
            2 => (0..FILES).prop_map(Step::Open),
            5 => (0..FILES, 1usize..4).prop_map(|(path, more)| Step::Use(path, more)),
        ]
    }

    #[derive(Clone, Debug)]
    enum Edit {
        /// Files get other bytes from an offset on.
        Save(Vec<(PathId, usize, Vec<u8>)>),
        /// Somebody asks for this checkpoint.
        Ask(Index),
        /// A checkpoint is lost.
        Lose(Index),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let save = (0..FILES, 0usize..10, prop::collection::vec(0u8..2, 0..8));
        prop_oneof![
            6 => prop::collection::vec(save, 1..3).prop_map(Edit::Save),
            1 => (0u32..12).prop_map(Edit::Ask),
            1 => (1u32..12).prop_map(Edit::Lose),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_edited_the_run_ends_as_a_cold_one(
            steps in prop::collection::vec(step(), 1..16),
            texts in prop::collection::vec(prop::collection::vec(0u8..2, 0..10), FILES as usize),
            edits in prop::collection::vec(edit(), 1..8)
        ) {
            let disk = (0..FILES).zip(texts.into_iter().map(|text| (0, text))).collect();
            let (timeline, parked) = (Timeline::default(), HashMap::new());
            let mut world = World { steps, disk, timeline, parked, next: 0 };
            world.take(&Run::default(), None);
            let mut last = world.run(Run::default());
            for (version, edit) in edits.into_iter().enumerate() {
                let mut changed = Vec::new();
                let wanted = match edit {
                    Edit::Save(saves) => {
                        for (path, offset, bytes) in saves {
                            let (known, text) = world.disk.get_mut(&path).unwrap();
                            text.truncate(offset);
                            text.extend(bytes);
                            *known = version + 1;
                            if !changed.contains(&path) {
                                changed.push(path);
                            }
                        }
                        None
                    }
                    Edit::Ask(index) => Some(world.timeline.at_or_before(index)),
                    Edit::Lose(index) => {
                        world.timeline.remove(1000 + index as i32);
                        continue;
                    }
                };
                if let Some(run) = world.resume(&changed, wanted) {
                    if world.next == 0 {
                        world.take(&Run::default(), None);
                    }
                    last = world.run(run);
                }
                let steps = world.steps.clone();
                let disk = world.disk.clone();
                let (timeline, parked) = (Timeline::default(), HashMap::new());
                let mut cold = World { steps, disk, timeline, parked, next: 0 };
                cold.take(&Run::default(), None);
                prop_assert_eq!(&last.output, &cold.run(Run::default()).output);
                // And what is known of each file is what it looks like.
                for path in last.held.keys() {
                    let known = world.timeline.dependency(*path).unwrap();
                    prop_assert_eq!(known.stamp, stamp(world.disk[path].0));
                }
            }
        }

        #[test]
        fn of_one_file_the_last_part_before_the_change_counts(
            lengths in prop::collection::vec(1usize..4, 1..8), offset in 0usize..30
        ) {
            let text = vec![0u8; 30];
            let steps: Vec<Step> = std::iter::once(Step::Open(0))
                .chain(lengths.iter().map(|more| Step::Use(0, *more)))
                .collect();
            let (timeline, parked) = (Timeline::default(), HashMap::new());
            let disk = HashMap::from([(0, (0, text))]);
            let mut world = World { steps, disk, timeline, parked, next: 0 };
            world.take(&Run::default(), None);
            world.run(Run::default());
            world.disk.get_mut(&0).unwrap().1[offset] = 1;
            let fits = world.fits(&[0]);
            let mut used = 0;
            let uses = lengths
                .iter()
                .take_while(|more| {
                    used += **more;
                    used <= offset
                })
                .count();
            // Checkpoint 0, and 1 before it is opened.
            let expected = Target::Checkpoint(1 + uses as Index);
            prop_assert_eq!(world.timeline.resume_point([0], None, &fits), Some((expected, Some(0))));
        }
    }
}
