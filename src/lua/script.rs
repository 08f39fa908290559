//! Where a script can be cut, and that it cannot go on, for `forkmon.script`.

use super::convert::bytes;
use super::enabled::with;
use crate::program::script::{Dialect, Failure, Place, Scan, scan};
use crate::sys::arguments::hide_argument;
use mlua::{Function, Lua, LuaString, MultiValue, Result, Table, Value};

#[cfg(feature = "lua51")]
const DIALECT: Dialect = Dialect::Lua51;
#[cfg(any(feature = "lua52", feature = "lua53"))]
const DIALECT: Dialect = Dialect::Lua52;
#[cfg(feature = "lua54")]
const DIALECT: Dialect = Dialect::Lua54;
#[cfg(feature = "lua55")]
const DIALECT: Dialect = Dialect::Lua55;
#[cfg(feature = "luajit")]
const DIALECT: Dialect = Dialect::LuaJit;

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add("cut", lua.create_function(cut))?;
    add(
        "refuse",
        lua.create_function(|_, (path, never): (LuaString, bool)| {
            with(|program| program.refuse(&path.as_bytes(), never));
            Ok(())
        }),
    )?;
    add(
        "is_edited",
        lua.create_function(|_, path: LuaString| {
            Ok(with(|program| program.is_edited(&path.as_bytes())) == Some(true))
        }),
    )?;
    add("hide_script", lua.create_function(|_, ()| Ok(hide_argument(1, c"/dev/null"))))?;
    Ok(())
}

/// Reads a text from an offset on, where the statement before is open or not, and these
/// locals are known: a table of what was found, or nil, why not, and at which offset.
/// Offsets count from 0, so that one is also the number of bytes before it.
fn cut(
    lua: &Lua,
    (text, offset, is_open, names): (LuaString, usize, bool, Table),
) -> Result<MultiValue> {
    let names = bytes(names)?;
    match scan(&text.as_bytes(), DIALECT, Place { offset, is_open, names: &names }) {
        Ok(found) => Ok(MultiValue::from_vec(vec![Value::Table(table(lua, &found)?)])),
        Err(Failure { reason, offset }) => Ok(MultiValue::from_vec(vec![
            Value::Nil,
            Value::String(lua.create_string(reason)?),
            Value::Integer(offset as _),
        ])),
    }
}

fn table(lua: &Lua, found: &Scan) -> Result<Table> {
    let table = lua.create_table()?;
    let boundaries = &found.boundaries;
    table.set("offsets", numbers(lua, boundaries.iter().map(|boundary| boundary.offset))?)?;
    table.set("lines", numbers(lua, boundaries.iter().map(|boundary| boundary.line as usize))?)?;
    let open = boundaries.iter().map(|boundary| boundary.is_open);
    table.set("open", lua.create_sequence_from(open)?)?;
    let variables = lua.create_table()?;
    for variable in &found.variables {
        let entry = lua.create_table()?;
        entry.set("name", lua.create_string(variable.name)?)?;
        entry.set("constant", variable.is_constant)?;
        entry.set("from", variable.from)?;
        entry.set("to", variable.to)?;
        entry.set("mentioned", variable.mentioned)?;
        entry.set("captured", variable.captured)?;
        entry.set("assigned", variable.assigned)?;
        entry.set("assigned_inside", variable.assigned_inside)?;
        variables.push(entry)?;
    }
    table.set("variables", variables)?;
    let globals = lua.create_table()?;
    for (declaration, from) in &found.globals {
        let entry = lua.create_table()?;
        entry.set("declaration", &declaration[..])?;
        entry.set("from", *from)?;
        globals.push(entry)?;
    }
    table.set("globals", globals)?;
    Ok(table)
}

fn numbers(lua: &Lua, numbers: impl Iterator<Item = usize>) -> Result<Table> {
    lua.create_sequence_from(numbers)
}
