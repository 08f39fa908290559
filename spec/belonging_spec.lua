--- Who belongs to a session: what the program has started, and nobody else.
--
-- A resume and the end of a session end what the program started. What the shell had started before it became forkmon,
-- what a container gives to its process 1, what is another user's, and other sessions are left alone.

local posix = require 'posix'
local sandbox = require 'spec.support.sandbox'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local proc = support.proc

local BACKGROUND = ' </dev/null >/dev/null 2>&1 &'

--- The living process with this command line, as soon as there is one.
local function find(command)
  for _, pid in ipairs(support.living()) do
    if proc.command(pid) == command and proc.state(pid) ~= 'Z' then return pid end
  end
  return nil
end

--- Waits until there are so many living processes with this command line.
local function await_count(command, count)
  support.wait_until(('%d of %s'):format(count, command), function()
    local found = 0
    for _, pid in ipairs(support.living()) do
      if proc.command(pid) == command and proc.state(pid) ~= 'Z' then found = found + 1 end
    end
    return found == count
  end)
end

local function await(command)
  return support.wait_until(command, function() return find(command) end)
end

local function await_end(command)
  support.wait_until('the end of ' .. command, function() return not find(command) end)
end

--- Kills all of them.
local function kill(command)
  for _, pid in ipairs(support.living()) do
    if proc.command(pid) == command then posix.kill(pid, posix.SIGKILL) end
  end
  await_end(command)
end

