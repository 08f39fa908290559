//! `forkmon.core` for Lua: arguments in, bytes exact, nothing else.

use crate::files::Stamp;
use crate::files::path::{absolute, working_directory};
use crate::program::scout::Scout;
use crate::program::searches::Search;
use crate::program::{AsRead, Change, Program, Resume, Start, StartError};
use crate::session::invitation::SESSION;
use crate::supervisor::{self, Origin};
use crate::sys::memory::is_set_aside;
use crate::sys::process::set_environment;
use crate::sys::procfs::{memory, process_start};
use crate::sys::signals::{Mask, is_ignored, set_disposition};
use crate::wire::control::{Reply, Request, Status};
use crate::wire::settings::{Settings, Sink};
use crate::{client, guard, report};
use mlua::{Error, ExternalResult, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use nix::sys::signal::{SigHandler, Signal};
use std::cell::RefCell;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

thread_local! {
    /// The program of this process. A clone has its own copy, as of everything.
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
    static SCOUT: RefCell<Scout> = RefCell::default();
    static FILTER: RefCell<Filter> = RefCell::default();
}

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

/// The filter, whose function the registry has by the name of [`WATCHED`].
#[derive(Default)]
struct Filter {
    /// The ends of the paths that it takes, and of those of them that it leaves out,
    /// where no more matters.
    ends: Option<[Vec<Vec<u8>>; 2]>,
}

const WATCHED: &str = "forkmon.watched";

/// Runs `action` on the program, if forkmon is enabled in this process.
fn with<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    PROGRAM.with_borrow_mut(|program| program.as_mut().map(action))
}

/// Whether there is memory to take strings from Lua with, which takes some.
fn has_memory() -> bool {
    let has_memory = is_set_aside();
    if !has_memory {
        report::warn_of_memory();
    }
    has_memory
}

/// As [`with`], if there is memory.
fn with_memory<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    if has_memory() { with(action) } else { None }
}

crate::sys::lua::entrance!(super::IDENTITY, super::module);

/// The module: `require 'forkmon.core'`.
pub fn module(lua: &Lua) -> Result<Table> {
    let core = lua.create_table()?;
    for (name, value) in IDENTITY {
        core.set(name.to_string_lossy(), value)?;
    }
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
            with(Program::disable);
            Ok(())
        }),
    )?;
    add(
        "reopens",
        lua.create_function(|_, reopens: bool| {
            with(|program| program.set_reopens(reopens));
            Ok(())
        }),
    )?;
    add(
        "filter",
        lua.create_function(
            |lua, (watched, wanted, ignored): (Function, Option<Table>, Option<Table>)| {
                lua.set_named_registry_value(WATCHED, watched)?;
                let ends = match wanted.zip(ignored) {
                    Some((wanted, ignored)) => Some([bytes(wanted)?, bytes(ignored)?]),
                    None => None,
                };
                FILTER.set(Filter { ends });
                with(Program::forget_searches);
                Ok(())
            },
        ),
    )?;
    add("visit", lua.create_function(visit))?;
    add("look_up", lua.create_function(look_up))?;
    add("checkpoint", lua.create_function(checkpoint))?;
    add(
        "watch",
        lua.create_function(|_, path: LuaString| {
            Ok(with_memory(|program| program.watch(&path.as_bytes())))
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
            Ok(with(|program| program.wrote(&path.as_bytes(), change)))
        }),
    )?;
    add(
        "clock",
        lua.create_function(|_, _: MultiValue| {
            Ok(with(|program| program.processor_time()).unwrap_or_default().as_secs_f64())
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
        "hook",
        lua.create_function(|lua, (original, before, only, stand_in)| {
            crate::sys::lua::hook(lua, original, before, only, stand_in)
        }),
    )?;
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
        "setenv",
        lua.create_function(|_, (name, value): (LuaString, Option<LuaString>)| {
            let name = c_string(&name)?;
            let value = value.as_ref().map(c_string).transpose()?;
            set_environment(&name, value.as_deref()).into_lua_err()
        }),
    )?;
    add("exec", lua.create_function(exec))?;
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
    add("session", lua.create_function(|_, ()| Ok(with(|program| program.session()))))?;
    add("sessions", lua.create_function(|_, ()| Ok(client::sessions())))?;
    add("ask", lua.create_function(ask))?;
    add(
        "width",
        lua.create_function(|_, descriptor: i32| Ok(crate::sys::descriptors::width(descriptor))),
    )?;
    Ok(core)
}

/// Asks the session with this pid: `true`, or a table for 'summary' and
/// 'status', or nil and a message.
fn ask(lua: &Lua, (pid, verb, what): (i32, String, Option<LuaString>)) -> Result<MultiValue> {
    let request = match &verb[..] {
        "summary" => Request::Status { files: false },
        "status" => Request::Status { files: true },
        "resume" => Request::Resume(what.map(|what| what.as_bytes().to_vec()).unwrap_or_default()),
        "restart" => Request::Restart,
        "stop" => Request::Stop,
        _ => return Err(Error::runtime(format!("ask: unknown request '{verb}'"))),
    };
    let own = with(|program| program.session()) == Some(pid);
    match if own { client::ask_own(pid, &request) } else { client::ask(pid, &request) } {
        Ok(Reply::Done) if request == Request::Stop && !client::has_ended(pid) => {
            failed(lua, "it was told to stop, and has not ended yet")
        }
        Ok(Reply::Done) => {
            if request == Request::Restart && !own {
                client::await_restart(pid);
            }
            Ok(MultiValue::from_vec(vec![Value::Boolean(true)]))
        }
        Ok(Reply::Status(status)) => {
            let table = status_table(lua, &status)?;
            if matches!(request, Request::Status { files: true }) {
                add_memory(&table, &status)?;
            }
            Ok(MultiValue::from_vec(vec![Value::Table(table)]))
        }
        Ok(Reply::Refused(why)) => failed(lua, &why),
        Err(error) => failed(lua, &error.to_string()),
    }
}

