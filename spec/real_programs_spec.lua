--- Real programs, as Debian has them: busted, luacheck and ldoc run the Lua of their `#!` line.
--
-- The command of the rock for any Lua will do, as the Lua of the program finds the core for itself in the tree beside.
-- A tree has the core of one version, so the rock of that very Lua is taken.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

local function path_of(command)
  local which = io.popen('command -v ' .. command)
  local path = which:read '*l'
  which:close()
  return path
end

--- The Lua that a command runs in, told by the command itself.
local function lua_of(command)
  local path = path_of(command)
  if not path then return nil, command .. ' is not installed' end
  local script = support.start { command, '--version', env = {
    LUA_INIT = 'io.stderr:write("<", _VERSION, jit and "jit" or "", ">") os.exit(0)',
    LUA_INIT_5_2 = false, LUA_INIT_5_3 = false, LUA_INIT_5_4 = false,
  } }
  script:wait()
  local version, jit = script:unread():match '<Lua ([%d.]+)(j?i?t?)>'
  script:release()
  if not version then return nil, 'no Lua runs ' .. command end
  local name = jit == 'jit' and 'luajit' or 'lua' .. version
  if not posix.access('target/rocks/' .. name, 'x') then return nil, 'no rock installed for ' .. name end
  return name
end

--- Defines the specs of a command, when it and a rock for its Lua are there.
local function describe_program(command, body)
  support.describe(command, function()
    local name, reason = lua_of(command)
    if not name then
      it('runs under forkmon', function() pending(reason) end)
      return
    end
    body(function(options)
      options.env = { PATH = posix.getcwd() .. '/target/rocks/' .. name .. '/bin:' .. os.getenv 'PATH' }
      return support.start(options)
    end)
  end)
end

describe_program('busted', function(start)
  it('goes on where the edited file was loaded', function()
    local project = support.project {
      ['spec/first_spec.lua'] = "io.stderr:write 'running first\\n' "
        .. "it('passes', function() assert.equal(1, 1) end)",
      ['spec/second_spec.lua'] = "io.stderr:write 'running second\\n' "
        .. "it('fails', function() assert.equal(1, require 'code') end)",
      ['code.lua'] = "io.stderr:write 'loading code\\n' return 2",
    }
    local program = start { 'forkmon', 'busted', '--sort-files', '--output=TAP', cwd = project.root }
    program:expect 'running first\n'
    program:expect 'ok 1 - passes'
    program:expect 'running second\n'
    program:expect 'loading code\n'
    program:expect 'not ok 2 - fails'
    program:expect(lines.exited(1))

    -- The code is loaded last: specs that have passed by then are not run again.
    project:write('code.lua', "io.stderr:write 'loading anew\\n' return 1")
    program:expect_exactly(lines.resuming(project:path 'code.lua') .. 'loading anew\n')
    program:expect_exactly 'ok 2 - fails\n1..2\n'

    project:write('spec/second_spec.lua', "it('is new', function() end)")
    program:expect_exactly(lines.resuming(project:path 'spec/second_spec.lua') .. 'ok 2 - is new\n1..2\n')
    program:stop()
  end)
end)

describe_program('luacheck', function(start)
  it('goes on at the file that was edited', function()
    local project = support.project {
      ['one.lua'] = 'local unused_one = 1\n', ['two.lua'] = 'local unused_two = 1\n', ['.luacheckrc'] = '',
    }
    local program = start { 'forkmon', 'luacheck', '--no-cache', '--formatter=plain', 'one.lua', 'two.lua',
      cwd = project.root }
    program:expect 'one.lua:1:7: unused variable \'unused_one\''
    program:expect 'two.lua:1:7: unused variable \'unused_two\''
    program:expect(lines.exited(1))
    -- Its own modules were watched; the file edited last was opened last, and only that is done again.
    project:write('two.lua', 'local another = 1\n')
    program:expect(lines.resuming(project:path 'two.lua'))
    program:expect 'one.lua:1:7: unused variable \'unused_one\''
    program:expect 'two.lua:1:7: unused variable \'another\''
    program:expect(lines.exited(1))
    project:write('one.lua', '')
    program:expect(lines.resuming(project:path 'one.lua'))
    program:expect 'two.lua:1:7: unused variable \'another\''
    program:expect(lines.exited(1))
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
  end)
end)

describe_program('ldoc', function(start)
  it('goes on at the file that was edited', function()
    local project = support.project {
      ['module.lua'] = '--- The first words.\n-- @module module\n', ['config.ld'] = "file = 'module.lua'\n",
    }
    local program = start { 'forkmon', 'ldoc', 'module.lua', cwd = project.root }
    local function documented(text)
      support.wait_until(function() return 'the words ' .. text end, function()
        return posix.access(project:path 'doc/index.html') and project:read('doc/index.html'):find(text, 1, true)
      end)
    end
    documented 'The first words.'
    project:write('module.lua', '--- The second words.\n-- @module module\n')
    program:expect(lines.resuming(project:path 'module.lua'))
    documented 'The second words.'
    program:stop()
  end)
end)
