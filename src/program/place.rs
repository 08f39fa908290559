//! Where the program is: in its timeline, and among folders.

use super::child::Child;
use crate::files::Stamp;
use crate::files::path::{LONGEST_PATH, working_directory};
use crate::sys::process::Root;
use crate::wire::record::{Directory, Index};

/// Where the program is. A copy of it is what a clone that fails is taken back to.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The newest checkpoint of this timeline, on which new files depend.
    current: Option<Index>,
    next: Index,
    /// The last subprocess.
    child: Option<Child>,
    /// How many subprocesses it waits for.
    awaited: u32,
    /// The directory in which the program began, by device and inode.
    birthplace: Option<(u64, u64)>,
    /// What absolute paths begin at for the supervisor.
    root: Option<Root>,
}

impl Place {
    /// At the start, in the present directory, before any checkpoint.
    pub fn at_start() -> Place {
        Place {
            current: None,
            next: 0,
            child: None,
            awaited: 0,
            birthplace: Stamp::of_file(b".").identity(),
            root: Root::of_this_process(),
        }
    }

    /// The checkpoint that what is opened now depends on.
    pub fn current(&self) -> Option<Index> {
        self.current
    }

    /// A subprocess is about to be started here.
    pub fn start_child(&mut self) {
        self.child = Some(Child::now(self.current));
    }

    /// The last subprocess.
    pub fn child(&self) -> Option<Child> {
        self.child
    }

    /// The program waits for one more subprocess. Returns whether it is the only one.
    pub fn await_child(&mut self) -> bool {
        self.awaited += 1;
        self.awaited == 1
    }

    /// One has ended. Returns whether that was the last.
    pub fn has_awaited_child(&mut self) -> bool {
        let was_last = self.awaited == 1;
        self.awaited = self.awaited.saturating_sub(1);
        was_last
    }

    /// The next checkpoint is about to be taken: returns its number.
    pub fn advance(&mut self) -> Index {
        let index = self.next;
        (self.current, self.next) = (Some(index), index + 1);
        index
    }

    /// What is opened now depends on an earlier checkpoint.
    pub fn fall_back(&mut self, to: Option<Index>) {
        self.current = to;
    }

    /// The first checkpoint has been tried for. Where there is none, what comes now was
    /// not loaded before `enable()` all the same.
    pub fn leave_start(&mut self) {
        if self.current.is_none() {
            self.advance();
        }
    }

    /// Whether the supervisor finds what this process finds by a path. Not so in a
    /// program that has gone to another root, or among other mounts.
    pub fn is_shared(&self) -> bool {
        Root::of_this_process() == self.root
    }

    /// The directory to which the program has gone, if that is not where it began.
    pub fn elsewhere(&self) -> Option<Directory> {
        let identity = Stamp::of_file(b".").identity();
        if identity == self.birthplace {
            return None;
        }
        let path = working_directory();
        (path.len() <= LONGEST_PATH).then_some(Directory { path, identity: identity? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_numbered_in_order_and_a_failed_one_leaves_no_gap() {
        let mut place = Place::at_start();
        assert_eq!((place.current(), place.advance(), place.current()), (None, 0, Some(0)));
        let before = place;
        assert_eq!(place.advance(), 1);
        place = before;
        assert_eq!((place.current(), place.advance()), (Some(0), 1));
        place.fall_back(Some(0));
        assert_eq!((place.current(), place.advance()), (Some(0), 2));
    }

    #[test]
    fn without_a_first_checkpoint_the_start_is_left_too() {
        let mut place = Place::at_start();
        place.leave_start();
        assert_eq!((place.current(), place.advance()), (Some(0), 1));
        place.leave_start();
        assert_eq!(place.current(), Some(1));
    }
}
