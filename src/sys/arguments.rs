//! The arguments of this process, where its `main` reads them.
//!
//! An interpreter that has run the main script already, as we had it do in its `LUA_INIT`,
//! comes to load it all the same. It finds an empty file by the argument that names it.
//! What others see of the command line are the strings, which stay.

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static FIRST: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// glibc hands what `main` was given to what a library has run when it is loaded. Others do
/// not, and leave `FIRST` as it is.
#[cfg(target_env = "gnu")]
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn(c_int, *mut *const c_char) = note;

#[cfg(target_env = "gnu")]
extern "C" fn note(count: c_int, first: *mut *const c_char) {
    COUNT.store(count.try_into().unwrap_or(0), Ordering::Relaxed);
    FIRST.store(first, Ordering::Relaxed);
}

/// Has `main` find something else as the argument with this number. False where its
/// arguments are not known.
pub fn hide_argument(number: usize, stand_in: &'static CStr) -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    if first.is_null() || number >= COUNT.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: `main` was given as many pointers, which stay where they are and may be
    // written to. The string that takes the place of one lasts. This is the program's one
    // thread, and its `main` is not at reading them: it has called us.
    unsafe { first.add(number).write(stand_in.as_ptr()) };
    true
}
