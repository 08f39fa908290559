//! Listing folders.
//!
//! Of a folder that is followed every name is told as the program gets it, so that what counts
//! is exactly what it was given, and as far as it has read. `scandir` and `glob` list inside of
//! libc: the names of the one are taken from its filter; the other can be told which functions
//! to use, and is told to use ours.

use super::hook::{call, done, failed, hooks, through};
use super::served::{OfThread, is_own_thread, is_served, tell};
use super::table::{Function, Hook, name};
use crate::sys::slots::call::Verdict;
use crate::sys::slots::call::{Call, Folder, Outcome, Place};
use crate::sys::status::Fields;
use libc::{DIR, dirent};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The folders that are followed.
static FOLLOWED: OfThread<Vec<usize>> = OfThread::new(Vec::new());

/// How many there are, which is looked at first.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn is_followed(folder: *mut DIR) -> bool {
    COUNT.load(Ordering::Relaxed) > 0
        && is_own_thread()
        && FOLLOWED.with(|folders| folders.contains(&(folder as usize)))
}

fn leave(folder: *mut DIR) {
    if is_followed(folder) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
        FOLLOWED.with(|folders| folders.retain(|each| *each != folder as usize));
        if is_served() {
            tell(|observer| observer.closed(Folder(folder as usize)));
        }
    }
}

hooks! {
    fn opendir(path: *const c_char) -> *mut DIR {
        list(libc::AT_FDCWD, path) => |result| follow(*result)
    }
    fn fdopendir(folder: c_int) -> *mut DIR {
        Some(Call::List { place: Place { path: b"", folder: Some(folder) } })
            => |result| follow(*result)
    }
}

unsafe fn list<'a>(folder: c_int, path: *const c_char) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::List { place: unsafe { Place::at(folder, path) }? })
}

fn follow(folder: *mut DIR) -> Outcome<'static> {
    if folder.is_null() {
        return failed();
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    FOLLOWED.with(|folders| folders.push(folder as usize));
    Outcome::Listing(Folder(folder as usize))
}

/// Defines hooks that do something of their own instead of [`through`].
macro_rules! own {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $returns:ty |$original:ident| $body:expr)*) => {
        $(
            pub mod $name {
                use super::*;

                pub static HOOK: Hook = Hook {
                    name: name(concat!(stringify!($name), "\0")),
                    original: AtomicUsize::new(0),
                    function: Function(enter as *const ()),
                };

                // SAFETY: called by C code as the function that it stands in for.
                unsafe extern "C-unwind" fn enter($($argument: $type),*) -> $returns {
                    let $original = |$($argument: $type),*| {
                        let original = HOOK.original.load(Ordering::Relaxed);
                        // SAFETY: see `hooks`.
                        unsafe { call!(original, ($($argument: $type),*) -> $returns) }
                    };
                    // SAFETY: the arguments are those of the C function.
                    #[allow(unused_unsafe)]
                    unsafe { $body }
                }
            }
        )*

        /// Those of their own kind.
        pub static OWN: &[&Hook] = &[$(&$name::HOOK),*];
    };
}

type Entry = *mut dirent;
type Filter = Option<unsafe extern "C-unwind" fn(*const dirent) -> c_int>;
type Order = Option<unsafe extern "C" fn(*mut *const dirent, *mut *const dirent) -> c_int>;
type Complain = Option<unsafe extern "C" fn(*const c_char, c_int) -> c_int>;

own! {
    fn readdir(folder: *mut DIR) -> Entry |original| read(folder, original(folder))
    fn readdir64(folder: *mut DIR) -> Entry |original| read(folder, original(folder))
    fn readdir_r(folder: *mut DIR, entry: Entry, found: *mut Entry) -> c_int |original| {
        read_into(folder, found, original(folder, entry, found))
    }
    fn readdir64_r(folder: *mut DIR, entry: Entry, found: *mut Entry) -> c_int |original| {
        read_into(folder, found, original(folder, entry, found))
    }
    fn rewinddir(folder: *mut DIR) -> () |original| {
        original(folder);
        if is_followed(folder) && is_served() {
            tell(|observer| observer.rewound(Folder(folder as usize)));
        }
    }
    fn closedir(folder: *mut DIR) -> c_int |original| {
        leave(folder);
        original(folder)
    }
    fn scandir(path: *const c_char, names: *mut *mut Entry, filter: Filter, order: Order) -> c_int
    |original| {
        scan(list(libc::AT_FDCWD, path), filter, |filter| original(path, names, filter, order))
    }
    fn scandir64(path: *const c_char, names: *mut *mut Entry, filter: Filter, order: Order) -> c_int
    |original| {
        scan(list(libc::AT_FDCWD, path), filter, |filter| original(path, names, filter, order))
    }
    fn scandirat(
        folder: c_int, path: *const c_char, names: *mut *mut Entry, filter: Filter, order: Order
    ) -> c_int |original| {
        scan(list(folder, path), filter, |filter| original(folder, path, names, filter, order))
    }
    fn scandirat64(
        folder: c_int, path: *const c_char, names: *mut *mut Entry, filter: Filter, order: Order
    ) -> c_int |original| {
        scan(list(folder, path), filter, |filter| original(folder, path, names, filter, order))
    }
    fn glob(pattern: *const c_char, flags: c_int, complain: Complain, out: *mut Glob) -> c_int
    |original| match is_served() && !out.is_null() && flags & libc::GLOB_ALTDIRFUNC == 0 {
        true => expand(out, || original(pattern, flags | libc::GLOB_ALTDIRFUNC, complain, out)),
        false => original(pattern, flags, complain, out),
    }
    fn glob64(pattern: *const c_char, flags: c_int, complain: Complain, out: *mut Glob) -> c_int
    |original| match is_served() && !out.is_null() && flags & libc::GLOB_ALTDIRFUNC == 0 {
        true => expand(out, || original(pattern, flags | libc::GLOB_ALTDIRFUNC, complain, out)),
        false => original(pattern, flags, complain, out),
    }
}

