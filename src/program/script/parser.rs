//! The grammar of Lua, as far as it tells where statements end and what names mean.
//!
//! It takes a few texts that Lua refuses (Lua reads each of them too, before any is run),
//! and refuses none that Lua takes, but for very deep nesting.

use super::lexer::{Dialect, Failure, Lexer, Token, Word};
use super::scope::{Scope, Variable};

/// Nested constructs; Lua has a limit of 200 itself.
const DEEPEST: u32 = 190;

/// A place between two statements at the top level of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Just behind the last token of the statement before.
    pub offset: usize,
    /// The line of that.
    pub line: u32,
    /// Whether the statement ends in an expression or a list, so that another text
    /// could go on with it.
    pub is_open: bool,
}

/// What a scan finds.
#[derive(Debug, Default)]
pub struct Scan<'a> {
    /// Where the text can be cut: only behind statements that may take time.
    pub boundaries: Vec<Boundary>,
    /// The locals of the top level: first those that were given, then in order.
    pub variables: Vec<Variable<'a>>,
    /// What Lua 5.5 declares by `global` at the top level, without values: the
    /// declaration, and where it ends.
    pub globals: Vec<(String, usize)>,
}

pub type Parsed<T = ()> = Result<T, Failure>;

/// How a statement ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a word or sign of its own.
    Closed,
    /// With an expression or a list.
    Open,
    /// It is the last of its block.
    Last,
}

pub struct Parser<'a> {
    pub dialect: Dialect,
    pub text: &'a [u8],
    lexer: Lexer<'a>,
    pub token: Token<'a>,
    /// Where `token` starts.
    pub start: usize,
    /// Where the token before ends, and its line.
    pub end: usize,
    end_line: u32,
    nesting: u32,
    /// In how many functions we are; 0 in the text itself.
    pub depth: u32,
    pub scope: Scope<'a>,
    /// Whether there was a call or a loop since the last boundary.
    works: bool,
    /// Whether no boundary may come any more.
    pub is_whole: bool,
    jumps: Jumps<'a>,
    pub scan: Scan<'a>,
}

/// The labels and gotos outside of functions.
#[derive(Default)]
struct Jumps<'a> {
    /// The labels of all blocks that are open.
    labels: Vec<&'a [u8]>,
    /// The gotos whose label has not come yet.
    pending: Vec<&'a [u8]>,
}

