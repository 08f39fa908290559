//! What the hooks in Lua call when the program is about to open, look for or change
//! something.

use super::convert::{bytes, resumed};
use super::enabled::{has_memory, with, with_memory};
use super::native::{self, cover, decide_queued, is_observing};
use crate::files::path::{absolute, working_directory};
use crate::files::pattern::is_found;
use crate::program::scout::Scout;
use crate::program::searches::Search;
use crate::program::{Change, Consumed, Program};
use crate::report;
use crate::sys::lua::Report;
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

thread_local! {
    static SCOUT: RefCell<Scout> = RefCell::default();
    static FILTER: RefCell<Filter> = RefCell::default();
}

/// The filter, whose function the registry has by the name of [`WATCHED`].
#[derive(Default)]
struct Filter {
    /// The ends of the paths that it takes, and of those of them that it leaves out,
    /// where no more matters.
    ends: Option<[Vec<Vec<u8>>; 2]>,
    /// The patterns for those that it takes, and for those that it leaves out; `None` where
    /// that is a function.
    patterns: [Option<Vec<Vec<u8>>>; 2],
    /// What functions have decided.
    decided: FxHashMap<Vec<u8>, bool>,
}

const WATCHED: &str = "forkmon.watched";

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
    add(
        "filter",
        lua.create_function(
            |lua, (watched, wanted, ignored, rules): (Function, Option<Table>, Option<Table>, Table)| {
                lua.set_named_registry_value(WATCHED, watched)?;
                let ends = match wanted.zip(ignored) {
                    Some((wanted, ignored)) => Some([bytes(wanted)?, bytes(ignored)?]),
                    None => None,
                };
                let rule = |at: usize| match rules.get(at)? {
                    Value::Table(patterns) => bytes(patterns).map(Some),
                    _ => Ok(None),
                };
                let patterns = [rule(1)?, rule(2)?];
                FILTER.set(Filter { ends, patterns, decided: FxHashMap::default() });
                with(Program::forget_searches);
                Ok(())
            },
        ),
    )?;
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
        lua.create_function(|_, from_now_on: bool| {
            with(|program| program.effect(from_now_on));
            Ok(())
        }),
    )?;
    add(
        "observe",
        lua.create_function(|_, ()| {
            let warning = native::observe();
            Ok((native::is_observing(), warning))
        }),
    )?;
    add(
        "joins",
        lua.create_function(|_, joins: bool| {
            native::set_joins(joins);
            Ok(())
        }),
    )?;
    add(
        "hint",
        lua.create_function(|lua, (original, fields): (Function, Table)| {
            crate::sys::lua::hint(lua, original, fields)
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
    if !is_watched(lua, &path)? {
        return Ok(Value::Nil);
    }
    resumed(lua, with(|program| program.visit(&path, joins)).flatten())
}

/// The program has used a file up to an offset in bytes. Whether that can be a stop point,
/// and a resume.
fn consumed(lua: &Lua, (path, offset): (LuaString, u64)) -> Result<(bool, Value)> {
    if !has_memory() {
        return Ok((true, Value::Nil));
    }
    match with(|program| program.consumed(&path.as_bytes(), offset)) {
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
    let mut scout = SCOUT.take();
    let mut from = scout.search(&which, |path| is_watched(lua, path))?;
    let resume = with(|program| program.visit_search(&which, scout.trail(), joins)).flatten();
    if resume.is_some() {
        from = scout.search(&which, |path| is_watched(lua, path))?;
        with(|program| program.record_search(&which, scout.trail()));
    }
    SCOUT.set(scout);
    // Lua counts from 1.
    Ok((resumed(lua, resume)?, from.map(|at| at + 1)))
}

/// Asks the filter about an absolute path.
pub fn is_watched(lua: &Lua, path: &[u8]) -> Result<bool> {
    let answer = FILTER.with_borrow(|filter| {
        let ends = |list: &Vec<Vec<u8>>| list.iter().any(|end| path.ends_with(end));
        filter.ends.as_ref().map(|[wanted, ignored]| ends(wanted) && !ends(ignored))
    });
    if let Some(answer) = answer {
        return Ok(answer);
    }
    let watched: Function = lua.named_registry_value(WATCHED)?;
    // Nothing where it could not decide.
    let answer: Option<bool> = watched.call(lua.create_string(path)?)?;
    if let Some(answer) = answer
        && is_observing()
    {
        FILTER.with_borrow_mut(|filter| {
            if filter.patterns.iter().any(Option::is_none) {
                filter.decided.insert(path.to_vec(), answer);
            }
        });
    }
    Ok(answer.unwrap_or(false))
}

/// What the filter says of an absolute path, where no Lua can run; `None` when only a function
/// knows that has not been asked.
pub fn decide(path: &[u8]) -> Option<bool> {
    FILTER.with_borrow(|filter| {
        if let Some([wanted, ignored]) = &filter.ends {
            let ends = |list: &Vec<Vec<u8>>| list.iter().any(|end| path.ends_with(end));
            return Some(ends(wanted) && !ends(ignored));
        }
        let matches = |rule: &Option<Vec<Vec<u8>>>| {
            rule.as_ref().map(|patterns| patterns.iter().any(|one| is_found(path, one)))
        };
        match filter.patterns.each_ref().map(matches) {
            [Some(wanted), Some(ignored)] => Some(wanted && !ignored),
            [Some(false), _] | [_, Some(true)] => Some(false),
            _ => filter.decided.get(path).copied(),
        }
    })
}

/// Whether the last search looked for a file at this absolute path.
pub fn was_looked_for(path: &[u8]) -> bool {
    SCOUT.with_borrow(|scout| scout.trail().iter().any(|place| place.path == path))
}
