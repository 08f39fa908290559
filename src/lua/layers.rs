//! What the hooks in Lua and those in C know of each other.

use super::enabled::with;
use super::filter::is_watched;
use crate::files::Stamp;
use crate::files::answer::{Answer, Question};
use crate::program::scout::Scout;
use crate::wire::record::Index;
use mlua::{Lua, Result};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// So many reported paths of the hooks in Lua wait for the C code that they announce: as many
/// as one function may have.
const MOST_COVERED: usize = 4;

thread_local! {
    static SCOUT: RefCell<Scout> = RefCell::default();
    static COVERED: RefCell<VecDeque<Vec<u8>>> = RefCell::default();
    static UNDECIDED: RefCell<Vec<Undecided>> = RefCell::default();
    static JOINS: Cell<bool> = const { Cell::new(false) };
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
}

/// Something of which it is not known whether the filter takes it.
pub struct Undecided {
    /// Absolute path.
    pub path: Vec<u8>,
    /// The checkpoint that it belongs to.
    pub checkpoint: Option<Index>,
    /// What happened to it.
    pub what: What,
}

/// What the program has done by C code.
pub enum What {
    /// Opened what looked so.
    Opened(Stamp),
    /// Asked this, and was told that.
    Told(Question, Answer),
}

/// Whether C code is observed.
pub fn is_observing() -> bool {
    INSTALLED.get()
}

/// A hook in Lua has reported what C code is about to do to this absolute path.
pub fn cover(path: &[u8]) {
    if is_observing() {
        COVERED.with_borrow_mut(|covered| {
            if covered.len() == MOST_COVERED {
                covered.pop_front();
            }
            covered.push_back(path.to_vec());
        });
    }
}

/// C code is observed from now on, or no more. Returns whether it was.
pub fn set_observing(observing: bool) -> bool {
    INSTALLED.replace(observing)
}

/// From now on nothing is a stop point, or everything again.
pub fn set_joins(joins: bool) {
    JOINS.set(joins);
}

/// Whether nothing is a stop point.
pub fn joins() -> bool {
    JOINS.get()
}

/// Who looks where searches will, with what it has seen last.
pub fn take_scout() -> Scout {
    SCOUT.take()
}

/// Puts it back.
pub fn give_scout(scout: Scout) {
    SCOUT.set(scout);
}

/// Asks the filter about what it could not be asked about before.
///
/// # Errors
/// The filter's.
pub fn decide_queued(lua: &Lua) -> Result<()> {
    for Undecided { path, checkpoint, what } in UNDECIDED.take() {
        if is_watched(lua, &path)? {
            with(|program| match what {
                What::Opened(stamp) => program.opened(&path, stamp, checkpoint),
                What::Told(question, answer) => {
                    program.told(&path, question, answer, Stamp::Absent, checkpoint);
                }
            });
        }
    }
    Ok(())
}

/// The filter is to be asked later.
pub fn decide_later(undecided: Undecided) {
    UNDECIDED.with_borrow_mut(|queue| queue.push(undecided));
}

/// Whether a hook in Lua has reported what is about to be done to a path. Said once.
pub fn is_covered(path: &[u8]) -> bool {
    COVERED.with_borrow_mut(|covered| {
        let at = covered.iter().position(|known| known == path);
        at.is_some_and(|at| covered.remove(at).is_some())
    })
}

/// Whether the last search looked for a file at this absolute path.
pub fn was_looked_for(path: &[u8]) -> bool {
    SCOUT.with_borrow(|scout| scout.trail().iter().any(|place| place.path == path))
}
