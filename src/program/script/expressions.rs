//! The expressions of Lua, as far as they tell where statements end and what names mean.

use super::lexer::{Token, Word};
use super::parser::{Parsed, Parser};

impl<'a> Parser<'a> {
    pub fn expressions(&mut self) -> Parsed {
        loop {
            self.expression()?;
            if !self.takes(b',')? {
                return Ok(());
            }
        }
    }

    pub fn expression(&mut self) -> Parsed {
        loop {
            while matches!(self.token, Token::Sign(b'-' | b'~' | b'#') | Token::Word(Word::Not)) {
                self.advance()?;
            }
            self.simple()?;
            match self.token {
                Token::Binary
                | Token::Sign(b'-' | b'~' | b'<' | b'>' | b'*')
                | Token::Word(Word::And | Word::Or) => self.advance()?,
                _ => return Ok(()),
            }
        }
    }

    fn simple(&mut self) -> Parsed {
        match self.token {
            Token::Number
            | Token::Text
            | Token::Dots
            | Token::Word(Word::Nil | Word::True | Word::False) => self.advance(),
            Token::Sign(b'{') => self.table(),
            Token::Word(Word::Function) => {
                self.advance()?;
                self.nested(|parser| parser.function(false))
            }
            _ => self.suffixed().map(drop),
        }
    }

    /// A name or what is in brackets, and what follows it. Returns a name that nothing
    /// follows.
    pub fn suffixed(&mut self) -> Parsed<Option<&'a [u8]>> {
        let mut bare = None;
        if self.is(b'(') {
            self.advance()?;
            self.nested(Self::expression)?;
            self.sign(b')')?;
        } else {
            let at = self.start;
            let name = self.name()?;
            self.scope.mention(name, at);
            bare = Some(name);
        }
        loop {
            match self.token {
                Token::Sign(b'.') => {
                    self.advance()?;
                    self.name()?;
                }
                Token::Sign(b'[') => {
                    self.advance()?;
                    self.nested(Self::expression)?;
                    self.sign(b']')?;
                }
                Token::Sign(b':') => {
                    self.advance()?;
                    self.name()?;
                    self.arguments()?;
                }
                Token::Sign(b'(' | b'{') | Token::Text => self.arguments()?,
                _ => return Ok(bare),
            }
            bare = None;
        }
    }

    fn arguments(&mut self) -> Parsed {
        self.loops();
        match self.token {
            Token::Text => self.advance(),
            Token::Sign(b'{') => self.table(),
            _ => {
                self.sign(b'(')?;
                if !self.is(b')') {
                    self.nested(Self::expressions)?;
                }
                self.sign(b')')
            }
        }
    }

    fn table(&mut self) -> Parsed {
        self.nested(|parser| {
            parser.sign(b'{')?;
            while !parser.is(b'}') {
                if parser.takes(b'[')? {
                    parser.expression()?;
                    parser.sign(b']')?;
                    parser.sign(b'=')?;
                } else if matches!(parser.token, Token::Name(_) | Token::Word(Word::Goto))
                    && parser.peek()? == Token::Sign(b'=')
                {
                    parser.name()?;
                    parser.advance()?;
                }
                parser.expression()?;
                if !parser.takes(b',')? && !parser.takes(b';')? {
                    break;
                }
            }
            parser.sign(b'}')
        })
    }
}
