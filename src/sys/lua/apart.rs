//! A Lua thread of our own, so that the program's debug hooks neither see our code nor
//! are touched by it.
//!
//! A debug hook belongs to a Lua thread, and with it the count of instructions until it is
//! called next. What runs in another thread leaves both alone; so do the handlers of
//! signals that are written in Lua, and Ctrl+C, which set a hook on the thread they were
//! made in: it is called when the program goes on there.
//!
//! In LuaJIT all threads share one hook. There it is put aside and back, signals wait
//! meanwhile, and as the interface cannot tell the count, it is found in the
//! interpreter's memory, by setting it and looking where it is.

use crate::sys::signals::Mask;
use mlua::ffi;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the registry has the thread.
const NAME: &std::ffi::CStr = c"forkmon.observer";

/// Whether the thread is in use: what runs there may open files, too.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Pushes the thread, made if there is none yet.
///
/// # Safety
/// The state is valid, has two slots free, and errors are caught.
pub unsafe fn push_thread(state: *mut ffi::lua_State) {
    // SAFETY: the caller promises.
    unsafe {
        ffi::lua_getfield(state, ffi::LUA_REGISTRYINDEX, NAME.as_ptr());
        if ffi::lua_isthread(state, -1) != 0 {
            return;
        }
        ffi::lua_settop(state, -2);
        let thread = ffi::lua_newthread(state);
        // A new thread has the hook of the one that makes it.
        #[cfg(not(feature = "luajit"))]
        ffi::lua_sethook(thread, None, 0, 0);
        #[cfg(feature = "luajit")]
        {
            let _ = thread;
            find_count(state);
        }
        ffi::lua_pushvalue(state, -1);
        ffi::lua_setfield(state, ffi::LUA_REGISTRYINDEX, NAME.as_ptr());
    }
}

/// Calls the function below so many arguments on top of the stack, in the thread given.
/// Leaves two results, or the error, as `lua_pcall` does, and returns what that returns.
/// What is called from within such a call runs where it is called.
///
/// # Safety
/// Both threads are valid, of one interpreter, and have two slots free besides what is
/// moved to them.
pub unsafe fn call(
    state: *mut ffi::lua_State,
    thread: *mut ffi::lua_State,
    arguments: c_int,
) -> c_int {
    // SAFETY: the caller promises. Nothing here raises an error.
    unsafe {
        if IN_USE.swap(true, Ordering::Relaxed) {
            return ffi::lua_pcall(state, arguments, 2, 0);
        }
        let hooks = Hooks::put_aside_if_shared(state);
        ffi::lua_xmove(state, thread, arguments + 1);
        let result = ffi::lua_pcall(thread, arguments, 2, 0);
        ffi::lua_xmove(thread, state, if result == ffi::LUA_OK { 2 } else { 1 });
        if let Some(hooks) = hooks {
            hooks.put_back(state);
        }
        IN_USE.store(false, Ordering::Relaxed);
        result
    }
}

/// A thread's debug hook, put aside. Signals wait until it is put back, as handlers may
/// set one: it would be called in our code, and lost. Holds nothing that has to be dropped.
pub struct Hooks {
    mask: Mask,
    hook: Option<ffi::lua_Hook>,
    events: c_int,
    count: c_int,
    #[cfg(feature = "luajit")]
    left: Option<i32>,
}

impl Hooks {
    /// That of this thread, if it is that of all threads.
    unsafe fn put_aside_if_shared(state: *mut ffi::lua_State) -> Option<Hooks> {
        // SAFETY: the state is valid.
        cfg!(feature = "luajit").then(|| unsafe { Hooks::put_aside(state) })
    }

    /// That of this thread.
    ///
    /// # Safety
    /// The state is valid.
    pub unsafe fn put_aside(state: *mut ffi::lua_State) -> Hooks {
        let mask = Mask::block_all();
        // SAFETY: the state is valid.
        unsafe {
            let hooks = Hooks {
                mask,
                hook: ffi::lua_gethook(state),
                events: ffi::lua_gethookmask(state),
                count: ffi::lua_gethookcount(state),
                #[cfg(feature = "luajit")]
                left: count_left(),
            };
            if hooks.hook.is_some() {
                ffi::lua_sethook(state, None, 0, 0);
            }
            hooks
        }
    }

    /// Puts it in force again. But in LuaJIT, the count begins anew.
    ///
    /// # Safety
    /// As above.
    pub unsafe fn put_back(self, state: *mut ffi::lua_State) {
        if self.hook.is_some() {
            // SAFETY: the state is valid, and the hook was in force.
            unsafe { ffi::lua_sethook(state, self.hook, self.events, self.count) };
            #[cfg(feature = "luajit")]
            if let Some(left) = self.left {
                set_count_left(left);
            }
        }
        self.mask.restore();
    }
}

/// Where LuaJIT has the number of instructions until the hook is called.
#[cfg(feature = "luajit")]
static COUNT: std::sync::atomic::AtomicPtr<std::sync::atomic::AtomicI32> =
    std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());

/// So many words of memory, from the main thread on, are surely the interpreter's: the state
/// that all threads share comes right behind, and tables of some thousand bytes behind that.
#[cfg(feature = "luajit")]
const WORDS: usize = 512;

/// Finds out where that number is, unless a hook is in force or this is not the main thread.
/// It stands beside the number that it begins with, which can be set and asked for.
#[cfg(feature = "luajit")]
unsafe fn find_count(state: *mut ffi::lua_State) {
    use std::sync::atomic::AtomicI32;

    unsafe extern "C-unwind" fn nothing(_: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {}

    let mask = Mask::block_all();
    // SAFETY: the state is valid; that the words can be read stands at their number. No Lua
    // code runs before the hook is gone again.
    unsafe {
        let is_main = ffi::lua_pushthread(state) != 0;
        ffi::lua_settop(state, -2);
        if is_main && ffi::lua_gethook(state).is_none() {
            let words = std::slice::from_raw_parts(state.cast::<AtomicI32>(), WORDS);
            let mut found: Vec<usize> = (0..WORDS - 1).collect();
            for number in [0x5a17_3b29, 0x2c64_91d3] {
                ffi::lua_sethook(state, Some(nothing), ffi::LUA_MASKCOUNT, number);
                let is_there = |at: usize| words[at].load(Ordering::Relaxed) == number;
                found.retain(|at| is_there(*at) && is_there(at + 1));
                ffi::lua_sethook(state, None, 0, 0);
            }
            if let [at] = found[..] {
                COUNT.store(std::ptr::from_ref(&words[at]).cast_mut(), Ordering::Relaxed);
            }
        }
    }
    mask.restore();
}

#[cfg(feature = "luajit")]
fn count() -> Option<&'static std::sync::atomic::AtomicI32> {
    // SAFETY: null, or a word of the interpreter, which stays until the process ends.
    unsafe { COUNT.load(Ordering::Relaxed).as_ref() }
}

#[cfg(feature = "luajit")]
fn count_left() -> Option<i32> {
    count().map(|count| count.load(Ordering::Relaxed))
}

#[cfg(feature = "luajit")]
fn set_count_left(left: i32) {
    if let Some(count) = count() {
        count.store(left, Ordering::Relaxed);
    }
}
