//! What the program is known to depend on, in this timeline.
//!
//! It lives in the program's memory, so a resume takes it back together with everything
//! else: a resumed program has seen exactly what had been seen at its checkpoint.

use super::names::Names;
use super::scout::{Candidate, Trail};
use super::searches::{Missed, Search, Searches};
use crate::files::path::LONGEST_PATH;
use crate::files::{Stamp, Views};
use rustc_hash::FxHashSet;
use std::borrow::Cow;

/// The paths that were recorded.
#[derive(Default)]
pub struct Known {
    paths: FxHashSet<Vec<u8>>,
    /// And those of searches.
    searches: Searches,
    /// What these have found empty.
    missed: Missed,
    views: Views,
    names: Names,
}

impl Known {
    /// Whether a path is recorded.
    pub fn holds(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    /// False only when nothing that becomes of `path` concerns one that is recorded, be that
    /// as a place where nothing was, or by another path that leads there.
    pub fn may_concern(&self, path: &[u8]) -> bool {
        self.holds(path) || self.missed.may_hold(path) || self.names.may_concern(path)
    }

    /// A path is recorded, at which there is what has this stamp.
    pub fn insert(&mut self, path: &[u8], stamp: Stamp) {
        self.paths.insert(path.to_vec());
        self.names.add(path, stamp);
    }

    /// A place that a search has looked at is recorded.
    pub fn insert_place(&mut self, place: &Candidate) {
        match place.stamp {
            Stamp::Absent => self.missed.insert(place.path),
            stamp => self.insert(place.path, stamp),
        }
    }

    /// The path by which the supervisor finds what is at an absolute path, of which this is
    /// the stamp; `None` where it is nothing that anybody edits.
    pub fn find<'a>(&mut self, path: &'a [u8], stamp: Stamp) -> Option<Cow<'a, [u8]>> {
        self.views.find(path, stamp)
    }

    /// Those of the places of a search that become dependencies by it. One that was
    /// empty the last time and is no more does so, too; one that is empty may do so
    /// twice, which does no harm. A path that is too long never does.
    pub fn new_places<'a>(&mut self, search: &Search, trail: &'a Trail) -> Vec<Candidate<'a>> {
        let known = self.searches.known(search);
        let mut new = Vec::with_capacity(trail.count());
        for (at, place) in trail.iter().enumerate() {
            let is_absent = place.stamp == Stamp::Absent;
            if place.watched
                && (at >= known || !is_absent)
                && (is_absent || !self.holds(place.path))
                && place.path.len() <= LONGEST_PATH
                && !self.views.is_view(place.path, place.stamp)
            {
                new.push(place);
            }
        }
        new
    }

    /// The places of a search have been recorded.
    pub fn note_search(&mut self, search: &Search, trail: &Trail) {
        self.searches.note(search, trail.count());
    }

    /// The filter is another: what it did not take before, it may take now.
    pub fn forget_searches(&mut self) {
        self.searches = Searches::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEARCH: Search = Search { name: b"m", templates: b"?;?.lua", directory: b"/" };

    fn trail(places: &[(String, bool, bool)]) -> Trail {
        let mut trail = Trail::default();
        for (path, is_there, watched) in places {
            let stamp = if *is_there { Stamp::Special(0) } else { Stamp::Absent };
            trail.push(Candidate { path: path.as_bytes(), stamp, watched: *watched });
        }
        trail
    }

    proptest! {
        #[test]
        fn what_a_search_finds_is_recorded_once_and_what_the_filter_leaves_never(
            places in prop::collection::vec(("[ab]{1,3}", any::<bool>(), any::<bool>()), 0..8)
        ) {
            let mut known = Known::default();
            let trail = trail(&places);
            let new = known.new_places(&SEARCH, &trail);
            prop_assert_eq!(new.len(), places.iter().filter(|place| place.2).count());
            new.iter().for_each(|place| known.insert_place(place));
            known.note_search(&SEARCH, &trail);
            prop_assert!(known.new_places(&SEARCH, &trail).is_empty());
            for (path, is_there, watched) in &places {
                prop_assert!(!watched || known.may_concern(path.as_bytes()));
                prop_assert!(!(*watched && *is_there) || known.holds(path.as_bytes()));
            }
        }

        #[test]
        fn a_place_that_is_empty_no_more_is_recorded_anew(path in "[ab]{1,3}") {
            let mut known = Known::default();
            let empty = trail(&[(path.clone(), false, true)]);
            known.new_places(&SEARCH, &empty).iter().for_each(|place| known.insert_place(place));
            known.note_search(&SEARCH, &empty);
            let found = trail(&[(path, true, true)]);
            prop_assert_eq!(known.new_places(&SEARCH, &found).len(), 1);
        }
    }
}
