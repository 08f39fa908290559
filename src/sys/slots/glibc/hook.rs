//! What stands in for a function of libc: tells, and makes the call.

use super::looks::look_if_loaded;
use super::served::{is_served, tell};
use crate::sys::slots::call::{Call, Observer, Outcome, Verdict};
use std::ffi::{CStr, c_char, c_int};

/// Makes a call, and tells of it if it is to be told.
///
/// Nothing here has a destructor, so that a thread may be cancelled in the call.
pub fn through<'a, R>(
    call: impl FnOnce() -> Option<Call<'a>>,
    make: impl FnOnce() -> R,
    outcome: impl FnOnce(&R) -> Outcome<'a>,
) -> R {
    if !is_served() {
        return make();
    }
    look_if_loaded();
    let Some(call) = call() else { return make() };
    let verdict = tell(|observer: &dyn Observer| observer.before(&call));
    let result = make();
    if verdict == Some(Verdict::Tell) {
        let outcome = outcome(&result);
        tell(|observer| observer.after(&call, &outcome));
    }
    result
}

/// What came of a function that returns -1 when it fails.
pub fn done(result: &c_int) -> Outcome<'static> {
    if *result == -1 { failed() } else { Outcome::Done }
}

/// What came of a function that returns a null pointer when it fails.
pub fn opened<T>(result: &*mut T) -> Outcome<'static> {
    if result.is_null() { failed() } else { Outcome::Done }
}

/// What came of a function that returns a string, or a null pointer.
///
/// # Safety
/// Not null, it is a string.
pub unsafe fn string<'a>(result: *mut c_char) -> Outcome<'a> {
    if result.is_null() {
        return failed();
    }
    // SAFETY: the caller promises.
    Outcome::Target(unsafe { CStr::from_ptr(result) }.to_bytes())
}

/// The call failed, which `errno` says why.
pub fn failed() -> Outcome<'static> {
    Outcome::Failed(nix::errno::Errno::last_raw())
}

/// Defines hooks, each as a module of the function's name, and `HOOKS`, all of them.
///
/// A function is given with its signature, what it is about to do, as an `Option<Call>`,
/// and what has come of `result`. One that is marked `variadic` has its last argument among
/// those of a C function with variable arguments.
macro_rules! hooks {
    ($($(#[$kind:ident])? fn $name:ident($($argument:ident: $type:ty),*) -> $returns:ty {
        $call:expr => |$result:ident| $outcome:expr
    })*) => {
        $(
            #[allow(non_snake_case)]
            pub mod $name {
                use super::*;

                pub static HOOK: $crate::sys::slots::glibc::table::Hook = $crate::sys::slots::glibc::table::Hook {
                    name: $crate::sys::slots::glibc::table::name(concat!(stringify!($name), "\0")),
                    original: std::sync::atomic::AtomicUsize::new(0),
                    function: $crate::sys::slots::glibc::table::Function(enter as *const ()),
                };

                // SAFETY: called by C code as the function that it stands in for. `C-unwind`,
                // as cancelling a thread unwinds through it.
                unsafe extern "C-unwind" fn enter($($argument: $type),*) -> $returns {
                    $crate::sys::slots::glibc::hook::through(
                        // SAFETY: the arguments are those of the C function.
                        #[allow(unused_unsafe)]
                        || unsafe { $call },
                        || {
                            let original =
                                HOOK.original.load(std::sync::atomic::Ordering::Relaxed);
                            // SAFETY: the address of the function of this name, which was
                            // stored before this one was put in its place; its arguments are
                            // handed on as they are.
                            unsafe {
                                $crate::sys::slots::glibc::hook::call!(
                                    $($kind)? original, ($($argument: $type),*) -> $returns
                                )
                            }
                        },
                        // SAFETY: as above, and what the function has returned.
                        #[allow(unused_unsafe)]
                        |$result| unsafe { $outcome },
                    )
                }
            }
        )*

        /// All of them.
        pub static HOOKS: &[&$crate::sys::slots::glibc::table::Hook] = &[$(&$name::HOOK),*];
    };
}

/// Calls the function at an address.
macro_rules! call {
    (variadic $address:ident, ($first:ident: $one:ty, $second:ident: $two:ty, $last:ident: $kind:ty) -> $returns:ty) => {
        std::mem::transmute::<usize, unsafe extern "C-unwind" fn($one, $two, ...) -> $returns>(
            $address,
        )($first, $second, $last)
    };
    (variadic $address:ident, ($first:ident: $one:ty, $second:ident: $two:ty, $third:ident: $three:ty, $last:ident: $kind:ty) -> $returns:ty) => {
        std::mem::transmute::<usize, unsafe extern "C-unwind" fn($one, $two, $three, ...) -> $returns>(
            $address,
        )($first, $second, $third, $last)
    };
    ($address:ident, ($($argument:ident: $type:ty),*) -> $returns:ty) => {
        std::mem::transmute::<usize, unsafe extern "C-unwind" fn($($type),*) -> $returns>(
            $address,
        )($($argument),*)
    };
}

pub(crate) use {call, hooks};
