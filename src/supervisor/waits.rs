//! Whose doing a change is that comes while the program waits for a subprocess. Pure.
//!
//! Theory of operation. Nobody tells who has changed a file. While the program waits for a
//! subprocess (`os.execute`, `io.popen`), it may be that: a resume would lead to the
//! same change again, and so on. Or it may be a person, whose edit must not be lost. So the
//! first change counts in any case. If the run that it leads to waits for a subprocess again,
//! and as long after the start of that the same file changes, it is likely to be the subprocess. Then it is put
//! off until that has ended. When it changes is when it was first touched, however late that is judged: what was
//! touched before the subprocess was started is not its doing. If what is there is what was there before, which the
//! program has read, it is proved: the subprocess writes this in any case. If it is another each
//! time, that is proved by habit. What was proved is the program's own from then on, at that time after
//! the start; an edit at any other time counts, and the proof does not any more.

use super::machine::Time;
use rustc_hash::FxHashMap;
use std::time::Duration;

/// A change in so many runs in a row, each for that change alone, is a habit.
const HABIT: u32 = 10;

/// The longest that a change is put off.
const PATIENCE: Duration = Duration::from_secs(1);

/// Two changes come at the same time after the start of a subprocess when they are no further
/// apart, or the longer time is not twice the shorter.
const NEAR: Duration = Duration::from_millis(50);

/// Who has changed a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doer {
    /// Somebody else, as far as is known.
    Another,
    /// It is not known yet: look again then.
    Unclear(Time),
    /// A subprocess that the program waits for. `by_habit`: that was proved just now, as it
    /// always does.
    Subprocess {
        /// See above.
        by_habit: bool,
    },
}

/// A change of a file that has led to a resume.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// How long after the start of a subprocess.
    after: Duration,
    /// How often in a row.
    times: u32,
    /// What was there before a subprocess was started in the run that it led to.
    content: Option<u64>,
}

/// What is known of the subprocesses that the program waits for.
#[derive(Debug, Default)]
pub struct Waits {
    /// Since when it does.
    began: Option<Time>,
    /// The changes that have led to the present run.
    last: FxHashMap<Vec<u8>, Round>,
    /// Those that lead to the next.
    next: FxHashMap<Vec<u8>, Round>,
    /// Files that are known to be written by a subprocess, and how long after its start.
    proved: FxHashMap<Vec<u8>, Duration>,
    /// Files that have been touched, and not been decided about.
    open: FxHashMap<Vec<u8>, Touched>,
}

/// A file that has been touched.
#[derive(Clone, Copy, Debug, Default)]
struct Touched {
    /// How long after the start of a subprocess; `None`: while the program waited for none.
    after: Option<Duration>,
    /// How long to wait.
    until: Option<Time>,
}

impl Waits {
    /// The program is about to start a subprocess, and to wait for it. `content`: a digest of
    /// what is in a file.
    pub fn begin(&mut self, now: Time, content: impl Fn(&[u8]) -> Option<u64>) {
        self.began = Some(now);
        for (path, round) in &mut self.last {
            round.content = content(path);
        }
    }

    /// It waits for none any more. Returns the files that are to be looked at now.
    pub fn end(&mut self) -> Vec<Vec<u8>> {
        self.began = None;
        let put_off = self.open.iter().filter(|(_, touched)| touched.until.is_some());
        put_off.map(|(path, _)| path.clone()).collect()
    }

    /// The run is over, or another begins.
    pub fn stop(&mut self) {
        self.began = None;
        // None is the doing of a subprocess of the next run.
        self.open.values_mut().for_each(|touched| *touched = Touched::default());
    }

    /// What has changed leads to a resume.
    pub fn resumed(&mut self) {
        self.last = std::mem::take(&mut self.next);
        self.stop();
    }

    /// A file is being changed, and will be looked at again.
    pub fn notice(&mut self, path: &[u8], now: Time) {
        if !self.open.contains_key(path) {
            let after = self.began.map(|began| now.saturating_sub(began));
            self.open.insert(path.to_vec(), Touched { after, until: None });
        }
    }

    /// It is what it was.
    pub fn settled(&mut self, path: &[u8]) {
        self.open.remove(path);
    }

    /// A file is not what the program saw. `content`: a digest of what is in it.
    pub fn change(
        &mut self,
        path: &[u8],
        now: Time,
        content: impl FnOnce() -> Option<u64>,
    ) -> Doer {
        self.notice(path, now);
        let Touched { after, until } = self.open.remove(path).unwrap_or_default();
        let Some(after) = after else {
            self.proved.remove(path);
            self.last.remove(path);
            return Doer::Another;
        };
        if self.proved.get(path).is_some_and(|usual| is_near(*usual, after)) {
            return Doer::Subprocess { by_habit: false };
        }
        self.proved.remove(path);
        let before = self.last.get(path).filter(|round| is_near(round.after, after));
        let Some(before) = before.copied() else {
            self.next.insert(path.to_vec(), Round { after, times: 1, content: None });
            return Doer::Another;
        };
        let until = until.unwrap_or(now + PATIENCE);
        if self.began.is_some() && now < until {
            self.open.insert(path.to_vec(), Touched { after: Some(after), until: Some(until) });
            return Doer::Unclear(until);
        }
        let is_same = before.content.is_some() && content() == before.content;
        if is_same || before.times >= HABIT {
            self.proved.insert(path.to_vec(), after);
            return Doer::Subprocess { by_habit: !is_same };
        }
        self.next.insert(path.to_vec(), Round { after, times: before.times + 1, content: None });
        Doer::Another
    }
}

