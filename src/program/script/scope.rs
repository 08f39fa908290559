//! What names mean at a place, and what becomes of the locals of the top level.

use rustc_hash::FxHashMap;

/// A local of the top level. The places are offsets into the text, or `None` where that
/// never happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable<'a> {
    pub name: &'a [u8],
    /// Whether it has an attrib.
    pub is_constant: bool,
    /// From where on it is known.
    pub from: usize,
    /// From where on another has its name.
    pub to: Option<usize>,
    /// Where it is first mentioned, by anybody.
    pub mentioned: Option<usize>,
    /// Where a function first mentions it, so that it may be used at any time after.
    pub captured: Option<usize>,
    /// Where it is first assigned, by anybody, after it was declared.
    pub assigned: Option<usize>,
    /// Where a function first assigns it.
    pub assigned_inside: Option<usize>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The local of the top level with this index.
    Top(usize),
    /// Anything else.
    Other,
}

impl Entry {
    /// Whether a variable is of the top level.
    pub fn top(self) -> Option<usize> {
        match self {
            Entry::Top(index) => Some(index),
            Entry::Other => None,
        }
    }
}

/// The names that are known, from outside in.
pub struct Scope<'a> {
    pub variables: Vec<Variable<'a>>,
    /// In how many functions we are.
    pub depth: u32,
    /// What each name stands for, the innermost last.
    known: FxHashMap<&'a [u8], Vec<Entry>>,
    /// The names of all blocks that are open, in order.
    declared: Vec<&'a [u8]>,
    blocks: u32,
}

impl<'a> Scope<'a> {
    /// The scope of the top level, where these locals are known.
    pub fn new(names: &'a [Vec<u8>]) -> Scope<'a> {
        let mut scope = Scope {
            variables: Vec::new(),
            depth: 0,
            known: FxHashMap::default(),
            declared: Vec::new(),
            blocks: 0,
        };
        for name in names {
            scope.declare_top(name, false, 0);
        }
        scope
    }

    /// Whether we are in no block.
    pub fn is_top(&self) -> bool {
        self.blocks == 0
    }

    /// A block begins; returns what `close` wants.
    pub fn open(&mut self) -> usize {
        self.blocks += 1;
        self.declared.len()
    }

    /// The block ends.
    pub fn close(&mut self, outer: usize) {
        self.blocks -= 1;
        for name in self.declared.drain(outer..) {
            if let Some(entries) = self.known.get_mut(name) {
                entries.pop();
            }
        }
    }

    fn declare(&mut self, name: &'a [u8], entry: Entry) {
        self.known.entry(name).or_default().push(entry);
        self.declared.push(name);
    }

    pub fn declare_inner(&mut self, name: &'a [u8]) {
        self.declare(name, Entry::Other);
    }

    pub fn declare_top(&mut self, name: &'a [u8], is_constant: bool, offset: usize) {
        self.hide(name, offset);
        self.declare(name, Entry::Top(self.variables.len()));
        let variable = Variable { name, is_constant, from: offset, ..Variable::default() };
        self.variables.push(variable);
    }

    pub fn declare_global(&mut self, name: &'a [u8], offset: usize) {
        if self.is_top() {
            self.hide(name, offset);
        }
        self.declare(name, Entry::Other);
    }

    fn hide(&mut self, name: &[u8], offset: usize) {
        if let Some(hidden) = self.top(name) {
            hidden.to.get_or_insert(offset);
        }
    }

    fn top(&mut self, name: &[u8]) -> Option<&mut Variable<'a>> {
        let entry = *self.known.get(name)?.last()?;
        self.variables.get_mut(entry.top()?)
    }

    pub fn mention(&mut self, name: &[u8], offset: usize) {
        let is_inside = self.depth > 0;
        if let Some(variable) = self.top(name) {
            variable.mentioned.get_or_insert(offset);
            if is_inside {
                variable.captured.get_or_insert(offset);
            }
        }
    }

    pub fn assign(&mut self, name: &[u8], offset: usize) {
        let is_inside = self.depth > 0;
        if let Some(variable) = self.top(name) {
            variable.assigned.get_or_insert(offset);
            if is_inside {
                variable.assigned_inside.get_or_insert(offset);
            }
        }
    }
}
