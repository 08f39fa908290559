--- How a session ends: by the signal that ended it, and with nothing left of it.
--
-- Each program has a checkpoint and subprocesses, one of which has left the session and one whose parent has ended: the
-- toolbox finds every process that is left.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  --- A program that says 'ready' and waits, with all its kin.
  local files = {
    ['main.lua'] = [[
      require('data')
      os.execute 'setsid sh -c "sleep 1000" & (sleep 1000 & sleep 1000 &)'
      print(dofile 'a.lua')
      io.stdout:flush()
      os.execute 'sleep 1000'
    ]],
    ['data.lua'] = '',
    ['a.lua'] = "return 'ready'",
  }

  --- Starts it by either entry point, and waits until all are there.
  local function start(entry, options)
    local project = support.project(files)
    options = options or {}
    options.cwd, options.stdin = project.root, 'pipe'
    local program
    if entry == 'command' then
      options[1], options[2], options[3] = '--quiet', '--exact', 'main.lua'
      program = lua:forkmon(options)
    else
      project:write('enable.lua',
        "require('forkmon').enable { filter = '%.lua$', quiet = true, exact = true } dofile 'main.lua'")
      options[1] = 'enable.lua'
      program = lua:start(options)
    end
    program:expect_exactly 'ready\n'
    support.wait_until('the subprocesses', function()
      local sleeping = 0
      for _, pid in ipairs(support.living()) do
        if support.proc.command(pid) == 'sleep 1000' then sleeping = sleeping + 1 end
      end
      return sleeping == 4
    end)
    return project, program
  end

  local function app_and_checkpoints(program)
    local found, app = {}, nil
    for _, pid in ipairs(support.proc.children(support.proc.supervisor(program.pid))) do
      local name = support.proc.command(pid)
      if name and not name:find 'sleep' then
        -- The one that has a child is the program: it waits for `sleep`.
        if #support.proc.children(pid) > 0 then app = pid else found[#found + 1] = pid end
      end
    end
    assert.is_true(#found >= 2)
    return assert(app), found
  end

  for _, entry in ipairs { 'command', 'enable' } do
    for name, number in pairs { TERM = 15, INT = 2, HUP = 1, QUIT = 3 } do
      it(('SIG%s to what the shell started ends all (%s)'):format(name, entry), function()
        local _, program = start(entry)
        assert.same({ 'killed', number }, { program:stop(name) })
        support.assert_nothing_left()
      end)
    end

    for _, who in ipairs { 'what the shell started', 'the supervisor' } do
      it(('SIGKILL to %s ends all, too (%s)'):format(who, entry), function()
        local _, program = start(entry)
        local supervisor = support.proc.supervisor(program.pid)
        posix.kill(who == 'the supervisor' and supervisor or program.pid, posix.SIGKILL)
        assert.same({ 'killed', posix.SIGKILL }, { program:wait() })
        support.assert_nothing_left()
      end)
    end
  end

  for _, name in ipairs { 'TERM', 'KILL' } do
    it(('SIG%s to what the shell started ends all, though the supervisor is stopped'):format(name), function()
      local _, program = start 'command'
      local supervisor = support.proc.supervisor(program.pid)
      posix.kill(supervisor, posix.SIGSTOP)
      support.wait_until('the stop', function() return support.proc.state(supervisor) == 'T' end)
      assert.same({ 'killed', posix['SIG' .. name] }, { program:stop(name) })
      support.assert_nothing_left()
    end)
  end

  describe('of a program that died by SIGPIPE', function()
    local function pipeline(source, pipe)
      local project = support.project { ['main.lua'] = source, ['a.lua'] = 'return 1' }
      return support.start { 'bash', '-c', 'forkmon main.lua' .. pipe .. '; echo "status ${PIPESTATUS[0]}"',
        cwd = project.root, env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }, project
    end

    it('it ends when nobody can read the output any more', function()
      local shell = pipeline("dofile 'a.lua' io.stdout:setvbuf 'line' while true do print 'ready' end", ' | head -1')
      shell:expect 'ready\n'
      shell:expect 'status 141\n'
      shell:wait()
      support.assert_nothing_left()
    end)

    it('it goes on when somebody reads', function() -- the negative control
      local shell, project = pipeline([[
        print(dofile 'a.lua')
        io.stdout:flush()
        os.execute('kill -PIPE ' .. io.open '/proc/self/stat':read '*l':match '%d+')
      ]], ' | cat')
      shell:expect '1\n'
      shell:expect '[forkmon] exited with status 141, waiting for changes..'
      project:write('a.lua', 'return 2')
      shell:expect '2\n'
      shell:signal_group 'TERM'
      shell:wait()
    end)
  end)

  it('a shell reports 128 and the number of the signal', function()
    local project = support.project { ['main.lua'] = "print 'ready' io.stdout:flush() io.read()" }
    for name, status in pairs { TERM = 143, INT = 130, HUP = 129 } do
      -- An interactive bash, as another ends by SIGINT when its child did.
      local shell = support.start {
        'bash', '--norc', '--noediting', '-i', tty = true, cwd = project.root,
        env = { PS1 = '$ ', PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' },
      }
      shell:expect '$ '
      shell:write 'forkmon main.lua\n'
      shell:expect 'ready\n'
      posix.kill(support.proc.children(shell.pid)[1], posix['SIG' .. name])
      shell:expect '$ '
      shell:write 'echo status $?\n'
      shell:expect('status ' .. status .. '\n')
      shell:write 'exit\n'
      shell:wait()
    end
  end)

  it('a second signal ends what does not heed the first', function()
    local project = support.project {
      ['main.lua'] = [[os.execute "trap '' TERM; echo ready; sleep 1000 & wait"]],
    }
    local program = lua:forkmon { '--stop-timeout=100000', 'main.lua', cwd = project.root }
    program:expect_exactly 'ready\n'
    program:signal 'TERM'
    -- Its first answer to the signal: the checkpoint goes.
    support.wait_until('the end of the checkpoints', function()
      return #support.proc.children(support.proc.supervisor(program.pid)) <= 1
    end)
    assert.is_false(program:has_ended())
    assert.same({ 'killed', posix.SIGTERM }, { program:stop 'TERM' })
    support.assert_nothing_left()
  end)

  it('what subprocesses start while it ends is ended, too', function()
    -- Each of them starts two others when it is asked to end, of which one does the same. (A shell
    -- that starts something while it has a trap could let it miss the signal.)
    local project = support.project {
      ['main.lua'] = [[os.execute "sh chain 4 & sh chain 3 & sh chain 2 & sleep 1000"]],
      chain = [[
        sleep 1000 &
        trap 'trap - TERM; test $1 = 0 || setsid sh chain $(($1 - 1)) & sleep 1000 & exit' TERM
        echo ready
        wait $!
      ]],
    }
    local program = lua:forkmon { '--stop-timeout=100000', 'main.lua', cwd = project.root }
    program:expect_exactly(('ready\n'):rep(3))
    assert.same({ 'killed', posix.SIGTERM }, { program:stop 'TERM' })
    assert.equal(0, #support.living())
  end)

  it('stop_timeout ends it as well', function()
    local project = support.project {
      ['main.lua'] = [[os.execute "trap '' TERM; echo ready; sleep 1000 & wait"]],
    }
    local program = lua:forkmon { '--stop-timeout=200', 'main.lua', cwd = project.root }
    program:expect_exactly 'ready\n'
    assert.same({ 'killed', posix.SIGTERM }, { program:stop 'TERM' })
    support.assert_nothing_left()
  end)

  it('a program that was killed waits for a change, and its subprocesses go then', function()
    local project, program = start 'command'
    local app = app_and_checkpoints(program)
    posix.kill(app, posix.SIGKILL)
    support.wait_until('its end', function() return not support.proc.state(app) end)
    project:write('a.lua', "return 'again'")
    -- A shell may say first how its `sleep` ended.
    program:expect 'again\n'
    program:stop()
    support.assert_nothing_left()
  end)

  it('a checkpoint that was killed is replaced by the one before', function()
    local project = support.project {
      ['main.lua'] = "print 'start' dofile 'a.lua' dofile 'b.lua' dofile 'c.lua' io.stdout:flush() os.exit(3)",
      ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'", ['c.lua'] = "print 'c'",
    }
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root }
    -- It tells of the end of the program, so all that is left are checkpoints.
    program:expect(lines.exited(3))
    --- Kills the children of the supervisor from the `first` on, in the order of their pids.
    local function kill_children(first)
      local pids = support.proc.children(support.proc.supervisor(program.pid))
      table.sort(pids)
      for index = first, #pids do posix.kill(pids[index], posix.SIGKILL) end
      support.wait_until('their end', function()
        for index = first, #pids do
          if support.proc.state(pids[index]) then return false end
        end
        return true
      end)
    end
    -- All but the first of the checkpoints.
    kill_children(2)
    project:write('c.lua', "print 'c2'")
    program:expect_exactly(lines.resuming(project:path 'c.lua', project:path 'main.lua')
      .. 'start\na\nb\nc2\n' .. lines.exited(3))
    -- With no checkpoint at all, everything starts anew.
    support.wait_until('the end of all', function()
      kill_children(1)
      return #support.proc.children(support.proc.supervisor(program.pid)) == 0
    end)
    project:write('c.lua', "print 'c3'")
    program:expect(lines.restarting(project:path 'c.lua') .. 'start\n')
    program:expect('c3\n' .. lines.exited(3))
    program:stop()
  end)

  it('a signal to the whole group asks once, though it comes twice', function()
    local project = support.project {
      ['main.lua'] = [[os.execute "trap 'sleep 0.2; echo clean; exit' TERM; echo ready; while :; do sleep 0.01; done"]],
    }
    for _ = 1, 5 do
      local program = lua:forkmon { '--stop-timeout=100000', 'main.lua', cwd = project.root }
      program:expect_exactly 'ready\n'
      program:signal_group 'TERM'
      program:expect 'clean\n'
      assert.same({ 'killed', posix.SIGTERM }, { program:wait() })
    end
  end)

  it('who ignores the end of children hears of it all the same', function()
    local project = support.project { ['main.lua'] = "print 'start' print(dofile 'a.lua')", ['a.lua'] = "return 'a'" }
    local program = support.start {
      'sh', '-c', 'trap "" CHLD; exec "$0" --quiet main.lua', lua.tree .. '/bin/forkmon', cwd = project.root,
    }
    program:expect_exactly 'start\na\n'
    project:write('a.lua', "return 'a2'")
    program:expect_exactly 'a2\n'
    assert.same({ 'exited', 0 }, { lua:forkmon { 'restart', tostring(program.pid) }:wait() })
    program:expect_exactly 'start\na2\n'
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('nohup is respected: who ignores SIGHUP goes on', function()
    local project = support.project { ['main.lua'] = "print 'start' print(dofile 'a.lua')", ['a.lua'] = "return 'a'" }
    local program = support.start {
      'sh', '-c', 'trap "" HUP; exec "$0" --quiet main.lua', lua.tree .. '/bin/forkmon', cwd = project.root,
    }
    program:expect_exactly 'start\na\n'
    program:signal 'HUP'
    project:write('a.lua', "return 'a2'")
    program:expect_exactly 'a2\n'
    program:signal_group 'HUP'
    project:write('a.lua', "return 'a3'")
    program:expect_exactly 'a3\n'
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('SIGTERM to the program alone ends the program alone', function()
    local project, program = start 'command'
    posix.kill(app_and_checkpoints(program), posix.SIGTERM)
    project:write('a.lua', "return 'again'")
    -- A shell may say first how its `sleep` ended.
    program:expect 'again\n'
    program:stop()
  end)
end)
