//! Hooking a C function of the interpreter without being noticed.
//!
//! A Lua wrapper around `dofile` or `io.open` shows: error positions, the name
//! in "bad argument #1 to 'dofile'", levels, yields across it. So the hook is a
//! C closure that carries the original's upvalues and environment, calls the
//! observer, and then runs the original *as its own body*, in the same frame
//! with the same stack. For the interpreter there is one C function, as before.

use mlua::ffi;
use mlua::{Function, Lua, Result, Value};
use std::ffi::{c_char, c_int};

/// `require 'forkmon.core'`.
///
/// Most cores do not load in another Lua, for want of a symbol. Those of 5.4 and
/// 5.5 do, and would take its state for what it is not. In the wrong one, only
/// what they have in common is used, to hand out what says that this is wrong.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn luaopen_forkmon_core(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by the interpreter with a valid state.
    unsafe {
        if is_ours(state) {
            return Lua::entrypoint1(state, crate::binding::module);
        }
        ffi::lua_createtable(state, 0, 0);
        for (name, value) in crate::binding::IDENTITY {
            ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
    }
    1
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

/// Part of the message, in every Lua, of an error for want of stack.
const OVERFLOW: &[u8] = b"stack overflow";

/// Runs the observer, then the original in this frame.
///
/// Upvalues: `N` of the original, then the original itself, then the observer,
/// then the only first argument it wants to hear of, or nil.
unsafe extern "C-unwind" fn hooked<const N: c_int>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by the interpreter with a valid state. The frame holds no
    // value with a destructor, so an error that unwinds or jumps over it leaks
    // nothing. `lua_checkstack` precedes the pushes, and the stack is back at
    // the arguments when the original starts.
    unsafe {
        let arguments = ffi::lua_gettop(state);
        let only = ffi::lua_upvalueindex(N + 3);
        let wanted = ffi::lua_isnil(state, only) != 0
            || arguments > 0 && ffi::lua_rawequal(state, 1, only) != 0;
        if wanted && ffi::lua_checkstack(state, arguments + 2) != 0 {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(N + 2));
            for index in 1..=arguments {
                ffi::lua_pushvalue(state, index);
            }
            if ffi::lua_pcall(state, arguments, 0, 0) != 0 {
                report(state);
                ffi::lua_settop(state, arguments);
            }
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
/// program at the end of its stack is in no need of hearing it twice.
unsafe fn report(state: *mut ffi::lua_State) {
    // SAFETY: `state` is valid and has the error value on top; the bytes are
    // used before anything can collect them.
    unsafe {
        let mut length = 0;
        let text = ffi::lua_tolstring(state, -1, &mut length);
        if !text.is_null() {
            let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
            if !bytes.windows(OVERFLOW.len()).any(|part| part == OVERFLOW) {
                crate::report::warn_bytes(bytes);
            }
        }
    }
}

/// A function that calls `before` with the arguments of each call and then is
/// `original` in every respect a program can see. With `only`, calls whose first
/// argument is another value cost next to nothing and are not reported.
///
/// `None` when `original` is not a plain C function with few upvalues: a Lua
/// function, or a C function that a library has wrapped already.
pub fn hook(
    lua: &Lua,
    original: Function,
    before: Function,
    only: Value,
) -> Result<Option<Function>> {
    // SAFETY: the closure leaves exactly one value above the two it was given
    // and reads only stack slots it owns; `exec_raw` runs it protected.
    let value: Value = unsafe {
        lua.exec_raw((original, before, only), |state| {
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
            ffi::lua_pushcclosure(state, body, upvalues as c_int + 3);
            // Lua 5.1 and LuaJIT keep the io library's state in the environment.
            #[cfg(any(feature = "lua51", feature = "luajit"))]
            {
                ffi::lua_getfenv(state, 1);
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
