//! Asking a session, for the command and for `forkmon.status()`.

use super::convert::{failed, json, strings};
use super::enabled::with;
use crate::client;
use crate::sys::procfs::memory;
use crate::wire::control::{Reply, Request, Status};
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add("sessions", lua.create_function(|_, ()| Ok(client::sessions())))?;
    add("ask", lua.create_function(ask))?;
    add("json", lua.create_function(|_, value: Value| json(&value)))?;
    Ok(())
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
        entry.set("asked", strings(lua, &checkpoint.asked)?)?;
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
