//! `forkmon.core` for Lua: arguments in, bytes exact, nothing else.
//!
//! `session` is what the API comes to, `observer` and `asking` what the hooks call, `native`
//! hears of C code, and `layers` has what these know of each other; `filter` is asked by all of them.
//! `client` is what the command asks, `process` what Lua cannot do by itself. `enabled` holds
//! the one program of this process, `convert` knows how values cross.

mod asking;
mod client;
mod convert;
mod enabled;
mod filter;
mod layers;
mod native;
mod observer;
mod process;
mod script;
mod session;

use mlua::{Lua, Result, Table};

#[cfg(feature = "lua51")]
const LUA: &str = "Lua 5.1";
#[cfg(feature = "lua52")]
const LUA: &str = "Lua 5.2";
#[cfg(feature = "lua53")]
const LUA: &str = "Lua 5.3";
#[cfg(feature = "lua54")]
const LUA: &str = "Lua 5.4";
#[cfg(feature = "lua55")]
const LUA: &str = "Lua 5.5";
#[cfg(feature = "luajit")]
const LUA: &str = "LuaJIT";

/// What tells this core from others, by name: `forkmon.native` compares it.
const IDENTITY: crate::sys::lua::Identity =
    [(c"VERSION", env!("CARGO_PKG_VERSION")), (c"LUA", LUA), (c"PLATFORM", std::env::consts::OS)];

crate::sys::lua::entrance!(crate::lua::IDENTITY, crate::lua::module);

/// The module: `require 'forkmon.core'`.
pub fn module(lua: &Lua) -> Result<Table> {
    let core = lua.create_table()?;
    for (name, value) in IDENTITY {
        core.set(name.to_string_lossy(), value)?;
    }
    for add_to in [
        session::add_to,
        observer::add_to,
        asking::add_to,
        native::add_to,
        client::add_to,
        process::add_to,
        script::add_to,
    ] {
        add_to(lua, &core)?;
    }
    Ok(core)
}
