//! Loading libraries, and looking for functions in them.
//!
//! Both functions look at who calls them: `dlopen` at its run path, `dlsym` at what it can
//! see. So our code is run first, and then jumps to the original with everything as the
//! caller left it. Whatever was loaded is looked at when a function of it is asked
//! for, which comes before any of its calls but those of its constructors.
//!
//! LuaJIT's `ffi.C` finds functions by `dlsym`: where that would be one that is hooked, it gets
//! the hook.

use super::looks::{expect_more, look_if_loaded};
use super::objects::adopt;
use super::served::{is_served, tell};
use super::table::{Function, Hook, find};
use crate::sys::slots::call::{Call, Place};
use std::arch::naked_asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::AtomicUsize;

/// All of them.
pub static HOOKS: &[&Hook] = &[&DLOPEN, &DLSYM];

static DLOPEN: Hook = Hook {
    name: c"dlopen",
    original: AtomicUsize::new(0),
    function: Function(enter_dlopen as *const ()),
};

static DLSYM: Hook = Hook {
    name: c"dlsym",
    original: AtomicUsize::new(0),
    function: Function(enter_dlsym as *const ()),
};

/// Before `dlopen`; the answer is always "go on".
extern "C" fn before_dlopen(path: *const c_char, _: c_int) -> usize {
    if is_served() {
        expect_more();
        // SAFETY: what the C function was given.
        if let Some(place) = unsafe { Place::new(path) } {
            tell(|observer| observer.before(&Call::Load { place }));
        }
    }
    0
}

/// Before `dlsym`: our function, or 0 for "go on".
extern "C" fn before_dlsym(library: *mut c_void, name: *const c_char) -> usize {
    if !is_served() {
        return 0;
    }
    look_if_loaded();
    if library == libc::RTLD_NEXT || name.is_null() {
        return 0;
    }
    // SAFETY: what the C function was given.
    let Some(hook) = find(unsafe { CStr::from_ptr(name) }) else { return 0 };
    // SAFETY: likewise; that it is our library which asks makes no difference for
    // a function of libc.
    let found = unsafe { libc::dlsym(library, name) } as usize;
    if found != 0 && adopt(hook, found) { hook.function.0 as usize } else { 0 }
}

/// Calls the first function with the two arguments; returns what it returns, or, if that
/// is 0, jumps to where the second one, a variable, says.
macro_rules! first_then_jump {
    ($first:path, $hook:path) => {{
        #[cfg(target_arch = "x86_64")]
        naked_asm!(
            "push rdi",
            "push rsi",
            // The stack is aligned for the call.
            "sub rsp, 8",
            "call {first}",
            "add rsp, 8",
            "pop rsi",
            "pop rdi",
            "test rax, rax",
            "jnz 2f",
            "lea rax, [rip + {hook}]",
            "jmp qword ptr [rax + {original}]",
            "2:",
            "ret",
            first = sym $first,
            hook = sym $hook,
            original = const std::mem::offset_of!(Hook, original),
        );
        #[cfg(target_arch = "aarch64")]
        naked_asm!(
            // A landing pad for indirect jumps, where these are guarded.
            "hint #34",
            "stp x29, x30, [sp, #-32]!",
            "mov x29, sp",
            "stp x0, x1, [sp, #16]",
            "bl {first}",
            "mov x16, x0",
            "ldp x0, x1, [sp, #16]",
            "ldp x29, x30, [sp], #32",
            "cbnz x16, 2f",
            "adrp x17, {hook}",
            "add x17, x17, :lo12:{hook}",
            "ldr x17, [x17, #{original}]",
            "br x17",
            "2:",
            "mov x0, x16",
            "ret",
            first = sym $first,
            hook = sym $hook,
            original = const std::mem::offset_of!(Hook, original),
        );
    }};
}

// SAFETY: two arguments in registers and one result, as the C function has; what the
// calling convention has kept by the callee is kept.
#[unsafe(naked)]
unsafe extern "C" fn enter_dlopen() {
    first_then_jump!(before_dlopen, DLOPEN)
}

// SAFETY: as above.
#[unsafe(naked)]
unsafe extern "C" fn enter_dlsym() {
    first_then_jump!(before_dlsym, DLSYM)
}
