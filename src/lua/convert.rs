//! Values from Lua and to it: bytes exact.

use super::enabled::take_unheard;
use crate::json::{number, quote};
use crate::program::Resume;
use mlua::{BString, Error, ExternalResult, Lua, LuaString, MultiValue, Result, Table, Value};
use std::ffi::CString;

/// Nil and a message.
pub fn failed(lua: &Lua, message: &str) -> Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(message)?)]))
}

/// A resume as a table, be it one in the middle of C code; nil when there was none.
pub fn resumed(lua: &Lua, resume: Option<Resume>) -> Result<Value> {
    let Some(resume) = resume.or_else(take_unheard) else { return Ok(Value::Nil) };
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

/// How deep tables may be nested; what a session tells has five levels.
const DEEPEST: usize = 20;

/// A value as JSON text. A table is a list unless it has named fields, which come in the
/// order of their names.
///
/// # Errors
/// For what JSON has no word for, and for a table that is nested too deeply.
pub fn json(value: &Value) -> Result<String> {
    let mut out = String::new();
    put_json(&mut out, value, DEEPEST)?;
    Ok(out)
}

fn put_json(out: &mut String, value: &Value, levels: usize) -> Result<()> {
    match value {
        Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => out.push_str(&value.to_string()),
        Value::Number(value) => number(out, *value),
        Value::String(text) => quote(out, &text.as_bytes()),
        Value::Table(_) if levels == 0 => {
            return Err(Error::runtime("json: tables are nested too deeply"));
        }
        Value::Table(table) => put_table(out, table, levels - 1)?,
        other => return Err(Error::runtime(format!("json: no word for {}", other.type_name()))),
    }
    Ok(())
}

fn put_table(out: &mut String, table: &Table, levels: usize) -> Result<()> {
    if table.is_empty() || table.contains_key(1)? {
        out.push('[');
        for (index, item) in table.sequence_values::<Value>().enumerate() {
            separate(out, index);
            put_json(out, &item?, levels)?;
        }
        out.push(']');
        return Ok(());
    }
    let names = table.pairs::<BString, Value>().map(|pair| Ok(pair?.0));
    let mut names: Vec<BString> = names.collect::<Result<_>>()?;
    names.sort_unstable();
    out.push('{');
    for (index, name) in names.into_iter().enumerate() {
        separate(out, index);
        quote(out, &name);
        out.push(':');
        put_json(out, &table.get(name)?, levels)?;
    }
    out.push('}');
    Ok(())
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}
