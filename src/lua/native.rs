//! What the program asks and does by C code.
//!
//! Theory of operation. The import slots of the loaded objects lead here (`sys::slots`). What
//! is opened or asked belongs to the last checkpoint: none is taken in the middle of C code, which may hold locks
//! that know their owner by the number of its thread, as those of sqlite do, and a clone has
//! another. Only where a path comes straight from Lua into a function that is known to hold
//! none (`hint`) it is a stop point like one of the hooks in Lua. But no Lua can run there: the
//! functions for `on_resume` are called at the next hook in Lua, and so is a
//! filter that is a function, unless it has decided about the path before.
//!
//! The functions of Lua itself reach files by C code, too. What their hooks have reported
//! is *covered*, once, by the path as it is spelled, and passed over here.

use super::asking::{decide_answer, has_folders};
use super::enabled;
use super::filter::decide;
use super::layers::{
    Undecided, What, decide_later, is_covered, is_observing, joins, set_joins, set_observing,
    was_looked_for,
};
use crate::files::Stamp;
use crate::files::answer::{ALL, Answer, Question};
use crate::files::path::{absolute, absolute_from};
use crate::program::asking::folder_stamp;
use crate::program::{Change, Program};
use crate::sys::lua::take_hint;
use crate::sys::memory::is_set_aside;
use crate::sys::slots::{self, Act, Call, Folder, Observer, Outcome, Place, Verdict};
use crate::sys::status::Fields;
use crate::wire::record::Index;
use mlua::{Function, Lua, Result, Table};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;

thread_local! {
    /// What is to get another name is there.
    static MOVES: Cell<bool> = const { Cell::new(false) };
}

/// Tells the program, in this thread.
struct Native {
    /// The question whose answer is to come.
    asked: RefCell<Option<Asked>>,
}

/// A question that is being asked.
struct Asked {
    path: Vec<u8>,
    question: Question,
    /// Of a listing, what the folder looked like before.
    folder: Stamp,
    checkpoint: Option<Index>,
    /// It is known whether it counts; of a listing, that it does.
    is_decided: bool,
}

/// Adds these functions to the module.
pub fn add_to(lua: &Lua, core: &Table) -> Result<()> {
    let add = |name: &str, function: Result<Function>| core.set(name, function?);

    add(
        "observe",
        lua.create_function(|_, ()| {
            let warning = observe();
            Ok((is_observing(), warning))
        }),
    )?;
    add(
        "joins",
        lua.create_function(|_, joins: bool| {
            set_joins(joins);
            Ok(())
        }),
    )?;
    add(
        "hint",
        lua.create_function(|lua, (original, fields): (Function, Table)| {
            crate::sys::lua::hint(lua, original, fields)
        }),
    )?;
    Ok(())
}

/// Has C code be observed. Returns what has to be said of it, if anything.
fn observe() -> Option<String> {
    match slots::install(Box::new(Native { asked: RefCell::new(None) })) {
        Ok(found) => {
            set_observing(true);
            (found.refused > 0).then(|| unseen(found.refused))
        }
        Err(unsupported) => Some(unsupported.to_string()),
    }
}

fn unseen(slots: usize) -> String {
    format!(
        "{slots} import slots cannot be written to: what is opened or asked through them by C code \
         is not seen"
    )
}

/// C code is observed no more.
pub fn stop_observing() {
    if set_observing(false) {
        slots::remove();
    }
}

impl Observer for Native {
    fn before(&self, call: &Call) -> Verdict {
        if !is_set_aside() {
            return Verdict::Pass;
        }
        match *call {
            Call::Open { place, flags } => {
                opens(place, flags);
                Verdict::Pass
            }
            Call::Load { place } => {
                if place.path.contains(&b'/') {
                    opens(place, libc::O_RDONLY);
                }
                Verdict::Pass
            }
            Call::Change { place, act } => {
                changes(place, act);
                if act == Act::MakeSome { Verdict::Tell } else { Verdict::Pass }
            }
            Call::Run { starts, .. } => {
                if starts {
                    enabled::try_with(Program::awaits_child);
                }
                Verdict::Tell
            }
            Call::Stat { place, follow, fields } => {
                let hint = take_hint(place.path.as_ptr() as usize);
                let fields = hint.filter(|fields| *fields != 0).map_or(fields, Fields);
                self.asks(place, Question::Status { follow, fields }, hint.is_some())
            }
            Call::Access { place, mode, effective } => {
                self.asks(place, Question::Access { mode: mode as u8, effective }, is_marked(place))
            }
            Call::Link { place } => self.asks(place, Question::Link, is_marked(place)),
            Call::Resolve { place } => self.asks(place, Question::Resolve, is_marked(place)),
            Call::List { place } => {
                self.asks(place, Question::Names { most: ALL }, is_marked(place))
            }
        }
    }

