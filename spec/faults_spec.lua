--- Whatever is killed or stopped, with whatever signal: the session goes on rightly, or is gone.
--
-- The program under test takes several checkpoints and stays. A fault hits one of its processes:
-- the supervisor, the running program or a checkpoint, at a chosen or a random moment. If the
-- supervisor lives, an edit must then end in the output of a fresh start with today's files (from
-- an earlier point than before, if need be); if not, nothing may be left. Random faults print
-- their seed when they fail; FORKMON_SEED repeats one.

local posix = require 'posix'
local clock = require 'spec.support.clock'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

local proc = support.proc
local seed = tonumber(os.getenv 'FORKMON_SEED') or os.time() * 1000 + posix.getpid 'pid'

local names = { 'a', 'b', 'c' }

-- Each line is an effect, so that each file gets a checkpoint of its own.
local main = [[
io.stdout:setvbuf 'no'
print 'startup'
for _, name in ipairs { 'a', 'b', 'c' } do print(name, dofile(name .. '.lua')) end
print('pid', require 'forkmon' and io.open '/proc/self/stat':read '*n')
io.read()
]]

support.each_lua(function(lua)
  local texts, project, program

  local function start(flags, source)
    texts = {}
    project = support.project { ['main.lua'] = source or main }
    for _, name in ipairs(names) do
      texts[name] = name .. '0'
      project:write(name .. '.lua', ("return '%s0'"):format(name))
    end
    local command = { '--filter', '%.lua$', cwd = project.root, stdin = 'pipe' }
    table.move(flags or {}, 1, #(flags or {}), #command + 1, command)
    command[#command + 1] = 'main.lua'
    program = lua:forkmon(command)
  end

  --- The end of a full run with today's files; returns the pid of the running program.
  local function expect_run(from)
    for i = from, #names do program:expect(('%s\t%s\n'):format(names[i], texts[names[i]])) end
    return tonumber(program:expect_match 'pid\t(%d+)')
  end

  local edits = 0
  local function edit(name)
    edits = edits + 1
    texts[name] = name .. edits
    project:write(name .. '.lua', ("return '%s'"):format(texts[name]))
  end

  local function pause(most)
    local milliseconds = math.random(0, most)
    if milliseconds > 0 then posix.poll({}, milliseconds) end
  end

  --- The parked copies: the children of the supervisor but the running program.
  local function checkpoints(app)
    local found = {}
    for _, pid in ipairs(proc.children(proc.supervisor(program.pid))) do
      if pid ~= app then found[#found + 1] = pid end
    end
    table.sort(found)
    return found
  end

  local function stop_supervisor()
    local supervisor = proc.supervisor(program.pid)
    posix.kill(supervisor, posix.SIGSTOP)
    support.wait_until('the stop', function() return proc.state(supervisor) == 'T' end)
    return supervisor
  end

  --- Kills it or its guard.
  local function kill_supervisor()
    local supervisor = math.random(2) == 1 and proc.supervisor(program.pid)
    posix.kill(supervisor or program.pid, posix.SIGKILL)
  end

  local function starts()
    local _, count = program.stdout.text:gsub('startup\n', '')
    return count
  end

  for _, signal in ipairs { 'KILL', 'TERM', 'HUP', 'INT', 'QUIT' } do
    it('leaves nothing when the supervisor gets SIG' .. signal, function()
      start()
      expect_run(1)
      program:signal(signal)
      local how = program:wait()
      assert.equal('killed', how)
      support.assert_nothing_left()
    end)
  end

  it('ends at once, however soon after a checkpoint', function()
    for _ = 1, 5 do
      start { '--stop-timeout', '10000' } -- which is how long somebody would be waited for
      program:expect 'c\tc0\n'
      local asked = clock.now()
      program:stop()
      assert.is_true(clock.now() - asked < 5)
    end
  end)

  it('goes on when the supervisor gets signals that mean nothing to it', function()
    start()
    expect_run(1)
    for _, signal in ipairs { 'SEGV', 'ABRT', 'PIPE', 'CHLD', 'URG', 'CONT', 'TTOU' } do
      program:signal(signal)
    end
    edit 'b'
    expect_run(2)
    program:stop()
  end)

  it('leaves nothing when the supervisor is killed in the middle of a resume', function()
    math.randomseed(seed)
    for _ = 1, 12 do
      start()
      expect_run(1)
      edit(names[math.random(#names)])
      pause(12)
      kill_supervisor()
      program:wait()
      support.assert_nothing_left()
    end
  end)

  it('leaves nothing when the supervisor is killed as the program starts', function()
    math.randomseed(seed)
    for _ = 1, 12 do
      start()
      pause(25)
      -- Before there is a supervisor, the command may have children of other kinds.
      program:signal 'KILL'
      program:wait()
      support.assert_nothing_left()
    end
  end)

  -- The last two are real-time signals, which have no names.
  for _, signal in ipairs { posix.SIGKILL, posix.SIGTERM, posix.SIGSEGV, 34, 64 } do
    it(('goes on after the program got signal %d'):format(signal), function()
      start()
      local app = expect_run(1)
      posix.kill(app, signal)
      program:expect(lines.exited(128 + signal))
      edit 'c'
      expect_run(3)
      edit 'a'
      expect_run(1)
      assert.equal(1, starts())
      program:stop()
    end)
  end

  it('resumes a run again that was killed before it read a file', function()
    start(nil, [[
      require('forkmon').on_resume(function()
        local deadly = io.open 'deadly'
        if deadly then os.execute 'kill -9 $PPID' end
      end)
    ]] .. main)
    expect_run(1)
    project:write('deadly', '')
    for _, name in ipairs { 'b', 'b', 'c', 'a' } do
      edit(name)
      program:expect '[forkmon] exited with status 137, waiting for changes..\n'
    end
    project:remove 'deadly'
    edit 'c'
    expect_run(1)
    assert.equal(1, starts())
    program:stop()
  end)

  it('goes on without each of its checkpoints', function()
    start()
    local app = expect_run(1)
    local count = #checkpoints(app)
    assert.is_true(count >= 3, count .. ' checkpoints') -- or there would be nothing to kill
    for which = 1, count do
      if which > 1 then
        start()
        app = expect_run(1)
        support.wait_until('the checkpoints', function() return #checkpoints(app) >= count end)
      end
      posix.kill(checkpoints(app)[which], posix.SIGKILL)
      for i = #names, 1, -1 do
        edit(names[i])
        expect_run(i)
      end
      edit 'b'
      expect_run(2)
      program:stop()
    end
  end)

  it('goes on without any checkpoint', function()
    start()
    local app = expect_run(1)
    for _, pid in ipairs(checkpoints(app)) do posix.kill(pid, posix.SIGKILL) end
    edit 'c'
    expect_run(1)
    assert.equal(2, starts())
    edit 'c'
    expect_run(3)
    assert.equal(2, starts())
    program:stop()
  end)

  describe('without its spare', function()
    local app, known

    --- The copy of the checkpoint resumed last, which it makes when the program runs again.
    local function spare()
      support.wait_until('the spare', function() return #checkpoints(app) > #known end)
      for _, pid in ipairs(checkpoints(app)) do
        local is_known = false
        for _, other in ipairs(known) do is_known = is_known or other == pid end
        if not is_known then return pid end
      end
    end

    local function kill(pid)
      posix.kill(pid, posix.SIGKILL)
      support.wait_until('its end', function() return (proc.state(pid) or 'Z') == 'Z' end)
    end

    local function expect_resume(name, from)
      program:expect(lines.resuming(project:path(name .. '.lua'), from and project:path(from .. '.lua')))
    end

    before_each(function()
      start()
      app = expect_run(1)
      known = checkpoints(app)
      edit 'c'
      app = expect_run(3)
    end)

    after_each(function()
      assert.equal(1, starts())
      program:stop()
    end)

    it('resumes from the checkpoint itself', function()
      for _ = 1, 3 do
        kill(spare())
        edit 'c'
        expect_resume 'c'
        app = expect_run(3)
      end
    end)

    it('resumes from the checkpoint itself, when both come at once', function()
      for _ = 1, 3 do
        local victim = spare()
        local supervisor = stop_supervisor()
        kill(victim)
        edit 'c'
        posix.kill(supervisor, posix.SIGCONT)
        expect_resume 'c'
        app = expect_run(3)
      end
    end)

    it('and without the checkpoint, resumes from the one before and says so', function()
      spare()
      kill(known[#known])
      edit 'c'
      expect_resume('c', 'b')
      expect_run(2)
      edit 'c'
      expect_resume 'c'
      expect_run(3)
    end)
  end)

  it('goes on when the keeper of a large program is killed', function()
    start(nil, "local heap = ('x'):rep(40000000)\n" .. main)

    --- What keeps the memory of the program: it has nothing open.
    local function keepers()
      local found = {}
      for _, pid in ipairs(proc.children(proc.supervisor(program.pid))) do
        if proc.state(pid) ~= 'Z' and not next(proc.descriptors(pid)) then found[#found + 1] = pid end
      end
      return found
    end

    local function kill_keeper()
      support.wait_until('the keeper', function() return #keepers() == 1 end)
      posix.kill(keepers()[1], posix.SIGKILL)
    end

    expect_run(1)
    for i = #names, 1, -1 do
      kill_keeper()
      edit(names[i])
      expect_run(i)
    end
    assert.equal(1, starts())
    -- The same where everything starts anew.
    for i = 2, 3 do
      kill_keeper()
      local supervisor = stop_supervisor()
      for _, pid in ipairs(proc.children(supervisor)) do posix.kill(pid, posix.SIGKILL) end
      posix.kill(supervisor, posix.SIGCONT)
      edit 'b'
      expect_run(1)
      assert.equal(i, starts())
    end
    program:stop()
  end)

  it('goes on when checkpoints get signals that are not for them', function()
    start()
    local app = expect_run(1)
    for _, pid in ipairs(checkpoints(app)) do
      for _, signal in ipairs { 'TERM', 'INT', 'HUP', 'USR1', 'USR2', 'ALRM', 'CHLD', 'TSTP' } do
        posix.kill(pid, posix['SIG' .. signal])
      end
    end
    for i = #names, 1, -1 do
      edit(names[i])
      expect_run(i)
    end
    assert.equal(1, starts())
    program:stop()
  end)

  it('survives the death of anything but the supervisor at any moment', function()
    math.randomseed(seed)
    local ok, message = pcall(function()
      start()
      expect_run(1)
      for round = 1, 25 do
        local name = math.random(#names)
        if round % 2 == 0 then
          edit(names[name])
          pause(8)
        end
        local victims = proc.children(proc.supervisor(program.pid))
        if #victims > 0 then posix.kill(victims[math.random(#victims)], posix.SIGKILL) end
        pause(4)
        -- An edit that was under way may or may not have been shown, so another one follows.
        for i = #names, 1, -1 do edit(names[i]) end
        expect_run(1)
      end
      program:stop()
    end)
    if not ok then error(('FORKMON_SEED=%d: %s'):format(seed, tostring(message)), 0) end
  end)

  describe('after SIGSTOP and SIGCONT', function()
    it('of the supervisor, acts on what changed meanwhile', function()
      start()
      expect_run(1)
      local supervisor = stop_supervisor()
      for i = #names, 1, -1 do edit(names[i]) end
      posix.kill(supervisor, posix.SIGCONT)
      expect_run(1)
      program:stop()
    end)

    it('of the program, is where it was', function()
      start()
      local app = expect_run(1)
      posix.kill(app, posix.SIGSTOP)
      support.wait_until('the stop', function() return proc.state(app) == 'T' end)
      edit 'c' -- a stopped program is resumed as any other
      app = expect_run(3)
      posix.kill(app, posix.SIGSTOP)
      support.wait_until('the stop', function() return proc.state(app) == 'T' end)
      posix.kill(app, posix.SIGCONT)
      edit 'b'
      expect_run(2)
      program:stop()
    end)

    it('of a checkpoint, resumes from it all the same', function()
      start()
      local app = expect_run(1)
      for _, pid in ipairs(checkpoints(app)) do
        posix.kill(pid, posix.SIGSTOP)
        support.wait_until('the stop', function() return proc.state(pid) == 'T' end)
      end
      for i = #names, 1, -1 do
        edit(names[i])
        expect_run(i)
      end
      assert.equal(1, starts())
      program:stop()
    end)

    it('of everything, acts on what changed meanwhile', function()
      start()
      local app = expect_run(1)
      program:signal_group 'STOP'
      support.wait_until('the stop', function()
        return proc.state(proc.supervisor(program.pid)) == 'T' and proc.state(app) == 'T'
      end)
      edit 'b'
      program:signal_group 'CONT'
      expect_run(2)
      program:stop()
    end)

    it('ends when it was stopped', function()
      start()
      local app = expect_run(1)
      posix.kill(app, posix.SIGSTOP)
      support.wait_until('the stop', function() return proc.state(app) == 'T' end)
      assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
    end)
  end)

  it('stops and continues as a job', function()
    local project_of_shell = support.project { ['value.lua'] = "return 'first'" }
    project_of_shell:write('main.lua', "print('shows', dofile 'value.lua') print(io.read())")
    local shell = support.start { 'bash', '--norc', '--noediting', '-i', tty = true,
      cwd = project_of_shell.root, env = { PS1 = '$ ', PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    shell:expect '$ '
    shell:write 'forkmon main.lua\n'
    shell:expect 'shows\tfirst\n'
    shell:write '\26'
    shell:expect 'Stopped'
    project_of_shell:write('value.lua', "return 'second'")
    shell:write 'fg\n'
    shell:expect 'shows\tsecond\n'
    shell:write 'typed\n'
    shell:expect 'typed\n'
    project_of_shell:write('value.lua', "return 'third'")
    shell:expect 'shows\tthird\n'
    shell:write '\28' -- not Ctrl+C, which Lua handles, and not every version in the same way
    shell:expect '$ '
    shell:write 'exit 4\n'
    assert.same({ 'exited', 4 }, { shell:wait() })
  end)

  it('is gone when its terminal closes', function()
    local terminal = support.project { ['main.lua'] = "print 'ready' io.read()" }
    local viewer = lua:forkmon { 'main.lua', cwd = terminal.root, tty = true }
    viewer:expect 'ready'
    viewer:close_stdin()
    viewer:close_output()
    assert.same({ 'killed', posix.SIGHUP }, { viewer:wait() })
    support.assert_nothing_left()
  end)

  it('kills a program that ignores the stop signal, after stop_timeout', function()
    -- The shell ignores it, and so does what it becomes, the supervisor included.
    project = support.project { ['value.lua'] = "return 'first'" }
    project:write('main.lua', "io.stdout:setvbuf 'no' print('shows', dofile 'value.lua') io.read()")
    program = support.start { 'sh', '-c', 'trap "" TERM; exec forkmon --stop-timeout 150 main.lua',
      cwd = project.root, stdin = 'pipe', env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    program:expect 'shows\tfirst\n'
    for _, text in ipairs { 'second', 'third' } do
      local saved = clock.now()
      project:write('value.lua', ("return '%s'"):format(text))
      program:expect('shows\t' .. text .. '\n')
      assert.is_true(clock.now() - saved >= 0.14) -- or it was not asked first
    end
    assert.same({ 'killed', posix.SIGINT }, { program:stop 'INT' })
  end)

  it('runs a program anew that handles SIGINT, and leaves Ctrl+C to it', function()
    project = support.project { ['value.lua'] = "return 'first'" }
    project:write('main.lua', "print('shows', dofile 'value.lua')")
    program = lua:forkmon { lua.interpreter, '-i', 'main.lua', cwd = project.root, tty = true,
      env = { TERM = 'dumb' } }
    program:expect 'shows\tfirst\n'
    program:expect '> '
    program:write "if jit then jit.off() end print('started') while true do end\n"
    program:expect 'started\n'
    program:write '\3'
    program:expect 'interrupted!'
    program:expect '> '
    project:write('value.lua', "return 'second'")
    program:expect 'shows\tsecond\n'
    program:expect '> '
    program:write "print(6 * 7)\n"
    program:expect '42'
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end)

  it('ends the daemon that a program leaves behind before it runs again', function()
    local source = [[
      io.stdout:setvbuf 'no'
      print 'startup'
      print(dofile 'a.lua')
      os.execute "setsid sh -c 'echo daemon $$; exec sleep 1000' &"
    ]]
    start(nil, source)
    program:expect 'startup\n'
    local daemons = {}
    for i = 1, 3 do
      program:expect(texts.a .. '\n')
      daemons[i] = tonumber(program:expect_match 'daemon (%d+)\n')
      assert.is_not_nil(proc.state(daemons[i]))
      if i > 1 then assert.is_nil(proc.state(daemons[i - 1])) end
      edit 'a'
    end
    program:expect(texts.a .. '\n')
    program:expect_match 'daemon (%d+)\n'
    program:stop() -- and the toolbox looks for what is left
  end)
end)
