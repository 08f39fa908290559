//! How a session comes about, and what its processes have in common.
//!
//! Theory of operation. `enable()` *splits* one process in three. A command that the
//! supervisor runs anew finds an *invitation* in its environment instead, and joins.
//! All three know by the same rules which *signals* concern the session, who is its
//! *own*, and the *address* by which others reach it.

pub mod address;
pub mod invitation;
pub mod own;
pub mod signals;
pub mod split;
