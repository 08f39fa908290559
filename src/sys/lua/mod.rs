//! The interpreter, where mlua does not reach: how the core is loaded, and hooks on C
//! functions.

mod apart;
mod hint;
mod hook;

use apart::Hooks;
pub use hint::{hint, take_hint};
pub use hook::{Report, hook};
use mlua::ffi;
pub use mlua::ffi::lua_State;
use mlua::{Lua, Result, Table};
use std::ffi::{CStr, c_int};

/// What makes the module.
pub type Build = fn(&Lua) -> Result<Table>;

/// What tells a core from others, by name, in strings that end in a zero byte.
pub type Identity = [(&'static CStr, &'static str); 3];

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
            let hooks = Hooks::put_aside(state);
            ffi::lua_pushcfunction(state, open);
            let failed = ffi::lua_pcall(state, 0, 1, 0) != 0;
            hooks.put_back(state);
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
