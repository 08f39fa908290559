//! System calls that C code makes by their number.
//!
//! libuv asks so for `statx`, which the libc that it was built for may lack. Only
//! calls with these numbers come to us; with any other, the hook jumps to the original with everything
//! as the caller left it, as some calls return twice, or on another stack.

use super::asks::fields;
use super::hook::{call, failed};
use super::served::{is_served, tell};
use super::table::{Function, Hook};
use crate::sys::slots::call::{Act, Call, Outcome, Place, Verdict};
use crate::sys::status::{Fields, Status};
use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_long, c_uint};
use std::sync::atomic::{AtomicUsize, Ordering};

/// All of them.
pub static HOOKS: &[&Hook] = &[&SYSCALL];

static SYSCALL: Hook = Hook {
    name: c"syscall",
    original: AtomicUsize::new(0),
    function: Function(enter as *const ()),
};

// SAFETY: jumps with all registers as they were, but those that every call may change and that
// hold no argument.
#[unsafe(naked)]
unsafe extern "C" fn enter() {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        "cmp rdi, {statx}",
        "je {ours}",
        "cmp rdi, {openat}",
        "je {ours}",
        "cmp rdi, {openat2}",
        "je {ours}",
        "cmp rdi, {fstatat}",
        "je {ours}",
        "cmp rdi, {faccessat2}",
        "je {ours}",
        "cmp rdi, {renameat2}",
        "je {ours}",
        "lea rax, [rip + {hook}]",
        "jmp qword ptr [rax + {original}]",
        statx = const libc::SYS_statx,
        openat = const libc::SYS_openat,
        openat2 = const libc::SYS_openat2,
        fstatat = const libc::SYS_newfstatat,
        faccessat2 = const libc::SYS_faccessat2,
        renameat2 = const libc::SYS_renameat2,
        ours = sym ours,
        hook = sym SYSCALL,
        original = const std::mem::offset_of!(Hook, original),
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        "hint #34",
        "cmp x0, #{statx}",
        "b.eq {ours}",
        "cmp x0, #{openat}",
        "b.eq {ours}",
        "cmp x0, #{openat2}",
        "b.eq {ours}",
        "cmp x0, #{fstatat}",
        "b.eq {ours}",
        "cmp x0, #{faccessat2}",
        "b.eq {ours}",
        "cmp x0, #{renameat2}",
        "b.eq {ours}",
        "adrp x17, {hook}",
        "add x17, x17, :lo12:{hook}",
        "ldr x17, [x17, #{original}]",
        "br x17",
        statx = const libc::SYS_statx,
        openat = const libc::SYS_openat,
        openat2 = const libc::SYS_openat2,
        fstatat = const libc::SYS_newfstatat,
        faccessat2 = const libc::SYS_faccessat2,
        renameat2 = const libc::SYS_renameat2,
        ours = sym ours,
        hook = sym SYSCALL,
        original = const std::mem::offset_of!(Hook, original),
    );
}

/// As `syscall`, whose variable arguments are where fixed ones would be; what the
/// caller has not given is handed on and not looked at.
unsafe extern "C-unwind" fn ours(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let make = || {
        let original = SYSCALL.original.load(Ordering::Relaxed);
        // SAFETY: see `hooks`.
        unsafe {
            call!(original, (number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long)
        }
    };
    if !is_served() {
        return make();
    }
    // SAFETY: what the system call was given.
    let calls = unsafe { calls(number, [a, b, c, d]) };
    let told = calls.map(|call| {
        let is_told = |call: &Call| tell(|observer| observer.before(call)) == Some(Verdict::Tell);
        call.filter(is_told)
    });
    let result = make();
    for call in told.into_iter().flatten() {
        // SAFETY: what the system call was given, and has filled.
        let outcome = unsafe { outcome(number, result, c, e) };
        tell(|observer| observer.after(&call, &outcome));
    }
    result
}

/// What the system call is about to do, in two places where it has two paths.
unsafe fn calls<'a>(number: c_long, [a, b, c, d]: [c_long; 4]) -> [Option<Call<'a>>; 2] {
    // SAFETY: what the system call was given.
    let place =
        |folder: c_long, path: c_long| unsafe { Place::at(folder as c_int, path as *const c_char) };
    let stat = |flags: c_long, fields: Fields| {
        let follow = flags as c_int & libc::AT_SYMLINK_NOFOLLOW == 0;
        place(a, b).map(|place| Call::Stat { place, follow, fields })
    };
    let one = match number {
        libc::SYS_statx => stat(c, fields(d as c_uint)),
        libc::SYS_newfstatat => stat(d, Fields::GUESSED),
        libc::SYS_openat => place(a, b).map(|place| Call::Open { place, flags: c as c_int }),
        libc::SYS_openat2 if c != 0 => {
            // SAFETY: `open_how`, of which the flags are the first part.
            let flags = unsafe { *(c as *const u64) } as c_int;
            place(a, b).map(|place| Call::Open { place, flags })
        }
        libc::SYS_faccessat2 => {
            let effective = d as c_int & libc::AT_EACCESS != 0;
            place(a, b).map(|place| Call::Access { place, mode: c as c_int, effective })
        }
        libc::SYS_renameat2 => {
            let change =
                |folder, path, act| place(folder, path).map(|place| Call::Change { place, act });
            return [change(a, b, Act::MoveAway), change(c, d, Act::MoveHere)];
        }
        _ => None,
    };
    [one, None]
}

unsafe fn outcome(
    number: c_long,
    result: c_long,
    third: c_long,
    fifth: c_long,
) -> Outcome<'static> {
    if result == -1 {
        return failed();
    }
    // SAFETY: the system call has filled its structure.
    unsafe {
        match number {
            libc::SYS_statx => Outcome::Status(Status::from(&*(fifth as *const libc::statx))),
            libc::SYS_newfstatat => Outcome::Status(Status::from(&*(third as *const libc::stat))),
            _ => Outcome::Done,
        }
    }
}
