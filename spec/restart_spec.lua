--- Restarts: the program that calls `enable` itself is edited.
--
-- The supervisor runs the command anew, which is a program like any other until it comes to
-- `enable`. Whatever happens to it and to the files before that, the session goes on.

local lines = require 'spec.support.lines'
local posix = require 'posix'
local support = require 'spec.support'

support.each_lua(function(lua)
  --- Versions of the script are as long as each other, so that little tells them apart.
  local function script(version)
    return ([[
      require('forkmon').enable { filter = '%%.lua$' }
      print 'v%04d'
      io.stdout:flush()
      io.read()
    ]]):format(version)
  end

  local function start(text)
    local project = support.project { ['main.lua'] = text, ['data.txt'] = 'no Lua 1', ['optional.lua'] = 'return 1' }
    return lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }, project
  end

  it('loses no edit that comes while the program is starting anew', function()
    local program, project = start(script(0))
    program:expect 'v0000\n'
    for i = 1, 40 do
      project:replace('main.lua', script(2 * i - 1))
      -- Anywhere from before the restart to after the new call of enable.
      posix.poll({}, 4 + i % 20)
      project:replace('main.lua', script(2 * i))
      program:expect(('v%04d\n'):format(2 * i))
    end
    program:stop 'TERM'
  end)

  it('takes the script back as it was', function()
    local program, project = start(script(1))
    program:expect 'v0001\n'
    project:rename('main.lua', 'main.lua~')
    program:expect(lines.exited(1))
    project:rename('main.lua~', 'main.lua')
    program:expect 'v0001\n'
    program:stop 'TERM'
  end)

  for content, action in pairs { ['true'] = 'resuming from it', ['false'] = 'restarting' } do
    it('after a save that changes no byte, with content = ' .. content .. ': ' .. action, function()
      local program, project = start(([[
        require('forkmon').enable { filter = '%%.lua$', content = %s }
        print 'started'
        print(dofile 'optional.lua')
        io.stdout:flush()
        io.read()
      ]]):format(content))
      program:expect '1\n'
      project:replace('main.lua', project:read 'main.lua')
      -- Of several changes the earliest decides.
      project:write('optional.lua', 'return 2')
      program:expect_match("'[^\n]* changed, " .. action .. '%.%.\n')
      program:expect '2\n'
      program:stop 'TERM'
    end)
  end

  it('counts when the script was away as it came to enable', function()
    local function slow(version) return "print 'begun' io.stdout:flush() io.read() " .. script(version) end
    local program, project = start(slow(1))
    program:expect 'begun\n'
    project:rename('main.lua', 'main.lua~')
    program:write '\n'
    program:expect 'v0001\n'
    project:write('main.lua', script(2))
    program:expect(lines.restarting(project:path 'main.lua', 'is there now') .. 'v0002\n')
    program:stop 'TERM'
  end)

  it('counts when a module was away as the program came to enable, or comes at an earlier place', function()
    local project = support.project {
      ['second/part.lua'] = "return 'one'",
      ['main.lua'] = [[
        package.path = './first/?.lua;./second/?.lua;' .. package.path
        print((require 'part'))
        -- As it is while some editors save it.
        os.rename('second/part.lua', 'part.lua~')
        require('forkmon').enable { filter = '%.lua$' }
        print 'enabled'
        io.stdout:flush()
        io.read()
      ]],
    }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect 'one\nenabled\n'
    project:write('second/part.lua', "return 'two'")
    program:expect(lines.restarting(project:path 'second/part.lua', 'is there now') .. 'two\nenabled\n')
    project:write('first/part.lua', "return 'three'")
    -- Both have changed: the other one counts as gone when it has been away for 100 ms.
    local cause = program:expect_match(
      "%[forkmon%] file '[^\n]*/(%a+)/part%.lua' [^\n]*, restarting%.%.\nthree\nenabled\n")
    assert.is_true(cause == 'first' or cause == 'second', cause)
    program:stop 'TERM'
  end)

  it('loses no edit to a save in place that comes in two steps', function()
    local program, project = start(script(0))
    program:expect 'v0000\n'
    for i = 1, 60 do
      project:replace('main.lua', script(2 * i - 1))
      -- Whenever it is, the interpreter may come upon an empty script.
      posix.poll({}, i % 20)
      project:write_in_two_steps('main.lua', script(2 * i))
      program:expect(('v%04d\n'):format(2 * i))
    end
    program:stop 'TERM'
  end)

  for what, case in pairs {
    ['cannot be loaded'] = { 'print(', lines.exited(1) },
    ['raises an error'] = { "error 'not yet'", lines.exited(1) },
    ['is ended by a signal'] = { "os.execute 'kill -9 $PPID' io.read()", lines.exited(137) },
    ['ends with a status of its own'] = { 'os.exit(3)', lines.exited(3) },
    ['is empty'] = { '', lines.never_enabled },
    ['has no enable any more'] = { "print 'plain'", 'plain\n' .. lines.never_enabled },
  } do
    it('waits for the next edit when the script ' .. what, function()
      local program, project = start(script(1))
      local pid = program.pid
      program:expect 'v0001\n'
      project:replace('main.lua', case[1])
      program:expect(case[2])
      project:replace('main.lua', script(2))
      program:expect(lines.restarting(project:path 'main.lua') .. 'v0002\n')
      assert.same({ 'killed', 15 }, { program:stop 'TERM' })
      assert.equal(pid, program.pid)
    end)
  end

  it('waits for what the last run read, too, when there is none before enable', function()
    local project = support.project {
      ['main.lua'] = "print 'begun' dofile 'part.lua' io.stdout:flush() io.read()", ['part.lua'] = "print 'one'",
    }
    local env = { LUA_INIT = [[
      if io.open 'broken' then os.exit(4) end
      require('forkmon').enable { filter = '%.lua$' }
    ]] }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe', env = env }
    program:expect 'one\n'
    project:write('broken', '')
    assert.same({ 'exited', 0 }, { lua:forkmon { 'restart', tostring(program.pid) }:wait() })
    program:expect(lines.exited(4))
    project:remove 'broken'
    project:replace('part.lua', "print 'two'")
    program:expect(lines.restarting(project:path 'part.lua') .. 'begun\ntwo\n')
    program:stop 'TERM'
  end)

  it('sees what is mended while the command is on its way to fail', function()
    local project = support.project {
      ['main.lua'] = "require('forkmon').enable { filter = '%.lua$' } print(dofile 'part.lua') io.read()",
      ['part.lua'] = "io.stdout:setvbuf 'no' return 'one'",
    }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect 'one\n'
    project:write('part.lua', 'return +')
    program:expect 'unexpected symbol'
    project:replace('main.lua', [[
      local ok, part = pcall(dofile, 'part.lua')
      print('loading', ok)
      io.stdout:flush()
      io.read()
      assert(ok)
      require('forkmon').enable { filter = '%.lua$' }
      print(part)
      io.read()
    ]])
    program:expect 'loading\tfalse\n'
    project:write('part.lua', "io.stdout:setvbuf 'no' return 'two'")
    program:write '\n'
    program:expect(lines.restarting(project:path 'part.lua'))
    program:expect 'loading\ttrue\n'
    program:write '\n'
    program:expect 'two\n'
    program:stop 'TERM'
  end)

  it('is acted on at once while the program is on its way to enable', function()
    local program, project = start(script(1))
    program:expect 'v0001\n'
    project:replace('main.lua', "print 'loading' io.stdout:flush() io.read()")
    program:expect 'loading\n'
    project:replace('main.lua', script(2))
    program:expect(lines.restarting(project:path 'main.lua') .. 'v0002\n')
    program:stop 'TERM'
  end)

  it('comes to rest with a program that makes a file which it reads before enable', function()
    local text = [[
      local file = io.open('made.lua', 'w')
      file:write "return 'made'"
      file:close()
      print(dofile 'made.lua')
      package.loaded.made = true
      require('forkmon').enable { filter = '%.lua$' }
      print '%s'
      io.stdout:flush()
      io.read()
    ]]
    local function version(name) return (text:gsub("print '%%s'", ("print '%s'"):format(name))) end
    local program, project = start(version 'one')
    program:expect 'one\n'
    project:replace('main.lua', version 'two')
    program:expect 'two\n'
    project:replace('main.lua', version 'three')
    program:expect_match "main.lua' changed, restarting..\nmade\nthree\n"
    -- What was made by hand in between counts.
    project:write('made.lua', "return 'by hand'")
    program:expect(lines.restarting(project:path 'made.lua') .. 'made\nthree\n')
    program:stop 'TERM'
    assert.equal('', program:unread())
  end)

  it('takes over the options that the new script gives', function()
    local function text(options)
      return ([[
        require('forkmon').enable { filter = '%%.lua$', %s }
        print(dofile 'optional.lua')
        io.stdout:flush()
        io.read()
      ]]):format(options)
    end
    local program, project = start(text '')
    program:expect '1\n'
    project:replace('main.lua', text "poll = 20, quiet = true, events = 'events.json'")
    program:expect '1\n'
    project:replace('optional.lua', 'return 2')
    program:expect '2\n'
    local status = lua:forkmon { 'status', '--json', tostring(program.pid) }
    status:wait()
    assert.matches('"polled":%s*[1-9]', status.stdout.text)
    local events = project:read 'events.json'
    for _, event in ipairs { 'start', 'watch', 'change', 'resume' } do
      assert.truthy(events:find(('"event":"%s"'):format(event), 1, true), event .. '\n' .. events)
    end
    project:replace('main.lua', text '')
    program:expect '2\n'
    project:replace('optional.lua', 'return 3')
    program:expect(lines.resuming(project:path 'optional.lua') .. '3\n')
    program:stop 'TERM'
  end)

  for _, who in ipairs { 'guard', 'supervisor' } do
    it(('ends the program that has not come to enable when the %s is killed'):format(who), function()
      local program, project = start(script(1))
      program:expect 'v0001\n'
      project:replace('main.lua', "print 'loading' io.stdout:flush() io.read()")
      program:expect 'loading\n'
      posix.kill(who == 'guard' and program.pid or support.proc.supervisor(program.pid), posix.SIGKILL)
      assert.same({ 'killed', 9 }, { program:wait() })
      support.assert_nothing_left()
    end)
  end

  it('reads a redirected input from its beginning', function()
    local function reader(version)
      return ([[
        require('forkmon').enable { filter = '%%.lua$', quiet = true }
        print('v%d', io.read '*a')
      ]]):format(version)
    end
    local project = support.project { ['main.lua'] = reader(1), ['data.txt'] = 'input' }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = project:path 'data.txt' }
    program:expect_exactly 'v1\tinput\n'
    project:replace('main.lua', reader(2))
    program:expect_exactly 'v2\tinput\n'
    program:stop 'TERM'
  end)

  it('gives the command what a fresh start has, and nothing of the session', function()
    local project = support.project { ['main.lua'] = [[
      local list = io.popen('ls -l /proc/' .. io.open '/proc/self/stat':read '*l':match '^%d+' .. '/fd')
      local text = list:read '*a'
      list:close()
      print('memory file:', text:find('memfd', 1, true))
      io.stdout:flush()
      io.read()
    ]] }
    local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect_exactly 'memory file:\tnil\n'
    for _ = 1, 2 do
      assert.same({ 'exited', 0 }, { lua:forkmon { 'restart', tostring(program.pid) }:wait() })
      program:expect_exactly 'memory file:\tnil\n'
    end
    program:stop 'TERM'
  end)

  it('says so where it cannot be, as there is no memory to share', function()
    local project = support.project { ['main.lua'] = "print 'ready' dofile 'part.lua'", ['part.lua'] = "print 'one'" }
    local program = support.start {
      'prlimit', '--fsize=1000', lua.tree .. '/bin/forkmon', 'main.lua', cwd = project.root,
    }
    program:expect 'one\n'
    project:write('part.lua', "print 'two'")
    program:expect 'two\n'
    assert.same({ 'exited', 0 }, { lua:forkmon { 'restart', tostring(program.pid) }:wait() })
    program:expect 'cannot be run anew in this session'
    program:expect(lines.exited(127))
    program:stop 'TERM'
  end)

  it('ends by Ctrl+C while the program is on its way to enable', function()
    local project = support.project { ['main.lua'] = script(1) }
    local program = lua:start { 'main.lua', cwd = project.root, tty = true }
    program:expect 'v0001\n'
    -- What LuaJIT has compiled does not look whether it is interrupted.
    project:replace('main.lua', "if jit then jit.off() end print 'loading' io.stdout:flush() repeat until false")
    program:expect 'loading\n'
    program:write '\3'
    assert.same({ 'killed', 2 }, { program:wait() })
  end)

  it('tells a service its own process number, as the service manager does', function()
    local project = support.project { ['main.lua'] = [[
      local own = io.open '/proc/self/stat':read '*n'
      print(('%d'):format(os.getenv 'LISTEN_PID') == ('%d'):format(own), os.getenv 'FORKMON_SESSION' ~= nil)
      require('forkmon').enable { filter = '%.lua$' }
      print(os.getenv 'FORKMON_SESSION')
      io.stdout:flush()
      io.read()
    ]] }
    local program = support.start { 'sh', '-c', 'LISTEN_FDS=0 LISTEN_PID=$$ exec "$@"', 'sh',
      lua.interpreter, 'main.lua', cwd = project.root, stdin = 'pipe', env = lua:paths() }
    program:expect 'true\tfalse\nnil\n'
    project:touch 'main.lua'
    program:expect 'true\ttrue\nnil\n'
    program:stop 'TERM'
  end)

  it('tells of a session that another version of forkmon has begun', function()
    local project = support.project { ['main.lua'] = "print(require('forkmon').enable { filter = '%.lua$' })" }
    local program = support.start { 'sh', '-c', 'FORKMON_SESSION=$$:$PPID:9:0.0.0 exec "$@"', 'sh',
      lua.interpreter, 'main.lua', cwd = project.root, env = lua:paths() }
    program:expect_match '^nil\tthe session was begun by forkmon 0.0.0, and this is [%d.]+: end it and start it anew\n'
    assert.same({ 'exited', 0 }, { program:wait() })
  end)

  it('is not kept from it by what the program reads later', function()
    local function reader(version)
      return ([[
        require('forkmon').enable { filter = '%%.lua$;%%.txt$', restart_delay = 50 }
        local text = io.open('data.txt'):read '*l'
        print('v%d', text, (pcall(dofile, 'optional.lua')))
        io.stdout:flush()
        io.read()
      ]]):format(version)
    end
    local program, project = start(reader(1))
    program:expect 'v1\tno Lua 1\ttrue\n'
    project:write('data.txt', 'no Lua 2')
    project:remove 'optional.lua'
    project:replace('main.lua', reader(2))
    program:expect 'v2\tno Lua 2\tfalse\n'
    program:stop 'TERM'
  end)
end)
