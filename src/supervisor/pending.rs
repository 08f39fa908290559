//! What is asked for and has not been acted on: changes, and a resume point by name.

use super::machine::Time;
use super::timeline::{Fits, Part, Target, Timeline};
use super::waits::Waits;
use crate::files::PathId;
use crate::wire::record::Index;
use rustc_hash::FxHashMap;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// So many resumes for one file within that time are hardly anybody's edits.
pub const LOOP_TIMES: u32 = 200;
pub const LOOP_WITHIN: Duration = Duration::from_secs(10);

/// How long the next change is put off then; twice as long each time, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A change that comes so long after the resume for the one before was not its doing.
const QUIET: Duration = Duration::from_secs(1);

/// What the next resume is for.
#[derive(Debug, Default)]
pub struct Pending {
    /// Paths that changed.
    changed: HashSet<PathId>,
    /// When the first of them was seen to.
    first_change: Option<Instant>,
    /// A resume point that was asked for by name.
    wanted: Option<Target>,
    /// What the files looked like that had been used in part, as what comes after the
    /// resume point was about to be ended.
    fits: Fits,
    /// Paths for the next letter, from a resume that failed.
    unsent: Vec<Vec<u8>>,
    /// Somebody has asked for the end.
    end: bool,
    streak: Streak,
    waits: Waits,
}

/// The file that led to the last resumes, since when, and to how many.
#[derive(Debug, Default)]
struct Streak {
    path: Vec<u8>,
    since: Time,
    times: u32,
    /// When the last of them was begun.
    last: Time,
    /// How long the next change is put off; not at all at first.
    pause: Duration,
    /// Until when the present one is.
    until: Option<Time>,
}

/// What a resume is for.
pub struct Taken {
    /// The changed paths.
    pub changed: Vec<Vec<u8>>,
    /// When the first change was seen; `None` when somebody asked for it.
    pub since: Option<Instant>,
    /// What the files looked like that had been used in part.
    pub fits: Fits,
}

impl Pending {
    /// What is known of the subprocesses that the program waits for: whose doing a change may be.
    pub fn waits(&mut self) -> &mut Waits {
        &mut self.waits
    }

    /// A path has changed; false when that was known.
    pub fn add(&mut self, path: PathId) -> bool {
        self.first_change.get_or_insert_with(Instant::now);
        self.changed.insert(path)
    }

    /// Somebody asks for a resume from there. Of several, the earliest counts.
    pub fn want(&mut self, target: Target) {
        self.wanted = Some(self.wanted.map_or(target, |wanted| wanted.min(target)));
    }

    /// Somebody asks for the end of the session.
    pub fn want_end(&mut self) {
        self.end = true;
    }

    /// Whether somebody has.
    pub fn is_end_wanted(&self) -> bool {
        self.end
    }

    /// Whether a path has changed.
    pub fn holds(&self, path: PathId) -> bool {
        self.changed.contains(&path)
    }

