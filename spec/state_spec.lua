--- The state of a resumed process against that of the process at its checkpoint.
--
-- The program (spec/programs/state) sets what it can, shows all that the kernel says of it right
-- behind the stop point, changes everything and shows it again. Each resume must show the first
-- report once more, to the letter; the second one is the control: it must differ in everything
-- that was changed. All is shown by the process itself, as nobody else sees its timers.

local posix = require 'posix'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'

local CHANGED = { 'Max open files', 'Name', 'SigBlk', 'SigCgt', 'SigIgn', 'Umask', 'cwd', 'descriptor 03',
  'descriptor 05', 'environment', 'modes', 'nice', 'timer' }

local function read_report(program, title)
  local text, pid = program:expect_match('begin ' .. title .. '\n(.-)end pid (%d+)\n')
  local state = {}
  for name, value in text:gmatch '([^\n]-): ([^\n]*)' do state[name] = value end
  return state, tonumber(pid)
end

--- What differs: name -> both values.
local function differences(one, other)
  local found = {}
  for _, state in ipairs { one, other } do
    for name in pairs(state) do
      if one[name] ~= other[name] then found[name] = ('%s -> %s'):format(one[name], other[name]) end
    end
  end
  return found
end

support.each_lua(function(lua)
  --- Runs the program and, after each of three saves, compares.
  local function compare(argument, saved)
    local project = syscalls.project 'spec/programs/state'
    local program = lua:start { 'main.lua', argument, cwd = project.root, tty = true }
    local at_checkpoint, pid = read_report(program, 'here')
    local later = read_report(program, 'later')
    program:expect 'ready\n'
    local controls = differences(at_checkpoint, later)
    for _, name in ipairs(CHANGED) do assert(controls[name], name .. ' was not changed') end
    assert.equal(tostring(support.proc.supervisor(program.pid)), at_checkpoint.PPid)
    assert.matches('^runs every 60', at_checkpoint.timer)

    for time = 1, 3 do
      project:append(saved, ('-- %d\n'):format(time))
      local resumed, new_pid = read_report(program, 'here')
      assert.same({}, differences(at_checkpoint, resumed))
      assert.are_not.equal(pid, new_pid)
      assert.same({}, differences(later, (read_report(program, 'later'))))
      program:expect 'ready\n'
      pid = new_pid
    end
    assert.same({ 'killed', posix.SIGTERM }, { program:stop() })
  end

  it('is the same after a resume from a file', function()
    compare('file', 'part.lua')
  end)

  it('is the same after a resume from enable()', function()
    compare('enable', 'extra')
  end)
end)