support.one_lua(function(lua)
  local environment = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' }

  local function starts(text)
    return ("os.execute '%s%s'"):format(text, BACKGROUND)
  end

  describe('what the shell started before it became forkmon', function()
    local project, program

    --- `%s` is forkmon.
    local function start(shell)
      project = support.project { ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush()",
        ['a.lua'] = starts 'sleep 9021' .. " return 'a0'" }
      posix.mkfifo(project:path 'orders')
      program = support.start { 'sh', '-c', (shell:gsub('%%s', 'forkmon --quiet main.lua')), cwd = project.root,
        env = environment }
      program:expect_exactly 'a0\n'
      await 'sleep 9021'
    end

    it('lives on through resumes, restarts and the end', function()
      start('setsid sleep 9011' .. BACKGROUND .. ' sleep 9012' .. BACKGROUND .. ' exec %s')
      local server, other = await 'sleep 9011', await 'sleep 9012'
      project:write('a.lua', starts 'sleep 9022' .. " return 'a1'")
      program:expect_exactly 'a1\n'
      await 'sleep 9022'
      assert.is_nil(find 'sleep 9021') -- the negative control: what the program had started has ended
      project:append('main.lua', '-- saved')
      program:expect_exactly 'a1\n'
      local restart = support.start { 'forkmon', 'restart', tostring(program.pid), env = environment }
      assert.same({ 'exited', 0 }, { restart:wait() })
      program:expect_exactly 'a1\n'
      assert.equal(server, find 'sleep 9011')
      assert.equal(other, find 'sleep 9012')
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
      await_end 'sleep 9022'
      assert.equal(server, find 'sleep 9011')
      assert.equal(other, find 'sleep 9012')
      kill 'sleep 9011'
      kill 'sleep 9012'
    end)

    it('lives on, and so does what it starts later', function()
      start('sh -c "while read order; do sleep \\$order & done" <orders >/dev/null 2>&1 & exec %s')
      local orders = assert(io.open(project:path 'orders', 'w'))
      orders:setvbuf 'no'
      orders:write '9013\n'
      local child = await 'sleep 9013'
      project:write('a.lua', "return 'a1'")
      program:expect_exactly 'a1\n'
      orders:write '9014\n'
      await 'sleep 9014'
      program:stop()
      assert.equal(child, find 'sleep 9013')
      orders:close()
      kill 'sleep 9013'
      kill 'sleep 9014'
    end)

    for _, victim in ipairs { 'guard', 'supervisor' } do
      it('lives on when the ' .. victim .. ' is killed', function()
        start('sleep 9011' .. BACKGROUND .. ' exec %s')
        local server = await 'sleep 9011'
        local supervisor
        for _, pid in ipairs(proc.children(program.pid)) do
          if pid ~= server then supervisor = pid end
        end
        posix.kill(victim == 'guard' and program.pid or supervisor, posix.SIGKILL)
        program:wait()
        await_end 'sleep 9021'
        support.wait_until('the end of the session', function() return #support.living() <= 1 end)
        assert.equal(server, find 'sleep 9011')
        kill 'sleep 9011'
      end)
    end
  end)

  describe('as process 1 of a container', function()
    local lack = not sandbox.is_root and 'only root can enter the namespace of another process'
      or sandbox.lack '--pid --fork --mount-proc'
    local project, program, first

    local function start(files)
      project = support.project { ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush()", ['a.lua'] = "return 'a0'" }
      for name, text in pairs(files or {}) do project:write(name, text) end
      program = sandbox.start(lua, { '--quiet', 'main.lua', cwd = project.root,
        namespaces = '--pid --fork --mount-proc' })
      program:expect 'a0\n'
      first = proc.children(program.pid)[1]
    end

    local function enter(command)
      local visitor = support.start { 'nsenter', '--target', tostring(first), '--pid', '--mount', 'sh', '-c', command,
        cwd = project.root, env = environment }
      assert.same({ 'exited', 0 }, { visitor:wait() })
    end

    local function stop()
      posix.kill(first, posix.SIGTERM)
      program:wait()
      support.assert_nothing_left() -- the kernel sees to that
    end

    it('does not end daemons that it is given', function()
      if lack then return pending(lack) end
      start { ['a.lua'] = starts 'setsid sleep 9021' .. " return 'a0'" }
      enter('setsid sh -c "sleep 9031 & exit"' .. BACKGROUND)
      local daemon = await 'sleep 9031'
      support.wait_until('the daemon to be given away', function()
        return tonumber(proc.status(daemon, 'PPid')) == first
      end)
      project:write('a.lua', "return 'a1'")
      program:expect_exactly 'a1\n'
      assert.is_nil(find 'sleep 9021') -- the negative control
      project:append('main.lua', '-- saved')
      program:expect_exactly 'a1\n'
      assert.equal(daemon, find 'sleep 9031')
      stop()
    end)

    it('does not end who has come to visit', function()
      if lack then return pending(lack) end
      start()
      enter('sleep 9032' .. BACKGROUND)
      local visitor = await 'sleep 9032'
      project:write('a.lua', "return 'a1'")
      program:expect_exactly 'a1\n'
      assert.equal(visitor, find 'sleep 9032')
      stop()
    end)

    it('buries who was given to it', function()
      if lack then return pending(lack) end
      start()
      enter 'for i in 1 2 3; do setsid sh -c "sleep 0.05 & exit" & done; wait'
      support.wait_until(function() return 'no zombies: ' .. proc.describe(proc.children(first)) end, function()
        return #proc.children(first) == 1
      end)
      project:write('a.lua', "return 'a1'")
      program:expect_exactly 'a1\n'
      stop()
    end)
  end)

  describe('what is another user\'s', function()
    -- A session of root's that may not signal other users' processes, as anybody's may not what `sudo` runs.
    local weak = { 'setpriv', '--inh-caps=-kill', '--bounding-set=-kill' }
    local other = 'setpriv --reuid=65534 --clear-groups '
    local lack = not sandbox.is_root and 'only root can start what is another user\'s'
      or not sandbox.succeeds(table.concat(weak, ' ') .. ' ' .. other .. 'true')
      and 'capabilities cannot be dropped here'

    local function start(program)
      local project = support.project { ['a.lua'] = "return 'a0'",
        ['main.lua'] = "print(dofile 'a.lua') " .. program .. ' io.stdout:flush()' }
      local command = { 'forkmon', 'main.lua', cwd = project.root, env = environment }
      table.move(command, 1, #command, #weak + 1)
      table.move(weak, 1, #weak, 1, command)
      local running = support.start(command)
      running:expect 'a0\n'
      return running, project
    end

    it('is not waited for, and one warning names it', function()
      if lack then return pending(lack) end
      local program, project = start(starts(other .. 'sleep 9041'))
      local foreign = await 'sleep 9041'
      for run, text in ipairs { 'a1', 'a2' } do
        project:write('a.lua', ("return '%s'"):format(text))
        program:expect(text .. '\n')
        await_count('sleep 9041', run + 1) -- until then it is the user's own, and ended by the next resume
      end
      local warnings = 0
      for line in program.stdout.text:gmatch '%[forkmon%][^\n]*' do
        if line:find('sleep', 1, true) or line:find(tostring(foreign), 1, true) then warnings = warnings + 1 end
      end
      assert.equal(1, warnings)
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
      assert.equal(foreign, find 'sleep 9041')
      await_count('sleep 9041', 3) -- one of each run
      kill 'sleep 9041'
    end)

    it('does not keep what is the user\'s own from being ended', function() -- the negative control
      if lack then return pending(lack) end
      local program, project = start(starts(other .. 'sleep 9041') .. starts 'setsid sleep 9042')
      await 'sleep 9041'
      local own = await 'sleep 9042'
      project:write('a.lua', "return 'a1'")
      program:expect 'a1\n'
      assert.is_nil(proc.state(own))
      await 'sleep 9042'
      await_count('sleep 9041', 2)
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
      await_end 'sleep 9042'
      kill 'sleep 9041'
    end)
  end)

  describe('a signal', function()
    local handled = { USR1 = 10, USR2 = 12, ALRM = 14, VTALRM = 26, PROF = 27, WINCH = 28, IO = 29, ['34'] = 34 }
    local passed_on = { [10] = true, [12] = true, [14] = true } -- what the session does not heed stays pending there
    local FENCE = 30 -- SIGPWR
    local program, app

    before_each(function()
      local handlers = { ("sys.signal(%d, 'handle')"):format(FENCE) }
      for _, number in pairs(handled) do handlers[#handlers + 1] = ("sys.signal(%d, 'handle')"):format(number) end
      local project = syscalls.project { ['main.lua'] = ([[
        io.stdout:setvbuf 'no'
        local sys = require 'syscalls'
        %s
        print('pid ' .. sys.pid())
        io.read()
      ]]):format(table.concat(handlers, ' ')) }
      program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe' }
      app = tonumber(program:expect_match 'pid (%d+)\n')
    end)

    --- The program must have got this signal once by the time that nobody is busy any more.
    local function expect_once(number)
      program:expect_exactly(('signal %d\n'):format(number))
      for _, pid in ipairs { program.pid, proc.supervisor(program.pid), app } do
        support.wait_until('everybody to sleep', function()
          return proc.state(pid) == 'S' and not (passed_on[number] and proc.signals(pid, 'ShdPnd')[number])
        end)
      end
      posix.kill(app, FENCE)
      program:expect_exactly(('signal %d\n'):format(FENCE))
    end

    for name, number in pairs(handled) do
      it(('to the group reaches the program once (%s)'):format(name), function()
        for _ = 1, 3 do
          posix.killpg(program.pid, number)
          expect_once(number)
        end
        program:stop()
        assert.equal('', program:unread())
      end)
    end

    for _, name in ipairs { 'USR1', 'USR2', 'ALRM' } do
      it(('to the process that the shell knows reaches the program once (%s)'):format(name), function()
        for _ = 1, 3 do
          posix.kill(program.pid, handled[name])
          expect_once(handled[name])
        end
        program:stop()
      end)
    end
  end)

  describe('two containers with one temporary folder', function()
    local lack = not sandbox.is_root and 'only root can enter the namespace of another process'
      or sandbox.lack '--pid --fork --mount-proc'
    local shared

    local function sockets()
      return posix.glob(shared:path '*/*.sock') or {}
    end

    local function start()
      local before = #sockets()
      local project = support.project { ['main.lua'] = "print 'ready' io.stdout:flush()" }
      local program = sandbox.start(lua, { '--quiet', 'main.lua', cwd = project.root,
        namespaces = '--pid --fork --mount-proc', env = { TMPDIR = shared.root, XDG_RUNTIME_DIR = false } })
      program:expect 'ready\n'
      program.first = proc.children(program.pid)[1]
      support.wait_until('the socket', function() return #sockets() > before end)
      return program, project
    end

    --- Runs forkmon in the container of a program; returns how it ended, and what it said.
    local function ask(program, ...)
      local asking = support.start { cwd = '/',
        env = { PATH = environment.PATH, TMPDIR = shared.root, XDG_RUNTIME_DIR = false },
        'nsenter', '--target', tostring(program.first), '--pid', '--mount', 'forkmon', ... }
      local how, code = asking:wait()
      return how .. ' ' .. code, asking:unread()
    end

    before_each(function() shared = support.project {} end)

    it('keep a session each: each is asked in its own', function()
      if lack then return pending(lack) end
      local one, project_one = start()
      local two, project_two = start()
      for program, project in pairs { [one] = project_one, [two] = project_two } do
        local how, said = ask(program, 'status')
        assert.equal('exited 0', how)
        assert.equal(1, support.count(said, project.root))
      end
      -- Who asks is in the container, too, and the kernel kills whoever is left there when its first process has ended.
      local stopped = ask(two, 'stop', '1')
      assert.truthy(stopped == 'exited 0' or stopped == 'killed 9', stopped)
      two:wait()
      local how, said = ask(one, 'status')
      assert.equal('exited 0', how)
      assert.equal(1, support.count(said, project_one.root))
      assert.equal(0, support.count(said, project_two.root))
      posix.kill(one.first, posix.SIGTERM)
      one:wait()
    end)

    it('keep a session each, also when one is killed', function()
      if lack then return pending(lack) end
      local one, project = start()
      local two = start()
      posix.kill(two.first, posix.SIGKILL)
      two:wait()
      local how, said = ask(one, 'status')
      assert.equal('exited 0', how)
      assert.equal(1, support.count(said, project.root))
      posix.kill(one.first, posix.SIGTERM)
      one:wait()
      assert.same({}, sockets())
    end)
  end)
end)
