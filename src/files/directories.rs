//! The directories of the paths that are watched, each once for every spelling.

use super::touch::PathId;
use inotify::WatchDescriptor;
use rustc_hash::FxHashMap;
use std::ops::{Index, IndexMut};
use std::path::{Path, PathBuf};

/// A directory, as the paths in it spell it.
pub struct Directory {
    /// The spelling.
    pub path: Vec<u8>,
    /// Its watch, if it exists and can be watched.
    pub wd: Option<WatchDescriptor>,
    /// Its real path then.
    pub real: PathBuf,
    /// What is in it is polled.
    pub poll: bool,
    /// The paths in it.
    pub members: Vec<PathId>,
    /// The nearest of the directories known before whose path this one begins with.
    pub above: Option<usize>,
    /// Those it is that to: where they lead is looked at anew when this one's is.
    pub below: Vec<usize>,
}

impl Directory {
    /// It was not there when what tells of its coming was watched already: as
    /// long as no event comes, nothing in it is there.
    pub fn is_absent(&self) -> bool {
        self.wd.is_none() && !self.poll
    }
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub struct Directories {
    list: Vec<Directory>,
    by_path: FxHashMap<Vec<u8>, usize>,
}

impl Directories {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The places of those whose real path is this one, or below.
    pub fn at_or_below<'a>(&'a self, real: &'a Path) -> impl Iterator<Item = usize> + 'a {
        let places = self.list.iter().enumerate();
        places.filter(move |(_, folder)| folder.real.starts_with(real)).map(|(at, _)| at)
    }

    /// The place in the list of the directory of this spelling, and whether it is new there:
    /// then nothing is known of it but which one is above.
    pub fn spelled(&mut self, path: &[u8]) -> (usize, bool) {
        if let Some(&known) = self.by_path.get(path) {
            return (known, false);
        }
        let new = self.list.len();
        let mut ancestors = std::iter::successors(split(path), |(path, _)| split(path));
        let above = ancestors.find_map(|(path, _)| self.by_path.get(path).copied());
        if let Some(above) = above {
            self.list[above].below.push(new);
        }
        self.by_path.insert(path.to_vec(), new);
        self.list.push(Directory {
            path: path.to_vec(),
            wd: None,
            real: PathBuf::new(),
            poll: false,
            members: Vec::new(),
            above,
            below: Vec::new(),
        });
        (new, true)
    }
}

impl Index<usize> for Directories {
    type Output = Directory;

    fn index(&self, at: usize) -> &Directory {
        &self.list[at]
    }
}

impl IndexMut<usize> for Directories {
    fn index_mut(&mut self, at: usize) -> &mut Directory {
        &mut self.list[at]
    }
}

/// The directory of a path, as it is spelled, and the name there.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}
