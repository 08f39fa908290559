//! Scouting: looking where a search for a module will look, just before it does.
//!
//! Lua tries to open a file at each of the places that a search path names, in turn.
//! What is there is looked at beforehand, up to the file that will be found: all these
//! places are dependencies. As that shows where nothing is, Lua can be told to begin
//! later. Modules are mostly missed because a whole directory is not there; such *gaps*
//! are learned, so that one look shows it for all that would be in one.

use crate::files::Stamp;
use crate::files::path::{absolute_from, may};
use crate::program::searches::Search;
use nix::unistd::AccessFlags;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What separates templates (`package.config`), where paths are as they are on Linux.
const SEPARATOR: u8 = b';';

/// What stands for the name in a template.
const MARK: u8 = b'?';

/// The templates in a search path, in order, with where each of them begins.
fn templates_of(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    let all = path.split(|byte| *byte == SEPARATOR).map(move |template| {
        let at = next;
        next += template.len() + 1;
        (at, template)
    });
    all.filter(|(_, template)| !template.is_empty())
}

/// Makes `place` the place where a template has a search for `name` look.
pub fn fill(place: &mut Vec<u8>, template: &[u8], name: &[u8]) {
    place.clear();
    for (number, part) in template.split(|byte| *byte == MARK).enumerate() {
        if number > 0 {
            place.extend(name);
        }
        place.extend(part);
    }
}

/// Directories that searches look into and that are not there. What is below one of
/// them is not there either, which one look at it shows for all.
#[derive(Default)]
struct Gaps {
    /// With what the last look in this search has shown.
    gaps: Vec<(Vec<u8>, Option<bool>)>,
    /// Directories that are there, and no gaps.
    there: Vec<Vec<u8>>,
}

/// As many of each are known, and all of them looked through for each place.
const MOST_GAPS: usize = 16;

impl Gaps {
    /// What is known is of an earlier moment from now on.
    fn expire(&mut self) {
        for (_, is_gap) in &mut self.gaps {
            *is_gap = None;
        }
    }

    /// Whether an absolute path is known not to be there, after a look at the gap
    /// that it would be in.
    fn swallow(&mut self, path: &[u8]) -> bool {
        let is_below = |gap: &[u8]| path.starts_with(gap) && path.get(gap.len()) == Some(&b'/');
        let gap = self.gaps.iter_mut().find(|(gap, _)| is_below(gap));
        gap.is_some_and(|(gap, is_gap)| *is_gap.get_or_insert_with(|| is_absent(gap)))
    }

    /// Nothing is at this absolute path, where this template led: finds out whether
    /// others will be missed for the same reason.
    pub fn learn(&mut self, path: &[u8], template: &[u8]) {
        // A directory of the module's own would be missed by no other.
        let is_own =
            template.rsplit(|byte| *byte == MARK).next().is_none_or(|end| end.contains(&b'/'));
        let parent = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        let is_full = self.gaps.len().max(self.there.len()) == MOST_GAPS;
        if is_own || is_full || self.there.iter().any(|known| known == parent) {
            return;
        }
        match gap_before(parent) {
            Some(gap) => self.gaps.push((gap.to_vec(), Some(true))),
            None => self.there.push(parent.to_vec()),
        }
    }
}

/// The first directory on the way to an absolute path that is not there; the root
/// always is.
fn gap_before(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() || !is_absent(path) {
        return None;
    }
    let parent = &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
    gap_before(parent).or(Some(path))
}

fn is_absent(path: &[u8]) -> bool {
    Stamp::of_readable(path) == (Stamp::Absent, true)
}

/// A place where a search looks for a file.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Absolute path.
    pub path: &'a [u8],
    /// What is there.
    pub stamp: Stamp,
    /// The filter takes it.
    pub watched: bool,
}

/// The places that one search looks at, in order.
#[derive(Debug, Default)]
pub struct Trail {
    /// All paths, one behind the other.
    paths: Vec<u8>,
    /// Where each of them ends, its stamp, and whether it is watched.
    places: Vec<(usize, Stamp, bool)>,
}

