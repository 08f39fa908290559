//! What the program itself has written.

use super::carried::{Descriptors, Emptied};
use crate::files::Stamp;
use crate::files::path::may;
use crate::sys::descriptors::lowest_free;
use crate::wire::record::Index;
use nix::unistd::AccessFlags;
use rustc_hash::FxHashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the program is about to do to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write it from its beginning; it need not be there.
    Make,
    /// Write at its end; it need not be there. Logs are so written: they grow
    /// with every run, resumed or not.
    Append,
    /// Write to it where it is.
    Update,
    /// Remove it or give it another name.
    Move,
}

/// The files that the program has changed.
pub struct Writes {
    /// Those that it has made anew, and the checkpoint before that.
    made: FxHashMap<Vec<u8>, Option<Index>>,
    /// Those that it has opened with `w+`.
    emptied: Emptied,
}

impl Writes {
    /// None so far.
    pub fn new() -> Writes {
        Writes { made: FxHashMap::default(), emptied: Emptied::new() }
    }

    /// Notes a change that is about to be made. Returns the checkpoint before the first
    /// change of a file that is changed for the second time, with `current` in between: a
    /// resume from there would find the file as the second has left it.
    pub fn note(
        &mut self,
        path: &[u8],
        change: Change,
        current: Option<Index>,
    ) -> Option<Option<Index>> {
        match self.made.get(path) {
            Some(&before) if before != current => Some(before),
            Some(_) => None,
            None => {
                if change == Change::Make {
                    self.made.insert(path.to_vec(), current);
                }
                None
            }
        }
    }

    /// Whether a file that the program has made is being written by it still.
    pub fn is_unfinished(&self, path: &[u8]) -> bool {
        let identity = || Stamp::of_file(path).identity();
        self.made.contains_key(path)
            && identity().is_some_and(|file| Descriptors::survey().writes(file))
    }

    /// The program is about to open `path` for writing and reading, and thereby to empty it.
    pub fn note_emptied(&mut self, path: &[u8]) {
        if let Ok(descriptor) = lowest_free() {
            self.emptied.insert(descriptor, PathBuf::from(OsStr::from_bytes(path)));
        }
    }

    /// The files that were so emptied.
    pub fn emptied(&self) -> &Emptied {
        &self.emptied
    }
}

/// Whether an attempt to change `path` can succeed: only then there will be an
/// event that is our own.
pub fn can_succeed(path: &[u8], change: Change) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    let is_writable = |path: &Path| may(path, AccessFlags::W_OK);
    match (std::fs::symlink_metadata(path), change) {
        (Ok(_), Change::Move) => path.parent().is_some_and(is_writable),
        (Ok(_), Change::Make | Change::Append | Change::Update) => {
            is_writable(path) && !path.is_dir()
        }
        (Err(_), Change::Make | Change::Append) => path.parent().is_some_and(is_writable),
        (Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        use Change::{Append, Make, Move, Update};
        prop::sample::select(vec![Make, Append, Update, Move])
    }

    proptest! {
        /// Only a file that was made anew gives checkpoints up, and only those since then.
        #[test]
        fn a_second_change_goes_back_to_before_the_first(
            changes in prop::collection::vec(("[ab]", change(), 0u32..2), 0..30)
        ) {
            let mut writes = Writes::new();
            let mut first: FxHashMap<String, Index> = FxHashMap::default();
            let mut current = 0;
            for (path, change, checkpoints) in changes {
                current += checkpoints;
                let back = writes.note(path.as_bytes(), change, Some(current));
                let expected = first.get(&path).copied().filter(|made| *made != current);
                prop_assert_eq!(back, expected.map(Some));
                if change == Change::Make {
                    first.entry(path).or_insert(current);
                }
            }
        }
    }
}