    fn after(&self, call: &Call, outcome: &Outcome) {
        match *call {
            Call::Run { ends, .. } => {
                if ends || matches!(outcome, Outcome::Failed(_)) {
                    enabled::try_with(Program::has_awaited_child);
                }
                return;
            }
            // Only now its name is known. Names that come are waited for, so this is in time.
            Call::Change { act: Act::MakeSome, .. } => {
                if let Outcome::Target(made) = *outcome {
                    let path = absolute(made);
                    enabled::try_with(|program| program.made(&path));
                }
                return;
            }
            _ => {}
        }
        let Some(asked) = self.asked.take() else { return };
        let Asked { path, question, folder, checkpoint, is_decided } = asked;
        let answer = match (*outcome, question) {
            (Outcome::Failed(error), _) => Answer::Failed(error),
            (Outcome::Listing(listed), _) => {
                enabled::try_with(|program| {
                    program.lists(listed, path, folder, checkpoint, is_decided)
                });
                return;
            }
            (Outcome::Status(found), Question::Status { fields, .. }) => {
                Answer::status(&found, fields)
            }
            (Outcome::Target(target), Question::Resolve) => Answer::path(target),
            // The program may have had room for a part of it, or nobody tells.
            _ => Answer::ask(&path, &question),
        };
        // A folder that could not be listed may have anything in it later.
        if is_decided || matches!(question, Question::Names { .. }) {
            enabled::try_with(|program| program.told(&path, question, answer, folder, checkpoint));
        } else {
            decide_later(Undecided { path, checkpoint, what: What::Told(question, answer) });
        }
    }

    fn name(&self, folder: Folder, name: Option<&[u8]>) {
        enabled::try_with(|program| match name {
            Some(name) => program.lists_name(folder, name, |path, name| {
                let entry = [path, b"/", name].concat();
                decide(&entry) != Some(false)
            }),
            None => program.has_listed_all(folder, has_folders),
        });
    }

    fn rewound(&self, folder: Folder) {
        enabled::try_with(|program| program.lists_anew(folder));
    }

    fn closed(&self, folder: Folder) {
        enabled::try_with(|program| program.has_listed_enough(folder));
    }

    fn refused(&self, slots: usize) {
        enabled::try_with(|program| program.warn_once(unseen(slots).as_bytes()));
    }
}

impl Native {
    /// `may_stop`: no C code holds a lock.
    fn asks(&self, place: Place, question: Question, may_stop: bool) -> Verdict {
        let path = path_of(place);
        if is_covered(&path) {
            return Verdict::Pass;
        }
        let decision = match question {
            // It may still come to count by its names.
            Question::Names { .. } => decide(&path),
            _ => decide_answer(&path),
        };
        if decision == Some(false) && !matches!(question, Question::Names { .. }) {
            return Verdict::Pass;
        }
        let folder = folder_stamp(&path, &question);
        let joins = joins() || !may_stop;
        let stopped = enabled::try_with(|program| {
            let stopped = program.stop_to_ask(&path, &question, joins);
            stopped.map(|resume| (resume, program.current()))
        });
        let Some((resume, checkpoint)) = stopped.flatten() else { return Verdict::Pass };
        // Who is resumed here is so as it looks otherwise by now.
        let folder = if resume.is_some() { folder_stamp(&path, &question) } else { folder };
        enabled::resumed_unheard(resume);
        let is_decided = match question {
            Question::Names { .. } => decision == Some(true),
            _ => decision.is_some(),
        };
        self.asked.replace(Some(Asked { path, question, folder, checkpoint, is_decided }));
        Verdict::Tell
    }
}

/// Whether a path comes from Lua straight into C code that is known.
fn is_marked(place: Place) -> bool {
    take_hint(place.path.as_ptr() as usize).is_some()
}

/// The absolute path of a place.
fn path_of(place: Place) -> Vec<u8> {
    match place.folder_path() {
        Some(folder) => absolute_from(&folder, place.path.to_vec()),
        None => absolute(place.path),
    }
}

/// A file is about to be opened.
fn opens(place: Place, flags: c_int) {
    if flags & (libc::O_PATH | libc::O_DIRECTORY) != 0 {
        return;
    }
    let path = path_of(place);
    if is_covered(&path) || was_looked_for(&path) {
        return;
    }
    let access = flags & libc::O_ACCMODE;
    let (joins, is_cut) = (joins() || !is_marked(place), flags & libc::O_TRUNC != 0);
    if access != libc::O_WRONLY && !is_cut {
        match decide(&path) {
            Some(true) => enabled::resumed_unheard(
                enabled::try_with(|program| program.visit(&path, joins)).flatten(),
            ),
            Some(false) => {}
            None => {
                let stopped = enabled::try_with(|program| program.stop_to_open(&path, joins));
                if let Some((resume, stamp, checkpoint)) = stopped.flatten() {
                    enabled::resumed_unheard(resume);
                    decide_later(Undecided {
                        path: path.clone(),
                        checkpoint,
                        what: What::Opened(stamp),
                    });
                }
            }
        }
    }
    if access != libc::O_RDONLY || is_cut || flags & libc::O_CREAT != 0 {
        let is_new =
            is_cut || flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL;
        let change = match flags & (libc::O_APPEND | libc::O_CREAT) {
            _ if is_new => Change::Make,
            0 => Change::Update,
            // What is there stays, and it need not be there.
            _ => Change::Append,
        };
        enabled::try_with(|program| program.wrote(&path, change));
    }
}

/// Something is about to be changed by its path.
fn changes(place: Place, act: Act) {
    let path = path_of(place);
    let change = match act {
        Act::Make | Act::MoveHere => Change::Make,
        // What it will be called is not known, but that the folder is another then.
        Act::MakeSome => Change::Append,
        Act::Remove | Act::MoveAway => Change::Move,
        Act::Resize | Act::Mark => Change::Update,
    };
    if is_covered(&path) {
        MOVES.set(false);
        return;
    }
    // What cannot be moved away takes nobody's place.
    if act == Act::MoveHere && !MOVES.get() {
        return;
    }
    let succeeds = enabled::try_with(|program| {
        let succeeds = program.wrote(&path, change);
        program.effect(false);
        succeeds
    });
    MOVES.set(act == Act::MoveAway && succeeds == Some(true));
}
