//! What the program remembers of its searches, in little memory.
//!
//! A program with thousands of modules has looked at tens of thousands of places,
//! nearly all of them empty. Were each remembered by its path, these would be a
//! good part of a small program's heap, and what is written among them after a
//! checkpoint would be copied page by page. So a search is remembered as a whole,
//! and an empty place by two bits.

use crate::files::digest;
use rustc_hash::FxHashMap;

/// A search for a module.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The name, as it stands in paths.
    pub name: &'a [u8],
    /// Such as `package.path`.
    pub templates: &'a [u8],
    /// Where relative places begin.
    pub directory: &'a [u8],
}

/// So many pairs of templates and a directory are told apart. Who has more forgets,
/// and records places twice.
const MOST_WAYS: usize = 64;

/// Searches made, and how many of the places of each are recorded.
#[derive(Clone, Debug, Default)]
pub struct Searches {
    ways: Vec<(Vec<u8>, Vec<u8>)>,
    /// By the number of the way, and the name.
    known: FxHashMap<Vec<u8>, usize>,
}

impl Searches {
    /// How many places of this search are recorded.
    pub fn known(&self, search: &Search) -> usize {
        let way = self.way(search);
        way.and_then(|way| self.known.get(&key(way, search.name)).copied()).unwrap_or(0)
    }

    /// So many places of this search are recorded now.
    pub fn note(&mut self, search: &Search, count: usize) {
        let way = self.way(search).unwrap_or_else(|| {
            if self.ways.len() == MOST_WAYS {
                *self = Searches::default();
            }
            self.ways.push((search.templates.to_vec(), search.directory.to_vec()));
            self.ways.len() - 1
        });
        let known = self.known.entry(key(way, search.name)).or_default();
        *known = count.max(*known);
    }

    fn way(&self, search: &Search) -> Option<usize> {
        let is_it = |(templates, directory): &(Vec<u8>, Vec<u8>)| {
            templates == search.templates && directory == search.directory
        };
        self.ways.iter().position(is_it)
    }
}

fn key(way: usize, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(way as u8);
    key.extend(name);
    key
}

/// As many bits stand for paths: 128 KiB of them.
const BITS: u64 = 1 << 20;

/// Paths where nothing was. Takes a few others for such, too.
#[derive(Clone, Debug)]
pub struct Missed(Vec<u64>);

impl Default for Missed {
    fn default() -> Self {
        Missed(vec![0; (BITS / 64) as usize])
    }
}

impl Missed {
    /// Nothing was at this path.
    pub fn insert(&mut self, path: &[u8]) {
        for bit in bits(path) {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// False only when that was never said of this path.
    pub fn may_hold(&self, path: &[u8]) -> bool {
        bits(path).into_iter().all(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }
}

fn bits(path: &[u8]) -> [usize; 2] {
    let digest = digest(path);
    [digest, digest >> 32].map(|part| (part % BITS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_search_never_knows_of_more_places_than_were_noted(
            made in prop::collection::vec(("[ab]{0,2}", 0usize..70, "[xy]", 0usize..9), 0..200)
        ) {
            let mut searches = Searches::default();
            let mut noted: FxHashMap<_, usize> = FxHashMap::default();
            for (name, templates, directory, count) in &made {
                let templates = templates.to_string();
                let search = Search {
                    name: name.as_bytes(),
                    templates: templates.as_bytes(),
                    directory: directory.as_bytes(),
                };
                let most = noted.entry((name, templates.clone(), directory)).or_default();
                prop_assert!(searches.known(&search) <= *most);
                *most = count.max(most).to_owned();
                searches.note(&search, *count);
                prop_assert!((*count..=*most).contains(&searches.known(&search)));
            }
        }

        #[test]
        fn what_was_missed_is_held(paths in prop::collection::vec("[a-z/]{0,20}", 0..200)) {
            let mut missed = Missed::default();
            for path in &paths {
                missed.insert(path.as_bytes());
            }
            prop_assert!(paths.iter().all(|path| missed.may_hold(path.as_bytes())));
            prop_assert!(!missed.may_hold(b"/no/such/path"));
        }
    }
}