impl Trail {
    /// Begins another search.
    pub fn clear(&mut self) {
        self.paths.clear();
        self.places.clear();
    }

    /// Adds a place.
    pub fn push(&mut self, candidate: Candidate) {
        self.paths.extend(candidate.path);
        self.places.push((self.paths.len(), candidate.stamp, candidate.watched));
    }

    /// How many places there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The places.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'_>> {
        let mut from = 0;
        self.places.iter().map(move |&(end, stamp, watched)| {
            let path = &self.paths[std::mem::replace(&mut from, end)..end];
            Candidate { path, stamp, watched }
        })
    }
}

/// Looks where searches will. Kept, so that the next need not ask for memory.
#[derive(Default)]
pub struct Scout {
    searches: usize,
    gaps: Gaps,
    trail: Trail,
    path: Vec<u8>,
}

/// After so many searches gaps are learned anew, as some may have closed.
const GAPS_LAST: usize = 64;

impl Scout {
    /// The places looked at in the last search.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Looks at the places of a search, up to the one where a file is. Returns where
    /// in the templates that one's begins if that is not the first, and it is certain
    /// that no file is before. The filter is asked about each place.
    ///
    /// # Errors
    /// The filter's.
    pub fn search<E>(
        &mut self,
        which: &Search,
        mut is_watched: impl FnMut(&[u8]) -> Result<bool, E>,
    ) -> Result<Option<usize>, E> {
        if self.searches.is_multiple_of(GAPS_LAST) {
            self.gaps = Gaps::default();
        }
        self.searches += 1;
        self.gaps.expire();
        self.trail.clear();
        let mut certain = true;
        for (at, template) in templates_of(which.templates) {
            fill(&mut self.path, template, which.name);
            self.path = absolute_from(which.directory, std::mem::take(&mut self.path));
            let path = &self.path[..];
            let is_swallowed = self.gaps.swallow(path);
            let (stamp, sure) = match is_swallowed {
                true => (Stamp::Absent, true),
                false => Stamp::of_readable(path),
            };
            if (stamp, sure, is_swallowed) == (Stamp::Absent, true, false) {
                self.gaps.learn(path, template);
            }
            certain &= sure;
            self.trail.push(Candidate { path, stamp, watched: is_watched(path)? });
            // Lua goes on past a file that it cannot open.
            let is_openable = || may(Path::new(OsStr::from_bytes(path)), AccessFlags::R_OK);
            if stamp != Stamp::Absent && (sure || is_openable()) {
                // The interpreter takes a name with a separator in it for two, and
                // nothing after a zero byte for a template.
                let odd = which.name.contains(&SEPARATOR) || which.templates.contains(&0);
                return Ok((certain && at > 0 && !odd).then_some(at));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::path::tests::scratch;
    use proptest::prelude::*;
    use std::convert::Infallible;
    use std::os::unix::ffi::OsStringExt;

    fn places(name: &[u8], templates: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let mut place = Vec::new();
        let at = |(at, template): (usize, &[u8])| {
            fill(&mut place, template, name);
            (at, place.clone())
        };
        templates_of(templates).map(at).collect()
    }

    #[test]
    fn each_template_is_a_place() {
        let found = places(b"a/b", b";./?.lua;;/x/?/?.lua;/all");
        let expected: [(usize, &[u8]); 3] =
            [(1, b"./a/b.lua"), (10, b"/x/a/b/a/b.lua"), (21, b"/all")];
        assert_eq!(found, expected.map(|(at, path)| (at, path.to_vec())));
    }

    #[test]
    fn a_gap_swallows_what_is_below_until_it_is_closed() {
        let scratch = scratch("gaps");
        std::fs::create_dir(scratch.join("there")).unwrap();
        let mut gaps = Gaps::default();
        let at = |path: &str| scratch.join(path).into_os_string().into_vec();
        for path in ["there/a.lua", "none/deep/a.lua", "a.lua"] {
            assert!(!gaps.swallow(&at(path)));
            gaps.learn(&at(path), b"?.lua");
        }
        gaps.learn(&at("there/a/init.lua"), b"there/?/init.lua");
        gaps.learn(b"/no such/a", b"/no such/?");
        assert_eq!((gaps.gaps.len(), gaps.there.len()), (2, 2));
        gaps.expire();
        assert!(gaps.swallow(b"/no such/b/c"));
        assert!(gaps.swallow(&at("none/deep/b.lua")) && gaps.swallow(&at("none/a/init.lua")));
        assert!(!gaps.swallow(&at("there/b.lua")) && !gaps.swallow(&at("nonesuch/a.lua")));
        assert!(!gaps.swallow(&at("none")) && !gaps.swallow(&at("b.lua")));
        std::fs::create_dir(scratch.join("none")).unwrap();
        gaps.expire();
        assert!(!gaps.swallow(&at("none/deep/a.lua")));
        std::fs::remove_dir_all(scratch).unwrap();
    }

    proptest! {
        #[test]
        fn few_gaps_are_known(names in prop::collection::vec("[a-z]{1,3}", 0..100)) {
            let mut gaps = Gaps::default();
            for name in names {
                gaps.learn(format!("/no such/../{name}/m.lua").as_bytes(), b"?.lua");
                gaps.learn(format!("/{name}/m.lua").as_bytes(), b"?.lua");
                prop_assert!(gaps.gaps.len().max(gaps.there.len()) <= MOST_GAPS);
            }
        }
    }

    /// Looks for a module, and returns the places and where a search may begin.
    fn scout(which: &Search) -> (Vec<(Vec<u8>, bool)>, Option<usize>) {
        let mut scout = Scout::default();
        let Ok(from) = scout.search(which, |path| Ok::<_, Infallible>(!path.ends_with(b".so")));
        let places = scout.trail().iter();
        (places.map(|place| (place.path.to_vec(), place.stamp != Stamp::Absent)).collect(), from)
    }

    #[test]
    fn a_search_is_told_to_begin_at_the_file_that_it_finds() {
        let scratch = scratch("scout");
        std::fs::create_dir_all(scratch.join("lib/a")).unwrap();
        std::fs::write(scratch.join("lib/a/b.lua"), "").unwrap();
        let within = |path: &str| scratch.join(path).into_os_string().into_vec();
        let directory = scratch.as_os_str().as_bytes();
        let templates = b"?.lua;no/?.lua;no/?/init.lua;lib/?.lua;after/?.lua";
        let found = scout(&Search { name: b"a/b", templates, directory });
        let places = ["a/b.lua", "no/a/b.lua", "no/a/b/init.lua", "lib/a/b.lua"];
        let expected = places.map(|path| (within(path), path.starts_with("lib")));
        assert_eq!(found, (expected.to_vec(), Some(29)));
        let begins = |name, templates| scout(&Search { name, templates, directory }).1;
        assert_eq!(begins(b"a/b", b"lib/?.lua;no/?.lua"), None);
        assert_eq!(begins(b"a/none", templates), None);
        assert_eq!(begins(b"a/b;x", b"no/?;lib/a/b.lua"), None);
        assert_eq!(begins(b"a/b", b"no/?;lib/?.lua\0;x"), None);
        // A directory cannot be read, and what Lua makes of that is its own affair.
        assert_eq!(begins(b"a", b"lib/?;lib/?/b.lua"), None);
        std::fs::remove_dir_all(scratch).unwrap();
    }

    proptest! {
        #[test]
        fn a_search_from_a_later_template_on_finds_the_later_places(
            name in "[a/?]{0,3}", templates in "[a;?/]{0,12}"
        ) {
            let (name, templates) = (name.as_bytes(), templates.as_bytes());
            let all = places(name, templates);
            for (number, (at, _)) in all.iter().enumerate() {
                let rest = places(name, &templates[*at..]);
                let later = all[number..].iter().map(|(_, path)| path);
                prop_assert!(rest.iter().map(|(_, path)| path).eq(later));
            }
        }
    }
}
