--- What goes wrong is told in one line that says what, and where it is not the program's fault the program goes on.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  --- Runs a program that prints the error which `code` raises, and ends.
  local function error_of(code, options)
    local project = support.project {
      ['main.lua'] = "local forkmon = require 'forkmon'\nlocal ok, message = pcall(function()\n" .. code
        .. "\nend)\nprint(ok, message)\n",
    }
    options = options or {}
    options[1], options.cwd = 'main.lua', project.root
    local program = lua:start(options)
    assert.same({ 'exited', 0 }, { program:wait() })
    return (program:unread():gsub('\n$', ''))
  end

  it('enable raises an error that names the option, at the line of its caller', function()
    for options, message in pairs {
      ["{ filter = '[a' }"] = "option 'filter': pattern '[a': malformed pattern (missing ']')",
      ["{ filter = '%.lua$', ignore = '%' }"] = "option 'ignore': pattern '%': malformed pattern (ends with '%')",
      ['{}'] = "option 'filter' is missing: it says which files to watch, "
        .. "e.g. forkmon.enable { filter = '%.lua$' }",
      ['nil'] = "option 'filter' is missing: it says which files to watch, "
        .. "e.g. forkmon.enable { filter = '%.lua$' }",
      ["{ filtre = '%.lua$' }"] = "unknown option 'filtre' (did you mean 'filter'?)",
      ["{ filter = '%.lua$', quiet = 'yes' }"] = "option 'quiet' must be true or false, got string 'yes'",
      ["{ filter = '%.lua$', restart_delay = -1 }"] =
        "option 'restart_delay' must be a whole number of milliseconds >= 0, got number -1",
    } do
      assert.equal('false\tmain.lua:3: forkmon.enable: ' .. message, error_of('forkmon.enable(' .. options .. ')'))
    end
    assert.equal("false\tmain.lua:3: forkmon.enable: environment variable FORKMON_POLL must be a whole number of "
      .. "milliseconds >= 1, or 0 for off, got 'often'",
      error_of("forkmon.enable { filter = 'x' }", { env = { FORKMON_POLL = 'often' } }))
  end)

  it('nothing is started by an enable that fails', function()
    assert.equal('true\tfalse', error_of [[
      pcall(forkmon.enable, { filter = '[' })
      print(true, forkmon.enabled()) os.exit(0, true)
    ]])
  end)

  it('a second enable with wrong options changes nothing', function()
    local project = support.project {
      ['main.lua'] = [[
        local forkmon = require 'forkmon'
        forkmon.enable { filter = '%.lua$' }
        print(pcall(forkmon.enable, { filter = '[', quiet = true }))
        dofile 'a.lua'
      ]],
      ['a.lua'] = "print 'a'",
    }
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect_exactly("false\tforkmon.enable: option 'filter': pattern '[': malformed pattern (missing ']')\n"
      .. lines.watch(project:path 'a.lua') .. 'a\n')
    program:stop 'INT'
  end)

  it('the command tells what is wrong with its line, and ends with 2', function()
    for _, case in ipairs {
      { { '--filtr=x', 'main.lua' }, "unknown option '--filtr' (did you mean '--filter'?); try 'forkmon --help'" },
      { { '--filter', '[a', 'main.lua' },
        "option --filter: pattern '[a': malformed pattern (missing ']'); try 'forkmon --help'" },
      { { '--poll' }, "option --poll needs a value; try 'forkmon --help'" },
    } do
      local program = lua:forkmon(case[1])
      assert.same({ 'exited', 2 }, { program:wait() })
      assert.equal('forkmon: ' .. case[2] .. '\n', program:unread())
    end
    local program = lua:forkmon { 'main.lua', env = { FORKMON_EXACT = 'x', FORKMON_OVERHEAD = '7' } }
    assert.same({ 'exited', 2 }, { program:wait() })
    assert.equal('forkmon: environment variable FORKMON_OVERHEAD must be a number greater than 0 and at most 1, '
      .. "got '7'\n", program:unread())
    local nothing = lua:forkmon {}
    assert.same({ 'exited', 2 }, { nothing:wait() })
    assert.matches('^Usage: forkmon', nothing:unread())
  end)

  it('the command tells what it cannot run, and ends with 127', function()
    local project = support.project { ['folder.lua/x'] = '' }
    for name, message in pairs {
      ['missing.lua'] = "cannot open 'missing.lua': No such file or directory",
      ['folder.lua'] = "cannot open 'folder.lua': Is a directory",
      ['no-such-command'] = "cannot run 'no-such-command': No such file or directory",
    } do
      local program = lua:forkmon { name, cwd = project.root }
      assert.same({ 'exited', 127 }, { program:wait() })
      assert.equal('forkmon: ' .. message .. '\n', program:unread())
    end
  end)

  describe('a process with threads', function()
    --- A C library with a function that starts a thread, for every Lua: it needs no header.
    local function library(project)
      project:write('thread.c', [[
        #include <pthread.h>
        #include <unistd.h>
        static void *body(void *nothing) { for (;;) pause(); return nothing; }
        int luaopen_thread(void *state) { pthread_t thread; pthread_create(&thread, 0, body, 0); return 0; }
      ]])
      -- It must not be unloaded when Lua ends, as the thread may be at work in it.
      local compile = support.start { 'cc', '-shared', '-fPIC', '-pthread', '-Wl,-z,nodelete', '-o', 'thread.so',
        'thread.c', cwd = project.root }
      assert.same({ 'exited', 0 }, { compile:wait() }, compile:unread())
    end

    it('cannot enable', function()
      local project = support.project { ['main.lua'] = [[
        package.cpath = './?.so;' .. package.cpath
        require 'thread'
        print(pcall(require('forkmon').enable, { filter = 'x' }))
      ]] }
      library(project)
      local program = lua:start { 'main.lua', cwd = project.root }
      assert.same({ 'exited', 0 }, { program:wait() })
      assert.equal('false\tforkmon.enable: threads: the process has 2 threads and a checkpoint can carry only one; '
        .. 'enable forkmon before they are started\n', program:unread())
    end)

    it('takes no checkpoint, and says so once: files belong to the one before', function()
      local project = support.project {
        ['main.lua'] = [[
          package.cpath = './?.so'
          print 'start'
          dofile 'a.lua'
          require 'thread'
          dofile 'b.lua'
          dofile 'c.lua'
          print(require('forkmon').checkpoint())
        ]],
        ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'", ['c.lua'] = "print 'c'",
      }
      library(project)
      local program = lua:forkmon {
        '--exact', '--filter', '/[abc]%.lua$', 'main.lua', cwd = project.root,
        env = { LUA_PATH = lua.tree .. '/share/lua/' .. lua.version .. '/?.lua;;' },
      }
      local why = 'the program has 2 threads and a checkpoint can carry only one; '
        .. 'changes resume from the checkpoint before'
      program:expect_exactly('start\n' .. lines.watch(project:path 'a.lua') .. 'a\n[forkmon] ' .. why .. '\n'
        .. lines.watch(project:path 'b.lua') .. 'b\n' .. lines.watch(project:path 'c.lua')
        .. 'c\nnil\t' .. why .. '\n')
      project:write('c.lua', "print 'c2'")
      program:expect_exactly(lines.resuming(project:path 'c.lua', project:path 'a.lua', nil,
        'there is more than one thread') .. 'a\nb\nc2\nnil\t' .. why .. '\n')
      program:stop 'INT'
    end)
  end)

  describe('where no process can be had', function()
    local is_root = posix.getpid 'euid' == 0

    --- Runs main.lua as a user who may have no more than `limit` processes (root has no such limit). The user has
    --- no others, and can read nothing but the project: so the rock goes there.
    local function start_limited(limit, project, prepare)
      local user = 100000 + posix.getpid 'pid'
      local interpreter = lua.interpreter
      project:mkdir 'rock'
      assert(os.execute(("cp -R '%s/share' '%s/lib' '%s'"):format(lua.tree, lua.tree, project:path 'rock')))
      if interpreter:find '/' then
        assert(os.execute(("cp '%s' '%s'"):format(interpreter, project:path 'lua')))
        interpreter = './lua'
      end
      assert(os.execute(("chmod -R a+rX '%s'"):format(project.root)))
      if prepare then assert(os.execute(prepare:format(project.root))) end
      return support.start {
        'prlimit', '--nproc=' .. limit, 'setpriv', '--reuid=' .. user, '--regid=' .. user, '--clear-groups',
        interpreter, 'main.lua', cwd = project.root, env = {
          LUA_PATH = 'rock/share/lua/' .. lua.version .. '/?.lua;;',
          LUA_CPATH = 'rock/lib/lua/' .. lua.version .. '/?.so;;',
        },
      }
    end

    it('enable returns nil and the reason, and the program goes on', function()
      if not is_root then return pending 'needs root, to become a user who has a limit' end
      local project = support.project {
        ['main.lua'] = "print(require('forkmon').enable { filter = '%.lua$' }) dofile 'a.lua'",
        ['a.lua'] = "print 'a'",
      }
      for limit = 1, 2 do
        local program = start_limited(limit, project)
        assert.same({ 'exited', 0 }, { program:wait() })
        assert.equal('nil\tno process could be had for the supervisor (EAGAIN; see `ulimit -u` and the cgroup\'s '
          .. 'pids.max)\na\n', program:unread())
      end
    end)

    it('a search goes on past what it may not read', function()
      if not is_root then return pending 'needs root, to become a user who has a limit' end
      local project = support.project {
        ['main.lua'] = [[
          package.path = './a/?.lua;./b/?.lua;' .. package.path
          require('forkmon').enable { filter = '/m%.lua$' }
          print((require 'm'))
        ]],
        ['a/m.lua'] = "return 'a'", ['b/m.lua'] = "return 'b'",
      }
      local program = start_limited(20, project, "chmod 000 '%s'/a/m.lua")
      program:expect 'b\n'
      project:write('b/m.lua', "return 'b2'")
      program:expect 'b2\n'
      program:stop()
    end)

    it('a checkpoint is left out, with one warning, and files belong to the one before', function()
      if not is_root then return pending 'needs root, to become a user who has a limit' end
      local project = support.project {
        ['main.lua'] = [[
          require('forkmon').enable { filter = '/[abc]%.lua$', exact = true }
          print 'start'
          dofile 'a.lua' dofile 'b.lua' dofile 'c.lua'
        ]],
        ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'", ['c.lua'] = "print 'c'",
      }
      -- The guard, the supervisor, the program, and one checkpoint.
      local program = start_limited(4, project)
      program:expect_exactly('start\n[forkmon] no process could be had (EAGAIN; see `ulimit -u` and the cgroup\'s '
        .. 'pids.max); changes resume from the checkpoint before\n')
      for _, name in ipairs { 'a', 'b', 'c' } do
        program:expect_exactly(lines.watch(project:path(name .. '.lua')) .. name .. '\n')
      end
      -- The program has ended, so there is a process to be had again.
      project:write('b.lua', "print 'b2'")
      program:expect_exactly(lines.resuming(project:path 'b.lua', 'enable()') .. 'start\n')
      program:expect 'a\nb2\nc\n'
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    end)
  end)
end)
