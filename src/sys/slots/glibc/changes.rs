//! What the program changes by its path, other than by opening it.
//!
//! Something that gets another name, or another one, is changed in two places: of both is told.
//! What is changed by a descriptor was opened before.

use super::hook::{done, failed, hooks};
use super::served::{is_served, tell};
use super::table::{Function, Hook, name};
use crate::sys::slots::call::{Act, Call, Outcome, Place, Verdict};
use libc::{dev_t, gid_t, mode_t, off_t, timespec, timeval, uid_t, utimbuf};
use std::ffi::{CStr, c_char, c_int, c_uint};
use std::sync::atomic::{AtomicUsize, Ordering};

hooks! {
    fn unlink(path: *const c_char) -> c_int {
        change(path, Act::Remove) => |result| done(result)
    }
    fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
        change_at(folder, path, Act::Remove) => |result| done(result)
    }
    fn remove(path: *const c_char) -> c_int {
        change(path, Act::Remove) => |result| done(result)
    }
    fn rmdir(path: *const c_char) -> c_int {
        change(path, Act::Remove) => |result| done(result)
    }
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
        change(path, Act::Make) => |result| done(result)
    }
    fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
        change_at(folder, path, Act::Make) => |result| done(result)
    }
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int {
        change(path, Act::Make) => |result| done(result)
    }
    fn mkfifoat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
        change_at(folder, path, Act::Make) => |result| done(result)
    }
    fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
        change(path, Act::Make) => |result| done(result)
    }
    fn mknodat(folder: c_int, path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
        change_at(folder, path, Act::Make) => |result| done(result)
    }
    fn symlink(target: *const c_char, path: *const c_char) -> c_int {
        change(path, Act::Make) => |result| done(result)
    }
    fn symlinkat(target: *const c_char, folder: c_int, path: *const c_char) -> c_int {
        change_at(folder, path, Act::Make) => |result| done(result)
    }
    fn mkstemp(template: *mut c_char) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkstemp64(template: *mut c_char) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkostemp(template: *mut c_char, flags: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkostemp64(template: *mut c_char, flags: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkstemps(template: *mut c_char, length: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkstemps64(template: *mut c_char, length: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkostemps(template: *mut c_char, length: c_int, flags: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkostemps64(template: *mut c_char, length: c_int, flags: c_int) -> c_int {
        change(template, Act::MakeSome) => |result| made(*result == -1, template)
    }
    fn mkdtemp(template: *mut c_char) -> *mut c_char {
        change(template, Act::MakeSome) => |result| made(result.is_null(), template)
    }
    fn truncate(path: *const c_char, length: off_t) -> c_int {
        change(path, Act::Resize) => |result| done(result)
    }
    fn truncate64(path: *const c_char, length: off_t) -> c_int {
        change(path, Act::Resize) => |result| done(result)
    }
    fn utime(path: *const c_char, times: *const utimbuf) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn utimes(path: *const c_char, times: *const timeval) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn lutimes(path: *const c_char, times: *const timeval) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn futimesat(folder: c_int, path: *const c_char, times: *const timeval) -> c_int {
        change_at(folder, path, Act::Mark) => |result| done(result)
    }
    fn utimensat(
        folder: c_int, path: *const c_char, times: *const timespec, flags: c_int
    ) -> c_int {
        change_at(folder, path, Act::Mark) => |result| done(result)
    }
    fn chmod(path: *const c_char, mode: mode_t) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn fchmodat(folder: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int {
        change_at(folder, path, Act::Mark) => |result| done(result)
    }
    fn chown(path: *const c_char, user: uid_t, group: gid_t) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn lchown(path: *const c_char, user: uid_t, group: gid_t) -> c_int {
        change(path, Act::Mark) => |result| done(result)
    }
    fn fchownat(
        folder: c_int, path: *const c_char, user: uid_t, group: gid_t, flags: c_int
    ) -> c_int {
        change_at(folder, path, Act::Mark) => |result| done(result)
    }
}

unsafe fn change<'a>(path: *const c_char, act: Act) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    unsafe { change_at(libc::AT_FDCWD, path, act) }
}

unsafe fn change_at<'a>(folder: c_int, path: *const c_char, act: Act) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::Change { place: unsafe { Place::at(folder, path) }?, act })
}

/// What was made by a template, which is its path now.
unsafe fn made<'a>(has_failed: bool, template: *const c_char) -> Outcome<'a> {
    if has_failed {
        return failed();
    }
    // SAFETY: what the C function was given, and has filled in.
    Outcome::Target(unsafe { CStr::from_ptr(template) }.to_bytes())
}

/// Tells of both changes, makes the call, and tells what came of it to who wants to know.
fn through_both<'a>(
    calls: impl FnOnce() -> [Option<Call<'a>>; 2],
    make: impl FnOnce() -> c_int,
) -> c_int {
    if !is_served() {
        return make();
    }
    let calls = calls();
    let told = calls.map(|call| {
        let before = |call| tell(|observer| observer.before(&call)) == Some(Verdict::Tell);
        call.filter(|call| before(*call))
    });
    let result = make();
    for call in told.into_iter().flatten() {
        let outcome = done(&result);
        tell(|observer| observer.after(&call, &outcome));
    }
    result
}

/// Defines hooks of functions with two paths; see [`hooks`].
macro_rules! both {
    ($(fn $name:ident($($argument:ident: $type:ty),*) { $first:expr, $second:expr })*) => {
        $(
            pub mod $name {
                use super::*;

                pub static HOOK: Hook = Hook {
                    name: name(concat!(stringify!($name), "\0")),
                    original: AtomicUsize::new(0),
                    function: Function(enter as *const ()),
                };

                // SAFETY: called by C code as the function that it stands in for.
                unsafe extern "C-unwind" fn enter($($argument: $type),*) -> c_int {
                    through_both(
                        // SAFETY: the arguments are those of the C function.
                        || unsafe { [$first, $second] },
                        || {
                            let original = HOOK.original.load(Ordering::Relaxed);
                            // SAFETY: see `hooks`.
                            unsafe {
                                super::super::hook::call!(original, ($($argument: $type),*) -> c_int)
                            }
                        },
                    )
                }
            }
        )*

        /// Those with two paths.
        pub static WITH_TWO: &[&Hook] = &[$(&$name::HOOK),*];
    };
}

both! {
    fn rename(from: *const c_char, to: *const c_char) {
        change(from, Act::MoveAway), change(to, Act::MoveHere)
    }
    fn renameat(from: c_int, path: *const c_char, to: c_int, name: *const c_char) {
        change_at(from, path, Act::MoveAway), change_at(to, name, Act::MoveHere)
    }
    fn renameat2(from: c_int, path: *const c_char, to: c_int, name: *const c_char, flags: c_uint) {
        change_at(from, path, Act::MoveAway), change_at(to, name, Act::MoveHere)
    }
    // The first gets another name, and thereby another time of change.
    fn link(path: *const c_char, to: *const c_char) {
        change(path, Act::Mark), change(to, Act::Make)
    }
    fn linkat(from: c_int, path: *const c_char, to: c_int, name: *const c_char, flags: c_int) {
        change_at(from, path, Act::Mark), change_at(to, name, Act::Make)
    }
}