fn is_near(one: Duration, two: Duration) -> bool {
    let (less, more) = (one.min(two), one.max(two));
    more - less <= NEAR || more < less * 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(milliseconds: u64) -> Time {
        Duration::from_millis(milliseconds)
    }

    /// A session with a file, and a program that waits for a subprocess in each run.
    #[derive(Default)]
    struct World {
        waits: Waits,
        now: u64,
        content: u64,
        runs: u32,
    }

    impl World {
        fn begin(&mut self) {
            let content = self.content;
            self.waits.begin(ms(self.now), |_| Some(content));
        }

        /// The file changes; a resume follows where it must.
        fn change(&mut self, content: u64) -> Doer {
            self.content = content;
            let doer = self.waits.change(b"/f", ms(self.now), || Some(content));
            self.resume_if(doer)
        }

        /// The subprocess has ended.
        fn end(&mut self) -> Option<Doer> {
            let content = self.content;
            let open = self.waits.end();
            assert!(open.iter().all(|path| path == b"/f"));
            let doer =
                open.first().map(|path| self.waits.change(path, ms(self.now), || Some(content)));
            doer.map(|doer| self.resume_if(doer))
        }

        fn resume_if(&mut self, doer: Doer) -> Doer {
            if doer == Doer::Another {
                self.waits.resumed();
                self.runs += 1;
            }
            doer
        }

        /// A run whose subprocess writes this, so long after its start. Whether another has
        /// to follow.
        fn run(&mut self, content: u64, after: u64) -> bool {
            self.begin();
            self.now += after;
            let runs = self.runs;
            if self.change(content) != Doer::Another {
                self.now += 5;
                self.end();
            }
            self.now += 5;
            self.runs > runs
        }
    }

    proptest! {
        #[test]
        fn a_subprocess_that_writes_the_same_leads_to_one_run_more(
            after in prop::collection::vec(1u64..40, 3..6)
        ) {
            let mut world = World::default();
            prop_assert!(world.run(1, after[0]));
            for after in &after[1..] {
                prop_assert!(!world.run(1, *after));
            }
            // It is known by now, whatever it writes.
            prop_assert!(!world.run(2, after[0]));
        }

        #[test]
        fn one_that_writes_something_else_each_time_does_not_go_on_for_ever(
            after in prop::collection::vec(100u64..190, 30)
        ) {
            let mut world = World::default();
            for (content, after) in after.iter().enumerate() {
                world.run(content as u64, *after);
            }
            prop_assert!(world.runs <= HABIT);
        }

        #[test]
        fn an_edit_that_comes_at_another_time_counts(
            usual in 1u64..40, later in 150u64..1000, learned: bool
        ) {
            let mut world = World::default();
            for _ in 0..if learned { 3 } else { 1 } {
                world.run(1, usual);
            }
            prop_assert!(world.run(2, later));
            world.waits.end();
            prop_assert_eq!(world.change(3), Doer::Another);
        }

        #[test]
        fn no_edit_is_lost_whose_time_nobody_else_has(
            times in prop::collection::vec((0u64..5, any::<bool>()), 1..30)
        ) {
            let mut world = World::default();
            let mut last = None;
            for (content, (time, outside)) in times.into_iter().enumerate() {
                world.begin();
                if outside {
                    world.end();
                }
                // No two in a row come at the same time.
                let time = if Some(time) == last { time + 5 } else { time };
                last = Some(time);
                world.now += 200 * 3u64.pow(time as u32);
                prop_assert_eq!(world.change(content as u64), Doer::Another);
            }
        }

        #[test]
        fn nothing_is_put_off_for_long(touches in prop::collection::vec(0u64..300, 1..20)) {
            let mut world = World::default();
            world.run(1, 10);
            world.begin();
            world.now += 10;
            let first = world.now;
            for pause in touches {
                match world.change(world.now) {
                    Doer::Unclear(until) => prop_assert_eq!(until, ms(first) + PATIENCE),
                    doer => {
                        prop_assert_eq!(doer, Doer::Another);
                        prop_assert!(ms(world.now) >= ms(first) + PATIENCE);
                        break;
                    }
                }
                world.now += pause;
            }
        }
    }

    #[test]
    fn what_was_touched_before_the_subprocess_was_started_is_not_its_doing() {
        let mut waits = Waits::default();
        let begin = |waits: &mut Waits, now, content| waits.begin(ms(now), |_| Some(content));
        // A first edit, while the program waits.
        begin(&mut waits, 0, 1);
        assert_eq!(waits.change(b"/f", ms(30), || Some(2)), Doer::Another);
        waits.resumed();
        // Another comes, and is looked at when the next subprocess is at work.
        waits.notice(b"/f", ms(100));
        begin(&mut waits, 110, 3);
        assert_eq!(waits.change(b"/f", ms(140), || Some(3)), Doer::Another);
        waits.resumed();
        // Likewise, and the run that it was touched in is over by then.
        begin(&mut waits, 200, 3);
        assert_eq!(waits.change(b"/f", ms(230), || Some(4)), Doer::Another);
        waits.notice(b"/f", ms(240));
        waits.resumed();
        begin(&mut waits, 300, 5);
        waits.end();
        assert_eq!(waits.change(b"/f", ms(330), || Some(5)), Doer::Another);
    }

    #[test]
    fn what_is_touched_while_the_program_waits_and_looked_at_later_is_judged_by_the_touch() {
        let mut waits = Waits::default();
        let mut runs = 0;
        for content in 0..30 {
            waits.begin(ms(content * 100), |_| Some(content));
            waits.notice(b"/f", ms(content * 100 + 3));
            waits.end();
            let now = ms(content * 100 + 23);
            if waits.change(b"/f", now, || Some(content + 1)) == Doer::Another {
                waits.resumed();
                runs += 1;
            }
        }
        assert_eq!(runs, HABIT);
    }
}
