--- A file that is used piece by piece: a change resumes from where it had not been used yet.

local posix = require 'posix'
local support = require 'spec.support'
local lines = require 'spec.support.lines'

support.each_lua(function(lua)
  -- Prints the lines of a file, each when it comes to it, and says so.
  local reader = [[
    local forkmon = require 'forkmon'
    forkmon.enable { filter = '%.lua$;%.txt$', OPTIONS }
    local function read()
      local file = assert(io.open 'list.txt')
      local text = file:read '*a'
      file:close()
      return text
    end
    local text, from = read(), 1
    while true do
      local line, after = text:match('([^\n]*)\n()', from)
      if not line then break end
      print(line)
      if line:match '%.lua$' then dofile(line) end
      if line == 'status' then
        for _, checkpoint in ipairs(forkmon.status().checkpoints) do print(checkpoint.name) end
      end
      from = after
      if forkmon.consumed('list.txt', from - 1) then text = read() end
    end
    print 'end'
  ]]

  local function start(text, options, files)
    local project = support.project(files)
    project:write('list.txt', text)
    project:write('main.lua', (reader:gsub('OPTIONS', options or 'exact = true')))
    local program = lua:start { 'main.lua', cwd = project.root }
    program:expect(lines.watch(project:path 'list.txt'))
    return project, program, project:path 'list.txt'
  end

  it('resumes from the line that changed, however it was saved', function()
    local project, program, list = start 'one\ntwo\nthree\n'
    program:expect_exactly 'one\ntwo\nthree\nend\n'
    project:append('list.txt', 'four\n')
    program:expect_exactly(lines.resuming_at(list, 4) .. 'four\nend\n')
    project:replace('list.txt', 'one\ntwo\n3\nfour\n')
    program:expect_exactly(lines.resuming_at(list, 3) .. '3\nfour\nend\n')
    project:write_after_backup('list.txt', 'one\n2\n')
    program:expect_exactly(lines.resuming_at(list, 2) .. '2\nend\n')
    project:write_in_two_steps('list.txt', '1\n2\n')
    program:expect_exactly(lines.resuming(list) .. '1\n2\nend\n')
    project:write('list.txt', '1\n')
    program:expect_exactly(lines.resuming_at(list, 2) .. 'end\n')
    project:write('list.txt', '1\n\n\n\n2\n')
    program:expect_exactly(lines.resuming_at(list, 2) .. '\n\n\n2\nend\n')
    program:stop 'INT'
  end)

  it('never goes on with a text that is no more', function()
    local project, program, list = start('one\na.lua\ntwo\nb.lua\nthree\n', nil,
      { ['a.lua'] = "print 'a'", ['b.lua'] = "print 'b'" })
    program:expect 'end\n'
    project:write('list.txt', 'one\na.lua\ntwo\nb.lua\n3\n')
    program:expect_exactly(lines.resuming_at(list, 5) .. '3\nend\n')
    -- The checkpoint before b.lua has the old text in its memory, and so has that before a.lua.
    project:write('b.lua', "print 'b2'")
    program:expect_exactly(lines.resuming(project:path 'b.lua', list .. ', from line 4') .. 'b.lua\nb2\n3\nend\n')
    project:write('a.lua', "print 'a2'")
    program:expect_exactly(lines.resuming(project:path 'a.lua', list .. ', from line 2')
      .. 'a.lua\na2\ntwo\nb.lua\nb2\n3\nend\n')
    -- Now none has.
    project:write('b.lua', "print 'b3'")
    program:expect_exactly(lines.resuming(project:path 'b.lua') .. 'b3\n3\nend\n')
    -- Of two changes, the earlier place counts.
    project:write('list.txt', 'one\na.lua\ntwo\nb.lua\n4\n')
    project:write('b.lua', "print 'b4'")
    program:expect 'b4\n4\nend\n'
    program:stop 'INT'
  end)

  it('goes back by itself from a place where it finds yet another text', function()
    local project, program = start('one\ntwo\nthree\n', 'exact = true, restart_delay = 0')
    program:expect 'end\n'
    -- In turns in front of and behind what has been used, and so fast that some meet a copy that is being woken.
    for number = 1, 300 do
      project:replace('list.txt', ('one\n%d\nthree\n%d\n'):format(number // 2, number))
      posix.nanosleep(0, number * 7919 % 3000 * 1000)
    end
    project:write('list.txt', 'one\ntwo\n3\nlast\n')
    program:expect '3\nlast\nend\n'
    project:append('list.txt', 'more\n')
    program:expect_exactly(lines.resuming_at(project:path 'list.txt', 5) .. 'more\nend\n')
    program:stop 'INT'
  end)

  it('takes a checkpoint only where time went by', function()
    local project, program, list = start(('x\n'):rep(2000) .. 'status\n', 'quiet = false')
    program:expect 'end\n'
    local count = support.count(program.stdout.text, ', from line ')
    assert.is_true(count < 20, count .. ' checkpoints')
    project:write('list.txt', 'y\n')
    program:expect_exactly(lines.resuming(list) .. 'y\nend\n')
    program:stop 'INT'
  end)

  it('shows where it is', function()
    local project, program, list = start('one\nstatus\n', "exact = true, events = 'events'")
    program:expect_exactly(('one\nstatus\nenable()\n%s\n%s, from line 2\nend\n'):format(list, list))
    project:append('list.txt', 'three\n')
    program:expect_exactly(lines.resuming_at(list, 3) .. 'three\nend\n')
    support.wait_until('the events', function()
      local events = project:read 'events'
      return events:find '"event":"checkpoint"[^\n]*"line":2}' and events:find '"event":"resume"[^\n]*"line":3'
    end)
    program:stop 'INT'
  end)

  it('tells why it cannot be done, and what is wrong with its arguments', function()
    local project = support.project {
      ['other.txt'] = '',
      ['main.lua'] = [[
        local forkmon = require 'forkmon'
        print(forkmon.consumed('main.lua', 0))
        forkmon.enable { filter = '%.lua$', quiet = true }
        print(forkmon.consumed('other.txt', 0))
        print(pcall(forkmon.consumed))
        print(pcall(forkmon.consumed, 'main.lua', '0'))
        print(pcall(forkmon.consumed, 'main.lua', -1))
        print(pcall(forkmon.consumed, 'main.lua', 0.5))
        print(pcall(forkmon.consumed, 'main.lua', 0/0))
        print(forkmon.consumed('main.lua', 1e9))
      ]],
    }
    local program = lua:start { 'main.lua', cwd = project.root }
    local function wrong(what) return 'false\tforkmon.consumed: argument ' .. what .. '\n' end
    program:expect('nil\tforkmon is not enabled\nnil\tthe file is not watched\n'
      .. wrong "'path' must be a string, got nil" .. wrong "'offset' must be a number, got string"
      .. wrong "'offset' must be a number of bytes, got -1" .. wrong "'offset' must be a number of bytes, got 0.5")
    program:expect 'must be a number of bytes'
    program:expect 'nil\tthe file is not watched\n'
    program:stop 'INT'
  end)
end)
