//! The native module `forkmon.core`: checkpoints, the supervisor, watching.
//!
//! Pure logic (`timeline`, `supervisor::machine`, `watch::table`, `messages`)
//! never touches the system; the system layer (`sys`) never decides; `program`,
//! `supervisor` and `guard` are the three processes' short loops between them. Without a
//! Lua feature the crate is exactly this; with one, `binding` makes it loadable.

pub mod board;
pub mod checkpoint;
pub mod control;
pub mod descriptors;
pub mod effects;
pub mod guard;
pub mod json;
pub mod messages;
pub mod paths;
pub mod placement;
pub mod probe;
pub mod program;
pub mod report;
pub mod scout;
pub mod searches;
pub mod settings;
pub mod supervisor;
pub mod sys;
pub mod terminal;
pub mod timeline;
pub mod watch;

#[cfg(any(
    feature = "lua51",
    feature = "lua52",
    feature = "lua53",
    feature = "lua54",
    feature = "lua55",
    feature = "luajit"
))]
mod binding;
