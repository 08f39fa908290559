--- What a program does to a file itself is no edit; what somebody else does to the same file is.
--
-- Each program reads data.txt, shows it, and then does something to it. When it says 'done' and
-- the supervisor has gone back to sleep, the user saves the file. If the program's own doing had
-- started it again, that would show before the user's edit; if it made forkmon deaf to the file,
-- the edit would not show at all. As each resumed run writes again, everything happens twice.
--
-- Some deeds raise no event by which forkmon could see that they are done: it looks after a
-- moment, and takes the user's save in that moment for the program's. The specs wait for as long.

local posix = require 'posix'
local support = require 'spec.support'

-- What each program begins with: it has read the file into `text`, which is nil when there is none.
local reading = [[
  io.stdout:setvbuf 'no'
  print 'startup'
  local file, text = io.open 'data.txt', nil
  if file then text = file:read '*a' file:close() end
  print('shows ' .. (text or 'nothing'))
  local function write(mode, ...)
    local file = assert(io.open('data.txt', mode))
    for _, part in ipairs { ... } do file:write(part) end
    return file
  end
]]

local deeds = {
  ['rewrites it'] = "write('w', text, '!'):close()",
  ['updates it in place'] = "write('r+', 'X'):close()",
  ['appends to it'] = "write('a', '!'):close()",
  ['rewrites it by io.output'] = "io.output 'data.txt' io.write 'own' io.close() io.output(io.stdout)",
  ['rewrites it many times'] = "for i = 1, 50 do write('w', text, i):close() end",
  ['opens it for writing and leaves it as it is'] = "write('a'):close()",
  ['removes it'] = "assert(os.remove 'data.txt')",
  ['moves it away'] = "assert(os.rename('data.txt', 'moved'))",
  ['moves it away and back'] = "assert(os.rename('data.txt', 'moved')) assert(os.rename('moved', 'data.txt'))",
  ['renames a new file over it'] =
    "local new = io.open('new', 'w') new:write 'own' new:close() assert(os.rename('new', 'data.txt'))",
  ['fails to rename it'] = "assert(not os.rename('data.txt', 'no/such/folder'))",
  ['fails to rename another over it'] = "assert(not os.rename('no-such-file', 'data.txt'))",
  ['fails to open it, as there are too many open files'] = [[
    os.execute 'prlimit --nofile=40 --pid $PPID'
    local files, file = {}, true
    while file do
      file = io.open('data.txt', 'a')
      files[#files + 1] = file
    end
    for _, file in ipairs(files) do file:close() end
  ]],
  ['keeps it open after writing'] = "log = write('a', '!') log:flush()",
  ['keeps it open without a word'] = "log = write('a')",
  ['writes while a checkpoint is taken'] =
    "local file = write('a') local other = io.open 'other.txt' file:write '!' file:close() other:close()",
  ['closes it after many a checkpoint'] = [[
    local file = write('a')
    for i = 1, 3 do
      local other = io.open('other' .. i .. '.txt')
      if other then other:close() end
      print('step', i)
    end
    file:close()
  ]],
}

-- The same, where there is no such file at first.
local without_file = {
  ['creates it, as it was missing'] = "if not text then write('w', 'made'):close() end",
  ['creates and removes it'] = "if not text then write('w', 'made'):close() os.remove 'data.txt' end",
  ['creates it by a rename'] =
    "if not text then local new = io.open('new', 'w') new:write 'own' new:close() os.rename('new', 'data.txt') end",
  ['fails to remove what is missing'] = "os.remove 'data.txt'",
  ['fails to rename what is missing'] = "assert(text or not os.rename('data.txt', 'moved'))",
  ['fails to update what is missing'] = "assert(text or not io.open('data.txt', 'r+'))",
}

local without_event = {
  ['fails to rename it'] = true,
  ['fails to open it, as there are too many open files'] = true,
  ['writes while a checkpoint is taken'] = true,
  ['closes it after many a checkpoint'] = true,
}
local moment = 350 -- ms, more than the longest time between two looks

local function sorted(deeds_by_name)
  local names = {}
  for name in pairs(deeds_by_name) do names[#names + 1] = name end
  table.sort(names)
  return ipairs(names)
end

support.each_lua(function(lua)
  --- Starts a program that does this to its file.
  local function start(deed, files, flags)
    local project = support.project(files)
    project:write('main.lua', reading .. deed .. "\nprint 'done'\nio.read()\n")
    project:write('other.txt', '')
    local command = { '--filter', '%.txt$', '--exact', '--quiet', cwd = project.root, stdin = 'pipe' }
    table.move(flags or {}, 1, #(flags or {}), #command + 1, command)
    command[#command + 1] = 'main.lua'
    return lua:forkmon(command), project
  end

  --- Waits until the program's doing has been taken notice of. Whatever wakes the supervisor has
  -- happened when 'done' is read, so it is asleep only when it is through with it.
  local function settle(program)
    program:expect 'done\n'
    support.await_idle(program)
  end

  local function edit_twice(program, project, pause)
    for _, text in ipairs { 'user', 'user again' } do
      settle(program)
      if pause then posix.poll({}, pause) end
      assert.equal('', program:unread()) -- it has not run again by itself
      project:write('data.txt', text)
      program:expect_exactly('shows ' .. text .. '\n')
    end
    settle(program)
    program:stop()
  end

  for _, name in sorted(deeds) do
    it('runs once when a program ' .. name, function()
      local program, project = start(deeds[name], { ['data.txt'] = 'first' })
      program:expect_exactly 'startup\nshows first\n'
      edit_twice(program, project, without_event[name] and moment)
    end)
  end

  for _, name in sorted(without_file) do
    it('runs once when a program ' .. name, function()
      local program, project = start(without_file[name], {})
      program:expect_exactly 'startup\nshows nothing\n'
      edit_twice(program, project)
    end)
  end

  for _, name in ipairs { 'rewrites it', 'appends to it', 'rewrites it many times', 'removes it' } do
    it('runs once when it polls and a program ' .. name, function()
      local program, project = start(deeds[name], { ['data.txt'] = 'first' }, { '--poll', '20' })
      program:expect_exactly 'startup\nshows first\n'
      edit_twice(program, project, moment)
    end)
  end

  it('runs once when a program is stopped just before it writes', function()
    -- Between its word that it will and the deed, as on a machine that has no time for it.
    local project = support.project { ['data.txt'] = 'first', ['main.lua'] = [[
      local open = io.open
      io.open = function(name, mode)
        if mode == 'w' then os.execute '(sleep 0.5; kill -CONT $PPID) & kill -STOP $PPID' end
        return open(name, mode)
      end
      require('forkmon').enable { filter = '%.txt$', quiet = true }
    ]] .. reading .. "write('w', text, '!'):close() print 'done' io.read()" }
    local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
    program:expect_exactly 'startup\nshows first\n'
    settle(program)
    posix.poll({}, moment)
    assert.equal('', program:unread())
    project:write('data.txt', 'user')
    program:expect_exactly 'shows user\n'
    program:expect_exactly 'done\n'
    program:stop()
  end)

  it('sees what a subprocess of the program writes', function() -- the negative control
    local program = start("if text == 'first' then os.execute 'printf second > data.txt' end",
      { ['data.txt'] = 'first' })
    program:expect 'shows first\n'
    program:expect 'shows second\n'
    program:stop()
  end)

  it('takes what is read from a cache for what it is', function()
    local program, project = start([[
      local function cached()
        local cache = io.open 'cache.txt'
        if cache then
          print('cached ' .. cache:read '*a')
          cache:close()
        else
          local new = io.open('cache.txt', 'w')
          new:write(text)
          new:close()
          print 'computed'
        end
      end
      cached()
      cached()
    ]], { ['data.txt'] = 'first' })
    program:expect_exactly 'startup\nshows first\ncomputed\ncached first\n'
    settle(program)
    assert.equal('', program:unread())
    project:write('cache.txt', 'by hand')
    program:expect_exactly 'cached by hand\ncached by hand\n'
    settle(program)
    project:remove 'cache.txt'
    program:expect_exactly 'computed\ncached first\n'
    settle(program)
    project:write('data.txt', 'second') -- a cache that is stale is the program's to find out
    program:expect_exactly 'shows second\ncached first\ncached first\n'
    program:stop()
  end)

  describe('with content', function()
    local program, project

    before_each(function()
      program, project = start('', { ['data.txt'] = 'first' }, { '--content' })
      program:expect_exactly 'startup\nshows first\n'
      settle(program)
    end)

    local function expect_edit(text)
      assert.equal('', program:unread())
      project:write('data.txt', text)
      program:expect_exactly('shows ' .. text .. '\n')
      settle(program)
    end

    it('ignores saves that change no byte', function()
      for _, style in ipairs { 'write', 'replace', 'write_after_backup' } do
        project[style](project, 'data.txt', 'first')
        support.await_idle(program)
      end
      project:touch 'data.txt'
      expect_edit 'second'
      project:write('data.txt', 'second')
      project:touch 'data.txt'
      expect_edit 'third'
      program:stop()
    end)

    it('takes the same size for no proof', function()
      expect_edit 'FIRST'
      expect_edit 'first'
      program:stop()
    end)

    it('sees a change that is taken back', function()
      project:write('data.txt', 'second')
      program:expect_exactly 'shows second\n'
      settle(program)
      expect_edit 'first'
      program:stop()
    end)
  end)
end)
