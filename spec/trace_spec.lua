--- The trace: FORKMON_TRACE names a file that gets a line for what happens and what is decided.

local posix = require 'posix'
local support = require 'spec.support'
local Viewer = require 'spec.support.viewer'

support.each_lua(function(lua)
  --- Waits until the trace of a session has all these parts, one after the other.
  local function wait_for(project, name, pid, parts)
    support.wait_until(function()
      return ('%s, in that order, in:\n%s'):format(table.concat(parts, '\n'), project:read(name))
    end, function()
      local text, from = project:read(name), 1
      for line in text:gmatch '[^\n]*\n' do
        assert.truthy(line:find '^%[%d+%] %d+%.%d%d%d%d%d%d [%l]+ ?[^\n]*\n$', line)
      end
      for _, part in ipairs(parts) do
        local _, last = text:find(('[%d] '):format(pid), from, true)
        if not last then return false end
        _, last = text:find(part, last, true)
        if not last then return false end
        from = last + 1
      end
      return true
    end)
  end

  local function edited(path)
    return {
      'start forkmon ', 'checkpoint 1, process ', "reads '" .. path .. "' after checkpoint Some(1)",
      "change '" .. path .. "'", 'event Changed', 'event Cleared', 'action Wake', 'wake checkpoint 1,',
      'resumed ', 'event Resumed', 'event Terminate(15)', 'action End(15)', 'event AllGone', 'action Exit(15)',
    }
  end

  it('tells of a change, what was decided, and the end; of every session, to its owner alone', function()
    local project = support.project { ['value\t.txt'] = 'first' }
    local shown = project:path 'value\\t.txt'
    local pids = {}
    for _ = 1, 2 do
      project:write('value\t.txt', 'first')
      local viewer = Viewer.start(lua, project, {
        files = { 'value\t.txt' }, stay = true, env = { FORKMON_TRACE = 'trace' },
      })
      viewer:expect_first('value\t.txt', 'shows first')
      project:replace('value\t.txt', 'second')
      viewer:expect_resume('value\t.txt', 'shows second')
      viewer:stop()
      pids[#pids + 1] = viewer.pid
    end
    for _, pid in ipairs(pids) do wait_for(project, 'trace', pid, edited(shown)) end
    assert.equal('rw-------', posix.stat(project:path 'trace', 'mode'))
  end)

  it('goes on when the command is run anew, and is not open in the program', function()
    local project = support.project {
      ['main.lua'] = [[
        io.stdout:setvbuf 'no'
        require('forkmon').enable { filter = '%.txt$' }
        print('program', io.open('/proc/self/stat'):read '*n')
        io.read()
      ]],
    }
    local function has_it_open(pid)
      for _, name in ipairs(posix.glob('/proc/' .. pid .. '/fd/*')) do
        if posix.realpath(name) == project:path 'trace' then return true end
      end
      return false
    end
    local program = lua:start {
      'main.lua', cwd = project.root, stdin = 'pipe', env = { FORKMON_TRACE = 'trace' },
    }
    local pid = program:expect_match 'program\t(%d+)\n'
    support.wait_until('the supervisor to open the trace', function()
      return has_it_open(support.proc.supervisor(program.pid))
    end)
    assert.is_false(has_it_open(pid))
    project:write('main.lua', project:read 'main.lua' .. '\n')
    assert.is_false(has_it_open(program:expect_match 'program\t(%d+)\n'))
    program:stop()
    wait_for(project, 'trace', program.pid, {
      'start forkmon ', 'event Changed', 'action Wake', 'restart ', 'start forkmon ', 'action Exit(15)',
    })
  end)

  it('may be impossible, which is said and does no harm', function()
    local project = support.project { ['value.txt'] = 'first' }
    local viewer = Viewer.start(lua, project, { env = { FORKMON_TRACE = 'nowhere/trace' } })
    viewer.program:expect "the trace 'nowhere/trace' cannot be written: No such file or directory"
    viewer.program:expect 'shows first\n'
    project:replace('value.txt', 'second')
    viewer:expect 'shows second'
    viewer:stop()
  end)
end)
