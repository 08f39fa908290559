//! What the hooks in Lua call when the program is about to ask something of the file
//! system.
//!
//! What counts: the filter takes the path; or it is a folder, or may become one, as there may
//! be files in it that the filter takes; of a listing, the filter takes one of the names, or
//! there is a folder among them, or nothing at all.

use super::convert::resumed;
use super::enabled::{has_memory, with};
use super::filter::{decide, is_watched};
use super::layers::{cover, decide_queued};
use crate::files::answer::{ALL, Answer, Names, Question};
use crate::files::path::absolute;
use crate::program::asking::folder_stamp;
use crate::sys::status::{Fields, Status};
use mlua::{Error, Function, Lua, LuaString, Result, Table, Value};
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::os::unix::ffi::OsStrExt;

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    let fields = lua.create_table()?;
    for (name, field) in FIELDS {
        fields.set(name, field.0)?;
    }
    core.set("fields", fields)?;
    add("inquire", lua.create_function(inquire))
}

/// What hooks call the parts of a status.
const FIELDS: [(&str, Fields); 10] = [
    ("presence", Fields::PRESENCE),
    ("kind", Fields::KIND),
    ("mode", Fields::MODE),
    ("size", Fields::SIZE),
    ("modified", Fields::MODIFIED),
    ("changed", Fields::CHANGED),
    ("owner", Fields::OWNER),
    ("links", Fields::LINKS),
    ("identity", Fields::IDENTITY),
    ("all", Fields::GUESSED),
];

/// A question is about to be asked: of which path, whether that is no stop point, which
/// question, and which fields of a status.
fn inquire(
    lua: &Lua,
    (path, joins, kind, fields): (LuaString, bool, LuaString, Option<u16>),
) -> Result<Value> {
    if !has_memory() {
        return Ok(Value::Nil);
    }
    let path = absolute(&path.as_bytes());
    cover(&path);
    decide_queued(lua)?;
    let fields = Fields(fields.unwrap_or_default());
    let question = match &*kind.as_bytes() {
        b"status" => Question::Status { follow: true, fields },
        b"link_status" => Question::Status { follow: false, fields },
        b"link" => Question::Link,
        b"names" => Question::Names { most: ALL },
        _ => return Err(Error::runtime("inquire: unknown question")),
    };
    let folder = folder_stamp(&path, &question);
    let Some(answer) = counted(lua, &path, &question)? else { return Ok(Value::Nil) };
    resumed(lua, with(|program| program.ask(&path, question, answer, folder, joins)).flatten())
}

/// What the program is about to be told, if that counts and is news.
fn counted(lua: &Lua, path: &[u8], question: &Question) -> Result<Option<Answer>> {
    if let Question::Names { most } = *question {
        if with(|program| program.has_listed(path, question)) == Some(true) {
            return Ok(None);
        }
        return counted_names(lua, path, most);
    }
    let taken = is_watched(lua, path)?;
    if !taken && !may_be_folder(path) {
        return Ok(None);
    }
    if let Question::Status { follow, fields } = *question {
        let found = Status::of(path, follow);
        let is_open = found.is_ok_and(|found| found.is_folder());
        let answer = match found {
            Ok(found) => Answer::status(&found, fields),
            Err(error) => Answer::Failed(error as i32),
        };
        return Ok((taken || is_open || answer.is_absent()).then_some(answer));
    }
    Ok(taken.then(|| Answer::ask(path, question)))
}

fn counted_names(lua: &Lua, path: &[u8], most: u64) -> Result<Option<Answer>> {
    let (mut taken, mut failure) = (is_watched(lua, path)?, None);
    let mut entry = path.to_vec();
    if !entry.ends_with(b"/") {
        entry.push(b'/');
    }
    let start = entry.len();
    let names = Names::list(path, most, |name, is_folder| {
        if !taken && failure.is_none() {
            entry.truncate(start);
            entry.extend(name);
            taken = is_folder
                || is_watched(lua, &entry).unwrap_or_else(|error| {
                    failure = Some(error);
                    false
                });
        }
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    Ok(match names {
        Ok(names) => (taken || names.count == 0).then_some(Answer::Names(names)),
        Err(error) => Some(Answer::Failed(error as i32)),
    })
}

/// Whether an answer about a path counts, where no Lua can run; `None` when only a function
/// knows.
pub fn decide_answer(path: &[u8]) -> Option<bool> {
    let decision = decide(path);
    if decision == Some(true) || !may_be_folder(path) {
        return decision;
    }
    match Status::of(path, true) {
        Ok(found) if !found.is_folder() => decision,
        _ => Some(true),
    }
}

/// Whether a folder has folders in it.
pub fn has_folders(path: &[u8]) -> bool {
    // Each is another name of this one, by `..`, where the file system counts these.
    let links = Status::of(path, true).map_or(0, |found| found.links);
    let is_folder = |entry: DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let list = || std::fs::read_dir(OsStr::from_bytes(path));
    links != 2 && list().is_ok_and(|entries| entries.flatten().any(is_folder))
}

/// Whether a name looks like that of a folder: most have no dot in it, and most files do. This
/// saves a look at each file that the filter does not take.
fn may_be_folder(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    !name.iter().skip(1).any(|byte| *byte == b'.')
}