/// The system's number of the process is not asked for with every name, which
/// would cost as much as reading it: a child tells of names at most to its own memory.
unsafe fn read(folder: *mut DIR, entry: Entry) -> Entry {
    if is_followed(folder) {
        let folder = Folder(folder as usize);
        if entry.is_null() {
            if is_served() {
                tell(|observer| observer.name(folder, None));
            }
        } else {
            // SAFETY: an entry that libc has just filled.
            let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) };
            tell(|observer| observer.name(folder, Some(name.to_bytes())));
        }
    }
    entry
}

unsafe fn read_into(folder: *mut DIR, found: *mut Entry, result: c_int) -> c_int {
    if result == 0 && !found.is_null() {
        // SAFETY: libc has put there the entry or a null pointer.
        unsafe { read(folder, *found) };
    }
    result
}

/// What the `scandir` that is under way has come across, and the program's own filter.
static SCAN: OfThread<Option<Scan>> = OfThread::new(None);

#[derive(Default)]
struct Scan {
    names: Vec<u8>,
    filter: Filter,
}

unsafe fn scan(call: Option<Call>, filter: Filter, make: impl FnOnce(Filter) -> c_int) -> c_int {
    let Some(call) = call.filter(|_| is_served()) else { return make(filter) };
    if tell(|observer| observer.before(&call)) != Some(Verdict::Tell) {
        return make(filter);
    }
    // The filter may itself scan.
    let outer = SCAN.with(|scan| scan.replace(Scan { names: Vec::new(), filter }));
    let result = make(Some(note));
    let scan = SCAN.with(|scan| std::mem::replace(scan, outer)).unwrap_or_default();
    if result == -1 {
        let outcome = failed();
        tell(|observer| observer.after(&call, &outcome));
        return result;
    }
    tell(|observer| {
        let folder = Folder(scan.names.as_ptr() as usize);
        observer.after(&call, &Outcome::Listing(folder));
        for name in scan.names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            observer.name(folder, Some(name));
        }
        observer.name(folder, None);
        observer.closed(folder);
    });
    result
}

unsafe extern "C-unwind" fn note(entry: *const dirent) -> c_int {
    // SAFETY: libc calls this with a valid entry.
    let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) };
    let filter = SCAN.with(|scan| {
        let scan = scan.as_mut()?;
        scan.names.extend(name.to_bytes_with_nul());
        scan.filter
    });
    // SAFETY: the program's own, with what it expects.
    filter.map_or(1, |filter| unsafe { filter(entry) })
}

/// `glob_t` with all of its parts, of which the `libc` crate hides those that are needed.
#[repr(C)]
pub struct Glob {
    count: usize,
    paths: *mut *mut c_char,
    offset: usize,
    flags: c_int,
    functions: [*const c_void; 5],
}

/// Has `glob` list by our functions, which are told of as those of the program.
unsafe fn expand(out: *mut Glob, make: impl FnOnce() -> c_int) -> c_int {
    unsafe extern "C-unwind" fn close(folder: *mut DIR) {
        leave(folder);
        // SAFETY: a folder that `open` has given.
        unsafe { libc::closedir(folder) };
    }
    unsafe extern "C-unwind" fn next(folder: *mut DIR) -> Entry {
        // SAFETY: as above.
        unsafe { read(folder, libc::readdir(folder)) }
    }
    unsafe extern "C-unwind" fn open(path: *const c_char) -> *mut DIR {
        // SAFETY: `glob` gives a string.
        unsafe {
            through(|| list(libc::AT_FDCWD, path), || libc::opendir(path), |found| follow(*found))
        }
    }
    unsafe extern "C-unwind" fn lstat(path: *const c_char, found: *mut libc::stat) -> c_int {
        // SAFETY: `glob` gives a string and a structure.
        unsafe { through(|| is_there(path, false), || libc::lstat(path, found), done) }
    }
    unsafe extern "C-unwind" fn stat(path: *const c_char, found: *mut libc::stat) -> c_int {
        // SAFETY: as above.
        unsafe { through(|| is_there(path, true), || libc::stat(path, found), done) }
    }
    let ours = [
        close as *const c_void,
        next as *const c_void,
        open as *const c_void,
        lstat as *const c_void,
        stat as *const c_void,
    ];
    // SAFETY: `glob` was given it, and writes to the other parts only.
    let theirs = unsafe { std::mem::replace(&mut (*out).functions, ours) };
    let result = make();
    // SAFETY: as above.
    unsafe {
        (*out).functions = theirs;
        (*out).flags &= !libc::GLOB_ALTDIRFUNC;
    }
    result
}

/// `glob` asks whether something is there, and whether it is a folder.
unsafe fn is_there<'a>(path: *const c_char, follow: bool) -> Option<Call<'a>> {
    // SAFETY: what the C function was given.
    Some(Call::Stat { place: unsafe { Place::new(path) }?, follow, fields: Fields::KIND })
}
