//! What `enable`, `disable`, `checkpoint` and the rest of the API come to.

use super::convert::{bytes, failed, resumed};
use super::enabled::{self, has_memory, with, with_memory};
use super::native;
use crate::files::Stamp;
use crate::files::path::absolute;
use crate::program::Program;
use crate::program::start::{AsRead, Start};
use crate::session::invitation::SESSION;
use crate::supervisor::{self, Origin};
use crate::sys::process::set_environment;
use crate::sys::procfs::process_start;
use crate::sys::signals::Mask;
use crate::wire::settings::{Settings, Sink, WATCH_LINES};
use crate::{guard, report};
use mlua::{Function, Lua, LuaString, MultiValue, Result, Table, Value};
use std::ffi::CString;

/// The unit of `max_memory`, in bytes.
const MEGABYTE: u64 = 1 << 20;

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add("start", lua.create_function(start))?;
    add(
        "configure",
        lua.create_function(|_, settings: Table| {
            let (overhead, exact) = (settings.get("overhead")?, settings.get("exact")?);
            let settings = read_settings(&settings)?;
            with(|program| program.configure(settings, overhead, exact));
            Ok(())
        }),
    )?;
    add(
        "active",
        lua.create_function(|_, ()| Ok(with(|program| program.is_active()) == Some(true))),
    )?;
    add(
        "disable",
        lua.create_function(|_, ()| {
            native::stop_observing();
            with(Program::disable);
            Ok(())
        }),
    )?;
    add("session", lua.create_function(|_, ()| Ok(with(|program| program.session()))))?;
    add("checkpoint", lua.create_function(checkpoint))?;
    add(
        "watch",
        lua.create_function(|_, path: LuaString| {
            Ok(with_memory(|program| program.watch(&path.as_bytes())))
        }),
    )?;
    add(
        "depends",
        lua.create_function(|_, path: LuaString| {
            Ok(with_memory(|program| program.depends(&absolute(&path.as_bytes()))))
        }),
    )?;
    add(
        "warn",
        lua.create_function(|_, text: LuaString| {
            if !has_memory() {
                return Ok(());
            }
            let text = text.as_bytes();
            if with(|program| program.warn(&text)).is_none() {
                report::warn_bytes(&text);
            }
            Ok(())
        }),
    )?;
    Ok(())
}

fn start(lua: &Lua, options: Table) -> Result<MultiValue> {
    // What comes while there is neither one process nor three waits.
    let mask = Mask::block_all();
    let started = start_blocked(lua, options, mask);
    mask.restore();
    started
}

fn start_blocked(lua: &Lua, options: Table, mask: Mask) -> Result<MultiValue> {
    let began = process_start();
    let inherited: bool = options.get("inherited")?;
    let events: Option<LuaString> = options.get("events")?;
    let events = events.map(|sink| sink.as_bytes().to_vec());
    let origin = Origin { inherited, events: events.as_deref().map(Sink::parse) };
    let settings = read_settings(&options)?;
    let start = Start {
        main: options.get::<Option<LuaString>>("main")?.map(|path| path.as_bytes().to_vec()),
        before: paths(&options, "before")?
            .into_iter()
            .map(|path| {
                let as_read = as_read(&path, began, settings.content);
                (path, as_read)
            })
            .collect(),
        settings,
        watch: paths(&options, "watch")?,
        inherited,
        events,
        overhead: options.get("overhead")?,
        exact: options.get("exact")?,
    };
    let started = Program::start(start, mask, guard::run, |split, settings| {
        supervisor::run(split, settings, origin);
    });
    if let Ok(variable) = CString::new(SESSION) {
        let _ = set_environment(&variable, None);
    }
    match started {
        Ok((program, resume)) => {
            enabled::set(program);
            let resume = resumed(lua, resume)?;
            Ok(MultiValue::from_vec(vec![Value::Boolean(true), resume]))
        }
        Err(error) => failed(lua, &error.to_string()),
    }
}

/// What a file was like when it was read, since this process began; `None` when
/// it has changed since. With a digest of its content if that is asked for, or if
/// the stamp alone does not settle it.
fn as_read(path: &[u8], began: i64, content: bool) -> Option<AsRead> {
    let stamp = Stamp::of_file(path);
    (!stamp.is_newer_than(began)).then(|| (stamp, stamp.content(path, content)))
}

fn read_settings(options: &Table) -> Result<Settings> {
    Ok(Settings {
        restart_delay: options.get("restart_delay")?,
        ignore_delay: options.get("ignore_delay")?,
        poll: options.get("poll")?,
        max_checkpoints: options.get("max_checkpoints")?,
        max_memory: options.get::<Option<u64>>("max_memory")?.map(|most| most * MEGABYTE),
        stop_timeout: options.get("stop_timeout")?,
        stop_signal: options.get("stop_signal")?,
        quiet: options.get("quiet")?,
        watch_lines: match (options.get("watch_lines")?, options.get("verbose")?) {
            (false, _) => 0,
            (true, true) => u32::MAX,
            (true, false) => WATCH_LINES,
        },
        colors: options.get("colors")?,
        content: options.get("content")?,
        clear: options.get("clear")?,
    })
}

fn paths(options: &Table, name: &str) -> Result<Vec<Vec<u8>>> {
    bytes(options.get(name)?)
}

/// Whether a checkpoint was taken, why not, and a resume. Why not is left out where
/// there is no memory to say so.
fn checkpoint(lua: &Lua, label: Option<LuaString>) -> Result<(bool, Value, Value)> {
    if !has_memory() {
        return Ok((false, Value::Nil, Value::Nil));
    }
    let label = label.map(|label| label.as_bytes().to_vec()).unwrap_or_default();
    let refused = |why: &str| Ok((false, Value::String(lua.create_string(why)?), Value::Nil));
    match with(|program| program.checkpoint(&label)) {
        Some((Ok(()), resume)) => Ok((true, Value::Nil, resumed(lua, resume)?)),
        Some((Err(declined), _)) => refused(&declined.to_string()),
        None => refused("forkmon is not enabled"),
    }
}
