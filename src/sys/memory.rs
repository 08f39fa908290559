//! Memory that is set aside, so that running out of it ends nobody.
//!
//! Where an allocation fails, Lua raises an error, which the program may outlive;
//! Rust ends the process. So some memory is held back, and given up when there is
//! no other: enough for us to come to the end of what we are at. Who begins
//! something asks first whether it is there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// More than a stop point takes, and little enough to be part of the heap. It costs
/// nothing, as nobody writes to it.
const RESERVE: Layout = Layout::new::<[u128; 4096]>();

static HELD: AtomicPtr<u8> = AtomicPtr::new(null_mut());

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: all memory is the system allocator's, asked as we were asked.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for the caller.
        or_again(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for the caller.
        or_again(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for the caller; one that failed has left `old` as it was.
        or_again(|| unsafe { System.realloc(old, layout, size) })
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(old, layout) }
    }
}

fn or_again(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let found = allocate();
    if !found.is_null() {
        return found;
    }
    let held = HELD.swap(null_mut(), Ordering::Relaxed);
    if held.is_null() {
        return held;
    }
    // SAFETY: it came from there, with this layout, and nobody else has it now.
    unsafe { System.dealloc(held, RESERVE) };
    allocate()
}

/// Whether there is memory to begin something with.
pub fn is_set_aside() -> bool {
    if HELD.load(Ordering::Relaxed).is_null() {
        // SAFETY: the layout is not of nothing.
        HELD.store(unsafe { System.alloc(RESERVE) }, Ordering::Relaxed);
    }
    !HELD.load(Ordering::Relaxed).is_null()
}
