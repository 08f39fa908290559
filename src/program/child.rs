//! The last subprocess, whose reads the program may tell of afterwards.

use crate::files::{Stamp, TICK};
use crate::wire::record::Index;
use std::time::SystemTime;

/// When it was started.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// The last checkpoint before.
    pub checkpoint: Option<Index>,
    /// The time, in nanoseconds since the epoch, less the tick that stamps may be behind.
    began: i64,
}

impl Child {
    /// One that is about to be started.
    pub fn now(checkpoint: Option<Index>) -> Child {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default().saturating_sub(TICK);
        Child { checkpoint, began: since.as_nanos() as i64 }
    }

    /// Whether it is certain that it has read what has this stamp now: that was saved before.
    pub fn has_read(&self, stamp: Stamp) -> bool {
        !stamp.is_newer_than(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_after_it_was_started_may_have_been_another() {
        let child = Child::now(Some(3));
        let saved = |modified| Stamp::File { device: 1, inode: 1, size: 1, modified, changed: 0 };
        assert!(child.has_read(saved(child.began)) && child.has_read(Stamp::Absent));
        assert!(!child.has_read(saved(child.began + 1)));
    }
}
