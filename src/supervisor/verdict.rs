//! Has a touched path changed, and was it the program? A pure function of what is known
//! and what is there; it only looks, and what follows is done elsewhere.
//!
//! Theory of operation. A path has changed when its stamp, or where that does not tell
//! its content, is not what the program saw. Two things are waited for: somebody in the
//! middle of saving, and events that the program has announced as its own. Who writes and
//! closes has saved; who writes and keeps the file open has saved when nothing more comes
//! for a while. What is costly to find out is asked for only when the rest does not settle
//! it.

use super::machine::Time;
use super::timeline::Dependency;
use crate::files::answer::Answer;
use crate::files::{Stamp, Touch};
use std::time::Duration;

/// How long a file may be missing, or empty and open, before that is taken for what the
/// user wants: editors delete and create, or write in two steps.
pub const GRACE: Duration = Duration::from_millis(100);

/// How long names that came or went are waited for: who saves a file writes another first
/// and gives it its name then, and who moves one away puts another in its place.
pub const SETTLES: Duration = Duration::from_millis(20);

/// How long nothing more must be written to a file that is not closed, until what is there
/// counts. Who writes much does so without such pauses.
pub const PAUSE: Duration = Duration::from_millis(200);

/// What a touched path turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing depends on it.
    Unknown,
    /// The program is at what it has announced. What it looks like now is what is known.
    Ours(Stamp),
    /// It is in the middle of writing what it has announced, which changes nothing yet.
    OursToCome,
    /// Likewise, and one of the things that it announced is done.
    OursDone(Stamp),
    /// It is what the program saw, by this stamp from now on.
    Same(Stamp),
    /// It looks as if somebody were in the middle of saving it: look again then.
    Busy(Time),
    /// It is not what the program saw.
    Changed,
}

/// What is known of a touched path.
pub struct Case<'a> {
    /// What the program saw.
    pub known: &'a Dependency,
    /// What it looks like now.
    pub stamp: Stamp,
    /// What the program would be told now, where it has asked and not opened it.
    pub answer: Option<Answer>,
    /// What the events tell.
    pub touch: Touch,
    /// How many things that the program announced to do to it are not done yet.
    pub announced: u32,
    /// The program has begun to depend on it in this very turn.
    pub is_fresh: bool,
    /// Until when it is waited for already.
    pub held: Option<Time>,
    /// It has been waited for long enough: what is there counts.
    pub is_due: bool,
    /// Where no byte changed, nothing did.
    pub by_content: bool,
    /// The time.
    pub now: Time,
}

/// What is only looked at when it matters.
pub trait Look {
    /// A digest of what is in the file.
    fn content(&self) -> Option<u64>;
    /// Whether the program has one of these files (device, inode) open for writing.
    fn is_written_by_program(&self, files: &[(u64, u64)]) -> bool;
    /// Whether the path itself is a plain file, and that its only name.
    fn has_one_name(&self) -> bool;
    /// Whether the file was modified less than [`GRACE`] ago.
    fn is_young(&self) -> bool;
}

/// Judges a touched path.
pub fn judge(case: &Case, look: &impl Look) -> Verdict {
    let &Case { known, stamp, touch, announced, now, .. } = case;
    let is_being_written = touch.written && !touch.completed && !touch.removed;
    if announced > 0 && !case.is_due && !is_completed_by_another(case, look) {
        if is_being_written {
            return Verdict::OursToCome;
        }
        return match touch.completed || touch.removed {
            true => Verdict::OursDone(stamp),
            false => Verdict::Ours(stamp),
        };
    }
    if !has_changed(case, look) {
        return Verdict::Same(stamp);
    }
    if case.is_due {
        return Verdict::Changed;
    }
    if let Some(Answer::Names(_)) = case.answer {
        return Verdict::Busy(case.held.unwrap_or(now + SETTLES));
    }
    if is_being_written && stamp != Stamp::Absent {
        return Verdict::Busy(now + PAUSE);
    }
    let is_same_file = stamp.is_same_file(&known.stamp);
    let appeared = touch.created || touch.removed || case.held.is_some() || !is_same_file;
    // An editor empties a file before it writes it.
    let emptied = stamp.size() == Some(0) && known.stamp.size() != Some(0);
    let unfinished = || {
        // A hard link or a symbolic link that appears is whole at once. A file that was
        // emptied in its place is not, under none of its names.
        let was_emptied = is_same_file && (emptied || case.held.is_some());
        let may_be_written = was_emptied || appeared && look.has_one_name();
        may_be_written && !touch.completed && look.is_young()
    };
    if stamp == Stamp::Absent || unfinished() {
        return Verdict::Busy(case.held.unwrap_or(now + GRACE));
    }
    Verdict::Changed
}

