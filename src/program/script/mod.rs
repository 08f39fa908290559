//! Scripts: where a Lua text can be cut between two statements of its top level.
//!
//! Theory of operation. A script is run as a whole, with a question put between some of
//! its statements (`forkmon.script` does that): has the text changed from here on? When it
//! has, the rest of the new text is compiled, the locals are declared again before it, and
//! the run goes on there. What that takes is found out here, by reading the text once:
//! where statements end, which locals are known there, and which of those are *shared*: a
//! function has them, and somebody assigns them. A copy of these would be another
//! variable.
//!
//! `lexer` cuts words, `scope` knows names, `parser` the grammar. No Lua is needed, and
//! nothing of the system.

mod declarations;
mod expressions;
mod lexer;
mod parser;
mod scope;

use parser::Parser;

pub use lexer::{Dialect, Failure};
pub use parser::Scan;

/// Where a scan begins, in a text that has been run up to there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// In bytes; a boundary of the text before it was changed.
    pub offset: usize,
    /// Whether the statement before it could go on.
    pub is_open: bool,
    /// The locals that are known there.
    pub names: &'a [Vec<u8>],
}

/// Reads a text from `place` on.
///
/// # Errors
/// Where the text is not Lua as we know it, or what is at `place` belongs to the statement
/// before it.
pub fn scan<'a>(text: &'a [u8], dialect: Dialect, place: Place<'a>) -> Result<Scan<'a>, Failure> {
    let Place { offset, is_open, names } = place;
    let failed = |reason| Err(Failure { reason, offset });
    if offset > text.len() {
        return failed("the text ends before");
    }
    if lexer::Lexer::new(text, dialect, offset, 1).is_inside_a_word() {
        return failed("a word goes on");
    }
    let parser = Parser::new(text, dialect, offset, lexer::line_at(text, offset), names)?;
    if is_open && parser.continues() {
        return failed("a statement goes on");
    }
    parser.run()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIALECTS: [Dialect; 5] =
        [Dialect::Lua51, Dialect::Lua52, Dialect::Lua54, Dialect::Lua55, Dialect::LuaJit];

    fn offsets(text: &str, dialect: Dialect) -> Vec<usize> {
        let found = scan(text.as_bytes(), dialect, Place::default()).expect("a good text");
        found.boundaries.iter().map(|boundary| boundary.offset).collect()
    }

    /// The text with a bar at each boundary.
    fn cut(text: &str, dialect: Dialect) -> String {
        let mut shown = String::new();
        let mut last = 0;
        for offset in offsets(text, dialect) {
            shown += &text[last..offset];
            shown.push('|');
            last = offset;
        }
        shown + &text[last..]
    }

    #[test]
    fn cuts_behind_what_may_take_time() {
        for (text, expected) in [
            ("local a = 1\nf(a)\nb = 2\ng'x';\n", "local a = 1\nf(a)|\nb = 2\ng'x';|\n"),
            ("f\n(g)()\nh()", "f\n(g)()|\nh()|"),
            ("for i = 1, 2 do f() end return f()", "for i = 1, 2 do f() end| return f()"),
            ("local function f() g() end", "local function f() g() end"),
            ("do f() end -- f()\n--[[ f() ]]", "do f() end| -- f()\n--[[ f() ]]"),
        ] {
            for dialect in DIALECTS {
                assert_eq!(cut(text, dialect), expected);
            }
        }
    }

    #[test]
    fn does_not_cut_where_it_could_not_be_exact() {
        let whole = |text: &str| offsets(text, Dialect::Lua54).is_empty();
        assert!(whole("::top:: f() goto top"));
        assert!(whole("goto last f() do ::other:: end ::last::"));
        assert!(whole("local x <close> = f() f()"));
        assert!(whole("local _ENV = {} f()"));
        assert!(!whole("do goto next ::next:: end f()"));
        assert!(!whole("local x <const> = f() f()"));
    }

    #[test]
    fn tells_whose_variables_are_shared() {
        let text = b"local a, b, c = 1 function f() a = b end c = f() local a";
        let found = scan(text, Dialect::Lua54, Place::default()).expect("a good text");
        let [a, b, c, again] = &found.variables[..] else { panic!("four variables") };
        assert!(a.assigned_inside.is_some() && a.captured.is_some() && a.to.is_some());
        assert!(b.captured.is_some() && b.assigned.is_none());
        assert!(c.captured.is_none() && c.assigned.is_some() && c.assigned_inside.is_none());
        assert!(again.mentioned.is_none() && again.to.is_none());
    }

    fn word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "local", "function", "end", "do", "if", "then", "else", "for", "in", "while", "repeat",
            "until", "return", "goto", "::", "a", "b", "f", "(", ")", "{", "}", "[", "]", "=", ",",
            ";", "1", "'s'", "[[l]]", "--c\n", "..", "...", "<const>", "global", "*", "-", "not",
            "and", "\n", "f()", "x = 1", "f(a) ", "local a ", ":m()", ".x", "f'x'\n",
        ])
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            words in prop::collection::vec(word(), 0..40), bytes in prop::collection::vec(any::<u8>(), 0..60),
            offset in 0usize..50
        ) {
            for text in [words.join(" ").into_bytes(), words.concat().into_bytes(), bytes] {
                for dialect in DIALECTS {
                    for is_open in [false, true] {
                        let _ = scan(&text, dialect, Place { offset, is_open, names: &[] });
                    }
                }
            }
        }

        /// Going on from a place, it finds what it found behind that.
        #[test]
        fn a_rest_is_cut_where_the_whole_is(
            statements in prop::collection::vec(
                prop::sample::select(vec![
                    "f(a)", "local a = f()", "x = g", "do f() end", "for i = 1, 2 do f() end", "y = {f()}",
                    "function f() a = 1 end", "local function h() return h() end", "g'x';", "-- c",
                ]),
                0..12,
            ),
        ) {
            let text = statements.join("\n");
            for dialect in DIALECTS {
                let found = scan(text.as_bytes(), dialect, Place::default()).expect("a good text");
                for (at, boundary) in found.boundaries.iter().enumerate() {
                    let place = Place { offset: boundary.offset, is_open: boundary.is_open, names: &[] };
                    let rest = scan(text.as_bytes(), dialect, place).expect("a good rest");
                    prop_assert_eq!(&rest.boundaries[..], &found.boundaries[at + 1..]);
                }
            }
        }
    }
}
