--- Asking and telling a running forkmon: status, resume, restart, stop, and forkmon.status().
--
-- Each spec has a folder for sockets of its own ($XDG_RUNTIME_DIR), so that "all sessions" are those of the spec.

local dkjson = require 'dkjson'
local posix = require 'posix'
local support = require 'spec.support'

-- Two loads with work between them, a label, and then input: the program stays where it is.
local files = {
  ['main.lua'] = [[
local function work(seconds)
  local began = os.clock()
  while os.clock() - began < seconds do end
end
io.stdout:setvbuf 'no'
print 'start'
work(0.01)
dofile 'a.lua'
work(0.1)
dofile 'b.lua'
print 'both'
local resumed = require('forkmon').checkpoint 'loaded'
print(resumed and 'again' or 'first')
io.read()
]],
  ['a.lua'] = "print 'a'",
  ['b.lua'] = "print 'b'",
}

support.each_lua(function(lua)
  local runtime

  before_each(function() runtime = support.project() end)

  local function environment(additions)
    local env = { XDG_RUNTIME_DIR = runtime.root, LC_ALL = 'C.UTF-8', COLUMNS = '80' }
    for name, value in pairs(additions or {}) do env[name] = value end
    return env
  end

  --- A program under forkmon, up to its last line.
  local function start(source, last, ...)
    local project = support.project(source)
    local program = lua:forkmon { '--exact', '--quiet', cwd = project.root, stdin = 'pipe', env = environment(), ... }
    program:expect(last .. '\n')
    return program, project
  end

  local function session(...)
    local options = { ... }
    options[#options + 1] = 'main.lua'
    return start(files, 'first', table.unpack(options))
  end

  --- Runs a subcommand: its status, output and messages.
  local function run(folder, arguments, env)
    arguments.cwd, arguments.env, arguments.stderr = folder, environment(env), 'separate'
    local client = lua:forkmon(arguments)
    local _, status = client:wait()
    return status, client.stdout.text, client.stderr.text
  end

  local function ask(folder)
    local status, output = run(folder, { 'status', '--json' })
    assert.equal(0, status)
    return assert(dkjson.decode(output))
  end

  local function checkpoint_named(status, name)
    for _, checkpoint in ipairs(status.checkpoints) do
      if checkpoint.name == name then return checkpoint end
    end
    error('no checkpoint is called ' .. name)
  end

  local function fails(folder, arguments, message)
    local status, output, errors = run(folder, arguments)
    assert.same({ 1, '', 'forkmon: ' .. message .. '\n' }, { status, output, errors })
  end

  local function paths(project, ...)
    local list = {}
    for index, name in ipairs { ... } do list[index] = project:path(name) end
    return list
  end

  it('status tells all there is as JSON', function()
    local program, project = session()
    local list = ask '/'
    assert.equal(1, #list)
    local status = list[1]
    assert.same({ program.pid, project.root, 'running', 0, 3, 0, {} }, {
      status.pid, status.directory, status.state, status.resumes, status.files, status.polled, status.restart_files })
    assert.truthy(status.command:find(' main.lua', 1, true))
    assert.truthy(support.proc.command(status.program):find('main.lua', 1, true))

    local main, a, b, loaded = table.unpack(status.checkpoints)
    assert.same({ 0, 1, 2, 3 }, { main.number, a.number, b.number, loaded.number })
    assert.same({ project:path 'main.lua', project:path 'a.lua', project:path 'b.lua', 'loaded' },
      { main.name, a.name, b.name, loaded.name })
    assert.same({ paths(project, 'main.lua'), paths(project, 'a.lua'), paths(project, 'b.lua'), {} },
      { main.files, a.files, b.files, loaded.files })
    assert.same({ false, true }, { b.explicit, loaded.explicit })
    assert.is_true(b.at - a.at >= 0.1, 'the work between them takes so long')
    assert.is_true(loaded.at >= b.at and status.elapsed >= loaded.at)
    local memory = 0
    for _, checkpoint in ipairs(status.checkpoints) do
      memory = memory + checkpoint.memory
      assert.equal(tostring(support.proc.supervisor(program.pid)), support.proc.status(checkpoint.pid, 'PPid'))
    end
    assert.is_true(memory > 50000 and status.memory > memory)
    program:stop()
  end)

  it('status names files of any bytes in valid JSON', function()
    local program, project = start({
      ['main.lua'] = "io.stdout:setvbuf 'no' dofile 'od\255d\\n\"\195\169.lua' print 'ready'",
      ['od\255d\n"\195\169.lua'] = '' }, 'ready', 'main.lua')
    local status, output = run(project.root, { 'status', '--json' })
    assert.equal(0, status)
    assert.truthy(output:find([[/od\udcffd\n\"é.lua"]], 1, true))
    assert.falsy(output:find('\255', 1, true))
    assert.equal(0, (run(project.root, { 'resume', 'od\255d\n"\195\169.lua' })))
    program:expect 'ready\n'
    program:stop()
  end)

  it('JSON is the same text from every Lua', function()
    local project = support.project { ['main.lua'] = [[
      local json = require('forkmon.core').json
      print(json { b = true, a = { 'x', 'y' }, c = {}, ['"'] = { d = { 1, 2.5, -3.0, 0.000012, 1e15 } } })
      print(json 'tab\t, line\n, back\\, "quotes", \1\127, \195\169, \255\226\130')
      print(pcall(json, print))
      local loop = {}
      loop[1] = loop
      print(pcall(json, loop))
    ]] }
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect([[{"\"":{"d":[1,2.5,-3,1.2e-05,1000000000000000]},"a":["x","y"],"b":true,"c":[]}]] .. '\n')
    program:expect([["tab\t, line\n, back\\, \"quotes\", \u0001\u007f, é, \udcff\udce2\udc82"]] .. '\n')
    program:expect 'no word for function'
    program:expect 'nested too deeply'
    program:wait()
  end)

  it('status prints a table whose bars show where the time goes', function()
    local program, project = session()
    local _, output = run('/', { 'status' })
    local lines = {}
    for line in output:gmatch '([^\n]*)\n' do lines[#lines + 1] = line end
    assert.truthy(lines[1]:find(('^%d running: .* main%%.lua$'):format(program.pid)))
    local ran, unit = lines[2]:match '^ +has run ([%d.]+) (m?s), 3 files, 0 resumes, [%d.]+ [kMG]B$'
    local function seconds(figure, of) return assert(tonumber(figure), output) / (of == 'ms' and 1000 or 1) end
    local span = seconds(ran, unit)
    assert.equal((' '):rep(#tostring(program.pid) + 1) .. 'in ' .. project.root, lines[3])
    assert.same({ '', 10 }, { lines[4], #lines })
    local when = lines[5]:match '^  #  (when +)saves +memory  resumed  files$'
    assert.truthy(when, lines[5])
    local function count(bar, glyph) return select(2, bar:gsub(glyph, '')) end
    local width, last = #when - 5, 0 -- a number has ten columns, and its head five letters
    for row, name in ipairs { 'main%.lua', 'a%.lua', 'b%.lua', "'loaded'" } do
      local pattern = ('^  %d  ([░█]*) +([%%d.]+) (m?s) +[%%d.]+ [kMG]B +0  %s$'):format(row - 1, name)
      local bar, saves, of = lines[5 + row]:match(pattern)
      assert.truthy(bar, lines[5 + row])
      -- A bar is as long as the time that its checkpoint saves, up to rounding, and begins where the one before ended.
      saves = seconds(saves, of)
      assert.is_true(saves >= last, output)
      local before, own = count(bar, '░'), count(bar, '█')
      assert.is_true(own > 0 and math.abs(before + own - math.max(saves / span * width, 1)) <= 1.5, output)
      assert.is_true(math.abs(before - last / span * width) <= 1.5, output)
      last = saves
    end
    -- The two stretches of work, of 10 and 100 ms of the processor's time.
    assert.is_true(last >= 0.11, output)
    program:stop()
  end)

  it('status does not contradict itself after resumes and a restart', function()
    local program, project = session()
    local function second_line()
      local _, output = run(project.root, { 'status' })
      return output:match '\n *([^\n]*)', output
    end
    --- What the table says is in the run comes before what the line above says of it.
    local function agrees()
      local status = ask '/'[1]
      for _, checkpoint in ipairs(status.checkpoints) do
        assert.is_true(checkpoint.at <= status.elapsed, checkpoint.name)
      end
    end
    assert.equal(0, (run(project.root, { 'resume', '2' })))
    program:expect 'b\nboth\nfirst\n'
    assert.truthy(second_line():find(', 1 resume, ', 1, true))
    assert.equal(0, (run(project.root, { 'resume', '1' })))
    program:expect 'a\nb\nboth\nfirst\n'
    assert.truthy(second_line():find(', 2 resumes (1 from checkpoints that are gone), ', 1, true))
    agrees()
    -- A short run, of which all is told at once when it has ended.
    project:write('main.lua', "dofile 'a.lua' dofile 'b.lua' print 'short'")
    program:expect 'short\n'
    assert.equal(0, (run(project.root, { 'restart' })))
    support.await_idle(program)
    local line = second_line()
    assert.truthy(line:find(', 3 resumes (3 from checkpoints that are gone), ', 1, true), line)
    agrees()
    program:stop()
  end)

  it('status names every file on demand', function()
    local program, project = start({
      ['main.lua'] = "package.path = './?.lua;lib/?.lua' require 'one' require 'two' io.stdout:setvbuf 'no' "
        .. "print 'ready' io.read()",
      ['lib/one.lua'] = '', ['two.lua'] = '',
    }, 'ready', 'main.lua')
    local _, output = run(project.root, { 'status', '--files' })
    assert.truthy(output:find([[

  0  main.lua
  1  lib/one.lua
     one.lua (looked for, not there)
  2  two.lua
]], 1, true), output)
    program:stop()
  end)

  it('status counts what was read, as the line about many files does, and shows what was asked about', function()
    local source = { ['main.lua'] = [[
      local found, lfs = pcall(require, 'lfs')
      if not found then print '\nno lfs' return io.read() end
      for i = 1, 12 do dofile(('%02d.lua'):format(i)) end
      require('forkmon').checkpoint 'read'
      lfs.attributes('13.lua', 'size')
      print 'asked' io.stdout:flush() io.read()
    ]], ['13.lua'] = '' }
    for i = 1, 12 do source[('%02d.lua'):format(i)] = '' end
    local project = support.project(source)
    local program = lua:forkmon { '--exact', 'main.lua', cwd = project.root, stdin = 'pipe', env = environment() }
    if program:expect_match '\n(%l+ ?%l*)\n' == 'no lfs' then
      program:stop()
      return pending 'this Lua has no lfs'
    end
    local count = program:expect_match '%[forkmon%] watching (%d+) files\n'
    local _, output = run(project.root, { 'status', '--files' })
    assert.truthy(output:find((', %s files, 0 resumes'):format(count), 1, true), output)
    assert.truthy(output:find('13.lua (asked about)\n', 1, true), output)
    program:stop()
  end)

  it('status fits the terminal, and a locale without UTF-8', function()
    local program, project = session()
    local drawn = 0
    for _, columns in ipairs { 64, 80, 132 } do
      local _, output = run(project.root, { 'status' }, { COLUMNS = tostring(columns), LC_ALL = 'C' })
      assert.falsy(output:find '[\128-\255]')
      local bar = output:match '\n  2  (%-*#+) '
      assert.is_true(#bar > drawn, 'a wider terminal shows more')
      drawn = #bar
      local widest = 0
      for line in output:match('#  when.*'):gmatch '[^\n]+' do widest = math.max(widest, #line) end
      assert.is_true(widest <= columns, output)
    end
    local terminal = lua:forkmon { 'status', cwd = project.root, tty = true, env = environment { COLUMNS = false } }
    terminal:wait()
    assert.truthy(terminal.stdout.text:find('#  when', 1, true))
    program:stop()
  end)

  it('status draws a picture with every file', function()
    local program, project = session()
    assert.same({ 0, '', '' }, { run(project.root, { 'status', '--svg', 'time.svg' }) })
    local picture = project:read 'time.svg'
    assert.truthy(picture:find '^<svg xmlns="http://www.w3.org/2000/svg"')
    for _, name in ipairs { 'main.lua', 'a.lua', 'b.lua', 'loaded' } do
      assert.truthy(picture:find('>' .. name .. '<', 1, true), name)
    end
    fails(project.root, { 'status', '--svg', '/proc/none/x.svg' },
      'cannot write /proc/none/x.svg: No such file or directory')
    program:stop()
  end)

  it('resume goes on from a number, a label and a file', function()
    local program, project = session()
    local function resume(...)
      assert.same({ 0, '', '' }, { run(project.root, { 'resume', ... }) })
    end
    resume 'loaded'
    program:expect_exactly 'again\n'
    resume '2'
    program:expect_exactly 'b\nboth\nfirst\n'
    resume('a.lua')
    program:expect_exactly 'a\nb\nboth\nfirst\n'
    resume(tostring(program.pid), project:path 'b.lua')
    program:expect_exactly 'b\nboth\nfirst\n'
    resume(tostring(program.pid), '--', './a.lua')
    program:expect_exactly 'a\nb\nboth\nfirst\n'
    local status = ask '/'[1]
    assert.same({ 5, 2, 0 }, { status.resumes, checkpoint_named(status, project:path 'a.lua').resumed,
      checkpoint_named(status, 'loaded').resumed })
    program:stop()
  end)

  it('restart runs the program anew under the same pid', function()
    local program, project = session()
    project:write('main.lua', "io.stdout:setvbuf 'no' print 'new' io.read()") -- noticed as well: the restart covers it
    assert.equal(0, (run(project.root, { 'restart' })))
    program:expect 'new\n'
    assert.equal(program.pid, ask '/'[1].pid)
    program:stop()
  end)

  it('stop is heeded, whatever is asked at the same time', function()
    local program, project = session()
    local supervisor = support.proc.supervisor(program.pid)
    posix.kill(supervisor, posix.SIGSTOP)
    local clients = {}
    for i, verb in ipairs { 'stop', 'restart' } do
      clients[i] = lua:forkmon { verb, tostring(program.pid), cwd = project.root, env = environment(), stdin = 'pipe' }
    end
    for _, client in ipairs(clients) do
      support.wait_until('it to have asked', function()
        local is_connected = false
        for _, target in pairs(support.proc.descriptors(client.pid)) do
          is_connected = is_connected or target:find('socket', 1, true) ~= nil
        end
        return is_connected and support.proc.state(client.pid) == 'S'
      end)
    end
    posix.kill(supervisor, posix.SIGCONT)
    assert.same({ 'exited', 143 }, { program:wait() })
    for _, client in ipairs(clients) do client:wait() end
  end)

  it('stop returns when everything has ended', function()
    local program, project = session()
    assert.same({ 0, '', '' }, { run(project.root, { 'stop' }) })
    assert.same({ 'exited', 143 }, { program:wait() })
    assert.equal('', program:unread())
    fails(project.root, { 'status' }, 'no forkmon is running')
  end)

  it('stop is told of by a line, and by none of the shell', function()
    local project = support.project(files)
    project:write('run.sh', 'forkmon --exact --filter nothing main.lua\necho "status $?"\n')
    local shell = support.start { 'bash', 'run.sh', cwd = project.root, stdin = 'pipe', env = environment {
      PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    shell:expect 'first\n'
    assert.same({ 0, '', '' }, { run(project.root, { 'stop' }) })
    shell:expect_exactly(require('spec.support.lines').stopped .. 'status 143\n')
    assert.same({ 'exited', 0 }, { shell:wait() })
  end)

  it('SIGTERM ends it as ever after stop was asked for elsewhere', function()
    local program = session()
    posix.kill(program.pid, posix.SIGTERM)
    assert.same({ 'killed', posix.SIGTERM }, { program:wait() })
  end)

  it('resume takes the end of a path that is like no other', function()
    local program, project = start({
      ['main.lua'] = "dofile 'lib/a/one.lua' dofile 'lib/a/two.lua' dofile 'lib/b/two.lua' io.stdout:setvbuf 'no' "
        .. "package.path = 'x/?.lua;lib/?.lua' require 'three' print 'ready' io.read()",
      ['lib/a/one.lua'] = "print 'one'", ['lib/a/two.lua'] = '', ['lib/b/two.lua'] = "print 'b'",
      ['lib/three.lua'] = "print 'three'",
    }, 'ready', 'main.lua')
    assert.equal(0, (run(project.root, { 'resume', 'one.lua' })))
    program:expect_exactly 'one\nb\nthree\nready\n'
    assert.equal(0, (run('/', { 'resume', tostring(program.pid), 'b/two.lua' })))
    program:expect_exactly 'b\nthree\nready\n'
    -- A file comes before places where one of its name is missing.
    assert.equal(0, (run(project.root, { 'resume', 'three.lua' })))
    program:expect_exactly 'three\nready\n'
    local cannot = ('cannot resume %d: '):format(program.pid)
    fails(project.root, { 'resume', 'two.lua' }, cannot .. "2 watched files are called 'two.lua':\n  "
      .. project:path 'lib/a/two.lua' .. '\n  ' .. project:path 'lib/b/two.lua')
    fails(project.root, { 'resume', 'oen.lua' },
      cannot .. "no checkpoint, label or watched file is called 'oen.lua' (did you mean 'one.lua'?)")
    program:stop()
  end)

  it('says when there is none to ask', function()
    fails('/', { 'status' }, 'no forkmon is running')
    local status, output, errors = run('/', { 'status', '--json' })
    assert.same({ 1, '[]\n', '' }, { status, output, errors })
    for _, verb in ipairs { 'restart', 'stop' } do
      fails('/', { verb }, 'no forkmon is running')
      fails('/', { verb, '2147483647' }, ('cannot %s 2147483647: no forkmon has this PID'):format(verb))
    end
    fails('/', { 'resume', '1' }, 'no forkmon is running')
    fails('/', { 'status', '2147483647' }, 'cannot ask 2147483647: no forkmon has this PID')
  end)

  it('says what is wrong with a checkpoint, a label or a file', function()
    local program, project = session()
    local cannot = ('cannot resume %d: '):format(program.pid)
    fails(project.root, { 'resume', '9' }, cannot .. 'there is no checkpoint 9, the last is 3')
    fails(project.root, { 'resume', tostring(program.pid) },
      cannot .. ('there is no checkpoint %d, the last is 3 (a PID goes before a checkpoint)'):format(program.pid))
    fails(project.root, { 'resume', 'other.lua' },
      cannot .. "no checkpoint, label or watched file is called 'other.lua'")
    fails(project.root, { 'resume', 'loadde' },
      cannot .. "no checkpoint, label or watched file is called 'loadde' (did you mean 'loaded'?)")
    fails(project.root, { 'resume', '/etc/\27[1mx' },
      cannot .. "no checkpoint, label or watched file is called '/etc/?[1mx'")
    posix.kill(checkpoint_named(ask('/')[1], project:path 'b.lua').pid, posix.SIGKILL)
    support.wait_until('the end of checkpoint 2', function() return #ask('/')[1].checkpoints == 3 end)
    fails(project.root, { 'resume', '2' }, cannot .. 'checkpoint 2 is gone')
    assert.equal(0, (run(project.root, { 'resume', 'b.lua' })))
    program:expect_exactly 'a\nb\nboth\nfirst\n'
    program:stop()
  end)

  it('asks which one when two run here, or only elsewhere', function()
    local program, project = session()
    local other = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe', env = environment() }
    other:expect 'first\n'
    local function listed(...)
      local text = {}
      for index, one in ipairs { ... } do
        text[index] = ('\n  %d  %s  (in %s)'):format(one.pid, support.proc.command(one.pid), project.root)
      end
      return table.concat(text)
    end
    local first, second = program, other
    if first.pid > second.pid then first, second = second, first end
    fails(project.root, { 'stop' },
      '2 of them run in this folder; `forkmon stop PID` names one:' .. listed(first, second))
    fails(project.root, { 'status', '--svg', 'x' },
      '2 of them run in this folder; `forkmon status --svg FILE PID` names one:' .. listed(first, second))
    local _, output = run(project.root, { 'status' })
    assert.truthy(output:find('^' .. first.pid .. ' .*\n\n' .. second.pid .. ' '))
    assert.same({ 0, '', '' }, { run(project.root, { 'stop', tostring(other.pid) }) })
    other:wait()
    fails('/', { 'restart' },
      'no forkmon runs in this folder; `forkmon restart PID` names one of those elsewhere:' .. listed(program))
    program:stop()
  end)

  it('refuses what belongs to somebody else', function()
    local program = session()
    local command = { 'forkmon', 'stop', tostring(program.pid), env = environment {
      PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    local pid = program.pid
    if posix.getpid 'uid' == 0 then
      for index, word in ipairs { 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups' } do
        table.insert(command, index, word)
      end
    else
      command[3], pid = '1', 1 -- the first process is root's
    end
    local client = support.start(command)
    assert.same({ 'exited', 1 }, { client:wait() })
    assert.equal(('forkmon: cannot stop %d: it belongs to another user\n'):format(pid), client.stdout.text)
    assert.equal(1, #ask '/')
    program:stop()
  end)

  it('refuses wrong command lines with status 2', function()
    for _, case in ipairs {
      { { 'status', 'x1' }, "'x1' is no PID" },
      { { 'stop', '0' }, "'0' is no PID" },
      { { 'restart', '-1' }, "unknown option '-1'; try 'forkmon help restart'" },
      { { 'resume' }, "not enough arguments; try 'forkmon help resume'" },
      { { 'stop', '1', '2' }, "too many arguments; try 'forkmon help stop'" },
      { { 'status', '--jsn' }, "unknown option '--jsn' (did you mean '--json'?); try 'forkmon help status'" },
      { { 'status', '--svg' }, "option --svg needs a value; try 'forkmon help status'" },
      { { 'status', '--json=1' }, "option --json takes no value; try 'forkmon help status'" },
      { { 'help', 'stauts' }, "no subcommand is called 'stauts' (did you mean 'status'?)" },
      { { 'completion', 'csh' }, "no completion for 'csh': bash, zsh and fish are known" },
    } do
      local status, output, errors = run('/', case[1])
      assert.same({ 2, '', 'forkmon: ' .. case[2] .. '\n' }, { status, output, errors })
    end
    local status, _, errors = run('/', { 'statsu' })
    assert.same({ 127, "forkmon: cannot run 'statsu': No such file or directory (did you mean 'status'?)\n" },
      { status, errors })
  end)

  it('runs a program that is called as a subcommand', function()
    local project = support.project { status = "print 'a program'" }
    for _, words in ipairs { { '--', 'status' }, { './status' }, { '--quiet', 'status' } } do
      words.cwd, words.env = project.root, environment()
      local program = lua:forkmon(words)
      program:expect 'a program\n'
      program:stop()
    end
  end)

  it('is told to the program itself', function()
    local program, project = start({ ['main.lua'] = [[
      local forkmon = require 'forkmon'
      io.stdout:setvbuf 'no'
      dofile 'a.lua'
      local status = assert(forkmon.status())
      print(status.state, #status.checkpoints, status.resumes, status.checkpoints[2].files[1])
      forkmon.disable()
      print(forkmon.status())
      io.read()
    ]], ['a.lua'] = "print 'a'" }, 'a', 'main.lua')
    program:expect_exactly(('running\t2\t0\t%s\nnil\tforkmon is not enabled\n'):format(project:path 'a.lua'))
    project:write('a.lua', "print 'A'")
    program:expect_exactly(('A\nrunning\t2\t1\t%s\nnil\tforkmon is not enabled\n'):format(project:path 'a.lua'))
    program:stop()
  end)

  describe('the socket', function()
    local function modes(path)
      local found = posix.stat(path)
      return found and found.mode, found and found.uid
    end

    local function socket(program, folder)
      local namespace = posix.readlink('/proc/self/ns/pid'):match '%d+'
      return ('%s/%d-%d.sock'):format(folder or runtime:path 'forkmon', namespace, program.pid)
    end

    it('is for its owner alone, and gone with the session', function()
      local program = session()
      assert.equal('rwx------', modes(runtime:path 'forkmon'))
      assert.equal('rw-------', modes(socket(program)))
      program:stop()
      assert.is_nil(posix.stat(socket(program)))
    end)

    it('is in the temporary folder where there is no XDG_RUNTIME_DIR', function()
      local project = support.project(files)
      local env = { XDG_RUNTIME_DIR = false, TMPDIR = runtime.root }
      local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe', env = env }
      program:expect 'first\n'
      local folder = runtime:path('forkmon-' .. posix.getpid 'euid')
      assert.equal('rwx------', modes(folder))
      assert.equal('rw-------', modes(socket(program, folder)))
      local status, output = run(project.root, { 'status' }, env)
      assert.equal(0, status)
      assert.truthy(output:find('^' .. program.pid .. ' '))
      program:stop()
    end)

    for why, folder in pairs { ['is not there'] = 'none', ['has too long a path'] = ('long'):rep(30) } do
      it('is in the temporary folder where XDG_RUNTIME_DIR ' .. why, function()
        if why ~= 'is not there' then runtime:mkdir(folder) end
        local project = support.project(files)
        local env = { XDG_RUNTIME_DIR = runtime:path(folder), TMPDIR = runtime.root }
        local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root, stdin = 'pipe', env = env }
        program:expect 'first\n'
        assert.equal('rw-------', modes(socket(program, runtime:path('forkmon-' .. posix.getpid 'euid'))))
        assert.is_nil(program.stdout.text:find('[forkmon]', 1, true))
        local status, output = run(project.root, { 'status' }, env)
        assert.equal(0, status)
        assert.truthy(output:find('^' .. program.pid .. ' '))
        program:stop()
      end)
    end

    it('is gone when the supervisor is killed', function()
      local program = session()
      posix.kill(support.proc.supervisor(program.pid), posix.SIGKILL)
      assert.same({ 'killed', posix.SIGKILL }, { program:wait() })
      assert.is_nil(posix.stat(socket(program)))
    end)

    it('of a session that was killed as a whole is cleared away', function()
      local program, project = session()
      local supervisor = support.proc.supervisor(program.pid)
      program:signal_group 'KILL'
      program:wait()
      -- The kernel closes its socket as it ends, which is when this process hears of the guard's end, or later.
      support.wait_until('the end of the supervisor', function()
        local state = support.proc.state(supervisor)
        return not state or state == 'Z'
      end)
      assert.truthy(posix.stat(socket(program)))
      fails(project.root, { 'status' }, 'no forkmon is running')
      assert.is_nil(posix.stat(socket(program)))
    end)

    it('is not put where others could have prepared something', function()
      runtime:mkdir 'forkmon'
      posix.chmod(runtime:path 'forkmon', 'rwxrwxrwx')
      local program, project = session()
      assert.is_nil(posix.stat(socket(program)))
      assert.truthy(program.stdout.text:find('`forkmon status` will not see this session: the folder', 1, true))
      fails(project.root, { 'status' }, 'no forkmon is running')
      program:stop()
    end)

    it('serves many who ask at once, and some who never finish', function()
      local program = session()
      local mute = {}
      local path = socket(program)
      for index = 1, 100 do
        mute[index] = assert(posix.socket(posix.AF_UNIX, posix.SOCK_STREAM, 0))
        assert(posix.connect(mute[index], { family = posix.AF_UNIX, path = path }))
      end
      assert.equal(program.pid, ask '/'[1].pid)
      for _, descriptor in ipairs(mute) do posix.close(descriptor) end
      assert.equal(program.pid, ask '/'[1].pid)
      program:stop()
    end)
  end)

  it('status answers while 10,000 files are watched', function()
    local project = support.project()
    local maker = support.start { 'sh', '-c', [[
      for folder in $(seq 100); do mkdir d$folder; touch $(seq -f "d$folder/%g.txt" 100); done
    ]], cwd = project.root }
    assert.same({ 'exited', 0 }, { maker:wait() })
    project:write('main.lua', [[
      io.stdout:setvbuf 'no'
      for folder = 1, 100 do
        for file = 1, 100 do io.open(('d%d/%d.txt'):format(folder, file)):close() end
      end
      print 'ready'
      io.read()
    ]])
    local program = lua:forkmon { '--quiet', '--filter', '%.lua$;%.txt$', 'main.lua', cwd = project.root,
      stdin = 'pipe', env = environment() }
    program:expect 'ready\n'
    local status = ask '/'[1]
    local seen = 0
    for _, checkpoint in ipairs(status.checkpoints) do
      assert.equal(#checkpoint.files, checkpoint.count)
      seen = seen + #checkpoint.files
    end
    assert.same({ 10001, 10001 }, { status.files, seen })
    assert.same({ 0, '', '' }, { run(project.root, { 'status', '--svg', 'many.svg' }) })
    assert.truthy(project:read 'many.svg':find('d100/100.txt', 1, true))
    program:stop()
  end)
end)
