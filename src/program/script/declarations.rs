//! What declares names at the top level and in blocks.

use super::lexer::{Dialect, Lexer, Token, Word};
use super::parser::{Ending, Parsed, Parser};

impl<'a> Parser<'a> {
    fn attrib(&mut self) -> Parsed<Option<&'a [u8]>> {
        let has = matches!(self.dialect, Dialect::Lua54 | Dialect::Lua55) && self.takes(b'<')?;
        if !has {
            return Ok(None);
        }
        let attrib = self.name()?;
        self.sign(b'>')?;
        Ok(Some(attrib))
    }

    pub fn local(&mut self) -> Parsed<Ending> {
        let of_all = self.attrib()?;
        let mut declared = Vec::new();
        loop {
            let name = self.name()?;
            let attrib = self.attrib()?.or(of_all);
            declared.push((name, attrib));
            if !self.takes(b',')? {
                break;
            }
        }
        if self.takes(b'=')? {
            self.expressions()?;
        }
        for (at, (name, attrib)) in declared.iter().enumerate() {
            self.declare(name, attrib.is_some());
            let is_double = declared[..at].iter().any(|(other, _)| other == name);
            if self.scope.is_top() && (*attrib == Some(b"close") || is_double) {
                self.is_whole = true;
            }
        }
        Ok(Ending::Open)
    }

    /// Declares a local that is known from here on.
    pub fn declare(&mut self, name: &'a [u8], is_constant: bool) {
        if self.scope.is_top() {
            // All that is global hangs on it.
            self.is_whole |= name == b"_ENV";
            self.scope.declare_top(name, is_constant, self.end);
        } else {
            self.scope.declare_inner(name);
        }
    }

    pub fn declares_globals(&self) -> Parsed<bool> {
        Ok(self.dialect == Dialect::Lua55
            && matches!(
                self.peek()?,
                Token::Name(_) | Token::Sign(b'*' | b'<') | Token::Word(Word::Function)
            ))
    }

    pub fn globals(&mut self) -> Parsed<Ending> {
        let is_top = self.scope.is_top();
        let mut text = self.start..self.start;
        self.advance()?;
        if self.token == Token::Word(Word::Function) {
            self.advance()?;
            let name = self.name()?;
            self.scope.declare_global(name, self.end);
            if is_top {
                let declaration = format!("global {}", String::from_utf8_lossy(name));
                self.scan.globals.push((declaration, self.end));
            }
            self.function(false)?;
            return Ok(Ending::Closed);
        }
        self.attrib()?;
        let mut names = Vec::new();
        if !self.takes(b'*')? {
            loop {
                names.push(self.name()?);
                self.attrib()?;
                if !self.takes(b',')? {
                    break;
                }
            }
        }
        text.end = self.end;
        if self.takes(b'=')? {
            self.expressions()?;
        }
        for name in names {
            self.scope.declare_global(name, self.end);
        }
        if is_top {
            let declaration = one_line(&self.text[text]);
            self.scan.globals.push((declaration, self.end));
        }
        Ok(Ending::Open)
    }
}

/// A declaration without the comments and newlines in it.
fn one_line(declaration: &[u8]) -> String {
    let mut lexer = Lexer::new(declaration, Dialect::Lua55, 0, 1);
    let mut line = String::new();
    while let Ok((token, start)) = lexer.next()
        && token != Token::End
    {
        line.push_str(&String::from_utf8_lossy(&declaration[start..lexer.offset]));
        line.push(' ');
    }
    line
}
