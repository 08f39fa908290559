//! Hooking a C function of the interpreter without being noticed.
//!
//! A Lua wrapper around `dofile` or `io.open` shows: error positions, the name
//! in "bad argument #1 to 'dofile'", levels, yields across it. So the hook is a
//! C closure that carries the original's upvalues and environment, calls the
//! observer, and then runs the original *as its own body*, in the same frame
//! with the same stack. For the interpreter there is one C function, as before.

use crate::sys::signals::Mask;
use mlua::ffi;
pub use mlua::ffi::lua_State;
use mlua::{Function, Lua, Result, Table, Value};
use nix::sys::signal::Signal;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

/// What makes the module.
pub type Build = fn(&Lua) -> Result<Table>;

/// What tells a core from others, by name, in strings that end in a zero byte.
pub type Identity = [(&'static CStr, &'static str); 3];

/// Says what an observer has failed with; nothing when there was no memory for it.
pub type Failed = fn(Option<&[u8]>);

/// See [`say_failures_by`].
static FAILED: OnceLock<Failed> = OnceLock::new();

/// What says that an observer has failed. The first one stays.
pub fn say_failures_by(failed: Failed) {
    FAILED.get_or_init(|| failed);
}

/// Defines the function that `require 'forkmon.core'` calls; see [`enter`].
macro_rules! entrance {
    ($identity:expr, $build:expr) => {
        #[allow(unsafe_code)]
        mod entrance {
            use $crate::sys::lua::{enter, lua_State};

            // SAFETY: no other symbol of the process has this name. The interpreter calls
            // it with a valid state.
            #[unsafe(no_mangle)]
            unsafe extern "C-unwind" fn luaopen_forkmon_core(state: *mut lua_State) -> i32 {
                unsafe extern "C-unwind" fn open(state: *mut lua_State) -> i32 {
                    // SAFETY: called by `enter` with a valid state.
                    unsafe { $crate::sys::lua::build(state, $build) }
                }
                // SAFETY: see above.
                unsafe { enter(state, &$identity, open) }
            }
        }
    };
}
pub(crate) use entrance;

/// Builds the module and leaves it on the stack.
///
/// # Safety
/// The state is a valid one, of the Lua that this core was built for.
pub unsafe fn build(state: *mut lua_State, module: Build) -> c_int {
    // SAFETY: the caller promises.
    unsafe { Lua::entrypoint1(state, module) }
}

/// `require 'forkmon.core'`.
///
/// Most cores do not load in another Lua, for want of a symbol. Those of 5.4 and
/// 5.5 do, and would take its state for what it is not. In the wrong one, only
/// what they have in common is used, to hand out what says that this is wrong.
///
/// # Safety
/// The state is valid.
pub unsafe fn enter(state: *mut lua_State, identity: &Identity, open: ffi::lua_CFunction) -> c_int {
    // SAFETY: the state is valid.
    unsafe {
        if is_ours(state) {
            let quiet = Quiet::begin(state);
            ffi::lua_pushcfunction(state, open);
            let failed = ffi::lua_pcall(state, 0, 1, 0) != 0;
            quiet.end(state);
            return if failed { ffi::lua_error(state) } else { 1 };
        }
        ffi::lua_createtable(state, 0, 0);
        for (name, value) in identity {
            ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
    }
    1
}

/// A stretch of our own code that nothing is to come into.
///
/// The interpreter answers Ctrl+C by a debug hook that raises an error at the next
/// instruction. In our code nobody would expect it, and the program not get it: so
/// the signal waits. The program's own debug hooks wait, too: they are to see its
/// code. Holds nothing that has to be dropped.
struct Quiet {
    mask: Mask,
    hook: Option<ffi::lua_Hook>,
    events: c_int,
    count: c_int,
}

impl Quiet {
    unsafe fn begin(state: *mut ffi::lua_State) -> Quiet {
        let mask = Mask::block(Signal::SIGINT);
        // SAFETY: the state is valid.
        unsafe {
            let hook = ffi::lua_gethook(state);
            let events = ffi::lua_gethookmask(state);
            let count = ffi::lua_gethookcount(state);
            if hook.is_some() {
                ffi::lua_sethook(state, None, 0, 0);
            }
            Quiet { mask, hook, events, count }
        }
    }

    unsafe fn end(self, state: *mut ffi::lua_State) {
        if self.hook.is_some() {
            // SAFETY: the state is valid, and the hook was in force.
            unsafe { ffi::lua_sethook(state, self.hook, self.events, self.count) };
        }
        self.mask.restore();
    }
}

/// Whether the state is of the Lua that this core was built for.
#[cfg(any(feature = "lua54", feature = "lua55"))]
unsafe fn is_ours(state: *mut ffi::lua_State) -> bool {
    const VERSION: ffi::lua_Number = if cfg!(feature = "lua54") { 504.0 } else { 505.0 };
    // SAFETY: `state` is valid, and both versions have the function.
    unsafe { ffi::lua_version(state) == VERSION }
}

/// The others do not come as far as this, or can tell afterwards.
#[cfg(not(any(feature = "lua54", feature = "lua55")))]
unsafe fn is_ours(_: *mut ffi::lua_State) -> bool {
    true
}

/// Upvalues of an original that a hook can carry; the interpreters' own
/// functions have none (`io`, base) or one (the searchers: the package table).
const MAX_UPVALUES: usize = 2;

/// What a searcher looks up in its stand-in for the package table.
const PATHS: [&CStr; 2] = [c"path", c"cpath"];

/// Part of the message, in every Lua, of an error for want of stack.
const OVERFLOW: &[u8] = b"stack overflow";

/// Runs the observer, then the original in this frame.
///
/// Upvalues: `N` of the original, then the original itself, then the observer,
/// then the only first argument it wants to hear of, or nil, then the stand-in, or
/// nil. What the observer puts into the stand-in is for the one call.
unsafe extern "C-unwind" fn hooked<const N: c_int>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by the interpreter with a valid state. The frame holds no
    // value with a destructor, so an error that unwinds or jumps over it leaks
    // nothing. `lua_checkstack` precedes the pushes, and the stack is back at
    // the arguments when the original starts.
    unsafe {
        let arguments = ffi::lua_gettop(state);
        let stand_in = ffi::lua_upvalueindex(N + 4);
        let takes_path = ffi::lua_isnil(state, stand_in) == 0;
        let only = ffi::lua_upvalueindex(N + 3);
        let wanted = ffi::lua_isnil(state, only) != 0
            || arguments > 0 && ffi::lua_rawequal(state, 1, only) != 0;
        if wanted && ffi::lua_checkstack(state, arguments + 2) != 0 {
            let quiet = Quiet::begin(state);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(N + 2));
            for index in 1..=arguments {
                ffi::lua_pushvalue(state, index);
            }
            let results = c_int::from(takes_path);
            match ffi::lua_pcall(state, arguments, results, 0) {
                ffi::LUA_OK => {}
                failure => {
                    report(state, failure);
                    ffi::lua_settop(state, arguments);
                }
            }
            quiet.end(state);
        }
        if takes_path {
            // Nil where the observer has failed or said nothing.
            ffi::lua_settop(state, arguments + 1);
            for name in PATHS {
                ffi::lua_pushvalue(state, -1);
                ffi::lua_setfield(state, stand_in, name.as_ptr());
            }
            ffi::lua_settop(state, arguments);
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(N + 1)) {
            Some(original) => original(state),
            // Not reachable: `hook` stored a C function there.
            None => 0,
        }
    }
}

