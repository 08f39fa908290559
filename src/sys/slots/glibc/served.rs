//! Whom the hooks serve: the program's one thread, in the process that is the program.
//!
//! The thread is known by `pthread_self`, which is an address that stays the same in a
//! clone, costs no system call and may be asked for anywhere. The process is known by
//! its number, which the kernel is asked for: a child of `vfork` shares all memory
//! with the program (libuv starts processes so), and must not be taken for it.

use crate::sys::process::own_pid;
use crate::sys::slots::call::Observer;
use nix::errno::Errno;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};

type Served = &'static dyn Observer;

static THREAD: AtomicUsize = AtomicUsize::new(0);
static PROCESS: AtomicI32 = AtomicI32::new(0);
static OBSERVER: AtomicPtr<Served> = AtomicPtr::new(std::ptr::null_mut());

/// Our own code is at work, or that of a signal that came meanwhile.
static BUSY: AtomicBool = AtomicBool::new(false);

/// From now on calls of this thread are told to `observer`, which is kept for good.
pub fn serve(observer: Box<dyn Observer>) {
    OBSERVER.store(Box::into_raw(Box::new(Box::leak(observer))), Ordering::Relaxed);
    PROCESS.store(own_pid().as_raw(), Ordering::Relaxed);
    THREAD.store(own_thread(), Ordering::Release);
}

/// This process, a clone of the one that was served, is the program now.
pub fn serve_this_process() {
    PROCESS.store(own_pid().as_raw(), Ordering::Relaxed);
}

/// Nothing is told any more.
pub fn serve_nobody() {
    THREAD.store(0, Ordering::Relaxed);
}

/// Whether this is the thread. It may be that of a child.
pub fn is_own_thread() -> bool {
    THREAD.load(Ordering::Acquire) == own_thread()
}

/// Whether what this code is about to do is the program's own.
pub fn is_served() -> bool {
    is_own_thread()
        && !BUSY.load(Ordering::Relaxed)
        && PROCESS.load(Ordering::Relaxed) == own_pid().as_raw()
}

/// Tells the observer something. `None` when it has failed: that is a defect of ours, which
/// the panic's message tells of, and nothing that the program must suffer from.
pub fn tell<R>(what: impl FnOnce(&dyn Observer) -> R) -> Option<R> {
    let errno = Errno::last_raw();
    BUSY.store(true, Ordering::Relaxed);
    let observer = OBSERVER.load(Ordering::Relaxed);
    // SAFETY: only called where `is_own_thread` holds, which is so after `serve` has
    // stored it; it is never freed.
    let told = catch_unwind(AssertUnwindSafe(|| what(unsafe { *observer })));
    BUSY.store(false, Ordering::Relaxed);
    Errno::set_raw(errno);
    told.ok()
}

/// Something that only the served thread touches.
pub struct OfThread<T>(UnsafeCell<T>);

// SAFETY: `with` is called by one thread.
unsafe impl<T> Sync for OfThread<T> {}

impl<T> OfThread<T> {
    /// With this in it.
    pub const fn new(value: T) -> Self {
        OfThread(UnsafeCell::new(value))
    }

    /// Acts on it. To be called where `is_own_thread` holds, and not from within `act`.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one thread, and no other reference lives meanwhile.
        act(unsafe { &mut *self.0.get() })
    }
}

fn own_thread() -> usize {
    // SAFETY: has no precondition.
    unsafe { libc::pthread_self() as usize }
}
