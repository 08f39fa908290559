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

  describe('a generator', function()
    local PAGES = 60

    --- Reads its pages, with work for each and nothing to be seen, then writes the site. Says how many pages it has
    -- read since it was resumed, and how many checkpoints there are.
    local files = {
      ['main.lua'] = ([[
        local forkmon = require 'forkmon'
        local read, site, heap = 0, {}, {}
        forkmon.on_resume(function() read = 0 end)
        for i = 1, 100000 do heap[i] = { i } end
        for page = 1, %d do
          site[page] = dofile(('page%%d.lua'):format(page))
          read = read + 1
          local began = os.clock()
          repeat until os.clock() - began > 0.01
        end
        print(site[%d], site[%d])
        dofile 'last.lua'
        print('read', read, 'checkpoints', #forkmon.status().checkpoints)
        io.stdout:flush()
      ]]):format(PAGES, PAGES / 2, PAGES),
      ['last.lua'] = '',
    }
    for page = 1, PAGES do files[('page%d.lua'):format(page)] = ("return 'page %d'"):format(page) end

    local function start(options)
      local project = support.project(files)
      os.execute(("touch -d '1 hour ago' '%s'/*"):format(project.root))
      options.cwd = project.root
      table.insert(options, 1, '--quiet')
      table.insert(options, 1, '--overhead=1')
      options[#options + 1] = 'main.lua'
      return project, lua:forkmon(options)
    end

    --- How many pages were read, and how many checkpoints there are.
    local function numbers(program)
      local read, checkpoints = program:expect_match 'read\t(%d+)\tcheckpoints\t(%d+)\n'
      return tonumber(read), tonumber(checkpoints)
    end

    it('resumes from near a page that is edited for the first time, wherever that is', function()
      local project, program = start { '--max-memory=1000' }
      assert.equal(PAGES, (numbers(program)))
      project:write(('page%d.lua'):format(PAGES), "return 'the last'")
      program:expect_exactly(('page %d\tthe last\n'):format(PAGES / 2))
      assert.is_true(numbers(program) <= PAGES / 4)
      project:write(('page%d.lua'):format(PAGES / 2), "return 'the middle'")
      program:expect_exactly 'the middle\tthe last\n'
      assert.is_true(numbers(program) <= PAGES * 3 / 4)
      program:stop()
    end)

    for way, options in pairs {
      flag = { '--max-memory=0' }, variable = { env = { FORKMON_MAX_MEMORY = '0' } },
    } do
      it('keeps few checkpoints where they may hold little (' .. way .. ')', function()
        local _, program = start(options)
        local _, checkpoints = numbers(program)
        -- The first, the newest that nothing forced, and that before last.lua.
        assert.is_true(checkpoints <= 3)
        program:stop()
      end)
    end
  end)
end)
