//! The words of Lua, as each of its versions cuts them.

/// Whose grammar a text is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "a core is built for one Lua")]
pub enum Dialect {
    /// Lua 5.1: `goto` is a name.
    Lua51,
    /// Lua 5.2 and 5.3.
    Lua52,
    /// Lua 5.4: attribs.
    Lua54,
    /// Lua 5.5: attribs, `global`, names for `...`.
    Lua55,
    /// LuaJIT: `goto` is a name unless one follows it; names may have any byte above 127.
    LuaJit,
}

/// A reserved word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    And,
    Break,
    Do,
    Else,
    Elseif,
    End,
    False,
    For,
    Function,
    Goto,
    If,
    In,
    Local,
    Nil,
    Not,
    Or,
    Repeat,
    Return,
    Then,
    True,
    Until,
    While,
}

/// A token. Signs that stand for themselves are bytes, the longer ones have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    Name(&'a [u8]),
    Word(Word),
    Number,
    Text,
    Sign(u8),
    /// `::`
    Colons,
    /// `...`
    Dots,
    /// An operator that can only stand between two operands.
    Binary,
    /// The end of the text.
    End,
}

/// What cannot be read: why, and where in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub offset: usize,
}

/// Reads tokens one by one. A copy reads ahead.
#[derive(Clone, Copy)]
pub struct Lexer<'a> {
    text: &'a [u8],
    dialect: Dialect,
    /// Where the next token is looked for.
    pub offset: usize,
    /// The line of `offset`, as Lua counts: from 1, and two different newline
    /// characters in a row are one newline.
    pub line: u32,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], dialect: Dialect, offset: usize, line: u32) -> Lexer<'a> {
        Lexer { text, dialect, offset, line }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.offset + ahead).copied().unwrap_or(0)
    }

    fn failed<T>(&self, reason: &'static str) -> Result<T, Failure> {
        Err(Failure { reason, offset: self.offset })
    }

    fn newline(&mut self) {
        let pair = matches!((self.byte(0), self.byte(1)), (b'\r', b'\n') | (b'\n', b'\r'));
        self.offset += if pair { 2 } else { 1 };
        self.line += 1;
    }

    fn starts_name(&self, byte: u8) -> bool {
        byte.is_ascii_alphabetic() || byte == b'_' || byte > 127 && self.dialect == Dialect::LuaJit
    }

    fn continues_name(&self, byte: u8) -> bool {
        self.starts_name(byte) || byte.is_ascii_digit()
    }

    /// Whether the word or number that ends before `offset` would go on there.
    pub fn is_inside_a_word(&self) -> bool {
        let before = self.offset.checked_sub(1).and_then(|at| self.text.get(at));
        before.is_some_and(|byte| self.continues_name(*byte)) && self.continues_name(self.byte(0))
    }

    /// The next token, and where it starts.
    pub fn next(&mut self) -> Result<(Token<'a>, usize), Failure> {
        self.skip_blanks()?;
        let start = self.offset;
        let Some(&first) = self.text.get(start) else { return Ok((Token::End, start)) };
        if self.starts_name(first) {
            while self.offset < self.text.len() && self.continues_name(self.byte(0)) {
                self.offset += 1;
            }
            let name = &self.text[start..self.offset];
            return Ok((word(name, self.dialect).map_or(Token::Name(name), Token::Word), start));
        }
        let token = match first {
            b'0'..=b'9' => self.number(),
            b'.' if self.byte(1).is_ascii_digit() => self.number(),
            b'.' if self.byte(1) == b'.' && self.byte(2) == b'.' => self.sign(3, Token::Dots),
            b'.' if self.byte(1) == b'.' => self.sign(2, Token::Binary),
            b'"' | b'\'' => self.quoted(first)?,
            b'[' if self.long_level().is_some() => {
                self.long()?;
                Token::Text
            }
            b':' if self.byte(1) == b':' => self.sign(2, Token::Colons),
            b'=' | b'>' | b'~' if self.byte(1) == b'=' => self.sign(2, Token::Binary),
            b'<' if matches!(self.byte(1), b'=' | b'<') => self.sign(2, Token::Binary),
            b'>' if self.byte(1) == b'>' => self.sign(2, Token::Binary),
            b'/' if self.byte(1) == b'/' => self.sign(2, Token::Binary),
            b'+' | b'/' | b'%' | b'^' | b'&' | b'|' => self.sign(1, Token::Binary),
            b'(' | b')' | b'{' | b'}' | b'[' | b']' | b';' | b',' | b'.' | b':' | b'=' | b'-'
            | b'<' | b'>' | b'~' | b'#' | b'*' => self.sign(1, Token::Sign(first)),
            _ => return self.failed("an unknown character"),
        };
        Ok((token, start))
    }

    fn sign(&mut self, length: usize, token: Token<'a>) -> Token<'a> {
        self.offset += length;
        token
    }

    fn skip_blanks(&mut self) -> Result<(), Failure> {
        loop {
            match self.byte(0) {
                b'\n' | b'\r' => self.newline(),
                b' ' | b'\t' | 0x0b | 0x0c => self.offset += 1,
                b'-' if self.byte(1) == b'-' => {
                    self.offset += 2;
                    if self.byte(0) == b'[' && self.long_level().is_some() {
                        self.long()?;
                    } else {
                        let rest = &self.text[self.offset..];
                        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                        self.offset += end.unwrap_or(rest.len());
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Everything that could be part of a number is, as in Lua: `3..2` is a bad one.
    fn number(&mut self) -> Token<'a> {
        let hexadecimal = self.byte(0) == b'0' && self.byte(1) | 0x20 == b'x';
        let exponent = if hexadecimal { b'p' } else { b'e' };
        loop {
            let byte = self.byte(0);
            if byte | 0x20 == exponent && matches!(self.byte(1), b'+' | b'-') {
                self.offset += 2;
            } else if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' {
                self.offset += 1;
            } else {
                return Token::Number;
            }
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Token<'a>, Failure> {
        self.offset += 1;
        loop {
            match self.byte(0) {
                byte if byte == quote => return Ok(self.sign(1, Token::Text)),
                0 if self.offset >= self.text.len() => return self.failed("an unfinished string"),
                b'\n' | b'\r' => return self.failed("an unfinished string"),
                b'\\' => {
                    self.offset += 1;
                    match self.byte(0) {
                        b'\n' | b'\r' => self.newline(),
                        b'z' if self.dialect != Dialect::Lua51 => {
                            self.offset += 1;
                            self.skip_spaces();
                        }
                        _ => self.offset += 1,
                    }
                }
                _ => self.offset += 1,
            }
        }
    }

    fn skip_spaces(&mut self) {
        loop {
            match self.byte(0) {
                b'\n' | b'\r' => self.newline(),
                b' ' | b'\t' | 0x0b | 0x0c => self.offset += 1,
                _ => return,
            }
        }
    }

    /// How many `=` are in the long bracket that opens here, if one does.
    fn long_level(&self) -> Option<usize> {
        let level = self.text[self.offset + 1..].iter().take_while(|byte| **byte == b'=').count();
        (self.byte(level + 1) == b'[').then_some(level)
    }

    fn long(&mut self) -> Result<(), Failure> {
        let level = self.long_level().unwrap_or_default();
        self.offset += level + 2;
        while self.offset < self.text.len() {
            match self.byte(0) {
                b'\n' | b'\r' => self.newline(),
                b']' => {
                    let rest = &self.text[self.offset + 1..];
                    let found = rest.iter().take_while(|byte| **byte == b'=').count();
                    if found == level && rest.get(found) == Some(&b']') {
                        self.offset += level + 2;
                        return Ok(());
                    }
                    self.offset += 1;
                }
                _ => self.offset += 1,
            }
        }
        self.failed("an unfinished long string or comment")
    }
}

fn word(name: &[u8], dialect: Dialect) -> Option<Word> {
    Some(match name {
        b"and" => Word::And,
        b"break" => Word::Break,
        b"do" => Word::Do,
        b"else" => Word::Else,
        b"elseif" => Word::Elseif,
        b"end" => Word::End,
        b"false" => Word::False,
        b"for" => Word::For,
        b"function" => Word::Function,
        b"goto" if dialect != Dialect::Lua51 => Word::Goto,
        b"if" => Word::If,
        b"in" => Word::In,
        b"local" => Word::Local,
        b"nil" => Word::Nil,
        b"not" => Word::Not,
        b"or" => Word::Or,
        b"repeat" => Word::Repeat,
        b"return" => Word::Return,
        b"then" => Word::Then,
        b"true" => Word::True,
        b"until" => Word::Until,
        b"while" => Word::While,
        _ => return None,
    })
}

/// The line of an offset, as Lua counts them.
pub fn line_at(text: &[u8], offset: usize) -> u32 {
    let mut lexer = Lexer::new(text, Dialect::Lua51, 0, 1);
    while lexer.offset < offset {
        match text[lexer.offset] {
            b'\n' | b'\r' => lexer.newline(),
            _ => lexer.offset += 1,
        }
    }
    lexer.line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str, dialect: Dialect) -> Vec<(Token<'_>, u32)> {
        let mut lexer = Lexer::new(text.as_bytes(), dialect, 0, 1);
        let mut tokens = Vec::new();
        loop {
            let (token, _) = lexer.next().expect("a good text");
            if token == Token::End {
                return tokens;
            }
            tokens.push((token, lexer.line));
        }
    }

    #[test]
    fn cuts_words() {
        let text = "x=0xe+1 --[==[ ]]\n]==]\r\n\"\\\"\\z\n a\"..[[\n]]::a.b";
        assert_eq!(
            tokens(text, Dialect::Lua54),
            [
                (Token::Name(b"x"), 1),
                (Token::Sign(b'='), 1),
                (Token::Number, 1),
                (Token::Binary, 1),
                (Token::Number, 1),
                (Token::Text, 4),
                (Token::Binary, 4),
                (Token::Text, 5),
                (Token::Colons, 5),
                (Token::Name(b"a"), 5),
                (Token::Sign(b'.'), 5),
                (Token::Name(b"b"), 5),
            ]
        );
    }

    #[test]
    fn tells_goto_and_names_by_dialect() {
        assert_eq!(tokens("goto", Dialect::Lua51), [(Token::Name(b"goto"), 1)]);
        assert_eq!(tokens("goto", Dialect::Lua52), [(Token::Word(Word::Goto), 1)]);
        let name = Token::Name("\u{e4}".as_bytes());
        assert_eq!(tokens("\u{e4}", Dialect::LuaJit), [(name, 1)]);
        assert!(Lexer::new("\u{e4}".as_bytes(), Dialect::Lua54, 0, 1).next().is_err());
    }

    #[test]
    fn counts_lines_as_lua_does() {
        assert_eq!(line_at(b"a\r\nb\n\rc\n\nd", 10), 5);
    }
}