fn status_table(lua: &Lua, status: &Status) -> Result<Table> {
    let table = lua.create_table()?;
    table.set("pid", status.pid)?;
    table.set("version", lua.create_string(&status.version)?)?;
    table.set("directory", lua.create_string(&status.directory)?)?;
    table.set("command", lua.create_string(&status.command)?)?;
    table.set("state", lua.create_string(&status.state)?)?;
    table.set("program", (status.program > 0).then_some(status.program))?;
    table.set("elapsed", status.elapsed as f64 / 1e6)?;
    table.set("resumes", status.resumes)?;
    table.set("files", status.files)?;
    table.set("polled", status.polled)?;
    table.set("restart_files", strings(lua, &status.restart_files)?)?;
    let checkpoints = lua.create_table()?;
    for checkpoint in &status.checkpoints {
        let entry = lua.create_table()?;
        entry.set("number", checkpoint.index)?;
        entry.set("pid", checkpoint.pid)?;
        entry.set("name", lua.create_string(&checkpoint.name)?)?;
        entry.set("explicit", checkpoint.explicit)?;
        entry.set("at", checkpoint.at as f64 / 1e6)?;
        entry.set("resumed", checkpoint.resumed)?;
        entry.set("count", checkpoint.count)?;
        entry.set("files", strings(lua, &checkpoint.files)?)?;
        entry.set("missing", strings(lua, &checkpoint.missing)?)?;
        checkpoints.push(entry)?;
    }
    table.set("checkpoints", checkpoints)?;
    Ok(table)
}

/// The memory of each checkpoint and of the whole session, in bytes. Reading it
/// takes the kernel a while, so that the supervisor leaves it to who asks.
fn add_memory(table: &Table, status: &Status) -> Result<()> {
    let checkpoints: Table = table.get("checkpoints")?;
    let others = [status.pid, status.supervisor, status.program, status.spare];
    let mut total: u64 = others.into_iter().filter(|pid| *pid > 0).filter_map(memory).sum();
    for (number, checkpoint) in (1i64..).zip(&status.checkpoints) {
        let bytes = memory(checkpoint.pid);
        total += bytes.unwrap_or(0);
        checkpoints.get::<Table>(number)?.set("memory", bytes)?;
    }
    table.set("memory", (total > 0).then_some(total))
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
            PROGRAM.set(Some(program));
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

/// A file is about to be read, if the filter takes it. `joins`: it is no stop point.
fn visit(lua: &Lua, (path, joins): (LuaString, bool)) -> Result<Value> {
    if !has_memory() {
        return Ok(Value::Nil);
    }
    let path = absolute(&path.as_bytes());
    if !is_watched(lua, &path)? {
        return Ok(Value::Nil);
    }
    resumed(lua, with(|program| program.visit(&path, joins)).flatten())
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
fn is_watched(lua: &Lua, path: &[u8]) -> Result<bool> {
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
    Ok(answer.unwrap_or(false))
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

fn failed(lua: &Lua, message: &str) -> Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(message)?)]))
}

fn resumed(lua: &Lua, resume: Option<Resume>) -> Result<Value> {
    let Some(resume) = resume else { return Ok(Value::Nil) };
    let table = lua.create_table()?;
    table.set("changed", strings(lua, &resume.letter.changed)?)?;
    table.set("count", resume.letter.count)?;
    table.set("checkpoint", resume.label.map(|label| lua.create_string(label)).transpose()?)?;
    Ok(Value::Table(table))
}

fn read_settings(options: &Table) -> Result<Settings> {
    Ok(Settings {
        restart_delay: options.get("restart_delay")?,
        ignore_delay: options.get("ignore_delay")?,
        poll: options.get("poll")?,
        max_checkpoints: options.get("max_checkpoints")?,
        stop_timeout: options.get("stop_timeout")?,
        stop_signal: options.get("stop_signal")?,
        quiet: options.get("quiet")?,
        colors: options.get("colors")?,
        content: options.get("content")?,
        clear: options.get("clear")?,
    })
}

/// A list of strings for Lua. One at a time: Lua 5.1 has room for no more than
/// some thousand values in our hands.
fn strings(lua: &Lua, list: &[Vec<u8>]) -> Result<Table> {
    let table = lua.create_table()?;
    for item in list {
        table.push(lua.create_string(item)?)?;
    }
    Ok(table)
}

/// A list of strings from Lua, one at a time as well.
fn bytes(list: Table) -> Result<Vec<Vec<u8>>> {
    let items = list.sequence_values::<LuaString>();
    items.map(|item| Ok(item?.as_bytes().to_vec())).collect()
}

fn paths(options: &Table, name: &str) -> Result<Vec<Vec<u8>>> {
    bytes(options.get(name)?)
}

fn c_string(string: &LuaString) -> Result<CString> {
    CString::new(string.as_bytes().to_vec()).into_lua_err()
}
