//! What the processes of a session say to one another, and what others ask of it.
//!
//! Theory of operation. The program says *records*, which go through a ring on the
//! *board*, memory that all of them share. The supervisor leaves one *letter* at a time
//! there for the checkpoint that it wakes, and an *order* that tells what to do. What
//! others ask and are told (*control*) goes over a socket.

pub mod answer;
pub mod board;
pub mod codec;
pub mod control;
pub mod letter;
pub mod order;
pub mod record;
pub mod settings;

/// The version of forkmon.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
