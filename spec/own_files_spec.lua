--- What a program does to its own files is no edit, by whatever name it knows them; what others do, at any time, is.
--
-- After own_writes_spec, which has the plain ways: here a file has several names, is edited just
-- after the program closed it, or changes in nothing that a reader could tell.

local posix = require 'posix'
local gate = require 'spec.support.gate'
local sandbox = require 'spec.support.sandbox'
local support = require 'spec.support'
local syscalls = require 'spec.support.syscalls'
local Viewer = require 'spec.support.viewer'

local moment = 350 -- ms, more than the longest time between two looks at a file of the program's own

--- Nothing must run again by itself.
local function expect_nothing(program)
  support.await_idle(program)
  posix.poll({}, moment)
  support.await_idle(program)
  assert.equal('', program:unread())
end

local function keys(by_name)
  local names = {}
  for name in pairs(by_name) do names[#names + 1] = name end
  table.sort(names)
  return ipairs(names)
end

support.one_lua(function(lua)
  local function start(source, files, flags)
    local project = syscalls.project { ['main.lua'] = "io.stdout:setvbuf 'no'\n" .. source }
    for name, text in pairs(files or {}) do project:write(name, text) end
    local options = { '--quiet', cwd = project.root, stdin = 'pipe', env = { LUA_PATH = './?.lua;;' } }
    table.move(flags or {}, 1, #(flags or {}), #options + 1, options)
    options[#options + 1] = 'main.lua'
    return project, options
  end

  describe('a file that is read by one name', function()
    -- What makes the other name, and what is written by: each puts the text there that it had.
    local write = [[
      local file = assert(io.open('%s', 'w'))
      file:write 'return 1'
      file:close()
    ]]
    local ways = {
      ['through a link to its folder, written without'] =
        { function(project) project:link('real', 'link') end, 'link/gen.lua', write:format 'real/gen.lua' },
      ['without a link, written through one to its folder'] =
        { function(project) project:link('real', 'link') end, 'real/gen.lua', write:format 'link/gen.lua' },
      ['through a link to it, written without'] =
        { function(project) project:link('real/gen.lua', 'link.lua') end, 'link.lua', write:format 'real/gen.lua' },
      ['without a link, written through one to it'] =
        { function(project) project:link('real/gen.lua', 'link.lua') end, 'real/gen.lua', write:format 'link.lua' },
      ['through a link, replaced by a rename without'] =
        { function(project) project:link('real', 'link') end, 'link/gen.lua',
          write:format 'real/new.lua' .. "assert(os.rename('real/new.lua', 'real/gen.lua'))" },
      ['through a link, removed and made without'] =
        { function(project) project:link('real', 'link') end, 'link/gen.lua',
          "assert(os.remove 'real/gen.lua')" .. write:format 'real/gen.lua' },
      ['written by another hard link'] =
        { function(project) assert(posix.link(project:path 'real/gen.lua', project:path 'real/other.lua')) end,
          'real/gen.lua', write:format 'real/other.lua' },
      ['written by one with dots in it'] =
        { function(project) project:mkdir 'empty' end, 'real/gen.lua', write:format 'empty/.././real//gen.lua' },
      ['written by one through /proc/self'] =
        { function() end, 'real/gen.lua', write:format '/proc/self/cwd/real/gen.lua' },
      ['written by its descriptor'] =
        { function() end, 'real/gen.lua', "local sys = require 'syscalls' local number = sys.open('real/gen.lua', '1') "
          .. write:gsub("'%%s'", "'/dev/fd/' .. number") .. 'sys.close(number, number)' },
      ['whose folder was moved meanwhile'] =
        { function() end, 'real/gen.lua', "os.rename('real', 'moved')" .. write:format 'moved/gen.lua'
          .. "os.rename('moved', 'real')" },
    }
    for _, how in keys(ways) do
      it('and another is the program\'s own: ' .. how, function()
        local prepare, name, deed = table.unpack(ways[how])
        local project, options = start(("print('reads', dofile '%s')\n%s\nprint 'done'"):format(name, deed),
          { ['real/gen.lua'] = 'return 1' })
        prepare(project)
        posix.poll({}, 50) -- so that it is not looked at once more for being new
        local program = lua:forkmon(options)
        program:expect_exactly 'reads\t1\ndone\n'
        expect_nothing(program)
        for number = 2, 3 do -- the negative control
          project:write('real/gen.lua', 'return ' .. number)
          program:expect_exactly(('reads\t%d\ndone\n'):format(number))
          expect_nothing(program)
        end
        program:stop()
      end)
    end

    it('and written by another is the program\'s own, where it began in a folder by a link', function()
      local project = support.project { ['real/gen.lua'] = 'return 1', ['real/main.lua'] = [[
        io.stdout:setvbuf 'no'
        local here = os.getenv 'PWD'
        print('reads', dofile 'gen.lua')
        local file = io.open(here .. '/gen.lua', 'w')
        file:write 'return 1'
        file:close()
        print 'done'
      ]] }
      project:link('real', 'link')
      local program = lua:forkmon { '--quiet', 'main.lua', cwd = project:path 'link',
        env = { PWD = project:path 'link' } }
      program:expect_exactly 'reads\t1\ndone\n'
      expect_nothing(program)
      project:write('real/gen.lua', 'return 2')
      program:expect_exactly 'reads\t2\ndone\n'
      program:stop()
    end)

    it('and touched by lfs is the program\'s own', function()
      if not sandbox.succeeds(lua.interpreter .. ' -l lfs -e ""') then return pending 'this Lua has no lfs here' end
      local project, options = start([[
        print('reads', dofile 'gen.lua')
        require('lfs').touch 'gen.lua'
        print 'done'
      ]], { ['gen.lua'] = 'return 1' })
      project:age()
      options.env.LUA_PATH = './?.lua;;'
      local program = lua:forkmon(options)
      program:expect_exactly 'reads\t1\ndone\n'
      expect_nothing(program)
      project:write('gen.lua', 'return 2')
      program:expect_exactly 'reads\t2\ndone\n'
      program:stop()
    end)
  end)

  describe('a folder that the program', function()
    local make = "os.execute 'rm -rf new old; mkdir new' local file = io.open('new/m.lua', 'w') "
      .. "file:write 'return 1' file:close() "
    local ways = {
      ['renames into place'] = make .. "os.rename('out', 'old') os.rename('new', 'out')",
      ['renames into place, and removes the old one'] =
        make .. "os.rename('out', 'old') os.rename('new', 'out') os.execute 'rm -rf old'",
    }
    for _, how in keys(ways) do
      it(how .. ' is its own doing', function()
        local project, options = start(("loadfile 'out/m.lua'\nprint 'builds'\n%s\nprint('end', dofile 'out/m.lua')")
          :format(ways[how]))
        local program = lua:forkmon(options)
        program:expect_exactly 'builds\nend\t1\n'
        expect_nothing(program)
        for _ = 1, 2 do -- somebody else's doing counts; the program makes it anew
          project:write('out/m.lua', 'return 2')
          program:expect_exactly 'builds\nend\t1\n'
          expect_nothing(program)
        end
        program:stop()
      end)
    end
  end)

  describe('an edit just after the program closed its file', function()
    local source = [[
      print('shows', (io.open 'data.txt':read '*a'))
      local file = io.open('data.txt', 'a')
      print 'opened'
      file:write '!'
      file:close()
      print 'done'
      io.read()
    ]]
    for _, pause in ipairs { 1, 30, 60, 90 } do
      it(('counts after %d ms'):format(pause), function()
        local flags = { '--filter', '%.txt$', '--exact' }
        local _, options = start(source, { ['data.txt'] = 'first', ['other.txt'] = '' }, flags)
        local program = lua:forkmon(options)
        for _, text in ipairs { 'user', 'again' } do
          program:expect 'done\n'
          posix.poll({}, pause)
          -- Nothing runs again by itself. (Not by the project: that is what is to be quick.)
          local file = assert(io.open(options.cwd .. '/data.txt', 'w'))
          file:write(text)
          file:close()
          program:expect_exactly(('shows\t%s\nopened\n'):format(text))
        end
        program:expect_exactly 'done\n'
        expect_nothing(program)
        program:stop()
      end)
    end
  end)

  describe('with content, an edit that is taken back', function()
    local source = gate.source { opens = 'a.txt', options = "filter = '%.txt$', content = true, quiet = true" } .. [[
      local file = io.open 'a.txt'
      print('shows', file:read '*a')
      file:close()
      io.read()
    ]]

    it('does not count when the program read it before', function() -- the negative control
      local project = support.project { ['main.lua'] = source, ['a.txt'] = 'right' }
      local program = lua:start { 'main.lua', cwd = project.root, stdin = 'pipe' }
      program:expect_exactly 'shows\tright\n'
      support.await_idle(program)
      local supervisor = support.proc.supervisor(program.pid)
      posix.kill(supervisor, posix.SIGSTOP)
      project:write('a.txt', 'wrong')
      project:write('a.txt', 'right')
      posix.kill(supervisor, posix.SIGCONT)
      posix.poll({}, 100)
      support.await_idle(program)
      -- It may have counted, but nothing else than what is there was shown.
      assert.equal('', (program:unread():gsub('shows\tright\n', '')))
      program:stop()
    end)
  end)

  describe('a file that', function()
    --- A program that shows it, and has been quiet for a while.
    local function start_viewer(flags)
      local project = support.project { ['value.txt'] = 'first', ['folder/x'] = '' }
      project:age()
      local viewer = Viewer.start(lua, project, { stay = true, flags = flags })
      viewer:expect_first('value.txt', 'shows first')
      posix.poll({}, 100)
      support.await_idle(viewer.program)
      return viewer, project
    end

    local deeds = {
      ['is made executable'] = "chmod +x '%s'",
      ['is given to another group'] = "chgrp 12345 '%s'",
      ['was read at another time'] = "touch -a -d '10 minutes ago' '%s'",
      ['gets another name'] = "rm -f folder/other; ln '%s' folder/other",
      ['gets another name, which goes'] = "ln '%s' folder/other; rm folder/other",
      ['is opened for appending, and nothing is written'] = ": >>'%s'",
      ['gets an attribute'] = "setfattr -n user.spec -v 1 '%s' 2>/dev/null || chmod g+w '%s'",
    }
    for _, how in keys(deeds) do
      for _, polls in ipairs { false, true } do
        it(('%s is the same%s'):format(how, polls and ', when it polls' or ''), function()
          if how == 'is given to another group' and not sandbox.is_root then return pending 'only root can do that' end
          local viewer, project = start_viewer(polls and { '--poll', '20' } or nil)
          for _ = 1, 2 do
            local deed = deeds[how]:gsub('%%s', project:path 'value.txt')
            os.execute(("cd '%s'; %s"):format(project.root, deed))
            posix.poll({}, 100)
            support.await_idle(viewer.program)
            assert.equal('', viewer.program:unread())
          end
          viewer:expect_quiet 'value.txt' -- the negative control: an edit is shown
          viewer:stop()
        end)
      end
    end

    it('may not be read any more is another', function()
      if not sandbox.is_root then return pending 'only root can take from another user what is theirs' end
      local project = support.project { ['value.txt'] = 'first' }
      project:age()
      posix.chmod(project.root, 'rwxr-xr-x')
      local program = support.start { 'setpriv', '--reuid=65534', '--clear-groups', 'forkmon', '--quiet', '--filter',
        '%.txt$', posix.getcwd() .. '/spec/programs/viewer.lua', 'value.txt', cwd = project.root,
        env = { PATH = lua.tree .. '/bin:' .. os.getenv 'PATH', HOME = '/' } }
      program:expect 'shows first\n'
      support.await_idle(program)
      posix.chmod(project:path 'value.txt', 'rwx------')
      program:expect_exactly 'value.txt: Permission denied\n'
      posix.chmod(project:path 'value.txt', 'rwxr--r--')
      program:expect_exactly 'shows first\n'
      program:stop()
    end)
  end)

  describe('what goes round and round', function()
    it('is braked, with one sentence, and edits of other files count on', function()
      -- Nobody waits for what writes the file, so it cannot be known to be the program's.
      local project, options = start([[
        local file = io.open 'data.txt'
        local number = tonumber(file:read '*a')
        file:close()
        local other = io.open 'other.txt'
        print('run', number, other:read())
        other:close()
        os.execute(('(sleep 0.01; echo %d >data.txt) </dev/null >/dev/null 2>&1 &'):format(number + 1))
      ]], { ['data.txt'] = '1', ['other.txt'] = 'first' }, { '--filter', '%.txt$', '--exact' })
      local program = lua:forkmon(options)
      program:expect_match "%[forkmon%][^\n]*/data%.txt[^\n]*\n"
      support.wait_until('a second of silence', function()
        program:unread()
        local before = #program.stdout.text
        posix.poll({}, 1000)
        program:unread()
        return #program.stdout.text == before
      end)
      assert.equal(1, support.count(program.stdout.text, '[forkmon]'))
      program.stdout.position = #program.stdout.text + 1
      project:write('other.txt', 'second')
      program:expect '\tsecond\n'
      program:stop()
    end)
  end)
end)
