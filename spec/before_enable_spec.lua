--- What a program did before it called enable(): where it had gone, and files with a time to come.
--
-- After restart_spec, which has the plain ways.

local posix = require 'posix'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

support.one_lua(function(lua)
  local enable = "io.stdout:setvbuf 'no'\nrequire('forkmon').enable { filter = '%.lua$', quiet = true }\n"

  local function expect_nothing(program)
    posix.poll({}, 200)
    support.await_idle(program)
    assert.equal('', program:unread())
  end

  describe('a program that has gone to another folder before enable()', function()
    local source = "local sys = require 'syscalls'\npackage.path = sys.environment():match '\\nLUA_PATH=([^\\n]*)' "
      .. "or package.path\nassert(sys.chdir 'sub' == '0')\n" .. enable .. "print 'enabled'"

    local function start(script)
      local project = syscalls.project { ['sub/x'] = '', ['main.lua'] = source }
      local env = lua:paths()
      env.LUA_PATH = project:path '?.lua;' .. env.LUA_PATH
      return support.start { lua.interpreter, script(project), cwd = project.root, env = env }
    end

    it('is told that its script is not found from there', function()
      local program = start(function() return 'main.lua' end)
      program:expect "[forkmon] the script 'main.lua' is not found from the folder that the program has gone to: "
      program:expect 'enabled\n'
      program:stop()
    end)

    it('is told nothing when it was started by an absolute path', function() -- the negative control
      local program = start(function(project) return project:path 'main.lua' end)
      program:expect_exactly 'enabled\n'
      program:stop()
    end)
  end)

  describe('what was loaded before enable()', function()
    local lib = "return { name = function() return '%s' end }"
    for how, load in pairs {
      ['by dofile, into a local'] = "local lib = dofile 'lib.lua'",
      ['by dofile, for a closure'] = "local lib = dofile 'lib.lua' function name() return lib.name() end",
      ['by loadfile, into a table'] = "app = { parts = { assert(loadfile 'lib.lua')() } } local lib = app.parts[1]",
      ['by a package.path that was put back'] =
        "local p = package.path package.path = './?.lua' local lib = require 'lib' package.path = p",
      ['by a require that was forgotten'] = "local lib = require 'lib' package.loaded.lib = nil",
      ['as a metatable'] = "local lib = setmetatable({}, { __index = dofile 'lib.lua' })",
    } do
      it(how .. ' restarts the program when it changes', function()
        local project = support.project {
          ['main.lua'] = "package.path = './?.lua;' .. package.path\n" .. load .. '\n' .. enable .. 'print(lib.name())',
          ['lib.lua'] = lib:format 'first',
        }
        local env = lua:paths()
        local program = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env }
        program:expect_exactly 'first\n'
        project:write('lib.lua', lib:format 'second')
        program:expect_exactly 'second\n'
        program:stop()
      end)
    end
  end)

  it('a script that is not there, as a module does its work, is none to warn of', function() -- as `nelua` starts
    local project = support.project {
      ['tool.lua'] = "print(dofile 'a.lua')\nos.exit(0)",
      ['a.lua'] = "return 'first'",
    }
    local program = lua:forkmon { '--quiet', '--filter', '%.lua$', lua.interpreter, '-l', 'tool', 'tool-main.lua',
      cwd = project.root, env = { LUA_PATH = './?.lua;;' } }
    program:expect_exactly 'first\n'
    project:write('a.lua', "return 'second'")
    program:expect_exactly 'second\n'
    program:stop()
  end)

  it('a script with a time to come is not started twice, and its edits count', function()
    local project = support.project { ['main.lua'] = "print 'before'\n" .. enable .. "print 'enabled'" }
    local function date()
      os.execute(("touch -d '+1 hour' '%s'"):format(project:path 'main.lua'))
    end
    date()
    posix.poll({}, 50)
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_exactly 'before\nenabled\n'
    expect_nothing(program)
    project:write('main.lua', "print 'edited'\n" .. enable)
    program:expect_exactly 'edited\n'
    program:stop()
  end)
end)
