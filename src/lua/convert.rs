//! Values from Lua and to it: bytes exact.

use crate::program::Resume;
use mlua::{ExternalResult, Lua, LuaString, MultiValue, Result, Table, Value};
use std::ffi::CString;

/// Nil and a message.
pub fn failed(lua: &Lua, message: &str) -> Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(message)?)]))
}

/// A resume as a table; nil when there was none.
pub fn resumed(lua: &Lua, resume: Option<Resume>) -> Result<Value> {
    let Some(resume) = resume else { return Ok(Value::Nil) };
    let table = lua.create_table()?;
    table.set("changed", strings(lua, &resume.letter.changed)?)?;
    table.set("count", resume.letter.count)?;
    table.set("checkpoint", resume.label.map(|label| lua.create_string(label)).transpose()?)?;
    Ok(Value::Table(table))
}

/// A list of strings for Lua. One at a time: Lua 5.1 has room for no more than
/// some thousand values in our hands.
pub fn strings(lua: &Lua, list: &[Vec<u8>]) -> Result<Table> {
    let table = lua.create_table()?;
    for item in list {
        table.push(lua.create_string(item)?)?;
    }
    Ok(table)
}

/// A list of strings from Lua, one at a time as well.
pub fn bytes(list: Table) -> Result<Vec<Vec<u8>>> {
    let items = list.sequence_values::<LuaString>();
    items.map(|item| Ok(item?.as_bytes().to_vec())).collect()
}

/// A string for the system.
///
/// # Errors
/// When there is a zero byte in it.
pub fn c_string(string: &LuaString) -> Result<CString> {
    CString::new(string.as_bytes().to_vec()).into_lua_err()
}