/// Whether what is complete now cannot be the program's doing, as it has one thing left
/// to do and still has the file open for that.
fn is_completed_by_another(case: &Case, look: &impl Look) -> bool {
    let files = || -> Vec<(u64, u64)> {
        [case.known.stamp.identity(), case.stamp.identity()].into_iter().flatten().collect()
    };
    case.touch.completed && case.announced == 1 && look.is_written_by_program(&files())
}

fn has_changed(case: &Case, look: &impl Look) -> bool {
    let &Case { known, stamp, touch, .. } = case;
    // What was told is compared with what would be told. What was there in between does
    // not matter to who was not told of it.
    if let (Some(asked), Some(answer)) = (&known.asked, case.answer) {
        return answer != asked.answer;
    }
    // Another may have been there for a moment, and been read. What has happened before
    // it was to be read at all tells nothing.
    if touch.rerouted && stamp.identity().is_some() && !case.is_fresh {
        return true;
    }
    // What is known of the content of a folder tells of its newest files only.
    let by_content = case.by_content && stamp.size().is_some();
    match known.content {
        // As far as stamps tell, it is the same; so is the content, if that was taken.
        Some(content) if stamp == known.stamp || by_content => look.content() != Some(content),
        _ if stamp == known.stamp => false,
        // Its mode, its owner, its other names or the time of reading: no byte need be another.
        Some(_) | None if stamp.is_but_touched(&known.stamp) => {
            let content = known.content.or(known.digest);
            content.is_none() || look.content() != content
        }
        _ => true,
    }
}

