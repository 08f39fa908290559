//! The hooks, and putting them into the slots, for glibc.

mod asks;
mod changes;
mod hook;
mod lists;
mod loads;
mod looks;
mod objects;
mod opens;
mod raw;
mod runs;
mod served;
mod table;
#[cfg(test)]
mod tests;

use crate::sys::slots::call::Observer;
use crate::sys::slots::found::{Found, Unsupported};
pub use served::serve_this_process;
use std::ffi::c_void;

/// From now on this thread's calls are told to `observer`, which is kept for good. A clone
/// that becomes the program says so by [`serve_this_process`].
///
/// Some slots may be refused: where a library was sealed for good. Of these calls nothing is
/// told.
///
/// # Errors
/// None here.
pub fn install(observer: Box<dyn Observer>) -> Result<Found, Unsupported> {
    stay();
    served::serve(observer);
    Ok(look())
}

/// Has all calls go where they went, those through addresses that somebody has kept aside.
pub fn remove() {
    served::serve_nobody();
    looks::restore();
}

/// Looks at libraries that were loaded since. Needs not be called for those
/// that `dlopen` loads.
pub fn look() -> Found {
    table::fill(&[
        opens::HOOKS,
        asks::HOOKS,
        lists::HOOKS,
        lists::OWN,
        changes::HOOKS,
        changes::WITH_TWO,
        loads::HOOKS,
        raw::HOOKS,
        runs::HOOKS,
    ]);
    looks::look()
}

/// Has this library stay loaded, as slots of others lead into it: `lua_close` would unload it.
fn stay() {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address of our own, and a structure to be filled, which zeroed bytes are a
    // valid one of; the name is a string.
    unsafe {
        if libc::dladdr(stay as *const c_void, info.as_mut_ptr()) != 0 {
            let name = info.assume_init().dli_fname;
            libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
        }
    }
}
