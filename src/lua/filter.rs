//! Which paths the program's filter takes, whoever asks.

use super::convert::bytes;
use crate::files::pattern::is_found;
use mlua::{Function, Lua, Result, Table, Value};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

thread_local! {
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

/// From now on this is the filter: the function that decides; the ends of the paths that are
/// wanted and of those that are ignored, where no more matters; and for both the patterns or a function.
///
/// # Errors
/// Where these are no strings.
pub fn set(lua: &Lua, watched: Function, ends: Option<(Table, Table)>, rules: Table) -> Result<()> {
    lua.set_named_registry_value(WATCHED, watched)?;
    let ends = match ends {
        Some((wanted, ignored)) => Some([bytes(wanted)?, bytes(ignored)?]),
        None => None,
    };
    let rule = |at: usize| match rules.get(at)? {
        Value::Table(patterns) => bytes(patterns).map(Some),
        _ => Ok(None),
    };
    let patterns = [rule(1)?, rule(2)?];
    FILTER.set(Filter { ends, patterns, decided: FxHashMap::default() });
    Ok(())
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
    if let Some(answer) = answer {
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
