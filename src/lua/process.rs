//! What Lua itself cannot tell of its process, or do to it.

use super::convert::{bytes, c_string, failed, strings};
use super::enabled::has_memory;
use crate::files::path::absolute;
use crate::program::start::StartError;
use crate::sys::process::set_environment;
use crate::sys::signals::{is_ignored, set_disposition};
use mlua::{Error, ExternalResult, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use nix::sys::signal::{SigHandler, Signal};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add(
        "absolute",
        lua.create_function(|lua, path: LuaString| {
            // Without memory it will not be watched.
            if has_memory() { lua.create_string(absolute(&path.as_bytes())) } else { Ok(path) }
        }),
    )?;
    add(
        "getcwd",
        lua.create_function(|lua, ()| {
            lua.create_string(std::env::current_dir()?.as_os_str().as_bytes())
        }),
    )?;
    add(
        "exe",
        lua.create_function(|lua, ()| match std::fs::read_link("/proc/self/exe") {
            Ok(path) => {
                let path = lua.create_string(path.as_os_str().as_bytes())?;
                Ok(MultiValue::from_vec(vec![Value::String(path)]))
            }
            Err(_) => failed(lua, &StartError::NoProc.to_string()),
        }),
    )?;
    add(
        "cmdline",
        lua.create_function(|lua, ()| {
            // Without /proc it is unknown, and `start` says so.
            let bytes = std::fs::read("/proc/self/cmdline").unwrap_or_default();
            let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
            let words: Vec<_> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            strings(lua, &words)
        }),
    )?;
    add(
        "isatty",
        lua.create_function(|_, descriptor: i32| {
            Ok(crate::sys::descriptors::is_terminal(descriptor))
        }),
    )?;
    add(
        "width",
        lua.create_function(|_, descriptor: i32| Ok(crate::sys::descriptors::width(descriptor))),
    )?;
    add(
        "setenv",
        lua.create_function(|_, (name, value): (LuaString, Option<LuaString>)| {
            let name = c_string(&name)?;
            let value = value.as_ref().map(c_string).transpose()?;
            set_environment(&name, value.as_deref()).into_lua_err()
        }),
    )?;
    add("exec", lua.create_function(exec))?;
    Ok(())
}

fn exec(lua: &Lua, (arguments, changes): (Table, Table)) -> Result<MultiValue> {
    let arguments = bytes(arguments)?.into_iter().map(CString::new);
    let arguments: Vec<CString> =
        arguments.collect::<std::result::Result<_, _>>().into_lua_err()?;
    let Some(command) = arguments.first() else {
        return Err(Error::runtime("exec: no command given"));
    };
    for pair in changes.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        let value = match value {
            Value::String(value) => Some(c_string(&value)?),
            _ => None,
        };
        set_environment(&c_string(&name)?, value.as_deref()).into_lua_err()?;
    }
    // The interpreter's handler would take an interrupt and be gone before it acts.
    if !is_ignored(Signal::SIGINT) {
        let _ = set_disposition(Signal::SIGINT, SigHandler::SigDfl);
    }
    // The C library's own search on PATH.
    let Err(error) = nix::unistd::execvp(command, &arguments);
    failed(lua, error.desc())
}
