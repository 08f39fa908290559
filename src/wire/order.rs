//! The orders to a parked process.

use nix::sys::signal::Signal;

/// The signal that wakes a checkpoint. Any would do: a parked process has all of
/// them blocked, and what it does not expect it ignores.
pub const WAKE: Signal = Signal::SIGUSR1;

/// The order to a mold to clone itself into a program that runs on.
pub const ORDER_RESUME: u32 = 0;
/// The order to a mold to make a spare.
pub const ORDER_SPARE: u32 = 1;

/// An order to a parked process, as it stands on the board. In one word, as one
/// who takes it must not find the order of the next.
pub fn summons(pid: i32, order: u32) -> u64 {
    (pid as u64) << 32 | u64::from(order)
}
