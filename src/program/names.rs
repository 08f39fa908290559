//! Names of files and folders, whatever the path they were found in.
//!
//! A file has as many paths as there are links to it and to the folders above. What the
//! program is about to change may be something that it depends on by another path. Names are
//! a quick way to rule that out: whichever path it is, it ends in the name of the file or of a
//! folder above, or it is another name of the same file, which the file itself tells.

use crate::files::{Stamp, digest};
use rustc_hash::FxHashSet;

/// The names in some paths, and the files that were there.
#[derive(Default)]
pub struct Names {
    names: FxHashSet<u64>,
    folders: FxHashSet<u64>,
    files: FxHashSet<(u64, u64)>,
}

impl Names {
    /// Adds those in a path, at which there is a file of this stamp.
    pub fn add(&mut self, path: &[u8], stamp: Stamp) {
        self.files.extend(stamp.identity());
        let (folder, name) = split(path);
        self.names.insert(digest(name));
        // Most paths share their folder with others.
        if self.folders.insert(digest(folder)) {
            self.names.extend(folder.split(|byte| *byte == b'/').map(digest));
        }
    }

    /// False only when nothing that becomes of `path` concerns one of those.
    pub fn may_concern(&self, path: &[u8]) -> bool {
        if self.folders.is_empty() {
            return false;
        }
        self.names.contains(&digest(split(path).1))
            || Stamp::of_file(path).identity().is_some_and(|file| self.files.contains(&file))
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|byte| *byte == b'/');
    at.map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_has_the_name_of_a_file_or_a_folder_above_may_concern_it(
            paths in prop::collection::vec("(/[a-c]{1,2}){1,4}", 1..6), which in any::<prop::sample::Index>()
        ) {
            let mut names = Names::default();
            prop_assert!(!names.may_concern(b"/a"));
            for path in &paths {
                names.add(path.as_bytes(), Stamp::Absent);
            }
            let path = &paths[which.index(paths.len())];
            for name in path.split('/').skip(1) {
                let elsewhere = format!("/elsewhere/{name}");
                prop_assert!(names.may_concern(elsewhere.as_bytes()));
            }
            prop_assert!(!names.may_concern(b"/a/other"));
        }
    }
}
