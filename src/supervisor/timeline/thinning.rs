//! Thinning: which checkpoint is given up, and when another one would be.
//!
//! Theory of operation. Where all checkpoints together may come to hold more memory than
//! they may, those are thinned that only save time: of the ones between the first and the
//! newest that goes whose neighbours are closest together, so that what is left has about
//! the same distances, which double in the long run. As an edit may fall anywhere, that is
//! where the work that has to be done again is least. One that would be the next to go is
//! better not taken: so a new one has to be as far *apart* from the newest as the closest
//! neighbours are by then.

use super::Timeline;
use crate::wire::record::Worth;

/// What all checkpoints may hold on to in any case, as a multiple of what the newest does.
const MEMORY: f64 = 1.4;

impl Timeline {
    /// Which checkpoint to give up when there are more than `limit`, or when together
    /// they may come to hold more than `most` pages, and more than the program has.
    ///
    /// Never the first, which saves a whole start, nor the newest, which has
    /// only just been paid for. Of the others one whose loss repeats no output,
    /// if there is any; then neither an explicit nor a hot one; then the one
    /// whose neighbours are closest together. For the sake of memory alone only one
    /// that nothing speaks for is given up.
    pub fn excess(&self, limit: usize, most: u64) -> Option<i32> {
        let count = self.checkpoints.len();
        let newest = self.checkpoints.last()?;
        let too_many = count > limit.max(2);
        if !too_many && self.held() <= room(most, newest.pages) {
            return None;
        }
        let price = |at: usize| {
            let Worth { separated, explicit, hot } = self.checkpoints[at].worth;
            (separated, explicit, hot, self.span(at))
        };
        (1..count.max(2) - 1)
            .filter(|&at| too_many || self.is_idle(at))
            .min_by_key(|&at| price(at))
            .map(|at| self.checkpoints[at].pid)
    }

    /// How long after the newest, in microseconds of the run, another one that nothing
    /// speaks for has to be taken so that it is not the next to be given up: as long as
    /// the closest neighbours are apart; at any time while there is room for it.
    pub fn apart(&self, most: u64) -> u64 {
        let Some(newest) = self.checkpoints.last() else { return 0 };
        // The program is going to be about as large as it was.
        if self.held() + newest.pages <= room(most, newest.pages) {
            return 0;
        }
        let last = self.checkpoints.len() - 1;
        let between = (1..last).filter(|&at| self.is_idle(at)).map(|at| self.span(at));
        // With none between, it takes the place of the newest.
        between.min().unwrap_or_else(|| newest.at - self.checkpoints[last.max(1) - 1].at)
    }

    /// How many pages all of them may come to hold.
    fn held(&self) -> u64 {
        self.checkpoints.iter().map(|known| known.pages).sum()
    }

    /// Whether one only saves time.
    fn is_idle(&self, at: usize) -> bool {
        self.checkpoints[at].worth == Worth::default()
    }

    /// How far apart the neighbours of one are.
    fn span(&self, at: usize) -> u64 {
        self.checkpoints[at + 1].at.saturating_sub(self.checkpoints[at - 1].at)
    }
}