/// Whether a run has seen a path both there and not there: then what it is now says
/// nothing about what the run saw.
pub fn is_seen_both_ways(earlier: Stamp, later: Stamp) -> bool {
    (earlier == Stamp::Absent) != (later == Stamp::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::answer::{ALL, Asked, Names, Question};
    use crate::sys::status::{Fields, Status};
    use nix::errno::Errno;
    use proptest::prelude::*;
    use std::cell::Cell;

    const fn ms(milliseconds: u64) -> Time {
        Duration::from_millis(milliseconds)
    }

    /// A file as it is at one moment.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Disk {
        inode: u64,
        size: u64,
        modified: u64,
        /// How many names it has; none when it is gone.
        names: u64,
        content: u64,
        /// The program has it open for writing.
        is_written: bool,
    }

    impl Disk {
        fn stamp(&self) -> Stamp {
            let Disk { inode, size, modified, .. } = *self;
            let (modified, changed) = (modified as i64, modified as i64);
            match self.names {
                0 => Stamp::Absent,
                _ => Stamp::File { device: 1, inode, size, modified, changed },
            }
        }

        /// What who asks for these fields is told.
        fn answer(&self, fields: Fields) -> Answer {
            match self.names {
                0 => Answer::Failed(Errno::ENOENT as i32),
                _ => Answer::status(
                    &Status {
                        mode: libc::S_IFREG,
                        size: self.size,
                        modified: self.modified as i64,
                        ..Status::default()
                    },
                    fields,
                ),
            }
        }

        fn dependency(&self, with_content: bool) -> Dependency {
            let content = (with_content && self.names > 0).then_some(self.content);
            Dependency {
                checkpoint: Some(0),
                stamp: self.stamp(),
                content,
                digest: None,
                asked: None,
            }
        }
    }

    /// The file at a time. How often it was read is counted.
    struct Seen {
        disk: Disk,
        now: u64,
        readings: Cell<u32>,
    }

    impl Look for Seen {
        fn content(&self) -> Option<u64> {
            self.readings.set(self.readings.get() + 1);
            (self.disk.names > 0).then_some(self.disk.content)
        }

        fn is_written_by_program(&self, files: &[(u64, u64)]) -> bool {
            self.disk.is_written && files.contains(&(1, self.disk.inode))
        }

        fn has_one_name(&self) -> bool {
            self.disk.names == 1
        }

        fn is_young(&self) -> bool {
            self.disk.names > 0 && self.now - self.disk.modified < GRACE.as_millis() as u64
        }
    }

    /// What happens to the file, and when it is looked at.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Somebody cuts it, or opens a new one, and has not written to it yet.
        Empty,
        /// Writes into it, and closes it.
        Write,
        /// Writes into it, and keeps it open.
        Half,
        /// Renames another over it.
        Replace,
        Remove,
        /// Gives it another name.
        Link,
        /// Changes nothing, but raises an event.
        Rustle,
        /// The supervisor reads the events and judges.
        Judge,
        /// Time passes, in milliseconds.
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Empty),
            3 => Just(Step::Write),
            2 => Just(Step::Half),
            2 => Just(Step::Replace),
            2 => Just(Step::Remove),
            1 => Just(Step::Link),
            2 => Just(Step::Rustle),
            6 => Just(Step::Judge),
            3 => (1u64..150).prop_map(Step::Pass),
        ]
    }

    /// A file, who watches it, and what has been made of it.
    struct World {
        disk: Disk,
        next: u64,
        now: u64,
        touch: Touch,
        is_touched: bool,
        known: Dependency,
        by_content: bool,
        announced: u32,
        held: Option<Time>,
        changes: u32,
    }

    impl World {
        fn new(with_content: bool, by_content: bool) -> World {
            let disk =
                Disk { inode: 1, size: 7, modified: 1, names: 1, content: 0, is_written: false };
            World {
                disk,
                next: 1,
                now: 1000,
                touch: Touch::default(),
                is_touched: false,
                known: disk.dependency(with_content),
                by_content,
                announced: 0,
                held: None,
                changes: 0,
            }
        }

        fn unlike(&mut self) -> u64 {
            self.next += 1;
            self.next
        }

        fn event(&mut self, happened: Touch) {
            self.is_touched = true;
            self.touch.completed |= happened.completed;
            self.touch.created |= happened.created;
            self.touch.removed |= happened.removed;
            self.touch.written |= happened.written;
        }

        fn change(&mut self, step: Step) {
            let nothing = Touch::default();
            match step {
                Step::Empty => {
                    if self.disk.names == 0 {
                        (self.disk.inode, self.disk.names) = (self.unlike(), 1);
                        self.event(Touch { created: true, ..nothing });
                    }
                    (self.disk.size, self.disk.modified) = (0, self.now);
                    self.disk.content = self.unlike();
                    self.event(Touch { written: true, ..nothing });
                }
                Step::Half if self.disk.names > 0 => {
                    (self.disk.size, self.disk.modified) = (3, self.now);
                    self.disk.content = self.unlike();
                    self.event(Touch { written: true, ..nothing });
                }
                Step::Write => {
                    if self.disk.names == 0 {
                        (self.disk.inode, self.disk.names) = (self.unlike(), 1);
                        self.event(Touch { created: true, ..nothing });
                    }
                    (self.disk.size, self.disk.modified) = (7, self.now);
                    self.disk.content = self.unlike();
                    self.event(Touch { written: true, completed: true, ..nothing });
                }
                Step::Replace => {
                    let (inode, content) = (self.unlike(), self.unlike());
                    let (modified, names) = (self.now, 1);
                    self.disk = Disk { inode, content, modified, names, size: 7, ..self.disk };
                    self.event(Touch { completed: true, ..nothing });
                }
                Step::Remove if self.disk.names > 0 => {
                    self.disk.names = 0;
                    self.event(Touch { removed: true, ..nothing });
                }
                Step::Link if self.disk.names > 0 => self.disk.names += 1,
                Step::Rustle => self.event(nothing),
                Step::Pass(milliseconds) => self.now += milliseconds,
                _ => {}
            }
        }

        /// What the supervisor does; the run that a change leads to sees what is there.
        fn judge(&mut self) -> Verdict {
            self.judge_as(false)
        }

        fn judge_as(&mut self, is_due: bool) -> Verdict {
            self.is_touched = false;
            let case = Case {
                known: &self.known,
                stamp: self.disk.stamp(),
                answer: None,
                touch: std::mem::take(&mut self.touch),
                announced: self.announced,
                is_fresh: false,
                held: self.held,
                by_content: self.by_content,
                is_due,
                now: ms(self.now),
            };
            let seen = || Seen { disk: self.disk, now: self.now, readings: Cell::new(0) };
            let verdict = judge(&case, &seen());
            assert_eq!(verdict, judge(&case, &seen()), "the same case, another verdict");
            let with_content = self.known.content.is_some();
            match verdict {
                Verdict::Unknown => unreachable!("it is known"),
                Verdict::OursToCome => {}
                Verdict::Ours(_) => self.known = self.disk.dependency(with_content),
                Verdict::OursDone(_) => {
                    self.known = self.disk.dependency(with_content);
                    self.announced -= 1;
                }
                Verdict::Same(stamp) => (self.known.stamp, self.held) = (stamp, None),
                Verdict::Busy(until) => self.held = Some(until),
                Verdict::Changed => {
                    self.known = self.disk.dependency(with_content);
                    (self.held, self.changes) = (None, self.changes + 1);
                }
            }
            verdict
        }

        /// Takes in what is left, and waits for whom it is waited for.
        fn settle(&mut self) {
            if self.is_touched {
                self.judge();
            }
            if let Some(until) = self.held.take() {
                self.now = self.now.max(until.as_millis() as u64);
                self.judge_as(true);
            }
        }
    }

    /// A file of which these fields were asked for, and what has become of that.
    struct Asking {
        world: World,
        fields: Fields,
        told: Answer,
    }

    impl Asking {
        fn new(fields: Fields) -> Asking {
            let world = World::new(false, false);
            Asking { told: world.disk.answer(fields), world, fields }
        }

        fn judge(&mut self) -> Verdict {
            let Asking { world, fields, told } = self;
            world.is_touched = false;
            let question = Question::Status { follow: true, fields: *fields };
            let asked = Some(Box::new(Asked::new(question, *told)));
            let case = Case {
                known: &Dependency { asked, ..world.known.clone() },
                stamp: world.disk.stamp(),
                answer: Some(world.disk.answer(*fields)),
                touch: std::mem::take(&mut world.touch),
                announced: 0,
                is_fresh: false,
                held: world.held,
                by_content: false,
                is_due: false,
                now: ms(world.now),
            };
            let seen = Seen { disk: world.disk, now: world.now, readings: Cell::new(0) };
            let verdict = judge(&case, &seen);
            assert_eq!(seen.readings.get(), 0, "an answer needs no content");
            match verdict {
                Verdict::Same(stamp) => (world.known.stamp, world.held) = (stamp, None),
                Verdict::Busy(until) => world.held = Some(until),
                Verdict::Changed => self.change(),
                _ => unreachable!("nothing was announced"),
            }
            verdict
        }

        fn change(&mut self) {
            self.told = self.world.disk.answer(self.fields);
            self.world.held = None;
            self.world.changes += 1;
        }

        fn settle(&mut self) {
            if self.world.is_touched {
                self.judge();
            }
            if self.world.held.take().is_some() && self.told != self.world.disk.answer(self.fields)
            {
                self.change();
            }
        }
    }

    fn asked_fields() -> impl Strategy<Value = Fields> {
        (any::<bool>(), any::<bool>()).prop_map(|(size, modified)| {
            let part = |wanted, field| if wanted { field } else { Fields::PRESENCE };
            Fields::KIND.and(part(size, Fields::SIZE)).and(part(modified, Fields::MODIFIED))
        })
    }

    proptest! {
        #[test]
        fn no_order_of_events_leaves_a_program_with_an_answer_that_is_none_any_more(
            steps in prop::collection::vec(step(), 0..40), fields in asked_fields()
        ) {
            let mut asking = Asking::new(fields);
            let was_told = asking.told;
            let mut differed = false;
            for step in steps {
                match step {
                    Step::Judge if asking.world.is_touched => drop(asking.judge()),
                    step => asking.world.change(step),
                }
                differed |= asking.told != asking.world.disk.answer(fields);
            }
            asking.world.event(Touch { completed: true, ..Touch::default() });
            asking.settle();
            prop_assert_eq!(asking.told, asking.world.disk.answer(fields));
            prop_assert!(differed || asking.world.changes == 0);
            prop_assert!(asking.world.changes > 0 || asking.told == was_told);
        }

        #[test]
        fn what_was_not_asked_for_disturbs_nobody(
            saves in prop::collection::vec((any::<bool>(), any::<bool>()), 1..10)
        ) {
            let mut asking = Asking::new(Fields::KIND);
            for (is_replaced, passes) in saves {
                asking.world.change(if is_replaced { Step::Replace } else { Step::Write });
                if passes {
                    asking.world.change(Step::Pass(7));
                }
                prop_assert!(matches!(asking.judge(), Verdict::Same(_)));
            }
        }
    }

    #[test]
    fn names_that_come_and_go_are_waited_for_but_not_long() {
        let known = Names { count: 2, digest: 7 };
        let asked = Asked::new(Question::Names { most: ALL }, Answer::Names(known));
        let world = World::new(false, false);
        let verdict = |names, held| {
            let case = Case {
                known: &Dependency { asked: Some(Box::new(asked.clone())), ..world.known.clone() },
                stamp: world.disk.stamp(),
                answer: Some(Answer::Names(names)),
                touch: Touch { completed: true, ..Touch::default() },
                announced: 0,
                is_fresh: false,
                held,
                by_content: false,
                is_due: false,
                now: ms(world.now),
            };
            judge(&case, &Seen { disk: world.disk, now: world.now, readings: Cell::new(0) })
        };
        let more = Names { count: 3, digest: 9 };
        let until = ms(world.now) + SETTLES;
        assert_eq!(verdict(more, None), Verdict::Busy(until));
        assert_eq!(verdict(more, Some(ms(1005))), Verdict::Busy(ms(1005)));
        assert_eq!(verdict(known, Some(ms(1005))), Verdict::Same(world.disk.stamp()));
    }

    proptest! {
        #[test]
        fn no_order_of_events_loses_a_change_that_a_stamp_shows(
            steps in prop::collection::vec(step(), 0..40),
            with_content: bool, by_content: bool, leaves_empty: bool, leaves_open: bool
        ) {
            let mut world = World::new(with_content, by_content);
            for step in steps {
                match step {
                    Step::Judge if world.is_touched => drop(world.judge()),
                    step => world.change(step),
                }
            }
            // Whoever writes may close it, or not.
            world.change(if leaves_open { Step::Half } else { Step::Write });
            world.change(if leaves_empty { Step::Empty } else { Step::Half });
            world.settle();
            prop_assert_eq!(world.known.stamp, world.disk.stamp());
            prop_assert!(world.changes > 0);
        }

        #[test]
        fn nothing_changes_where_nothing_was_changed(
            steps in prop::collection::vec(step(), 0..40), with_content: bool, by_content: bool
        ) {
            let mut world = World::new(with_content, by_content);
            for step in steps {
                match step {
                    Step::Judge => prop_assert!(matches!(world.judge(), Verdict::Same(_))),
                    Step::Rustle | Step::Link | Step::Pass(_) => world.change(step),
                    _ => {}
                }
            }
            world.settle();
            prop_assert_eq!(world.changes, 0);
        }

        /// The program opens the file, writes and closes it, as it has announced, and the
        /// supervisor looks whenever it likes. What somebody else saves after that is an edit.
        #[test]
        fn the_program_s_own_is_no_edit_and_an_edit_is_not_its_own(
            times in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..8),
            with_content: bool, by_content: bool, edit in prop_oneof![
                Just(Step::Write), Just(Step::Replace), Just(Step::Remove)
            ],
        ) {
            let mut world = World::new(with_content, by_content);
            for (after_opening, after_writing, in_two) in times {
                world.announced += 1;
                world.disk.is_written = true;
                world.change(Step::Empty);
                if after_opening {
                    prop_assert_eq!(world.judge(), Verdict::OursToCome);
                }
                world.change(Step::Half);
                if after_writing {
                    prop_assert_eq!(world.judge(), Verdict::OursToCome);
                }
                world.change(Step::Rustle);
                if after_writing {
                    prop_assert!(matches!(world.judge(), Verdict::Ours(_)));
                }
                world.disk.is_written = false;
                world.change(Step::Write);
                if in_two {
                    world.now += 1;
                }
                prop_assert!(matches!(world.judge(), Verdict::OursDone(_)));
            }
            prop_assert!(matches!(world.judge(), Verdict::Same(_)));
            prop_assert_eq!((world.announced, world.changes), (0, 0));
            world.now += 1;
            world.change(edit);
            world.settle();
            prop_assert_eq!(world.changes, 1);
        }

        /// While the program still has it open, what is complete is somebody else's.
        #[test]
        fn what_another_completes_while_the_program_writes_is_an_edit(
            edit in prop_oneof![Just(Step::Write), Just(Step::Replace)], judged_before: bool
        ) {
            let mut world = World::new(true, false);
            world.announced = 1;
            world.disk.is_written = true;
            world.change(Step::Empty);
            if judged_before {
                world.judge();
            }
            let inode = world.disk.inode;
            world.change(edit);
            // It is known by its old stamp or its new one that the program writes it.
            world.disk.inode = inode;
            prop_assert_eq!(world.judge(), Verdict::Changed);
        }

        #[test]
        fn nobody_is_waited_for_longer_than_at_first(
            steps in prop::collection::vec(step(), 0..60)
        ) {
            let mut world = World::new(false, false);
            let mut since: Option<Time> = None;
            for step in steps {
                match step {
                    // While somebody writes, that is waited for.
                    Step::Empty | Step::Half => {}
                    Step::Judge => match world.judge() {
                        Verdict::Busy(until) => {
                            let first = *since.get_or_insert(ms(world.now));
                            prop_assert_eq!(until, first + GRACE);
                        }
                        _ => since = None,
                    },
                    step => world.change(step),
                }
            }
        }

        /// The file is read only where its stamp does not tell, or bytes are what counts.
        #[test]
        fn content_is_looked_at_only_when_it_matters(edited: bool, by_content: bool) {
            let mut world = World::new(true, by_content);
            let known = world.known.clone();
            if edited {
                world.change(Step::Write);
            }
            let case = Case {
                known: &known,
                stamp: world.disk.stamp(),
                answer: None,
                touch: Touch::default(),
                announced: 0,
                is_fresh: false,
                held: None,
                by_content,
                is_due: false,
                now: ms(world.now),
            };
            let seen = Seen { disk: world.disk, now: world.now, readings: Cell::new(0) };
            judge(&case, &seen);
            prop_assert_eq!(seen.readings.get(), u32::from(!edited || by_content));
        }
    }

    #[test]
    fn what_is_written_and_not_closed_counts_after_a_pause() {
        let mut world = World::new(false, false);
        for _ in 0..20 {
            world.change(Step::Half);
            assert_eq!(world.judge(), Verdict::Busy(ms(world.now) + PAUSE));
            world.now += 150;
        }
        assert_eq!(world.judge_as(true), Verdict::Changed);
        world.change(Step::Half);
        world.change(Step::Write);
        assert_eq!(world.judge(), Verdict::Changed, "it is closed");
    }

    #[test]
    fn a_file_that_is_emptied_is_about_to_be_written_whatever_its_names() {
        let mut world = World::new(false, false);
        world.change(Step::Link);
        world.change(Step::Empty);
        // It is looked at for another reason before its event comes.
        world.touch = Touch::default();
        let until = ms(world.now) + GRACE;
        assert_eq!(world.judge(), Verdict::Busy(until));
        world.disk.size = 3;
        assert_eq!(world.judge(), Verdict::Busy(until), "half of it is written");
        world.change(Step::Write);
        assert_eq!(world.judge(), Verdict::Changed);
        // A link that appears is what it is to be, an empty one, too.
        world.change(Step::Replace);
        world.change(Step::Link);
        (world.disk.size, world.touch) = (0, Touch::default());
        assert_eq!(world.judge(), Verdict::Changed);
    }

    #[test]
    fn a_path_that_another_passed_through_is_judged_by_that() {
        let world = World::new(false, false);
        let verdict = |is_fresh, names| {
            let disk = Disk { names, ..world.disk };
            let case = Case {
                known: &world.known,
                stamp: disk.stamp(),
                answer: None,
                touch: Touch { rerouted: true, ..Touch::default() },
                announced: 0,
                is_fresh,
                held: None,
                by_content: true,
                is_due: false,
                now: ms(world.now),
            };
            judge(&case, &Seen { disk, now: world.now, readings: Cell::new(0) })
        };
        assert_eq!(verdict(false, 1), Verdict::Changed);
        assert_eq!(verdict(true, 1), Verdict::Same(world.known.stamp), "it was not read before");
        assert_eq!(verdict(false, 0), Verdict::Busy(ms(world.now) + GRACE));
    }
}
