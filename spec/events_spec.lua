--- Events: what happens in a session, as JSON lines in a file, a FIFO or an inherited descriptor.
--
-- The reader must never matter to the session: it may be slow, or gone. That is shown by what the session does
-- meanwhile; the events themselves are read in the end.

local dkjson = require 'dkjson'
local posix = require 'posix'
local support = require 'spec.support'

local loads_two = {
  ['main.lua'] = "io.stdout:setvbuf 'no' print 'start' dofile 'a.lua' dofile 'b.lua' print 'end' io.read()",
  ['a.lua'] = "print 'a'",
  ['b.lua'] = "print 'b'",
}

--- The events in a text: each line must be a JSON object with a time, and times go forward.
local function decode(text)
  assert.truthy(text == '' or text:sub(-1) == '\n', 'the last line is whole')
  local events, time = {}, 0
  for line in text:gmatch '([^\n]*)\n' do
    local event, _, failure = dkjson.decode(line)
    assert(event, failure)
    assert.is_true(event.time >= time, 'the time goes forward')
    time = event.time
    events[#events + 1] = event
  end
  return events
end

local function kinds(events)
  local list = {}
  for index, event in ipairs(events) do list[index] = event.event end
  return table.concat(list, ' ')
end

--- The first event of a kind from `position` on, and the position behind it.
local function find(events, kind, position)
  for index = position or 1, #events do
    if events[index].event == kind then return events[index], index + 1 end
  end
  error(('no %s in: %s'):format(kind, kinds(events)), 2)
end

support.each_lua(function(lua)
  --- Waits until an event of a kind is in the file for the `count`th time.
  local function wait_for(project, kind, count)
    support.wait_until(kind .. ' in the events', function()
      local text = posix.access(project:path 'events') and project:read 'events' or ''
      local _, found = text:gsub(('{"event":"%s"'):format(kind), '')
      return found >= (count or 1)
    end)
  end

  local function start(project, ...)
    local options = { '--exact', '--quiet', '--events', 'events', cwd = project.root, stdin = 'pipe' }
    for _, word in ipairs { ... } do options[#options + 1] = word end
    options[#options + 1] = 'main.lua'
    return lua:forkmon(options)
  end

  it('tell of the start, what is watched, checkpoints, changes and resumes', function()
    local project = support.project(loads_two)
    local program = start(project)
    program:expect 'end\n'
    project:write('b.lua', "print 'B'")
    program:expect 'B\nend\n'
    project:write('a.lua', "print 'A'")
    program:expect 'A\nB\nend\n'
    program:stop 'TERM'

    local events = decode(project:read 'events')
    local first = find(events, 'start')
    assert.same({ program.pid, 'number' }, { first.pid, type(first.program) })
    local position = 2
    for number, name in ipairs { 'main.lua', 'a.lua', 'b.lua' } do
      local checkpoint, watch
      checkpoint, position = find(events, 'checkpoint', position)
      watch, position = find(events, 'watch', position)
      assert.same({ number - 1, project:path(name), 'number', 'number' },
        { checkpoint.checkpoint, checkpoint.name, type(checkpoint.pid), type(checkpoint.at_ms) })
      assert.same({ project:path(name), true }, { watch.path, watch.present })
    end
    local change, resume, dropped
    change, position = find(events, 'change', position)
    resume, position = find(events, 'resume', position)
    assert.same({ project:path 'b.lua', 2, project:path 'b.lua', { project:path 'b.lua' }, 1 },
      { change.path, resume.checkpoint, resume.name, resume.changed, resume.count })
    assert.is_true(resume.milliseconds > 0 and resume.milliseconds < 20000)
    change, position = find(events, 'change', position)
    dropped, position = find(events, 'drop', position)
    resume, position = find(events, 'resume', position)
    assert.same({ project:path 'a.lua', 2, 1, 2 }, { change.path, dropped.checkpoint, resume.checkpoint, resume.count })
    assert.is_true(resume.program ~= first.program)
    assert.equal(posix.SIGTERM, find(events, 'end', position).signal)
    assert.equal('end', events[#events].event)
  end)

  it('tell of exits and warnings', function()
    local project = support.project {
      ['main.lua'] = [[
        io.stdout:setvbuf 'no'
        require('forkmon').on_resume(function() error('not again', 0) end)
        print(dofile 'a.lua')
        os.exit(3)
      ]],
      ['a.lua'] = 'return 1',
    }
    local program = start(project)
    program:expect '1\n'
    wait_for(project, 'exit')
    project:write('a.lua', 'return 2')
    program:expect '2\n'
    wait_for(project, 'exit', 2)
    program:stop()
    local events = decode(project:read 'events')
    assert.equal(3, find(events, 'exit').status)
    assert.truthy(find(events, 'warning').text:find('on_resume: not again', 1, true))
  end)

  it('tell of a restart, and go on in the same file', function()
    local project = support.project {
      ['main.lua'] = [[
        require('forkmon').enable { filter = '%.lua$', events = 'events', quiet = true }
        io.stdout:setvbuf 'no'
        print 'old'
        io.read()
      ]],
      events = '{"event":"earlier","time":0}\n',
    }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect 'old\n'
    project:write('main.lua', project:read('main.lua'):gsub('old', 'new'))
    program:expect 'new\n'
    program:stop()
    local events = decode(project:read 'events')
    assert.equal('earlier', events[1].event)
    local restart, position = find(events, 'restart')
    assert.same({ project:path 'main.lua' }, restart.changed)
    assert.same({ program.pid, program.pid }, { find(events, 'start').pid, find(events, 'start', position).pid })
    assert.equal(posix.SIGTERM, find(events, 'end', position).signal)
  end)

  it('go to an inherited descriptor, also after a restart', function()
    local project = support.project(loads_two)
    local program = support.start { 'sh', '-c', 'exec forkmon --quiet --events fd:5 main.lua 5>events',
      cwd = project.root, stdin = 'pipe', env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    program:expect 'end\n'
    local runtime = lua:forkmon { 'restart', tostring(program.pid), cwd = project.root }
    assert.same({ 'exited', 0 }, { runtime:wait() })
    program:expect 'start\na\nb\nend\n'
    program:stop()
    local events = decode(project:read 'events')
    local restart, position = find(events, 'restart')
    assert.same({}, restart.changed)
    assert.equal(program.pid, find(events, 'start', position).pid)
    assert.equal(posix.SIGTERM, find(events, 'end', position).signal)
  end)

  it('say why they cannot be written, and nothing else suffers', function()
    for sink, reason in pairs { ['fd:77'] = 'Bad file descriptor', ['no/folder'] = 'No such file or directory' } do
      local project = support.project(loads_two)
      local program = lua:forkmon { '--quiet', '--events', sink, 'main.lua', cwd = project.root, stdin = 'pipe' }
      program:expect 'end\n'
      local output = program.stdout.text
      assert.truthy(output:find('[forkmon] events cannot be written: ' .. reason, 1, true), output)
      project:write('b.lua', "print 'B'")
      program:expect 'B\nend\n'
      program:stop()
    end
  end)

  it('are no longer written when the reader of a pipe has gone', function()
    local project = support.project(loads_two)
    local program = support.start { 'bash', '-c',
      'exec 5> >(head -n 1 > first); exec forkmon --exact --quiet --events fd:5 main.lua', cwd = project.root,
      stdin = 'pipe', env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH' } }
    program:expect 'end\n'
    support.wait_until('the end of the reader', function()
      local stat = posix.stat(project:path 'first')
      return stat and stat.size > 0
    end)
    project:write('b.lua', "print 'B'")
    program:expect 'B\nend\n'
    project:write('a.lua', "print 'A'")
    program:expect 'A\nB\nend\n'
    assert.truthy(program.stdout.text:find('[forkmon] events are no longer written: Broken pipe\n', 1, true))
    program:stop()
    assert.equal('start', kinds(decode(project:read 'first')))
  end)

  it('wait in a FIFO for a reader that is slow, comes late, or goes away', function()
    local project = support.project {
      ['main.lua'] = [[
        io.stdout:setvbuf 'no'
        local name = ('x'):rep(200)
        for number = 1, tonumber(dofile 'count.lua') do io.open(name .. number .. '.lua') end
        print 'end'
        io.read()
      ]],
      ['count.lua'] = 'return 0',
    }
    assert(posix.mkfifo(project:path 'events'))
    local program = start(project)
    program:expect 'end\n'
    local reader = assert(posix.open(project:path 'events', posix.O_RDONLY | posix.O_NONBLOCK))
    local text = ''
    local function read()
      local piece = posix.rpoll(reader, 0) == 1 and posix.read(reader, 65536) or ''
      text = text .. piece
      return piece ~= ''
    end
    support.wait_until('the checkpoint', function() return read() and text:find('"checkpoint"', 1, true) end)

    -- More than a pipe and the queue hold, while nobody reads.
    project:write('count.lua', 'return 6000')
    program:expect 'end\n'
    project:write('count.lua', 'return 1')
    program:expect 'end\n'
    support.wait_until('the last event', function()
      repeat until not read()
      return text:find('"event":"lost"[^\n]*\n') and text:find('"count":2,"milliseconds"[^\n]*\n')
    end)
    local events = decode(text)
    assert.equal('start', events[1].event)
    assert.is_true(find(events, 'lost').count > 0)
    local present, watched = 0, 0
    for _, event in ipairs(events) do
      if event.event == 'watch' then
        watched = watched + 1
        if event.present then present = present + 1 end
      end
    end
    assert.is_true(present >= 2 and watched > 1000)

    posix.close(reader)
    project:write('count.lua', 'return 2')
    program:expect 'end\n'
    program:stop()
  end)
end)
