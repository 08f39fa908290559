//! The functions of libc that something of ours stands in for.

use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

/// A function of libc, and ours.
pub struct Hook {
    /// Its name.
    pub name: &'static CStr,
    /// Where the program's calls would have gone; 0 until that is known. Ours is not
    /// reached before.
    pub original: AtomicUsize,
    /// Ours.
    pub function: Function,
}

/// The address of a function.
pub struct Function(pub *const ());

// SAFETY: the address of code, which is never read or written through.
unsafe impl Sync for Function {}

/// All of them, in the order of their names. They are given, as the functions of ours look for one.
static TABLE: OnceLock<Vec<&'static Hook>> = OnceLock::new();

/// Gives the hooks that there are, unless that was done already.
pub fn fill(lists: &[&[&'static Hook]]) {
    TABLE.get_or_init(|| {
        let mut sorted = lists.concat();
        sorted.sort_by_key(|hook| hook.name);
        sorted
    });
}

/// The hook of a function.
pub fn find(name: &CStr) -> Option<&'static Hook> {
    let table = TABLE.get()?;
    let at = table.binary_search_by_key(&name, |hook| hook.name).ok()?;
    Some(table[at])
}

/// A name with a zero at its end.
pub const fn name(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("the name has a zero in it"),
    }
}
