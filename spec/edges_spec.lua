--- Files at the edges: with several names, that are no files, in watched folders, and away for a moment.

local posix = require 'posix'
local support = require 'spec.support'

--- Waits until nothing is looked at once more, as what was saved just now is.
local function grow_old(program)
  posix.poll({}, 150)
  support.await_idle(program)
end

local function expect_nothing(program)
  grow_old(program)
  posix.poll({}, 250)
  support.await_idle(program)
  assert.equal('', program:unread())
end

support.one_lua(function(lua)
  local function start(files, flags)
    local project = support.project(files)
    local options = { '--quiet', cwd = project.root, stdin = 'pipe' }
    for _, flag in ipairs(flags or {}) do options[#options + 1] = flag end
    options[#options + 1] = 'main.lua'
    return lua:forkmon(options), project
  end

  describe('a file with several names', function()
    it('is watched by all of them', function()
      local project = support.project { ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush()",
        ['a.lua'] = "return 'a0'", ['elsewhere/x'] = '' }
      assert(posix.link(project:path 'a.lua', project:path 'elsewhere/b.lua'))
      local program = lua:forkmon { '--quiet', 'main.lua', cwd = project.root }
      program:expect_exactly 'a0\n'
      grow_old(program)
      for i, name in ipairs { 'elsewhere/b.lua', 'a.lua', 'elsewhere/b.lua' } do
        project:write(name, ("return 'a%d'"):format(i))
        program:expect_exactly(('a%d\n'):format(i))
        grow_old(program)
      end
      project:replace('a.lua', "return 'alone'")
      program:expect_exactly 'alone\n'
      grow_old(program)
      project:write('elsewhere/b.lua', "return 'another file by now'") -- the negative control
      expect_nothing(program)
      program:stop()
    end)
  end)

  describe('the folder in which a session began, made anew', function()
    local sources = {
      command = { ['main.lua'] = "print(dofile 'a.lua') io.stdout:flush()", ['a.lua'] = 'return 1' },
      enable = { ['main.lua'] = "io.stdout:setvbuf 'no' require('forkmon').enable { filter = '%.lua$', quiet = true } "
        .. "print(dofile 'a.lua')", ['a.lua'] = 'return 1' },
    }
    -- What becomes of the old one, and whether forkmon notices before the new one is there.
    local ways = {
      moved = { function(project) assert(os.rename(project:path 'x', project:path 'x.old')) end, false },
      removed = { function(project) assert(os.execute(("rm -r '%s'"):format(project:path 'x'))) end, false },
      ['moved a while ago'] = { function(project) assert(os.rename(project:path 'x', project:path 'x.old')) end, true },
      ['removed a while ago'] = { function(project)
        assert(os.execute(("rm -r '%s'"):format(project:path 'x')))
      end, true },
    }

    for entry, files in pairs(sources) do
      for how, way in pairs(ways) do
        it(('is where it goes on: %s, with %s'):format(how, entry), function()
          local project = support.project()
          for name, text in pairs(files) do
            project:write('x/' .. name, text)
            project:write('y/' .. name, (text:gsub('return 1', 'return 2')))
          end
          local enter = entry == 'command' and lua.forkmon or lua.start
          local options = { 'main.lua', cwd = project:path 'x' }
          if entry == 'command' then table.insert(options, 1, '--quiet') end
          local program = enter(lua, options)
          program:expect_exactly '1\n'
          way[1](project)
          if way[2] then
            program:expect(("[forkmon] the folder '%s', in which the session began, cannot be gone to (No such file "
              .. 'or directory): the program is run anew when one of its files changes there\n')
              :format(project:path 'x'))
          end
          assert(os.rename(project:path 'y', project:path 'x'))
          program:expect '2\n'
          for i = 3, 4 do
            project:write('x/a.lua', 'return ' .. i)
            program:expect_exactly(i .. '\n')
          end
          program:stop()
        end)
      end
    end
  end)

  it('a folder that was removed while somebody was in it is heard of when it is made anew', function()
    local program, project = start({
      ['main.lua'] = "local file = io.open 'd/a.txt' print(file and file:read '*a' or 'nothing') io.stdout:flush()",
      ['d/a.txt'] = 'first',
    }, { '--filter', '%.txt$' })
    program:expect_exactly 'first\n'
    local visitor = support.start { 'sh', '-c', 'echo in; read line', cwd = project:path 'd', stdin = 'pipe' }
    visitor:expect 'in\n'
    for i = 1, 2 do
      project:remove 'd/a.txt'
      assert(posix.rmdir(project:path 'd'))
      program:expect_exactly 'nothing\n'
      grow_old(program)
      project:write('d/a.txt', ('again %d'):format(i))
      program:expect(('again %d\n'):format(i))
      grow_old(program)
      project:write('d/a.txt', 'edited')
      program:expect 'edited\n'
    end
    visitor:close_stdin()
    visitor:wait()
    program:stop()
  end)

  it('a file that is away for a moment while a folder is listed anew is not lost', function()
    local probe = support.start { lua.interpreter, '-e', "os.exit(pcall(require, 'lfs') and 0 or 1)" }
    if select(2, probe:wait()) ~= 0 then return pending 'no lfs for this Lua' end
    local program, project = start {
      ['conf.lua'] = '-- 1', ['src/a.lua'] = "return 'a'", ['src/b.lua'] = "return 'b'",
      ['main.lua'] = [[
        dofile 'conf.lua'
        local names = {}
        for name in require 'lfs'.dir 'src' do if name:find '%.lua$' then names[#names + 1] = name end end
        table.sort(names)
        for i, name in ipairs(names) do names[i] = dofile('src/' .. name) end
        print(table.concat(names, ' '))
        io.stdout:flush()
      ]],
    }
    program:expect_exactly 'a b\n'
    for i = 1, 3 do
      project:remove 'src/b.lua'
      project:write('conf.lua', '-- again')
      program:expect 'a\n'
      project:write('src/b.lua', ("return 'b%d'"):format(i))
      program:expect(('a b%d\n'):format(i))
      grow_old(program)
      project:write('src/b.lua', "return 'edited'")
      program:expect_exactly 'a edited\n'
    end
    program:stop()
  end)

  describe('what nobody edits', function()
    local views = { '/proc/self/stat', '/proc/uptime', '/dev/fd/0', '/dev/null', '/sys/kernel/uevent_seqnum' }
    for _, path in ipairs(views) do
      it('is no dependency: ' .. path, function()
        if not posix.access(path) then return pending(path .. ' is not here') end
        local program, project = start({ ['main.lua'] = ([[
          local file = io.open %q
          file:close()
          print(dofile 'a.lua')
          io.stdout:flush()
          io.read()
        ]]):format(path), ['a.lua'] = "return 'a0'" }, { '--filter', '.' })
        program:expect_exactly 'a0\n'
        expect_nothing(program)
        project:write('a.lua', "return 'a1'")
        program:expect_exactly 'a1\n'
        expect_nothing(program)
        program:stop()
      end)
    end

    it('gives no lasting answers either', function()
      local probe = support.start { lua.interpreter, '-e', "os.exit(pcall(require, 'lfs') and 0 or 1)" }
      if select(2, probe:wait()) ~= 0 then return pending 'no LuaFileSystem for this Lua' end
      local program, project = start({ ['main.lua'] = [[
        local lfs = require 'lfs'
        print(dofile 'a.lua')
        lfs.chdir 'sub'
        for name in lfs.dir '/proc' do assert(name) end
        assert(lfs.symlinkattributes('/proc/self/cwd', 'target'))
        assert(lfs.symlinkattributes('/dev/fd/0', 'target'))
        lfs.chdir '..'
        io.stdout:flush()
        io.read()
      ]], ['a.lua'] = "return 'a0'", ['sub/x'] = '' }, { '--filter', '.', '--poll', '20' })
      program:expect_exactly 'a0\n'
      expect_nothing(program)
      project:write('a.lua', "return 'a1'")
      program:expect_exactly 'a1\n'
      expect_nothing(program)
      program:stop()
    end)

    it('is a FIFO, whoever writes to it; but a file in its place counts', function()
      local program, project = start({ ['main.lua'] = [[
        os.execute 'test -e pipe.txt || mkfifo pipe.txt'
        local file = io.open 'pipe.txt'
        print(file:read())
        file:close()
        io.stdout:flush()
        io.read()
      ]] }, { '--filter', '%.txt$' })
      local function feed(text)
        support.wait_until('the FIFO', function() return posix.access(project:path 'pipe.txt') end)
        local file = assert(io.open(project:path 'pipe.txt', 'w')) -- waits for a reader
        file:write(text)
        file:close()
      end
      feed 'one\n'
      program:expect_exactly 'one\n'
      expect_nothing(program)
      project:replace('pipe.txt', 'a file\n')
      program:expect_exactly 'a file\n'
      program:stop()
    end)
  end)

  describe('a file that a process of the session keeps writing', function()
    it('does not count while it is open', function()
      local program, project = start({ ['main.lua'] = [[
        local log = io.open 'log.txt'
        print('log', log:read())
        log:close()
        os.execute 'sh writer.sh &'
        io.stdout:flush()
        io.read()
      ]], ['log.txt'] = 'begin\n', ['writer.sh'] = [[
        exec >>log.txt
        while sleep 0.4; do echo line; done
      ]] }, { '--filter', '%.txt$' })
      program:expect_exactly 'log\tbegin\n'
      support.wait_until('some lines', function() return support.count(project:read 'log.txt', 'line') > 3 end)
      assert.equal('', program:unread())
      program:stop()
    end)
  end)

  describe('in a watched folder', function()
    local function start_there()
      local program, project = start({ ['main.lua'] = "print 'run' io.stdout:flush() io.read()", ['folder/x'] = 'x' },
        { '--watch', 'folder' })
      program:expect_exactly 'run\n'
      grow_old(program)
      return program, project
    end

    it('what people hide counts', function()
      local program, project = start_there()
      for _, name in ipairs { '.env', '#notes', '.config/deep' } do
        project:write('folder/' .. name, 'text')
        program:expect 'run\n'
        grow_old(program)
        program:unread()
      end
      program:stop()
    end)

    it('what editors and version control make does not', function()
      local program, project = start_there()
      for _, name in ipairs { '.x.swp', 'x~', '#x#', '4913', '.git/index', '.x.swo' } do
        project:write('folder/' .. name, 'text')
      end
      expect_nothing(program)
      project:write('folder/x', 'y') -- the negative control
      program:expect_exactly 'run\n'
      program:stop()
    end)
  end)
end)
