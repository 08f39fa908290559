--- How the source is laid out (`make rooms`): imports go one way, files are short, `unsafe` is in one place.

local rooms = require 'spec.support.rooms'

--- A tree with one file of so many lines, all of it read.
local function long(lines, tests)
  local text = ('fn f() {}\n'):rep(lines) .. '\n#[cfg(test)]\nmod tests {\n' .. ('// \n'):rep(tests) .. '}\n'
  return { ['src/wire.rs'] = text }
end

local function faults(tree)
  return rooms.look(tree).faults
end

describe('the files of forkmon', function()
  it('are as they should be', function()
    local seen = rooms.look(rooms.read '.')
    assert.same({}, seen.faults)
    -- All are there, and what they import was seen.
    for path, other in pairs {
      ['lua/forkmon.lua'] = 'lua/forkmon/options.lua',
      ['lua/forkmon/options.lua'] = 'lua/forkmon/filter.lua',
      ['lua/forkmon/bootstrap.lua'] = 'lua/forkmon.lua',
      ['lua/forkmon/cli/command.lua'] = 'lua/forkmon/cli/client.lua',
      ['src/lua/session.rs'] = 'src/program/start.rs',
      ['src/supervisor/mod.rs'] = 'src/supervisor/agenda.rs',
      ['src/supervisor/requests.rs'] = 'src/supervisor/mod.rs',
      ['src/program/mod.rs'] = 'src/wire/record.rs',
      ['src/files/watcher.rs'] = 'src/files/route.rs',
      ['src/sys/slots/glibc/hook.rs'] = 'src/sys/slots/glibc/looks.rs',
    } do
      assert.truthy(seen.files[path][other], path .. ' imports ' .. other)
    end
  end)

  it('are listed by rooms', function()
    assert.same({
      'lua              session sys',
      'session          sys',
      'sys              -',
      'lua/forkmon/cli  lua/forkmon',
      'lua/forkmon      -',
    }, rooms.lines(rooms.look {
      ['src/lua/mod.rs'] = 'use crate::{session, sys::clone}; pub(crate) use crate::sys::Mask;',
      ['src/session/mod.rs'] = 'use crate::sys;',
      ['src/sys/mod.rs'] = 'mod clone; use std::io;',
      ['src/sys/clone.rs'] = '',
      ['lua/forkmon.lua'] = '',
      ['lua/forkmon/cli/command.lua'] = "require 'forkmon'",
    }))
  end)
end)

