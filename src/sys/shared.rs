//! Memory that the program, its checkpoints and the supervisor share.
//!
//! A `MAP_SHARED` mapping survives every clone and, unlike a socket or a pipe,
//! cannot be closed by a program that closes "all" descriptors, nor does it show
//! in the program's descriptor table. Only the supervisor keeps the descriptor of
//! the memory (a `memfd`), so that a command that it runs anew can map it, too.

use super::signals::discard;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, ftruncate};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

/// Types for which all-zero bytes are a value and which are safe to use from
/// several processes at once.
///
/// # Safety
/// Implement it only for types made of atomic integers, without padding that is
/// read and without pointers: every bit pattern must be a value, as another
/// process may have written it.
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
    /// Maps a zeroed `T`, and returns the descriptor for others to map it by; none
    /// where there can be no such memory (no free descriptor, `ulimit -f`). Pages are
    /// only taken when they are first written.
    ///
    /// # Errors
    /// `ENOMEM` when the address space or the limit on mappings is used up.
    pub fn new() -> nix::Result<(Self, Option<OwnedFd>)> {
        let Ok(memory) = Self::memory() else {
            return Ok((Self::map(None)?, None));
        };
        Ok((Self::map(Some(&memory))?, Some(memory)))
    }

    fn memory() -> nix::Result<OwnedFd> {
        let memory = memfd_create(c"forkmon", MFdFlags::MFD_CLOEXEC)?;
        // What is written to a standard stream that was closed must not end up here.
        let memory = crate::sys::descriptors::duplicate(memory.as_raw_fd())?;
        let result = ftruncate(&memory, size_of::<T>() as i64);
        if result == Err(Errno::EFBIG) {
            // The limit on the size of files holds here, too.
            discard(Signal::SIGXFSZ);
        }
        result.map(|()| memory)
    }

    /// Maps the `T` that another process has open as `descriptor`.
    ///
    /// # Errors
    /// Of opening it; `EINVAL` when it is not as long as a `T`.
    pub fn of_process(owner: Pid, descriptor: RawFd) -> nix::Result<Self> {
        let path = format!("/proc/{owner}/fd/{descriptor}");
        let memory = open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        if fstat(&memory)?.st_size != size_of::<T>() as i64 {
            return Err(Errno::EINVAL);
        }
        Self::map(Some(&memory))
    }

    fn map(memory: Option<&OwnedFd>) -> nix::Result<Self> {
        let length = NonZeroUsize::new(size_of::<T>()).expect("a shared type has a size");
        let (access, flags) = (
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE,
        );
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing
        // of ours; what other processes do with it, atomics allow for.
        let address = unsafe {
            match memory {
                Some(memory) => mmap(None, length, access, flags, memory, 0)?,
                None => mmap_anonymous(None, length, access, flags)?,
            }
        };
        // SAFETY: the mapping is page-aligned, as long as a T, of bytes that are a
        // value of T by the trait's contract, and never unmapped.
        Ok(Shared(unsafe { address.cast::<T>().as_ref() }))
    }
}

impl<T: SharedMemory> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

// SAFETY: atomic integers, for which every bit pattern is a value.
unsafe impl SharedMemory for AtomicI32 {}
// SAFETY: as above.
unsafe impl SharedMemory for AtomicU32 {}
// SAFETY: as above.
unsafe impl SharedMemory for AtomicU64 {}
// SAFETY: nothing but such values, one behind the other.
unsafe impl<T: SharedMemory, const N: usize> SharedMemory for [T; N] {}

/// Declares a structure that can be shared, as each of its fields can.
macro_rules! shared_memory {
    ($(#[$outer:meta])* $visible:vis struct $name:ident {
        $($(#[$inner:meta])* $field_visible:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$outer])*
        #[repr(C)]
        $visible struct $name {
            $($(#[$inner])* $field_visible $field: $type,)*
        }

        // SAFETY: the bound on each field, and a layout that all builds agree on. Padding
        // is never read.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::shared::SharedMemory for $name
        where
            $($type: $crate::sys::shared::SharedMemory,)*
        {
        }
    };
}
pub(crate) use shared_memory;
