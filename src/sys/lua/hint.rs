//! Saying beforehand what a C function is about to ask.
//!
//! It is said in the frame of the function, at no other cost than that of a look into a table.

use mlua::ffi;
use mlua::{Function, Lua, Result, Table, Value};
use std::cell::Cell;
use std::ffi::c_int;

thread_local! {
    /// The address of a path that C code is about to get from Lua, and which fields of its
    /// status are about to be asked for.
    static HINT: Cell<(usize, u16)> = const { Cell::new((0, 0)) };
}

/// Whether the path at this address comes from Lua straight into a function that was marked
/// by [`hint`], and which fields of its status are asked for. Said once.
pub fn take_hint(address: usize) -> Option<u16> {
    let (of, fields) = HINT.get();
    (of == address).then(|| {
        HINT.set((0, 0));
        fields
    })
}

/// Says whose path it is, and which fields of its status the call is for, by its second argument,
/// and then is the original in this frame. Upvalues: the original, and the fields by their
/// names; under 1, those that are meant without a name.
unsafe extern "C-unwind" fn hinted(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: as `hooked`. The path is an argument, which stays where it is.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TSTRING && ffi::lua_checkstack(state, 1) != 0 {
            let arguments = ffi::lua_gettop(state);
            if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
                ffi::lua_pushvalue(state, 2);
            } else {
                ffi::lua_pushinteger(state, 1);
            }
            ffi::lua_rawget(state, ffi::lua_upvalueindex(2));
            let path = ffi::lua_tolstring(state, 1, std::ptr::null_mut());
            HINT.set((path as usize, ffi::lua_tonumber(state, -1) as u16));
            ffi::lua_settop(state, arguments);
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            Some(original) => original(state),
            // Not reachable: `hint` stored a C function there.
            None => 0,
        }
    }
}

/// A function that says that it gets its first argument straight from Lua, so that no C code holds a
/// lock, and which fields of that path's status each call is for, and then is `original`. `fields` has them by the names that it calls them, and under 1 those that
/// are meant without a name.
///
/// `None` when `original` is not a plain C function without upvalues.
pub fn hint(lua: &Lua, original: Function, fields: Table) -> Result<Option<Function>> {
    // SAFETY: the closure leaves exactly one value above those it was given.
    let value: Value = unsafe {
        lua.exec_raw((original, fields), |state| {
            let has_upvalues = !ffi::lua_getupvalue(state, 1, 1).is_null();
            if ffi::lua_tocfunction(state, 1).is_none() || has_upvalues {
                ffi::lua_settop(state, 0);
                return ffi::lua_pushnil(state);
            }
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushcclosure(state, hinted, 2);
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
