//! Whom an event concerns: a pure table from watched directories and names to
//! the subjects (paths, or directories that paths share) whose walk passed there.

use super::scratch::is_scratch;
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// The subjects that depend on one directory.
#[derive(Debug)]
struct Node<S> {
    names: FxHashMap<Vec<u8>, Vec<S>>,
    every: Vec<S>,
    itself: Vec<S>,
    /// Its entries are, or have been, asked for: the kernel reports them.
    has_names: bool,
}

/// The table; `W` identifies a watched directory, `S` a subject.
#[derive(Debug)]
pub struct Table<W, S> {
    nodes: FxHashMap<W, Node<S>>,
    /// Where each subject is entered, to take it out again.
    places: FxHashMap<S, Vec<Entry<W>>>,
}

#[derive(Debug)]
enum Entry<W> {
    Name(W, Vec<u8>),
    Every(W),
    Itself(W),
}

impl<W, S> Default for Table<W, S> {
    fn default() -> Self {
        Table { nodes: FxHashMap::default(), places: FxHashMap::default() }
    }
}

impl<W: Hash + Eq + Clone, S: Hash + Eq + Copy> Table<W, S> {
    fn node(&mut self, directory: &W) -> &mut Node<S> {
        self.nodes.entry(directory.clone()).or_insert_with(|| Node {
            names: FxHashMap::default(),
            every: Vec::new(),
            itself: Vec::new(),
            has_names: false,
        })
    }

    /// `subject` depends on the entry `name` of a directory.
    pub fn name(&mut self, directory: W, name: &[u8], subject: S) {
        let node = self.node(&directory);
        node.has_names = true;
        node.names.entry(name.to_vec()).or_default().push(subject);
        self.places.entry(subject).or_default().push(Entry::Name(directory, name.to_vec()));
    }

    /// `subject` depends on every entry of a directory, scratch files aside.
    pub fn every(&mut self, directory: W, subject: S) {
        let node = self.node(&directory);
        node.has_names = true;
        node.every.push(subject);
        self.places.entry(subject).or_default().push(Entry::Every(directory));
    }

    /// `subject` depends on a directory staying where it is.
    pub fn itself(&mut self, directory: W, subject: S) {
        self.node(&directory).itself.push(subject);
        self.places.entry(subject).or_default().push(Entry::Itself(directory));
    }

    /// The entries of a directory are watched from now on.
    pub fn entries(&mut self, directory: &W) {
        self.node(directory).has_names = true;
    }

    /// Whether the entries of a directory are watched.
    pub fn has_names(&self, directory: &W) -> bool {
        self.nodes.get(directory).is_some_and(|node| node.has_names)
    }

    /// The subjects concerned by something happening to `name` in a directory.
    pub fn touched(&self, directory: &W, name: &[u8]) -> Vec<S> {
        let Some(node) = self.nodes.get(directory) else { return Vec::new() };
        let mut touched = node.names.get(name).cloned().unwrap_or_default();
        if !is_scratch(name) {
            touched.extend(&node.every);
        }
        touched
    }

    /// The subjects that pass through a directory in any way.
    pub fn members(&self, directory: &W) -> Vec<S> {
        let Some(node) = self.nodes.get(directory) else { return Vec::new() };
        let names = node.names.values().flatten();
        names.chain(&node.every).chain(&node.itself).copied().collect()
    }

    /// Takes a subject out everywhere.
    pub fn leave(&mut self, subject: S) {
        for entry in self.places.remove(&subject).unwrap_or_default() {
            let (Entry::Name(directory, _) | Entry::Every(directory) | Entry::Itself(directory)) =
                &entry;
            let Some(node) = self.nodes.get_mut(directory) else { continue };
            match &entry {
                Entry::Name(_, name) => {
                    if let Some(paths) = node.names.get_mut(name) {
                        remove(paths, subject);
                        if paths.is_empty() {
                            node.names.remove(name);
                        }
                    }
                }
                Entry::Every(_) => remove(&mut node.every, subject),
                Entry::Itself(_) => remove(&mut node.itself, subject),
            }
        }
    }

    /// Forgets a directory that is watched no more.
    pub fn forget(&mut self, directory: &W) {
        self.nodes.remove(directory);
    }
}

fn remove<S: Eq>(paths: &mut Vec<S>, subject: S) {
    if let Some(at) = paths.iter().rposition(|known| *known == subject) {
        paths.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_touches_the_paths_entered_for_it() {
        let mut table = Table::<i32, u32>::default();
        table.name(1, b"a.lua", 7);
        table.name(1, b"b.lua", 8);
        table.every(1, 9);
        table.itself(2, 7);
        assert_eq!(table.touched(&1, b"a.lua"), [7, 9]);
        assert_eq!(table.touched(&1, b".a.lua.swp"), []);
        assert_eq!(table.touched(&2, b"a.lua"), []);
        assert_eq!(table.members(&2), [7]);
        assert!(table.has_names(&1) && !table.has_names(&2));
    }

    proptest! {
        #[test]
        fn a_path_that_left_is_never_touched(
            entered in prop::collection::vec((0u8..4, 0u8..4, 0u8..3, 0u32..6), 0..60),
            gone in 0u32..6,
        ) {
            let mut table = Table::<u8, u32>::default();
            for (directory, name, kind, path) in &entered {
                match kind {
                    0 => table.name(*directory, &[*name], *path),
                    1 => table.every(*directory, *path),
                    _ => table.itself(*directory, *path),
                }
            }
            table.leave(gone);
            for directory in 0..4 {
                for name in 0..4 {
                    let mut touched = table.touched(&directory, &[name]);
                    touched.sort_unstable();
                    let mut expected: Vec<u32> = entered.iter()
                        .filter(|(at, entry, kind, path)| {
                            *at == directory && *path != gone && (*kind == 1 || *kind == 0 && *entry == name)
                        })
                        .map(|(_, _, _, path)| *path)
                        .collect();
                    expected.sort_unstable();
                    prop_assert_eq!(touched, expected);
                }
                prop_assert!(!table.members(&directory).contains(&gone));
            }
        }
    }
}
