//! Hooking a C function of the interpreter without being noticed.
//!
//! A Lua wrapper around `dofile` or `io.open` shows: error positions, the name
//! in "bad argument #1 to 'dofile'", levels, yields across it. So the hook is a
//! C closure that carries the original's upvalues and environment, calls the
//! observer, and then runs the original *as its own body*, in the same frame
//! with the same stack. For the interpreter there is one C function, as before.
//!
//! The observer runs in a thread of its own. What it returns is done by the
//! program, in its own thread: functions that it wants called after a resume are its code.

use super::apart;
use mlua::ffi;
use mlua::{Function, Lua, Result, Table, Value};
use std::ffi::{CStr, c_char, c_int};

/// Who hears of what fails in the observer.
pub trait Report {
    /// In these words.
    fn failed(text: &[u8]);
    /// For want of memory.
    fn out_of_memory();
}

/// Upvalues of an original that a hook can carry; the interpreters' own
/// functions have none (`io`, base) or one (the searchers: the package table).
const MAX_UPVALUES: usize = 2;

/// So many arguments at most are of interest to an observer. A C function has room for
/// as many, and for what is pushed besides.
const MOST_ARGUMENTS: c_int = 8;

/// What a searcher looks up in its stand-in for the package table.
const PATHS: [&CStr; 2] = [c"path", c"cpath"];

/// Runs the observer, then the original in this frame.
///
/// Upvalues: `N` of the original, then the original itself, or nil, then the observer,
/// then the only first argument it wants to hear of, or nil, then the stand-in, or
/// nil, then the observer's thread, then what makes text of an error. What the observer
/// has put into the stand-in is for the one call.
unsafe extern "C-unwind" fn hooked<const N: c_int, R: Report>(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by the interpreter with a valid state. The frame holds no
    // value with a destructor, so an error that unwinds or jumps over it leaks
    // nothing. The stack is back at the arguments when the original starts.
    unsafe {
        let arguments = ffi::lua_gettop(state);
        let stand_in = ffi::lua_upvalueindex(N + 4);
        let takes_path = ffi::lua_isnil(state, stand_in) == 0;
        let only = ffi::lua_upvalueindex(N + 3);
        let wanted = ffi::lua_isnil(state, only) != 0
            || arguments > 0 && ffi::lua_rawequal(state, 1, only) != 0;
        if wanted {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(N + 2));
            let told = arguments.min(MOST_ARGUMENTS);
            for index in 1..=told {
                ffi::lua_pushvalue(state, index);
            }
            let thread = ffi::lua_tothread(state, ffi::lua_upvalueindex(N + 5));
            match apart::call(state, thread, told) {
                ffi::LUA_OK if ffi::lua_isnil(state, -2) == 0 => {
                    // The program's, as are its errors.
                    ffi::lua_pushvalue(state, -2);
                    ffi::lua_call(state, 0, 0);
                }
                ffi::LUA_OK => {}
                failure => {
                    report::<R>(state, failure, ffi::lua_upvalueindex(N + 6));
                    ffi::lua_settop(state, arguments);
                    ffi::lua_pushnil(state);
                }
            }
            if takes_path {
                // Nil where the observer has failed or said nothing.
                for name in PATHS {
                    ffi::lua_pushvalue(state, -1);
                    ffi::lua_setfield(state, stand_in, name.as_ptr());
                }
            }
            ffi::lua_settop(state, arguments);
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(N + 1)) {
            Some(original) => original(state),
            None => 0,
        }
    }
}

/// As [`hooked`], and then shows the first result to what comes after, which may put
/// another in its place. That is the upvalue behind those of [`hooked`].
unsafe extern "C-unwind" fn hooked_then<const N: c_int, R: Report>(
    state: *mut ffi::lua_State,
) -> c_int {
    // SAFETY: as `hooked`. The results are on top of the stack, and what is pushed above
    // them is taken off again.
    unsafe {
        let results = hooked::<N, R>(state);
        if results > 0 && ffi::lua_checkstack(state, 3) != 0 {
            let top = ffi::lua_gettop(state);
            let first = top - results + 1;
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(N + 7));
            ffi::lua_pushvalue(state, first);
            let thread = ffi::lua_tothread(state, ffi::lua_upvalueindex(N + 5));
            match apart::call(state, thread, 1) {
                ffi::LUA_OK if ffi::lua_isnil(state, -2) == 0 => {
                    ffi::lua_pushvalue(state, -2);
                    ffi::lua_replace(state, first);
                }
                ffi::LUA_OK => {}
                failure => report::<R>(state, failure, ffi::lua_upvalueindex(N + 6)),
            }
            ffi::lua_settop(state, top);
        }
        results
    }
}

