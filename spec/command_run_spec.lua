--- The command: whatever it runs finds its world as if it had been run plainly.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  local function executable(project, name)
    assert(posix.chmod(project:path(name), 'rwxr-xr-x'))
  end

  it('gives a script its arguments', function()
    local project = support.project {
      ['main.lua'] = "print(#arg, arg[0], ...) print(arg[1] == (...)) dofile 'a.lua'",
      ['a.lua'] = "print 'a'",
    }
    local program = lua:forkmon { 'main.lua', '--quiet', '', 'two  words', '*', cwd = project.root }
    program:expect_exactly('4\tmain.lua\t--quiet\t\ttwo  words\t*\ntrue\n'
      .. lines.watch(project:path 'a.lua') .. 'a\n')
    program:stop 'INT'
  end)

  it('runs a script of another name, and one whose name begins with a dash', function()
    local project = support.project { ['a-script'] = "print('script', ...)", ['-s.lua'] = "print('dashed', ...)" }
    local program = lua:forkmon { 'a-script', 'x', cwd = project.root }
    program:expect_exactly 'script\tx\n'
    program:stop 'INT'
    program = lua:forkmon { '--', './-s.lua', 'x', cwd = project.root }
    program:expect_exactly 'dashed\tx\n'
    program:stop 'INT'
  end)

  it('runs a command on the PATH that ends in a Lua, such as a shell script', function()
    local project = support.project {
      ['bin/tool'] = '#!/bin/sh\necho shell >&2\nexec ' .. lua.interpreter .. ' "$(dirname "$0")/../main.lua" "$@"\n',
      ['main.lua'] = "print('start', ...) dofile 'a.lua'",
      ['a.lua'] = "print 'a'",
    }
    executable(project, 'bin/tool')
    local path = project:path 'bin' .. ':' .. lua.tree .. '/bin:' .. os.getenv 'PATH'
    local program = lua:forkmon { 'tool', 'x', cwd = project.root, env = { PATH = path } }
    program:expect_exactly('shell\nstart\tx\n' .. lines.watch(project:path 'a.lua') .. 'a\n')
    project:write('a.lua', "print 'a2'")
    program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\n')
    -- The main script counts too: the shell is no part of what resumes.
    project:write('main.lua', "print('anew', ...) dofile 'a.lua'")
    program:expect_match "^%[forkmon%] file '[^\n]*main%.lua' changed, resuming from it%.%.\n"
    program:expect_exactly 'anew\tx\na2\n'
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
  end)

  it('says that nothing is watched of a program that is no Lua', function()
    local project = support.project { ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'a'" }
    assert(os.execute(("cp \"$(command -v sleep)\" '%s'"):format(project:path 'other')))
    local program = lua:forkmon { './other', '0', cwd = project.root }
    program:expect_exactly "[forkmon] './other' is no Lua program: only a Lua that it starts is watched\n"
    assert.same({ 'exited', 0 }, { program:wait() })
    program = lua:forkmon { './other', '0', cwd = project.root, env = { FORKMON_DISABLE = '1' } }
    program:wait()
    assert.equal('', program:unread())
    program = lua:forkmon { 'env', lua.interpreter, 'main.lua', cwd = project.root }
    program:expect_exactly(lines.watch(project:path 'a.lua') .. 'a\n')
    program:stop 'INT'
  end)

  it('runs the Lua of a #! line', function()
    local project = support.project {
      tool = '#!' .. (lua.interpreter:find '/' and lua.interpreter or '/usr/bin/env ' .. lua.interpreter)
        .. "\nprint('start', ...) dofile 'a.lua'",
      ['a.lua'] = "print 'a'",
    }
    executable(project, 'tool')
    local program = lua:forkmon { './tool', 'x', cwd = project.root }
    program:expect_exactly('start\tx\n' .. lines.watch(project:path 'a.lua') .. 'a\n')
    project:write('a.lua', "print 'a2'")
    program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\n')
    program:stop 'INT'
  end)

  it('finds forkmon for a Lua that has no rock and no path to one', function()
    local project = support.project { ['main.lua'] = [[
      print(pcall(require, 'forkmon') == false or 'loaded by the command')
      print(package.path:find('rocks', 1, true), package.cpath:find('rocks', 1, true))
    ]] }
    local program = lua:forkmon { 'main.lua', cwd = project.root, env = { LUA_PATH = './?.lua', LUA_CPATH = './?.so' } }
    program:expect_exactly 'loaded by the command\nnil\tnil\n'
    program:stop 'INT'
  end)

  it('says so when the core of that Lua is not there', function()
    local other = lua.version == '5.1' and 'lua5.2' or 'lua5.1'
    local project = support.project {
      tool = '#!/bin/sh\nexec ' .. other .. ' main.lua\n', ['main.lua'] = "print 'run'",
    }
    executable(project, 'tool')
    local program = lua:forkmon { './tool', cwd = project.root }
    assert.same({ 'exited', 1 }, { program:wait() })
    local version = other:match '[%d.]+$'
    local message = ('forkmon.core is not installed for Lua %s: '):format(version)
    local text = program:unread()
    assert.equal(message, text:sub(1, #message))
    assert.truthy(text:find(' && luarocks --lua-version ' .. version .. ' --tree ', 1, true), text)
  end)

  describe('LUA_INIT of the user', function()
    local versioned = 'LUA_INIT_' .. lua.version:gsub('%.', '_')
    local project_files = {
      ['main.lua'] = "print('start', INIT, os.getenv 'LUA_INIT') dofile 'a.lua'",
      ['a.lua'] = "print 'a'",
      ['init.lua'] = "INIT = 'from a file, ' .. tostring((...))",
      ['broken.lua'] = 'x = = 1',
    }

    --- Compares a run under the command with a plain one, and resumes it.
    local function as_plain(env)
      local project = support.project(project_files)
      local plain = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = env }
      plain:wait()
      local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, env = env }
      program:expect_exactly(plain:unread())
      project:write('main.lua', "print('anew', INIT)")
      program:expect_match '^anew\t'
      program:stop 'INT'
    end

    it('is run, as code', function() as_plain { LUA_INIT = "INIT = 'from code'" } end)
    it('is run, from a file', function() as_plain { LUA_INIT = '@init.lua' } end)
    it('of the version goes first, where the Lua knows it', function()
      as_plain { LUA_INIT = "INIT = 'plain'", [versioned] = "INIT = 'versioned'" }
    end)
    it('of the version alone', function() as_plain { [versioned] = '@init.lua' } end)
    it('of another version is none', function() as_plain { LUA_INIT_5_9 = "INIT = 'future'" } end)
    it('may be empty', function() as_plain { LUA_INIT = '' } end)

    it('that fails ends the program as it would', function()
      for _, init in ipairs { '@broken.lua', '@missing.lua', 'x = = 1', "error 'in init'" } do
        local project = support.project(project_files)
        local plain = support.start { lua.interpreter, 'main.lua', cwd = project.root, env = { LUA_INIT = init } }
        local _, status = plain:wait()
        local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, env = { LUA_INIT = init } }
        -- The first line; a traceback shows what called, and the name of the interpreter is its path.
        local message = plain:unread():match ': ([^\n]*)\n'
        assert.equal(message, program:expect_match ': ([^\n]*)\n')
        assert.equal(1, status)
        program:stop 'INT'
      end
    end)

    it('may be what enables forkmon', function()
      local project = support.project(project_files)
      local program = lua:start { 'main.lua', cwd = project.root,
        env = { LUA_INIT = "require('forkmon').enable { filter = '%.lua$' }" } }
      program:expect_match('^start\tnil\t[^\n]*\n')
      program:expect_exactly(lines.watch(project:path 'a.lua') .. 'a\n')
      project:write('main.lua', "print 'anew'")
      program:expect_exactly(lines.resuming(project:path 'main.lua') .. 'anew\n')
      program:stop 'INT'
    end)
  end)

  it('shows the program and its children the environment of the user', function()
    -- (The script by which LuaRocks starts the command sets a variable of LuaRocks.)
    local show = "os.execute 'env | grep -E \"^(FORKMON|LUA|KEPT)\" | grep -vE \"TEST_TOKEN|^LUAROCKS\" | sort'"
    local project = support.project {
      ['main.lua'] = "io.stdout:setvbuf 'no' print('start', os.getenv 'LUA_INIT', os.getenv 'FORKMON_QUIET') "
        .. show .. " dofile 'a.lua'",
      ['a.lua'] = "print 'a' " .. show,
    }
    local env = { LUA_INIT = "INIT = 'user'", FORKMON_QUIET = '1', FORKMON_IGNORE = 'kept', KEPT = 'yes',
      LUA_PATH = './?.lua;;' }
    local seen = "FORKMON_IGNORE=kept\nFORKMON_QUIET=1\nKEPT=yes\nLUA_INIT=INIT = 'user'\nLUA_PATH=./?.lua;;\n"
    local program = lua:forkmon { '--exact', '--restart-delay=7', 'main.lua', cwd = project.root, env = env }
    program:expect_exactly("start\tINIT = 'user'\t1\n" .. seen .. 'a\n' .. seen)
    project:write('a.lua', (project:read('a.lua'):gsub("'a'", "'a2'")))
    program:expect_exactly('a2\n' .. seen)
    program:stop 'INT'
  end)

  it('does not let the children of the program run under forkmon', function()
    local project = support.project {
      ['main.lua'] = "io.stdout:setvbuf 'no' print 'start' os.execute(arg[-1] .. ' child.lua') dofile 'a.lua'",
      ['child.lua'] = "print 'child' dofile 'a.lua'",
      ['a.lua'] = "print 'a'",
    }
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
    program:expect_exactly('start\nchild\na\n' .. lines.watch(project:path 'a.lua') .. 'a\n')
    project:write('child.lua', "print 'changed'")
    project:write('a.lua', "print 'a2'")
    program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\n')
    program:stop 'INT'
  end)

  it('passes descriptors on, those that are open and no others', function()
    local project = support.project {
      ['main.lua'] = "for line in io.lines('/proc/self/fd/5') do print(line) end dofile 'a.lua'",
      ['a.lua'] = "io.stdout:flush() os.execute 'ls /proc/self/fd | tr \"\\n\" \" \"'",
      ['data'] = 'from descriptor 5\n',
    }
    -- `ls` opens one descriptor of its own.
    local program = support.start {
      'sh', '-c', 'exec 5<data; exec "$0" --quiet main.lua', lua.tree .. '/bin/forkmon', cwd = project.root,
    }
    program:expect_exactly 'from descriptor 5\n0 1 2 3 5 '
    project:append('a.lua', " io.write 'again\\n'")
    program:expect '0 1 2 3 5 again\n'
    program:stop 'INT'
  end)

  it('tells its version and its options', function()
    local version = lua:forkmon { '--version' }
    version:wait()
    assert.matches('^forkmon %d+%.%d+%.%d+ %(Lua', version:unread())
    local help = lua:forkmon { '--help' }
    assert.same({ 'exited', 0 }, { help:wait() })
    local text = help:unread()
    for _, flag in ipairs { '--filter', '--ignore', '--quiet', '--no-color', '--restart-delay', '--ignore-delay',
                            '--exact', '--overhead', '--max-checkpoints', '--max-memory', '--content', '--poll',
                            '--stop-signal', '--stop-timeout', '--clear', '--watch', '--events' } do
      assert.truthy(text:find(flag, 1, true), flag)
    end
  end)
end)