impl<'a> Parser<'a> {
    /// Prepares to read a text from `offset` on, in line `line`, where the locals in
    /// `names` are known.
    pub fn new(
        text: &'a [u8],
        dialect: Dialect,
        offset: usize,
        line: u32,
        names: &'a [Vec<u8>],
    ) -> Parsed<Parser<'a>> {
        let mut lexer = Lexer::new(text, dialect, offset, line);
        let (token, start) = lexer.next()?;
        Ok(Parser {
            dialect,
            text,
            lexer,
            token,
            start,
            end: offset,
            end_line: line,
            nesting: 0,
            depth: 0,
            scope: Scope::new(names),
            works: false,
            is_whole: false,
            jumps: Jumps::default(),
            scan: Scan::default(),
        })
    }

    /// Whether what comes first would go on with an open statement before it.
    pub fn continues(&self) -> bool {
        match self.token {
            Token::Text | Token::Binary => true,
            Token::Sign(sign) => sign != b';' && sign != b'#',
            Token::Word(word) => matches!(word, Word::And | Word::Or),
            _ => false,
        }
    }

    /// Reads the text to its end.
    pub fn run(mut self) -> Parsed<Scan<'a>> {
        while self.token != Token::End {
            let mut ending = self.statement()?;
            if ending == Ending::Last {
                if self.token != Token::End {
                    return self.failed("something behind a return");
                }
                break;
            }
            if self.takes(b';')? {
                ending = Ending::Closed;
            }
            if self.works && !self.is_whole && self.jumps.pending.is_empty() {
                self.works = false;
                self.scan.boundaries.push(Boundary {
                    offset: self.end,
                    line: self.end_line,
                    is_open: ending == Ending::Open,
                });
            }
        }
        self.scan.variables = self.scope.variables;
        Ok(self.scan)
    }

    pub fn failed<T>(&self, reason: &'static str) -> Parsed<T> {
        Err(Failure { reason, offset: self.start })
    }

    pub fn advance(&mut self) -> Parsed {
        (self.end, self.end_line) = (self.lexer.offset, self.lexer.line);
        (self.token, self.start) = self.lexer.next()?;
        Ok(())
    }

    pub fn peek(&self) -> Parsed<Token<'a>> {
        let mut ahead = self.lexer;
        Ok(ahead.next()?.0)
    }

    pub fn is(&self, sign: u8) -> bool {
        self.token == Token::Sign(sign)
    }

    pub fn takes(&mut self, sign: u8) -> Parsed<bool> {
        let taken = self.is(sign);
        if taken {
            self.advance()?;
        }
        Ok(taken)
    }

    pub fn sign(&mut self, sign: u8) -> Parsed {
        if self.takes(sign)? { Ok(()) } else { self.failed("a sign is missing") }
    }

    pub fn word(&mut self, word: Word) -> Parsed {
        if self.token != Token::Word(word) {
            return self.failed("a word is missing");
        }
        self.advance()
    }

    pub fn name(&mut self) -> Parsed<&'a [u8]> {
        let name = match self.token {
            Token::Name(name) => name,
            // LuaJIT takes it for a name wherever no name follows.
            Token::Word(Word::Goto) if self.dialect == Dialect::LuaJit => b"goto",
            _ => return self.failed("a name is missing"),
        };
        self.advance()?;
        Ok(name)
    }

    pub fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == DEEPEST {
            return self.failed("nested too deeply");
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    // ------------------------------------------------------------------------------------
    // Blocks and functions

    /// A block up to the word that ends it, and what belongs to its scope behind that.
    fn block_with(&mut self, tail: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let outer = self.scope.open();
        let (labels, pending) = (self.jumps.labels.len(), self.jumps.pending.len());
        self.nested(|parser| {
            while !parser.at_block_end() {
                let last = parser.statement()? == Ending::Last;
                while parser.takes(b';')? {}
                if last && !parser.at_block_end() {
                    return parser.failed("something behind a return");
                }
            }
            Ok(())
        })?;
        tail(self)?;
        if self.depth == 0 {
            let jumps = &mut self.jumps;
            let own = jumps.labels.split_off(labels);
            let unresolved = jumps.pending.split_off(pending);
            jumps.pending.extend(unresolved.into_iter().filter(|label| !own.contains(label)));
        }
        self.scope.close(outer);
        Ok(())
    }

    pub fn block(&mut self) -> Parsed {
        self.block_with(|_| Ok(()))
    }

    pub fn at_block_end(&self) -> bool {
        matches!(
            self.token,
            Token::End | Token::Word(Word::End | Word::Else | Word::Elseif | Word::Until)
        )
    }

    /// Parameters, body and `end` of a function.
    pub fn function(&mut self, is_method: bool) -> Parsed {
        let outer = self.scope.open();
        self.depth += 1;
        self.scope.depth = self.depth;
        if is_method {
            self.scope.declare_inner(b"self");
        }
        self.sign(b'(')?;
        while !self.is(b')') {
            if self.token == Token::Dots {
                self.advance()?;
                if self.dialect == Dialect::Lua55 && !self.is(b')') {
                    let name = self.name()?;
                    self.scope.declare_inner(name);
                }
                break;
            }
            let name = self.name()?;
            self.scope.declare_inner(name);
            if !self.takes(b',')? {
                break;
            }
        }
        self.sign(b')')?;
        self.block()?;
        self.word(Word::End)?;
        self.depth -= 1;
        self.scope.depth = self.depth;
        self.scope.close(outer);
        Ok(())
    }

    // ------------------------------------------------------------------------------------
    // Statements

    pub fn statement(&mut self) -> Parsed<Ending> {
        match self.token {
            Token::Sign(b';') => self.advance()?,
            Token::Colons => {
                self.advance()?;
                let label = self.name()?;
                if self.token != Token::Colons {
                    return self.failed("a label is not closed");
                }
                self.advance()?;
                self.label(label);
            }
            Token::Word(word) => return self.statement_of(word),
            Token::Name(b"global") if self.declares_globals()? => return self.globals(),
            _ => return self.expression_statement(),
        }
        Ok(Ending::Closed)
    }

    fn statement_of(&mut self, word: Word) -> Parsed<Ending> {
        match word {
            Word::If => {
                while matches!(self.token, Token::Word(Word::If | Word::Elseif)) {
                    self.advance()?;
                    self.expression()?;
                    self.word(Word::Then)?;
                    self.block()?;
                }
                if self.token == Token::Word(Word::Else) {
                    self.advance()?;
                    self.block()?;
                }
                self.word(Word::End)?;
            }
            Word::While => {
                self.loops();
                self.advance()?;
                self.expression()?;
                self.word(Word::Do)?;
                self.block()?;
                self.word(Word::End)?;
            }
            Word::Do => {
                self.advance()?;
                self.block()?;
                self.word(Word::End)?;
            }
            Word::For => self.for_loop()?,
            Word::Repeat => {
                self.loops();
                self.advance()?;
                // What the block declares is known to the condition.
                self.block_with(|parser| {
                    parser.word(Word::Until)?;
                    parser.expression()
                })?;
                return Ok(Ending::Open);
            }
            Word::Function => {
                self.advance()?;
                let at = self.start;
                let name = self.name()?;
                let mut is_field = false;
                while self.takes(b'.')? {
                    self.name()?;
                    is_field = true;
                }
                let is_method = self.takes(b':')?;
                if is_method {
                    self.name()?;
                }
                self.scope.mention(name, at);
                if !is_field && !is_method {
                    self.scope.assign(name, at);
                }
                self.function(is_method)?;
            }
            Word::Local => {
                self.advance()?;
                if self.token == Token::Word(Word::Function) {
                    self.advance()?;
                    let name = self.name()?;
                    self.declare(name, false);
                    self.function(false)?;
                } else {
                    return self.local();
                }
            }
            Word::Return => {
                self.advance()?;
                if !self.at_block_end() && !self.is(b';') {
                    self.expressions()?;
                }
                self.takes(b';')?;
                return Ok(Ending::Last);
            }
            Word::Break => self.advance()?,
            Word::Goto => {
                let is_goto = self.dialect != Dialect::LuaJit
                    || matches!(self.peek()?, Token::Name(_) | Token::Word(Word::Goto));
                if !is_goto {
                    return self.expression_statement();
                }
                self.advance()?;
                let label = self.name()?;
                if self.depth == 0 && !self.jumps.labels.contains(&label) {
                    self.jumps.pending.push(label);
                }
            }
            _ => return self.expression_statement(),
        }
        Ok(Ending::Closed)
    }

    fn label(&mut self, label: &'a [u8]) {
        if self.depth > 0 {
            return;
        }
        self.jumps.labels.push(label);
        if self.scope.is_top() {
            self.jumps.pending.retain(|pending| *pending != label);
            // From now on, what comes later may already have been run.
            self.is_whole = true;
        }
    }

    fn for_loop(&mut self) -> Parsed {
        self.loops();
        self.advance()?;
        let mut names = vec![self.name()?];
        if self.takes(b'=')? {
            self.expressions()?;
        } else {
            while self.takes(b',')? {
                names.push(self.name()?);
            }
            self.word(Word::In)?;
            self.expressions()?;
        }
        let outer = self.scope.open();
        for name in names {
            self.scope.declare_inner(name);
        }
        self.word(Word::Do)?;
        self.block()?;
        self.scope.close(outer);
        self.word(Word::End)
    }

    fn expression_statement(&mut self) -> Parsed<Ending> {
        let mut targets = Vec::new();
        loop {
            let at = self.start;
            let target = self.suffixed()?;
            targets.extend(target.map(|name| (name, at)));
            if !self.takes(b',')? {
                break;
            }
        }
        if self.takes(b'=')? {
            self.expressions()?;
            for (name, at) in targets {
                self.scope.assign(name, at);
            }
        }
        Ok(Ending::Open)
    }

    /// Work that is done as the text itself runs.
    pub fn loops(&mut self) {
        self.works |= self.depth == 0;
    }
}