/// Prints the error on top of the stack: the observer is ours, so this is a
/// defect of forkmon, which must neither be hidden nor stop the program. Only a
/// program at the end of its stack is in no need of hearing it twice, and one at the
/// end of its memory is told what that means.
unsafe fn report(state: *mut ffi::lua_State, failure: c_int) {
    let say = |error| {
        if let Some(say) = FAILED.get() {
            say(error);
        }
    };
    if failure == ffi::LUA_ERRMEM {
        return say(None);
    }
    // SAFETY: `state` is valid and has the error value on top; the bytes are
    // used before anything can collect them.
    unsafe {
        let mut length = 0;
        let text = ffi::lua_tolstring(state, -1, &mut length);
        if !text.is_null() {
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
            if !bytes.windows(OVERFLOW.len()).any(|part| part == OVERFLOW) {
                say(Some(bytes));
            }
        }
    }
}

/// A function that calls `before` with the arguments of each call and then is
/// `original` in every respect a program can see. With `only`, calls whose first
/// argument is another value cost next to nothing and are not reported.
///
/// With `stand_in`, `original` is a searcher, which finds that table where it had
/// the package table.
///
/// `None` when `original` is not a plain C function with few upvalues: a Lua
/// function, or a C function that a library has wrapped already.
pub fn hook(
    lua: &Lua,
    original: Function,
    before: Function,
    only: Value,
    stand_in: Option<Table>,
) -> Result<Option<Function>> {
    // SAFETY: the closure leaves exactly one value above those it was given
    // and reads only stack slots it owns; `exec_raw` runs it protected.
    let value: Value = unsafe {
        lua.exec_raw((original, before, only, stand_in), |state| {
            if ffi::lua_tocfunction(state, 1).is_none() {
                ffi::lua_settop(state, 0);
                ffi::lua_pushnil(state);
                return;
            }
            let mut upvalues: usize = 0;
            while upvalues <= MAX_UPVALUES && {
                let name: *const c_char = ffi::lua_getupvalue(state, 1, upvalues as c_int + 1);
                !name.is_null()
            } {
                upvalues += 1;
            }
            let takes_stand_in = ffi::lua_istable(state, 4) != 0;
            if takes_stand_in && upvalues == 1 && ffi::lua_istable(state, 5) != 0 {
                ffi::lua_pushvalue(state, 4);
                ffi::lua_replace(state, 5);
            }
            let body: ffi::lua_CFunction = match upvalues {
                0 => hooked::<0>,
                1 => hooked::<1>,
                2 => hooked::<2>,
                _ => {
                    ffi::lua_settop(state, 0);
                    ffi::lua_pushnil(state);
                    return;
                }
            };
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushvalue(state, 3);
            ffi::lua_pushvalue(state, 4);
            ffi::lua_pushcclosure(state, body, upvalues as c_int + 4);
            // Lua 5.1 and LuaJIT keep the io library's state in the environment, and
            // the package table.
            #[cfg(any(feature = "lua51", feature = "luajit"))]
            {
                if takes_stand_in {
                    ffi::lua_pushvalue(state, 4);
                } else {
                    ffi::lua_getfenv(state, 1);
                }
                ffi::lua_setfenv(state, -2);
            }
            ffi::lua_replace(state, 1);
            ffi::lua_settop(state, 1);
        })?
    };
    match value {
        Value::Function(function) => Ok(Some(function)),
        _ => Ok(None),
    }
}
