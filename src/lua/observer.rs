//! What the hooks in Lua call when the program is about to open, look for or change
//! something.

use super::convert::resumed;
use super::enabled::{has_memory, with, with_memory};
use super::filter::{self, is_watched};
use super::layers::{cover, decide_queued, give_scout, take_scout};
use crate::files::path::{absolute, working_directory};
use crate::program::searches::Search;
use crate::program::{Change, Consumed, Program};
use crate::report;
use crate::sys::lua::Report;
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};

/// Tells of what fails in the hooks themselves.
struct Failures;

impl Report for Failures {
    fn failed(text: &[u8]) {
        // A traceback follows, of our own functions.
        let text = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = [b"forkmon itself has failed, and may not watch all files: ", text].concat();
        if with(|program| program.warn_once(&text)).is_none() {
            report::warn_bytes(&text);
        }
    }

    fn out_of_memory() {
        report::warn_of_memory();
    }
}

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add(
        "hook",
        lua.create_function(|lua, (original, before, only, stand_in, after)| {
            crate::sys::lua::hook::<Failures>(lua, original, before, only, stand_in, after)
        }),
    )?;
    add("filter", lua.create_function(set_filter))?;
    add("visit", lua.create_function(visit))?;
    add("consumed", lua.create_function(consumed))?;
    add("look_up", lua.create_function(look_up))?;
    add(
        "reopens",
        lua.create_function(|_, reopens: bool| {
            with(|program| program.set_reopens(reopens));
            Ok(())
        }),
    )?;
    add(
        "wrote",
        lua.create_function(|_, (path, how): (LuaString, LuaString)| {
            if !has_memory() {
                return Ok(None);
            }
            let change = match &*how.as_bytes() {
                b"make" => Change::Make,
                b"append" => Change::Append,
                b"update" => Change::Update,
                b"move" => Change::Move,
                _ => return Err(Error::runtime("wrote: unknown change")),
            };
            cover(&path.as_bytes());
            Ok(with(|program| program.wrote(&path.as_bytes(), change)))
        }),
    )?;
    add(
        "empties",
        lua.create_function(|_, path: LuaString| {
            with_memory(|program| program.empties(&path.as_bytes()));
            Ok(())
        }),
    )?;
    add(
        "effect",
        lua.create_function(|_, (from_now_on, is_child): (bool, bool)| {
            with(|program| {
                program.effect(from_now_on);
                if is_child {
                    program.starts_child();
                }
            });
            Ok(())
        }),
    )?;
    add(
        "wait",
        lua.create_function(|_, begins: bool| {
            with_memory(|program| match begins {
                true => program.awaits_child(),
                false => program.has_awaited_child(),
            });
            Ok(())
        }),
    )?;
    add(
        "clock",
        lua.create_function(|_, _: MultiValue| {
            Ok(with(|program| program.processor_time()).unwrap_or_default().as_secs_f64())
        }),
    )?;
    Ok(())
}

/// A file is about to be read, if the filter takes it. `joins`: it is no stop point.
fn visit(lua: &Lua, (path, joins): (LuaString, bool)) -> Result<Value> {
    if !has_memory() {
        return Ok(Value::Nil);
    }
    let path = absolute(&path.as_bytes());
    cover(&path);
    decide_queued(lua)?;
    with(|program| program.reads(&path));
    if !is_watched(lua, &path)? {
        return Ok(Value::Nil);
    }
    resumed(lua, with(|program| program.visit(&path, joins)).flatten())
}

/// The program has used a file up to an offset in bytes. Whether that can be a stop point,
/// and a resume. `fence`: the next edit is likely to be right behind it.
fn consumed(
    lua: &Lua,
    (path, offset, fence): (LuaString, u64, Option<bool>),
) -> Result<(bool, Value)> {
    if !has_memory() {
        return Ok((true, Value::Nil));
    }
    match with(|program| program.consumed(&path.as_bytes(), offset, fence.unwrap_or(false))) {
        None | Some(Consumed::Unwatched) => Ok((false, Value::Nil)),
        Some(Consumed::On) => Ok((true, Value::Nil)),
        Some(Consumed::Resumed(resume)) => Ok((true, resumed(lua, Some(resume))?)),
    }
}

/// A search is about to be made. Besides a resume, returns from which template on
/// it comes to the same, if that is not the first: no file is at the places before.
/// One that joins is no stop point.
fn look_up(
    lua: &Lua,
    (name, templates, joins): (LuaString, LuaString, bool),
) -> Result<(Value, Option<usize>)> {
    if !has_memory() {
        return Ok((Value::Nil, None));
    }
    decide_queued(lua)?;
    let (name, templates) = (name.as_bytes(), templates.as_bytes());
    // The filter may be the user's function, which may open files in turn: it
    // must not run while the program's state is borrowed.
    let directory = working_directory();
    let which = Search { name: &name, templates: &templates, directory: &directory };
    let mut scout = take_scout();
    let mut from = scout.search(&which, |path| is_watched(lua, path))?;
    let resume = with(|program| program.visit_search(&which, scout.trail(), joins)).flatten();
    if resume.is_some() {
        from = scout.search(&which, |path| is_watched(lua, path))?;
        with(|program| program.record_search(&which, scout.trail()));
    }
    give_scout(scout);
    // Lua counts from 1.
    Ok((resumed(lua, resume)?, from.map(|at| at + 1)))
}

fn set_filter(
    lua: &Lua,
    (watched, wanted, ignored, rules): (Function, Option<Table>, Option<Table>, Table),
) -> Result<()> {
    filter::set(lua, watched, wanted.zip(ignored), rules)?;
    with(Program::forget_searches);
    Ok(())
}
