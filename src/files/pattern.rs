//! Lua's patterns, for where no Lua can be asked: in the middle of C code.
//!
//! Theory of operation. The matcher of Lua 5.4, which those of the other versions agree with but for zero
//! bytes, that no path has. Patterns have been checked before they come here: a fault in one is taken
//! for no match. So is a match that Lua itself would find too complex.

/// A capture: where it begins, and how long it is.
#[derive(Clone, Copy)]
struct Capture {
    start: usize,
    /// `None` while it is open.
    length: Option<usize>,
}

/// As many captures and levels as Lua has.
const MOST_CAPTURES: usize = 32;
const MOST_LEVELS: usize = 200;

const ESCAPE: u8 = b'%';

/// Whether `pattern` is found anywhere in `text`, as `string.find` finds it.
pub fn is_found(text: &[u8], pattern: &[u8]) -> bool {
    let (anchored, pattern) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let last = if anchored { 0 } else { text.len() };
    (0..=last).any(|at| {
        let mut state = Matcher { text, pattern, captures: Vec::new(), levels: 0 };
        state.at(at, 0).is_some()
    })
}

struct Matcher<'a> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    levels: usize,
}

impl Matcher<'_> {
    /// Where a match of the pattern from `p` on ends that begins at `s`.
    fn at(&mut self, s: usize, p: usize) -> Option<usize> {
        if self.levels == MOST_LEVELS {
            return None;
        }
        self.levels += 1;
        let end = self.go_on(s, p);
        self.levels -= 1;
        end
    }

    fn go_on(&mut self, mut s: usize, mut p: usize) -> Option<usize> {
        loop {
            let Some(&item) = self.pattern.get(p) else { return Some(s) };
            match (item, self.pattern.get(p + 1)) {
                (b'(', Some(b')')) => return self.open(s, p + 2, Some(0)),
                (b'(', _) => return self.open(s, p + 1, None),
                (b')', _) => return self.close(s, p + 1),
                (b'$', None) => return (s == self.text.len()).then_some(s),
                (ESCAPE, Some(b'b')) => {
                    s = self.balanced(s, p + 2)?;
                    p += 4;
                    continue;
                }
                (ESCAPE, Some(b'f')) => {
                    p += 2;
                    let end = self.end_of_set(p)?;
                    let before = if s == 0 { 0 } else { self.text[s - 1] };
                    let here = self.text.get(s).copied().unwrap_or(0);
                    if self.is_in_set(before, p, end - 1) || !self.is_in_set(here, p, end - 1) {
                        return None;
                    }
                    p = end;
                    continue;
                }
                (ESCAPE, Some(digit @ b'0'..=b'9')) => {
                    let number = usize::from(digit - b'0').checked_sub(1)?;
                    let Capture { start, length } = *self.captures.get(number)?;
                    let captured = &self.text[start..start + length?];
                    if !self.text[s..].starts_with(captured) {
                        return None;
                    }
                    s += captured.len();
                    p += 2;
                    continue;
                }
                _ => {}
            }
            let end = self.end_of_item(p)?;
            let fits = self.fits(s, p, end);
            match self.pattern.get(end) {
                Some(b'?') => {
                    if fits && let Some(found) = self.at(s + 1, end + 1) {
                        return Some(found);
                    }
                    p = end + 1;
                }
                Some(b'+') => return if fits { self.longest(s + 1, p, end) } else { None },
                Some(b'*') => return self.longest(s, p, end),
                Some(b'-') => return self.shortest(s, p, end),
                _ if fits => (s, p) = (s + 1, end),
                _ => return None,
            }
        }
    }

    fn open(&mut self, s: usize, p: usize, length: Option<usize>) -> Option<usize> {
        if self.captures.len() == MOST_CAPTURES {
            return None;
        }
        self.captures.push(Capture { start: s, length });
        let found = self.at(s, p);
        if found.is_none() {
            self.captures.pop();
        }
        found
    }

    fn close(&mut self, s: usize, p: usize) -> Option<usize> {
        let which = self.captures.iter().rposition(|capture| capture.length.is_none())?;
        self.captures[which].length = Some(s - self.captures[which].start);
        let found = self.at(s, p);
        if found.is_none() {
            self.captures[which].length = None;
        }
        found
    }

    fn longest(&mut self, s: usize, p: usize, end: usize) -> Option<usize> {
        let mut count = 0;
        while self.fits(s + count, p, end) {
            count += 1;
        }
        (0..=count).rev().find_map(|count| self.at(s + count, end + 1))
    }

    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Option<usize> {
        loop {
            if let Some(found) = self.at(s, end + 1) {
                return Some(found);
            }
            if !self.fits(s, p, end) {
                return None;
            }
            s += 1;
        }
    }

    fn balanced(&self, s: usize, p: usize) -> Option<usize> {
        let (open, close) = (*self.pattern.get(p)?, *self.pattern.get(p + 1)?);
        if self.text.get(s) != Some(&open) {
            return None;
        }
        let mut depth = 1;
        for (at, byte) in self.text.iter().enumerate().skip(s + 1) {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        None
    }

    /// Where the single item that begins at `p` ends.
    fn end_of_item(&self, p: usize) -> Option<usize> {
        match self.pattern[p] {
            ESCAPE => (p + 1 < self.pattern.len()).then_some(p + 2),
            b'[' => self.end_of_set(p),
            _ => Some(p + 1),
        }
    }

    fn end_of_set(&self, p: usize) -> Option<usize> {
        if self.pattern.get(p) != Some(&b'[') {
            return None;
        }
        let mut at = p + 1;
        if self.pattern.get(at) == Some(&b'^') {
            at += 1;
        }
        // The first one is a member, whatever it is.
        loop {
            at += if *self.pattern.get(at)? == ESCAPE { 2 } else { 1 };
            if *self.pattern.get(at)? == b']' {
                return Some(at + 1);
            }
        }
    }

    fn fits(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => is_of_class(byte, self.pattern[p + 1]),
            b'[' => self.is_in_set(byte, p, end - 1),
            other => other == byte,
        }
    }

    /// Whether a byte is in the set that begins at `p` and has its bracket at `end`.
    fn is_in_set(&self, byte: u8, p: usize, end: usize) -> bool {
        let mut at = p + 1;
        let is_negated = self.pattern[at] == b'^';
        at += usize::from(is_negated);
        while at < end {
            let item = self.pattern[at];
            let is_range = self.pattern[at + 1] == b'-' && at + 2 < end;
            let (is_it, length) = match item {
                ESCAPE => (is_of_class(byte, self.pattern[at + 1]), 2),
                first if is_range => ((first..=self.pattern[at + 2]).contains(&byte), 3),
                other => (other == byte, 1),
            };
            if is_it {
                return !is_negated;
            }
            at += length;
        }
        is_negated
    }
}

