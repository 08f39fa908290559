//! `forkmon.core` for Lua: arguments in, bytes exact, nothing else.

use crate::control::{Reply, Request, Status};
use crate::program::{Candidate, Change, Program, Resume, Start};
use crate::settings::Settings;
use crate::supervisor::events::Sink;
use crate::supervisor::processes::memory;
use crate::supervisor::{self, Origin};
use crate::sys::process::set_environment;
use crate::watch::Stamp;
use crate::{control, report};
use mlua::{Error, ExternalResult, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, PathBuf};

thread_local! {
    /// The program of this process. A clone has its own copy, as of everything.
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
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
pub const IDENTITY: [(&CStr, &str); 3] =
    [(c"VERSION", env!("CARGO_PKG_VERSION")), (c"LUA", LUA), (c"PLATFORM", std::env::consts::OS)];

/// Runs `action` on the program, if forkmon is enabled in this process.
fn with<T>(action: impl FnOnce(&mut Program) -> T) -> Option<T> {
    PROGRAM.with_borrow_mut(|program| program.as_mut().map(action))
}

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
        "visit",
        lua.create_function(|lua, path: LuaString| {
            resumed(lua, with(|program| program.visit(&path.as_bytes())).flatten())
        }),
    )?;
    add("look_up", lua.create_function(look_up))?;
    add("checkpoint", lua.create_function(checkpoint))?;
    add(
        "watch",
        lua.create_function(|_, path: LuaString| {
            with(|program| program.watch(&path.as_bytes()));
            Ok(())
        }),
    )?;
    add(
        "wrote",
        lua.create_function(|_, (path, how): (LuaString, String)| {
            let change = match &how[..] {
                "make" => Change::Make,
                "append" => Change::Append,
                "update" => Change::Update,
                "move" => Change::Move,
                _ => return Err(Error::runtime(format!("wrote: unknown change '{how}'"))),
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
            with(|program| program.empties(&path.as_bytes()));
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
        lua.create_function(|lua, (original, before, only): (Function, Function, Value)| {
            crate::sys::lua::hook(lua, original, before, only)
        }),
    )?;
    add(
        "absolute",
        lua.create_function(|lua, path: LuaString| lua.create_string(absolute(&path.as_bytes()))),
    )?;
    add(
        "getcwd",
        lua.create_function(|lua, ()| {
            lua.create_string(std::env::current_dir()?.as_os_str().as_bytes())
        }),
    )?;
    add(
        "exe",
        lua.create_function(|lua, ()| {
            lua.create_string(std::fs::read_link("/proc/self/exe")?.as_os_str().as_bytes())
        }),
    )?;
    add(
        "cmdline",
        lua.create_function(|lua, ()| {
            let bytes = std::fs::read("/proc/self/cmdline")?;
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
            let text = text.as_bytes();
            if with(|program| program.warn(&text)).is_none() {
                report::warn_bytes(&text);
            }
            Ok(())
        }),
    )?;
    add(
        "supervisor",
        lua.create_function(|_, ()| Ok(with(|program| program.supervisor().as_raw()))),
    )?;
    add("sessions", lua.create_function(|_, ()| Ok(control::sessions())))?;
    add("ask", lua.create_function(ask))?;
    add(
        "width",
        lua.create_function(|_, descriptor: i32| Ok(crate::sys::descriptors::width(descriptor))),
    )?;
    Ok(core)
}

/// Asks the supervisor with this pid: `true`, or a table for 'summary' and
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
    let own = with(|program| program.supervisor().as_raw()) == Some(pid);
    match if own { control::ask_own(pid, &request) } else { control::ask(pid, &request) } {
        Ok(Reply::Done) if request == Request::Stop && !control::has_ended(pid) => {
            failed(lua, "it was told to stop, and has not ended yet")
        }
        Ok(Reply::Done) => {
            if request == Request::Restart && !own {
                control::await_restart(pid);
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
    let others = [status.pid, status.program, status.spare];
    let mut total: u64 = others.into_iter().filter(|pid| *pid > 0).filter_map(memory).sum();
    for (number, checkpoint) in (1i64..).zip(&status.checkpoints) {
        let bytes = memory(checkpoint.pid);
        total += bytes.unwrap_or(0);
        checkpoints.get::<Table>(number)?.set("memory", bytes)?;
    }
    table.set("memory", (total > 0).then_some(total))
}

fn start(lua: &Lua, options: Table) -> Result<MultiValue> {
    let began = supervisor::restart::Start::of_this_process();
    let inherited: bool = options.get("inherited")?;
    let events: Option<LuaString> = options.get("events")?;
    let events = events.map(|sink| Sink::parse(&sink.as_bytes()));
    let origin = Origin { inherited, events };
    let settings = read_settings(&options)?;
    let start = Start {
        main: options.get::<Option<LuaString>>("main")?.map(|path| path.as_bytes().to_vec()),
        before: paths(&options, "before")?
            .into_iter()
            .map(|path| {
                let as_read = began.as_read(&path, settings.content);
                (path, as_read)
            })
            .collect(),
        settings,
        watch: paths(&options, "watch")?,
        inherited,
        overhead: options.get("overhead")?,
        exact: options.get("exact")?,
    };
    let started = Program::start(start, |board, program, settings, mask| {
        // What it would free is the program's: a forgotten file would close one of
        // the supervisor's descriptors, which has its number now.
        lua.gc_stop();
        supervisor::run(board, program, settings, &origin, &|path| fault(lua, path), mask);
    });
    match started {
        Ok((program, resume)) => {
            PROGRAM.set(Some(program));
            if let Ok(variable) = CString::new(supervisor::restart::variable()) {
                let _ = set_environment(&variable, None);
            }
            let resume = resumed(lua, resume)?;
            Ok(MultiValue::from_vec(vec![Value::Boolean(true), resume]))
        }
        Err(error) => failed(lua, &error.to_string()),
    }
}

/// Why the interpreter cannot load a file, in its own words; `None` for what it
/// can, and for what is no Lua at all.
fn fault(lua: &Lua, path: &[u8]) -> Option<Vec<u8>> {
    if path.ends_with(b".so") {
        return None;
    }
    let load: Function = lua.globals().get("loadfile").ok()?;
    let (chunk, message): (Value, Option<LuaString>) =
        load.call(lua.create_string(path).ok()?).ok()?;
    match chunk {
        Value::Nil => message.map(|message| message.as_bytes().to_vec()),
        _ => None,
    }
}

/// A look-up at `paths`, in this order; the function says which the filter takes.
fn look_up(lua: &Lua, (paths, watched): (Vec<LuaString>, Function)) -> Result<Value> {
    // The filter may be the user's function, which may open files in turn: it
    // must not run while the program's state is borrowed.
    let search = || -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for path in &paths {
            let path = absolute(&path.as_bytes());
            let stamp = Stamp::of_file(&path);
            let watched = watched.call(lua.create_string(&path)?)?;
            candidates.push(Candidate { path, stamp, watched });
            if stamp != Stamp::Absent {
                break;
            }
        }
        Ok(candidates)
    };
    let candidates = search()?;
    let resume = with(|program| program.visit_candidates(&candidates)).flatten();
    if resume.is_some() {
        let candidates = search()?;
        with(|program| program.record_candidates(&candidates));
    }
    resumed(lua, resume)
}

fn checkpoint(lua: &Lua, label: Option<LuaString>) -> Result<MultiValue> {
    let label = label.map(|label| label.as_bytes().to_vec()).unwrap_or_default();
    match with(|program| program.checkpoint(&label)) {
        Some((Ok(()), resume)) => {
            let resume = resumed(lua, resume)?;
            Ok(MultiValue::from_vec(vec![Value::Boolean(true), Value::Nil, resume]))
        }
        Some((Err(declined), _)) => failed(lua, &declined.to_string()),
        None => failed(lua, "forkmon is not enabled"),
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

/// The absolute form of a path: joined to the working directory, without `.` and
/// empty components. `..` is taken back only over what is no symbolic link, so
/// that the result leads where the original did.
fn absolute(path: &[u8]) -> Vec<u8> {
    // Most paths are so already.
    let odd = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    if path.first() == Some(&b'/') && !path.ends_with(b"/") && !path.windows(2).any(odd) {
        return path.to_vec();
    }
    let path = PathBuf::from(OsStr::from_bytes(path));
    let joined = match path.is_relative().then(std::env::current_dir) {
        Some(Ok(directory)) => directory.join(path),
        _ => path,
    };
    let mut out = PathBuf::from("/");
    for component in joined.components() {
        match component {
            Component::ParentDir => {
                let link = std::fs::symlink_metadata(&out).is_ok_and(|found| found.is_symlink());
                if link || out.ends_with("..") {
                    out.push("..");
                } else {
                    out.pop();
                }
            }
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out.into_os_string().into_vec()
}
