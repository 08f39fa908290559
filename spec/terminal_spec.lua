--- On a terminal: the keys that interrupt and suspend, the keyboard itself, a terminal that goes away.
--
-- `tty = true` makes the program the leader of a session. For job control it is run by an interactive shell, as a
-- person would run it.

local posix = require 'posix'
local support = require 'spec.support'
local clock = require 'spec.support.clock'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  local interrupt, suspend, end_of_file = '\3', '\26', '\4'

  -- Runs for ever and can be interrupted. (What LuaJIT has compiled cannot.)
  local spin = 'if jit then jit.off() end while true do end'

  local function start(files, options)
    local project = support.project(files)
    options = options or {}
    options.cwd, options.tty = project.root, true
    table.insert(options, 1, '--no-color')
    table.insert(options, 'main.lua')
    return project, lua:forkmon(options)
  end

  --- Waits until the program's subprocess `sleep` runs: a shell that has not started it yet may miss a signal.
  local function wait_for_sleep(program)
    support.wait_until('sleep', function()
      for _, pid in ipairs(support.proc.tree(program.pid)) do
        if support.proc.command(pid) == 'sleep 1000' then return true end
      end
    end)
  end

  describe('Ctrl+C', function()
    it('ends a program and all of forkmon', function()
      local _, program = start { ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'ready' " .. spin }
      program:expect 'ready\n'
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
      assert.truthy(program.stdout.text:find('interrupted!', 1, true))
      support.assert_nothing_left()
    end)

    it('ends it after a resume, too, and when it has ended by itself', function()
      local project, program = start {
        ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'ready' " .. spin,
      }
      program:expect 'ready\n'
      project:write('a.lua', "print 'again' " .. spin)
      program:expect 'again\n'
      project:write('a.lua', "os.exit(3)")
      program:expect(lines.exited(3))
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
      project, program = start { ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'ready' " .. spin }
      program:expect 'ready\n'
      project:write('a.lua', "print 'again' " .. spin)
      program:expect 'again\n'
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
    end)

    it('ends a program that waits for a subprocess', function()
      -- os.execute ignores it; the subprocess does not, and nothing else is left to do.
      local _, program = start { ['main.lua'] = "os.execute 'sleep 1000' print 'end'" }
      wait_for_sleep(program)
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
    end)

    it('is the program\'s own to handle, however soon after the start it comes', function()
      local project = support.project {
        ['main.lua'] = "require('forkmon').enable { filter = '%.lua$' } pcall(function() print 'ready' "
          .. spin .. " end) dofile 'a.lua'",
        ['a.lua'] = "print 'handled' " .. spin,
      }
      local program = lua:start { 'main.lua', cwd = project.root, tty = true }
      -- The guard is stopped while it waits for the program to start, which is not for long: this
      -- looks all the time.
      local deadline = clock.now() + clock.patience
      repeat
        local waits = support.proc.supervisor(program.pid) and support.proc.state(program.pid) == 'S'
      until waits or clock.now() > deadline
      program:signal 'STOP'
      program:expect 'ready\n'
      support.await_idle(program)
      program:write(interrupt)
      program:expect 'handled\n'
      program:signal 'CONT'
      support.await_idle(program)
      project:write('a.lua', "print 'again' " .. spin)
      program:expect 'again\n'
      assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
    end)

    it('reaches the program when it comes in the middle of a hook', function()
      for _ = 1, 15 do
        local _, program = start {
          ['main.lua'] = [[
            local function read_on()
              print 'ready'
              while true do
                for i = 1, 100 do local file = io.open(i .. '.lua') if file then file:close() end end
              end
            end
            print('caught', (select(2, pcall(read_on)):gsub('^.*: ', '')))
          ]],
        }
        program:expect 'ready\n'
        local app = support.wait_until('the program', function()
          for _, pid in ipairs(support.proc.children(support.proc.supervisor(program.pid))) do
            if support.proc.state(pid) == 'R' then return pid end
          end
        end)
        posix.kill(app, posix.SIGINT)
        program:expect_exactly 'caught\tinterrupted!\n'
        program:write(interrupt)
        program:wait()
      end
    end)

    it('at any moment of the start ends all', function()
      -- Without the command, as the loader of LuaRocks starts a compiler and ignores Ctrl+C meanwhile.
      local project = support.project {
        ['main.lua'] = "require('forkmon').enable { filter = '%.lua$' } "
          .. "for i = 1, 100 do io.open(i .. '.lua') end " .. spin,
      }
      for i = 1, 40 do
        local program = lua:start { 'main.lua', cwd = project.root, tty = true }
        posix.poll({}, i // 2)
        program:write(interrupt)
        local how, code = program:wait()
        -- Before there is a supervisor, the interpreter says 1, as without forkmon.
        assert.is_true(how == 'killed' and code == posix.SIGINT or how == 'exited' and code == 1,
          ('%s %d after %d ms:\n%s'):format(how, code, i // 2, program.stdout.text))
      end
    end)

    it('is left to a program that handles it, and the loop goes on', function()
      local project, program = start {
        ['main.lua'] = "dofile 'a.lua'",
        ['a.lua'] = [[
          local function wait()
            print 'ready'
            ]] .. spin .. [[
          end
          while true do print('caught', (select(2, pcall(wait)):gsub('^.*: ', ''))) end
        ]],
      }
      program:expect 'ready\n'
      program:write(interrupt)
      program:expect_exactly 'caught\tinterrupted!\nready\n'
      project:write('a.lua', "print 'resumed' " .. spin)
      program:expect(lines.resuming(project:path 'a.lua') .. 'resumed\n')
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
    end)

    it('soon after another one ends everything, whatever the program does', function()
      -- os.execute ignores it, and so does the subprocess.
      local _, program = start({
        ['main.lua'] = "os.execute [[trap 'echo caught' INT; while :; do sleep 1000 & wait; done]]",
      }, { '--stop-timeout=20000' })
      wait_for_sleep(program)
      program:write(interrupt)
      program:expect 'caught\n'
      -- The next one must not be taken for the same.
      support.wait_until('forkmon to see it', function()
        return not support.proc.signals(support.proc.supervisor(program.pid), 'ShdPnd')[posix.SIGINT]
      end)
      assert.is_false(program:has_ended())
      program:write(interrupt)
      assert.same({ 'killed', posix.SIGINT }, { program:wait() })
      support.assert_nothing_left()
    end)

    it('is for the REPL: lua -i goes on, and is resumed', function()
      local project = support.project { ['main.lua'] = "print(dofile 'a.lua')", ['a.lua'] = "return 'ready'" }
      local program = lua:forkmon {
        '--no-color', lua.interpreter, '-i', 'main.lua', cwd = project.root, tty = true,
        env = { TERM = 'dumb', INPUTRC = '/dev/null' },
      }
      program:expect 'ready\n'
      program:expect '> '
      -- (The line is shown as it is typed.)
      program:write("print('loop' .. 'ing') " .. spin .. '\n')
      program:expect 'looping\n'
      program:write(interrupt)
      program:expect 'interrupted!'
      program:expect '> '
      program:write 'print(6 * 7)\n'
      program:expect '42\n'
      project:write('a.lua', "return 'resumed'")
      program:expect(lines.resuming(project:path 'a.lua'))
      program:expect 'resumed\n'
      program:expect '> '
      program:write 'print(7 * 7)\n'
      program:expect '49\n'
      program:write(end_of_file)
      -- It has ended, with status 0, of which nothing is said.
      project:write('a.lua', "return 'once more'")
      program:expect 'once more\n'
      program:stop()
    end)
  end)

  it('the keyboard is the program\'s, in the first run and in those that are resumed', function()
    local project, program = start {
      ['main.lua'] = "print(dofile 'a.lua') while true do local line = io.read() if not line then break end "
        .. "print('read', line) end print 'end'",
      ['a.lua'] = "return 'one'",
    }
    program:expect 'one\n'
    program:write 'first line\nsecond line\n'
    program:expect_exactly 'read\tfirst line\nread\tsecond line\n'
    project:write('a.lua', "return 'two'")
    program:expect_exactly(lines.resuming(project:path 'a.lua') .. 'two\n')
    program:write 'third line\n'
    program:expect_exactly 'read\tthird line\n'
    program:write(end_of_file)
    program:expect_exactly 'end\n'
    program:write(interrupt)
    program:wait()
  end)

  it('a session that is stopped says so when it is asked, and can be ended', function()
    local _, program = start { ['main.lua'] = "print 'ready' " .. spin }
    program:expect 'ready\n'
    -- By then it listens to whoever asks.
    support.await_idle(program)
    for _, pid in ipairs(support.proc.tree(program.pid)) do posix.kill(pid, posix.SIGSTOP) end
    local asked = lua:forkmon { 'status', tostring(program.pid) }
    assert.same({ 'exited', 1 }, { asked:wait() })
    local remedy = ('it is stopped; `fg` or `kill -CONT %d` has it go on'):format(program.pid)
    assert.truthy(asked.stdout.text:find(remedy, 1, true))
    assert.same({ 'exited', 0 }, { lua:forkmon { 'stop', tostring(program.pid) }:wait() })
    assert.same({ 'exited', 143 }, { program:wait() })
  end)

  describe('in a shell with job control', function()
    --- An interactive shell that has started the command in the foreground.
    local function shell_with(files, option)
      local project = support.project(files)
      local shell = support.start {
        'bash', '--norc', '--noediting', '-i', tty = true, cwd = project.root,
        env = { PS1 = '$ ', PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' },
      }
      shell:expect '$ '
      shell:write(('forkmon --no-color %smain.lua\n'):format(option and option .. ' ' or ''))
      return project, shell
    end

    local function leave(shell)
      shell:write 'exit\n'
      shell:wait()
    end

    --- What is stopped of the supervisor and the program.
    local function stopped(supervisor, app)
      return support.proc.state(supervisor) == 'T' and support.proc.state(app) == 'T'
    end

    it('Ctrl+Z stops the supervisor and the program, fg continues both, and edits count', function()
      local project, shell = shell_with {
        ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush() " .. spin, ['a.lua'] = "return 'ready'",
      }
      shell:expect 'ready\n'
      local supervisor = support.proc.supervisor(support.proc.children(shell.pid)[1])
      local app = support.wait_until('the program', function()
        for _, pid in ipairs(support.proc.children(supervisor)) do
          if support.proc.state(pid) == 'R' then return pid end
        end
      end)
      shell:write(suspend)
      shell:expect 'Stopped'
      support.wait_until('both to stop', function() return stopped(supervisor, app) end)
      -- An edit of meanwhile is not lost.
      project:write('a.lua', "return 'edited'")
      shell:write 'fg\n'
      shell:expect(lines.resuming(project:path 'a.lua'))
      shell:expect 'edited\n'
      shell:write(suspend)
      shell:expect 'Stopped'
      shell:write 'fg\n'
      shell:expect 'forkmon --no-color main.lua\n'
      support.wait_until('both to go on', function()
        return support.proc.state(supervisor) ~= 'T' and #support.proc.children(supervisor) > 0
      end)
      project:write('a.lua', "return 'edited again'")
      shell:expect 'edited again\n'
      shell:write(interrupt)
      shell:expect '$ '
      shell:write 'echo status $?\n'
      shell:expect 'status 130\n'
      leave(shell)
    end)

    it('Ctrl+Z works when the program has ended', function()
      local project, shell = shell_with {
        ['main.lua'] = "print(dofile 'a.lua') os.exit(3)", ['a.lua'] = "return 'ready'",
      }
      shell:expect(lines.exited(3))
      shell:write(suspend)
      shell:expect 'Stopped'
      project:write('a.lua', "return 'edited'")
      shell:write 'fg\n'
      shell:expect 'edited\n'
      shell:expect(lines.exited(3))
      shell:write(interrupt)
      shell:expect '$ '
      shell:write 'echo status $?\n'
      shell:expect 'status 130\n'
      leave(shell)
    end)

    it('Ctrl+Z stops what waits for quiet, and fg has it go on', function()
      for _, text in ipairs { 'os.exit(3)', spin } do
        local project, shell = shell_with({
          ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush() " .. text, ['a.lua'] = "return 'ready'",
        }, '--restart-delay=1000')
        shell:expect(text == spin and 'ready\n' or lines.exited(3))
        project:write('a.lua', "return 'edited'")
        local guard = support.proc.children(shell.pid)[1]
        support.wait_until('the session to wait for quiet', function()
          local status = lua:forkmon { 'status', '--json', tostring(guard) }
          status:wait()
          return status.stdout.text:find('"resuming"', 1, true)
        end)
        shell:write(suspend)
        shell:expect 'Stopped'
        assert.is_nil(shell.stdout.text:find('edited', 1, true))
        shell:write 'fg\n'
        shell:expect 'edited\n'
        shell:write(interrupt)
        shell:expect '$ '
        leave(shell)
      end
    end)

    it('what began in the background leaves the modes of the terminal alone', function()
      local project = support.project {
        ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush() " .. spin, ['a.lua'] = "return 'ready'",
      }
      -- With line editing, for which the shell has the terminal without echo.
      local shell = support.start {
        'bash', '--norc', '-i', tty = true, cwd = project.root,
        env = { PS1 = '$ ', TERM = 'dumb', PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' },
      }
      local function has_lines()
        return posix.tcgetattr(shell.input).lflag & posix.ICANON ~= 0
      end
      shell:expect '$ '
      shell:write 'forkmon --no-color main.lua &\r'
      shell:expect 'ready'
      support.wait_until('the shell to edit a line', function() return not has_lines() end)
      shell:write 'fg\r'
      support.wait_until('the session to be in the foreground', has_lines)
      project:write('a.lua', "return 'edited'")
      shell:expect 'edited'
      assert.is_true(has_lines())
      shell:write(interrupt)
      shell:expect '$ '
      shell:write 'exit\r'
      shell:wait()
    end)

    it('reads the keyboard after fg', function()
      local _, shell = shell_with { ['main.lua'] = "print 'ready' print('read', io.read())" }
      shell:expect 'ready\n'
      shell:write(suspend)
      shell:expect 'Stopped'
      shell:write 'fg\n'
      shell:expect 'main.lua\n'
      shell:write 'a line\n'
      shell:expect 'read\ta line\n'
      shell:write(interrupt)
      shell:expect '$ '
      leave(shell)
    end)

    it('runs in the background, and stops when it wants the keyboard', function()
      local project = support.project {
        ['main.lua'] = "print(dofile 'a.lua') if READ then print('read', io.read()) end", ['a.lua'] = "return 'ready'",
      }
      local shell = support.start {
        'bash', '--norc', '--noediting', '-i', tty = true, cwd = project.root,
        env = { PS1 = '$ ', PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' },
      }
      shell:expect '$ '
      shell:write 'forkmon --no-color main.lua &\n'
      shell:expect 'ready\n'
      project:write('a.lua', "READ = true return 'edited'")
      shell:expect 'edited\n'
      local supervisor = support.proc.children(shell.pid)[1]
      support.wait_until('it to stop', function() return support.proc.state(supervisor) == 'T' end)
      shell:write 'fg\n'
      shell:expect 'main.lua\n'
      shell:write 'a line\n'
      shell:expect 'read\ta line\n'
      shell:write(interrupt)
      shell:expect '$ '
      leave(shell)
    end)
  end)

  it('a terminal that hangs up ends all, with 129 for the shell', function()
    for _, text in ipairs { spin, 'io.read()', 'os.exit(0)' } do
      local _, program = start { ['main.lua'] = "dofile 'a.lua'", ['a.lua'] = "print 'ready' " .. text }
      program:expect 'ready\n'
      program:close_stdin()
      program:close_output()
      assert.same({ 'killed', posix.SIGHUP }, { program:wait() })
      support.assert_nothing_left()
    end
  end)

  it('SIGINT from a process is for what it was sent to: it ends the session', function()
    local _, program = start({ ['main.lua'] = "while true do pcall(function() print 'ready' " .. spin .. ' end) end' },
      { '--stop-timeout=300' })
    program:expect 'ready\n'
    local before = clock.now()
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
    -- The program had its chance to heed it.
    assert.is_true(clock.now() - before >= 0.3)
  end)
end)
