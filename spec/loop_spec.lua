--- The loop: a program runs, a file it has read changes, it goes on from before that file.
--
-- The programs print what they do; whatever a resumed run prints is compared to the letter with
-- what it should do anew. A program that has ended is resumed as well as one that runs.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'
local syscalls = require 'spec.support.syscalls'

support.each_lua(function(lua)
  local three_files = {
    ['main.lua'] = "print 'start' dofile 'a.lua' dofile 'b.lua' dofile 'c.lua' print 'end'",
    ['a.lua'] = "print 'a'",
    ['b.lua'] = "print 'b'",
    ['c.lua'] = "print 'c'",
  }

  local function start_three_files()
    local project = support.project(three_files)
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
    program:expect_exactly('start\n'
      .. lines.watch(project:path 'a.lua') .. 'a\n'
      .. lines.watch(project:path 'b.lua') .. 'b\n'
      .. lines.watch(project:path 'c.lua') .. 'c\nend\n')
    return project, program
  end

  it('resumes from the file that changed, time and again', function()
    local project, program = start_three_files()
    project:write('c.lua', "print 'c2'")
    program:expect_exactly(lines.resuming(project:path 'c.lua') .. 'c2\nend\n')
    project:write('a.lua', "print 'a2'")
    program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'a2\nb\nc2\nend\n')
    project:write('b.lua', "print 'b2'")
    program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b2\nc2\nend\n')
    project:write('b.lua', "print 'b3'")
    program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b3\nc2\nend\n')
    program:stop 'INT'
  end)

  it('resumes once from the earliest of several changes', function()
    local project, program = start_three_files()
    -- Stopped, the supervisor sees all of them at once.
    program:signal 'STOP'
    for _, name in ipairs { 'c', 'b', 'a' } do
      project:write(name .. '.lua', ("print '%s2'"):format(name))
    end
    program:signal 'CONT'
    program:expect_exactly(lines.resuming(project:path 'a.lua', nil, 'and 2 more changed') .. 'a2\nb2\nc2\nend\n')
    project:write('c.lua', "print 'last'")
    program:expect_exactly(lines.resuming(project:path 'c.lua') .. 'last\nend\n')
    program:stop 'INT'
  end)

  it('resumes from the start of a main script that it was given', function()
    local project, program = start_three_files()
    project:write('main.lua', "print 'begin' dofile 'c.lua'")
    program:expect_exactly(lines.resuming(project:path 'main.lua') .. 'begin\nc\n')
    -- What the new main script does not read any more is no concern of anybody.
    project:write('a.lua', "print 'nobody reads me'")
    project:write('c.lua', "print 'c2'")
    program:expect_exactly(lines.resuming(project:path 'c.lua') .. 'c2\n')
    program:stop 'INT'
  end)

  it('separates files where one descriptor takes the number of another', function()
    for _, replaces in ipairs { true, false } do
      local project = syscalls.project {
        ['main.lua'] = ([[
          local sys = require 'syscalls'
          local first, second = sys.open('first', '0'), sys.open('second', '0')
          dofile 'a.lua'
          if %s then sys.dup2(second, first) end
          dofile 'b.lua'
          print(B)
        ]]):format(replaces),
        ['a.lua'] = '', ['b.lua'] = 'B = 1', first = '', second = '',
      }
      assert(os.execute(('touch -d 2001-01-01 %s/*.lua'):format(project.root)))
      local program = lua:forkmon { '--overhead=0.000001', '--ignore=syscalls', 'main.lua', cwd = project.root,
        env = { LUA_PATH = './?.lua;;' } }
      program:expect '1\n'
      project:write('b.lua', 'B = 2')
      program:expect(lines.resuming(project:path 'b.lua', not replaces and project:path 'a.lua' or nil))
      program:expect_exactly '2\n'
      program:stop 'INT'
    end
  end)

  it('resumes a file without a checkpoint of its own from the one it joined', function()
    local project = support.project {
      ['main.lua'] = "print 'start' require 'a' require 'b' print(A + B)",
      ['a.lua'] = 'A = 1', ['b.lua'] = 'B = 1',
    }
    -- Old files that print nothing share a checkpoint.
    assert(os.execute(('touch -d 2001-01-01 %s/*.lua'):format(project.root)))
    local program = lua:forkmon { 'main.lua', cwd = project.root }
    program:expect_exactly('start\n' .. lines.watch(project:path 'a.lua') .. lines.watch(project:path 'b.lua') .. '2\n')
    project:write('b.lua', 'B = 2')
    program:expect_exactly(lines.resuming(project:path 'b.lua', project:path 'a.lua') .. '3\n')
    -- Now somebody works on it.
    project:write('b.lua', 'B = 3')
    program:expect_exactly(lines.resuming(project:path 'b.lua') .. '4\n')
    program:stop 'INT'
  end)

  it('stops a program that still runs', function()
    local project = support.project {
      ['main.lua'] = "print 'start' dofile 'a.lua'",
      ['a.lua'] = "print 'one' io.stdout:flush() io.read()",
    }
    local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect_exactly 'start\none\n'
    project:write('a.lua', "print 'two' io.stdout:flush() io.read()")
    program:expect_exactly 'two\n'
    project:write('a.lua', "print 'three'")
    program:expect_exactly 'three\n'
    program:stop 'INT'
  end)

  describe('waits for a change', function()
    local function start(text)
      local project = support.project { ['main.lua'] = "print 'start' dofile 'a.lua' print 'end'", ['a.lua'] = text }
      local program = lua:forkmon { 'main.lua', cwd = project.root }
      program:expect_exactly('start\n' .. lines.watch(project:path 'a.lua'))
      return project, program
    end

    local function fix(project, program)
      project:write('a.lua', "print 'fixed'")
      program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'fixed\nend\n')
      program:stop 'INT'
    end

    it('after a syntax error', function()
      local project, program = start 'x = = 1'
      program:expect_match 'a%.lua:1: unexpected symbol near [^\n]*\n'
      program:expect(lines.exited(1))
      project:write('a.lua', 'y = = 2')
      program:expect_exactly(lines.resuming(project:path 'a.lua'))
      program:expect_match 'a%.lua:1: unexpected symbol near [^\n]*\n'
      program:expect(lines.exited(1))
      fix(project, program)
    end)

    it('after an error', function()
      local project, program = start "error 'oh no'"
      program:expect 'a.lua:1: oh no'
      program:expect(lines.exited(1))
      fix(project, program)
    end)

    it('after an exit of the program, whose status it tells', function()
      local project, program = start 'os.exit(42)'
      program:expect_exactly(lines.exited(42))
      fix(project, program)
    end)

    it('after a signal, told as a shell does', function()
      local project, program = start [[
        local stat = io.open('/proc/self/stat')
        local pid = stat:read '*n'
        stat:close()
        os.execute('kill -KILL ' .. string.format('%d', pid))
      ]]
      program:expect_exactly(lines.exited(137))
      fix(project, program)
    end)
  end)

  describe('without the command', function()
    it('resumes in the script that enables it', function()
      local project = support.project {
        ['main.lua'] = "require('forkmon').enable{ filter = '%.lua$' }\nprint 'start' dofile 'foo.lua' print 'end'",
        ['foo.lua'] = "print 'foo!'",
      }
      local program = lua:start { 'main.lua', cwd = project.root }
      program:expect_exactly('start\n' .. lines.watch(project:path 'foo.lua') .. 'foo!\nend\n')
      project:write('foo.lua', "print 'hello world!'")
      program:expect_exactly(lines.resuming(project:path 'foo.lua') .. 'hello world!\nend\n')
      assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
    end)

    it('starts anew, under the same supervisor, when the script or what it had loaded changes', function()
      local script = [[
        local early = require 'early'
        require('forkmon').enable{ filter = '%.lua$' }
        local stat = io.open '/proc/self/stat'
        local app, parent = stat:read('*l'):match '^(%d+) .-%) %S (%d+)'
        stat:close()
        print('start', early, parent, ...)
      ]]
      local project = support.project { ['main.lua'] = script, ['early.lua'] = "return 'early'" }
      local program = lua:start { 'main.lua', 'first', 'second  word', cwd = project.root }
      program:expect 'start'
      local supervisor = support.proc.supervisor(program.pid)
      local started = ('start\t%%s\t%d\tfirst\tsecond  word\n'):format(supervisor)
      program:expect_exactly(started:format 'early':sub(#'start' + 1))
      project:write('early.lua', "return 'earlier'")
      program:expect_exactly(lines.restarting(project:path 'early.lua') .. started:format 'earlier')
      project:write('main.lua', (script:gsub('start', 'anew')))
      program:expect_exactly(lines.restarting(project:path 'main.lua')
        .. started:gsub('start', 'anew'):format 'earlier')
      assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
    end)

    it('starts anew when a file changed before it was enabled', function()
      local project = support.project {
        ['early.lua'] = "return 'early'",
        ['main.lua'] = [[
          local early = require 'early'
          -- The kernel tells when a process started in ticks of 10 ms.
          while os.clock() < 0.03 do end
          print('loaded', early)
          io.stdout:flush()
          if early == 'early' then io.read() end
          require('forkmon').enable{ filter = '%.lua$' }
          print('start', early)
        ]],
      }
      local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
      program:expect_exactly 'loaded\tearly\n'
      project:write('early.lua', "return 'earlier'")
      program:write '\n'
      program:expect(lines.restarting(project:path 'early.lua') .. 'loaded\tearlier\nstart\tearlier\n')
      program:stop 'INT'
    end)
  end)

  it('never replaces the process of a run', function()
    local project = support.project {
      ['pid.lua'] = [[
        local stat = io.open '/proc/self/stat'
        pid = stat:read('*l'):match '^%d+'
        stat:close()
        print(pid)
      ]],
      ['main.lua'] = "for _ = 1, 5 do dofile 'pid.lua' dofile(_ .. '.txt') end print 'end'",
    }
    for i = 1, 5 do project:write(i .. '.txt', 'print "file"') end
    local program = lua:forkmon { '--quiet', '--exact', '--filter', '%.txt$', 'main.lua', cwd = project.root }
    local first = program:expect_match '^(%d+)\n'
    program:expect_exactly(('file\n' .. first .. '\n'):rep(4) .. 'file\nend\n')
    -- There were checkpoints: the resumed run is another process, and the same for the rest of it.
    project:write('4.txt', 'print "new"')
    local second = program:expect_match '^new\n(%d+)\n'
    assert.not_equal(first, second)
    program:expect_exactly 'file\nend\n'
    project:write('1.txt', 'print "again"')
    local third = program:expect_match '^again\n(%d+)\n'
    program:expect_exactly(('file\n' .. third .. '\n'):rep(2) .. 'new\n' .. third .. '\nfile\nend\n')
    program:stop 'INT'
  end)

  it('lets the program wait for its subprocesses as ever', function()
    local project = support.project {
      ['status.lua'] = [[
        -- Lua 5.1 returns the raw status, and nothing at all from the close of a pipe.
        function shown(a, _, c) return a == true and 0 or c or tonumber(a) and a / 256 end
      ]],
      ['main.lua'] = [[
        dofile 'status.lua'
        local one = io.popen 'read line; echo read $line; exit 0'
        local other = io.popen('cat >/dev/null; exit 3', 'w')
        dofile 'a.lua'
        print('execute', shown(os.execute 'exit 5'))
        dofile 'b.lua'
        print(one:read '*l')
        print('close', one:close())
        print('close', select(3, other:close()))
        dofile 'c.lua'
      ]],
      ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'", ['c.lua'] = "print 'c'",
    }
    -- To the letter what the program prints without forkmon.
    local plain = lua:start { 'main.lua', cwd = project.root, stdin = '/dev/null' }
    plain:wait()
    local wanted = plain:unread()
    assert.matches('execute\t5', wanted)
    local program = lua:forkmon { '--quiet', '--exact', 'main.lua', cwd = project.root, stdin = '/dev/null' }
    program:expect_exactly(wanted)
    -- Negative control: checkpoints were taken, before the pipes and after them.
    project:write('c.lua', "print 'c2'")
    program:expect_exactly 'c2\n'
    project:write('b.lua', "print 'b2'")
    program:expect_exactly(wanted:gsub('^.-a\n', 'a\n'):gsub('\nb\n', '\nb2\n'):gsub('\nc\n', '\nc2\n'))
    program:stop 'INT'
  end)
end)