describe('a file that imports', function()
  it('is found in a circle', function()
    assert.same({ 'files in a circle: src/wire/a.rs > src/wire/b.rs > src/wire/a.rs' }, faults {
      ['src/wire/mod.rs'] = 'mod a; mod b;', ['src/wire/a.rs'] = 'use super::b::B;',
      ['src/wire/b.rs'] = 'use crate::wire::a;',
    })
    assert.same({ 'files in a circle: src/wire/a.rs > src/wire/mod.rs > src/wire/a.rs' }, faults {
      ['src/wire/mod.rs'] = 'mod a; pub use a::A;', ['src/wire/a.rs'] = 'fn f() { super::version() }',
    })
    -- A folder's own file may declare those in it, which may use what is there.
    assert.same({}, faults {
      ['src/wire/mod.rs'] = 'mod a; pub fn version() {}', ['src/wire/a.rs'] = 'use super::version;',
    })
    assert.same({ 'files in a circle: lua/forkmon.lua > lua/forkmon/b.lua > lua/forkmon.lua' }, faults {
      ['lua/forkmon.lua'] = "local b = require 'forkmon.b'", ['lua/forkmon/b.lua'] = 'pcall(require, "forkmon")',
    })
    assert.same({ 'files in a circle: lua/forkmon/c.lua > lua/forkmon/c.lua' }, faults {
      ['lua/forkmon/c.lua'] = "require('forkmon.c')",
    })
  end)

  it('is found to go against the order', function()
    assert.same({
      'files in a circle: src/session/mod.rs > src/wire/a.rs > src/session/mod.rs',
      'rooms in a circle: session > wire > session',
      'src/wire/a.rs imports src/session/mod.rs, against the order',
    }, faults {
      ['src/wire/a.rs'] = 'use crate::session::own;', ['src/session/mod.rs'] = 'use crate::wire::a;',
    })
    assert.same({ 'src/supervisor/a.rs imports src/program/b.rs, against the order' }, faults {
      ['src/supervisor/a.rs'] = 'fn f() -> crate::program::b::B { todo!() }', ['src/program/b.rs'] = '',
    })
    assert.same({ 'other is not in the order of the rooms' }, faults { ['src/other.rs'] = '' })
    assert.same({ 'lua/forkmon/b.lua imports lua/forkmon/cli/x.lua, against the order' }, faults {
      ['lua/forkmon/b.lua'] = "require 'forkmon.cli.x'", ['lua/forkmon/cli/x.lua'] = '',
    })
    assert.same({ 'lua/forkmon/b.lua requires forkmon.none, which is not there' }, faults {
      ['lua/forkmon/b.lua'] = "require 'forkmon.none' require 'forkmon.core' require 'other'",
    })
  end)

  it('is found whatever the import looks like', function()
    for _, text in ipairs {
      'use crate::program;', 'use crate::{files, program::{self, a as b}};', 'pub(crate) use crate::program::*;',
      'fn f() { crate::program::g() }', 'macro_rules! m { () => { $crate::program::g!() } }',
      "const QUOTE: char = '\"'; use crate::program; const END: char = '\"';",
      "fn f<'a>(x: &'a str) { super::super::program::g(x) }", 'mod inner { use super::super::super::program; }',
      'macro_rules! m { ($n:ident) => { mod $n { use super::super::super::program::X; } } }',
      '#[cfg(test)] mod tests { fn f() { "}" } }\nuse crate::program;',
      '#[cfg(test)] use proptest::prelude::*; use crate::program;',
      'const A: &str = r#"a " b"#; use crate::program; const B: &str = "\\"";',
    } do
      assert.same({ 'src/wire/a.rs imports src/program/mod.rs, against the order' },
        faults { ['src/wire/a.rs'] = text, ['src/program/mod.rs'] = '', ['src/files.rs'] = '' }, text)
    end
  end)

  it('is not found where there is no import', function()
    for _, text in ipairs {
      '// use crate::program;', '/// See [`crate::program`].', '/* use crate::program; */',
      'const A: &str = "use crate::program;";',
      'const A: &[u8] = br##"use crate::program; "# "##;', '#[cfg(test)]\nmod tests { use crate::program; }',
      '#[cfg(test)] #[allow(dead_code)]\npub(crate) fn f() -> [u8; 2] { crate::program::g() }',
      'use std::{io, fs}; fn program() { std::program::g() }', 'mod inner { fn g() {} } fn f() { self::inner::g() }',
    } do
      assert.same({}, faults { ['src/wire/a.rs'] = text, ['src/program/mod.rs'] = '' }, text)
    end
    assert.same({}, faults { ['src/wire/tests.rs'] = 'use crate::program;', ['src/program/mod.rs'] = '' })
  end)
end)

describe('a file', function()
  it('has no more than 500 lines, tests aside', function()
    assert.same({}, faults(long(499, 300)))
    assert.same({ 'src/wire.rs has 501 lines, tests aside' }, faults(long(500, 300)))
  end)

  it('has unsafe only in the system layer', function()
    assert.same({ 'src/wire/a.rs:2: unsafe outside of src/sys' }, faults {
      ['src/wire/a.rs'] = '// unsafe\nfn f() { unsafe { g() } }\n#[allow(unsafe_code)] fn g() {}',
      ['src/sys/clone.rs'] = 'unsafe fn f() {}',
    })
  end)
end)
