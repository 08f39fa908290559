--- What a resume does to the processes that a program has started, and to its pipes and threads.
--
-- Started before the checkpoint, a process lives on; started later, it is stopped with all that
-- descends from it, wherever it fled to. While a pipe is open no checkpoint is taken, as its
-- parked copy would keep the pipe from ending: the first run goes as if there were no forkmon,
-- and a change resumes from before the pipe.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'
local syscalls = require 'spec.support.syscalls'

--- The number of living processes with this command line.
local function count(command)
  local found = 0
  for _, pid in ipairs(support.living()) do
    if support.proc.command(pid) == command and support.proc.state(pid) ~= 'Z' then found = found + 1 end
  end
  return found
end

--- Waits until there is one process for each of these command lines.
local function await(commands)
  for _, command in ipairs(commands) do
    support.wait_until(command, function() return count(command) == 1 end)
  end
end

local BACKGROUND = ' </dev/null >/dev/null 2>&1 &'

support.each_lua(function(lua)
  local function start(files, options)
    local project = syscalls.project(files)
    options = options or { '--quiet', '--exact' }
    options[#options + 1] = 'main.lua'
    options.cwd = project.root
    return project, lua:forkmon(options)
  end

  describe('a process', function()
    -- In the ways of most: in the background; in a session of its own; orphaned, with a child,
    -- which is waited for.
    local function program(number)
      return ([[
        os.execute 'test -p ready || mkfifo ready'
        os.execute 'sleep 10%d1 %s'
        os.execute 'setsid sleep 10%d2 %s'
        os.execute '(setsid sh -c "sleep 10%d3 & echo >ready; wait" %s) &'
        local ready = io.open 'ready'
        ready:read()
        ready:close()
      ]]):format(number, BACKGROUND, number, BACKGROUND, number, BACKGROUND:sub(1, -2))
    end
    local function commands(number)
      return { ('sleep 10%d1'):format(number), ('sleep 10%d2'):format(number), ('sleep 10%d3'):format(number) }
    end

    it('from before the checkpoint lives on, a later one is stopped with its children', function()
      local project, running = start {
        ['main.lua'] = program(1) .. "\nrequire 'part'\nprint 'started'",
        ['part.lua'] = program(2),
      }
      running:expect 'started\n'
      await(commands(1))
      await(commands(2))
      local before = {}
      for _, pid in ipairs(support.living()) do before[pid] = support.proc.command(pid) end

      project:replace('part.lua', program(3))
      running:expect 'started\n'
      await(commands(1))
      await(commands(3))
      for _, command in ipairs(commands(2)) do assert.equal(0, count(command)) end
      for _, pid in ipairs(support.living()) do
        local command = support.proc.command(pid)
        if command:find '^sleep 101' then assert.equal(command, before[pid]) end
      end

      project:append('main.lua', ' -- saved') -- from the start: nothing of this run lives on
      running:expect 'started\n'
      await(commands(1))
      await(commands(3))
      for pid, command in pairs(before) do
        if command:find '^sleep' then assert.is_nil(support.proc.command(pid)) end
      end
      running:stop()
    end)

    it('from before the checkpoint keeps the children that it starts later', function()
      local project, running = start {
        ['main.lua'] = [[
          os.execute 'mkfifo orders'
          os.execute 'sh -c "read order <orders; sleep 1041; echo broken >result" </dev/null >/dev/null 2>&1 &'
          if require 'part' == 1 then
            local orders = io.open('orders', 'w')
            orders:write 'go\n'
            orders:close()
          end
          print 'started'
        ]],
        ['part.lua'] = 'return 1',
        result = '',
      }
      running:expect 'started\n'
      await { 'sleep 1041' }
      project:replace('part.lua', 'return 2')
      running:expect 'started\n'
      await { 'sleep 1041' }
      running:stop()
      assert.equal('', project:read 'result')
    end)

    it('that ignores the request to end is killed', function()
      local project, running = start({
        ['main.lua'] = "require 'part'\nprint 'started'",
        ['part.lua'] = "os.execute 'setsid sh -c \"trap true TERM; while :; do sleep 1051; done\"" .. BACKGROUND .. "'",
      }, { '--quiet', '--stop-timeout', '100' })
      running:expect 'started\n'
      await { 'sleep 1051' }
      project:replace('part.lua', '')
      running:expect 'started\n'
      assert.equal(0, count 'sleep 1051')
      assert.equal(0, count 'sh -c trap true TERM; while :; do sleep 1051; done')
      running:stop()
    end)
  end)

  describe('a pipe to a subprocess', function()
    it('open at a stop point ends when the program closes it, with the true status', function()
      local project, running = start {
        ['main.lua'] = [[
          io.stdout:setvbuf 'no'
          require 'before'
          print 'opening'
          local writer = io.popen('cat; exit 3', 'w')
          local reader = io.popen('echo read; exit 4')
          print((require 'part') .. (require 'more'))
          print(reader:read '*a', reader:close())
          writer:write 'written\n'
          print(writer:close())
          require 'after'
          print 'done'
        ]],
        ['before.lua'] = '',
        ['part.lua'] = "return 'one, '",
        ['more.lua'] = "return 'two'",
        ['after.lua'] = '',
      }
      -- What a plain run prints, but for the pids.
      local has_status = lua.version ~= '5.1'
      local function output(part)
        return ('opening\n%s\n%s\n%s\n'):format(part,
          has_status and 'read\n\tnil\texit\t4' or 'read\n\ttrue',
          has_status and 'written\nnil\texit\t3' or 'written\ntrue')
      end
      running:expect_exactly(output 'one, two' .. 'done\n')
      project:replace('more.lua', "return 'three'") -- from before the pipes
      running:expect_exactly(output 'one, three' .. 'done\n')
      project:replace('part.lua', "return 'zero, '")
      running:expect_exactly(output 'zero, three' .. 'done\n')
      project:append('after.lua', '-- saved') -- from behind them
      running:expect_exactly 'done\n'
      running:stop()
    end)

    it('makes checkpoint() return nil and why', function()
      local project, running = start {
        ['main.lua'] = [[
          local forkmon = require 'forkmon'
          print(forkmon.checkpoint 'first')
          local pipe = io.popen 'true'
          local taken, why = forkmon.checkpoint 'second'
          print(taken, why)
          pipe:close()
          print(forkmon.checkpoint 'third')
          require 'part'
        ]],
        ['part.lua'] = '',
      }
      local refusal = 'nil\ta pipe to a subprocess is open, which a checkpoint would keep from closing\n'
      running:expect_exactly('false\n' .. refusal .. 'false\n')
      project:append('part.lua', "print 'saved'")
      running:expect_exactly 'saved\n'
      running:stop()
    end)

    it('opened before enable() makes a change start anew', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          local pipe = io.popen('echo piped; exit 0')
          require('forkmon').enable { filter = '/part%.lua$' }
          local part = require 'part'
          print(part, pipe:read '*a')
          pipe:close()
          print(require('forkmon').checkpoint())
        ]],
        ['part.lua'] = 'return 1',
      }
      local running = lua:start { 'main.lua', cwd = project.root }
      running:expect '1\tpiped\n\nfalse\n'
      project:replace('part.lua', 'return 2')
      running:expect_exactly(("[forkmon] file '%s' changed, restarting..\n"):format(project:path 'part.lua'))
      running:expect '2\tpiped\n\nfalse\n'
      running:stop()
    end)
  end)

  describe('a child', function()
    it('that has ended before the checkpoint is nobody\'s afterwards', function()
      local project, running = start {
        ['main.lua'] = [[
          print(os.execute 'exit 0')
          require 'part'
          print(os.execute 'exit 0')
          local pipe = io.popen 'exit 0'
          print(pipe:close())
        ]],
        ['part.lua'] = '',
      }
      running:expect_match '^([^\n]*\n[^\n]*\n[^\n]*\n)'
      project:append('part.lua', '-- saved')
      local one, two = running:expect_match '^([^\n]*)\n([^\n]*)\n'
      assert.matches(lua.version == '5.1' and '^0$' or '^true\texit\t0$', one == '0\n' and '0' or one)
      assert.matches('^true', two)
      running:stop()
    end)
  end)

  describe('a thread', function()
    it('makes stop points join the checkpoint before, with one warning', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          require 'before'
          local syscalls = require 'syscalls'
          print 'one thread'
          syscalls.thread()
          print((require 'part'))
          print((require 'more'))
          print(require('forkmon').checkpoint())
        ]],
        ['before.lua'] = '',
        ['part.lua'] = 'return 1',
        ['more.lua'] = 'return 2',
      }
      local running = lua:forkmon { '--exact', '--quiet', '--filter', '/%l+e%.lua$;/part%.lua$', 'main.lua',
        cwd = project.root }
      local why = 'the program has 2 threads and a checkpoint can carry only one; '
        .. 'changes resume from the checkpoint before'
      running:expect_exactly('one thread\n[forkmon] ' .. why .. '\n1\n2\nnil\t' .. why .. '\n')
      for number = 3, 4 do
        project:replace('more.lua', 'return ' .. number)
        running:expect_exactly(('one thread\n1\n%d\nnil\t%s\n'):format(number, why))
      end
      running:stop()
    end)

    it('started before enable() is an error there', function()
      local project = syscalls.project {
        ['main.lua'] = [[
          require('syscalls').thread()
          print(pcall(require('forkmon').enable, { filter = 'x' }))
        ]],
      }
      local running = lua:start { 'main.lua', cwd = project.root }
      running:expect 'forkmon.enable: threads: the process has 2 threads'
      assert.same({ 'exited', 0 }, { running:wait() })
    end)
  end)

  it('a signal that comes while checkpoints are parked does not reach the resumed program', function()
    local project, running = start {
      ['main.lua'] = [[
        local syscalls = require 'syscalls'
        syscalls.signal(28, 'handle')
        require 'part'
        print('pid ' .. syscalls.pid())
      ]],
      ['part.lua'] = '',
    }
    local SIGWINCH = 28 -- the terminal sends it to the whole group
    for time = 1, 10 do
      local pid = tonumber(running:expect_match '^pid (%d+)\n')
      support.wait_until('its end', function() return not support.proc.state(pid) end)
      assert(posix.killpg(running.pid, SIGWINCH))
      project:replace('part.lua', '-- ' .. time)
    end
    running:expect_match '^pid (%d+)\n'
    running:stop()
    assert.equal('', running:unread())
  end)

  describe('the line of a resume says why a file has no checkpoint of its own:', function()
    for why, source in pairs {
      ['a pipe to a subprocess is open'] = "open = io.popen('cat', 'w')",
      ['an event queue is open'] = 'open = sys.epoll()',
      ['a file is locked'] = "open = sys.open('lock', 66) assert(sys.flock(open, 6) == '0')",
      ['there is more than one thread'] = 'open = sys.thread()',
    } do
      it(why, function()
        local project, program = start({
          ['main.lua'] = "local sys = require 'syscalls' dofile 'first.lua' local open\n" .. source
            .. "\ndofile 'second.lua' print(open ~= nil) io.stdout:flush() io.read()",
          ['first.lua'] = '', ['second.lua'] = '',
        }, { '--exact', '--no-watch-lines', '--filter', '/%a+%.lua$', '--ignore', '/syscalls%.lua$' })
        program:expect 'true\n'
        project:write('second.lua', '-- edited')
        program:expect(lines.resuming(project:path 'second.lua', project:path 'first.lua', nil, why))
        program:expect 'true\n'
        project:write('first.lua', '-- edited')
        program:expect(lines.resuming(project:path 'first.lua'))
        program:expect 'true\n'
        program:stop 'INT'
      end)
    end
  end)
end)
