//! The program of this process, once forkmon is enabled in it.

use crate::program::{Program, Resume};
use crate::report;
use crate::sys::memory::is_set_aside;
use std::cell::RefCell;

thread_local! {
    /// The program of this process. A clone has its own copy, as of everything.
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
    static UNHEARD: RefCell<Option<Resume>> = const { RefCell::new(None) };
}

/// The program is resumed where it cannot be told.
pub fn resumed_unheard(resume: Option<Resume>) {
    if resume.is_some() {
        UNHEARD.set(resume);
    }
}

/// A resume that the program has not been told of.
pub fn take_unheard() -> Option<Resume> {
    UNHEARD.take()
}

/// From now on this process is that program.
pub fn set(program: Program) {
    PROGRAM.set(Some(program));
}

/// Runs `action` on the program, if forkmon is enabled in this process.
pub fn with<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    PROGRAM.with_borrow_mut(|program| program.as_mut().map(action))
}

/// As [`with`], from where it may be at work already.
pub fn try_with<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    PROGRAM.with(|program| program.try_borrow_mut().ok()?.as_mut().map(action))
}

/// Whether there is memory to take strings from Lua with, which takes some.
pub fn has_memory() -> bool {
    let has_memory = is_set_aside();
    if !has_memory {
        report::warn_of_memory();
    }
    has_memory
}

/// As [`with`], if there is memory.
pub fn with_memory<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    if has_memory() { with(action) } else { None }
}