fn is_of_class(byte: u8, class: u8) -> bool {
    let is_it = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | 9..=13),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        _ => return class == byte,
    };
    is_it != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lua_finds_is_found() {
        // As Lua 5.1 to 5.4 and LuaJIT find it.
        let found: [(&str, &str); 26] = [
            ("/a/b.lua", "%.lua$"),
            ("/a/b.lua", "."),
            ("/a/b.lua", ""),
            ("/a/b.lua", "^/a/"),
            ("/a/b.lua", "/b%.l?u?a?$"),
            ("/a/b.lua", "[^.]+%.%a+$"),
            ("/a/b-c.lua", "/[%w-]+%.lua$"),
            ("/a/]x", "[]]x"),
            ("/a/^x", "[%^]x"),
            ("/my-project/x", "/my%-project/"),
            ("/a/b/c", "/.-/c"),
            ("/a/aa/x", "/(a)%1/"),
            ("/a/aa/x", "/(.-)/(%1a)/"),
            ("/f(x)/y", "%b()/"),
            ("/the THE/x", "%f[%u]%u+%f[^%u]"),
            ("/a b", "%s"),
            ("/x9", "%D%d$"),
            ("/aaa", "^/a*$"),
            ("/aaa", "^/a-$"),
            ("/a$b", "$b"),
            ("/a^b", "a^b"),
            ("/deadbeef", "^/%x+$"),
            ("/a-z", "[a%-z]-"),
            ("/-", "[+-]"),
            ("/é", "\u{e9}"),
            ("/a", "()a()$"),
        ];
        for (text, pattern) in found {
            assert!(is_found(text.as_bytes(), pattern.as_bytes()), "{text} {pattern}");
        }
        let missed: [(&str, &str); 10] = [
            ("/a/b.luac", "%.lua$"),
            ("/b.lua", "^b"),
            ("/a", "b"),
            ("/ab", "^/a$"),
            ("/a/b", "/[^%l]"),
            ("/f(x", "%b()"),
            ("/aab", "(a)%1%1"),
            ("/THE", "%f[%l]"),
            ("/aaa", "^/a?$"),
            ("/x", "%d+"),
        ];
        for (text, pattern) in missed {
            assert!(!is_found(text.as_bytes(), pattern.as_bytes()), "{text} {pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(
            text in "[a-c()/.%-]{0,12}", pattern in r"[a-c\[\]^$%().*+?\-bf0-2]{0,10}"
        ) {
            is_found(text.as_bytes(), pattern.as_bytes());
        }

        #[test]
        fn plain_text_is_found_where_it_is(text in "[ab/]{0,8}", part in "[ab/]{0,3}") {
            prop_assert_eq!(is_found(text.as_bytes(), part.as_bytes()), text.contains(&part));
            let (begins, ends) = (format!("^{part}"), format!("{part}$"));
            prop_assert_eq!(is_found(text.as_bytes(), begins.as_bytes()), text.starts_with(&part));
            prop_assert_eq!(is_found(text.as_bytes(), ends.as_bytes()), text.ends_with(&part));
        }
    }
}