/// How many pages may be held: at least about what the newest does.
fn room(most: u64, newest: u64) -> u64 {
    most.max((newest as f64 * MEMORY) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::Checkpoint;
    use super::super::tests::{build, checkpoint};
    use super::*;
    use crate::wire::record::Index;
    use proptest::prelude::*;

    /// No memory but what is granted in any case.
    const NONE: u64 = 0;

    proptest! {
        #[test]
        fn eviction_reaches_the_limit_and_keeps_both_ends(
            alive in prop::collection::vec(Just(true), 1..40), limit in 1usize..20
        ) {
            let mut timeline = build(&alive, &[]);
            while let Some(pid) = timeline.excess(limit, NONE) {
                prop_assert!(timeline.remove(pid).is_some());
            }
            let left: Vec<Index> = timeline.checkpoints().iter().map(|known| known.index).collect();
            prop_assert!(left.len() <= limit.max(2));
            prop_assert_eq!(left.first(), Some(&0));
            prop_assert_eq!(left.last().copied(), Some(alive.len() as Index - 1));
        }

        #[test]
        fn eviction_repeats_no_output_while_there_is_another_choice(
            separated in prop::collection::vec(any::<bool>(), 3..30), limit in 2usize..10
        ) {
            let mut timeline = Timeline::default();
            for (index, separated) in separated.iter().enumerate() {
                let worth = Worth { separated: *separated, ..Worth::default() };
                timeline.add(Checkpoint { worth, ..checkpoint(index as Index) });
            }
            while let Some(pid) = timeline.excess(limit, NONE) {
                let count = timeline.checkpoints().len();
                let harmless = timeline.checkpoints()[1..count - 1]
                    .iter()
                    .any(|known| !known.worth.separated);
                let removed = timeline.remove(pid).unwrap();
                prop_assert!(!harmless || !removed.worth.separated);
            }
            // What was separated from the start still is from what is left of it.
            let mut before = 0;
            for known in &timeline.checkpoints()[1..] {
                let between = &separated[before as usize + 1..=known.index as usize];
                prop_assert_eq!(known.worth.separated, between.iter().any(|known| *known));
                before = known.index;
            }
        }

        #[test]
        fn memory_is_thinned_of_what_nothing_speaks_for(
            taken in prop::collection::vec((1u64..1000, any::<bool>()), 1..30),
            most in 0u64..5000
        ) {
            let mut timeline = Timeline::default();
            for (index, (pages, hot)) in taken.iter().enumerate() {
                let worth = Worth { hot: *hot, ..Worth::default() };
                timeline.add(Checkpoint { pages: *pages, worth, ..checkpoint(index as Index) });
                while let Some(pid) = timeline.excess(64, most) {
                    prop_assert_eq!(timeline.remove(pid).unwrap().worth, Worth::default());
                }
            }
            let kept = timeline.checkpoints();
            let (newest, rest) = kept.split_last().unwrap();
            let idle: u64 = rest.iter().skip(1).filter(|known| !known.worth.hot)
                .map(|known| known.pages).sum();
            let held: u64 = kept.iter().map(|known| known.pages).sum();
            prop_assert!(idle == 0 || held <= most || held as f64 <= newest.pages as f64 * MEMORY);
            prop_assert_eq!(kept[0].index, 0);
        }

        /// A program of a size, room for `slots` of its checkpoints, and places where one
        /// could be taken at such distances: what is left is spread over the whole run, and
        /// nothing is taken only to be the next to go.
        #[test]
        fn what_is_left_is_spread_and_nothing_is_taken_in_vain(
            distances in prop::collection::vec(1u64..1000, 1..300), slots in 3u64..20,
            pages in 1u64..1000
        ) {
            let most = slots * pages;
            let mut timeline = Timeline::default();
            timeline.add(Checkpoint { pages, at: 0, ..checkpoint(0) });
            let (mut now, mut index, mut careful) = (0, 0, None);
            for distance in &distances {
                now += distance;
                let apart = timeline.apart(most);
                if now - timeline.checkpoints().last().unwrap().at < apart {
                    continue;
                }
                index += 1;
                timeline.add(Checkpoint { pages, at: now, ..checkpoint(index) });
                while let Some(pid) = timeline.excess(64, most) {
                    prop_assert_ne!(Some(timeline.remove(pid).unwrap().index), careful);
                }
                careful = (apart > 0).then_some(index);
                prop_assert!(timeline.checkpoints().len() as u64 <= slots);
            }
            let longest = distances.iter().max().unwrap();
            let bound = longest + 2 * now / (slots - 2);
            let kept = timeline.checkpoints();
            let gaps = kept.windows(2).map(|pair| pair[1].at - pair[0].at);
            let last = now - kept.last().unwrap().at;
            prop_assert!(gaps.chain([last]).all(|gap| gap <= bound), "{kept:?} of {now}: {bound}");
        }
    }

    #[test]
    fn with_room_for_one_the_distances_double() {
        let mut timeline = Timeline::default();
        let mut taken = Vec::new();
        timeline.add(Checkpoint { pages: 1, at: 0, ..checkpoint(0) });
        for at in 1..100 {
            if at - timeline.checkpoints().last().unwrap().at >= timeline.apart(NONE) {
                timeline.add(Checkpoint { pages: 100, at, ..checkpoint(at as Index) });
                while let Some(pid) = timeline.excess(64, NONE) {
                    timeline.remove(pid);
                }
                taken.push(at);
            }
        }
        assert_eq!(taken, [1, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn explicit_and_hot_checkpoints_are_evicted_last() {
        let mut timeline = Timeline::default();
        for index in 0..6 {
            let worth = Worth { explicit: index < 3, hot: index > 3, separated: false };
            timeline.add(Checkpoint { worth, ..checkpoint(index) });
        }
        assert_eq!(timeline.excess(5, NONE), Some(1003));
    }
}
