//! What is known from the run before: what it read and the present one has not read yet.

use super::timeline::Dependency;
use crate::files::PathId;
use crate::wire::record::Index;
use rustc_hash::FxHashMap;
use std::collections::{HashMap, HashSet};

/// The dependencies of the run before, as long as they count.
#[derive(Debug, Default)]
pub struct Former {
    /// What it read after the resume point and the present run has not read yet.
    unread: HashMap<PathId, Dependency>,
    /// What became a dependency again as a run was killed before it read it, once.
    revived: HashSet<PathId>,
    /// What was read before `enable()` the last time, as that was when the command was run.
    before: FxHashMap<PathId, Dependency>,
}

impl Former {
    /// A run from checkpoint `index` is to find these out again.
    pub fn rewound(&mut self, forgotten: Vec<(PathId, Dependency)>, index: Index) {
        self.unread.extend(forgotten);
        for known in self.unread.values_mut() {
            known.checkpoint = Some(index);
        }
    }

    /// The command that is run anew is to find these out again, as they are now or later.
    pub fn restarted(
        &mut self,
        forgotten: Vec<(PathId, Dependency)>,
        renew: impl Fn(PathId, &mut Dependency),
    ) {
        self.rewound(forgotten, 0);
        for (id, known) in &mut self.unread {
            renew(*id, known);
        }
    }

    /// The command has come to `enable()`, and is about to tell what it has read up to
    /// there. `before` is what it read there the last time.
    pub fn enabled(&mut self, before: FxHashMap<PathId, Dependency>) {
        self.unread.clear();
        self.revived.clear();
        self.before = before;
    }

    /// The present run has read it.
    pub fn read(&mut self, id: PathId) {
        self.unread.remove(&id);
        self.revived.remove(&id);
    }

    /// What a path that was read before `enable()` was like the last time.
    pub fn take_before(&mut self, id: PathId) -> Option<Dependency> {
        self.before.remove(&id)
    }

    /// The present run has ended by itself: what it has not read it would not have read.
    pub fn forget_unread(&mut self) {
        self.unread.clear();
    }

    /// Who killed the program kept it from reading what the last run did, which a
    /// cold run would read: a change to that must not go unnoticed. Only once,
    /// however, does a change that came before count, as it may be the program's
    /// own, and it may have killed itself. Returns what counts again.
    pub fn revive(&mut self, renew: impl Fn(PathId, &mut Dependency)) -> Vec<(PathId, Dependency)> {
        let mut revived: Vec<_> = self.unread.drain().collect();
        for (id, known) in &mut revived {
            let is_first = self.revived.insert(*id);
            if !is_first {
                renew(*id, known);
            }
        }
        revived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Stamp;

    fn as_9(_: PathId, known: &mut Dependency) {
        (known.stamp, known.content) = (stamp(9), None);
    }

    fn stamp(size: u64) -> Stamp {
        Stamp::File { device: 1, inode: 1, size, modified: 0, changed: 0 }
    }

    fn forgotten(id: PathId) -> Vec<(PathId, Dependency)> {
        vec![(
            id,
            Dependency {
                checkpoint: Some(7),
                stamp: stamp(1),
                content: Some(3),
                digest: None,
                asked: None,
            },
        )]
    }

    #[test]
    fn what_a_killed_run_did_not_read_counts_as_it_was_but_once() {
        let mut former = Former::default();
        former.rewound([forgotten(1), forgotten(2)].concat(), 4);
        former.read(2);
        let known = Dependency {
            checkpoint: Some(4),
            stamp: stamp(1),
            content: Some(3),
            digest: None,
            asked: None,
        };
        assert_eq!(former.revive(as_9), [(1, known)]);
        former.rewound(forgotten(1), 4);
        let known = Dependency {
            checkpoint: Some(4),
            stamp: stamp(9),
            content: None,
            digest: None,
            asked: None,
        };
        assert_eq!(former.revive(as_9), [(1, known)]);
        // Read meanwhile, it may count once more.
        former.read(1);
        former.rewound(forgotten(1), 4);
        assert_eq!(former.revive(as_9)[0].1.stamp, stamp(1));
    }

    #[test]
    fn a_command_that_is_run_anew_reads_what_is_there_by_then() {
        let mut former = Former::default();
        former.restarted(forgotten(1), as_9);
        let known = Dependency {
            checkpoint: Some(0),
            stamp: stamp(9),
            content: None,
            digest: None,
            asked: None,
        };
        assert_eq!(former.revive(as_9), [(1, known)]);
        former.restarted(forgotten(1), as_9);
        former.forget_unread();
        assert_eq!(former.revive(as_9), []);
    }
}