/// Tells of the error on top of the stack, of which `describe` makes text: the observer is
/// ours, so this is a defect of forkmon, which must neither be hidden nor stop the program.
unsafe fn report<R: Report>(state: *mut ffi::lua_State, failure: c_int, describe: c_int) {
    if failure == ffi::LUA_ERRMEM {
        return R::out_of_memory();
    }
    // SAFETY: `state` is valid and has the error value on top; the bytes are
    // used before anything can collect them.
    unsafe {
        ffi::lua_pushvalue(state, describe);
        ffi::lua_pushvalue(state, -2);
        let described = ffi::lua_pcall(state, 1, 1, 0) == ffi::LUA_OK;
        let mut length = 0;
        let text = ffi::lua_tolstring(state, -1, &mut length);
        if described && !text.is_null() {
            R::failed(std::slice::from_raw_parts(text.cast::<u8>(), length));
        } else {
            R::failed(b"an error that cannot be put into words");
        }
    }
}

/// Makes text of an error, which may be any value: those of mlua are userdata.
unsafe extern "C-unwind" fn describe(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by the interpreter, with one argument, and with room for more.
    unsafe {
        let is_text = ffi::lua_isstring(state, 1) != 0;
        if is_text || ffi::luaL_getmetafield(state, 1, c"__tostring".as_ptr()) != 0 {
            ffi::luaL_tolstring(state, 1, std::ptr::null_mut());
        } else {
            // Not its address, which differs each time.
            let name = ffi::lua_typename(state, ffi::lua_type(state, 1));
            ffi::lua_pushliteral(state, c"an error that is no text, but a ");
            ffi::lua_pushstring(state, name);
            ffi::lua_concat(state, 2);
        }
    }
    1
}

/// A function that calls `before` with the first arguments of each call and then is
/// `original` in every respect a program can see. With `only`, calls whose first
/// argument is another value cost next to nothing and are not reported.
///
/// `before` runs in a thread of its own. It may return a function, which is then called
/// in the program's.
///
/// With `stand_in`, `original` is a searcher, which finds that table where it had
/// the package table; `before` returns a path for it, second.
///
/// With `after`, its first result is shown to that, which may return another.
///
/// Also whether it does the original's work. It does nothing after `before` when that is
/// not a plain C function with few upvalues: a Lua function, or a C function that a
/// library has wrapped already.
pub fn hook<R: Report>(
    lua: &Lua,
    original: Function,
    before: Function,
    only: Value,
    stand_in: Option<Table>,
    after: Option<Function>,
) -> Result<(Function, bool)> {
    // SAFETY: the closure leaves exactly two values above those it was given
    // and reads only stack slots it owns; `exec_raw` runs it protected.
    unsafe {
        lua.exec_raw((original, before, only, stand_in, after), |state| {
            let mut upvalues: usize = 0;
            while upvalues <= MAX_UPVALUES && {
                let name: *const c_char = ffi::lua_getupvalue(state, 1, upvalues as c_int + 1);
                !name.is_null()
            } {
                upvalues += 1;
            }
            let is_whole = ffi::lua_tocfunction(state, 1).is_some() && upvalues <= MAX_UPVALUES;
            if !is_whole {
                ffi::lua_settop(state, 5);
                upvalues = 0;
            }
            let takes_stand_in = ffi::lua_istable(state, 4) != 0;
            if takes_stand_in && upvalues == 1 && ffi::lua_istable(state, 6) != 0 {
                ffi::lua_pushvalue(state, 4);
                ffi::lua_replace(state, 6);
            }
            let has_after = is_whole && ffi::lua_isnil(state, 5) == 0;
            let body: ffi::lua_CFunction = match (upvalues, has_after) {
                (0, false) => hooked::<0, R>,
                (1, false) => hooked::<1, R>,
                (_, false) => hooked::<2, R>,
                (0, true) => hooked_then::<0, R>,
                (1, true) => hooked_then::<1, R>,
                (_, true) => hooked_then::<2, R>,
            };
            if is_whole {
                ffi::lua_pushvalue(state, 1);
            } else {
                ffi::lua_pushnil(state);
            }
            for index in 2..=4 {
                ffi::lua_pushvalue(state, index);
            }
            apart::push_thread(state);
            ffi::lua_pushcfunction(state, describe);
            ffi::lua_pushvalue(state, 5);
            ffi::lua_pushcclosure(state, body, upvalues as c_int + 7);
            // Lua 5.1 and LuaJIT keep the io library's state in the environment, and
            // the package table.
            #[cfg(any(feature = "lua51", feature = "luajit"))]
            if is_whole {
                if takes_stand_in {
                    ffi::lua_pushvalue(state, 4);
                } else {
                    ffi::lua_getfenv(state, 1);
                }
                ffi::lua_setfenv(state, -2);
            }
            ffi::lua_replace(state, 1);
            ffi::lua_settop(state, 1);
            ffi::lua_pushboolean(state, c_int::from(is_whole));
        })
    }
}