    /// The paths that have changed.
    pub fn changed(&self) -> impl Iterator<Item = PathId> + '_ {
        self.changed.iter().copied()
    }

    /// The files to be looked at before a resume is begun, with what has been used of them.
    pub fn used_in_part(&self, timeline: &Timeline) -> FxHashMap<PathId, Vec<(Index, Part)>> {
        timeline.used_in_part(self.changed.iter().copied())
    }

    /// They look so; that counts until the resume is done.
    pub fn set_fits(&mut self, fits: Fits) {
        self.fits = fits;
    }

    /// Where to resume from, and the path that decides it.
    pub fn target(&self, timeline: &Timeline) -> (Target, Option<PathId>) {
        self.target_if(timeline, &self.fits)
    }

    /// The latest place where that may turn out to be. Somebody may be in the middle of
    /// saving, so what the files have in common with what was used is not known yet.
    pub fn latest_target(&self, timeline: &Timeline) -> Target {
        let used = self.used_in_part(timeline);
        let checkpoints = used.values().flatten().map(|(index, _)| *index).collect();
        self.target_if(timeline, &Fits { checkpoints, ..Fits::default() }).0
    }

    fn target_if(&self, timeline: &Timeline, fits: &Fits) -> (Target, Option<PathId>) {
        // It may have been lost since it was asked for.
        let wanted = self.wanted.map(|wanted| match wanted {
            Target::Start => Target::Start,
            Target::Checkpoint(index) => timeline.at_or_before(index),
        });
        timeline
            .resume_point(self.changed.iter().copied(), wanted, fits)
            // Nothing that is known depends on them: a fresh start is always right.
            .unwrap_or_else(|| (Target::Start, self.changed.iter().next().copied()))
    }

    /// Takes everything, for the resume that is about to be done.
    pub fn take(&mut self, name: impl Fn(PathId) -> Vec<u8>) -> Taken {
        let fits = std::mem::take(&mut self.fits);
        let mut changed = std::mem::take(&mut self.unsent);
        changed.extend(self.changed.drain().map(name));
        // One that was opened and asked about has two numbers.
        let mut seen = HashSet::new();
        changed.retain(|path| seen.insert(path.clone()));
        self.wanted = None;
        Taken { changed, since: self.first_change.take(), fits }
    }

    /// That resume could not be done: it is to be from `target`.
    pub fn failed(&mut self, target: Target, changed: Vec<Vec<u8>>) {
        self.wanted = Some(target);
        self.unsent = changed;
    }

    /// A resume is done for a file. Whether that is one too many for a person: a person
    /// does not save like this, and is to be told once what probably does.
    pub fn is_loop(&mut self, cause: &[u8], now: Time) -> bool {
        let streak = &mut self.streak;
        let is_over = streak.pause.is_zero() && now.saturating_sub(streak.since) > LOOP_WITHIN;
        if streak.path != cause || is_over {
            *streak = Streak { path: cause.to_vec(), since: now, ..Streak::default() };
        }
        (streak.last, streak.until) = (now, None);
        streak.times += 1;
        let is_loop = streak.times == LOOP_TIMES;
        if is_loop {
            streak.pause = FIRST_PAUSE;
        }
        is_loop
    }

    /// A file has changed. Until when that is put off, as it goes round and round: nothing is
    /// lost, and the machine has its peace.
    pub fn brake(&mut self, path: &[u8], now: Time) -> Option<Time> {
        let streak = &mut self.streak;
        if streak.pause.is_zero() || streak.path != path {
            return None;
        }
        if let Some(until) = streak.until {
            return Some(until).filter(|until| now < *until);
        }
        if now.saturating_sub(streak.last) > QUIET {
            *streak = Streak::default();
            return None;
        }
        let until = now + streak.pause;
        (streak.until, streak.pause) = (Some(until), LONGEST_PAUSE.min(streak.pause * 2));
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::{Checkpoint, Dependency};
    use super::*;
    use crate::files::Stamp;
    use crate::wire::record::{Index, Worth};

    /// Checkpoints 0 to 3, and path N read after checkpoint N.
    fn timeline() -> Timeline {
        let mut timeline = Timeline::default();
        for index in 0..4 as Index {
            timeline.add(Checkpoint {
                index,
                pid: 100 + index as i32,
                name: Vec::new(),
                at: 0,
                worth: Worth::default(),
                bare: true,
                pages: 0,
                directory: None,
                resumed: 0,
                part: None,
            });
            let known = Dependency {
                checkpoint: Some(index),
                stamp: Stamp::Absent,
                content: None,
                digest: None,
                asked: None,
            };
            timeline.depend(index, known);
        }
        timeline
    }

    #[test]
    fn the_earliest_of_all_that_is_asked_for_counts() {
        let (timeline, mut pending) = (timeline(), Pending::default());
        assert!(pending.add(3) && !pending.add(3));
        assert_eq!(pending.target(&timeline), (Target::Checkpoint(3), Some(3)));
        pending.want(Target::Checkpoint(2));
        pending.want(Target::Checkpoint(3));
        assert_eq!(pending.target(&timeline), (Target::Checkpoint(2), None));
        pending.add(1);
        assert_eq!(pending.target(&timeline), (Target::Checkpoint(1), Some(1)));
        let taken = pending.take(|path| vec![path as u8]);
        assert!(taken.changed.len() == 2 && taken.since.is_some());
        // It failed: nothing is lost of it, and it is asked for.
        pending.failed(Target::Checkpoint(0), taken.changed);
        assert_eq!(pending.target(&timeline), (Target::Checkpoint(0), None));
        let taken = pending.take(|path| vec![path as u8]);
        assert!(taken.changed.len() == 2 && taken.since.is_none());
    }

    #[test]
    fn what_nobody_knows_of_means_a_fresh_start() {
        let mut pending = Pending::default();
        pending.add(9);
        assert_eq!(pending.target(&timeline()), (Target::Start, Some(9)));
    }

    #[test]
    fn what_goes_round_and_round_does_so_ever_more_slowly() {
        let ms = Duration::from_millis;
        let mut pending = Pending::default();
        let (mut now, mut resumes) = (0, 0);
        // Each run leads to a change 5 ms later.
        while now < 600_000 {
            now += 5;
            if let Some(until) = pending.brake(b"/f", ms(now)) {
                assert_eq!(pending.brake(b"/g", ms(now)), None);
                assert_eq!(pending.brake(b"/f", ms(now + 1)), Some(until), "put off once");
                now = until.as_millis() as u64;
                assert_eq!(pending.brake(b"/f", until), None, "and then it counts");
            }
            pending.is_loop(b"/f", ms(now));
            resumes += 1;
        }
        assert!(resumes < LOOP_TIMES + 20, "{resumes}");
        // Somebody edits it, much later.
        assert_eq!(pending.brake(b"/f", ms(now + 5000)), None);
        pending.is_loop(b"/f", ms(now + 5000));
        assert_eq!(pending.brake(b"/f", ms(now + 5010)), None);
    }

    #[test]
    fn one_file_over_and_over_is_told_once() {
        let mut pending = Pending::default();
        let mut told = 0;
        for time in 0..1000 {
            told += u32::from(pending.is_loop(b"a", Duration::from_millis(time)));
        }
        assert_eq!(told, 1);
        for time in 0..1000 {
            let cause: &[u8] = if time % 2 == 0 { b"a" } else { b"b" };
            assert!(!pending.is_loop(cause, Duration::from_millis(1000 + time)));
            assert!(!pending.is_loop(b"c", Duration::from_millis(2000 + time * 60)));
        }
    }
}
