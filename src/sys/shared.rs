//! Memory that the program, its checkpoints and the supervisor share.
//!
//! A `MAP_SHARED` anonymous mapping survives every clone and, unlike a socket
//! or a pipe, cannot be closed by a program that closes "all" descriptors, nor
//! does it show in the program's descriptor table.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZeroUsize;
use std::ops::Deref;

/// Types for which all-zero bytes are a value and which are safe to use from
/// several processes at once.
///
/// # Safety
/// Implement it only for types made of atomic integers, without padding that is
/// read and without pointers.
pub unsafe trait SharedMemory: Sync {}

/// A `T` in shared memory, kept until the process ends.
pub struct Shared<T: SharedMemory + 'static>(&'static T);

impl<T: SharedMemory> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: SharedMemory> Copy for Shared<T> {}

impl<T: SharedMemory> Shared<T> {
    /// Maps a zeroed `T`. Pages are only taken when they are first written.
    ///
    /// # Errors
    /// `ENOMEM` when the address space or the limit on mappings is used up.
    pub fn new() -> nix::Result<Self> {
        let length = NonZeroUsize::new(size_of::<T>()).expect("a shared type has a size");
        // SAFETY: a fresh anonymous mapping aliases nothing.
        let address = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE,
            )?
        };
        // SAFETY: the mapping is page-aligned, large enough, zeroed (a value of
        // T by the trait's contract) and never unmapped.
        Ok(Shared(unsafe { address.cast::<T>().as_ref() }))
    }
}

impl<T: SharedMemory> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

// SAFETY: the board is made of atomic integers only, is `repr(C)`, and zero is
// the empty board.
unsafe impl SharedMemory for crate::board::Board {}
