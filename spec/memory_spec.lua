--- What checkpoints hold in memory.

local support = require 'spec.support'

--- Megabytes that a process has for itself alone.
local function private(pid)
  local file = assert(io.open(('/proc/%d/smaps_rollup'):format(pid)))
  local text = file:read 'a'
  file:close()
  return tonumber(text:match '\nPrivate_Dirty:%s*(%d+)') / 1024
end

local function processors()
  local pipe = assert(io.popen 'nproc')
  local count = pipe:read 'n'
  pipe:close()
  return count
end

support.each_lua(function(lua)
  --- The memory of the checkpoint before `a.lua`, when it is parked: of a program with 12 MB that waits.
  local function held(...)
    local project = support.project {
      ['main.lua'] = [[
        heap = {}
        for i = 1, 150000 do heap[i] = { i } end
        local began = os.clock()
        repeat until os.clock() - began > 0.2
        dofile 'a.lua'
        for _, checkpoint in ipairs(require('forkmon').status().checkpoints) do
          if checkpoint.name:find 'a.lua$' then io.write('parked ', checkpoint.pid, '\n') end
        end
        io.stdout:flush()
        io.read()
      ]],
      ['a.lua'] = '',
    }
    -- A file that was saved just now would have a checkpoint of its own in any case.
    os.execute(("touch -d '1 hour ago' '%s'"):format(project:path 'a.lua'))
    local program = lua:forkmon { '--quiet', '--overhead=1', ..., 'main.lua', cwd = project.root, stdin = 'pipe' }
    local pid = tonumber((program:expect_match 'parked (%d+)\n'))
    support.wait_until('it to be parked', function() return support.proc.state(pid) == 'S' end)
    local megabytes = private(pid)
    program:stop()
    return megabytes
  end

  it('one that was not forced has copied its memory, so that the program need not', function()
    if processors() == 1 then return pending 'it does so on another processor' end
    assert.is_true(held '--restart-delay=5' > 8)
  end)

  it('one that was forced shares it', function()
    assert.is_true(held '--exact' < 2)
  end)
end)
