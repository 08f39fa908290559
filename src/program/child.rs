//! The last subprocess, whose reads the program may tell of afterwards.

use crate::files::Stamp;
use crate::wire::record::Index;
use std::time::SystemTime;

/// When it was started.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// The last checkpoint before.
    pub checkpoint: Option<Index>,
    /// The time, in nanoseconds since the epoch.
    began: i64,
}

impl Child {
    /// One that is about to be started.
    pub fn now(checkpoint: Option<Index>) -> Child {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Child { checkpoint, began: since.unwrap_or_default().as_nanos() as i64 }
    }

    /// Whether it is certain that it has read what has this stamp now: that was saved before,
    /// by a clock that may be a tick behind.
    pub fn has_read(&self, stamp: Stamp) -> bool {
        !stamp.is_newer_than(self.began - stamp.tick().as_nanos() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_after_it_was_started_may_have_been_another() {
        let child = Child::now(Some(3));
        let saved = |modified| {
            let changed = modified | 1;
            Stamp::File { device: 1, inode: 1, size: 1, modified, changed }
        };
        let last = child.began - saved(0).tick().as_nanos() as i64;
        assert!(child.has_read(saved(last)) && child.has_read(Stamp::Absent));
        assert!(!child.has_read(saved(last + 1)));
    }
}
